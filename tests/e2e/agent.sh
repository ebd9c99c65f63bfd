#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# --guest-agent: Debian's driver finds the port by its name, a program behind it is asked by `twinstep agent`; its answers
# may be anything. It freezes for a snapshot, and thaws whoever is killed; a machine that is restored is thawed and told
# the time. A recording replays with what was asked; a snapshot and the other side of a pair have the port open.
# waits for the host: ready restored protected live
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
# What speaks as QEMU's agent would, in a guest that has a shell alone.
cat >"$work/script" <<'END'
echo name $(cat /sys/class/virtio-ports/*/name)
exec 3<>/dev/$(ls /sys/class/virtio-ports)
echo ready
while IFS= read -r line <&3; do
	# A byte 0xff is an error to the agent, which then forgets what came before.
	case $line in
	{*) ;;
	*)
		echo '{"error": {"class": "GenericError", "desc": "stray"}}' >&3
		case $line in *{*) line="{${line#*\{}" ;; *) continue ;; esac
		;;
	esac
	case $line in
	*guest-sync-delimited*) id=${line##*:}; printf '{"return": "stale"}\n\377{"return": %s}\n' "${id%%\}*}" >&3 ;;
	*guest-ping*) echo '{"return": {}}' >&3 ;;
	*guest-set-time*) time=${line##*:}; echo "time ${time%%\}*}"; echo '{"return": {}}' >&3 ;;
	*guest-info*) echo '{"return": ["\u001b[2J", 3]}' >&3 ;;
	*freeze-freeze*)
		asked=$((asked + 1))
		if [ $asked -le 2 ]; then
			echo '{"error": {"class": "GenericError", "desc": "cannot\u001b freeze /srv"}}' >&3
		else
			echo frozen; echo '{"return": 3}' >&3
		fi ;;
	*freeze-thaw*) echo thawed; echo '{"return": 3}' >&3 ;;
	*guest-junk*) echo 'this is {no JSON' >&3 ;;
	*guest-both*) echo '["neither"]' >&3 ;;
	*guest-shutdown*) exit 7 ;;
	esac
done
exit 8
END
truncate -s 1M "$work/script"
guest=(--kernel "$vmlinuz" --initrd "$initramfs" --append "$cmdline twinstep.run=\"sh /dev/vda\"" --disk "$work/script,ro")

# asks TEST STATUS "text" ARGUMENT...: `twinstep agent` ends with that status, and says the text.
asks() {
	local test=$1 expected=$2 text=$3
	shift 3
	timeout 600 "$twinstep" agent "$@" >"$work/out" 2>"$work/err" </dev/null
	local status=$?
	check "$test" "status $status: $(head -n 3 "$work/out" "$work/err")" \
		eval "[ $status -eq $expected ] && grep -qF -- '$text' '$work/out' '$work/err'"
}
says() { grep -aq "$1" "$2"; }

touch "$work/console"
"$twinstep" record -o "$work/log" "${guest[@]}" --control "$work/s" --guest-agent "unix:$work/agent" --console "$work/console" \
	--checkpoint 1 2>"$work/err0" &
pid[run]=$!
check ready "$(tail -n 3 "$work/console" "$work/err0")" wait_for 60 says '^ready' "$work/console"
check name "$(grep -a '^name' "$work/console")" says '^name org.qemu.guest_agent.0' "$work/console"
asks ping 0 '{}' "$work/agent" ping
asks own-command 0 '{}' "$work/agent" guest-ping '{}'
asks set-time 0 '{}' "$work/agent" set-time
check time "$(grep -a '^time' "$work/console")" says "^time $(date +%s | cut -c1-6)[0-9]*" "$work/console"
asks plain 0 '\u001B[2J' "$work/agent" info
asks refusal 1 'cannot? freeze /srv' "$work/agent" freeze
asks junk 1 'no JSON' "$work/agent" guest-junk
asks neither 1 'neither a result nor an error' "$work/agent" guest-both
asks silence 1 'no answer in time' "$work/agent" guest-nothing --timeout 700
asks after-all 0 '{}' "$work/agent" ping
python3 - "$work/talker" 2>/dev/null <<'END' &
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
for most in (1 << 20, 1 << 40):  # bytes
    client, _ = s.accept()
    client.settimeout(600)
    try:
        for i in range(most // 4096):
            client.sendall(b"no JSON\n" * 512)
        client.recv(1 << 20)
        while client.recv(1 << 20):
            pass
    except OSError:
        pass
END
pid[talker]=$!
wait_for 20 test -S "$work/talker"
asks talks-much 1 'no answer in time' "$work/talker" ping --timeout 3000
asks talks-for-ever 1 'more than 64 MiB' "$work/talker" ping --timeout 600000
wait "${pid[talker]}"
unset "pid[talker]"
asks no-socket 1 'cannot reach' "$work/nothing" ping
asks no-command 2 'set-time' "$work/agent" pong
asks word-with-arguments 2 'takes no arguments' "$work/agent" ping '{}'
asks no-object 2 'an object of JSON' "$work/agent" guest-ping '[1]'

# ---- snapshots of a guest that its agent freezes, and thaws whatever happens ----
seen() { [ "$(grep -ac "^$1" "$work/console")" -ge "$2" ]; }
# takes TEST STATUS "text" OPTION...: likewise, for a snapshot of a machine
socket=s
takes() {
	local test=$1 expected=$2 text=$3
	shift 3
	timeout 600 "$twinstep" snapshot "$work/$socket" "$work/snap" --json "$@" >"$work/out" 2>"$work/err"
	local status=$?
	check "$test" "status $status: $(head -n 3 "$work/out" "$work/err")" \
		eval "[ $status -eq $expected ] && grep -qF -- '$text' '$work/out' '$work/err'"
}
# listens SOCKET: takes nothing that comes, or takes it and answers nothing
listens() {
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
time.sleep(3600)' "$1" &
	pid[listener]=$!
	wait_for 20 test -S "$1"
}
ends_listening() { kill -9 "${pid[listener]}"; wait "${pid[listener]}" 2>/dev/null; unset "pid[listener]"; }
takes not-frozen 1 'no snapshot is taken' --freeze "$work/agent"
check no-snapshot "$(ls "$work")" [ ! -e "$work/snap" ]
check undone "$(tail -n 3 "$work/console")" wait_for 60 seen thawed 1
takes no-agent 1 'cannot reach' --freeze "$work/nothing"
listens "$work/mute"
takes mute-agent 1 'no answer in time' --freeze "$work/mute" --timeout 700
ends_listening
takes snapshot 0 '"frozen":3' --freeze "$work/agent"
check order "$(grep -a 'frozen\|thawed' "$work/console" | tr '\n' ' ')" \
	[ "$(grep -a 'frozen\|thawed' "$work/console" | tr -d '\r' | tail -n 2 | tr '\n' ' ')" = "frozen thawed " ]
# A machine that does not answer holds the command up while the guest is frozen.
listens "$work/held"
holds() { # N: until the Nth time that it is frozen
	"$twinstep" snapshot "$work/held" "$work/other" --freeze "$work/agent" 2>"$work/err" &
	pid[client]=$!
	wait_for 60 seen frozen "$1"
}
for signal in KILL TERM; do
	n=$(grep -ac '^frozen' "$work/console")
	holds $((n + 1))
	kill -$signal "${pid[client]}"
	wait "${pid[client]}" 2>/dev/null
	unset "pid[client]"
	check "thaws-after-$signal" "$(tail -n 3 "$work/console")" wait_for 60 seen thawed $((n + 2))
done
holds 4
kill -9 "$(cat "/proc/${pid[client]}/task/${pid[client]}/children")"
ends_listening
wait "${pid[client]}"
unset "pid[client]"
check without-keeper "$(tail -n 3 "$work/err" "$work/console")" seen thawed 5
asks shutdown 0 '{}' "$work/agent" guest-shutdown
wait "${pid[run]}"
status=$?
unset "pid[run]"
check ended "status $status: $(tail -n 2 "$work/err0")" [ $status -eq 7 ]
timeout 600 "$twinstep" replay "$work/log" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check replay "status $status: $(tail -n 3 "$work/err")" eval "[ $status -eq 7 ] && cmp -s '$work/console' '$work/console2'"
check log "$("$twinstep" log "$work/log" | head -n 12)" grep -q 'guest agent' <("$twinstep" log "$work/log")

run_refused machine-1 'needs a machine of version 2' --machine 1 "${guest[@]}" --guest-agent none
run_refused not-given 'give --guest-agent' --restore "$work/snap" --disk "$work/script,ro"
touch "$work/console3" "$work/console4"
"$twinstep" run --restore "$work/snap" --disk "$work/script,ro" --clock virtual --guest-agent "unix:$work/agent" \
	--console "$work/console3" 2>"$work/err0" &
pid[run]=$!
check restored "$(tail -n 3 "$work/err0")" wait_for 60 "$twinstep" agent "$work/agent" ping --timeout 20000
kill "${pid[run]}"; wait "${pid[run]}" 2>/dev/null; unset "pid[run]"
check goes-on-as-it-was "$(cat "$work/console3")" eval "! says 'thawed\|time' '$work/console3'"

# With the host's clock the guest is thawed and told the time, which replays.
before=$(date +%s)
"$twinstep" record -o "$work/log2" --restore "$work/snap" --disk "$work/script,ro" --guest-agent "unix:$work/agent" \
	--console "$work/console4" 2>"$work/err0" &
pid[run]=$!
check told "$(tail -n 3 "$work/console4" "$work/err0")" wait_for 60 says '^time [0-9]*.$' "$work/console4"
told=$(sed -n 's/^time \([0-9]*\)[0-9]\{9\}\r*$/\1/p' "$work/console4")
check told-the-time "$before to $(date +%s): $told" eval "[ '${told:-0}' -ge $before ] && [ '${told:-0}' -le $(date +%s) ]"
check thawed-first "$(cat "$work/console4")" [ "$(head -n 1 "$work/console4" | tr -d '\r')" = thawed ]
asks restored-ends 0 '{}' "$work/agent" guest-shutdown
wait "${pid[run]}"
unset "pid[run]"
timeout 600 "$twinstep" replay "$work/log2" --quiet --console "$work/console5" >"$work/out" 2>"$work/err"
status=$?
check replay-told "status $status: $(tail -n 3 "$work/err")" eval "[ $status -eq 7 ] && cmp -s '$work/console4' '$work/console5'"

# A pair that loses its primary.
"$twinstep" keygen "$work/key" && "$twinstep" arbiter init "file:$work/arbiter"
side() { # SIDE ROLE OPTION...
	"$twinstep" "$2" --key-file "$work/key" --arbiter "file:$work/arbiter" --control "$work/$1.sock" --timeout 5000 \
		--listen "unix:$work/$1.peer" --console "$work/$1.con" --guest-agent "unix:$work/$1.agent" \
		--disk "$work/script,ro" "${@:3}" 2>"$work/$1.err" &
	pid[$1]=$!
}
state() { "$twinstep" status "$work/$1.sock" --json | grep -q "\"state\": *\"$2\""; }
touch "$work/a.con"
unset "guest[-1]" "guest[-1]"
side a primary "${guest[@]}"
side b backup --connect "unix:$work/a.peer" --connect-wait 30000
check protected "$(tail -n 2 "$work"/?.err)" wait_for 60 state b backup
wait_for 60 says '^ready' "$work/a.con"
asks pair-before 0 '{}' "$work/a.agent" ping
socket=b.sock
takes pair-refuses 1 'no snapshot is taken' --freeze "$work/a.agent" --force
takes pair-refuses 1 'no snapshot is taken' --freeze "$work/a.agent" --force
takes pair-snapshot 0 '"frozen":3' --freeze "$work/a.agent" --force
check pair-thaws "$(tail -n 2 "$work/a.con")" eval "[ \$(grep -ac '^thawed' '$work/a.con') -eq 3 ]"
# The process of a replica is a child of the one that was started, unless there is no jail.
inner=$(cat "/proc/${pid[a]}/task/${pid[a]}/children" 2>/dev/null)
kill -9 ${inner:-${pid[a]}} 2>/dev/null
wait "${pid[a]}" 2>/dev/null; unset "pid[a]"
check live "$(tail -n 2 "$work/b.err")" wait_for 60 state b alone
asks pair-after 0 '{}' "$work/b.agent" ping
# Who froze it went with the primary, perhaps.
check pair-thawed "$(tail -n 2 "$work/b.con")" wait_for 60 says '^thawed' "$work/b.con"
exit $failed
