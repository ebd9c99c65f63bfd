#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module on a host that has its mitigations on (all other boots in Bochs have them off, for speed).
# time limit: 1800 s
# beside others
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
APPEND="mitigations=auto" vtx_boot vtx-mitigations "$here/mitigations.script"
