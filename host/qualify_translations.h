/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOST_QUALIFY_TRANSLATIONS_H
#define HOST_QUALIFY_TRANSLATIONS_H

#include "host/qualify_checks.h"

/*
 * 7: what a guest can see of what the processor has cached or guessed, on a host that does nothing
 * else and on one whose threads write all over memory.
 */
void qualify_check_translations(const struct check_input *in, struct check *c);

#endif
