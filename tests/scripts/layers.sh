#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Arrows run one way (docs/architecture.md): a part includes headers of the parts below it only.
# In tools/ are main.c and subcommands, a file each.
# beside others
set -u
cd "$(dirname "$0")/../.."
declare -A below=(
	[base]=""
	[hypervisor]="base"
	[net]="base"
	[isolation]="base hypervisor"
	[record]="base hypervisor net"
	[replica]="base hypervisor net isolation record"
	[host]="base hypervisor net isolation record replica"
	[tools]="base hypervisor net isolation record replica host"
)
bad=0 n=0
for part in "${!below[@]}"; do
	allowed=" $part ${below[$part]} "
	while IFS=: read -r file _ line; do
		n=$((n + 1))
		to=${line#*\"} && to=${to%%/*}
		[[ $allowed == *" $to "* ]] && continue
		echo "not ok layers: $file includes from $to/"
		bad=1
	done < <(grep -rn --include='*.[ch]' --exclude-dir=module '^#include "' "$part")
done
[ "$bad" -ne 0 ] || echo "ok layers.includes ($n)"
for file in tools/*.[ch]; do
	case $file in
	tools/main.c | tools/cmd.h | tools/cmd_*.c) ;;
	*)
		echo "not ok layers: $file is no subcommand: what several use, or one is made of, belongs in host/"
		bad=1
		;;
	esac
done
[ "$bad" -ne 0 ] || echo "ok layers.tools"
exit $bad
