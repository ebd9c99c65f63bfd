// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/vmx/bench.h"

#include <stdio.h>
#include <string.h>

static uint32_t port_read(void *ctx, uint16_t port, unsigned size)
{
	return port;
}

static void port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
}

static uint64_t mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	return UINT64_MAX;
}

static void mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
}

static uint64_t time_ns(void *ctx)
{
	const struct bench *b = ctx;

	return b->e->ops->count(b->e);
}

static uint64_t random_bits(void *ctx)
{
	return 0;
}

void bench_stop(struct bench *b)
{
	if (b->e)
		b->e->ops->destroy(b->e);
	memory_fini(&b->mem);
}

int bench_start(struct bench *b, const struct engine_ops *ops, const void *code, size_t len,
		struct err *err)
{
	const struct engine_bus bus = { .ctx = b,
					.port_read = port_read,
					.port_write = port_write,
					.mmio_read = mmio_read,
					.mmio_write = mmio_write,
					.time_ns = time_ns,
					.random = random_bits };
	struct cpu_state s;
	int ret;

	memset(b, 0, sizeof(*b));
	ret = memory_init(&b->mem, BENCH_MEMORY, err);
	if (ret < 0)
		return ret;
	b->e = ops->create(&b->mem, &bus, err);
	b->mem.engine = b->e;
	ret = b->e ? 0 : -err->code;
	if (!ret) {
		memory_write(&b->mem, BENCH_CODE, code, len);
		b->e->ops->get_state(b->e, &s);
		for (unsigned i = SEG_ES; i <= SEG_GS; i++)
			s.seg[i].base = s.seg[i].selector = 0;
		s.seg[SEG_CS].attr = s.seg[SEG_DS].attr; /* as after a far jump in real mode */
		s.rip = s.gpr[R_RSP] = BENCH_CODE;
		s.gpr[R_RDX] = 0;
		ret = b->e->ops->set_state(b->e, &s, err);
	}
	if (ret < 0)
		bench_stop(b);
	return ret;
}

enum engine_exit_kind bench_run(struct bench *b, uint64_t count)
{
	const struct landmark until = { .count = count };

	return b->e->ops->run(b->e, &until);
}

void bench_note_error(const struct bench *b, enum engine_exit_kind kind, char error[BENCH_ERROR])
{
	const char *text = b->e->ops->last_error(b->e);

	if (!error[0])
		snprintf(error, BENCH_ERROR, "%s",
			 kind == ENGINE_EXIT_ERROR && text ? text
							   : "the guest did not get to its end");
}

int bench_run_program(const struct engine_ops *ops, const void *code, size_t len, uint64_t limit,
		      struct cpu_state *s, char error[BENCH_ERROR], struct err *err)
{
	enum engine_exit_kind kind;
	struct bench b;
	int ret = bench_start(&b, ops, code, len, err);

	if (ret < 0)
		return ret;
	kind = bench_run(&b, limit);
	if (kind != ENGINE_EXIT_HALT)
		bench_note_error(&b, kind, error);
	b.e->ops->get_state(b.e, s);
	bench_stop(&b);
	return 0;
}
