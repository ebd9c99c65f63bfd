#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk boots by itself: SeaBIOS runs its boot sector, a reset starts it again, GRUB from an MBR and from a GPT loads
# Debian's kernel; recordings and snapshots of it go on alike; what cannot boot is refused with a word.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest
bios=/usr/share/seabios/bios-256k.bin
if [ ! -f "$bios" ]; then
	skip all "no $bios; apt install seabios"
	exit 0
fi
grub=/usr/lib/grub/i386-pc/boot.img

${CC:-cc} -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x7c00 -o "$work/bs.elf" tests/e2e/bootsector.S &&
	objcopy -O binary -j .text "$work/bs.elf" "$work/bs" && truncate -s 1M "$work/bs"
timeout 600 "$twinstep" record -o "$work/log" --disk "$work/bs,overlay" --clock virtual --checkpoint 1 --console "$work/console" \
	--debug-console "$work/firmware" 2>"$work/err"
status=$?
check sector "status $status, not 42: $(tail -n 3 "$work/err" "$work/console")" [ "$status" -eq 42 ]
check read "the sector was not read twice" [ "$(grep -aoc 'read by the' "$work/console")" -eq 2 ]
check firmware-log "not where --debug-console says" grep -aq 'Running on QEMU' "$work/firmware"
timeout 600 "$twinstep" replay "$work/log" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check sector-replay "status $status, not 42: $(tail -n 3 "$work/err")" \
	eval "[ $status -eq 42 ] && cmp -s '$work/console' '$work/console2'"
check log "the log does not say which firmware" grep -q "^firmware .*bios-256k" <("$twinstep" log "$work/log")
timeout 600 "$twinstep" run --disk "$work/bs,overlay" --firmware /usr/share/seabios/bios.bin --console none 2>"$work/err"
status=$?
check firmware-128k "status $status, not 42: $(tail -n 3 "$work/err")" [ "$status" -eq 42 ]

head -c 1048576 /dev/zero >"$work/empty"
head -c 100000 "$bios" >"$work/odd"
run_refused no-sector "has no boot sector: its bytes 510 and 511 are 00 00" --disk "$work/empty"
run_refused no-firmware-file "cannot open $work/nothing" --disk "$work/bs" --firmware "$work/nothing"
run_refused odd-firmware "is no firmware: $(stat -c %s "$work/odd") bytes" --disk "$work/bs" --firmware "$work/odd"
run_refused version-1 "version 1 has no firmware" --machine 1 --disk "$work/bs"
run_refused nothing "nothing to boot" --machine 2
run_refused firmware-and-kernel "does not go with --kernel" --disk "$work/bs" --firmware "$bios" --kernel "$vmlinuz"
run_refused append "go with --kernel" --disk "$work/bs" --append quiet

if [ ! -f "$grub" ] || ! command -v grub-mkimage >/dev/null; then
	skip grub "grub-pc-bin and grub-common are not installed"
	exit $failed
fi
grep -v 'redis\|\.so' "$build/guest-pkgs/list" | "$build/guest-pkgs/newc" >"$work/initramfs"
mkdir -p "$work/root/boot/grub"
cp "$vmlinuz" "$work/root/boot/vmlinuz"
cp "$work/initramfs" "$work/root/boot/initrd.img"
cat >"$work/root/boot/grub/grub.cfg" <<-END
	serial --unit=0
	terminal_output serial
	echo "GRUB is here"
	linux /boot/vmlinuz console=ttyS0 quiet cryptomgr.notests twinstep.run="md5sum /dev/vda1; cat /proc/interrupts; exit 7"
	initrd /boot/initrd.img
	boot
END
tools/bootdisk.py "$work/disk" --root "$work/root" 2>"$work/err" || not_ok image "$(cat "$work/err")"
timeout 600 "$twinstep" record -o "$work/log2" --disk "$work/disk,overlay" --clock virtual --checkpoint 1 --console "$work/console" \
	2>"$work/err"
status=$?
check grub "status $status, not 7: $(tail -n 3 "$work/err" "$work/console")" [ "$status" -eq 7 ]
check grub-text "GRUB is not seen" grep -aq 'GRUB is here' "$work/console"
check grub-acpi "no APICs" grep -aq 'IO-APIC' "$work/console"
check complaints "the kernel complains: $(grep -aiE 'bios (bug|error|warning)|acpi.*(error|warning)|firmware bug' "$work/console" | head -n 3)" \
	eval "! grep -aqiE 'bios (bug|error|warning)|acpi.*(error|warning)|firmware bug' '$work/console'"
timeout 600 "$twinstep" replay "$work/log2" --quiet --from-checkpoint last --console "$work/console2" >"$work/out" 2>"$work/err"
status=$?
check grub-replay "status $status, not 7: $(tail -n 3 "$work/err")" [ "$status" -eq 7 ]

check info-mbr "$("$twinstep" image info "$work/disk")" \
	eval "'$twinstep' image info '$work/disk' | tr '\n' ' ' | grep -q 'boot code *GRUB.*MBR.*2048 .*Linux active *ext2/3/4'"

# A GPT: GRUB alone, which ends the machine itself.
rm "$work/root/boot/vmlinuz" "$work/root/boot/initrd.img"
echo 'outb 0xf4 9' >"$work/root/boot/grub/grub.cfg"
tools/bootdisk.py "$work/disk" --root "$work/root" --table gpt 2>"$work/err" || not_ok image "$(cat "$work/err")"
timeout 600 "$twinstep" run --disk "$work/disk,overlay" --clock virtual --console "$work/console" 2>"$work/err"
status=$?
check gpt "status $status, not 9: $(tail -n 3 "$work/err" "$work/console")" [ "$status" -eq 9 ]
check info-gpt "$("$twinstep" image info "$work/disk")" \
	eval "'$twinstep' image info '$work/disk' | tr '\n' ' ' | grep -q 'GPT.*BIOS boot.*Linux root *ext2/3/4'"

# What image refuses, and what it makes for cloud-init.
printf '\377' | dd of="$work/disk" bs=1 seek=600 conv=notrunc 2>/dev/null
"$twinstep" image info "$work/disk" >"$work/out" 2>"$work/err"
status=$?
check info-damaged "status $status: $(cat "$work/err")" \
	eval "[ $status -eq 2 ] && grep -q 'checksum of the GPT at sector 1 is wrong' '$work/err'"
printf '#cloud-config\nhostname: here\n' >"$work/user-data"
"$twinstep" image seed "$work/seed" "$work/user-data" && "$twinstep" image seed "$work/seed2" "$work/user-data"
check seed "not the same twice, or not cidata" \
	eval "cmp -s '$work/seed' '$work/seed2' && [ \"\$(dd if='$work/seed' bs=1 skip=32808 count=6 2>/dev/null)\" = cidata ]"
echo 'hostname: here' >"$work/user-data"
"$twinstep" image seed "$work/seed3" "$work/user-data" 2>"$work/err"
status=$?
check seed-refused "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && grep -q 'is no user-data' '$work/err'"
exit $failed
