#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs a program of this directory in a network namespace of its own: tests/pair/pair.sh soak.py --count 100
set -eu
here=$(dirname "$0")
prog=$1
shift
exec unshare --net python3 "$here/$prog" "$@"
