#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power that fails under ext4: a machine boots from a disk and writes files on another one, each synced before the next is begun;
# the disk forgets some of what is not flushed, and the machine boots again and looks. How many files are synced is on a third
# disk, which is flushed each time: they have to be there, whole. With barriers they are; MOUNT=nobarrier is a weakness that
# has to be found. CAMPAIGN (60) experiments, twice; CAMPAIGN_JOBS (one a CPU); CAMPAIGN_KEEP=DIRECTORY: results and page go
# there; MOUNT: options of mount.
. "$(dirname "$0")/../e2e/lib.sh"
. tests/soak/campaign_lib.sh
need_guest
count=${CAMPAIGN:-60} jobs=${CAMPAIGN_JOBS:-$(nproc)}
keep=${CAMPAIGN_KEEP:-$work}
mkfs=$(command -v mkfs.ext4 /sbin/mkfs.ext4 | head -n 1)
if [ -z "$mkfs" ] || [ ! -f /usr/share/seabios/bios-256k.bin ] || [ ! -f /usr/lib/grub/i386-pc/boot.img ]; then
	skip all "no mkfs.ext4, SeaBIOS or GRUB"
	exit 0
fi
truncate -s 24M "$keep/disk"
truncate -s 1M "$keep/kept"
"$mkfs" -q -F -E lazy_itable_init=0,lazy_journal_init=0 -O metadata_csum "$keep/disk" 2>"$work/err"
# The second boot finds the file `begun`.
script="mkdir /m; mount -t ext4 -o ${MOUNT:-barrier} /dev/vdb /m || exit 4; "
script+='made() { for i in 1 2 3 4 5 6 7 8 9; do for j in 1 2 3 4 5 6 7 8 9; do echo $1 $i $j 0123456789 0123456789; done; done; }; '
script+='if [ -e /m/begun ]; then bad=0; n=$(head -c 1 /dev/vdc); for k in 1 2 3 4 5 6 7 8; do made $k >/tmp/x; '
script+='if [ -e /m/f$k ]; then cmp /tmp/x /m/f$k || bad=6; elif [ $k -le $n ]; then bad=7; fi; done; umount /m || bad=5; exit $bad; fi; '
script+='keep() { echo $1 | dd of=/dev/vdc conv=fsync 2>/dev/null; }; touch /m/begun; keep 0; sync; echo begin; '
script+='for k in 1 2 3 4 5 6 7 8; do made $k >/m/t; sync; mv /m/t /m/f$k; sync; keep $k; echo kept $k; done; umount /m || exit 5; exit 0'
grep -v 'redis\|\.so' "$build/guest-pkgs/list" | "$build/guest-pkgs/newc" >"$work/initramfs"
boot_disk "$script"
"$twinstep" record -o "$keep/log" --force --checkpoint 0 --memory 160M --disk "$keep/boot,overlay" --disk "$keep/disk,overlay" \
	--disk "$keep/kept,overlay" --clock virtual >"$work/console" 2>"$work/err" </dev/null
check recorded "status $?: $(tail -n 3 "$work/err" "$work/console")" grep -aq '^kept 8' "$work/console"
[ "$failed" = 0 ] || exit 1
cat >"$keep/plan.json" <<END
{"log": "$keep/log", "seed": 1, "experiments": $count, "when": {"output": "^begin|^kept [1-7]"},
 "bound": 3000000000, "compare": "status", "detect": ["EXT4-fs error", "EXT4-fs .*failed", "Kernel panic", "EXT4-fs warning"], "detect_status": [4, 5],
 "faults": [{"place": "power lost", "amount": 3000000}, {"place": "power lost", "amount": 10000000},
  {"place": "power lost", "amount": 30000000}]}
END
run_twice
lost=$(tail -n +2 "$work/a.csv" | cut -d, -f6 | grep -c -e 'wrong output' -e detected)
if [ "${MOUNT:-barrier}" = barrier ]; then
	check nothing-lost "$lost of $count" [ "$lost" = 0 ]
elif [ "$MOUNT" = nobarrier ]; then
	check losses-found "none" [ "$lost" -gt 0 ]
fi
echo "exit statuses of the second boot: $(tail -n +2 "$work/a.csv" | cut -d, -f6,8 | sort | uniq -c | tr '\n' ';')"
exit "$failed"
