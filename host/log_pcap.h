/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network traffic of a recording as a file for packet analysers. */
#ifndef HOST_LOG_PCAP_H
#define HOST_LOG_PCAP_H

#include "host/machine_opts.h"

/*
 * Replays the log at path and writes all frames that the guest received and sent, of all its NICs,
 * to `file`. Time stamps are the recording's wall-clock time at the start plus virtual time. Says
 * what went wrong; returns the exit status.
 */
int log_pcap_write(const char *path, const struct machine_opts *given, const char *file);

#endif
