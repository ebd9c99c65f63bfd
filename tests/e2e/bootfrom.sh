#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What else boots by itself: a hybrid ISO, an ISO that is none by El Torito, syslinux in one of several partitions, a
# network by iPXE; a recording of the last one replays without the ROM's file. The program that they load ends the
# machine.
# waits for the host: net net-script net-replay net-log
# beside others
. "$(dirname "$0")/lib.sh"
in_namespace "$@"
[ -f /usr/share/seabios/bios-256k.bin ] || {
	skip all "no SeaBIOS; apt install seabios"
	exit 0
}
server=
cleanup() { [ -z "$server" ] || kill "$server" 2>/dev/null; }
# A boot sector: mov $42,%al; mov $0xf4,%dx; out %al,(%dx); hlt
printf '\xb0\x2a\xba\xf4\x00\xee\xf4' >"$work/exit.bin"
truncate -s 510 "$work/exit.bin" && printf '\x55\xaa' >>"$work/exit.bin"
# boots TEST "text" ARGUMENTS...: ends with 42, and the boot loader's text was on the console
boots() {
	local test=$1 text=$2 status
	shift 2
	timeout 600 "$twinstep" run "$@" --console "$work/console" 2>"$work/err"
	status=$?
	check "$test" "status $status, not 42: $(tail -n 3 "$work/err" "$work/console")" \
		eval "[ $status -eq 42 ] && grep -aq '$text' '$work/console'"
}
# config KERNEL
config() { printf 'SERIAL 0 115200\nDEFAULT l\nLABEL l\n KERNEL %s\n' "$1"; }

if [ -f /usr/lib/ISOLINUX/isolinux.bin ] && command -v xorriso >/dev/null; then
	mkdir -p "$work/iso/isolinux"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux"
	cp "$work/exit.bin" "$work/iso"
	config /exit.bin >"$work/iso/isolinux/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$work/hybrid.iso" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -b isolinux/isolinux.bin \
		-c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso" 2>"$work/err"
	boots iso ISOLINUX --disk "$work/hybrid.iso,ro" --clock virtual
	xorriso -as mkisofs -quiet -o "$work/plain.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
		-boot-info-table "$work/iso" 2>"$work/err"
	# Behind a disk without a boot sector: the CD's image is looked for on all.
	truncate -s 1M "$work/empty"
	boots cdrom ETCD --boot cdrom --disk "$work/empty" --disk "$work/plain.iso,ro" --clock virtual
	timeout 600 "$twinstep" record -o "$work/cdlog" --boot cdrom --disk "$work/plain.iso,ro" --console "$work/console" 2>"$work/err"
	status=$?
	check cdrom-record "status $status, not 42: $(tail -n 3 "$work/err")" [ "$status" -eq 42 ]
	timeout 600 "$twinstep" replay "$work/cdlog" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
	status=$?
	check cdrom-replay "status $status, not 42: $(tail -n 3 "$work/err")" eval "[ $status -eq 42 ] && cmp -s '$work/console' '$work/console2'"
	cp "$work/exit.bin" "$work/exit.disk" && truncate -s 1M "$work/exit.disk" # SeaBIOS reads whole cylinders
	# damaged TEST "text" OFFSET BYTES: the ROM says so, and the disk comes next.
	damaged() {
		cp "$work/plain.iso" "$work/damaged.iso"
		printf "$4" | dd of="$work/damaged.iso" bs=1 seek="$3" conv=notrunc 2>/dev/null
		boots "$1" "$2" --boot cdrom --disk "$work/exit.disk,ro" --disk "$work/damaged.iso,ro" --clock virtual
	}
	catalogue=$((2048 * $(od -An -tu4 -j $((17 * 2048 + 71)) -N 4 "$work/plain.iso")))
	damaged cdrom-record-far 'damaged boot catalogue' $((17 * 2048 + 71)) '\377\377\377\377'
	damaged cdrom-key 'damaged boot catalogue' $((catalogue + 30)) '\0'
	damaged cdrom-not-bootable 'damaged boot catalogue' $((catalogue + 32)) '\0'
	damaged cdrom-floppy 'wants an emulated disk' $((catalogue + 33)) '\2'
	damaged cdrom-large 'image cannot be loaded' $((catalogue + 38)) '\377\377'
	damaged cdrom-no-image 'image cannot be loaded' $((catalogue + 38)) '\0\0'
	damaged cdrom-far 'image cannot be loaded' $((catalogue + 40)) '\0\0\0\40'
else
	skip iso "isolinux and xorriso are not installed"
fi

if [ -d /usr/lib/grub/i386-pc ] && command -v grub-mkrescue xorriso mformat >/dev/null; then
	mkdir -p "$work/grub/boot/grub"
	cp "$work/exit.bin" "$work/grub"
	head -c 3000000 /dev/urandom >"$work/grub/large"
	cat >"$work/grub/boot/grub/grub.cfg" <<-END
		serial
		terminal_output serial
		if hashsum --hash sha256 --check /sums --prefix / ; then
		    chainloader /exit.bin
		    boot
		fi
	END
	(cd "$work/grub" && sha256sum large >sums)
	grub-mkrescue -d /usr/lib/grub/i386-pc -o "$work/grub.iso" "$work/grub" >"$work/out" 2>&1
	# GRUB reads 3 MB through INT 13h for drive E0h.
	boots cdrom-grub 'large: OK' --boot cdrom --disk "$work/grub.iso,ro" --clock virtual
else
	skip cdrom-grub "grub-pc-bin, grub-common, xorriso and mtools are not installed"
fi

if [ -f /usr/lib/syslinux/mbr/mbr.bin ] && command -v syslinux >/dev/null && command -v mformat >/dev/null; then
	truncate -s 32M "$work/disk"
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$work/disk" conv=notrunc 2>/dev/null
	python3 - "$work/disk" <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as f:
		    f.seek(446)
		    for flag, kind, first, count in ((0, 0x83, 2048, 4096), (0x80, 6, 8192, 49152), (0, 0x82, 57344, 4096)):
		        f.write(struct.pack("<B3sB3sII", flag, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", first, count))
		    f.seek(510)
		    f.write(b"\x55\xaa")
	END
	export MTOOLSRC=$work/mtoolsrc
	printf 'drive x: file="%s" offset=4194304\nmtools_skip_check=1\n' "$work/disk" >"$MTOOLSRC"
	config exit.bs >"$work/syslinux.cfg"
	mformat -t 24 -h 64 -s 32 -H 8192 x: && mcopy "$work/exit.bin" x:/exit.bs && mcopy "$work/syslinux.cfg" x:/ &&
		syslinux --offset 4194304 --install "$work/disk"
	boots syslinux SYSLINUX --disk "$work/disk,overlay" --clock virtual
	if [ -f "$vmlinuz" ] && [ -f "$build/guest-pkgs/list" ]; then
		grep -v 'redis\|\.so' "$build/guest-pkgs/list" | "$build/guest-pkgs/newc" >"$work/initrd"
		cat >"$work/syslinux.cfg" <<-'END'
			SERIAL 0 115200
			DEFAULT l
			LABEL l
			 LINUX vmlinuz
			 INITRD initrd
			 APPEND console=ttyS0 quiet cryptomgr.notests twinstep.run="grep vda /proc/partitions; debugexit 42"
		END
		mcopy -o "$work/syslinux.cfg" "$vmlinuz" "$work/initrd" x:/ || not_ok syslinux-files "they do not fit"
		boots syslinux-linux ' vda2' --disk "$work/disk,overlay" --clock virtual
	else
		skip syslinux-linux "no guest image; run make guest"
	fi
else
	skip syslinux "syslinux, syslinux-common and mtools are not installed"
fi

rom=/usr/lib/ipxe/qemu/pxe-virtio.rom
if [ -f "$rom" ] && ip tuntap add bootnet mode tap 2>"$work/err"; then
	ip link set lo up && ip addr add 10.77.0.1/24 dev bootnet && ip link set bootnet up
	mkdir "$work/tftp"
	cp "$work/exit.bin" "$work/tftp/exit.0"
	printf '#!ipxe\necho the-script-runs\n:again\nchain exit.0 || goto again\n' >"$work/tftp/boot.ipxe"
	tests/e2e/netboot.py bootnet 10.77.0.1 "$work/tftp/boot.ipxe" >"$work/server" 2>&1 &
	server=$!
	wait_for 10 grep -q ready "$work/server"
	cp "$rom" "$work/rom"
	# Where a slow host makes iPXE give up, the disk starts the machine again: mov $6,%al; mov $0xcf9,%dx; out %al,(%dx)
	printf '\xb0\x06\xba\xf9\x0c\xee\xf4' >"$work/again" && tail -c 505 "$work/exit.bin" >>"$work/again" &&
		truncate -s 1M "$work/again"
	timeout 600 "$twinstep" record -o "$work/log" --boot "net,rom=$work/rom" --net tap:bootnet --disk "$work/again" --memory 64M --console "$work/console" \
		2>"$work/err"
	status=$?
	check net "status $status, not 42: $(tail -n 3 "$work/err" "$work/console" "$work/server")" [ "$status" -eq 42 ]
	check net-script "iPXE has not run the script" grep -aq 'the-script-runs' "$work/console"
	rm "$work/rom"
	timeout 600 "$twinstep" replay "$work/log" --quiet --console "$work/console2" >"$work/out" 2>"$work/err"
	status=$?
	check net-replay "status $status, not 42: $(tail -n 3 "$work/err")" eval "[ $status -eq 42 ] && cmp -s '$work/console' '$work/console2'"
	check net-log "the log does not have the ROM" grep -q '^network ROM *74 KiB' <("$twinstep" log "$work/log")
else
	skip net "ipxe-qemu is not installed, or no tap here: $(cat "$work/err")"
fi

head -c 1000 /dev/zero >"$work/odd"
printf '\x55\xaa\x09' >"$work/short" && truncate -s 4096 "$work/short"
run_refused no-cdrom "no --disk is a bootable CD" --boot cdrom --disk "$work/exit.bin"
run_refused cdrom-kernel "--boot does not go with --kernel" --boot cdrom --kernel "$work/odd"
run_refused unknown "must be disk, cdrom or net" --boot floppy --disk "$work/exit.bin"
run_refused no-card "needs a network card" --boot net
run_refused no-rom "apt install ipxe-qemu" --boot "net,rom=$work/nothing" --net none
run_refused odd-rom "is no option ROM" --boot "net,rom=$work/odd" --net none
run_refused short-rom "is no option ROM" --boot "net,rom=$work/short" --net none
run_refused kernel "--boot does not go with --kernel" --boot "net,rom=$work/short" --net none --kernel "$work/odd"
exit $failed
