/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MOVS STOS LODS CMPS SCAS.
 *
 * REP MOVS and REP STOS going up in flat segments run a page at a time over host memory; everything
 * else, and every element that the TLB does not allow at once (misses, page crossings, devices,
 * cached code), goes one by one.
 *
 * REP MOVS whose source and destination share a slot of the TLB misses twice for each element. The
 * first one of a page is moved so. The others would find all that the two walks found, unless one
 * of the stores changed a table that these read, and leave the TLB as it is: they need no walks.
 */
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/mmu.h"
#include "hypervisor/soft/string.h"

#define STRING_STEPS(bits)                                                                       \
	static inline void movs_step##bits(struct cpu *cpu, const struct op *op)                 \
	{                                                                                        \
		UINT(bits) v = mem_ld##bits(cpu, string_src(cpu, op, (bits) / 8));               \
                                                                                                 \
		mem_st##bits(cpu, string_dst(cpu, op, (bits) / 8, true), v);                     \
		string_advance(cpu, op, R_RSI, (bits) / 8);                                      \
		string_advance(cpu, op, R_RDI, (bits) / 8);                                      \
	}                                                                                        \
	static inline void stos_step##bits(struct cpu *cpu, const struct op *op)                 \
	{                                                                                        \
		mem_st##bits(cpu, string_dst(cpu, op, (bits) / 8, true), reg##bits(cpu, R_RAX)); \
		string_advance(cpu, op, R_RDI, (bits) / 8);                                      \
	}                                                                                        \
	static inline void lods_step##bits(struct cpu *cpu, const struct op *op)                 \
	{                                                                                        \
		set_reg##bits(cpu, R_RAX, mem_ld##bits(cpu, string_src(cpu, op, (bits) / 8)));   \
		string_advance(cpu, op, R_RSI, (bits) / 8);                                      \
	}                                                                                        \
	static inline void cmps_step##bits(struct cpu *cpu, const struct op *op)                 \
	{                                                                                        \
		/* The operand at rDI is read first, so its fault is the one that shows. */      \
		UINT(bits) b = mem_ld##bits(cpu, string_dst(cpu, op, (bits) / 8, false));        \
		UINT(bits) a = mem_ld##bits(cpu, string_src(cpu, op, (bits) / 8));               \
                                                                                                 \
		lazy_set(cpu, LAZY_SUB, (SINT(bits))(a - b), (SINT(bits))a, (SINT(bits))b);      \
		string_advance(cpu, op, R_RSI, (bits) / 8);                                      \
		string_advance(cpu, op, R_RDI, (bits) / 8);                                      \
	}                                                                                        \
	static inline void scas_step##bits(struct cpu *cpu, const struct op *op)                 \
	{                                                                                        \
		UINT(bits) a = reg##bits(cpu, R_RAX);                                            \
		UINT(bits) b = mem_ld##bits(cpu, string_dst(cpu, op, (bits) / 8, false));        \
                                                                                                 \
		lazy_set(cpu, LAZY_SUB, (SINT(bits))(a - b), (SINT(bits))a, (SINT(bits))b);      \
		string_advance(cpu, op, R_RDI, (bits) / 8);                                      \
	}

INT_EACH_SIZE(STRING_STEPS)

/* ---- many elements at once ---- */
/*
 * Elements that lie in the page of `lin` and before offset `off` wraps around at the address size.
 */
static uint64_t bulk_room(const struct op *op, uint64_t lin, uint64_t off, unsigned size)
{
	uint64_t room = PAGE_SIZE - (lin & ~PAGE_MASK), wrap = string_mask(op) - off;

	if (wrap < room)
		room = wrap + 1;
	return room / size;
}

static bool bulk_allowed(const struct cpu *cpu, const struct op *op)
{
	return !(op->flags & OPF_SEGCHECK) && !(cpu->rflags & FL_DF);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Two pages that drive each other out of the TLB, where elements may be moved together. */
static bool shares_slot(const struct cpu *cpu, uint64_t from, uint64_t to)
{
	uint64_t differ = (from ^ to) >> PAGE_SHIFT;

	return cpu->single && !cpu->rep_stop_armed && !cpu->rep_step && differ &&
	       !(differ & (TLB_SIZE - 1));
}

/* An access that was just made: its page and what its translation came from. */
struct passage {
	bool walked; /* and no further check stands in the way of the page's other elements */
	uint8_t *host;
	uint64_t page;
	struct tlb_walk walk;
};

static void passage_begin(struct cpu *cpu)
{
	cpu->walked.lin = UINT64_MAX;
}

static struct passage passage_end(const struct cpu *cpu, uint64_t lin, bool write)
{
	const struct tlb_entry *e = &cpu->tlb[(lin >> PAGE_SHIFT) & (TLB_SIZE - 1)];
	uint64_t page = lin & PAGE_MASK;

	return (struct passage){ .walked =
					 cpu->walked.lin == page && (write ? e->wr : e->rd) == page,
				 .host = (uint8_t *)(lin + e->addend),
				 .page = GPA_PAGE(e->gpa),
				 .walk = cpu->walked };
}

/* True: elements of the two pages, moved one by one, would be translated as these were. */
static bool passages_stay(const struct passage *from, const struct passage *to)
{
	for (unsigned i = 0; i < 4; i++) {
		if (from->walk.table[i] == to->page || to->walk.table[i] == to->page)
			return false;
	}
	return from->walked && to->walked;
}

/*
 * The copy goes up element by element, so a destination just above the source repeats what was
 * written.
 */
#define BULK_COPY(bits)                                                                        \
	static void bulk_copy##bits(uint8_t *dst, const uint8_t *src, uint64_t n)              \
	{                                                                                      \
		uint64_t ahead = (uintptr_t)dst - (uintptr_t)src;                              \
                                                                                               \
		if (ahead >= n * ((bits) / 8)) {                                               \
			memmove(dst, src, n *((bits) / 8));                                    \
			return;                                                                \
		}                                                                              \
		for (uint64_t i = 0; i < n; i++, src += (bits) / 8, dst += (bits) / 8) {       \
			UINT(bits) v;                                                          \
                                                                                               \
			memcpy(&v, src, sizeof(v));                                            \
			memcpy(dst, &v, sizeof(v));                                            \
		}                                                                              \
	}                                                                                      \
	static uint64_t movs_sharing##bits(struct cpu *cpu, uint64_t from, uint64_t to,        \
					   uint64_t n)                                         \
	{                                                                                      \
		struct passage src, dst;                                                       \
		UINT(bits) v;                                                                  \
                                                                                               \
		passage_begin(cpu);                                                            \
		v = mem_ld##bits(cpu, from);                                                   \
		src = passage_end(cpu, from, false);                                           \
		passage_begin(cpu);                                                            \
		mem_st##bits(cpu, to, v);                                                      \
		dst = passage_end(cpu, to, true);                                              \
		if (cpu->rep_break || !passages_stay(&src, &dst))                              \
			return 1;                                                              \
		bulk_copy##bits(dst.host + (bits) / 8, src.host + (bits) / 8, n - 1);          \
		return n;                                                                      \
	}                                                                                      \
	static uint64_t movs_bulk##bits(struct cpu *cpu, const struct op *op, uint64_t count)  \
	{                                                                                      \
		uint64_t from, to, n;                                                          \
		const uint8_t *src;                                                            \
		uint8_t *dst;                                                                  \
                                                                                               \
		if (!bulk_allowed(cpu, op))                                                    \
			return 0;                                                              \
		from = string_src(cpu, op, (bits) / 8);                                        \
		to = string_dst(cpu, op, (bits) / 8, true);                                    \
		n = min64(count, bulk_room(op, from, string_reg(cpu, op, R_RSI), (bits) / 8)); \
		n = min64(n, bulk_room(op, to, string_reg(cpu, op, R_RDI), (bits) / 8));       \
		src = mem_bulk_read(cpu, from);                                                \
		dst = mem_bulk_write(cpu, to);                                                 \
		if (src && dst)                                                                \
			bulk_copy##bits(dst, src, n);                                          \
		else if (n && shares_slot(cpu, from, to))                                      \
			n = movs_sharing##bits(cpu, from, to, n);                              \
		else                                                                           \
			return 0;                                                              \
		string_set_reg(cpu, op, R_RSI, cpu->gpr[R_RSI] + n * ((bits) / 8));            \
		string_set_reg(cpu, op, R_RDI, cpu->gpr[R_RDI] + n * ((bits) / 8));            \
		return n;                                                                      \
	}                                                                                      \
	static uint64_t stos_bulk##bits(struct cpu *cpu, const struct op *op, uint64_t count)  \
	{                                                                                      \
		UINT(bits) v = reg##bits(cpu, R_RAX);                                          \
		uint64_t to, n;                                                                \
		uint8_t *dst;                                                                  \
                                                                                               \
		if (!bulk_allowed(cpu, op))                                                    \
			return 0;                                                              \
		to = string_dst(cpu, op, (bits) / 8, true);                                    \
		dst = mem_bulk_write(cpu, to);                                                 \
		if (!dst)                                                                      \
			return 0;                                                              \
		n = min64(count, bulk_room(op, to, string_reg(cpu, op, R_RDI), (bits) / 8));   \
		for (uint64_t i = 0; i < n; i++, dst += (bits) / 8)                            \
			memcpy(dst, &v, sizeof(v));                                            \
		string_set_reg(cpu, op, R_RDI, cpu->gpr[R_RDI] + n * ((bits) / 8));            \
		return n;                                                                      \
	}

INT_EACH_SIZE(BULK_COPY)

/* Complete or not, the handler returns to the run loop, which looks at cpu->in_rep. */
#define STRING_OPS(bits)                                                                 \
	OP(movs##bits)                                                                   \
	{                                                                                \
		if (!string_run(cpu, op, movs_step##bits, movs_bulk##bits, STRING_MOVS)) \
			OP_EXIT;                                                         \
		OP_NEXT;                                                                 \
	}                                                                                \
	OP(stos##bits)                                                                   \
	{                                                                                \
		if (!string_run(cpu, op, stos_step##bits, stos_bulk##bits, STRING_STOS)) \
			OP_EXIT;                                                         \
		OP_NEXT;                                                                 \
	}                                                                                \
	OP(lods##bits)                                                                   \
	{                                                                                \
		if (!string_run(cpu, op, lods_step##bits, NULL, STRING_LODS))            \
			OP_EXIT;                                                         \
		OP_NEXT;                                                                 \
	}                                                                                \
	OP(cmps##bits)                                                                   \
	{                                                                                \
		if (!string_run(cpu, op, cmps_step##bits, NULL, STRING_CMPS))            \
			OP_EXIT;                                                         \
		OP_NEXT;                                                                 \
	}                                                                                \
	OP(scas##bits)                                                                   \
	{                                                                                \
		if (!string_run(cpu, op, scas_step##bits, NULL, STRING_SCAS))            \
			OP_EXIT;                                                         \
		OP_NEXT;                                                                 \
	}

INT_EACH_SIZE(STRING_OPS)

#define STRING_ROW(o)                     \
	{                                 \
		o##8, o##16, o##32, o##64 \
	}

static const op_fn string_fn[STRING_COUNT][INT_SIZES] = {
	[STRING_MOVS] = STRING_ROW(movs), [STRING_STOS] = STRING_ROW(stos),
	[STRING_LODS] = STRING_ROW(lods), [STRING_CMPS] = STRING_ROW(cmps),
	[STRING_SCAS] = STRING_ROW(scas),
};

/* The last of F2 and F3 counts; 0 when there is none. */
static uint8_t rep_prefix(const struct decoded *d)
{
	uint8_t last = 0;

	for (unsigned i = 0; i < d->ins.raw.prefix_count; i++)
		if (d->ins.raw.prefixes[i].value == 0xf2 || d->ins.raw.prefixes[i].value == 0xf3)
			last = d->ins.raw.prefixes[i].value;
	return last;
}

/*
 * Binds the common parts of a string instruction; every binder of one calls it first. False: the
 * mnemonic is an SSE instruction. Sets segment of the source, address size and the REP flags (F2
 * counts as REP where REPE and REPNE are the same).
 */
static bool string_bind(const struct decoded *d, struct op *op)
{
	uint8_t rep = rep_prefix(d);

	if (d->ins.meta.category != ZYDIS_CATEGORY_STRINGOP &&
	    d->ins.meta.category != ZYDIS_CATEGORY_IOSTRINGOP)
		return false;
	int_implicit_mem(d, op);
	op->flags &= ~(OPF_REP | OPF_REPNE);
	if (rep)
		op->flags |= OPF_END | (rep == 0xf3 ? OPF_REP : OPF_REPNE);
	return true;
}

#define STRING_ARG(kind, size) ((kind)*INT_SIZES + (size))

static bool bind_string_op(const struct decoded *d, struct op *op, uintptr_t arg)
{
	return string_bind(d, op) && int_pick(op, string_fn[arg / INT_SIZES][arg % INT_SIZES]);
}

#define STRING_BINDINGS(name, kind)                                                \
	{ ZYDIS_MNEMONIC_##name##B, bind_string_op, STRING_ARG(kind, 0) },         \
		{ ZYDIS_MNEMONIC_##name##W, bind_string_op, STRING_ARG(kind, 1) }, \
		{ ZYDIS_MNEMONIC_##name##D, bind_string_op, STRING_ARG(kind, 2) }, \
	{                                                                          \
		ZYDIS_MNEMONIC_##name##Q, bind_string_op, STRING_ARG(kind, 3)      \
	}

static const struct binding rows[] = {
	STRING_BINDINGS(MOVS, STRING_MOVS), STRING_BINDINGS(STOS, STRING_STOS),
	STRING_BINDINGS(LODS, STRING_LODS), STRING_BINDINGS(CMPS, STRING_CMPS),
	STRING_BINDINGS(SCAS, STRING_SCAS),
};

BINDING_TABLE(string_bindings, rows);
