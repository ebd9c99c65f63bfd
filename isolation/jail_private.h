/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ISOLATION_JAIL_PRIVATE_H
#define ISOLATION_JAIL_PRIVATE_H

#include "isolation/jail.h"

/* ret: 0, or an errno of either sign. */
void jail_layer_set(enum jail_layer l, int ret);
void jail_note_inherited(void);
/* In a fresh user namespace: one user and group. 0 or -errno. */
int jail_map_user(unsigned inside_uid, unsigned inside_gid, unsigned uid, unsigned gid);
void jail_die_with_parent(void);

#endif
