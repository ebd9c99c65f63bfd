/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A system call that is made before a point in time or not at all.
 *
 * A process that asks the clock and then calls can be frozen (SIGSTOP, a busy or suspended host)
 * between the two, and calls much later than it believes. Here both lie in one restartable sequence
 * (rseq(2), Linux 4.18): when the thread was preempted or signalled after it asked the clock, the
 * kernel takes it back and it asks again.
 */
#ifndef BASE_CALL_BEFORE_H
#define BASE_CALL_BEFORE_H

#include <stddef.h>
#include <stdint.h>

/*
 * System call nr(fd, data, len, 0, 0, 0), thus SYS_write or SYS_sendto, made before CLOCK_BOOTTIME
 * shows deadline_ns. Its result, -errno, or -ETIME: it was too late, and nothing was done. Where
 * the kernel has no rseq, a thread may lose the CPU between clock and call.
 */
long call_before(uint64_t deadline_ns, long nr, int fd, const void *data, size_t len);

#endif
