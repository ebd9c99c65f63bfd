# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by what makes guests of Debian's packages, which lie unpacked in $root.
say() { printf '  GUEST  %s\n' "$*"; }
die() { printf 'make guest: %s\n' "$*" >&2 && exit 1; }

# Follows the links of a path inside the unpacked root and prints the real path there.
inside() {
	local p=$1 target
	while [ -L "$root$p" ]; do
		target=$(readlink "$root$p")
		case $target in /*) p=$target ;; *) p=$(dirname "$p")/$target ;; esac
	done
	[ -f "$root$p" ] && echo "$p"
}

library() {
	local d p
	for d in /lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu/ceph; do
		p=$(inside "$d/$1") && echo "$p" && return
	done
	die "no package brought $1"
}

# Shared libraries that a program needs, one "soname path" a line, however indirectly.
libraries() {
	local queue=("$1") seen=' ' so path
	while [ ${#queue[@]} -gt 0 ]; do
		for so in $(readelf -d "${queue[0]}" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
			case $seen in *" $so "*) continue ;; esac
			seen="$seen$so "
			path=$(library "$so")
			echo "$so $path"
			queue+=("$root$path")
		done
		queue=("${queue[@]:1}")
	done
}

# Kernel modules with what they depend on, in the order in which they load.
modules() {
	local seen=' ' name
	visit() {
		local file dep
		case $seen in *" $1 "*) return ;; esac
		seen="$seen$1 "
		file=$(find "$root/lib/modules" -name "$1.ko" -o -name "${1//_/-}.ko" | head -n 1)
		[ -n "$file" ] || return 0 # built into the kernel
		for dep in $(readelf -p .modinfo "$file" | sed -n "s,.*\] *depends=,,p" | tr , ' '); do
			visit "$dep"
		done
		echo "$file"
	}
	for name in "$@"; do visit "$name"; done
}

# Fetches apt's lists where they do not know a package.
update_lists() { apt-cache show "$1" >/dev/null 2>&1 || { [ "$(id -u)" -eq 0 ] && apt-get update -q >/dev/null; }; }

# download DIR PACKAGE...: these, unpacked into $root, which is below DIR; what was there before goes.
download() {
	local dir=$1 deb
	shift
	update_lists "$1"
	rm -rf "$dir"
	mkdir -p "$dir/deb" "$root"
	say "fetching $# packages: $1 ..."
	(cd "$dir/deb" && apt-get -qq -o APT::Sandbox::User=root download "$@" >../download.log 2>&1) ||
		die "apt-get download failed: $(tail -n 1 "$dir/download.log")"
	for deb in "$dir"/deb/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
}

# library_packages LEAVE-OUT PACKAGE...: what these depend on, however indirectly, so far as it is a library; none whose
# name matches the extended regular expression LEAVE-OUT.
library_packages() {
	local leave=$1
	shift
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
		--no-pre-depends "$@" | sed -n 's/^\(lib[a-z0-9.+-]*\|zlib1g\)$/\1/p' | grep -vxE "$leave|libelogind0" | sort -u
}

# fetch DIR LEAVE-OUT PACKAGE...: downloads these, and the libraries that they and their libraries need.
fetch() {
	local dir=$1 leave=$2 first libs
	shift 2
	update_lists "$1"
	mapfile -t first < <(apt-cache depends "$@" | sed -n 's/^ *Depends: \(lib.*\|zlib1g\)/\1/p' | grep -vxE "$leave" | sort -u)
	mapfile -t libs < <(library_packages "$leave" "${first[@]}")
	download "$dir" "$@" "${libs[@]}"
}
