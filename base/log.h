/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for a person, one line each, on standard error: "twinstep: <text>". Not for the machine:
 * nothing under hypervisor/ may log from a path that a guest can drive at will.
 *
 * An error or a warning that ends with the system's words for an errno, as in "cannot open FILE: No
 * such file or directory", gets advice added behind them. A caller that knows better advice writes
 * it there itself, and nothing is added.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Level from which messages are printed; default LOG_INFO. */
void log_set_level(enum log_level level);
/* Name in front of every line instead of "twinstep" (the string is kept, not copied). */
void log_set_name(const char *name);
/* Start lines with CR and end them with CR LF, for a terminal in raw mode. */
void log_set_raw(bool raw);

/*
 * From here on, no thread waits for a slow reader of standard error, in this process and in those
 * that it starts. A line that a pipe, a socket or a terminal does not accept at once is lost and
 * counted, and the next line that is accepted is preceded by the number of lost ones. A pipe or
 * terminal gets its own open file description, so other processes that share it are not affected;
 * for a socket that is not possible. Files are written as before.
 */
void log_never_wait(void);
/* Number of lines lost because of log_never_wait(). */
uint64_t log_lost(void);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Logs a line for a thread that may not wait: the line is left out where standard error does not
 * take it at once.
 */
void log_try(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/*
 * An assertion that stays on in release builds: a state that our own code must never reach,
 * whatever the guest, a peer or a file does. Prints the expression and aborts.
 */
#define must(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))
_Noreturn void must_failed(const char *expr, const char *file, int line);

#endif
