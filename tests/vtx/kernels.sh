#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel module builds without a warning, objtool's included, for Debian's kernels: 6.1, and 6.12 where apt offers it,
# of each the cloud, the regular and the real-time one; or for those that are named. Headers are downloaded and unpacked
# under BUILD/kernels. Part of no other target: minutes.
# usage: tests/vtx/kernels.sh [VERSION...]     as in the names of packages: 6.1.0-56-amd64
set -u
cd "$(dirname "$0")/../.." || exit 2
build=$(realpath -m "${BUILD:-build}")
store=$build/kernels
root=$store/root
status=0

newest() { # PATTERN
	apt-cache search --names-only "^linux-headers-$1\$" | sed 's/^linux-headers-\([^ ]*\) .*/\1/' | sort -V | tail -n 1
}

# The headers of one kernel, what they need to build with, in $root.
fetch() { # VERSION
	local need
	[ -e "$root/usr/src/linux-headers-$1/Makefile" ] && return 0
	mkdir -p "$store/deb"
	mapfile -t need < <(apt-cache depends "linux-headers-$1" | sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-[^ ]*\)/\1/p')
	(cd "$store/deb" && rm -f ./*.deb &&
		apt-get -qq -o APT::Sandbox::User=root download "linux-headers-$1" "${need[@]}" >"$store/download.log" 2>&1) || return 1
	for deb in "$store"/deb/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
	rm -f "$root/usr/src/linux-headers-$1/vmlinux" # type information: would want pahole
	sed -i "s,^include .*/usr/src/,include $root/usr/src/," "$root/usr/src/linux-headers-$1/Makefile"
}

check() { # VERSION
	local out=$store/module-$1 log=$store/module-$1.log
	rm -rf "$out"
	mkdir -p "$out"
	cp hypervisor/vmx/module/* "$out/"
	if make -s -C "$root/usr/src/linux-headers-$1" "M=$out" modules >"$log" 2>&1 && ! grep -iE 'warning|error' "$log"; then
		echo "ok module.$1"
	else
		echo "not ok module.$1: $(grep -iE -m 1 'warning|error' "$log")"
		status=1
	fi
}

versions=("$@")
[ $# -gt 0 ] || for pattern in '6\.1\.0-[0-9]*'{-cloud,,-rt}-amd64 '6\.12\.[^ -]*'{-cloud,,-rt}-amd64; do
	version=$(newest "$pattern")
	[ -n "$version" ] && versions+=("$version") || echo "skip module.$pattern: apt offers none"
done
for version in "${versions[@]}"; do
	if fetch "$version"; then
		check "$version"
	else
		echo "skip module.$version: $(tail -n 1 "$store/download.log")"
	fi
done
exit "$status"
