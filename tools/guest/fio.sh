#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a disk with Debian's fio and its libraries for the guest of build.sh, whose busybox it takes:
#   OUT/guest-fio/disk.img   ext4: /bin/fio, /bin/busybox, /lib
# In the guest: mount /dev/vda, chroot to it, LD_LIBRARY_PATH=/lib /bin/fio.
# usage: tools/guest/fio.sh OUT
set -euo pipefail
export LC_ALL=C
out=${1:?usage: $0 OUT}
image=$out/guest-fio root=$out/guest-fio/root
. "$(dirname "$0")/lib.sh"

for tool in apt-get apt-cache dpkg-deb readelf mkfs.ext4; do
	command -v "$tool" >/dev/null || die "$tool is missing; run 'make setup'"
done
[ -x "$root/usr/bin/fio" ] || fetch "$image" '' fio
tree=$(mktemp -d "$image/tree.XXXXXX")
mkdir -p "$tree"/{bin,dev,lib,lib64,proc,tmp}
cp "$out/guest-pkgs/root/bin/busybox" "$root/usr/bin/fio" "$tree/bin/"
libraries "$root/usr/bin/fio" | while read -r so path; do
	cp "$root$path" "$tree/lib/$so"
done
mv "$tree/lib/ld-linux-x86-64.so.2" "$tree/lib64/"
chmod 755 "$tree"
rm -f "$image/disk.new"
truncate -s 96M "$image/disk.new"
mkfs.ext4 -q -F -m 0 -J size=4 -E lazy_itable_init=0,root_owner=0:0 -d "$tree" "$image/disk.new"
rm -rf "$tree"
mv "$image/disk.new" "$image/disk.img"
say "$image/disk.img"
