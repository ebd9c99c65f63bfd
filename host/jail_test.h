/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The jail's self-test (`twinstep jail --test`). */
#ifndef HOST_JAIL_TEST_H
#define HOST_JAIL_TEST_H

/*
 * Makes every attempt to break out, from each kind of thread, and prints a line for each. 0, or 1
 * when something was not denied.
 */
int jail_test(void);

#endif
