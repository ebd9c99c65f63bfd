// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep top`: the guests of this host, again and again, until a key is pressed. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/guest_list.h"
#include "host/guest_table.h"
#include "host/metrics.h"
#include "tools/cmd.h"

#define DELAY_MS   2000
#define ENTER	   "\033[?1049h\033[?25l" /* another screen, without a cursor */
#define LEAVE	   "\033[?25h\033[?1049l"
#define HOME	   "\033[H"
#define CLEAR_REST "\033[J"
#define CLEAR_LINE "\033[K"

static struct termios before_us;
static volatile sig_atomic_t ended, stopped;

static void on_end(int signal_number)
{
	ended = signal_number;
}

static void on_stop(int signal_number)
{
	stopped = 1;
}

/* Does nothing: the signal itself ends the wait for a key. */
static void on_resize(int signal_number)
{
}

static const struct {
	int number;
	void (*handler)(int);
} signals[] = {
	{ SIGINT, on_end },   { SIGTERM, on_end },     { SIGHUP, on_end },
	{ SIGTSTP, on_stop }, { SIGWINCH, on_resize },
};

/* Signals that come while a key is waited for, never between a question and its answer. */
static sigset_t while_waiting;

/* ---- the terminal ---- */

static void terminal_take(void)
{
	struct termios t = before_us;

	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	fputs(ENTER, stdout);
}

static void terminal_leave(void)
{
	fputs(LEAVE, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before_us);
}

static int terminal_enter(void)
{
	sigset_t all;

	sigemptyset(&all);
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
	    tcgetattr(STDIN_FILENO, &before_us) < 0) {
		log_error("top needs a terminal; `twinstep top -b` writes lines to anything");
		return -1;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i].number,
			  &(struct sigaction){ .sa_handler = signals[i].handler }, NULL);
		sigaddset(&all, signals[i].number);
	}
	sigprocmask(SIG_BLOCK, &all, &while_waiting);
	terminal_take();
	return 0;
}

/* Ctrl-Z: the shell gets its terminal as it was, and we ours when we go on. */
static void terminal_stop(void)
{
	terminal_leave();
	raise(SIGSTOP);
	stopped = 0;
	tcgetattr(STDIN_FILENO, &before_us);
	terminal_take();
}

/* True: a key that ends. A new size or time that is up: false. */
static bool terminal_wait(uint64_t ms)
{
	const struct timespec time = { .tv_sec = (time_t)(ms / 1000),
				       .tv_nsec = (long)(ms % 1000) * 1000000 };
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	int ready = ppoll(&p, 1, &time, &while_waiting);
	char key = 0;

	if (stopped)
		terminal_stop();
	if (ready <= 0)
		return ended != 0;
	return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == 3;
}

/* ---- what is shown ---- */

static void head(FILE *f, const json_t *guests, unsigned width)
{
	unsigned live = 0, protected = 0;
	char host[64] = "", when[20], line[200];
	time_t now = time(NULL);
	const json_t *o;
	struct tm tm;
	size_t i;

	json_array_foreach(guests, i, o)
	{
		const json_t *s = json_object_get(o, "status");
		const char *state = json_string_value(json_object_get(s, "state"));

		live += json_is_true(json_object_get(s, "live"));
		protected += state && (!strcmp(state, "protected") || !strcmp(state, "backup"));
	}
	gethostname(host, sizeof(host) - 1);
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	snprintf(line, sizeof(line), "twinstep on %s, %s: %zu guests, %u live here, %u protected",
		 host, when, json_array_size(guests), live, protected);
	fprintf(f, "%.*s\n\n", width ? (int)width : 199, line);
}

/* A screen at once, each line cleared behind its end: nothing flickers. */
static void draw(struct guest_table *t)
{
	struct winsize size = { 0 };
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	t->width = size.ws_col;
	t->height = size.ws_row > 4 ? size.ws_row - 3u : 1;
	head(f, t->guests, t->width);
	guest_table_print(f, t);
	if (fclose(f) == 0) {
		fputs(HOME, stdout);
		for (const char *s = text; *s; s++) {
			if (*s == '\n')
				fputs(CLEAR_LINE, stdout);
			putchar(*s);
		}
		fputs(CLEAR_REST, stdout);
		fflush(stdout);
	}
	free(text);
}

static void write_lines(const struct options *o, const struct guest_table *t)
{
	if (o->json) {
		json_t *all = metrics_machines(json_incref((json_t *)(uintptr_t)t->guests));

		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(all);
	} else {
		head(stdout, t->guests, 0);
		guest_table_print(stdout, t);
	}
	fflush(stdout);
}

/* Looks again and again; the look before is kept, to show the CPU time used since then. */
static void watch(const struct options *o, bool lines, uint64_t times, uint64_t delay_ms)
{
	json_t *now = NULL, *before = NULL;
	uint64_t at = 0;

	for (uint64_t i = 0; !ended && (!times || i < times); i++) {
		uint64_t was = at;
		struct guest_table t;

		if (i && lines)
			host_sleep_ns(delay_ms * 1000000);
		else if (i && terminal_wait(delay_ms))
			break;
		json_decref(before);
		before = now;
		now = guest_list();
		at = host_clock_ns(CLOCK_MONOTONIC);
		t = (struct guest_table){ .guests = now, .before = before, .details = true };
		t.seconds = was ? (double)(at - was) / 1e9 : 0;
		if (lines)
			write_lines(o, &t);
		else
			draw(&t);
	}
	json_decref(before);
	json_decref(now);
}

static int run(struct options *o)
{
	bool lines = o->batch || o->json;
	uint64_t times = o->times.given ? o->times.n : 0;
	uint64_t delay = o->delay_ms ? o->delay_ms : DELAY_MS;

	if (!lines && terminal_enter() < 0)
		return EXIT_USAGE;
	watch(o, lines, times, delay);
	if (!lines)
		terminal_leave();
	return ended && ended != SIGINT ? 128 + ended : 0;
}

const struct command cmd_top = {
	.id = COMMAND_TOP,
	.name = "top",
	.summary = "watch this host's guests in a terminal",
	.usage = "[-b] [-n N] [--delay MS] [--json]",
	.text = "Shows this host's guests, as `twinstep list` does, again and again: CPU is that "
		"of the time between two looks. `q` ends it.",
	.end = "Exit status: 0; 2 there is no terminal, and neither -b nor --json.",
	.run = run,
};
