#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Machine version 2, the default: Debian's kernel boots without special words, finds APICs, ACPI and its virtio devices;
# its recording replays, a snapshot goes on as the machine itself did; the power button and soft off work.
# waits for the host: powerdown snapshot
# beside others
MACHINE=2
. "$(dirname "$0")/lib.sh"
need_guest
export XDG_RUNTIME_DIR=$work/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"
machine= every=20000000
cleanup() { [ -z "$machine" ] || kill "$machine" 2>/dev/null; }
words="console=ttyS0 mitigations=off cryptomgr.notests"
head -c 1048576 /dev/zero >"$work/disk"
button=$(find "$build/guest-pkgs/root/lib/modules" -name button.ko 2>/dev/null | head -n 1)
cp "$initramfs" "$work/initramfs"
[ -z "$button" ] || echo "file lib/modules/button.ko 0644 $button" | "$build/guest-pkgs/newc" >>"$work/initramfs"

# A recording with the host's clock, and as many disks and network cards as there can be.
many=()
for i in $(seq 16); do
	truncate -s "${i}M" "$work/disk$i"
	many+=(--disk "$work/disk$i,overlay")
done
for i in $(seq 8); do many+=(--net none); done
script='cat /proc/interrupts; cat /sys/devices/system/clockevents/clockevent0/current_device; ls /sys/bus/virtio/devices; sleep 1; md5sum /dev/vda; cat /sys/block/vdp/serial /sys/block/vdp/size; ls /sys/class/net; exit 7'
timeout 300 "$twinstep" record -o "$work/log" --kernel "$vmlinuz" --initrd "$initramfs" "${many[@]}" \
	--virtio-console none --clock host --checkpoint 1 --console "$work/console" \
	--append "$words ignore_loglevel twinstep.run=\"$script\"" 2>"$work/err"
status=$?
check record "status $status, not 7: $(tail -n 3 "$work/err" "$work/console")" [ "$status" -eq 7 ]
check msix "virtio's interrupts do not come by messages" grep -aqE ' [1-9][0-9]* +PCI-MSI +[0-9]+-edge +virtio' "$work/console"
check lapic-timer "the local APIC's timer is not in use" grep -aq '^lapic-deadline' "$work/console"
check acpi-tables "ACPI is not believed" grep -aq 'ACPI: 1 ACPI AML tables successfully acquired and loaded' "$work/console"
check acpi-sleep "no soft off" grep -aq 'supports S0 S5' "$work/console"
check virtio "devices are missing" grep -aq 'virtio0.*virtio1.*virtio2.*virtio3.*virtio4' <(tr '\r\n' '  ' <"$work/console")
check many "disks or network cards are missing" grep -aq 'twinstep-disk1532768.*eth7' <(tr -d '\r' <"$work/console" | tr '\n' ' ')
check complaints "the kernel complains: $(grep -aiE 'bios (bug|error|warning)|acpi.*(error|warning)|firmware bug' "$work/console" | head -n 3)" \
	eval "! grep -aqiE 'bios (bug|error|warning)|acpi.*(error|warning)|firmware bug' '$work/console'"
"$twinstep" replay "$work/log" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check replay "status $status, not 7: $(tail -n 3 "$work/err" "$work/out")" [ "$status" -eq 7 ]
check replay-console "another console output" cmp -s "$work/console" "$work/console2"
"$twinstep" replay "$work/log" --quiet --from-checkpoint last --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check replay-checkpoint "status $status, not 7: $(tail -n 3 "$work/err" "$work/out")" [ "$status" -eq 7 ]
check log-names-version "the log does not say which machine" grep -q '^machine *version 2' <("$twinstep" log "$work/log")

# A snapshot, and the power button, whenever they come: the guest goes on until the button is pressed.
script='insmod /lib/modules/button.ko; i=0; until grep -q [1-9] /sys/firmware/acpi/interrupts/ff_pwr_btn; do cat /proc/interrupts | md5sum; sleep 0.1; md5sum /dev/vda; i=$((i+1)); echo round $i; done; echo pressed; poweroff -f'
# come_to COUNT: the machine has executed so many instructions, which are in $came then.
executed() { "$twinstep" status "$work/sock" --json | sed -n 's/.*"instructions":\([0-9]*\).*/\1/p'; }
come_to() { came=$(executed) && [ "${came:-0}" -ge "$1" ]; }
timeout 300 "$twinstep" run --kernel "$vmlinuz" --initrd "$work/initramfs" --disk "$work/disk,overlay" --clock virtual \
	--digest-every $every --console "$work/console" --control "$work/sock" \
	--append "$words quiet twinstep.run=\"$script\"" >"$work/digests" 2>"$work/err" &
machine=$!
wait_for 60 grep -aq 'round 2' "$work/console"
"$twinstep" snapshot "$work/sock" "$work/snap" --json >"$work/s" 2>"$work/err2"
check snapshot "no snapshot: $(cat "$work/err2")" [ -s "$work/snap" ]
# Ten digests from the snapshot on, before the button, of which the restored machine does not know.
wait_for 60 come_to $(($(sed -n 's/.*"instructions":\([0-9]*\).*/\1/p' "$work/s") + 10 * every))
end=$came
if [ -n "$button" ]; then
	"$twinstep" powerdown "$work/sock" 2>"$work/err2" || kill "$machine"
	wait "$machine"
	status=$?
	machine=
	check powerdown "status $status, not 0: $(tail -n 3 "$work/err" "$work/err2" "$work/console")" \
		eval "[ $status -eq 0 ] && grep -aq pressed '$work/console'"
else
	skip powerdown "no button.ko in build/guest-pkgs"
	"$twinstep" stop "$work/sock"
	wait "$machine"
	machine=
fi
timeout 300 "$twinstep" run --restore "$work/snap" --disk "$work/disk,overlay" --clock virtual --digest-every $every \
	--console "$work/console2" --control "$work/sock" >"$work/digests2" 2>"$work/err" &
machine=$!
wait_for 60 come_to "$end"
"$twinstep" stop "$work/sock"
wait "$machine"
machine=
first=$(sed -n '1s/digest \([0-9]*\) .*/\1/p' "$work/digests2")
for d in digests digests2; do awk -v a="${first:-0}" -v b="$end" '$2 >= a && $2 <= b' "$work/$d" >"$work/compare-$d"; done
n=$(wc -l <"$work/compare-digests")
check restored "the restored machine went another way ($n digests)" \
	eval "[ $n -ge 5 ] && cmp -s '$work/compare-digests' '$work/compare-digests2'"
"$twinstep" run --machine 1 --restore "$work/snap" --disk "$work/disk,overlay" >"$work/out" 2>"$work/err"
check restore-other "not refused: $(cat "$work/err")" grep -q 'holds a machine of version 2' "$work/err"

"$twinstep" run --machine 3 --kernel "$vmlinuz" >"$work/out" 2>"$work/err"
status=$?
check no-version "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && grep -q 'versions 1 to 2' '$work/err'"
exit $failed
