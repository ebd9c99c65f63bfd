/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The version of this program: that of its Debian package, from debian/changelog. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

/* Length with the final NUL, as the version travels between replicas. */
#define TWINSTEP_VERSION_LEN 24

extern const char twinstep_version[TWINSTEP_VERSION_LEN];

#endif
