/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/vmx/measure.h"

/*
 * In the order of preference of "auto", which takes the first that can be used. The last two are
 * for replays of what the others counted, and vmx:step only for those who ask for it.
 */
static const struct engine_ops *const engines[] = {
	&vmx_pmu_engine_ops,	&vmx_engine_ops,      &soft_engine_ops,
	&soft_exits_engine_ops, &vmx_step_engine_ops,
};

#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

/*
 * A counter is believed when it was seen to be right, unless somebody names it. Measuring takes the
 * node: again.
 */
static bool may_choose(const struct engine_ops *ops)
{
	if (ops->unavailable())
		return false;
	return ops != &vmx_pmu_engine_ops || (measure_pmu_is_exact() && !ops->unavailable());
}

static const struct engine_ops *first_available(const char *counter, struct err *err)
{
	for (size_t i = 0; i < ENGINE_COUNT; i++) {
		if ((!counter || !strcmp(engines[i]->counter, counter)) && may_choose(engines[i]))
			return engines[i];
	}
	err_set(err, ENODEV, "no engine can run on this host%s%s", counter ? " that counts " : "",
		counter ? counter : "");
	return NULL;
}

/*
 * "vmx" is the best count source that VT-x has here and that can be believed, of the wanted unit.
 */
static const char *best_vmx(const char *counter)
{
	bool may = !counter || !strcmp(counter, vmx_pmu_engine_ops.counter);

	return may && may_choose(&vmx_pmu_engine_ops) ? vmx_pmu_engine_ops.name
						      : vmx_engine_ops.name;
}

const struct engine_ops *engine_find(const char *name, const char *counter, struct err *err)
{
	if (strcmp(name, "auto") == 0)
		return first_available(counter, err);
	if (strcmp(name, "vmx") == 0)
		name = best_vmx(counter);
	for (size_t i = 0; i < ENGINE_COUNT; i++) {
		const char *why;

		if (strcmp(engines[i]->name, name) != 0)
			continue;
		why = engines[i]->unavailable();
		if (!why)
			return engines[i];
		err_set(err, ENODEV, "engine %s cannot run here: %s", name, why);
		return NULL;
	}
	err_set(err, EINVAL,
		"unknown engine %s (engines: auto, soft, soft:exits, vmx, vmx:pmu, vmx:exits, "
		"vmx:step)",
		name);
	return NULL;
}
