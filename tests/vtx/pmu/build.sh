#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a Bochs with performance counters (patch.py) from Debian's source package: OUT/vtx-bochs/bochs.
# usage: tests/vtx/pmu/build.sh OUT     exit status 77: cannot be had here (said on standard error)
# Debian 12's own 2.7 would do as well, but 3.0 also has the monitor trap flag; it is in Debian 13.
set -euo pipefail
export LC_ALL=C
here=$(realpath "$(dirname "$0")")
out=$(realpath -m "${1:?usage: $0 OUT}")/vtx-bochs
version=3.0+dfsg
stamp=$(cat "$here/pmu.h" "$here/patch.py" "$here/build.sh" | sha256sum | cut -c1-16)
[ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ] && exit 0
unavailable() { printf '%s\n' "$*" >&2 && exit 77; }

# Lists and sources of its own: the host's apt stays as it is.
fetch() {
	local options
	mkdir -p "$out/apt/parts" "$out/apt/lists/partial" "$out/apt/cache/archives/partial"
	cat >"$out/apt/parts/src.sources" <<-END
		Types: deb-src
		URIs: http://deb.debian.org/debian
		Suites: trixie
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	options=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$out/apt/parts" -o APT::Sandbox::User=root
		-o "Dir::State::Lists=$out/apt/lists" -o "Dir::Cache=$out/apt/cache")
	apt-get "${options[@]}" update >"$out/fetch.log" 2>&1 || unavailable "apt-get update: $(tail -n 1 "$out/fetch.log")"
	# Mirrors that lack a part of the package: the upstream tar file, which apt has checked, is enough.
	(cd "$out" && apt-get "${options[@]}" source --download-only "bochs=$version-1" >>"$out/fetch.log" 2>&1) || true
}

mkdir -p "$out"
tar=$out/bochs_$version.orig.tar.xz
[ -f "$tar" ] || fetch
[ -f "$tar" ] || unavailable "the source of Bochs $version cannot be had: $(tail -n 1 "$out/fetch.log")"
rm -rf "$out/source"
mkdir "$out/source"
tar xf "$tar" -C "$out/source" --strip-components=1
python3 "$here/patch.py" "$out/source"
cd "$out/source"
# Without handler chaining, so that every instruction comes by the one place where it is counted.
./configure --enable-cpu-level=6 --enable-x86-64 --enable-vmx=2 --enable-avx --enable-evex --enable-repeat-speedups \
	--enable-fast-function-calls --disable-debugger --disable-plugins --with-nogui --disable-docbook \
	CC="${CC:-cc}" CXX="${CXX:-c++}" CFLAGS=-O2 CXXFLAGS="-O2 -fno-strict-aliasing" >"$out/build.log" 2>&1 || {
	tail -n 5 "$out/build.log" >&2
	exit 1
}
make -j"$(nproc)" bochs >>"$out/build.log" 2>&1 || {
	tail -n 5 "$out/build.log" >&2
	exit 1
}
cp bochs "$out/bochs"
echo "$stamp" >"$out/stamp"
