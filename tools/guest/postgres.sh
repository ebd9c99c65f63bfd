#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a disk with Debian's PostgreSQL for the guest of build.sh, whose kernel and initramfs it takes:
#   OUT/guest-postgres/disk.img   ext4: programs, libraries, a data directory (checksums, fsync), /start
#   OUT/guest-postgres/root       the packages unpacked; host.sh there runs a program of them on this host
# In the guest: mount /dev/vda, chroot to it, /start; PostgreSQL answers on port 5432, user postgres, without a password.
# usage: tools/guest/postgres.sh OUT
set -euo pipefail
export LC_ALL=C
here=$(dirname "$0")
out=${1:?usage: $0 OUT}
image=$out/guest-postgres root=$out/guest-postgres/root
busybox=$out/guest-pkgs/root/bin/busybox
bin=/usr/lib/postgresql/15/bin
. "$here/lib.sh"

# LLVM is for a compiler that is switched off.
fetch_postgres() {
	fetch "$image" 'libllvm.*' postgresql-15 postgresql-client-15
	printf '#!/bin/sh\n# A program of these packages on this host: host.sh /usr/.../psql ...\nroot=${0%%/*}\n%s' \
		'LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu exec "$root$@"' >"$root/host.sh"
	chmod 755 "$root/host.sh"
}

# As whom the server runs: it refuses to be root.
owner=$(id -u)
as_owner() { "$@"; }
if [ "$owner" -eq 0 ]; then
	owner=65534
	as_owner() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
fi

# What is on the disk, below $1.
fill() {
	local disk=$1 so path file
	mkdir -p "$disk"/{bin,dev,etc,lib64,proc,tmp,run,usr/lib/postgresql/15/lib,usr/share/postgresql} "$disk$bin"
	cp "$busybox" "$disk/bin/"
	ln -s busybox "$disk/bin/sh"
	cp -a "$root/usr/share/postgresql/15" "$disk/usr/share/postgresql/"
	cp "$root$bin/postgres" "$disk$bin/"
	for file in plpgsql dict_snowball amcheck; do cp "$root/usr/lib/postgresql/15/lib/$file.so" "$disk/usr/lib/postgresql/15/lib/"; done
	mkdir "$disk/lib"
	libraries "$root$bin/postgres" | sort | while read -r so path; do
		cp "$root$path" "$disk/lib/$so"
	done
	mv "$disk/lib/ld-linux-x86-64.so.2" "$disk/lib64/"
	echo "postgres:x:$owner:$owner::/:/bin/sh" >"$disk/etc/passwd"
	echo "postgres:x:$owner:" >"$disk/etc/group"
	cat >"$disk/start" <<-START
		#!/bin/sh
		export PATH=/bin LD_LIBRARY_PATH=/lib LC_ALL=C
		busybox mount -t proc proc /proc
		busybox mount -t devtmpfs devtmpfs /dev
		busybox mkdir -p /dev/shm
		busybox mount -t tmpfs tmpfs /dev/shm
		busybox rm -f /data/postmaster.pid
		busybox su postgres -c 'exec $bin/postgres -D /data'
		busybox umount /dev/shm /dev /proc
	START
	chmod 755 "$disk/start"
	chmod 1777 "$disk/tmp"
}

data() {
	local data
	data=$(mktemp -d)
	[ "$(id -u)" -ne 0 ] || chown "$owner" "$data"
	as_owner env TZ=GMT "$root/host.sh" $bin/initdb -D "$data" -U postgres -A trust --data-checksums --wal-segsize=1 \
		-E UTF8 --no-sync >"$image/initdb.log" 2>&1 || die "initdb failed: $(tail -n 1 "$image/initdb.log")"
	cat >>"$data/postgresql.conf" <<-CONF
		listen_addresses = '*'
		unix_socket_directories = ''
		fsync = on
		full_page_writes = on
		jit = off
		huge_pages = off
		shared_buffers = 8MB
		max_connections = 20
		max_wal_size = 16MB
		min_wal_size = 8MB
		checkpoint_timeout = 30s
		logging_collector = off
		log_checkpoints = off
		dynamic_shared_memory_type = mmap
		timezone = 'GMT'
		log_timezone = 'GMT'
	CONF
	echo 'host all all 0.0.0.0/0 trust' >>"$data/pg_hba.conf"
	cp -a "$data" "$1/data"
	rm -rf "$data"
}

for tool in apt-get apt-cache dpkg-deb readelf mkfs.ext4; do
	command -v "$tool" >/dev/null || die "$tool is missing; run 'make setup'"
done
[ -x "$root/host.sh" ] || fetch_postgres
tree=$(mktemp -d "$image/tree.XXXXXX")
fill "$tree"
data "$tree"
chmod 755 "$tree"
rm -f "$image/disk.new"
truncate -s 176M "$image/disk.new"
mkfs.ext4 -q -F -m 0 -J size=8 -E lazy_itable_init=0,root_owner=0:0 -d "$tree" "$image/disk.new"
rm -rf "$tree"
mv "$image/disk.new" "$image/disk.img"
say "$image/disk.img"
