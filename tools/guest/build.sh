#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the guest from Debian's own packages, which are downloaded and unpacked, not installed:
#   OUT/guest/vmlinuz     the cloud kernel, unmodified        OUT/guest/initramfs   busybox, virtio modules, redis-server
#   OUT/guest/packages    the versions used
# usage: tools/guest/build.sh OUT [PROGRAM...]     PROGRAMs are static and go to /bin of the guest
set -euo pipefail
export LC_ALL=C
here=$(dirname "$0")
out=${1:?usage: $0 OUT [PROGRAM...]}
shift
pkgs=$out/guest-pkgs root=$out/guest-pkgs/root image=$out/guest
. "$here/lib.sh"

for tool in apt-get apt-cache dpkg-deb readelf; do
	command -v "$tool" >/dev/null || die "$tool is missing; run 'make setup'"
done

# Packages: the kernel, busybox, redis, and every library package that redis needs, however indirectly.
fetch_guest() {
	local meta=linux-image-cloud-amd64 kernel libs deb
	update_lists "$meta"
	kernel=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$kernel" ] || die "apt does not know $meta; run 'apt-get update' on a Debian with a main repository"
	mapfile -t libs < <(library_packages '' redis-tools)
	download "$pkgs" "$kernel" busybox-static redis-server redis-tools "${libs[@]}"
	for deb in "$pkgs"/deb/*.deb; do
		dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"
	done | sort >"$pkgs/packages"
}

list() {
	local dir file so path applet program
	for dir in bin dev etc lib lib/modules lib64 proc run sys tmp usr usr/bin usr/lib var; do
		echo "dir $dir 0755"
	done
	echo "char dev/console 0600 5 1"
	echo "char dev/null 0666 1 3"
	echo "file init 0755 $here/init"
	echo "file bin/busybox 0755 $root/bin/busybox"
	for applet in $("$root/bin/busybox" --list | sort); do
		[ "$applet" = busybox ] || echo "link bin/$applet busybox"
	done
	echo "file usr/bin/redis-server 0755 $root$(inside /usr/bin/redis-server)"
	echo "file usr/bin/redis-cli 0755 $root$(inside /usr/bin/redis-cli)"
	echo "file lib64/ld-linux-x86-64.so.2 0755 $root$(inside /lib64/ld-linux-x86-64.so.2)"
	libraries "$root$(inside /usr/bin/redis-server)" | sort | while read -r so path; do
		[ "$so" = ld-linux-x86-64.so.2 ] || echo "file lib/$so 0755 $root$path"
	done
	while read -r file; do
		echo "file lib/modules/$(basename "$file") 0644 $file"
	done <"$pkgs/modules"
	echo "file lib/modules/order 0644 $pkgs/order"
	for program in "$pkgs/debugexit" "$@"; do
		echo "file bin/$(basename "$program") 0755 $program"
	done
}

[ -f "$pkgs/packages" ] || fetch_guest
modules virtio_pci virtio_net virtio_blk virtio_console virtio_rng virtio_balloon >"$pkgs/modules"
sed 's|.*/||' "$pkgs/modules" >"$pkgs/order"
mkdir -p "$image"
${CC:-cc} -O1 -Wall -o "$pkgs/newc" "$here/newc.c"
${CC:-cc} -Os -Wall -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -Wl,--build-id=none -s \
	-o "$pkgs/debugexit" "$here/debugexit.c"
list "$@" >"$pkgs/list"
"$pkgs/newc" <"$pkgs/list" >"$image/initramfs.new"
cp "$(find "$root/boot" -name 'vmlinuz-*' | head -n 1)" "$image/vmlinuz.new"
mv "$image/vmlinuz.new" "$image/vmlinuz"
cp "$pkgs/packages" "$image/packages"
mv "$image/initramfs.new" "$image/initramfs"
say "$image/vmlinuz and $image/initramfs ($(stat -c %s "$image/initramfs") bytes)"
