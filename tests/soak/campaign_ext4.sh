#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A campaign on ext4 on a virtio disk: files are written and synced, the file system is mounted again, and the files are
# compared with what was written; faults are those of disks. CAMPAIGN (120) experiments, twice; CAMPAIGN_JOBS (one a CPU);
# CAMPAIGN_KEEP=DIRECTORY: results and page go there.
. "$(dirname "$0")/../e2e/lib.sh"
. tests/soak/campaign_lib.sh
need_guest
count=${CAMPAIGN:-120} jobs=${CAMPAIGN_JOBS:-$(nproc)}
keep=${CAMPAIGN_KEEP:-$work}
mkfs=$(command -v mkfs.ext4 /sbin/mkfs.ext4 | head -n 1)
[ -n "$mkfs" ] || { skip all "no mkfs.ext4"; exit 0; }
truncate -s 24M "$keep/disk"
"$mkfs" -q -F -E lazy_itable_init=0,lazy_journal_init=0 -O metadata_csum "$keep/disk" 2>"$work/err"
script='mkdir /m; mount -t ext4 /dev/vda /m || exit 4; echo begin; for i in 1 2 3 4 5 6; do head -c 60000 /dev/urandom >/tmp/$i; '
script+='cp /tmp/$i /m/$i; sync; mkdir /m/d$i; mv /m/$i /m/d$i/f; done; sync; umount /m || exit 4; mount -t ext4 /dev/vda /m || exit 5; '
script+='bad=0; for i in 1 2 3 4 5 6; do cmp /tmp/$i /m/d$i/f || bad=1; done; [ $bad = 0 ] || echo data lost; exit $bad'
"$twinstep" record -o "$keep/log" --force --checkpoint 0 --memory 160M --kernel "$vmlinuz" --initrd "$initramfs" --disk "$keep/disk" \
	--clock virtual --append "$cmdline twinstep.run=\"$script\"" >"$work/console" 2>"$work/err" </dev/null
check recorded "status $?: $(tail -n 3 "$work/err" "$work/console")" grep -q '^begin' "$work/console"
[ "$failed" = 0 ] || exit 1
from=$("$twinstep" log "$keep/log" 2>/dev/null | sed -n 's/^end .* at count \([0-9]*\)$/\1/p')
cat >"$keep/plan.json" <<END
{"log": "$keep/log", "seed": 1, "experiments": $count, "from": $((from - ${CAMPAIGN_WINDOW:-120000000})), "bound": 200000000,
 "detect": ["EXT4-fs error", "EXT4-fs .*failed", "I/O error", "Kernel panic", "JBD2", "EXT4-fs warning"], "detect_status": [4, 5],
 "faults": [{"place": "write lost"}, {"place": "write torn"}, {"place": "write astray"}, {"place": "bit rot"}, {"place": "disk error"},
  {"place": "disk full"}, {"place": "disk slow", "amount": 2000000000}]}
END
run_twice
exit "$failed"
