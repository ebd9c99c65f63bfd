// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * LD_PRELOAD: the host's wall clock as if somebody had set it. What CLOCK_REALTIME shows is moved
 * by the seconds in the file CLOCK_STEP, 8 bytes that are mapped at the start, so that a jail does
 * not hide them. The clocks that nobody can set are left alone, as the kernel does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *step;
static int (*real_clock_gettime)(clockid_t clock, struct timespec *ts);

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("CLOCK_STEP");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*step), PROT_READ, MAP_SHARED, fd, 0);

	real_clock_gettime =
		(int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	if (at == MAP_FAILED)
		abort();
	step = at;
	close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int ret = real_clock_gettime(clock, ts);

	if (ret == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += *step;
	return ret;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ .tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
