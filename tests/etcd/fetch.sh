#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's etcd for the tests of its arbiter: downloaded and unpacked into OUT/etcd-pkgs, not installed; prints where.
# usage: tests/etcd/fetch.sh OUT     exit status 77: cannot be had here (said on standard error)
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUT}")/etcd-pkgs
if [ ! -x "$out/root/usr/bin/etcd" ]; then
	mkdir -p "$out/deb" "$out/root"
	(cd "$out/deb" && apt-get -qq -o APT::Sandbox::User=root download etcd-server etcd-client >../log 2>&1) || {
		echo "apt-get download failed: $(tail -n 1 "$out/log")" >&2
		exit 77
	}
	for deb in "$out"/deb/*.deb; do
		dpkg-deb -x "$deb" "$out/root"
	done
fi
echo "$out/root/usr/bin"
