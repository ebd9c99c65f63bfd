#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs of Debian's packages for the benchmark spec, downloaded and unpacked, not installed:
#   OUT/guest-spec/initramfs   the guest's, with /spec         OUT/guest-spec/tree   the same /spec, to chroot to on this host
# usage: tools/bench/spec/build.sh OUT
set -euo pipefail
export LC_ALL=C
here=$(dirname "$0")
out=${1:?usage: $0 OUT}
image=$out/guest-spec root=$out/guest-spec/root tree=$out/guest-spec/tree
. "$here/../../guest/lib.sh"
packages=(p7zip-full zlib1g openssl sqlite3 libsqlite3-0 python3.11-minimal libpython3.11-minimal libexpat1 cpp-12 gcc-12
	libgmp10 libisl23 libmpc3 libmpfr6 binutils-x86-64-linux-gnu libbinutils)

# These, and the libraries that the guest has anyway.
fetch_programs() {
	local deb
	download "$image" "${packages[@]}"
	for deb in "$out"/guest-pkgs/deb/lib*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
	touch "$image/fetched"
}

program() { # NAME PATH
	local so path
	cp "$root$2" "$tree/spec/$1"
	libraries "$root$2" | while read -r so path; do
		cp "$root$path" "$tree/spec/lib/$so"
	done
}

fill() {
	rm -rf "$tree"
	mkdir -p "$tree"/{bin,dev,lib64,tmp,spec/lib,spec/py/lib}
	cp "$out/guest-pkgs/root/bin/busybox" "$tree/bin/"
	for applet in sh sed head md5sum cat; do ln -s busybox "$tree/bin/$applet"; done
	program 7z /usr/lib/p7zip/7za
	program openssl /usr/bin/openssl
	program sqlite3 /usr/bin/sqlite3
	program python3 /usr/bin/python3.11
	program gcc /usr/bin/x86_64-linux-gnu-gcc-12
	program cc1 /usr/lib/gcc/x86_64-linux-gnu/12/cc1
	program as /usr/bin/x86_64-linux-gnu-as
	mv "$tree/spec/lib/ld-linux-x86-64.so.2" "$tree/lib64/"
	cp -r "$root/usr/lib/python3.11" "$tree/spec/py/lib/"
	cp "$here"/{run,loops.py,tables.sql} "$tree/spec/"
	gcc -E -P -o "$tree/spec/source.i" tools/bench/cpubench.c
}

list() {
	local path
	(cd "$tree" && find spec | sort) | while read -r path; do
		if [ -d "$tree/$path" ]; then
			echo "dir $path 0755"
		else
			echo "file $path 0755 $tree/$path"
		fi
	done
}

for tool in apt-get apt-cache dpkg-deb readelf gcc; do
	command -v "$tool" >/dev/null || die "$tool is missing; run 'make setup'"
done
[ -e "$image/fetched" ] || fetch_programs
fill
list | "$out/guest-pkgs/newc" >"$image/spec.cpio"
cat "$out/guest/initramfs" "$image/spec.cpio" >"$image/initramfs.new"
rm "$image/spec.cpio"
mv "$image/initramfs.new" "$image/initramfs"
say "$image/initramfs ($(stat -c %s "$image/initramfs") bytes)"
