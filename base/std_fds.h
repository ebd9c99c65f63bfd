/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_STD_FDS_H
#define BASE_STD_FDS_H

/*
 * To be called first in every program: opens descriptors 0 to 2 on /dev/null if the program was
 * started with them closed. Otherwise the next file that is opened would get such a number, and
 * output for standard output would be written into it. Ends the process if that is not possible.
 */
void std_fds_open(void);

#endif
