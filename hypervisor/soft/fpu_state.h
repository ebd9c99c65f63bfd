/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87, MMX and SSE registers of the software CPU. Included by cpu.h. */
#ifndef SOFT_FPU_STATE_H
#define SOFT_FPU_STATE_H

#include <stdint.h>

union xmm {
	uint8_t u8[16];
	uint16_t u16[8];
	uint32_t u32[4];
	uint64_t u64[2];
	int8_t s8[16];
	int16_t s16[8];
	int32_t s32[4];
	int64_t s64[2];
	float f32[4];
	double f64[2];
} __attribute__((aligned(16)));

/* 80-bit register as the FPU holds it; MMX registers are the mantissas. */
struct x87_reg {
	uint64_t mant;
	uint16_t exp; /* sign and exponent */
};

struct fpu_state {
	union xmm xmm[16];
	uint32_t mxcsr;
	struct x87_reg reg[8]; /* physical R0..R7; ST(i) is reg[(top + i) & 7] */
	uint16_t cw, sw;       /* sw holds TOP in bits 11..13 */
	uint8_t tag;	       /* bit i set: physical register i is not empty (abridged tag word) */
	uint16_t fop;
	uint64_t fip, fdp;
};

/*
 * FIP is recorded by every x87 instruction that is not a control one, FDP by those with a memory
 * operand, FOP by those that raise an unmasked exception. FCS and FDS are not kept and always read
 * as 0: CPUID.(EAX=7,ECX=0):EBX[13] is 1.
 */

/* The FXSAVE64 image (SDM vol. 1, 10.5.1); bytes that it does not define are 0. */
void fpu_to_fxsave(const struct fpu_state *f, uint8_t image[512]);
/* 0, or -EINVAL and no change when the image has reserved MXCSR bits set. */
int fpu_from_fxsave(struct fpu_state *f, const uint8_t image[512]);

#endif
