/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that ask the process to end: they stop the run, and everything is closed and removed as
 * after any other end.
 */
#ifndef HOST_STOP_H
#define HOST_STOP_H

/*
 * From now on SIGINT, SIGTERM and SIGHUP call stop(ctx), which must be safe in a signal handler;
 * SIGPIPE and SIGXFSZ are ignored. A second signal ends the process at once.
 */
void stop_on_signals(void (*stop)(void *ctx), void *ctx);
/* The signal that came, or 0. */
int stop_signal(void);
/* Signals end the process again. */
void stop_restore(void);

#endif
