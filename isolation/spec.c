// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/spec.h"

#include <errno.h>
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "isolation/host_info.h"

/* The flush is an addition: "enabled" is its protective state; the others take something away. */
static const struct {
	unsigned long which, set;
	const char *name;
} controls[] = {
	[SPEC_STORE_BYPASS] = { PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, "store-bypass" },
	[SPEC_INDIRECT_BRANCH] = { PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE,
				   "indirect-branch" },
	[SPEC_L1D_FLUSH] = { PR_SPEC_L1D_FLUSH, PR_SPEC_ENABLE, "l1d-flush" },
};

const char *spec_name(enum spec_control c)
{
	return controls[c].name;
}

const char *spec_state_name(enum spec_state s)
{
	static const char *const names[] = {
		[SPEC_UNKNOWN] = "unknown",	    [SPEC_NOT_AFFECTED] = "not-affected",
		[SPEC_PROTECTED] = "protected",	    [SPEC_OPEN] = "open",
		[SPEC_NOT_OFFERED] = "not-offered",
	};

	return names[s];
}

enum spec_state spec_state(enum spec_control c)
{
	int got = prctl(PR_GET_SPECULATION_CTRL, controls[c].which, 0, 0, 0);
	int protects =
		c == SPEC_L1D_FLUSH ? PR_SPEC_ENABLE : PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE;

	if (got < 0)
		return SPEC_UNKNOWN;
	if (got == PR_SPEC_NOT_AFFECTED)
		return SPEC_NOT_AFFECTED;
	if (got & protects)
		return SPEC_PROTECTED;
	return got & PR_SPEC_PRCTL ? SPEC_OPEN : SPEC_NOT_OFFERED;
}

static bool cores_are_shared(void)
{
	struct host_info h;

	host_info_read(&h, "");
	return h.smt != HOST_SMT_OFF && h.smt != HOST_SMT_ABSENT;
}

/*
 * The kernel kills a task with the flush that meets an active second thread
 * (Documentation/admin-guide/hw-vuln/l1d_flush.rst).
 */
static bool wants(enum spec_control c)
{
	return c != SPEC_L1D_FLUSH || !cores_are_shared();
}

int spec_protect(void)
{
	int ret = 0;

	for (enum spec_control c = 0; c < SPEC_CONTROLS; c++) {
		if (spec_state(c) == SPEC_OPEN && wants(c))
			prctl(PR_SET_SPECULATION_CTRL, controls[c].which, controls[c].set, 0, 0);
		if (c != SPEC_L1D_FLUSH && spec_state(c) != SPEC_PROTECTED &&
		    spec_state(c) != SPEC_NOT_AFFECTED)
			ret = -EOPNOTSUPP;
	}
	return ret;
}

/*
 * A kernel without it does not know the call; one with it answers, or says that no core has a
 * second thread.
 */
bool spec_core_known(void)
{
	unsigned long cookie = 0;

	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) ==
		       0 ||
	       errno == ENODEV;
}

int spec_core_create(void)
{
	int ret = prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP,
			0) < 0
			  ? -errno
			  : 0;

	if (ret == 0 || ret == -ENODEV || !cores_are_shared())
		return 0;
	return ret == -EINVAL ? -EOPNOTSUPP : ret;
}
