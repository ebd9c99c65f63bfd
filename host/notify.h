/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a service tells systemd (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names.
 * Without that variable nothing is said.
 */
#ifndef HOST_NOTIFY_H
#define HOST_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STATUS=...", lines of them; 0, or -errno. */
int notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* How often systemd wants to hear WATCHDOG=1, in ms; 0: never. */
uint64_t notify_watchdog_ms(void);

#endif
