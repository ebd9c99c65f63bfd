#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PostgreSQL on ext4 under faults of its disk, crashes and power that fails: a machine boots from a disk and commits rows on
# another one; a third one, which is flushed each time, has the number of the last that was acknowledged. Then, or when the
# machine has booted again, the file system is mounted anew, and rows and index are checked. CAMPAIGN (120) experiments,
# twice; CAMPAIGN_ONCE=1: once; CAMPAIGN_JOBS (one a CPU); CAMPAIGN_KEEP=DIRECTORY: results and page go there.
. "$(dirname "$0")/../e2e/lib.sh"
. tests/soak/campaign_lib.sh
need_guest
count=${CAMPAIGN:-120} jobs=${CAMPAIGN_JOBS:-$(nproc)}
keep=${CAMPAIGN_KEEP:-$work}
if [ ! -f "$build/guest-postgres/disk.img" ]; then
	skip all "no disk with PostgreSQL; run make guest-postgres"
	exit 0
fi
if [ ! -f /usr/share/seabios/bios-256k.bin ] || [ ! -f /usr/lib/grub/i386-pc/boot.img ]; then
	skip all "no SeaBIOS or GRUB"
	exit 0
fi
cp --sparse=always "$build/guest-postgres/disk.img" "$keep/disk"
truncate -s 1M "$keep/kept"
# Status 5: PostgreSQL or the kernel says that something is wrong; 6: rows are missing, or others; 7: acknowledged ones are.
cat >"$work/check" <<'END_CHECK'
up() {
	mount -t ext4 /dev/vdb /m || exit 5
	mount -t proc proc /m/proc
	mount -t devtmpfs devtmpfs /m/dev
	mkdir -p /m/dev/shm
	mount -t tmpfs tmpfs /m/dev/shm
	rm -f /m/data/postmaster.pid
}
down() {
	umount /m/dev/shm /m/dev /m/proc
	umount /m || exit 5
}
postgres() {
	LD_LIBRARY_PATH=/lib LC_ALL=C chroot /m /bin/busybox su postgres -c 'exec /usr/lib/postgresql/15/bin/postgres --single -D /data postgres'
}
keep() { echo "$1" | dd of=/dev/vdc conv=fsync 2>/dev/null; }
answer() { # answer TEXT: true when the server gives it, false when it says r=0 or is gone
	while read -r line <&4; do
		case $line in
		*"\"$1\""*) return 0 ;;
		*'"r=0"'*) return 1 ;;
		esac
	done
	return 1
}
mkdir -p /m
up
if [ ! -e /m/begun ]; then
	mkfifo /tmp/ask /tmp/answers
	postgres </tmp/ask >/tmp/answers &
	exec 3>/tmp/ask 4</tmp/answers
	echo "create extension amcheck" >&3
	echo "create table t (i int primary key, s text)" >&3
	echo "checkpoint" >&3
	echo "select 'r=' || 1 as r" >&3
	echo "" >&3
	answer r=1 || exit 5
	touch /m/begun
	keep 0
	sync
	echo begin
	for k in 1 2 3 4 5 6 7 8 9 10 11 12; do
		echo "insert into t values ($k, repeat(md5('$k'), 60))" >&3
		[ $((k % 4)) != 0 ] || echo "checkpoint" >&3
		echo "select 'r=' || count(*) as r from t where i = $k" >&3
		answer r=1 || exit 5
		keep $k
		echo kept $k
	done
	exec 3>&-
	wait || exit 5
	exec 4<&-
	down
	up
fi
cat >/tmp/sql <<'END_SQL'
select 'n=' || count(*) || ' m=' || coalesce(max(i), 0) || ' w=' || count(*) filter (where s <> repeat(md5(i::text), 60)) || '.' as r from t
select 'x=' || count(*) || '.' as r from (select bt_index_check('t_pkey', true)) as c
END_SQL
postgres </tmp/sql >/tmp/out || exit 5
found=$(sed -n 's/.*"n=\([0-9]* m=[0-9]* w=[0-9]*\)\.".*/\1/p' /tmp/out)
last=$(head -n 1 /dev/vdc)
echo "rows: $found, acknowledged: $last"
[ -n "$found" ] && grep -q '"x=1\."' /tmp/out || exit 5
n=${found%% *} w=${found##*w=} m=${found##*m=} m=${m%% *}
[ "$n" = "$m" ] && [ "$w" = 0 ] || exit 6
[ "$m" -ge "$last" ] || exit 7
down
exit 0
END_CHECK
{
	grep -v 'redis\|\.so' "$build/guest-pkgs/list"
	echo "file check 0644 $work/check"
} | "$build/guest-pkgs/newc" >"$work/initramfs"
boot_disk "sh /check"
"$twinstep" record -o "$keep/log" --force --checkpoint 0 --memory 192M --disk "$keep/boot,overlay" --disk "$keep/disk,overlay" \
	--disk "$keep/kept,overlay" --clock virtual >"$work/console" 2>"$work/err" </dev/null
check recorded "status $?: $(tail -n 3 "$work/err" "$work/console")" grep -aq '^rows: 12 m=12 w=0, acknowledged: 12' "$work/console"
[ "$failed" = 0 ] || exit 1
cat >"$keep/plan.json" <<END
{"log": "$keep/log", "seed": 1, "experiments": $count, "when": {"output": "^begin|^kept [1-9]"}, "bound": 6000000000,
 "compare": "status", "detect_status": [5],
 "detect": ["EXT4-fs error", "EXT4-fs .*failed", "I/O error", "JBD2", "Kernel panic", "ERROR:", "PANIC:", "invalid page"],
 "faults": [{"place": "write lost", "first": 1, "last": 1}, {"place": "write torn", "first": 1, "last": 1},
  {"place": "write astray", "first": 1, "last": 1}, {"place": "disk error", "first": 1, "last": 1},
  {"place": "disk full", "first": 1, "last": 1}, {"place": "reset"}, {"place": "power lost", "amount": 3000000},
  {"place": "power lost", "amount": 30000000}]}
END
run_twice
# A crash, and power that fails, are what PostgreSQL and ext4 are made for.
lost=$(tail -n +2 "$work/a.csv" | awk -F, '$3 == "reset" || $3 == "power lost"' | grep -c 'wrong output')
check crashes-lose-nothing "$lost crashes" [ "$lost" = 0 ]
echo "outcomes and exit statuses: $(tail -n +2 "$work/a.csv" | cut -d, -f3,6,8 | sort | uniq -c | tr '\n' ';')"
exit "$failed"
