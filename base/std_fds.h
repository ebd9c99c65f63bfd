/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_STD_FDS_H
#define BASE_STD_FDS_H

/*
 * First thing in every program: opens descriptors 0 to 2 on /dev/null where whoever started the
 * program left them closed. Else the next file that is opened gets such a number, and what is
 * meant for standard output is written into it. Ends the process where that cannot be done.
 */
void std_fds_open(void);

#endif
