// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/up_role.h"

/* True: this host may begin without the other one. */
static bool may_lead(const struct role_facts *f, const char **why)
{
	*why = "primary was tried and refused";
	if (f->barred)
		return false;
	if (f->force)
		return true;
	*why = f->last ? "the other host was live last and has the newest data: it is waited for; "
			 "if it will never "
			 "come back, `twinstep up NAME --force` begins with what is here"
		       : "the other host begins, and is waited for; `twinstep up NAME --force` "
			 "begins here";
	return f->last ? f->ours : f->first;
}

enum role role_decide(const struct role_facts *f, const char **why)
{
	bool patient = f->waited_ms < f->grace_ms;

	*why = "the arbiter does not answer";
	if (!f->known)
		return ROLE_WAIT;
	if (!may_lead(f, why))
		return f->peer == PEER_ANSWERS ? ROLE_BACKUP : ROLE_WAIT;
	*why = "the other host may be about to go live";
	if (f->peer == PEER_ANSWERS)
		return patient ? ROLE_BACKUP : ROLE_PRIMARY;
	if (f->peer == PEER_SILENT && f->last && !f->force && patient)
		return ROLE_WAIT;
	*why = "this host is to begin";
	return ROLE_PRIMARY;
}
