/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs that run inside Bochs share: result lines, and a vCPU with little around it. */
#ifndef TESTS_VTX_RIG_H
#define TESTS_VTX_RIG_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/engine.h"
#include "hypervisor/memory.h"
#include "hypervisor/vmx/module/twinstep_vmx.h"

#define RIG_MEMORY (1u << 20)
#define RIG_CODE   0x8000u

struct rig {
	struct memory mem;
	struct engine *e;
	uint64_t ports, mmio; /* accesses */
	uint32_t last;	      /* value last written to a port */
};

static int rig_failures;

__attribute__((format(printf, 3, 4))) static inline void rig_check(bool good, const char *name,
								   const char *fmt, ...)
{
	va_list ap;

	if (good) {
		printf("ok %s\n", name);
		return;
	}
	rig_failures++;
	printf("not ok %s: ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static uint32_t rig_port_read(void *ctx, uint16_t port, unsigned size)
{
	return (uint32_t)(port * 3u + ((struct rig *)ctx)->ports++);
}

static void rig_port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
	((struct rig *)ctx)->ports++;
	((struct rig *)ctx)->last = value;
}

static uint64_t rig_mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	((struct rig *)ctx)->mmio++;
	return gpa ^ 0x5a5a5a5a5a5a5a5aull;
}

static void rig_mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	((struct rig *)ctx)->mmio++;
}

/* Time and random numbers that depend on the count alone. */
static uint64_t rig_time(void *ctx)
{
	struct rig *r = ctx;

	return 1000 + r->e->ops->count(r->e) * 7;
}

static void rig_time_line(void *ctx, struct engine_time *t)
{
	*t = (struct engine_time){ .anchor_ns = 1000, .rate = 7 << 16 };
}

static uint64_t rig_random(void *ctx)
{
	return rig_time(ctx) * 0x9e3779b97f4a7c15ull;
}

/*
 * A vCPU in 16-bit real mode at RIG_CODE, all segments at 0, stack below the code; r->mem is there
 * already.
 */
static inline void rig_start_on_memory(struct rig *r, const struct engine_ops *ops,
				       const void *code, size_t len)
{
	const struct engine_bus bus = { .ctx = r,
					.port_read = rig_port_read,
					.port_write = rig_port_write,
					.mmio_read = rig_mmio_read,
					.mmio_write = rig_mmio_write,
					.time_ns = rig_time,
					.random = rig_random,
					.time_line = rig_time_line };
	struct err err = ERR_INIT;
	struct cpu_state s;

	if (!(r->e = ops->create(&r->mem, &bus, &err))) {
		printf("not ok rig.%s: %s\n", ops->name, err.text);
		exit(1);
	}
	r->mem.engine = r->e;
	memory_write(&r->mem, RIG_CODE, code, len);
	r->e->ops->get_state(r->e, &s);
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
		s.seg[i].base = 0;
		s.seg[i].selector = 0;
	}
	s.seg[SEG_CS].attr = s.seg[SEG_DS].attr; /* as after a far jump in real mode */
	s.rip = RIG_CODE;
	s.gpr[R_RSP] = RIG_CODE;
	if (r->e->ops->set_state(r->e, &s, &err) < 0) {
		printf("not ok rig.%s: %s\n", ops->name, err.text);
		exit(1);
	}
}

static inline void rig_memory(struct rig *r, uint64_t size)
{
	struct err err = ERR_INIT;

	setlinebuf(stdout);
	memset(r, 0, sizeof(*r));
	if (memory_init(&r->mem, size, &err) < 0) {
		printf("not ok rig.memory: %s\n", err.text);
		exit(1);
	}
}

static inline void rig_start(struct rig *r, const struct engine_ops *ops, const void *code,
			     size_t len)
{
	rig_memory(r, RIG_MEMORY);
	rig_start_on_memory(r, ops, code, len);
}

static inline void rig_stop(struct rig *r)
{
	r->e->ops->destroy(r->e);
	memory_fini(&r->mem);
}

static inline enum engine_exit_kind rig_run(struct rig *r, uint64_t count)
{
	const struct landmark until = { .count = count };

	return r->e->ops->run(r->e, &until);
}

/* VMs that the module has now; ~0: it does not say. */
static inline unsigned rig_vms(void)
{
	struct twvmx_info info = { 0 };
	int fd = open(TWVMX_DEVICE, O_RDWR);

	if (fd < 0 || ioctl(fd, TWVMX_IOC_INFO, &info) < 0)
		return ~0u;
	close(fd);
	return info.vms;
}

#endif
