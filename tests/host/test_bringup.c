// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bring-up of a machine: the order of its steps, and that a failure at each of them leaves the
 * host as it was: no open descriptor, no file, no console output lost.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/bringup.h"
#include "host/exit.h"
#include "tests/unit.h"

static char dir[64], console[80], disk[80], noise[80];

/* What a role does here: notes that it was called, a letter each, and fails where it should. */
struct rig {
	struct bringup up;
	struct machine_opts opts;
	char called[32];
	char fails; /* the letter of the function that fails */
	struct rlimit files;
	int runs;
};

static int note(struct rig *r, char letter, struct err *err)
{
	r->called[strlen(r->called)] = letter;
	return letter == r->fails ? err_set(err, EIO, "fails at %c", letter) : 0;
}

static int role_open(void *ctx, struct err *err)
{
	struct rig *r = ctx;
	int ret = note(r, 'o', err);

	return ret ? ret : machine_host_open(&r->up.host, &r->opts, err);
}

static int role_names(void *ctx, struct err *err)
{
	return note(ctx, 'n', err);
}

/* Fails for real: no descriptor is left for what the jail needs. */
static void role_jail(void *ctx, struct jail_config *c)
{
	struct rig *r = ctx;
	struct rlimit none;

	note(r, 'j', NULL);
	none = r->files;
	none.rlim_cur = 3;
	if (r->fails == 'J')
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void role_jailed(void *ctx)
{
	note(ctx, 'J', NULL);
}

static void emit(void *ctx, const struct output *out)
{
}

static struct output_sink role_sink(void *ctx)
{
	note(ctx, 's', NULL);
	return (struct output_sink){ .ctx = ctx, .emit = emit };
}

static int role_created(void *ctx, struct err *err)
{
	return note(ctx, 'c', err);
}

static int role_start(void *ctx, struct err *err)
{
	return note(ctx, 't', err);
}

static void role_stop(void *ctx)
{
	struct rig *r = ctx;

	ck_assert_ptr_nonnull(r->up.machine);
	note(r, 'T', NULL);
}

static void role_unname(void *ctx)
{
	struct rig *r = ctx;

	ck_assert_ptr_null(r->up.machine);
	note(r, 'N', NULL);
}

static void role_close(void *ctx)
{
	struct rig *r = ctx;

	ck_assert_ptr_null(r->up.host.console[0]);
	note(r, 'O', NULL);
}

static const struct bringup_role role = { .open = role_open,
					  .close = role_close,
					  .names = role_names,
					  .unname = role_unname,
					  .jail = role_jail,
					  .jailed = role_jailed,
					  .sink = role_sink,
					  .created = role_created,
					  .start = role_start,
					  .stop = role_stop,
					  .consoles = true };

/* ---- the host before and after ---- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* Without a kernel, a machine boots its disk. */
static void append_boot_signature(void)
{
	FILE *f = fopen(disk, "ab");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite("\x55\xaa", 1, 2, f), 2);
	ck_assert_int_eq(fclose(f), 0);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : st.st_size;
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void begin(struct rig *r)
{
	strcpy(dir, "/tmp/twinstep-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(console, sizeof(console), "%s/console", dir);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	snprintf(noise, sizeof(noise), "%s/noise", dir);
	write_file(disk, "");
	ck_assert_int_eq(truncate(disk, 510), 0);
	append_boot_signature();
	ck_assert_int_eq(truncate(disk, 4096), 0);
	write_file(noise, "neither a kernel nor a snapshot\n");
	memset(r, 0, sizeof(*r));
	getrlimit(RLIMIT_NOFILE, &r->files);
	machine_opts_defaults(&r->opts);
	r->opts.engine = "soft";
	r->opts.console = console;
	r->opts.jail = JAIL_OFF;
	r->opts.memory = 1 << 20;
	r->opts.share.no_reserve = true;
	r->opts.disk[0].path = strdup(disk);
	r->opts.ndisks = 1;
	r->up = (struct bringup){ .role = &role, .ctx = r, .given = &r->opts };
}

static void end(struct rig *r)
{
	char command[96];

	machine_opts_free(&r->opts);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static int run_once(void *ctx)
{
	struct rig *r = ctx;

	r->runs++;
	ck_assert_ptr_nonnull(r->up.machine);
	return 42;
}

/* Up as far as it goes and down again: `called` is the way there and back. */
static void check_way(struct rig *r, const char *called)
{
	unsigned fds = entries("/proc/self/fd"), files = entries(dir);
	bool whole = strchr(called, 't') != NULL;
	int status = bringup_run(&r->up, run_once, r);
	struct sigaction sa;

	setrlimit(RLIMIT_NOFILE, &r->files);
	ck_assert_str_eq(r->called, called);
	ck_assert_int_eq(status, r->runs ? 42 : EXIT_USAGE);
	ck_assert_int_eq(r->runs, whole && !r->fails);
	ck_assert_ptr_null(r->up.machine);
	ck_assert_uint_eq(entries("/proc/self/fd"), fds);
	sigaction(SIGTERM, NULL, &sa);
	ck_assert(sa.sa_handler == SIG_DFL);
	/* A console's file that was not there before stays only where a machine was. */
	ck_assert_uint_eq(entries(dir), files + whole);
}

/* ---- each step fails ---- */

static void no_group(struct rig *r)
{
	r->opts.share.cgroup = "nowhere"; /* without a limit that it could be for */
}

static void no_kernel(struct rig *r)
{
	r->opts.kernel = "/nonexistent/kernel";
}

static void little_promised(struct rig *r)
{
	r->opts.share.no_reserve = false;
	r->opts.share.reserve = 4096;
}

static void console_is_directory(struct rig *r)
{
	r->opts.debug_console = dir;
}

static void noisy_snapshot(struct rig *r)
{
	r->opts.restore = noise;
}

static void noisy_kernel(struct rig *r)
{
	r->opts.kernel = noise;
}

static const struct way {
	const char *called; /* on the way up, and back */
	char fails;
	void (*spoil)(struct rig *r);
} ways[] = {
	{ "onjJsctTNO", 0, NULL },
	{ "", 0, no_group },
	{ "oO", 'o', NULL },
	{ "oO", 0, no_kernel },
	{ "oO", 0, little_promised },
	{ "oO", 0, console_is_directory },
	{ "onNO", 'n', NULL },
	{ "onjNO", 'J', NULL },
	{ "onjJNO", 0, noisy_snapshot },
	{ "onjJsNO", 0, noisy_kernel },
	{ "onjJscNO", 'c', NULL },
	{ "onjJsctTNO", 't', NULL },
};

START_TEST(each_step_is_taken_back)
{
	const struct way *w = &ways[_i];
	struct rig r;

	begin(&r);
	r.fails = w->fails;
	if (w->spoil)
		w->spoil(&r);
	check_way(&r, w->called);
	end(&r);
}
END_TEST

/* A run that fails before it starts leaves what an earlier one wrote. */
START_TEST(old_output_stays_until_the_start)
{
	static const char *const text = "output of an earlier run\n";
	struct rig r;

	begin(&r);
	write_file(console, text);
	r.fails = 'c';
	bringup_run(&r.up, run_once, &r);
	ck_assert_int_eq(size_of(console), (off_t)strlen(text));
	memset(r.called, 0, sizeof(r.called));
	r.fails = 0;
	ck_assert_int_eq(bringup_run(&r.up, run_once, &r), 42);
	ck_assert_int_eq(size_of(console), 0);
	end(&r);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, each_step_is_taken_back, 0, sizeof(ways) / sizeof(ways[0]));
	tcase_add_test(tc, old_output_stays_until_the_start);
}

UNIT_MAIN("bringup", add_tests)
