#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# People gave all kinds of files as a kernel: memtest86+, xen.gz, a .efi file, a vmlinux, a CD image.
# With KERNELS=DIR, where Debian's memtest86+, xen-hypervisor-*-amd64 and any linux-image-*-amd64 are unpacked (dpkg -x), those
# run too.
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
run() { timeout "${limit:-600}" "$twinstep" run --console "$work/out" --kernel "$@" </dev/null 2>"$work/err"; }
# refused TEST WORDS FILE: one line with these words, status 2.
refused() {
	run "$3"
	local status=$?
	check "$1" "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && [ \$(lines '$work/err') -eq 1 ] && grep -qF -- '$2' '$work/err'"
}

# A program as it is and compressed.
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" \
	tests/accidents/modules.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
for pack in gzip bzip2 xz lzma zstd lz4 'lz4 -l'; do
	command -v ${pack% *} >/dev/null || continue
	form=${pack/ -/-}
	$pack -c <"$work/guest.elf" >"$work/guest.packed"
	echo x | timeout 600 "$twinstep" run --kernel "$work/guest.packed" >"$work/out" 2>"$work/err"
	status=$?
	check "$form" "status $status: $(cat "$work/err")" [ $status -eq 0 ]
	head -c 200 "$work/guest.packed" >"$work/cut"
	refused "$form-cut" 'is damaged or cut short' "$work/cut"
	# In two streams, as pbzip2, pigz and the like write.
	head -c 100 "$work/guest.elf" | $pack -c >"$work/two" && tail -c +101 "$work/guest.elf" | $pack -c >>"$work/two"
	echo x | timeout 600 "$twinstep" run --kernel "$work/two" >"$work/out" 2>"$work/err"
	status=$?
	check "$form-two" "status $status: $(cat "$work/err")" [ $status -eq 0 ]
	echo signature >>"$work/two"
	refused "$form-more" 'and something else follows' "$work/two"
done
printf '\x89LZO\0\r\n\x1a\n' >"$work/guest.lzo"
refused lzo 'unpack it (lzop -d)' "$work/guest.lzo"

# One line that says what it is, and what to do.
{ printf MZ; head -c 58 /dev/zero; printf '\x40\0\0\0PE\0\0'; head -c 100 /dev/zero; } >"$work/app.efi"
refused efi 'is an EFI application' "$work/app.efi"
{ head -c 32769 /dev/zero; printf CD001; } >"$work/cd.iso"
refused cd '--disk FILE,ro' "$work/cd.iso"
refused elf 'of Linux give the bzImage' "$twinstep"
printf '070701000' >"$work/initramfs"
refused initramfs 'give it with --initrd' "$work/initramfs"

[ -n "${KERNELS:-}" ] || exit $failed
# As they come from Debian. A screen that is drawn on the serial line is enough of memtest86+; Xen wants a dom0 kernel.
limit=1200 # memtest86+ first measures the speed of memory, a minute without a word on a quiet host
# shows TEST WORDS FILE OPTION...: the words come on the serial line.
shows() {
	[ -f "$3" ] || {
		skip "$1" "there is no such file in $KERNELS"
		return
	}
	rm -f "$work/out"
	timeout "$limit" "$twinstep" run --console "$work/out" --kernel "${@:3}" </dev/null 2>"$work/err" &
	local pid=$! # of timeout, which hands the signal on
	if wait_for 200 grep -aq "$2" "$work/out"; then ok "$1"; else not_ok "$1" "$(tail -n 3 "$work/err" "$work/out")"; fi
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
}
boot=$KERNELS/boot
xen=$(ls "$boot"/xen-*-amd64.gz)
for machine in 1 2; do
	for kind in bin efi; do
		shows "memtest-$kind-$machine" 'Memtest86+ v' "$boot/memtest86+x64.$kind" --machine $machine --append console=ttyS0,115200
	done
	shows "xen-$machine" 'dom0 kernel not specified' "$xen" --machine $machine --append "xen com1=115200,8n1 console=com1" --memory 512M
done
[ -f "$vmlinuz" ] || exit $failed
# A dom0 is a kernel with CONFIG_XEN_DOM0, which Debian's cloud kernels are not: those stop without a word.
dom0=$(ls "$boot"/vmlinuz-*-amd64 | grep -v -e -cloud- -e -rt- | head -n 1)
shows xen-dom0 'twinstep: userspace' "$xen" --machine 2 --append "xen com1=115200,8n1 console=com1" --memory 1G \
	--initrd "$dom0,text=vmlinuz console=hvc0" --initrd "$initramfs"
# Debian's Linux of each kind, without special words. Those of 6.1-rt need a local APIC.
linux=(--append console=ttyS0 --initrd "$initramfs" --memory 512M)
for kernel in "$boot"/vmlinuz-*; do
	for machine in 1 2; do
		[[ $machine$kernel != 1*-6.1.*-rt-* ]] || continue
		shows "${kernel##*/}-$machine" 'twinstep: userspace' "$kernel" --machine $machine "${linux[@]}"
	done
done
# The same compressed as a whole, and the ELF file that lies in it.
gzip -c "$vmlinuz" >"$work/vmlinuz.gz"
shows gz 'twinstep: userspace' "$work/vmlinuz.gz" "${linux[@]}"
if command -v lz4 >/dev/null; then
	python3 -c 'import struct, sys
image = sys.stdin.buffer.read()
offset, length = struct.unpack_from("<II", image, 0x248)
start = (image[0x1f1] + 1) * 512 + offset
sys.stdout.buffer.write(image[start:start + length - 4])' <"$vmlinuz" | lz4 -dc >"$work/vmlinux"
	for machine in 1 2; do
		shows "vmlinux-$machine" 'twinstep: userspace' "$work/vmlinux" --machine $machine "${linux[@]}"
	done
else
	skip vmlinux "lz4 is not installed"
fi
exit $failed
