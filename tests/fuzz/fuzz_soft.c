// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: the software CPU under any code, registers, tables and memory, in every mode. Each input
 * runs four times: interpreted and translated, each in one go, and in small slices with looks at
 * the state, dropped blocks and dirty pages between them. Nothing of that may show: all end in the
 * same state, with the same memory and the same accesses to ports, and with the same translations
 * in the TLBs where they ran the same slices.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/memory.h"

/* The rig is made for Check, which needs a runner of its own. */
#define TESTS_UNIT_H
#define ck_assert(cond)		 must(cond)
#define ck_assert_msg(cond, ...) must(cond)
#define ck_assert_int_eq(a, b)	 must((a) == (b))
#define ck_assert_ptr_nonnull(p) must(p)
#include "tests/soft/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SOFT_COUNT  120
#define SOFT_CALLS  100 /* of the bus: then the guest is kicked, so that no REP goes on for ever */
#define SOFT_MEMORY (2ul << 20)

struct soft_case {
	struct rig r;
	bool translate;
	unsigned calls;
	uint8_t vector;
	bool kicked;
	struct buf end;
	uint8_t touched[SOFT_MEMORY / PAGE_SIZE];
	enum engine_exit_kind kind;
};

static void bus_called(struct soft_case *c)
{
	c->r.ns = c->r.ns * 3 + 1;
	if (++c->calls == SOFT_CALLS) {
		c->kicked = true;
		c->r.e->ops->kick(c->r.e);
	}
}

static uint32_t port_read(void *ctx, uint16_t port, unsigned size)
{
	struct soft_case *c = ctx;

	bus_called(c);
	return rig_port_read(&c->r, port, size);
}

/* A device may ask for the end of run(), or for a window to interrupt in. */
static void port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
	struct soft_case *c = ctx;

	bus_called(c);
	rig_port_write(&c->r, port, size, value);
	if (value & 1)
		c->r.e->ops->bus_stop(c->r.e);
	if (value & 2)
		c->r.e->ops->window(c->r.e, true);
}

static uint64_t mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	bus_called(ctx);
	return gpa * 0x9e3779b97f4a7c15;
}

static void mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	bus_called(ctx);
}

static uint64_t soft_time(void *ctx)
{
	return ((struct soft_case *)ctx)->r.ns;
}

static void soft_open(struct soft_case *c)
{
	const struct engine_bus bus = { .ctx = c,
					.port_read = port_read,
					.port_write = port_write,
					.mmio_read = mmio_read,
					.mmio_write = mmio_write,
					.time_ns = soft_time,
					.random = rig_random };

	c->r.nports = 0;
	memset(c->r.ports, 0, sizeof(c->r.ports));
	c->r.ns = c->calls = 0;
	c->kicked = false;
	memset(c->touched, 0, sizeof(c->touched));
	if (c->r.mem.base)
		must(memory_clear(&c->r.mem, NULL) == 0);
	else
		must(memory_init(&c->r.mem, SOFT_MEMORY, NULL) == 0);
	/* An engine that was not kicked is as good as new when it gets a state. */
	if (!c->r.e) {
		c->r.e = c->translate ? test_engine_translating(&c->r.mem, &bus)
				      : soft_interpret_engine_ops.create(&c->r.mem, &bus, NULL);
		must(c->r.e);
	}
	c->r.e->ops->window(c->r.e, false);
	c->r.mem.engine = c->r.e;
	cpu_state_reset(&c->r.s);
	c->r.s.rip = CODE;
	c->r.s.gpr[R_RSP] = STACK;
}

/* 16-bit protected mode: as 32-bit, with other code segments. */
static void soft_prot16(struct rig *r)
{
	rig_prot(r, 0);
	rig_seg(r, SEG_CS, K_CODE32, A_CODE16 | SEG_G);
	rig_seg(r, SEG_SS, K_DATA, (A_DATA & ~SEG_DB));
}

/* Virtual 8086 mode at 1000:0000. */
static void soft_v86(struct rig *r)
{
	rig_prot(r, 3);
	for (enum seg s = SEG_ES; s <= SEG_GS; s++) {
		r->s.seg[s] = (struct seg_state){
			.base = CODE, .limit = 0xffff, .attr = 0xf3, .selector = CODE >> 4
		};
	}
	r->s.rflags |= FL_VM | 0x3000;
	r->s.rip = 0;
	r->s.gpr[R_RSP] = 0x8000;
}

/* 32-bit mode with 4 MiB pages, of which the table maps the first to itself. */
static void soft_paged(struct rig *r, unsigned cpl)
{
	rig_prot(r, cpl);
	rig_put32(r, PML4, 0x87);
	rig_put32(r, PML4 + 4, PDPT | 7);
	for (unsigned i = 0; i < 512; i++)
		rig_put32(r, PDPT + 4 * i, i << 12 | 7);
	r->s.cr3 = PML4;
	r->s.cr4 |= CR4_PSE | CR4_OSFXSR;
	r->s.cr0 |= CR0_PG | CR0_WP;
}

static void soft_mode(struct rig *r, uint8_t mode)
{
	switch (mode % 8) {
	case 0:
		rig_real(r);
		break;
	case 1:
	case 2:
		rig_prot(r, mode % 8 == 1 ? 0 : 3);
		break;
	case 3:
		soft_prot16(r);
		break;
	case 4:
		soft_v86(r);
		break;
	case 5:
		soft_paged(r, mode & 8 ? 3 : 0);
		break;
	default:
		rig_long(r, mode % 8 == 6 ? 0 : 3);
	}
	if (mode & 0x10)
		r->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (mode & 0x20)
		r->s.rflags |= FL_IF;
	if (mode & 0x40)
		r->s.rflags |= FL_TF;
}

static void soft_registers(struct rig *r, struct rd *in)
{
	static const uint64_t value[] = {
		0,
		1,
		2,
		3,
		16,
		DATA,
		DATA + 0xffc,
		STACK - 64,
		CODE + 32,
		SOFT_MEMORY - 4,
		0x1234,
		0x7fffffff,
		UINT32_MAX,
		0x7fffffffffffffff,
		UINT64_MAX,
		0xffff800000000000,
	};

	for (unsigned n = rd_u8(in) & 31; n; n--) {
		uint8_t what = rd_u8(in);

		if (what & 0x80)
			r->s.gpr[what & 15] = rd_u64(in);
		else
			r->s.gpr[what & 15] = value[rd_u8(in) & 15];
	}
}

/* A few bytes of the state's image become others; false when no CPU can be like that. */
static bool soft_patch(struct rig *r, struct rd *in)
{
	struct buf image = BUF_INIT;
	struct rd changed;
	bool good;

	cpu_state_save(&r->s, &image);
	must(!image.bad);
	for (unsigned n = rd_u8(in) & 15; n; n--) {
		uint16_t at = rd_u16(in);

		image.data[at % image.len] = rd_u8(in);
	}
	changed = (struct rd)RD_INIT(image.data, image.len);
	good = cpu_state_restore(&r->s, &changed) == 0;
	buf_free(&image);
	r->s.count %= 1ull << 40;
	return good;
}

static void soft_memory(struct rig *r, struct rd *in)
{
	for (unsigned n = rd_u8(in) & 15; n; n--) {
		uint32_t at = rd_u16(in) << 3;
		size_t len = rd_u8(in) & 63;

		if (len > rd_left(in))
			len = rd_left(in);
		memory_write(&r->mem, at & 0x7ffff, in->p, len);
		in->p += len;
	}
}

/* Forgets what is dirty, as a digest does, but for the comparison at the end. */
static void soft_clean(struct soft_case *c)
{
	c->r.e->ops->sync_dirty(c->r.e);
	for (size_t i = 0; i < sizeof(c->touched); i++)
		c->touched[i] |= c->r.mem.dirty[i];
	memset(c->r.mem.dirty, 0, c->r.mem.pages);
}

/* Between two slices: what a host may do whenever it likes. */
static void soft_disturb(struct soft_case *c, uint64_t x)
{
	const struct engine_ops *ops = c->r.e->ops;
	struct cpu_state s;

	if (x & 0x100)
		ops->get_state(c->r.e, &s);
	if (x & 0x200)
		ops->memory_written(c->r.e, x >> 16 & 0x1ff000, 0x4000);
	if (x & 0x400)
		soft_clean(c);
}

/* slice 0: in one go. */
static void soft_run(struct soft_case *c, uint8_t slice)
{
	const struct engine_ops *ops = c->r.e->ops;
	uint64_t end = ops->count(c->r.e) + SOFT_COUNT, x = slice;

	do {
		struct landmark until = { .count = end };

		if (slice) {
			x = x * 6364136223846793005 + 1442695040888963407;
			until.count = ops->count(c->r.e) + 1 + (x >> 40) % 5;
			until.count = until.count < end ? until.count : end;
			soft_disturb(c, x >> 20);
		}
		c->kind = ops->run(c->r.e, &until);
		if (c->kind == ENGINE_EXIT_WINDOW) {
			must(ops->can_interrupt(c->r.e));
			ops->window(c->r.e, false);
			ops->inject(c->r.e, c->vector);
			c->kind = ENGINE_EXIT_BUS;
		}
	} while (!c->kicked && (c->kind == ENGINE_EXIT_BUS ||
				(c->kind == ENGINE_EXIT_UNTIL && ops->count(c->r.e) < end)));
}

/* False when the input makes a state that is refused. */
static bool soft_case(struct soft_case *c, struct rd in, uint8_t slice)
{
	struct err err = ERR_INIT;
	uint8_t code[2048];
	bool ran;

	memset(code, 0xf4, sizeof(code)); /* HLT */
	soft_open(c);
	soft_mode(&c->r, rd_u8(&in));
	c->vector = rd_u8(&in);
	soft_registers(&c->r, &in);
	ran = soft_patch(&c->r, &in);
	soft_memory(&c->r, &in);
	rd_get(&in, code, rd_left(&in) < sizeof(code) ? rd_left(&in) : sizeof(code));
	memory_write(&c->r.mem, CODE, code, sizeof(code));
	ran = ran && c->r.e->ops->set_state(c->r.e, &c->r.s, &err) == 0;
	buf_clear(&c->end);
	if (ran) {
		soft_run(c, slice);
		soft_clean(c);
		c->r.e->ops->get_state(c->r.e, &c->r.s);
		cpu_state_save(&c->r.s, &c->end);
	}
	c->r.mem.engine = NULL;
	if (c->kicked || !ran) {
		c->r.e->ops->destroy(c->r.e);
		c->r.e = NULL;
	}
	return ran && !c->kicked;
}

static void soft_compare(const struct soft_case *a, const struct soft_case *b)
{
	must(a->kind == b->kind);
	must(a->end.len == b->end.len && !memcmp(a->end.data, b->end.data, a->end.len));
	must(a->calls == b->calls && a->r.nports == b->r.nports &&
	     !memcmp(a->r.ports, b->r.ports, sizeof(a->r.ports)));
	for (size_t at = 0; at < SOFT_MEMORY; at += PAGE_SIZE) {
		if (a->touched[at / PAGE_SIZE] | b->touched[at / PAGE_SIZE])
			must(!memcmp(a->r.mem.base + at, b->r.mem.base + at, PAGE_SIZE));
	}
}

/* All but host addresses, and bits of write tags that are the host's own. */
static void soft_compare_tlbs(const struct soft_case *a, const struct soft_case *b)
{
	const uint64_t own = TLB_CLEAN | TLB_CODE;
	const struct cpu *ca = soft_engine_cpu(a->r.e), *cb = soft_engine_cpu(b->r.e);

	for (size_t i = 0; i < MMU_COUNT * TLB_SIZE; i++) {
		const struct tlb_entry *ea = &ca->tlbs[0][0] + i, *eb = &cb->tlbs[0][0] + i;

		if (ea->rd == TLB_INVALID && eb->rd == TLB_INVALID)
			continue;
		must(ea->rd == eb->rd && ea->gpa == eb->gpa && !((ea->wr ^ eb->wr) & ~own));
	}
	for (size_t i = 0; i < 2 * TLB_SIZE; i++) {
		const struct itlb_entry *ea = &ca->itlb[0][0] + i, *eb = &cb->itlb[0][0] + i;

		must(ea->tag == eb->tag && (ea->tag == TLB_INVALID || ea->gpa == eb->gpa));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct soft_case a, b, ta = { .translate = true }, tb = { .translate = true };
	struct rd in = RD_INIT(data, size);
	uint8_t slice = rd_u8(&in);

	if (!soft_case(&a, in, 0) || !soft_case(&ta, in, 0))
		return 0;
	soft_compare(&a, &ta);
	soft_compare_tlbs(&a, &ta);
	if (!soft_case(&b, in, slice | 1) || !soft_case(&tb, in, slice | 1))
		return 0;
	soft_compare(&a, &b);
	soft_compare(&a, &tb);
	soft_compare_tlbs(&b, &tb);
	return 0;
}
