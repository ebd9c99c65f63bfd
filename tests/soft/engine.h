/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine under test: soft:interpret, or with SOFT_ENGINE=translate in the environment `soft`,
 * which then translates every block the first time that it is entered.
 */
#ifndef TESTS_SOFT_ENGINE_H
#define TESTS_SOFT_ENGINE_H

#include <stdlib.h>
#include <string.h>

#include "hypervisor/engine.h"
#include "hypervisor/soft/run.h"
#include "hypervisor/soft/translate.h"

static inline struct engine *test_engine_translating(struct memory *mem,
						     const struct engine_bus *bus)
{
	struct engine *e = soft_engine_ops.create(mem, bus, NULL);

	if (e)
		soft_engine_cpu(e)->trans->heat = 1;
	return e;
}

static inline struct engine *test_engine_create(struct memory *mem, const struct engine_bus *bus)
{
	const char *name = getenv("SOFT_ENGINE");

	if (name && strcmp(name, "translate") == 0)
		return test_engine_translating(mem, bus);
	return soft_interpret_engine_ops.create(mem, bus, NULL);
}

#endif
