/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/traits.h"

/*
 * In the order of preference of "auto", which takes the first that can be used. soft:exits is for
 * replays of what the others counted; vmx:step is for those who ask for it.
 */
static const struct engine_ops *const engines[] = {
	&vmx_pmu_engine_ops,	    &vmx_engine_ops,	    &soft_engine_ops,
	&soft_interpret_engine_ops, &soft_exits_engine_ops, &vmx_step_engine_ops,
};

#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

/* True: with this engine the guest would see another processor than it has seen before. */
static bool shows_other(const struct engine_ops *ops, const struct engine_past *past)
{
	char differs[TRAITS_TEXT];
	struct traits here;

	if (!past->traits)
		return false;
	traits_of(ops, past->version, &here);
	return traits_differ(past->traits, &here, differs, sizeof(differs));
}

/* Reason not to take the engine unless it is asked for by name; NULL: none, and it is reserved. */
static const char *objection(const struct engine_ops *ops, const struct engine_past *past)
{
	const char *why;

	if (past->counter && strcmp(ops->counter, past->counter) != 0)
		return "that is what the machine has counted so far";
	if (shows_other(ops, past))
		return "guests would see another processor than the one that the machine has had";
	why = ops->reserve();
	if (why || !ops->doubt)
		return why;
	why = ops->doubt();
	return why ? why : ops->reserve();
}

static const struct engine_ops *first_available(const struct engine_past *past, const char **passed)
{
	for (size_t i = 0; i < ENGINE_COUNT; i++) {
		const char *why = objection(engines[i], past);

		if (!why)
			return engines[i];
		if (past->counter || !engines[i]->present || engines[i]->present())
			*passed = why;
	}
	return NULL;
}

/*
 * Chooses an engine. Where none has the machine's traits, one with other traits is better than
 * none: the caller compares them, and can say which they are.
 */
static const struct engine_ops *automatic(const struct engine_past *past, const char **passed,
					  struct err *err)
{
	const struct engine_past counted = { .counter = past->counter };
	const struct engine_ops *ops = first_available(past, passed);

	if (!ops && past->traits) {
		*passed = NULL;
		ops = first_available(&counted, passed);
	}
	if (!ops)
		err_set(err, ENODEV, "no engine can run on this host%s%s",
			past->counter ? " that counts " : "", past->counter ? past->counter : "");
	return ops;
}

/* The first of a family that may be taken; else NULL, and *last is its last (NULL: there is none).
 */
static const struct engine_ops *first_of_family(const char *family, const struct engine_past *past,
						const struct engine_ops **last)
{
	*last = NULL;
	for (size_t i = 0; i < ENGINE_COUNT; i++) {
		if (!engines[i]->family || strcmp(engines[i]->family, family) != 0)
			continue;
		*last = engines[i];
		if (!objection(*last, past))
			return *last;
	}
	return NULL;
}

/*
 * The first of a family that may be taken, with other traits rather than none, or else its last;
 * NULL when there is no such family.
 */
static const struct engine_ops *best_of_family(const char *family, const struct engine_past *past)
{
	const struct engine_past counted = { .counter = past->counter };
	const struct engine_ops *last, *ops = first_of_family(family, past, &last);

	if (!ops && past->traits)
		ops = first_of_family(family, &counted, &last);
	return ops ? ops : last;
}

static const struct engine_ops *by_name(const char *name, const struct engine_past *past)
{
	for (size_t i = 0; i < ENGINE_COUNT; i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return best_of_family(name, past);
}

static bool has_name(const struct engine_ops *ops, const char *name)
{
	return !strcmp(ops->name, name) || (ops->family && !strcmp(ops->family, name));
}

enum engine_executor engine_executor(const char *name)
{
	for (size_t i = 0; name && i < ENGINE_COUNT; i++) {
		if (has_name(engines[i], name))
			return engines[i]->traits ? ENGINE_SILICON : ENGINE_SOFTWARE;
	}
	return ENGINE_UNKNOWN;
}

const char *engine_unusable(const char *name)
{
	const char *why = NULL;

	for (size_t i = 0; name && i < ENGINE_COUNT; i++) {
		if (has_name(engines[i], name) && !(why = engines[i]->probe()))
			return NULL;
	}
	return why;
}

const struct engine_ops *engine_find(const char *name, const struct engine_past *past,
				     const char **passed, struct err *err)
{
	static const struct engine_past none;
	const struct engine_ops *ops;
	const char *why, *unused;

	passed = passed ? passed : &unused;
	*passed = NULL;
	past = past ? past : &none;
	if (strcmp(name, "auto") == 0) {
		/*
		 * In case soft is chosen later: a backup, or a machine from a snapshot, learns its
		 * counter only in the jail, where nothing can be reserved any more.
		 */
		soft_engine_ops.reserve();
		return automatic(past, passed, err);
	}
	ops = by_name(name, past);
	if (!ops) {
		err_set(err, EINVAL,
			"unknown engine %s (engines: auto, soft, soft:interpret, soft:exits, vmx, "
			"vmx:pmu, "
			"vmx:exits, vmx:step)",
			name);
		return NULL;
	}
	why = ops->reserve();
	if (!why)
		return ops;
	err_set(err, ENODEV, "engine %s cannot run here: %s", ops->name, why);
	return NULL;
}
