// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/log_jail.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/exit.h"
#include "host/stop.h"

static void nothing(void *ctx)
{
}

void log_jail_begin(enum jail_mode mode)
{
	jail_begin(mode);
	stop_on_signals(nothing, NULL);
}

int log_jail_enter(enum jail_mode mode, struct err *err)
{
	const struct jail_config c = { .without = 1u << LAYER_SPECULATION };

	if (mode == JAIL_OFF)
		log_warn("--no-jail: whoever finds an error in the reading of logs can write one "
			 "that has all the rights of this user");
	json_object_seed(0); /* it would open a file for it later */
	return jail_enter(mode, &c, err);
}

bool log_jail_stopped(void)
{
	return stop_signal() || ferror(stdout);
}

int log_jail_end(int status)
{
	bool bad = fflush(stdout) != 0;

	if (stop_signal())
		status = 128 + stop_signal();
	else if (bad && errno == EPIPE)
		status = 128 + SIGPIPE;
	else if (bad || ferror(stdout)) {
		log_error("cannot write: %s", bad ? strerror(errno) : "an error before");
		status = EXIT_ENGINE;
	}
	stop_restore();
	jail_end();
	return status;
}
