#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL of the recorder at random moments: the log replays to its last whole frame and says that it ends there.
# RECORD_KILLS: how often (3). Then a log that may not grow any more.
# beside others
# mostly waits
. "$(dirname "$0")/lib.sh"
need_guest
kills=${RECORD_KILLS:-3}
record() {
	exec timeout 600 "$twinstep" record -o "$work/log" --force --checkpoint 2 --epoch 100 --kernel "$vmlinuz" --initrd "$initramfs" \
		--clock host --console none "$@" --append "$cmdline twinstep.run=\"while :; do :; done\""
}

whole=0
for i in $(seq "$kills"); do
	rm -f "$work/log"
	record 2>"$work/err" &
	pid=$!
	wait_for 60 test -s "$work/log"
	sleep $((RANDOM % 6)).$((RANDOM % 10))
	mapfile -t killed < <(tree "$pid")
	kill -KILL "$(ps -o pid= --ppid "$pid" | tr -d ' ')" 2>/dev/null
	wait "$pid" 2>/dev/null
	wait_for 20 over "${killed[@]}"
	timeout 600 "$twinstep" replay "$work/log" >"$work/out" 2>"$work/err2"
	status=$?
	if [ "$status" -eq 0 ] && grep -q 'was cut short: it ends' "$work/err2" && grep -q 'digests agree' "$work/err2"; then
		whole=$((whole + 1))
	else
		not_ok "kill-$i" "status $status: $(cat "$work/err2")"
	fi
	# The last whole checkpoint serves as a start as well, if there is one.
	if "$twinstep" log "$work/log" 2>/dev/null | grep -q '^checkpoint 1 '; then
		timeout 600 "$twinstep" replay "$work/log" --from-checkpoint last >"$work/out" 2>"$work/err2"
		status=$?
		[ "$status" -eq 0 ] || not_ok "kill-$i-checkpoint" "status $status: $(cat "$work/err2")"
	fi
done
check kills "only $whole of $kills logs replayed" [ "$whole" -eq "$kills" ]

# Asked twice at once, as timeout(1) does: the log has its end all the same.
rm -f "$work/log"
"$twinstep" record -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" --clock host --console none \
	--append "$cmdline twinstep.run=\"while :; do :; done\"" 2>"$work/err" &
pid=$!
wait_for 60 eval '[ "$(stat -c %s "$work/log")" -gt 20000 ]'
kill -TERM "$pid"
sleep 0.005
kill -TERM "$pid" 2>/dev/null
wait "$pid"
status=$?
check asked-twice "status $status, not 143: $(cat "$work/err"; "$twinstep" log "$work/log" | tail -n 1)" \
	eval "[ $status -eq 143 ] && '$twinstep' log '$work/log' | grep -q '^end .*end of run at count'"

# A file system of 16 KB that fills up: one clear line, and what there is replays.
small_disk() {
	local flags=(--mount)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	mkdir -p "$work/small"
	unshare "${flags[@]}" bash -c "mount -t tmpfs -o size=16k none '$work/small' || exit 99
		timeout 600 '$twinstep' record -o '$work/small/log' --checkpoint 0 --epoch 20 --kernel '$vmlinuz' --initrd '$initramfs' \
			--clock host --console none --append '$cmdline twinstep.run=\"while :; do :; done\"' 2>'$work/err'
		status=\$?
		cp '$work/small/log' '$work/log'
		exit \$status"
}
rm -f "$work/log"
small_disk 2>"$work/unshare"
status=$?
if [ "$status" -eq 99 ] || [ -s "$work/unshare" ]; then
	skip full "cannot mount a small file system here"
	exit $failed
fi
check full "status $status: $(cat "$work/err")" \
	eval "[ $status -eq 122 ] && [ \$(lines '$work/err') -eq 1 ] && grep -q 'cannot write log.*No space' '$work/err'"
timeout 600 "$twinstep" replay "$work/log" >"$work/out" 2>"$work/err2"
status=$?
check full-replay "status $status: $(cat "$work/err2")" eval "[ $status -eq 0 ] && grep -q 'cut short' '$work/err2'"
exit $failed
