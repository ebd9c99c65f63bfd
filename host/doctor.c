// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static const char *const verdicts[DOCTOR_VERDICTS] = {
	[DOCTOR_GOOD] = "good",
	[DOCTOR_NOTE] = "note",
	[DOCTOR_WARN] = "warning",
	[DOCTOR_BAD] = "bad",
};

const char *doctor_verdict_name(enum doctor_verdict v)
{
	return verdicts[v];
}

void doctor_begin(struct doctor *d)
{
	*d = (struct doctor){ .checks = json_array() };
	must(d->checks != NULL);
}

void doctor_end(struct doctor *d)
{
	json_decref(d->checks);
	*d = (struct doctor){ 0 };
}

void doctor_add(struct doctor *d, const char *check, const struct doctor_finding *f)
{
	json_t *o = json_object();

	if (d->guest)
		json_object_set_new(o, "guest", json_string(d->guest));
	json_object_set_new(o, "check", json_string(check));
	json_object_set_new(o, "verdict", json_string(verdicts[f->verdict]));
	/* A path in it may be no UTF-8. */
	if (json_object_set_new(o, "text", json_string(f->text)) < 0)
		json_object_set_new(o, "text", json_string("(not UTF-8)"));
	if (f->cure)
		json_object_set_new(o, "cure", json_string(f->cure));
	json_array_append_new(d->checks, o);
	if (f->verdict > d->worst)
		d->worst = f->verdict;
}

void doctor_say(struct doctor *d, const char *check, enum doctor_verdict v, const char *cure,
		const char *fmt, ...)
{
	struct doctor_finding f = { .verdict = v, .cure = cure };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	doctor_add(d, check, &f);
}

static void settle(struct doctor_finding *f, enum doctor_verdict v, const char *cure,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void settle(struct doctor_finding *f, enum doctor_verdict v, const char *cure,
		   const char *fmt, ...)
{
	va_list ap;

	f->verdict = v;
	f->cure = cure;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

void doctor_judge_link(const struct doctor_link *l, const char *address, struct doctor_finding *f)
{
	if (!l->answers)
		settle(f, DOCTOR_BAD, "look at that host, the cable and the firewall between them",
		       "the other host does not answer at %s", address);
	else if (l->answers < l->tries)
		settle(f, DOCTOR_WARN,
		       "find out where packets are lost: each loss holds the guest's answers up",
		       "%s: %u of %u connections got no answer; the others took %.1f to %.1f ms",
		       address, l->tries - l->answers, l->tries, l->min_ms, l->max_ms);
	else if (l->max_ms * 2 > (double)l->timeout_ms)
		settle(f, DOCTOR_WARN, "choose a longer `timeout`, or a quicker link",
		       "%s answers after %.1f to %.1f ms: silence of %llu ms counts as death",
		       address, l->min_ms, l->max_ms, (unsigned long long)l->timeout_ms);
	else
		settle(f, DOCTOR_GOOD, NULL, "%s answers after %.1f to %.1f ms, none of %u lost",
		       address, l->min_ms, l->max_ms, l->tries);
}

void doctor_judge_disk(const struct disk_meta_identity *id, const char *path, bool running,
		       struct doctor_finding *f)
{
	const char *state = disk_meta_state_name(id->state);
	const char *doubt = disk_meta_state_doubt(id->state);

	if (id->doubtful)
		settle(f, DOCTOR_WARN, "let the pair join: every block is compared then",
		       "%s: %s, but part of what is known of it was damaged", path, state);
	else if (running)
		settle(f, DOCTOR_GOOD, NULL, "%s: in use, %s in generation %llu", path, state,
		       (unsigned long long)id->generation);
	else if (id->state == DISK_SYNCING)
		settle(f, DOCTOR_BAD, "start the other host's replica first, and this one after it",
		       "%s is a copy that was never finished: it cannot go live", path);
	else if (doubt)
		settle(f, DOCTOR_WARN, "start the other host's replica, which has the newest data",
		       "%s: %s in generation %llu: %s", path, state,
		       (unsigned long long)id->generation, doubt);
	else
		settle(f, DOCTOR_GOOD, NULL, "%s: %s, written in generation %llu", path, state,
		       (unsigned long long)id->generation);
}

/* ---- what a failover would do ---- */

static void fate_of_replica(const json_t *status, struct doctor_finding *out)
{
	const char *state = json_string_value(json_object_get(status, "state"));
	const char *peer = json_string_value(json_object_get(status, "peer"));
	bool live = json_is_true(json_object_get(status, "live"));

	state = state ? state : "unknown";
	peer = peer ? peer : "the other host";
	if (live && !strcmp(state, "protected"))
		settle(out, DOCTOR_GOOD, NULL,
		       "if this host died now, the guest would go on at %s; if that one did, here",
		       peer);
	else if (live)
		settle(out, DOCTOR_WARN,
		       "`twinstep list` and `twinstep log NAME` on the other host say what it "
		       "waits for",
		       "if this host died now, the guest would be down: no backup protects it "
		       "(%s)",
		       state);
	else if (!strcmp(state, "backup"))
		settle(out, DOCTOR_GOOD, NULL,
		       "if %s died now, the guest would go on here; if this host did, there", peer);
	else
		settle(out, DOCTOR_WARN,
		       "wait until it is `backup`; `twinstep log NAME` tells more",
		       "if the other host died now, this one could not take over yet (%s)", state);
}

void doctor_judge_fate(const struct doctor_fate *f, struct doctor_finding *out)
{
	const char *why;

	if (!f->arbiter_answers) {
		settle(out, DOCTOR_BAD, "mend the arbiter: see its own check",
		       "if a host died now, nobody could go live: the arbiter does not answer");
		return;
	}
	if (f->status) {
		fate_of_replica(f->status, out);
		return;
	}
	switch (role_decide(&f->facts, &why)) {
	case ROLE_PRIMARY:
		settle(out, DOCTOR_WARN, "twinstep up NAME",
		       "no replica runs here; `twinstep up` would begin as primary: %s", why);
		break;
	case ROLE_BACKUP:
		settle(out, DOCTOR_WARN, "twinstep up NAME",
		       "no replica runs here; `twinstep up` would join the other host");
		break;
	case ROLE_WAIT:
		settle(out, DOCTOR_WARN, "twinstep up NAME, on the other host as well",
		       "no replica runs here; `twinstep up` would wait: %s", why);
		break;
	}
}
