#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Checkpoints of a recording while the guest reads what it has written to its disk: a replay from each of them has the
# same bytes in the reads that are under way there.
# waits for the host: guest
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
machine=
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }

# What is read was written in this run, so that the image itself has something else there; direct reads are on their way
# for most of the time, and what they bring stays in memory.
guest='tr \\000 Z </dev/zero | dd of=/dev/vda bs=64k count=64 iflag=fullblock conv=fsync 2>/dev/null;
	read u rest </proc/uptime; end=$((${u%.*} + 4)); n=0;
	while read u rest </proc/uptime; [ ${u%.*} -lt $end ]; do
	n=$(((n + 1) % 32)); dd if=/dev/vda of=/t.$n bs=4k count=512 iflag=direct 2>/err; done;
	md5sum /t.*; cat /err; echo finished; sleep 1000'
truncate -s 4M "$work/disk"
: >"$work/console"
"$twinstep" record -o "$work/log" --checkpoint 1 --kernel "$vmlinuz" --initrd "$initramfs" --disk "$work/disk" \
	--control "$work/control" --console "$work/console" --append "$cmdline twinstep.run=\"${guest//$'\n'/ }\"" 2>"$work/err" &
machine=$!
check guest "$(tail -n 3 "$work/err")" wait_for 120 grep -aq '^finished' "$work/console"
"$twinstep" stop "$work/control" 2>/dev/null
wait "$machine"
machine=
check reads "$(tail -n 3 "$work/console")" [ "$(grep -a ' /t\.' "$work/console" | cut -c1-32 | sort -u | wc -l)" -eq 1 ]
n=$("$twinstep" log "$work/log" 2>&1 | grep -c '^checkpoint ')
check checkpoints "only $n" [ "$n" -ge 4 ]
# The first one is far from the end, and the last has no record behind it.
for ((k = 1; k < n - 1; k++)); do
	timeout 600 "$twinstep" replay "$work/log" --from-checkpoint "$k" --console none >"$work/said" 2>&1
	status=$?
	check "from-checkpoint-$k" "status $status: $(tail -n 3 "$work/said")" [ "$status" -eq 0 ]
done
exit $failed
