/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BT BTS BTR BTC BSF BSR TZCNT LZCNT POPCNT CRC32. */
#include "hypervisor/soft/integer.h"

#define RES_bt(x, mask)	 (x)
#define RES_bts(x, mask) ((x) | (mask))
#define RES_btr(x, mask) ((x) & ~(mask))
#define RES_btc(x, mask) ((x) ^ (mask))

/*
 * Linear address of the operand `delta` bytes after the op's memory operand, within its address
 * size.
 */
static uint64_t bit_string_lin(struct cpu *cpu, const struct op *op, int64_t delta, unsigned size,
			       bool write)
{
	struct op at = *op;

	at.disp += delta;
	return op_lin(cpu, &at, size, write);
}

#define BIT_REG(name, o, bits, index)                               \
	OP(name)                                                    \
	{                                                           \
		unsigned n = (unsigned)(index) & ((bits)-1);        \
		UINT(bits) x = reg##bits(cpu, op->r0);              \
		UINT(bits) mask = (UINT(bits))((UINT(bits))1 << n); \
                                                                    \
		BIT_WRITE_REG_##o(bits);                            \
		flags_set_cf(cpu, (x & mask) != 0);                 \
		OP_NEXT;                                            \
	}

/*
 * An immediate index stays inside the operand; a register index reaches anywhere (SDM vol. 2, BT).
 */
#define BIT_MEM(name, o, bits, index, address)                      \
	OP(name)                                                    \
	{                                                           \
		int64_t i = (SINT(bits))(index);                    \
		unsigned n = (unsigned)i & ((bits)-1);              \
		uint64_t lin = (address);                           \
		UINT(bits) x = BIT_LOAD_##o(bits);                  \
		UINT(bits) mask = (UINT(bits))((UINT(bits))1 << n); \
                                                                    \
		BIT_STORE_##o(bits);                                \
		flags_set_cf(cpu, (x & mask) != 0);                 \
		OP_NEXT;                                            \
	}

#define BIT_WRITE_REG_bt(bits)	(void)0
#define BIT_WRITE_REG_bts(bits) set_reg##bits(cpu, op->r0, RES_bts(x, mask))
#define BIT_WRITE_REG_btr(bits) set_reg##bits(cpu, op->r0, RES_btr(x, mask))
#define BIT_WRITE_REG_btc(bits) set_reg##bits(cpu, op->r0, RES_btc(x, mask))
#define BIT_LOAD_bt(bits)	mem_ld##bits(cpu, lin)
#define BIT_LOAD_bts(bits)	mem_ldw##bits(cpu, lin)
#define BIT_LOAD_btr(bits)	mem_ldw##bits(cpu, lin)
#define BIT_LOAD_btc(bits)	mem_ldw##bits(cpu, lin)
#define BIT_STORE_bt(bits)	(void)0
#define BIT_STORE_bts(bits)	mem_st##bits(cpu, lin, RES_bts(x, mask))
#define BIT_STORE_btr(bits)	mem_st##bits(cpu, lin, RES_btr(x, mask))
#define BIT_STORE_btc(bits)	mem_st##bits(cpu, lin, RES_btc(x, mask))

#define BIT_STRING_LIN(bits, write)                  \
	bit_string_lin(cpu, op,                      \
		       (i >> ((bits) == 16   ? 4     \
			      : (bits) == 32 ? 5     \
					     : 6)) * \
			       ((bits) / 8),         \
		       (bits) / 8, write)

#define BIT_FORMS(o, bits, write)                                                     \
	BIT_REG(o##_rr##bits, o, bits, cpu->gpr[op->r1])                              \
	BIT_REG(o##_ri##bits, o, bits, op->imm)                                       \
	BIT_MEM(o##_mr##bits, o, bits, cpu->gpr[op->r1], BIT_STRING_LIN(bits, write)) \
	BIT_MEM(o##_mi##bits, o, bits, op->imm, op_lin(cpu, op, (bits) / 8, write))

#define BIT_ALL(bits)              \
	BIT_FORMS(bt, bits, false) \
	BIT_FORMS(bts, bits, true) \
	BIT_FORMS(btr, bits, true) \
	BIT_FORMS(btc, bits, true)

BIT_ALL(16)
BIT_ALL(32)
BIT_ALL(64)

enum { BIT_BT, BIT_BTS, BIT_BTR, BIT_BTC, BIT_COUNT };

#define BIT_ROW(o, bits)                                                                      \
	{                                                                                     \
		[FORM_RR] = o##_rr##bits, [FORM_RI] = o##_ri##bits, [FORM_MR] = o##_mr##bits, \
		[FORM_MI] = o##_mi##bits                                                      \
	}
#define BIT_ROWS(o)                                            \
	{                                                      \
		BIT_ROW(o, 16), BIT_ROW(o, 32), BIT_ROW(o, 64) \
	}

static const op_fn bit_fn[BIT_COUNT][3][INT_FORMS] = {
	[BIT_BT] = BIT_ROWS(bt),
	[BIT_BTS] = BIT_ROWS(bts),
	[BIT_BTR] = BIT_ROWS(btr),
	[BIT_BTC] = BIT_ROWS(btc),
};

static bool bind_bit(const struct decoded *d, struct op *op, uintptr_t arg)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	if (form == FORM_OTHER || size < 1)
		return false;
	return int_pick(op, bit_fn[arg][size - 1][form]);
}

/*
 * ---- BSF and BSR: with source 0 the destination stays as it is ----
 *
 * ZF tells whether the source is 0. PF is that of the result (of 0 when there is none), the other
 * flags are 0 (docs/undefined-flags.md): those of the result with a bit set above its low byte, so
 * that it is not 0.
 */
#define SCAN_FORM(name, bits, source, result)              \
	OP(name)                                           \
	{                                                  \
		UINT(bits) x = (source);                   \
		unsigned n;                                \
                                                           \
		if (x) {                                   \
			n = (unsigned)(result);            \
			set_reg##bits(cpu, op->r0, n);     \
			lazy_set_logic(cpu, 256 | (int)n); \
		} else {                                   \
			lazy_set_logic(cpu, 0);            \
		}                                          \
		OP_NEXT;                                   \
	}

#define SCAN_FORMS(bits)                                                               \
	SCAN_FORM(bsf_rr##bits, bits, reg##bits(cpu, op->r1), __builtin_ctzll(x))      \
	SCAN_FORM(bsf_rm##bits, bits, OP_LOAD(bits), __builtin_ctzll(x))               \
	SCAN_FORM(bsr_rr##bits, bits, reg##bits(cpu, op->r1), 63 - __builtin_clzll(x)) \
	SCAN_FORM(bsr_rm##bits, bits, OP_LOAD(bits), 63 - __builtin_clzll(x))          \
	POPCNT_FORM(popcnt_rr##bits, bits, reg##bits(cpu, op->r1))                     \
	POPCNT_FORM(popcnt_rm##bits, bits, OP_LOAD(bits))                              \
	COUNT_FORM(tzcnt_rr##bits, bits, reg##bits(cpu, op->r1), __builtin_ctzll(x))   \
	COUNT_FORM(tzcnt_rm##bits, bits, OP_LOAD(bits), __builtin_ctzll(x))            \
	COUNT_FORM(lzcnt_rr##bits, bits, reg##bits(cpu, op->r1),                       \
		   __builtin_clzll(x) - (64 - (bits)))                                 \
	COUNT_FORM(lzcnt_rm##bits, bits, OP_LOAD(bits), __builtin_clzll(x) - (64 - (bits)))

/* POPCNT clears every flag but ZF. */
#define POPCNT_FORM(name, bits, source)                              \
	OP(name)                                                     \
	{                                                            \
		UINT(bits) x = (source);                             \
                                                                     \
		set_reg##bits(cpu, op->r0, __builtin_popcountll(x)); \
		flags_set_arith(cpu, x ? 0 : FL_ZF);                 \
		OP_NEXT;                                             \
	}

/*
 * TZCNT and LZCNT: the operand's size for a source of 0, which CF tells; ZF is that of the result.
 * The other flags, which the manual leaves undefined, are 0.
 */
#define COUNT_FORM(name, bits, source, result)                           \
	OP(name)                                                         \
	{                                                                \
		UINT(bits) x = (source);                                 \
		unsigned n = x ? (unsigned)(result) : (bits);            \
                                                                         \
		set_reg##bits(cpu, op->r0, n);                           \
		flags_set_arith(cpu, (x ? 0 : FL_CF) | (n ? 0 : FL_ZF)); \
		OP_NEXT;                                                 \
	}

SCAN_FORMS(16)
SCAN_FORMS(32)
SCAN_FORMS(64)

enum { SCAN_BSF, SCAN_BSR, SCAN_POPCNT, SCAN_TZCNT, SCAN_LZCNT, SCAN_COUNT };

#define SCAN_ROWS(o)                                            \
	{                                                       \
		{ o##_rr16, o##_rm16 }, { o##_rr32, o##_rm32 }, \
		{                                               \
			o##_rr64, o##_rm64                      \
		}                                               \
	}

static const op_fn scan_fn[SCAN_COUNT][3][2] = {
	[SCAN_BSF] = SCAN_ROWS(bsf),	   [SCAN_BSR] = SCAN_ROWS(bsr),
	[SCAN_POPCNT] = SCAN_ROWS(popcnt), [SCAN_TZCNT] = SCAN_ROWS(tzcnt),
	[SCAN_LZCNT] = SCAN_ROWS(lzcnt),
};

static bool bind_scan(const struct decoded *d, struct op *op, uintptr_t arg)
{
	enum int_form form = int_form(d, op);
	int size = int_size(d, 0);

	if ((form != FORM_RR && form != FORM_RM) || size < 1)
		return false;
	if (arg <= SCAN_BSR && size >= 2)
		op_form(op, OPK_SCAN, arg == SCAN_BSR, form, (unsigned)size, 0, FLAGS_ALL);
	return int_pick(op, scan_fn[arg][size - 1][form == FORM_RM]);
}

/* ---- CRC32: polynomial 11EDC6F41h, bit-reflected ---- */
static uint64_t crc32c(uint32_t crc, uint64_t data, unsigned bytes)
{
	/* CRC of each nibble. */
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (unsigned i = 0; i < bytes * 2; i++, data >>= 4)
		crc = crc >> 4 ^ table[(crc ^ data) & 15];
	return crc;
}

#define CRC_FORMS(bits)                                                                            \
	OP(crc32_r##bits)                                                                          \
	{                                                                                          \
		cpu->gpr[op->r0] = crc32c(reg32(cpu, op->r0), reg##bits(cpu, op->r1), (bits) / 8); \
		OP_NEXT;                                                                           \
	}                                                                                          \
	OP(crc32_m##bits)                                                                          \
	{                                                                                          \
		cpu->gpr[op->r0] = crc32c(reg32(cpu, op->r0), OP_LOAD(bits), (bits) / 8);          \
		OP_NEXT;                                                                           \
	}

INT_EACH_SIZE(CRC_FORMS)

static bool bind_crc32(const struct decoded *d, struct op *op, uintptr_t arg)
{
	static const op_fn fn[INT_SIZES][2] = { { crc32_r8, crc32_m8 },
						{ crc32_r16, crc32_m16 },
						{ crc32_r32, crc32_m32 },
						{ crc32_r64, crc32_m64 } };
	int size = int_size(d, 1);

	int_form(d, op);
	return size >= 0 && int_pick(op, fn[size][opnd_is_mem(d, 1)]);
}

static const struct binding rows[] = {
	{ ZYDIS_MNEMONIC_BT, bind_bit, BIT_BT },
	{ ZYDIS_MNEMONIC_BTS, bind_bit, BIT_BTS },
	{ ZYDIS_MNEMONIC_BTR, bind_bit, BIT_BTR },
	{ ZYDIS_MNEMONIC_BTC, bind_bit, BIT_BTC },
	{ ZYDIS_MNEMONIC_BSF, bind_scan, SCAN_BSF },
	{ ZYDIS_MNEMONIC_BSR, bind_scan, SCAN_BSR },
	{ ZYDIS_MNEMONIC_POPCNT, bind_scan, SCAN_POPCNT },
	{ ZYDIS_MNEMONIC_TZCNT, bind_scan, SCAN_TZCNT },
	{ ZYDIS_MNEMONIC_LZCNT, bind_scan, SCAN_LZCNT },
	{ ZYDIS_MNEMONIC_CRC32, bind_crc32, 0 },
};

BINDING_TABLE(bits_bindings, rows);
