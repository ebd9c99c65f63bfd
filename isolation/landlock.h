/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ISOLATION_LANDLOCK_H
#define ISOLATION_LANDLOCK_H

/*
 * No path may be opened any more, no TCP port bound or connected to, as far as the kernel knows
 * how. 0 or -errno.
 */
int landlock_enter(void);

#endif
