/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a log, from the options of a machine, and the machine again from a log's header. */
#ifndef HOST_LOG_HEADER_H
#define HOST_LOG_HEADER_H

#include "record/logfile.h"
#include "host/machine_host.h"

/*
 * Begins the header of a recording: command line, names and digests of all files. Free with
 * log_header_free().
 */
int log_header_files(struct log_header *lh, const struct machine_opts *o, struct err *err);
/* The rest of it, of h's machine in its start state. 0 or -ENOMEM. */
int log_header_make(struct log_header *lh, const struct machine_host *h, struct machine *m,
		    uint64_t epoch_ns, struct err *err);
/*
 * Options of the machine that a log was recorded from. Strings point into lh. `where` replaces
 * paths of files that have moved: its kernel, initrd, restore and disks, where given.
 */
int log_header_options(const struct log_header *lh, const struct machine_opts *where,
		       struct machine_opts *o, struct err *err);
/*
 * Each file that the options name has the content that was recorded, and this program the same
 * CPUID model.
 */
int log_header_check(const struct log_header *lh, const struct machine_opts *o, struct err *err);

#endif
