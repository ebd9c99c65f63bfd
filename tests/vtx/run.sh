#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The VT-x engine and its module, in a Debian kernel inside Bochs. usage: tests/vtx/run.sh [SCRIPT]
# time limit: 1800 s
# beside others
set -u
. "$(dirname "$0")/lib.sh"
vtx_image
vtx_boot vtx "${1:-$here/check.script}" "$build"/tests/guest/*.elf "$build"/tests/vtx/guest/*.elf
