/* SPDX-License-Identifier: GPL-2.0-only */
/* int twvmx_enter(u64 *gpr, bool launched): into the guest and back. gpr is in the order of instruction encodings. */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

#define HOST_RSP_FIELD 0x6c14

	.section .rodata
kernel_data_selector:
	.word	__KERNEL_DS

	.text
SYM_FUNC_START(twvmx_enter)
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdi
	mov	$HOST_RSP_FIELD, %eax
	vmwrite	%rsp, %rax
	bt	$0, %esi
	/* CF does not change from here to the jump */
	mov	0x00(%rdi), %rax
	mov	0x08(%rdi), %rcx
	mov	0x10(%rdi), %rdx
	mov	0x18(%rdi), %rbx
	mov	0x28(%rdi), %rbp
	mov	0x30(%rdi), %rsi
	mov	0x40(%rdi), %r8
	mov	0x48(%rdi), %r9
	mov	0x50(%rdi), %r10
	mov	0x58(%rdi), %r11
	mov	0x60(%rdi), %r12
	mov	0x68(%rdi), %r13
	mov	0x70(%rdi), %r14
	mov	0x78(%rdi), %r15
	mov	0x38(%rdi), %rdi
	/* Leaves no data of the host's in the buffers of processors that leak them; nothing but ZF changes on others. */
	verw	kernel_data_selector(%rip)
	/* The stack at the exit point is the one that is here. */
	UNWIND_HINT_SAVE
	jnc	1f
	vmresume
	jmp	2f
1:	vmlaunch
2:	/* The entry failed: CF without, ZF with an error number. Guest registers are as they were loaded. */
	pop	%rdi
	mov	$1, %eax
	mov	$2, %ecx
	cmovnc	%ecx, %eax
	jmp	3f

SYM_INNER_LABEL(twvmx_exit_point, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	xchg	%rdi, (%rsp)
	mov	%rax, 0x00(%rdi)
	mov	%rcx, 0x08(%rdi)
	mov	%rdx, 0x10(%rdi)
	mov	%rbx, 0x18(%rdi)
	mov	%rbp, 0x28(%rdi)
	mov	%rsi, 0x30(%rdi)
	mov	%r8,  0x40(%rdi)
	mov	%r9,  0x48(%rdi)
	mov	%r10, 0x50(%rdi)
	mov	%r11, 0x58(%rdi)
	mov	%r12, 0x60(%rdi)
	mov	%r13, 0x68(%rdi)
	mov	%r14, 0x70(%rdi)
	mov	%r15, 0x78(%rdi)
	pop	%rax
	mov	%rax, 0x38(%rdi)
	xor	%eax, %eax
3:	/* Nothing of the guest's stays where a mispredicted path could use it. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	/* The guest may have filled the predictor of returns. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	/* And the history of branches, on processors that do not set it apart; it keeps RAX. */
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	RET
SYM_FUNC_END(twvmx_enter)
