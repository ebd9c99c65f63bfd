#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes what the VT-x tests boot, from Debian's own packages, which are downloaded and unpacked, not installed:
#   OUT/vtx/module/twinstep-vmx.ko   the module, built against the headers of the very kernel that is booted
#   OUT/vtx/vmlinuz, OUT/vtx/list    the cloud kernel, and what goes into the initramfs (run.sh adds a script)
# usage: tests/vtx/build.sh OUT PROGRAM...     exit status 77: cannot be had here (said on standard error)
#   VTX_KERNEL   the newest cloud kernel whose version begins so (6.12), in OUT/vtx-6.12; else the distribution's own
set -euo pipefail
export LC_ALL=C
here=$(dirname "$0")
out=$(realpath -m "${1:?usage: $0 OUT PROGRAM...}")
shift
suffix=${VTX_KERNEL:+-$VTX_KERNEL}
pkgs=$out/vtx-pkgs$suffix root=$out/vtx-pkgs$suffix/root image=$out/vtx$suffix
say() { printf '  VTX  %s\n' "$*"; }
unavailable() { printf '%s\n' "$*" >&2 && exit 77; }

for tool in bochs-bin xorriso apt-get apt-cache dpkg-deb; do
	command -v "$tool" >/dev/null || unavailable "$tool is missing; run 'make setup'"
done
for file in /usr/lib/ISOLINUX/isolinux.bin /usr/share/bochs/BIOS-bochs-latest /usr/share/vgabios/vgabios.bin; do
	[ -f "$file" ] || unavailable "$file is missing; run 'make setup'"
done

# The name of the kernel's package.
kernel_package() {
	if [ -n "${VTX_KERNEL:-}" ]; then
		apt-cache search --names-only "^linux-image-${VTX_KERNEL//./\\.}[.+].*-cloud-amd64\$" | sed 's/ .*//' | sort -V | tail -n 1
	else
		apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | sed -n 1p
	fi
}

fetch() {
	local kernel headers
	kernel=$(kernel_package) || true
	[ -n "$kernel" ] || unavailable "apt does not know linux-image-${VTX_KERNEL:-}cloud-amd64; run 'apt-get update'"
	kernel=${kernel%-unsigned}
	headers=${kernel/linux-image/linux-headers}
	mapfile -t more < <(apt-cache depends "$headers" | sed -n 's/^ *Depends: \(linux-[^ ]*\)/\1/p')
	rm -rf "$pkgs"
	mkdir -p "$pkgs/deb" "$root"
	say "fetching $kernel, its headers and busybox-static"
	(cd "$pkgs/deb" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" "$headers" "${more[@]}" busybox-static \
		>"../download.log" 2>&1) || unavailable "apt-get download failed: $(tail -n 1 "$pkgs/download.log")"
	for deb in "$pkgs"/deb/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
	ls "$pkgs/deb" >"$pkgs/packages"
}

# The headers name one another by the paths where they would be installed.
build_module() {
	local hdr src
	hdr=$(find "$root/usr/src" -maxdepth 1 -name 'linux-headers-*-cloud-amd64')
	sed -i "s,^include .*/usr/src/,include $root/usr/src/," "$hdr/Makefile"
	rm -f "$hdr/vmlinux" # type information: would want pahole
	mkdir -p "$image/module"
	# By content: a source may well be older than the copy of another version that it replaces.
	for src in "$here"/../../hypervisor/vmx/module/*; do
		cmp -s "$src" "$image/module/${src##*/}" || cp "$src" "$image/module/"
	done
	make -s -C "$hdr" "M=$image/module" modules >"$image/module.log" 2>&1 || {
		cat "$image/module.log" >&2
		exit 1
	}
	if grep -E 'warning|WARNING' "$image/module.log" >&2; then exit 1; fi
	strip -g -o "$image/twinstep-vmx.ko" "$image/module/twinstep-vmx.ko"
}

# Shared libraries, by the name that the loader looks for, and the loader itself.
libraries() {
	ldd "$@" | sed -n 's,.*=> \(/[^ ]*\) .*,\1,p; s,^\t\(/lib64/[^ ]*\) .*,\1,p' | sort -u
}

list() {
	local dir applet program lib
	for dir in bin dev lib lib64 proc sys tmp guest; do
		echo "dir $dir 0755"
	done
	echo "char dev/console 0600 5 1"
	echo "char dev/null 0666 1 3"
	echo "file init 0755 $here/init"
	echo "file bin/busybox 0755 $root/bin/busybox"
	for applet in $("$root/bin/busybox" --list | sort); do
		[ "$applet" = busybox ] || echo "link bin/$applet busybox"
	done
	for lib in $(libraries "$@"); do
		case $lib in
		/lib64/*) echo "file ${lib#/} 0755 $(realpath "$lib")" ;;
		*) echo "file lib/$(basename "$lib") 0755 $(realpath "$lib")" ;;
		esac
	done
	echo "file twinstep-vmx.ko 0644 $image/twinstep-vmx.ko"
	echo "file bin/e9 0755 $image/e9"
	for program in "$@"; do
		[ "$program" -nt "$image/bin/$(basename "$program")" ] && strip -o "$image/bin/$(basename "$program")" "$program"
		echo "file bin/$(basename "$program") 0755 $image/bin/$(basename "$program")"
	done
}

# KVM's modules, without debug sections and so without a signature: checking that takes seconds inside.
kvm_modules() {
	local ko to
	mkdir -p "$image/kvm"
	for ko in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-intel; do
		to=$image/kvm/${ko##*/}.ko
		[ ! -f "$to" ] || continue
		xz -dc "$root"/lib/modules/*/kernel/$ko.ko.xz >"$to.whole" 2>/dev/null || cp "$root"/lib/modules/*/kernel/$ko.ko "$to.whole"
		strip -g -o "$to" "$to.whole"
		rm "$to.whole"
	done
}

[ -f "$pkgs/packages" ] || fetch
mkdir -p "$image/bin"
build_module
kvm_modules
${CC:-cc} -O1 -Wall -o "$image/newc" "$here/../../tools/guest/newc.c"
${CC:-cc} -O1 -Wall -static -s -o "$image/e9" "$here/e9.c"
cp -u "$(find "$root/boot" -name 'vmlinuz-*' | head -n 1)" "$image/vmlinuz"
list "$@" >"$image/list"
