// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/version.h"

/* TWINSTEP_VERSION: by the Makefile, which reads debian/changelog. */
_Static_assert(sizeof(TWINSTEP_VERSION) <= TWINSTEP_VERSION_LEN, "the version is too long");

const char twinstep_version[TWINSTEP_VERSION_LEN] = TWINSTEP_VERSION;
