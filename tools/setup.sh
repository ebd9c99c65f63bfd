#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian packages that Twinstep needs to be built, tested and shown (docs/dependencies.md says what each is for).
# Installs what is missing when root; else prints the line to run and fails.
set -euo pipefail
needed=(
	libibverbs-dev # RDMA
	gcc make binutils libc6-dev acpica-tools # building
	libzydis-dev libzycore-dev libxxhash-dev libzstd-dev zlib1g-dev libbz2-dev liblzma-dev liblz4-dev libpcap0.8-dev libssl-dev liburcu-dev libseccomp-dev
	libcap-ng-dev libjansson-dev libcurl4-openssl-dev libsqlite3-dev libmicrohttpd-dev libnbd-dev
	check libsubunit-dev clang libclang-rt-14-dev clang-format redis-tools python3-psycopg2 e2fsprogs iproute2 ethtool nftables python3 socat
	tcpdump strace spin gdb seabios # testing
)
# Wanted by `make bench` and `make check`, which say so and go on without them.
optional=(grub-common grub-pc-bin qemu-system-x86 qemu-utils nbdkit rsync bochs bochsbios vgabios isolinux syslinux syslinux-common mtools ipxe-qemu xorriso libelf1)

missing=()
for p in "${needed[@]}"; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q ' installed$' || missing+=("$p")
done
extra=()
for p in "${optional[@]}"; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q ' installed$' || extra+=("$p")
done

if [ ${#missing[@]} -eq 0 ] && { [ ${#extra[@]} -eq 0 ] || [ "$(id -u)" -ne 0 ]; }; then
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "packages are missing; run as root:" >&2
	echo "  apt-get install -y ${missing[*]} ${extra[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "  SETUP  ${missing[*]} ${extra[*]}"
apt-get update -q >/dev/null || echo "apt-get update failed; trying with the lists that are there" >&2
[ ${#missing[@]} -eq 0 ] || apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
[ ${#extra[@]} -eq 0 ] || apt-get install -y -q --no-install-recommends "${extra[@]}" >/dev/null ||
	echo "not installed: ${extra[*]}; what needs them is skipped" >&2
