// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_keep.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REGISTERS  8
#define VECTOR	   32
#define DELAY_PORT 0x80 /* nothing listens there */

struct qualify_keep {
	pthread_t thread;
	uint8_t before[REGISTERS * VECTOR], after[REGISTERS * VECTOR];
	uint32_t held, over;
};

/* Nothing but this loop runs between the loads and the stores. */
__attribute__((target("avx"))) static void hold(struct qualify_keep *k)
{
	__asm__ volatile("vmovdqu (%0), %%ymm0\n"
			 "	vmovdqu 32(%0), %%ymm1\n"
			 "	vmovdqu 64(%0), %%ymm2\n"
			 "	vmovdqu 96(%0), %%ymm3\n"
			 "	vmovdqu 128(%0), %%ymm4\n"
			 "	vmovdqu 160(%0), %%ymm5\n"
			 "	vmovdqu 192(%0), %%ymm6\n"
			 "	vmovdqu 224(%0), %%ymm7\n"
			 "	movl $1, (%2)\n"
			 "1:	pause\n"
			 "	cmpl $0, (%3)\n"
			 "	je 1b\n"
			 "	vmovdqu %%ymm0, (%1)\n"
			 "	vmovdqu %%ymm1, 32(%1)\n"
			 "	vmovdqu %%ymm2, 64(%1)\n"
			 "	vmovdqu %%ymm3, 96(%1)\n"
			 "	vmovdqu %%ymm4, 128(%1)\n"
			 "	vmovdqu %%ymm5, 160(%1)\n"
			 "	vmovdqu %%ymm6, 192(%1)\n"
			 "	vmovdqu %%ymm7, 224(%1)\n"
			 "	vzeroupper\n"
			 :
			 : "r"(k->before), "r"(k->after), "r"(&k->held), "r"(&k->over)
			 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7");
}

static void *hold_vectors(void *ctx)
{
	hold(ctx);
	return NULL;
}

struct qualify_keep *qualify_keep_begin(void)
{
	struct qualify_keep *k = __builtin_cpu_supports("avx") ? calloc(1, sizeof(*k)) : NULL;

	if (!k)
		return NULL;
	for (size_t i = 0; i < sizeof(k->before); i++)
		k->before[i] = (uint8_t)(i * 37 + 1);
	if (pthread_create(&k->thread, NULL, hold_vectors, k)) {
		free(k);
		return NULL;
	}
	while (!__atomic_load_n(&k->held, __ATOMIC_ACQUIRE))
		sched_yield();
	return k;
}

bool qualify_keep_end(struct qualify_keep *k)
{
	bool same;

	__atomic_store_n(&k->over, 1, __ATOMIC_RELEASE);
	pthread_join(k->thread, NULL);
	same = !memcmp(k->before, k->after, sizeof(k->before));
	free(k);
	return same;
}

static sigjmp_buf refused;

static void on_fault(int sig)
{
	siglongjmp(refused, sig);
}

bool qualify_keep_port(bool *asked)
{
	struct sigaction act = { .sa_handler = on_fault }, old;
	volatile bool may = false; /* also behind the jump */

	*asked = ioperm(DELAY_PORT, 1, 1) == 0;
	if (!*asked)
		return false;
	sigaction(SIGSEGV, &act, &old);
	if (!sigsetjmp(refused, 1)) {
		outb(0, DELAY_PORT);
		may = true;
	}
	sigaction(SIGSEGV, &old, NULL);
	ioperm(DELAY_PORT, 1, 0);
	return may;
}

static volatile uint32_t watched;
static int watch_fd = -1;

bool qualify_keep_watch(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = HW_BREAKPOINT_W,
					.bp_addr = (uintptr_t)&watched,
					.bp_len = HW_BREAKPOINT_LEN_4,
					.exclude_kernel = 1,
					.exclude_hv = 1 };

	watch_fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	watched = 1;
	return watch_fd >= 0;
}

bool qualify_keep_watched(void)
{
	uint64_t writes = 0;

	watched = 2;
	if (watch_fd < 0 || read(watch_fd, &writes, sizeof(writes)) != sizeof(writes))
		writes = 0;
	if (watch_fd >= 0)
		close(watch_fd);
	watch_fd = -1;
	return writes == 2;
}
