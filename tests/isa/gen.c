/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a seed to a case. Instructions come from opcode templates filled with random prefixes,
 * registers and operands; Zydis says whether the result is an instruction. The generator keeps
 * track of which registers still hold pointers into the data memory, so that most accesses hit, and
 * makes new pointers when they run out.
 */
#include "tests/isa/isa.h"

#include <string.h>

#include <xxhash.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

struct gen {
	struct rng r;
	struct tcase *c;
	enum isa_class cls; /* of the instruction being made */
	ZydisMnemonic only;
	uint16_t ptr;	/* registers that hold pointers to data */
	uint16_t small; /* registers that hold small numbers */
	uint32_t undef; /* flags undefined at this place, ignoring branches */
	bool last;
};

/* An instruction under construction. */
struct enc {
	struct gen *g;
	const struct tmpl *t;
	struct insn *in;
	uint8_t pfx[5];
	unsigned npfx;
	uint8_t rex;
	bool opsize, addrsize;
	uint8_t modrm, sib;
	bool has_modrm, has_sib;
	uint8_t disp[8];
	unsigned ndisp;
	bool riprel, env16, addr16;
};

#define SCRATCH_FXS	 4
#define SCRATCH_FX_SIZE	 640
#define SCRATCH_ENVS	 12
#define SCRATCH_ENV_SIZE 128

/* ---- memory image ---- */
static void fill_fp_image(struct rng *r, uint8_t *p)
{
	static const uint16_t cw = 0x37f;
	uint32_t mxcsr = 0x1f80 | (rng_below(r, 4) << 13);

	memset(p, 0, 576);
	memcpy(p, &cw, 2);
	p[3] = (uint8_t)(rng_below(r, 8) << 3);
	p[4] = (uint8_t)rng_next(r);
	memcpy(p + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		rng_x87(r, p + 32 + 16 * i);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t v = rng_double(r);

		memcpy(p + 160 + 8 * i, &v, 8);
	}
	p[512] = (uint8_t)rng_below(r, 4);
}

/* Anything goes in an FRSTOR image, but most exceptions are masked. */
static void fill_env_image(struct rng *r, uint8_t *p)
{
	for (unsigned i = 0; i < SCRATCH_ENV_SIZE; i++)
		p[i] = (uint8_t)rng_next(r);
	p[0] |= 0x3f;
}

static void fill_page(struct rng *r, uint8_t *p, unsigned kind)
{
	for (unsigned i = 0; i < PAGE; i += 8) {
		uint64_t v = kind == 0	 ? rng_edge(r)
			     : kind == 1 ? rng_double(r)
					 : (uint64_t)rng_float(r) << 32 | rng_float(r);

		memcpy(p + i, &v, 8);
	}
	if (kind == 1)
		for (unsigned i = 0; i + 10 < PAGE; i += 96)
			rng_x87(r, p + i);
}

const uint8_t *image_pristine(void)
{
	static uint8_t image[IMAGE_SIZE];
	static bool ready;
	static const uint8_t kind[DATA_SIZE / PAGE] = { 0, 1, 2, 1 };
	struct rng r = { 42 };

	if (ready)
		return image;
	for (unsigned i = 0; i < DATA_SIZE / PAGE; i++)
		fill_page(&r, image + IMAGE_DATA + i * PAGE, kind[i]);
	fill_page(&r, image + IMAGE_FAR, 0);
	for (unsigned i = 0; i < SCRATCH_FXS; i++)
		fill_fp_image(&r, image + IMAGE_SCRATCH + i * SCRATCH_FX_SIZE);
	for (unsigned i = 0; i < SCRATCH_ENVS; i++)
		fill_env_image(&r, image + IMAGE_SCRATCH + SCRATCH_FXS * SCRATCH_FX_SIZE +
					   i * SCRATCH_ENV_SIZE);
	ready = true;
	return image;
}

uint64_t image_hash(const struct tcase *c, uint8_t *image)
{
	for (unsigned i = 0; i < c->nmask; i++)
		memset(image + c->mask[i].off, 0, c->mask[i].len);
	return XXH3_64bits(image, IMAGE_SIZE);
}

/* ---- initial state ---- */
static uint64_t pick_bad_pointer(struct rng *r)
{
	switch (rng_below(r, 10)) {
	case 0: /* across the border to read-only */
		return DATA_BASE + DATA_RW_SIZE - rng_below(r, 32);
	case 1:
		return DATA_BASE + DATA_RW_SIZE + (rng_below(r, PAGE) & ~15u);
	case 2: /* across the end */
		return DATA_BASE + DATA_SIZE - rng_below(r, 32);
	case 3:
		return DATA_BASE - rng_below(r, 32);
	case 4:
		return FAR_BASE + FAR_SIZE - rng_below(r, 32);
	case 5:
		return FAR_BASE - rng_below(r, 16);
	case 6: /* around the end of the canonical half */
		return 0x800000000000ull - rng_below(r, 64) + rng_below(r, 32);
	case 7:
		return rng_next(r);
	case 8:
		return 0xffff800000000000ull + (rng_next(r) & 0xffffffff000);
	default:
		/* where no sequence lies, as its bytes may differ between the two sides */
		return CODE_BASE + 0x1400 + (rng_below(r, 0x400) & ~15u);
	}
}

static bool likes_aligned(enum isa_class cls)
{
	return cls == CLS_SSE_FP || cls == CLS_SSE_INT || cls == CLS_CRYPTO || cls == CLS_ALIGN;
}

static uint64_t pick_pointer(struct gen *g)
{
	struct rng *r = &g->r;
	unsigned bad = g->c->cls == CLS_FAULT ? 50 : 6;
	uint64_t p;

	if (rng_chance(r, bad))
		return pick_bad_pointer(r);
	if (!g->c->m32 && rng_chance(r, 8))
		return FAR_BASE + 0x400 + (rng_below(r, 0x800) & ~15u);
	p = DATA_BASE + 0x200 + (rng_below(r, DATA_RW_SIZE - 0x400) & ~15u);
	if (rng_chance(r, likes_aligned(g->c->cls) ? 4 : 25))
		p += rng_below(r, 16);
	return p;
}

static void init_gprs(struct gen *g)
{
	static const uint8_t pointer_chance[16] = { 10, 5,  10, 70, 100, 70, 90, 90,
						    40, 20, 40, 20, 60,	 60, 20, 30 };
	struct regs *s = &g->c->init;

	for (unsigned i = 0; i < 16; i++) {
		if (rng_chance(&g->r, pointer_chance[i])) {
			s->gpr[i] = pick_pointer(g);
			g->ptr |= (uint16_t)(1u << i);
		} else if (rng_chance(&g->r, i == RCX ? 70 : 30)) {
			s->gpr[i] = rng_below(&g->r, 33);
			g->small |= (uint16_t)(1u << i);
		} else {
			s->gpr[i] = rng_edge(&g->r);
		}
	}
	if (!rng_chance(&g->r, g->c->cls == CLS_FAULT ? 30 : 5)) {
		s->gpr[RSP] = DATA_BASE + PAGE + (rng_below(&g->r, PAGE) & ~7u);
		if (g->c->cls != CLS_ALIGN && rng_chance(&g->r, 10))
			s->gpr[RSP] += rng_below(&g->r, 8);
	}
	if (g->c->m32) {
		for (unsigned i = 0; i < 8; i++)
			s->gpr[i] = (uint32_t)s->gpr[i];
		g->ptr &= 0xff;
		g->small &= 0xff;
	}
	s->fs_base = rng_chance(&g->r, 90) ? DATA_BASE + (rng_below(&g->r, 64) & ~15u)
					   : DATA_BASE - 0x1000;
	s->gs_base = rng_chance(&g->r, 90) ? 0x100 : 0x7fff00000000ull;
}

static void init_fx(struct gen *g)
{
	uint8_t *p = g->c->init.fx;
	struct rng *r = &g->r;
	uint16_t cw = (uint16_t)(0x7f | rng_below(r, 4) << 10 |
				 (rng_chance(r, 60) ? 3u : rng_below(r, 4)) << 8);
	uint16_t sw = (uint16_t)(rng_below(r, 8) << 11 | (rng_next(r) & 0x4700));
	uint32_t mxcsr = 0x1f80 | rng_below(r, 4) << 13 | (rng_chance(r, 80) ? 0 : 0x8000) |
			 (rng_chance(r, 80) ? 0 : 0x40) |
			 (rng_chance(r, 80) ? 0 : rng_below(r, 64));

	memset(p, 0, 512);
	if (rng_chance(r, 12))
		cw = (uint16_t)((cw & ~0x3f) | rng_below(r, 64));
	if (rng_chance(r, 12))
		mxcsr &= ~(rng_below(r, 64) << 7);
	if (rng_chance(r, 10))
		sw |= (uint16_t)rng_below(r, 64);
	if (sw & ~cw & 0x3f)
		sw |= 0x8080;
	g->c->unmasked = (cw & 0x3f) != 0x3f;
	memcpy(p, &cw, 2);
	memcpy(p + 2, &sw, 2);
	p[4] = (uint8_t)(rng_chance(r, 30) ? 0 : rng_next(r) | rng_next(r));
	memcpy(p + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		rng_x87(r, p + 32 + 16 * i);
	for (unsigned i = 0; i < 32; i++) {
		unsigned kind = rng_below(r, 3);
		uint64_t v = kind == 0	 ? rng_edge(r)
			     : kind == 1 ? rng_double(r)
					 : (uint64_t)rng_float(r) << 32 | rng_float(r);

		memcpy(p + 160 + 8 * i, &v, 8);
	}
}

static void init_state(struct gen *g)
{
	struct regs *s = &g->c->init;

	init_gprs(g);
	init_fx(g);
	s->rflags = 0x202 | (rng_next(&g->r) & FL_ARITH_ALL);
	if (rng_chance(&g->r, 10))
		s->rflags |= 0x400;
	if (g->c->cls == CLS_ALIGN)
		s->rflags |= 0x40000;
	if (rng_chance(&g->r, 2))
		s->rflags |= 0x100; /* a trap after the first instruction, or iteration */
}

/* ---- operands ---- */
static int pick_bit(struct gen *g, uint16_t mask)
{
	unsigned n = (unsigned)__builtin_popcount(mask), k;

	if (n == 0)
		return -1;
	k = rng_below(&g->r, n);
	for (int i = 0; i < 16; i++)
		if ((mask >> i & 1) && k-- == 0)
			return i;
	return -1;
}

static void put_disp(struct enc *e, int64_t v, unsigned n)
{
	memcpy(e->disp, &v, n);
	e->ndisp = n;
}

/* mod 0, rm 5: RIP-relative; mod 0, SIB without base and index: absolute. */
static void mem_absolute(struct enc *e, uint64_t addr, bool riprel)
{
	if (riprel && e->g->c->m32) { /* mod 0, rm 5 is plainly absolute */
		e->modrm |= 5;
		put_disp(e, (int64_t)addr, 4);
	} else if (riprel) {
		e->modrm |= 5;
		e->riprel = true;
		e->in->rip_target = addr;
		put_disp(e, 0, 4);
	} else {
		e->modrm |= 4;
		e->has_sib = true;
		e->sib = (uint8_t)(rng_below(&e->g->r, 4) << 6 | 4 << 3 | 5);
		put_disp(e, (int64_t)addr, 4);
	}
}

static void mem_disp(struct enc *e, bool forced)
{
	struct rng *r = &e->g->r;
	bool aligned = ((e->t->flags & T_VEC) && rng_chance(r, 92)) ||
		       (e->g->c->cls == CLS_ALIGN && rng_chance(r, 70));
	unsigned kind = rng_below(r, 10);

	if (kind < 4 && !forced)
		return;
	if (kind < 8 || forced) {
		int8_t d = (int8_t)(rng_next(r) & (aligned ? 0xf0 : 0xff));

		e->modrm |= 1 << 6;
		put_disp(e, d, 1);
	} else {
		int32_t d = (int32_t)(rng_below(r, 1024)) - 512;

		e->modrm |= 2 << 6;
		put_disp(e, aligned ? d & ~15 : d, 4);
	}
}

static void mem_based(struct enc *e, int base, int index)
{
	struct rng *r = &e->g->r;

	if (index >= 0 || (base & 7) == 4 || rng_chance(r, 5)) {
		e->modrm |= 4;
		e->has_sib = true;
		e->sib = (uint8_t)(rng_below(r, 4) << 6 | (index >= 0 ? index & 7 : 4) << 3 |
				   (base & 7));
		if (index >= 8)
			e->rex |= 0x42;
	} else {
		e->modrm |= (uint8_t)(base & 7);
	}
	if (base >= 8)
		e->rex |= 0x41;
	mem_disp(e, (base & 7) == 5);
}

/*
 * Images of different formats lie apart, so that bytes that are not compared in one are never read
 * as another: FXSAVE and XSAVE below, then FNSTENV and FNSAVE, of 32 and of 16 bits in turn.
 */
static uint64_t pick_scratch(struct enc *e)
{
	struct rng *r = &e->g->r;
	unsigned slot;

	if (e->t->map == 0) {
		slot = rng_below(r, SCRATCH_ENVS);
		e->env16 = slot & 1;
		return SCRATCH_BASE + SCRATCH_FXS * SCRATCH_FX_SIZE + slot * SCRATCH_ENV_SIZE;
	}
	slot = rng_below(r, SCRATCH_FXS);
	return SCRATCH_BASE + slot * SCRATCH_FX_SIZE +
	       (rng_chance(r, 3) ? 1 + 2 * rng_below(r, 16) : 0);
}

/*
 * 16-bit addressing leads to where nothing is mapped; the address shows in CR2, or in what LEA
 * gives.
 */
static void pick_memory16(struct enc *e)
{
	struct rng *r = &e->g->r;
	unsigned mod = rng_below(r, 3), rm = rng_below(r, 8);

	e->modrm |= (uint8_t)(mod << 6 | rm);
	put_disp(e, (int64_t)rng_next(r), mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
}

static void pick_memory(struct enc *e)
{
	struct gen *g = e->g;
	struct rng *r = &g->r;
	int base = pick_bit(g, g->ptr), index = -1;
	unsigned kind = rng_below(r, 100);

	if (e->t->flags & T_SCR) {
		mem_absolute(e, pick_scratch(e), rng_chance(r, 50));
		return;
	}
	if (kind < 8 || base < 0) {
		unsigned align = (e->t->flags & T_VEC) ? 15 : 0;

		mem_absolute(e, DATA_BASE + (rng_below(r, DATA_SIZE - 16) & ~align),
			     rng_chance(r, 60));
		return;
	}
	if (kind < 11)
		base = (int)rng_below(r, g->c->m32 ? 8 : 16);
	if (kind >= ((e->t->flags & T_VEC) ? 96 : 75))
		index = pick_bit(g, g->small);
	else if (kind >= 72 && kind < 74)
		index = (int)rng_below(r, g->c->m32 ? 8 : 16);
	if (index == RSP)
		index = -1;
	mem_based(e, base, index);
}

static unsigned pick_reg(struct enc *e)
{
	struct gen *g = e->g;
	unsigned n = g->c->m32 ? 8 : 16;
	unsigned reg = rng_below(&g->r, n);

	/* Spare pointers most of the time. */
	if (!(e->t->flags & (T_VEC | T_FPU)) && (g->ptr >> reg & 1) && rng_chance(&g->r, 75))
		reg = rng_below(&g->r, n);
	if (reg == RSP && rng_chance(&g->r, 80))
		reg = RAX;
	return reg;
}

static void fill_modrm(struct enc *e)
{
	const struct tmpl *t = e->t;
	struct rng *r = &e->g->r;
	unsigned reg = t->ext >= 0 ? (unsigned)t->ext : pick_reg(e);
	bool mem = (t->flags & (T_MEM | T_SCR)) || (!(t->flags & T_REG) && rng_chance(r, 45));

	e->has_modrm = true;
	if ((t->flags & T_FPU) && t->ext < 0)
		reg &= 7;
	e->modrm = (uint8_t)((reg & 7) << 3);
	if (reg >= 8)
		e->rex |= 0x44;
	if (mem && e->addr16) {
		pick_memory16(e);
	} else if (mem) {
		pick_memory(e);
	} else {
		unsigned rm = (t->flags & T_FPU) ? rng_below(r, 8) : pick_reg(e);

		e->modrm |= (uint8_t)(0xc0 | (rm & 7));
		if (rm >= 8)
			e->rex |= 0x41;
	}
}

/* ---- prefixes and immediate ---- */
static void add_prefix(struct enc *e, uint8_t p)
{
	e->pfx[e->npfx++] = p;
}

static void pick_prefixes(struct enc *e)
{
	const struct tmpl *t = e->t;
	struct rng *r = &e->g->r;
	bool vec = t->pfx == PFX_ANY;
	bool mem = e->has_modrm && e->modrm < 0xc0;
	static const uint8_t seg[] = { 0x64, 0x65, 0x26, 0x2e, 0x36, 0x3e };
	unsigned n;

	/*
	 * FS and GS are based at or near 0 or the data; with a pointer as base the sum rarely makes
	 * sense for FS.
	 */
	if (!(t->flags & T_SCR) && rng_chance(r, mem ? 6 : 2))
		add_prefix(e, seg[rng_chance(r, 50) ? 1 : rng_below(r, 6)]);
	if (e->addr16 || (!(mem && e->g->c->m32) && rng_chance(r, mem ? 4 : 1))) {
		add_prefix(e, 0x67);
		e->addrsize = true;
	}
	if (t->flags & T_REP) {
		n = rng_below(r, 4);
		if (n < 3)
			add_prefix(e, n == 0 ? 0xf2 : 0xf3);
	}
	if ((t->flags & T_LOCK) && mem && rng_chance(r, 20))
		add_prefix(e, 0xf0);
	if (vec) {
		static const uint8_t any[] = { 0, 0x66, 0xf2, 0xf3 };

		n = rng_below(r, 4);
		if (n)
			add_prefix(e, any[n]);
		e->opsize = n == 1;
	} else if (t->flags & T_HOST3E) {
		/*
		 * the only prefix but for 66: a segment prefix behind it would count, and F3 behind
		 * it would not
		 */
		e->npfx = 0;
		e->addrsize = false;
		add_prefix(e, t->pfx);
	} else if (t->pfx) {
		add_prefix(e, t->pfx);
		e->opsize = t->pfx == 0x66;
	}
	if ((t->flags & T_SCR) && t->map == 0) {
		if (e->env16)
			add_prefix(e, 0x66);
	} else if (!vec && t->pfx != 0x66 && rng_chance(r, (t->flags & (T_FPU | T_VEC)) ? 1 : 18)) {
		add_prefix(e, 0x66);
		e->opsize = true;
	}
	for (unsigned i = 1; i < e->npfx; i++) {
		unsigned k = rng_below(r, i + 1);
		uint8_t tmp = e->pfx[i];

		e->pfx[i] = e->pfx[k];
		e->pfx[k] = tmp;
	}
	if (e->g->c->m32)
		return;
	if (!e->env16 && rng_chance(r, (t->flags & (T_VEC | T_FPU)) ? 8 : 40))
		e->rex |= 0x48;
	else if (rng_chance(r, 5))
		e->rex |= 0x40;
}

static unsigned put_imm(struct enc *e, uint8_t *out)
{
	struct rng *r = &e->g->r;
	unsigned z = e->opsize && !(e->rex & 8) ? 2 : 4;
	uint64_t v = rng_edge(r);
	unsigned n = 0;

	switch ((enum imm_kind)e->t->imm) {
	case I_NONE:
		break;
	case I_B:
		n = 1;
		break;
	case I_W:
		n = 2;
		break;
	case I_Z:
		n = z;
		break;
	case I_V:
		n = (e->rex & 8) ? 8 : z;
		break;
	case I_MOFFS:
		n = (e->addrsize ? 4 : 8) / (e->g->c->m32 ? 2 : 1);
		v = rng_chance(r, 90) ? DATA_BASE + rng_below(r, DATA_SIZE - 8) : v;
		break;
	case I_ENTER:
		v = rng_below(r, 64) | (uint64_t)(rng_chance(r, 60) ? 0 : rng_below(r, 34)) << 16;
		n = 3;
		break;
	}
	memcpy(out, &v, n);
	return n;
}

static bool assemble(struct enc *e)
{
	struct insn *in = e->in;
	const struct tmpl *t = e->t;
	uint8_t op = (uint8_t)(t->op + t->step * rng_below(&e->g->r, t->n));
	uint8_t buf[40];
	unsigned n = 0;

	memcpy(buf, e->pfx, e->npfx);
	n = e->npfx;
	if ((t->flags & T_PLUS) && !e->g->c->m32 && rng_chance(&e->g->r, 40))
		e->rex |= 0x41;
	if (e->rex)
		buf[n++] = e->rex;
	if (t->map >= 1)
		buf[n++] = 0x0f;
	if (t->map >= 2)
		buf[n++] = t->map == 2 ? 0x38 : 0x3a;
	buf[n++] = op;
	if (e->has_modrm)
		buf[n++] = e->modrm;
	if (e->has_sib)
		buf[n++] = e->sib;
	if (e->riprel)
		in->rip_at = (int8_t)n;
	memcpy(buf + n, e->disp, e->ndisp);
	n += e->ndisp;
	/*
	 * C6/F6 and the like have immediates only where the table says so; moffs takes the place of
	 * ModRM.
	 */
	n += put_imm(e, buf + n);
	if (n > 15)
		return false;
	memcpy(in->bytes, buf, n);
	in->len = (uint8_t)n;
	if (t->flags & T_HOST3E)
		in->f3_at = (int8_t)(buf[0] == t->pfx ? 0 : 1);
	return true;
}

static void encode(struct gen *g, const struct tmpl *t, struct insn *in)
{
	struct enc e;

	do {
		*in = (struct insn){ .target = -1, .f3_at = -1 };
		e = (struct enc){ .g = g, .t = t, .in = in };
		e.addr16 = g->c->m32 && (t->flags & T_MODRM) && !(t->flags & T_SCR) &&
			   rng_chance(&g->r, 4);
		if (t->flags & T_MODRM)
			fill_modrm(&e);
		pick_prefixes(&e);
	} while (!assemble(&e));
}

/* ---- the sequence ---- */
static void track_write(struct gen *g, const ZydisDecodedOperand *op, bool implicit_ok)
{
	ZydisRegister reg;
	unsigned id;

	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    !(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
		return;
	reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
					       op->reg.value); /* in any mode */
	if (reg < ZYDIS_REGISTER_RAX || reg > ZYDIS_REGISTER_R15)
		return;
	id = (unsigned)(reg - ZYDIS_REGISTER_RAX);
	if (implicit_ok && op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
	    (id == RSP || id == RSI || id == RDI))
		return;
	g->ptr &= (uint16_t) ~(1u << id);
	g->small &= (uint16_t) ~(1u << id);
}

static bool loads_control_word(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_FLDCW || m == ZYDIS_MNEMONIC_FLDENV ||
	       m == ZYDIS_MNEMONIC_FRSTOR;
}

static void track(struct gen *g, const ZydisDecodedInstruction *ins, const ZydisDecodedOperand *op)
{
	struct flag_effect f;

	for (unsigned i = 0; i < ins->operand_count; i++)
		track_write(g, &op[i], ins->mnemonic != ZYDIS_MNEMONIC_LEAVE);
	g->c->unmasked |= loads_control_word(ins->mnemonic);
	case_flags(g->c, ins, op, &f);
	g->undef = (g->undef & ~f.defined) | f.undefined;
}

static void append(struct gen *g, const struct insn *in)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	if (g->c->n == CASE_INSNS)
		return;
	g->c->insn[g->c->n++] = *in;
	if (policy_decode(g->c->m32, in, &ins, op))
		track(g, &ins, op);
}

static void append_bytes(struct gen *g, const void *bytes, unsigned n)
{
	struct insn in = { .target = -1, .f3_at = -1, .len = (uint8_t)n };

	memcpy(in.bytes, bytes, n);
	append(g, &in);
}

/* What the next instruction needs: no branch leads between the two. */
static void append_glued(struct gen *g, const void *bytes, unsigned n)
{
	append_bytes(g, bytes, n);
	g->c->insn[g->c->n - 1].glued = true;
}

/* mov r64, imm64 */
static void append_load(struct gen *g, unsigned reg, uint64_t v)
{
	uint8_t b32[5] = { (uint8_t)(0xb8 | (reg & 7)) };
	uint8_t b[10] = { (uint8_t)(0x48 | reg >> 3), (uint8_t)(0xb8 | (reg & 7)) };

	memcpy(b + 2, &v, 8);
	memcpy(b32 + 1, &v, 4);
	if (g->c->m32)
		append_bytes(g, b32, 5);
	else
		append_bytes(g, b, 10);
}

static void renew_pointers(struct gen *g)
{
	static const uint8_t want[] = { RSP, RSI, RDI, RBX, 13 };

	for (unsigned i = 0; i < sizeof(want); i++) {
		unsigned reg = want[i];

		if (reg >= 8 && g->c->m32)
			continue;
		if (g->ptr >> reg & 1)
			continue;
		if (reg == RSP || ((reg == RSI || reg == RDI) && g->cls == CLS_STRING) ||
		    __builtin_popcount(g->ptr) < 3) {
			append_load(g, reg,
				    reg == RSP ? DATA_BASE + PAGE + 8 * rng_below(&g->r, 512)
					       : pick_pointer(g));
			g->ptr |= (uint16_t)(1u << reg);
		}
	}
}

/* cmp eax, ecx defines all six flags; fxam the four x87 conditions (or raises what is pending). */
static void define_flags(struct gen *g, uint32_t needed)
{
	if (needed & FL_ARITH_ALL)
		append_glued(g, "\x39\xc8", 2);
	if (needed >> UNDEF_C_SHIFT)
		append_glued(g, "\xd9\xe5", 2);
}

/*
 * fld qword of a small number in the read-only page: outside of their domain, F2XM1 and FYL2XP1 are
 * undefined.
 */
static void append_load_x87(struct gen *g)
{
	uint8_t b[7] = { 0xdd, 0x04, 0x25 };
	uint32_t addr, off;
	double v;

	do {
		off = DATA_RW_SIZE + 8 * rng_below(&g->r, PAGE / 8);
		memcpy(&v, image_pristine() + IMAGE_DATA + off, 8);
	} while (!(v > -0.29 && v < 0.29));
	addr = (uint32_t)DATA_BASE + off;
	memcpy(b + 3, &addr, 4);
	append_glued(g, b, 7);
}

static void before_insn(struct gen *g, const struct tmpl *t, const ZydisDecodedInstruction *ins,
			const ZydisDecodedOperand *op)
{
	struct flag_effect f;

	if ((t->flags & T_REP) && (ins->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
						      ZYDIS_ATTRIB_HAS_REPNE))) {
		uint8_t b[5] = { 0xb9,
				 (uint8_t)rng_below(&g->r, rng_chance(&g->r, 90) ? 40 : 256) };
		bool some = vendor_needs_count((enum isa_class)t->cls, ins);

		b[1] |= some;
		if ((!(g->small >> RCX & 1) && rng_chance(&g->r, 95)) || some) {
			append_bytes(g, b, 5);
			g->small |= 1u << RCX;
			g->c->insn[g->c->n - 1].glued = some;
		}
	}
	if ((t->flags & T_DIV) && rng_chance(&g->r, 75)) {
		if (rng_chance(&g->r, 60))
			append_bytes(g, "\x48\x99", 2); /* cqo; dec eax, cdq */
		else
			append_bytes(g, "\xba\x00\x00\x00\x00", 5); /* mov edx, 0 */
	}
	case_flags(g->c, ins, op, &f);
	if (f.tested & g->undef)
		define_flags(g, f.tested & g->undef);
	if (ins->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
	    ins->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU) {
		/* Faults with nothing to store are up to the CPU. */
		append_load(g, RDI, DATA_BASE + 0x200 + rng_below(&g->r, DATA_RW_SIZE - 0x400));
		g->c->insn[g->c->n - 1].glued = true;
		g->ptr |= 1u << RDI;
	}
	if (ins->mnemonic == ZYDIS_MNEMONIC_F2XM1 || ins->mnemonic == ZYDIS_MNEMONIC_FYL2XP1)
		append_load_x87(g);
	if (ins->meta.isa_ext == ZYDIS_ISA_EXT_XSAVE) {
		/* Only x87 and SSE state: the host has more. */
		uint8_t b[10] = { 0xb8, (uint8_t)(rng_chance(&g->r, 70) ? 3 : rng_below(&g->r, 4)),
				  0,	0,
				  0,	0xba };

		append_glued(g, b, 5);
		append_glued(g, b + 5, 5);
	}
}

static bool class_matches(struct gen *g, const struct tmpl *t, const ZydisDecodedInstruction *ins,
			  const ZydisDecodedOperand *op)
{
	enum isa_class cls = (t->flags & T_VEC) && t->cls != CLS_ATOMIC ? policy_class(ins, op)
									: (enum isa_class)t->cls;

	if (g->only != ZYDIS_MNEMONIC_INVALID)
		return ins->mnemonic == g->only;
	return cls == g->cls;
}

static const struct tmpl *pick_template(struct gen *g)
{
	const struct tmpl *t;

	for (;;) {
		t = &tmpl_table[rng_below(&g->r, (uint32_t)tmpl_count)];
		if (g->only != ZYDIS_MNEMONIC_INVALID || t->cls == g->cls)
			return t;
		if (g->cls == CLS_MMX && (t->cls == CLS_SSE_INT || t->cls == CLS_SSE_FP))
			return t;
	}
}

/* One instruction of class g->cls with what it needs before it. False: none was found. */
static bool append_random(struct gen *g)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct insn in;
	const struct tmpl *t;
	enum verdict v;
	enum approx approx = APPROX_NONE;

	renew_pointers(g);
	for (unsigned tries = 0; tries < 20000; tries++) {
		approx = APPROX_NONE;
		t = pick_template(g);
		encode(g, t, &in);
		if (!policy_decode(g->c->m32, &in, &ins, op) || !class_matches(g, t, &ins, op))
			continue;
		v = policy_check(&ins, op, t->flags & T_SCR, &approx);
		if (v == POLICY_REJECT || (v == POLICY_LAST && !rng_chance(&g->r, 20)))
			continue;
		before_insn(g, t, &ins, op);
		append(g, &in);
		g->last |= v == POLICY_LAST || (t->flags & T_FAULTY);
		g->c->approx = approx;
		return true;
	}
	return false;
}

/* ---- branches ---- */
static void append_branch(struct gen *g, const void *bytes, unsigned n, int rel_size, int target)
{
	struct insn in = { .f3_at = -1,
			   .target = (int16_t)target,
			   .len = (uint8_t)n,
			   .rel_size = (int8_t)rel_size };

	in.rel_at = (int8_t)(n - (unsigned)rel_size);
	memcpy(in.bytes, bytes, n);
	append(g, &in);
}

/* lea reg, [rip + label] */
static void append_label_address(struct gen *g, unsigned reg, int target)
{
	struct insn in = { .f3_at = -1, .target = (int16_t)target, .len = 7, .rip_at = 3 };

	in.bytes[0] = (uint8_t)(0x48 | (reg >> 3) << 2);
	in.bytes[1] = 0x8d;
	in.bytes[2] = (uint8_t)((reg & 7) << 3 | 5);
	append(g, &in);
}

static void branch_conditional(struct gen *g, int target)
{
	uint8_t cc = (uint8_t)rng_below(&g->r, 16);
	uint8_t near[6] = { 0x0f, (uint8_t)(0x80 | cc) }, small[2] = { (uint8_t)(0x70 | cc) };

	define_flags(g, g->undef & FL_ARITH_ALL);
	if (rng_chance(&g->r, 30))
		append_branch(g, near, 6, 4, target);
	else
		append_branch(g, small, 2, 1, target);
}

/* Through a register or memory, by JMP, CALL or RET. */
static void branch_indirect(struct gen *g, int target)
{
	unsigned reg = rng_below(&g->r, 2) ? RAX : 9;
	uint8_t rex = reg >= 8 ? 0x41 : 0x40;
	uint8_t jmp[3] = { rex, 0xff,
			   (uint8_t)((rng_chance(&g->r, 50) ? 0xe0 : 0xd0) | (reg & 7)) };
	uint8_t push[2] = { rex, (uint8_t)(0x50 | (reg & 7)) };
	uint8_t jmpmem[4] = { 0xff, (uint8_t)(rng_chance(&g->r, 50) ? 0x64 : 0x54), 0x24, 0 };
	uint8_t retn[3] = { 0xc2, (uint8_t)rng_below(&g->r, 32), 0 };

	append_label_address(g, reg, target);
	switch (rng_below(&g->r, 4)) {
	case 0:
		append_bytes(g, jmp, 3);
		break;
	case 1:
		append_bytes(g, push, 2);
		append_bytes(g, "\xc3", 1);
		break;
	case 2:
		append_bytes(g, push, 2);
		append_bytes(g, retn, 3);
		break;
	default:
		append_bytes(g, push, 2);
		append_bytes(g, jmpmem, 4);
		break;
	}
}

/* Transfers to where there is no code: fetch faults. */
static void branch_away(struct gen *g)
{
	uint64_t to = rng_chance(&g->r, 50) ? DATA_BASE + rng_below(&g->r, DATA_SIZE)
					    : CODE_BASE + CODE_SIZE + rng_below(&g->r, 0x2000);

	append_load(g, RAX, to);
	append_bytes(g, rng_chance(&g->r, 50) ? "\xff\xe0" : "\xff\xd0", 2);
	g->last = true;
}

/* mov ecx, n; body; loop body */
static void branch_loop(struct gen *g)
{
	uint8_t count[5] = { 0xb9, (uint8_t)(1 + rng_below(&g->r, 6)) };
	uint8_t loop[2] = { (uint8_t)(0xe0 + rng_below(&g->r, 3)) };
	int body;

	append_glued(g, count, 5); /* no way in past it: that loop would hardly end */
	body = (int)g->c->n;
	append_glued(g, "\x48\xff\xc0", 3); /* inc rax */
	append_glued(g, "\x48\x01\xc2", 3); /* add rdx, rax */
	append_glued(g, rng_chance(&g->r, 50) ? "\xd1\xc2" : "\x31\xc2",
		     2); /* rol edx, 1; xor edx, eax */
	if (loop[0] != 0xe2)
		define_flags(g, FL_ARITH_ALL);
	append_branch(g, loop, 2, 1, body);
}

static void append_branches(struct gen *g)
{
	uint8_t jmp8[2] = { 0xeb }, jmp32[5] = { 0xe9 }, call[5] = { 0xe8 },
		jrcxz[3] = { 0x67, 0xe3 };
	int target = (int)(g->c->n + 2 + rng_below(&g->r, 5));
	bool ecx = rng_chance(&g->r, 30);

	switch (rng_below(&g->r, 12)) {
	case 0:
		append_branch(g, jmp8, 2, 1, target);
		break;
	case 1:
		append_branch(g, jmp32, 5, 4, target);
		break;
	case 2:
		append_branch(g, call, 5, 4, target);
		break;
	case 3:
		append_branch(g, ecx ? jrcxz : jrcxz + 1, ecx ? 3 : 2, 1, target);
		break;
	case 4:
	case 5:
		if (g->c->m32)
			branch_conditional(g, target);
		else
			branch_indirect(g, target + 3);
		break;
	case 6:
		branch_loop(g);
		break;
	case 7:
		if (rng_chance(&g->r, 20)) {
			branch_away(g);
			break;
		}
		/* fallthrough */
	default:
		branch_conditional(g, target);
		break;
	}
}

/* ---- code that changes itself ---- */
#define IMM64_AT 2 /* in REX.W B8+r imm64 */

/* Writes some of the 8 bytes at [rip + label]; `at` is where the displacement lies. */
struct writer {
	uint8_t bytes[11], len, at, size;
};

static const struct writer writers[] = {
	{ { 0xc6, 0x05 }, 7, 2, 1 },		 /* mov byte, imm8 */
	{ { 0xc7, 0x05 }, 10, 2, 4 },		 /* mov dword, imm32 */
	{ { 0x48, 0xc7, 0x05 }, 11, 3, 8 },	 /* mov qword, imm32 */
	{ { 0x66, 0x01, 0x05 }, 7, 3, 2 },	 /* add word, ax */
	{ { 0x81, 0x05 }, 10, 2, 4 },		 /* add dword, imm32 */
	{ { 0x80, 0x35 }, 7, 2, 1 },		 /* xor byte, imm8 */
	{ { 0xf0, 0xff, 0x05 }, 7, 3, 4 },	 /* lock inc dword */
	{ { 0x48, 0x87, 0x15 }, 7, 3, 8 },	 /* xchg qword, rdx */
	{ { 0x0f, 0xb0, 0x0d }, 7, 3, 1 },	 /* cmpxchg byte, cl */
	{ { 0x66, 0x0f, 0xd6, 0x1d }, 8, 4, 8 }, /* movq qword, xmm3 */
	{ { 0x0f, 0x92, 0x05 }, 7, 3, 1 },	 /* setb byte */
	{ { 0xdf, 0x3d }, 6, 2, 8 },		 /* fistp qword */
	{ { 0xff, 0x0d }, 6, 2, 4 },		 /* dec dword */
	{ { 0x48, 0x8d, 0x3d }, 7, 3, 8 },	 /* lea rdi; a string instruction follows */
};

/* A writer whose label is still to be set; returns its index. */
static unsigned append_writer(struct gen *g)
{
	const struct writer *w = &writers[rng_below(&g->r, sizeof(writers) / sizeof(writers[0]))];
	struct insn in = { .target = 0, .f3_at = -1, .len = w->len, .rip_at = (int8_t)w->at };
	unsigned i;

	define_flags(g, FL_ARITH_ALL);
	memcpy(in.bytes, w->bytes, w->len);
	for (unsigned k = w->at + 4u; k < w->len; k++)
		in.bytes[k] = (uint8_t)rng_next(&g->r);
	in.label_off = (int8_t)(IMM64_AT + rng_below(&g->r, 9u - w->size));
	i = g->c->n;
	append(g, &in);
	if (w->bytes[1] == 0x8d) {
		uint8_t count[5] = {
			0xb9,
			(uint8_t)(1 + rng_below(&g->r, (uint32_t)(8 + IMM64_AT - in.label_off)))
		};

		append_glued(g, "\xfc", 1); /* cld */
		append_glued(g, count, 5);
		append_bytes(g, "\xf3\xaa", 2); /* rep stosb */
		g->c->insn[i].glued = true;
		g->ptr &= (uint16_t) ~(1u << RDI);
	}
	return i;
}

/*
 * A write, some other instructions, and the `mov r64, imm64` whose immediate was written; sometimes
 * in a loop.
 */
static void append_smc(struct gen *g)
{
	uint8_t mov[10] = { 0x49, (uint8_t)(0xb8 | (1 + rng_below(&g->r, 3))) }; /* r9, r10, r11 */
	bool loop = rng_chance(&g->r, 30);
	int top;
	unsigned i;

	if (g->c->n > CASE_INSNS - 20)
		return;
	if (loop)
		append_bytes(g, "\x49\xc7\xc4\x04\x00\x00\x00", 7); /* mov r12, 4 */
	if (loop)
		g->c->insn[g->c->n - 1].glued = true;
	top = (int)g->c->n;
	i = append_writer(g);
	g->cls = CLS_INT;
	for (unsigned k = loop ? 0 : rng_below(&g->r, 3); k > 0; k--)
		append_random(g);
	g->c->insn[i].target = (int16_t)g->c->n;
	memcpy(mov + 2, &(uint64_t){ rng_next(&g->r) }, 8);
	append_bytes(g, mov, 10);
	if (loop) {
		append_bytes(g, "\x49\xff\xcc", 3); /* dec r12 */
		append_branch(g, "\x75\x00", 2, 1, top);
	}
}

/* ---- random bytes ---- */
/* Bytes after which decoding belongs to extensions that the host may have. */
static bool starts_extension(const uint8_t *b)
{
	unsigned i = 0;

	while (i < 14 && (b[i] == 0x66 || b[i] == 0x67 || b[i] == 0xf0 || b[i] == 0xf2 ||
			  b[i] == 0xf3 || b[i] == 0x26 || b[i] == 0x2e || b[i] == 0x36 ||
			  b[i] == 0x3e || b[i] == 0x64 || b[i] == 0x65 || (b[i] & 0xf0) == 0x40))
		i++;
	return b[i] == 0x62 || b[i] == 0xc4 || b[i] == 0xc5 || b[i] == 0x8f;
}

static bool append_raw(struct gen *g)
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	struct insn in = { .target = -1, .f3_at = -1 };
	enum approx approx = APPROX_NONE;
	struct flag_effect f;
	enum verdict v;
	ZyanStatus st;

	for (unsigned i = 0; i < 15; i++)
		in.bytes[i] = (uint8_t)rng_next(&g->r);
	if (rng_chance(&g->r, 50))
		in.bytes[rng_below(&g->r, 2)] = 0x0f;
	st = ZydisDecoderDecodeFull(policy_decoder(g->c->m32), in.bytes, 15, &ins, op);
	if (ZYAN_SUCCESS(st)) {
		in.len = ins.length;
		v = policy_check(&ins, op, false, &approx);
		if (v != POLICY_OK || ins.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
			return false;
		case_flags(g->c, &ins, op, &f);
		if (ins.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
		    ins.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU)
			return false;
		if ((ins.attributes &
		     (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) &&
		    ins.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
			return false;
		if (f.tested & g->undef)
			define_flags(g, f.tested & g->undef);
		append(g, &in);
		return true;
	}
	if (starts_extension(in.bytes) || st == ZYDIS_STATUS_NO_MORE_DATA || rng_chance(&g->r, 60))
		return false;
	in.len = 15;
	append(g, &in);
	g->c->undecodable = true;
	g->last = true;
	return true;
}

/*
 * Bytes of an instruction set that the model lacks; the host gets UD2 in their place. VEX, EVEX and
 * XOP prefixes with anything behind them, and the opcodes in the older maps.
 */
static void pick_foreign_bytes(struct rng *r, uint8_t *b)
{
	static const uint8_t map1[] = { 0x01, 0x0e, 0x0f, 0x24, 0x2b, 0x36, 0x37,
					0x78, 0x79, 0xa6, 0xa7, 0xae, 0xc7, 0xff };
	static const uint8_t map2[] = {
		0x80, 0x81, 0x82, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xcf,
		0xf0, 0xf1, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xdc, 0xdf
	};
	static const uint8_t map3[] = { 0xcc, 0xce, 0xcf, 0xf0 },
			     vex[] = { 0xc4, 0xc5, 0x62, 0x8f };
	static const uint8_t pfx[] = { 0x66, 0xf2, 0xf3 };
	unsigned n = 0;

	if (rng_chance(r, 40)) {
		b[0] = vex[rng_below(r, 4)];
		return;
	}
	if (rng_chance(r, 60))
		b[n++] = pfx[rng_below(r, 3)];
	if (rng_chance(r, 20))
		b[n++] = (uint8_t)(0x40 | rng_below(r, 16));
	b[n++] = 0x0f;
	switch (rng_below(r, 3)) {
	case 0:
		b[n] = map1[rng_below(r, sizeof(map1))];
		break;
	case 1:
		b[n++] = 0x38;
		b[n] = map2[rng_below(r, sizeof(map2))];
		break;
	default:
		b[n++] = 0x3a;
		b[n] = map3[rng_below(r, sizeof(map3))];
		break;
	}
}

static void append_foreign(struct gen *g)
{
	ZydisDecodedInstruction ins;
	struct insn in = { .target = -1, .f3_at = -1, .foreign = true, .bytes = { 0x0f, 0x0b } };

	do {
		for (unsigned i = 0; i < 15; i++)
			in.model[i] = (uint8_t)rng_next(&g->r);
		pick_foreign_bytes(&g->r, in.model);
	} while (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(policy_decoder(g->c->m32), NULL,
							     in.model, 15, &ins)) ||
		 !policy_foreign(&ins) || ins.length < 2);
	in.len = ins.length;
	append(g, &in);
	g->last = true;
}

/* ---- the whole case ---- */
static enum isa_class pick_class(struct gen *g)
{
	static const uint8_t any[] = { CLS_INT,	   CLS_INT,	CLS_INT,    CLS_SHIFT,
				       CLS_BIT,	   CLS_MULDIV,	CLS_STRING, CLS_STACK,
				       CLS_BRANCH, CLS_ATOMIC,	CLS_X87,    CLS_MMX,
				       CLS_SSE_FP, CLS_SSE_INT, CLS_CRYPTO, CLS_FPSTATE };
	static const uint8_t memory[] = { CLS_INT,    CLS_INT,	  CLS_SHIFT,   CLS_BIT,
					  CLS_MULDIV, CLS_STRING, CLS_STACK,   CLS_ATOMIC,
					  CLS_X87,    CLS_SSE_FP, CLS_SSE_INT, CLS_MMX };
	static const uint8_t integer[] = { CLS_INT,    CLS_INT,	  CLS_SHIFT, CLS_BIT,
					   CLS_STRING, CLS_STACK, CLS_ATOMIC };

	switch (g->c->cls) {
	case CLS_MIX:
	case CLS_BRANCH:
		return any[rng_below(&g->r, sizeof(any))];
	case CLS_FAULT:
		return memory[rng_below(&g->r, sizeof(memory))];
	case CLS_ALIGN:
		return integer[rng_below(&g->r, sizeof(integer))];
	case CLS_COMPAT:
		if (rng_chance(&g->r, 35))
			return CLS_COMPAT;
		return rng_chance(&g->r, 8) ? CLS_BYTES : any[rng_below(&g->r, sizeof(any))];
	case CLS_SMC:
		return rng_chance(&g->r, 60) ? CLS_SMC : CLS_INT;
	case CLS_FOREIGN:
		return rng_chance(&g->r, 60) ? CLS_FOREIGN : CLS_INT;
	case CLS_BYTES:
		return rng_chance(&g->r, 30) ? CLS_INT : CLS_BYTES;
	case CLS_SYSTEM:
		return rng_chance(&g->r, 40) ? CLS_SYSTEM : CLS_INT;
	default:
		return rng_chance(&g->r, 85) ? g->c->cls : any[rng_below(&g->r, sizeof(any))];
	}
}

static bool append_one(struct gen *g)
{
	if (g->only == ZYDIS_MNEMONIC_INVALID) {
		g->cls = pick_class(g);
		if (g->c->cls == CLS_BRANCH && rng_chance(&g->r, 50))
			g->cls = CLS_BRANCH;
	}
	if (g->cls == CLS_BRANCH) {
		renew_pointers(g);
		append_branches(g);
		return true;
	}
	if (g->cls == CLS_SMC) {
		renew_pointers(g);
		append_smc(g);
		return true;
	}
	if (g->cls == CLS_FOREIGN) {
		append_foreign(g);
		return true;
	}
	if (g->cls == CLS_BYTES) {
		renew_pointers(g);
		while (!append_raw(g))
			;
		return true;
	}
	return append_random(g);
}

bool case_generate(struct tcase *c, uint64_t seed, enum isa_class cls, ZydisMnemonic only)
{
	struct gen g = { .r = { seed * 0x2545f4914f6cdd1dull + 77 }, .c = c, .only = only };
	unsigned want;

	memset(c, 0, offsetof(struct tcase, init));
	c->seed = seed;
	c->cls = cls;
	c->m32 = cls == CLS_COMPAT || (cls == CLS_FOREIGN && seed % 3 == 0);
	memset(&c->init, 0, sizeof(c->init));
	init_state(&g);
	want = 1 + rng_below(&g.r, rng_chance(&g.r, 50) ? 4 : 14);
	for (unsigned i = 0; i < want && c->n < CASE_INSNS - 10 && !g.last; i++)
		if (!append_one(&g))
			return false;
	c->straddle = rng_chance(&g.r, 10);
	c->runoff = !c->undecodable && c->approx == APPROX_NONE && rng_chance(&g.r, 2);
	c->code_salt = (uint16_t)rng_next(&g.r);
	return case_layout(c) && !c->reads_undefined;
}
