#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each header stands on its own: it compiles alone, without what somebody happened to include before it.
# beside others
set -u
cd "$(dirname "$0")/../.."
bad=0 n=0
for h in base/*.h hypervisor/*.h hypervisor/*/*.h record/*.h net/*.h isolation/*.h replica/*.h host/*.h tools/*.h; do
	[ -f "$h" ] || continue
	n=$((n + 1))
	if ! out=$(echo "#include \"$h\"" | ${CC:-cc} -I. -D_GNU_SOURCE -std=gnu11 -Wall -Wextra -Wno-unused-parameter \
		-Wno-unused-function -Werror -fsyntax-only -x c - 2>&1); then
		echo "not ok headers.$h: $(echo "$out" | grep -m 1 error)"
		bad=1
	fi
done
[ "$bad" -ne 0 ] || echo "ok headers.alone ($n headers)"
exit $bad
