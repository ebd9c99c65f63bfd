/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exit statuses of the command. A guest that ends itself through the debug exit port chooses its
 * own; the others are ours. A run that a signal ended exits with 128 + the signal's number.
 */
#ifndef HOST_EXIT_H
#define HOST_EXIT_H

#define EXIT_USAGE  2	/* bad options, unreadable or damaged input files; nothing was run */
#define EXIT_PANIC  117 /* the guest's kernel panicked, and --on-panic stop ended it */
#define EXIT_FENCED 118 /* another replica is live */
#define EXIT_RESET  119 /* the guest asked for a reset */
#define EXIT_TRIPLE 120 /* triple fault */
#define EXIT_STUCK  121 /* no instruction of the guest can retire any more */
#define EXIT_ENGINE 122 /* the engine or the host failed */
/* a replica or replay differs from its record, or the record cannot be applied */
#define EXIT_DIVERGED 123

#endif
