// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random calls on the device node, by several threads that also change one another's run pages and
 * guest memory, in processes that fork, get signals, and are killed at random moments.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"

#define FILES	  4
#define THREADS	  4
#define MEMORY	  (1ul << 20)
#define CODE_SIZE 0x8000u /* guests start in the first page */

static int fds[FILES];
static uint8_t *memory;
static struct twvmx_run *volatile page[FILES];
static uint64_t
	*entered; /* runs with VM entries, and after something was served; over all processes */

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Often right, sometimes nearly, sometimes not at all. */
static uint64_t choose(uint64_t *seed, uint64_t good)
{
	switch (next(seed) % 8) {
	case 0:
		return next(seed);
	case 1:
		return good ^ 1ull << (next(seed) % 64);
	case 2:
		return 0;
	default:
		return good;
	}
}

static void make(unsigned i)
{
	void *p;

	if (fds[i] < 0)
		fds[i] = open(TWVMX_DEVICE, O_RDWR | O_CLOEXEC);
	if (fds[i] < 0)
		return;
	/* The timer's signal may come first. */
	while (ioctl(fds[i], TWVMX_IOC_CREATE, TWVMX_VERSION) < 0) {
		if (errno != EINTR)
			return;
	}
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
	if (p != MAP_FAILED)
		page[i] = p;
}

static void slot(unsigned i, uint64_t *seed)
{
	struct twvmx_slot s = {
		.version = (uint32_t)choose(seed, TWVMX_VERSION),
		.slot = (uint32_t)choose(seed, next(seed) % 2),
		.gpa = choose(seed, (next(seed) % 3) << 20),
		.size = choose(seed, MEMORY / 2),
		.user = choose(seed, (uintptr_t)memory),
	};

	ioctl(fds[i], TWVMX_IOC_SLOT, next(seed) % 16 ? &s : (void *)next(seed));
}

static void dirty(unsigned i, uint64_t *seed)
{
	struct twvmx_dirty d = {
		.version = (uint32_t)choose(seed, TWVMX_VERSION),
		.slot = (uint32_t)choose(seed, 0),
		.pages = choose(seed, MEMORY / 2 / 4096),
		.map = choose(seed, (uintptr_t)memory),
	};

	ioctl(fds[i], TWVMX_IOC_DIRTY, &d);
}

static void host_state(unsigned i, uint64_t *seed)
{
	struct twvmx_host h = {
		.version = (uint32_t)choose(seed, TWVMX_VERSION),
		.remember = (uint32_t)choose(seed, next(seed) % 2),
	};

	ioctl(fds[i], TWVMX_IOC_HOST, next(seed) % 16 ? &h : (void *)next(seed));
}

/*
 * Answers of the table are chosen so that guests which execute CPUID find some, and lose them
 * again.
 */
static void cpuid_table(unsigned i, uint64_t *seed)
{
	struct twvmx_cpuid_entry e[TWVMX_CPUID_MAX];
	const struct twvmx_cpuid c = {
		.version = (uint32_t)choose(seed, TWVMX_VERSION),
		.n = (uint32_t)choose(seed, next(seed) % (TWVMX_CPUID_MAX + 2)),
		.entries = choose(seed,
				  next(seed) % 8 ? (uintptr_t)e : (uintptr_t)memory + MEMORY - 64),
	};

	for (unsigned n = 0; n < TWVMX_CPUID_MAX; n++)
		e[n] = (struct twvmx_cpuid_entry){
			.leaf = (uint32_t)choose(seed, n),
			.flags = next(seed) % 256 ? (uint32_t)(next(seed) & TWVMX_CPUID_ALL)
						  : (uint32_t)next(seed),
			.reserved = next(seed) % 1024 == 0,
			.ecx = (uint32_t)next(seed),
		};
	ioctl(fds[i], TWVMX_IOC_CPUID, &c);
}

/* Registers of a real-mode guest at 0, each with some chance of being something else. */
static void guest_registers(struct twvmx_regs *r, uint64_t *seed)
{
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < 8; i++)
		r->seg[i] = (struct twvmx_seg){ 0, 0xffff,
						i == 1	 ? 0x9b
						: i < 6	 ? 0x93
						: i == 6 ? 0x10000
							 : 0x8b,
						0 };
	r->rflags = 2;
	r->cr0 = 0x10;
	r->dr7 = 0x400;
	r->xcr0 = 1;
	r->rip = next(seed) % 4096;
	for (unsigned i = 0; i < 512; i += 8)
		memcpy(r->fxsave + i, &(uint64_t){ next(seed) }, 8);
	if (next(seed) % 2)
		return;
	r->rflags = choose(seed, 2);
	r->cr0 = choose(seed, 0x10);
	r->cr4 = choose(seed, 0);
	r->efer = choose(seed, 0);
	r->lstar = choose(seed, 0);
	r->kernel_gs_base = choose(seed, 0);
	r->fmask = choose(seed, 0);
	r->dr7 = choose(seed, 0x400);
	r->xcr0 = choose(seed, 1);
	r->seg[next(seed) % 8].attr = (uint32_t)choose(seed, 0x93);
	r->interruptibility = (uint32_t)choose(seed, 0);
	r->pending_debug = choose(seed, 0);
}

static void run(unsigned i, uint64_t *seed)
{
	struct twvmx_run *r = page[i];
	uint64_t before = r ? r->entries : 0;

	if (r) {
		r->version = (uint32_t)choose(seed, TWVMX_VERSION);
		r->load = (uint32_t)choose(seed, TWVMX_LOAD_ALL);
		r->flags = (uint32_t)choose(seed, next(seed) % TWVMX_RUN_COUNT);
		if (next(seed) % 4 == 0)
			r->flags |= TWVMX_RUN_COUNT;
		r->count = choose(seed, 0);
		r->stop = choose(seed, next(seed) % 8 ? UINT64_MAX : next(seed) % 1000);
		r->limit = choose(seed, UINT64_MAX);
		r->time.rate = (uint32_t)next(seed);
		r->time.anchor_count = choose(seed, 0);
		r->entry_info = (uint32_t)choose(seed, 0);
		r->entry_error = (uint32_t)next(seed);
		r->entry_len = (uint32_t)choose(seed, 1);
		r->kick = next(seed) % 8 == 0;
		guest_registers(&r->regs, seed);
	}
	ioctl(fds[i], TWVMX_IOC_RUN, choose(seed, 0));
	if (r && r->entries > before)
		__atomic_fetch_add(&entered[0], 1, __ATOMIC_RELAXED);
	if (r && (r->served_cpuid || r->served_tsc))
		__atomic_fetch_add(&entered[1], 1, __ATOMIC_RELAXED);
}

/* A run page changes at any time, also under a guest that runs. */
static void scribble(unsigned i, uint64_t *seed)
{
	volatile uint32_t *words = (volatile uint32_t *)page[i];

	for (unsigned n = 0; words && n < 64; n++)
		words[next(seed) % (n % 2 ? 16 : sizeof(struct twvmx_run) / 4)] =
			(uint32_t)choose(seed, 1);
	if (words)
		((volatile struct twvmx_run *)words)->kick = next(seed) & 1;
}

/* Guest memory is taken away, replaced, protected, while slots hold it. */
static void remap(uint64_t *seed)
{
	uint8_t *at = memory + next(seed) % (MEMORY / 4096) * 4096;
	size_t len = (size_t)(memory + MEMORY - at);

	switch (next(seed) % 4) {
	case 0:
		mmap(at, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
		break;
	case 1:
		madvise(at, len, MADV_DONTNEED);
		break;
	case 2:
		mprotect(at, len, next(seed) % 2 ? PROT_READ : PROT_NONE);
		break;
	default:
		mmap(at, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	}
}

/* Other mappings of the node than the one that is meant. */
static void map_oddly(unsigned i, uint64_t *seed)
{
	size_t len = choose(seed, 4096) % (1 << 20) + 1;
	void *p = mmap(NULL, len, PROT_READ | (next(seed) % 2 ? PROT_WRITE : PROT_EXEC),
		       next(seed) % 2 ? MAP_SHARED : MAP_PRIVATE, fds[i],
		       (off_t)(choose(seed, 0) & ~4095ull));

	if (p == MAP_FAILED)
		return;
	if (next(seed) % 2)
		madvise(p, len, MADV_DONTNEED);
	p = mremap(p, len, 8192, MREMAP_MAYMOVE);
	if (p != MAP_FAILED)
		munmap(p, 8192);
}

/* Another process with the same files. */
static void inherit(uint64_t *seed)
{
	pid_t pid = fork();

	if (!pid) {
		alarm(1);
		for (unsigned i = 0; i < FILES; i++) {
			ioctl(fds[i], TWVMX_IOC_RUN, 0);
			slot(i, seed);
			dirty(i, seed);
			map_oddly(i, seed);
		}
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, next(seed) % 2 ? 0 : WNOHANG);
}

static void close_file(unsigned i)
{
	int fd = __atomic_exchange_n(&fds[i], -1, __ATOMIC_RELAXED);

	if (fd >= 0)
		close(fd);
}

static void *worker(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (;;) {
		unsigned i = next(&seed) % FILES;

		switch (next(&seed) % 16) {
		case 0:
			make(i);
			break;
		case 1:
		case 2:
			slot(i, &seed);
			break;
		case 3:
			if (next(&seed) % 2)
				dirty(i, &seed);
			else
				host_state(i, &seed);
			break;
		case 4:
			ioctl(fds[i],
			      (unsigned long)choose(&seed, next(&seed) % 2 ? TWVMX_IOC_INFO
									   : TWVMX_IOC_STATS),
			      choose(&seed, (uintptr_t)memory));
			break;
		case 5:
			if (next(&seed) % 8 == 0)
				close_file(i);
			break;
		case 6:
			remap(&seed);
			break;
		case 7:
			map_oddly(i, &seed);
			break;
		case 8:
			if (next(&seed) % 8 == 0)
				inherit(&seed);
			break;
		case 9:
			scribble(i, &seed);
			break;
		case 10:
			cpuid_table(i, &seed);
			break;
		default:
			run(i, &seed);
		}
	}
	return NULL;
}

static void on_alarm(int sig)
{
}

/* Guest memory: anything, and often instructions that the module serves (RDTSC, CPUID, RDTSCP). */
static void fill_memory(uint64_t *seed)
{
	static const uint8_t served[3][8] = { "\x0f\x31\x0f\xa2\x40\x0f\xa2",
					      "\x0f\x01\xf9\x0f\x31\x0f\x31",
					      "\x31\xc0\x0f\xa2\x31\xc9\x41" };

	for (unsigned i = 0; i < CODE_SIZE; i += 8) {
		if (next(seed) % 2)
			memcpy(memory + i, served[next(seed) % 3], 8);
		else
			memcpy(memory + i, &(uint64_t){ next(seed) }, 8);
	}
}

static void child(uint64_t seed)
{
	const struct itimerval tick = { { 0, 1000 },
					{ 0, 1000 } }; /* a guest that loops has to come back */
	const struct sigaction alarm_action = { .sa_handler = on_alarm };
	pthread_t t;

	sigaction(SIGALRM, &alarm_action, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fill_memory(&seed);
	for (unsigned i = 0; i < FILES; i++) {
		fds[i] = -1;
		make(i);
	}
	for (uintptr_t i = 1; i < THREADS; i++)
		pthread_create(&t, NULL, worker, (void *)(seed * i));
	worker((void *)(uintptr_t)seed);
}

/* Files of killed processes, and of what they forked, are closed a little later. */
static bool all_gone(unsigned *left)
{
	struct twvmx_info info = { 0 };
	int fd = open(TWVMX_DEVICE, O_RDWR);

	for (unsigned i = 0; i < 30; i++) {
		if (ioctl(fd, TWVMX_IOC_INFO, &info) == 0 && info.vms == 0)
			break;
		usleep(100000);
	}
	*left = info.vms;
	close(fd);
	return info.version && !info.vms;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20, left;

	entered = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 1; i <= rounds; i++) {
		pid_t pid = fork();

		if (!pid) {
			child(i * 0x9e3779b97f4a7c15ull);
			_exit(0);
		}
		usleep(20000 + i * 3571 % 30000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (all_gone(&left))
		printf("ok fuzz.%u-rounds\n", rounds);
	else
		printf("not ok fuzz: %u VMs are left\n", left);
	if (*entered >= rounds / 5) /* most of the random guests cannot be entered */
		printf("ok fuzz.entered\n");
	else
		printf("not ok fuzz.entered: guests ran %llu times only\n",
		       (unsigned long long)*entered);
	if (entered[1])
		printf("ok fuzz.served\n");
	else
		printf("not ok fuzz.served: no guest got an answer of RDTSC or CPUID\n");
	return left != 0;
}
