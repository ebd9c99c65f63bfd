#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes what the RDMA tests boot in QEMU, from Debian's own packages, which are downloaded and unpacked, not installed:
#   OUT/IMAGE/vmlinuz, OUT/IMAGE/initrd   Debian's kernel with SoftRoCE; busybox, verbs, twinstep, the script
# usage: tests/rdma/build.sh OUT IMAGE SCRIPT FILE...     exit status 77: cannot be had here (said on standard error)
set -euo pipefail
export LC_ALL=C
here=$(dirname "$0")
out=$(realpath -m "${1:?usage: $0 OUT IMAGE SCRIPT FILE...}") image=$(realpath -m "$1/$2") script=$3
shift 3
pkgs=$out/rdma-pkgs root=$out/rdma-pkgs/root
. "$here/../../tools/guest/lib.sh"
unavailable() { printf '%s\n' "$*" >&2 && exit 77; }

for tool in qemu-system-x86_64 apt-get apt-cache dpkg-deb readelf ip rdma; do
	command -v "$tool" >/dev/null || unavailable "$tool is missing; run 'make setup'"
done

# What is fetched beside the kernel; perftest's libraries are the last ones.
packages="busybox-static libibverbs1 ibverbs-providers ibverbs-utils libnl-3-200 libnl-route-3-200 perftest librdmacm1 libibumad3 libpci3"

fetch() {
	local kernel
	kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$kernel" ] || unavailable "apt does not know linux-image-amd64; run 'apt-get update'"
	rm -rf "$pkgs"
	mkdir -p "$pkgs/deb" "$root"
	(cd "$pkgs/deb" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" $packages >../download.log 2>&1) ||
		unavailable "apt-get download failed: $(tail -n 1 "$pkgs/download.log")"
	for deb in "$pkgs"/deb/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
	# The rest of the kernel is 300 MB.
	find "$root/lib/modules" -name '*.ko' | grep -vE '/infiniband/(core|sw)/|/net/(veth|dummy)|tunnel|crc32|/kernel/lib/|crypto/' | xargs rm -f
	echo "$packages" >"$pkgs/packages"
}

# Shared libraries of this host's programs, by the name that the loader looks for, and the loader itself.
host_libraries() {
	LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu ldd "$@" |
		sed -n 's,.*=> \(/[^ ]*\) .*,\1,p; s,^\t\(/lib64/[^ ]*\) .*,\1,p' | sort -u
}

list() {
	local dir applet lib ko file
	local programs=("$out/twinstep" "$(command -v ip)" "$(command -v rdma)" "$root"/usr/bin/{ibv_rc_pingpong,ib_write_lat,ib_send_lat})
	local driver=usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so
	for dir in bin dev etc etc/libibverbs.d guest lib lib64 modules proc sys tmp usr usr/bin usr/lib \
		usr/lib/x86_64-linux-gnu usr/lib/x86_64-linux-gnu/libibverbs; do
		echo "dir $dir 0755"
	done
	echo "char dev/console 0600 5 1"
	echo "char dev/null 0666 1 3"
	echo "file init 0755 $here/init"
	echo "file script 0755 $script"
	echo "file bin/busybox 0755 $root/bin/busybox"
	for applet in $("$root/bin/busybox" --list | sort); do
		case $applet in busybox | ip) ;; *) echo "link bin/$applet busybox" ;; esac
	done
	for file in "${programs[@]}"; do
		strip -o "$image/bin/$(basename "$file")" "$(realpath "$file")"
		echo "file usr/bin/$(basename "$file") 0755 $image/bin/$(basename "$file")"
	done
	for lib in $(host_libraries "${programs[@]}" "$root/$driver" "$root"/usr/lib/x86_64-linux-gnu/libibverbs.so.1); do
		case $lib in
		/lib64/*) echo "file ${lib#/} 0755 $(realpath "$lib")" ;;
		*) echo "file lib/$(basename "$lib") 0755 $(realpath "$lib")" ;;
		esac
	done
	echo "file lib/libibverbs.so.1 0755 $(realpath "$root/usr/lib/x86_64-linux-gnu/libibverbs.so.1")"
	echo "file $driver 0755 $root/$driver"
	echo "file etc/libibverbs.d/rxe.driver 0644 $root/etc/libibverbs.d/rxe.driver"
	modules veth crc32_generic rdma_rxe ib_uverbs | while read -r ko; do
		strip -g -o "$image/modules/$(basename "$ko")" "$ko"
		echo "file modules/$(basename "$ko") 0644 $image/modules/$(basename "$ko")"
		basename "$ko" >&3
	done 3>"$image/order"
	echo "file modules/order 0644 $image/order"
	for file in "$@"; do
		echo "file guest/$(basename "$file") 0644 $file"
	done
}

[ "$(cat "$pkgs/packages" 2>/dev/null)" = "$packages" ] || fetch
mkdir -p "$image/bin" "$image/modules"
${CC:-cc} -O1 -Wall -o "$image/newc" "$here/../../tools/guest/newc.c"
cp -u "$(find "$root/boot" -name 'vmlinuz-*' | head -n 1)" "$image/vmlinuz"
list "$@" | sort -u -t' ' -k2,2 | sort -s -k1,1 >"$image/list"
"$image/newc" <"$image/list" >"$image/initrd.tmp" && mv "$image/initrd.tmp" "$image/initrd"
