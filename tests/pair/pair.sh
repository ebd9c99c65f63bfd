#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs a program of this directory, or tools/demo.py, in namespaces of its own, so that hosts, links and bridges go away
# with it, however it ends: tests/pair/pair.sh soak.py --count 100. Root is not needed where users may make namespaces.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${TWINSTEP_PAIR_INSIDE:-}" != 1 ]; then
	flags=(--net --mount --propagation private)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_PAIR_INSIDE=1 exec unshare "${flags[@]}" "$here/pair.sh" "$@"
fi
mkdir -p /run/netns 2>/dev/null || mount -t tmpfs tmpfs /run
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
prog=$1
shift
case $prog in */*) ;; *) prog=$here/$prog ;; esac
# Debian's own python3, which has Debian's packages.
PATH=/usr/bin:$PATH PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 exec setpriv --pdeathsig TERM python3 "$prog" "$@"
