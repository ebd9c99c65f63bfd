/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control group for each machine that has limits, in cgroup v2 or v1, whichever has the
 * controller on this host.
 *
 * Groups are made below a group called "twinstep": inside our own group (v1), beside it (v2, where
 * a group with processes can have no children with controllers), or below a group that was named. A
 * group's name contains the process id and start time of the process that made it, so that later
 * processes can recognise groups left behind by a machine that was killed.
 */
#ifndef ISOLATION_CGROUP_H
#define ISOLATION_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "isolation/limits.h"

#define CGROUP_PATH    512
#define CGROUP_DEVICES 8

enum cgroup_controller { CGROUP_CPU, CGROUP_MEMORY, CGROUP_IO, CGROUP_ACCOUNT, CGROUP_CONTROLLERS };

/* A mounted hierarchy of groups. */
struct cgroup_tree {
	bool v2;
	char root[CGROUP_PATH];	  /* where it is mounted */
	char home[CGROUP_PATH];	  /* our own group */
	char parent[CGROUP_PATH]; /* of the machines' groups */
};

/* Places on this host where groups can be made. */
struct cgroup_site {
	struct cgroup_tree tree[CGROUP_CONTROLLERS];
	unsigned ntrees;
	int of[CGROUP_CONTROLLERS]; /* tree of each controller, -1: there is none */
	bool given;		    /* the parent was named: not ours to make or remove */
};

/*
 * Finds the control groups of this host. proc: "/proc", or the directory in which a test has put
 * self/mountinfo and self/cgroup. parent: path of a group below each hierarchy's root ("/a/b"), or
 * NULL. 0, or -errno and err.
 */
int cgroup_find(struct cgroup_site *s, const char *proc, const char *parent, struct err *err);

struct cgroup {
	struct cgroup_site site;
	unsigned trees; /* bit 1 << t: the group exists in tree t */
	char name[96];
};

/*
 * Makes the group, with its limits, for the process `owner`; removes groups that dead owners have
 * left. Rates of disks are for each of the devices. 0, or -errno and nothing is left behind. err is
 * needed.
 */
int cgroup_create(struct cgroup *g, const char *name, pid_t owner, const struct limits *l,
		  const dev_t *device, unsigned ndevices, struct err *err);
/* Moves the calling process, with all its threads, into the group. 0, or -errno and err. */
int cgroup_join(struct cgroup *g, struct err *err);
/* Moves the process back and removes the group. */
void cgroup_remove(struct cgroup *g);
/*
 * Removes the groups of processes that have ended. Waits a moment for `ended` (0: none), whose
 * processes are ending. True: the host killed one of them because it used more memory than its
 * group may.
 */
bool cgroup_sweep(const struct cgroup_site *s, pid_t ended);

#endif
