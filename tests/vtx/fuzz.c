// SPDX-License-Identifier: GPL-2.0-or-later
/* Random calls on the device node, by several threads, in processes that are killed at random moments. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"

#define FILES	4
#define THREADS 3
#define MEMORY	(1ul << 20)

static int fds[FILES];
static uint8_t *memory;
static struct twvmx_run *volatile page[FILES];

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
	if (fds[i] < 0 || ioctl(fds[i], TWVMX_IOC_CREATE, TWVMX_VERSION) < 0)
		return;
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

/* Registers of a real-mode guest at 0, each with some chance of being something else. */
static void guest_registers(struct twvmx_regs *r, uint64_t *seed)
{
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < 8; i++)
		r->seg[i] = (struct twvmx_seg){ 0, 0xffff, i == 1 ? 0x9b : i < 6 ? 0x93 : i == 6 ? 0x10000 : 0x8b, 0 };
	r->rflags = choose(seed, 2);
	r->rip = next(seed) % 4096;
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
	for (unsigned i = 0; i < 512; i += 8)
		memcpy(r->fxsave + i, &(uint64_t){ next(seed) }, 8);
}

static void run(unsigned i, uint64_t *seed)
{
	struct twvmx_run *r = page[i];

	if (r) {
		r->version = (uint32_t)choose(seed, TWVMX_VERSION);
		r->load = (uint32_t)choose(seed, TWVMX_LOAD_ALL);
		r->flags = (uint32_t)choose(seed, next(seed) % 32);
		r->entry_info = (uint32_t)choose(seed, 0);
		r->entry_error = (uint32_t)next(seed);
		r->entry_len = (uint32_t)choose(seed, 1);
		r->kick = next(seed) % 4 != 0; /* a guest that loops must come back now and then */
		guest_registers(&r->regs, seed);
	}
	ioctl(fds[i], TWVMX_IOC_RUN, choose(seed, 0));
}

static void *worker(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (;;) {
		unsigned i = next(&seed) % FILES;

		switch (next(&seed) % 8) {
		case 0:
			make(i);
			break;
		case 1:
			slot(i, &seed);
			break;
		case 2:
			dirty(i, &seed);
			break;
		case 3:
			ioctl(fds[i], (unsigned long)choose(&seed, TWVMX_IOC_INFO), choose(&seed, (uintptr_t)memory));
			break;
		case 4:
			if (next(&seed) % 16 == 0)
				close(fds[i]);
			break;
		default:
			run(i, &seed);
		}
	}
	return NULL;
}

static void child(uint64_t seed)
{
	pthread_t t;

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < MEMORY; i += 8)
		memcpy(memory + i, &(uint64_t){ next(&seed) }, 8);
	for (unsigned i = 0; i < FILES; i++) {
		fds[i] = -1;
		make(i);
	}
	for (uintptr_t i = 1; i < THREADS; i++)
		pthread_create(&t, NULL, worker, (void *)(seed * i));
	worker((void *)(uintptr_t)seed);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20;
	struct twvmx_info info = { 0 };
	int fd;

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
	fd = open(TWVMX_DEVICE, O_RDWR);
	if (fd >= 0 && ioctl(fd, TWVMX_IOC_INFO, &info) == 0 && info.vms == 0)
		printf("ok fuzz.%u-rounds\n", rounds);
	else
		printf("not ok fuzz: %u VMs are left\n", info.vms);
	return info.vms != 0;
}
