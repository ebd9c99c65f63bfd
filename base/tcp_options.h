/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of TCP sockets that headers before Linux 6.15 lack: the shortest time after which a
 * segment is sent again, and the longest for which an acknowledgement waits, in us.
 */
#ifndef BASE_TCP_OPTIONS_H
#define BASE_TCP_OPTIONS_H

#include <netinet/tcp.h>

#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US	  45
#define TCP_DELACK_MAX_US 46
#endif

#endif
