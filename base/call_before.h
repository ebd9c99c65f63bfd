/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a system call before a point in time or not at all.
 *
 * A process that reads the clock and then makes a call can be frozen between the two (SIGSTOP, a
 * busy or suspended host), so the call happens much later than intended. Here both are parts of one
 * restartable sequence (rseq(2), Linux 4.18): if the thread is preempted or gets a signal after it
 * has read the clock, the kernel sends it back and it reads the clock again.
 */
#ifndef BASE_CALL_BEFORE_H
#define BASE_CALL_BEFORE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Makes system call nr(fd, data, len, 0, 0, 0), which may be SYS_write or SYS_sendto, before
 * CLOCK_BOOTTIME shows deadline_ns. Returns its result, or -errno; -ETIME: the deadline had passed
 * and the call was not made. On kernels without rseq, a thread may lose the CPU between clock and
 * call.
 */
long call_before(uint64_t deadline_ns, long nr, int fd, const void *data, size_t len);

#endif
