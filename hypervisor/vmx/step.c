// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which instructions may be single-stepped with RFLAGS.TF. Not those that read, write or push the
 * flags, that mask traps for an instruction (loads of SS), or that trap after every iteration (REP
 * strings); and none when the guest itself traces.
 */
#include "hypervisor/translate.h"
#include "hypervisor/vmx/vmx.h"

#define MAX_INSN 15

static unsigned fetch(const struct vmx *v, uint8_t *code)
{
	const struct seg_state *cs = &v->st.seg[SEG_CS];
	unsigned n = 0;

	while (n < MAX_INSN) {
		uint64_t gpa, lin = cs->base + v->st.rip + n;

		if (!(v->st.efer & EFER_LMA))
			lin = (uint32_t)lin;
		if (!cpu_state_translate(&v->st, v->mem, lin, &gpa) ||
		    !memory_read(v->mem, gpa, code + n, 1))
			break;
		n++;
	}
	return n;
}

static bool is_prefix(uint8_t c, bool long_mode)
{
	if (long_mode && (c & 0xf0) == 0x40)
		return true;
	return c == 0x66 || c == 0x67 || c == 0xf0 || c == 0xf2 || c == 0xf3 || c == 0x2e ||
	       c == 0x36 || c == 0x3e || c == 0x26 || c == 0x64 || c == 0x65;
}

static bool is_string(uint8_t c)
{
	return (c >= 0x6c && c <= 0x6f) || (c >= 0xa4 && c <= 0xa7) || (c >= 0xaa && c <= 0xaf);
}

/*
 * One-byte opcodes: POP SS, PUSHF, POPF, far CALL and JMP, MOV to SS, RETF, INT3, INT, INTO, IRET,
 * INT1, STI.
 */
static bool is_delicate(uint8_t c, uint8_t modrm)
{
	switch (c) {
	case 0x17:
	case 0x9a:
	case 0xfb:
	case 0x9c:
	case 0x9d:
	case 0xca ... 0xcf:
	case 0xea:
	case 0xf1:
		return true;
	case 0x8e:
		return (modrm >> 3 & 7) == 2;
	case 0xff:
		return (modrm >> 3 & 7) == 3 || (modrm >> 3 & 7) == 5;
	default:
		return false;
	}
}

/* Two-byte opcodes: SYSCALL, SYSRET, SYSENTER, SYSEXIT, LSS. */
static bool is_delicate_0f(uint8_t c)
{
	return c == 0x05 || c == 0x07 || c == 0x34 || c == 0x35 || c == 0xb2;
}

/*
 * Not every virtual VT-x steps from branch to branch, so the module leaves DEBUGCTL alone, and from
 * the WRMSR that sets BTF to the next debug exception, which clears it, instructions are executed
 * in software.
 */
bool vmx_steps_branches(const struct vmx *v)
{
	return v->st.debugctl & DEBUGCTL_BTF;
}

bool vmx_step_needs_soft(const struct vmx *v)
{
	bool long_mode = v->st.seg[SEG_CS].attr & SEG_L, rep = false;
	uint8_t code[MAX_INSN + 2] = { 0 };
	unsigned n, i = 0;

	if (v->rep_unnamed || vmx_steps_branches(v) || (v->st.rflags & FL_TF) || v->st.sti_shadow ||
	    v->st.movss_shadow || (v->st.dr[7] & 0xff))
		return true;
	n = fetch(v, code);
	while (i < n && is_prefix(code[i], long_mode)) {
		rep |= code[i] == 0xf2 || code[i] == 0xf3;
		i++;
	}
	if (i >= n)
		return true;
	if (code[i] == 0x0f)
		return is_delicate_0f(code[i + 1]);
	return (rep && is_string(code[i])) || is_delicate(code[i], code[i + 1]);
}
