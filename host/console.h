/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host side of a guest's console.
 *
 *   stdio       standard input and output; a terminal is put into raw mode, where Ctrl-A x quits
 *               and Ctrl-A a sends Ctrl-A
 *   none        output is dropped, there is no input
 *   unix:PATH   a listening socket, one client at a time; without a client output is dropped
 *   FILE        output goes to a file, which is truncated when the machine starts; there is no
 *               input
 */
#ifndef HOST_CONSOLE_H
#define HOST_CONSOLE_H

#include <stdbool.h>

#include "base/err.h"
#include "record/live.h"

struct console;

/* Checks that spec can be a console; opens nothing. 0, or -EINVAL and err. */
int console_check_spec(const char *spec, struct err *err);
/*
 * Tries to open the file that a console will write to, and leaves no trace: a supervisor looks
 * before it starts the processes that write. 0, also for consoles of other kinds and for what is no
 * regular file, such as a FIFO; else -errno and err.
 */
int console_check_file(const char *spec, struct err *err);
/* True: spec is a terminal or a socket, so input may come from there while the machine runs. */
bool console_is_interactive(const char *spec);

/*
 * quit(ctx) is called, from another thread, when the person at the terminal asks to quit; NULL:
 * then there is no escape key. Returns NULL and sets err on failure.
 */
struct console *console_open(const char *spec, void (*quit)(void *ctx), void *ctx, struct err *err);
/*
 * Sets the longest time, in ms, for which a reader that does not read may hold up the machine;
 * after that, output is lost until it reads again. Without this call there is no limit, but for the
 * client of a socket, which has 100 ms. A signal that ends the process ends the waiting in any
 * case. Any thread may call it. NULL is allowed.
 */
void console_set_patience(struct console *c, int ms);
/* Bytes of output that a reader did not take in time, or that came after it had gone. NULL: 0. */
uint64_t console_lost(const struct console *c);
/* Whether a reader holds the machine up just now. Any thread may ask. NULL: no. */
bool console_waits(const struct console *c);
/*
 * The machine is there: starts to read the terminal, or empties the file. 0 or -errno. NULL
 * allowed.
 */
int console_start(struct console *c, struct err *err);
/* From here on quit() is not called any more; output still works. NULL allowed. */
void console_stop_input(struct console *c);
/* Also restores the terminal and removes the socket. NULL allowed. */
void console_close(struct console *c);
/*
 * Before an end that closes nothing: the terminal's mode. In a jail the process outside puts it
 * back. Signal-safe.
 */
void console_abandon(void);
struct live_console *console_live(struct console *c);

#endif
