// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/call_before.h"

#include <errno.h>
#include <sys/rseq.h>

#include "base/host_clock.h"

#if RSEQ_SIG != 0x53053053
#error "the signature in front of the abort handler is another one"
#endif

/*
 * The kernel clears a thread's rseq_cs when it interrupts the thread outside the sequence that
 * rseq_cs names. So rseq_cs is set first, then the clock is read, and the sequence begins with a
 * check that rseq_cs is still set. From there on, up to the system call, which is the sequence's
 * last instruction, the kernel sends an interrupted thread to the abort handler. sequence_call(fd,
 * data, len, nr, &rseq_cs) returns -ECANCELED (125) when it was interrupted.
 */
extern const char sequence[] __attribute__((visibility("hidden")));
long sequence_call(int fd, const void *data, size_t len, long nr, void *rseq_cs);

__asm__(".pushsection __rseq_cs, \"aw\"\n"
	"	.balign 32\n"
	"	.hidden sequence\n"
	"	.globl sequence\n"
	"sequence:\n"
	"	.long 0, 0\n" /* version, flags */
	"	.quad 1f, 2f - 1f, 3f\n"
	".popsection\n"
	".pushsection .text\n"
	"	.type sequence_call, @function\n"
	"	.hidden sequence_call\n"
	"	.globl sequence_call\n"
	"sequence_call:\n"
	"	movq %rcx, %rax\n"
	"	movq %r8, %r11\n"
	"	leaq sequence(%rip), %rcx\n"
	"	xorl %r10d, %r10d\n"
	"	xorl %r8d, %r8d\n"
	"	xorl %r9d, %r9d\n"
	"1:	cmpq %rcx, (%r11)\n"
	"	jne 4f\n"
	"	syscall\n"
	"2:	ret\n"
	"	.byte 0x0f, 0xb9, 0x3d\n" /* ud1: what the kernel demands in front of an abort
					     handler */
	"	.long 0x53053053\n"
	"3:\n"
	"4:	movq $-125, %rax\n"
	"	ret\n"
	"	.size sequence_call, . - sequence_call\n"
	".popsection\n");

/*
 * Returns this thread's rseq_cs. The C library registers one for each thread, unless the kernel has
 * no rseq or GLIBC_TUNABLES forbids it.
 */
static volatile uint64_t *thread_rseq_cs(void)
{
	struct rseq *rseq = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	return __rseq_size ? (volatile uint64_t *)&rseq->rseq_cs : NULL;
}

long call_before(uint64_t deadline_ns, long nr, int fd, const void *data, size_t len)
{
	volatile uint64_t none, *rseq_cs = thread_rseq_cs();
	long ret = -ECANCELED;

	if (!rseq_cs)
		rseq_cs = &none;
	while (ret == -ECANCELED) {
		*rseq_cs = (uintptr_t)sequence;
		ret = host_clock_ns(CLOCK_BOOTTIME) < deadline_ns
			      ? sequence_call(fd, data, len, nr, (void *)rseq_cs)
			      : -ETIME;
	}
	*rseq_cs = 0; /* whoever unmaps this code leaves no pointer to it behind */
	return ret;
}
