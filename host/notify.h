/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of a service to systemd (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET
 * names. Without that variable nothing is sent.
 */
#ifndef HOST_NOTIFY_H
#define HOST_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STATUS=...", lines of them; 0, or -errno. */
int notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Longest time, in ms, between two WATCHDOG=1 that systemd wants; 0: it wants none. */
uint64_t notify_watchdog_ms(void);

#endif
