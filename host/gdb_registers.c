// SPDX-License-Identifier: GPL-2.0-or-later
/* Registers as GDB knows them (GDB manual, G.5.5: i386 features). */
#include <string.h>

#include "host/gdb_stub.h"

#define REG(name, bits, type) "<reg name=\"" name "\" bitsize=\"" #bits "\" type=\"" type "\"/>"
#define R64(name)	      REG(name, 64, "int64")
#define R32(name)	      REG(name, 32, "int32")
#define FP(name)	      REG(name, 80, "i387_ext")
#define FC(name)	      "<reg name=\"" name "\" bitsize=\"32\" type=\"int\" group=\"float\"/>"
#define XMM(name)	      REG(name, 128, "vec128")

/* clang-format off */
const char gdb_target_xml[] =
	"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
	"<architecture>i386:x86-64</architecture>"

	"<feature name=\"org.gnu.gdb.i386.core\">"
	R64("rax") R64("rbx") R64("rcx") R64("rdx") R64("rsi") R64("rdi")
	REG("rbp", 64, "data_ptr") REG("rsp", 64, "data_ptr")
	R64("r8") R64("r9") R64("r10") R64("r11") R64("r12") R64("r13") R64("r14") R64("r15")
	REG("rip", 64, "code_ptr") R32("eflags")
	R32("cs") R32("ss") R32("ds") R32("es") R32("fs") R32("gs")
	FP("st0") FP("st1") FP("st2") FP("st3") FP("st4") FP("st5") FP("st6") FP("st7")
	FC("fctrl") FC("fstat") FC("ftag") FC("fiseg") FC("fioff") FC("foseg") FC("fooff") FC("fop")
	"</feature>"

	"<feature name=\"org.gnu.gdb.i386.sse\">"
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
	"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
	"<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
	"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
	"<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
	"<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
	"<field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union>"
	XMM("xmm0") XMM("xmm1") XMM("xmm2") XMM("xmm3") XMM("xmm4") XMM("xmm5") XMM("xmm6") XMM("xmm7")
	XMM("xmm8") XMM("xmm9") XMM("xmm10") XMM("xmm11") XMM("xmm12") XMM("xmm13") XMM("xmm14")
	XMM("xmm15") R32("mxcsr")
	"</feature>"

	"<feature name=\"org.gnu.gdb.i386.segments\">" R64("fs_base") R64("gs_base") "</feature>"

	"<feature name=\"org.twinstep.system\">"
	R64("k_gs_base") R64("cr0") R64("cr2") R64("cr3") R64("cr4") R64("cr8") R64("efer")
	"</feature></target>";
/* clang-format on */

/* FXSAVE area: SDM vol. 1, table 10-2. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24 };
enum { FX_ST = 32, FX_XMM = 160 };

static uint32_t fx16(const struct cpu_state *s, unsigned at)
{
	return (uint32_t)(s->fxsave[at] | s->fxsave[at + 1] << 8);
}

static uint32_t fx32(const struct cpu_state *s, unsigned at)
{
	return fx16(s, at) | fx16(s, at + 2) << 16;
}

/* Valid, zero, special or empty: SDM vol. 1, 8.1.7. */
static unsigned tag_of(const uint8_t *st)
{
	unsigned exponent = (st[8] | st[9] << 8) & 0x7fff;
	uint64_t mantissa;

	memcpy(&mantissa, st, 8);
	if (exponent == 0x7fff)
		return 2;
	if (!exponent)
		return mantissa ? 2 : 1;
	return mantissa >> 63 ? 0 : 2;
}

static uint32_t full_tags(const struct cpu_state *s)
{
	unsigned top = fx16(s, FX_FSW) >> 11 & 7;
	uint32_t tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		const uint8_t *st = &s->fxsave[FX_ST + 16 * ((r - top) & 7)];
		unsigned tag = s->fxsave[FX_FTW] >> r & 1 ? tag_of(st) : 3;

		tags |= tag << (2 * r);
	}
	return tags;
}

static void put_fpu(const struct cpu_state *s, struct buf *out)
{
	for (unsigned i = 0; i < 8; i++)
		buf_put(out, &s->fxsave[FX_ST + 16 * i], 10);
	buf_put_u32(out, fx16(s, FX_FCW));
	buf_put_u32(out, fx16(s, FX_FSW));
	buf_put_u32(out, full_tags(s));
	buf_put_u32(out, fx16(s, FX_FIP + 4));
	buf_put_u32(out, fx32(s, FX_FIP));
	buf_put_u32(out, fx16(s, FX_FDP + 4));
	buf_put_u32(out, fx32(s, FX_FDP));
	buf_put_u32(out, fx16(s, FX_FOP));
	buf_put(out, &s->fxsave[FX_XMM], 256);
	buf_put_u32(out, fx32(s, FX_MXCSR));
}

void gdb_registers_put(const struct cpu_state *s, struct buf *out)
{
	static const uint8_t gpr[] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP,
				       R_R8,  R_R9,  R_R10, R_R11, R_R12, R_R13, R_R14, R_R15 };
	static const uint8_t seg[] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	const uint64_t system[] = { s->seg[SEG_FS].base,
				    s->seg[SEG_GS].base,
				    s->kernel_gs_base,
				    s->cr0,
				    s->cr2,
				    s->cr3,
				    s->cr4,
				    s->cr8,
				    s->efer };

	for (unsigned i = 0; i < 16; i++)
		buf_put_u64(out, s->gpr[gpr[i]]);
	buf_put_u64(out, s->rip);
	buf_put_u32(out, (uint32_t)s->rflags);
	for (unsigned i = 0; i < 6; i++)
		buf_put_u32(out, s->seg[seg[i]].selector);
	put_fpu(s, out);
	for (unsigned i = 0; i < sizeof(system) / sizeof(system[0]); i++)
		buf_put_u64(out, system[i]);
}
