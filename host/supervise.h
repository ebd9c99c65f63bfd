/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The common part of all processes that keep replicas going. */
#ifndef HOST_SUPERVISE_H
#define HOST_SUPERVISE_H

/*
 * Blocks SIGCHLD and the signals that end a guest. Returns a descriptor that they are read from,
 * which does not block, or -1 and errno.
 */
int supervise_signals(void);
/*
 * In a child: becomes this program again, with these arguments, and ends with its parent. Signals
 * that end a guest wait until it handles them: the first process of a pid namespace gets none
 * before. Status 127 where that cannot be done.
 */
_Noreturn void supervise_exec(char *const *argv);

#endif
