/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration file (conf.h) of a guest: options as on the command lines of `twinstep primary`,
 * `backup` and `up`, from the one option table; sections [host NAME] have those that differ from
 * host to host.
 */
#ifndef HOST_GUEST_CONF_H
#define HOST_GUEST_CONF_H

#include "host/conf.h"
#include "host/options.h"

#define GUEST_CONF_DIR "/etc/twinstep"
#define GUEST_NAME_MAX 40

struct guest_conf {
	struct conf conf;
	char name[GUEST_NAME_MAX + 1];
	const struct conf_section *here, *other; /* of this host, of the peer; NULL: none */
	struct options seen; /* as this host's options come out: for up, and to be checked */
	const char *connect; /* where the other side is; NULL: there is none */
	bool first;	     /* this host begins when nobody has ever been live */
	bool waits;	     /* no-wait = no: the guest waits for its first backup */
	bool own_console;    /* it has a console elsewhere */
};

/* A name that is good for a guest, and so for files: letters, digits, and -._ inside. */
bool guest_name_is_good(const char *name);
/* Checks a name for a command that takes names alone, no paths: 0, or -EINVAL and err. */
int guest_name_check(const char *name, struct err *err);
/* The file of `who`, a path where there is a '/' in it; else in /etc/twinstep. Free it. */
char *guest_conf_path(const char *who);
/*
 * Reads and checks the configuration of `who` as `hostname` sees it. files: whether what it names
 * is there is checked, too. 0, also with faults in g->conf; or -errno and err, when there is no
 * such file. guest_conf_free() is due in both cases.
 */
int guest_conf_load(struct guest_conf *g, const char *who, const char *hostname, bool files,
		    struct err *err);
/* Reads a configuration out of a text, for tests. */
void guest_conf_read(struct guest_conf *g, const char *path, const char *text, size_t len,
		     const char *hostname);
void guest_conf_free(struct guest_conf *g);

/* The next option of this host that the command takes, from *i on: its row and value, or NULL. */
const struct option_row *guest_conf_next(const struct guest_conf *g, enum command_id command,
					 unsigned *i, const char **value);

#endif
