#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `twinstep image make` runs: a disk image with Debian 12, made of its packages, that boots by itself.
#
#   debian-disk.sh FILE [PACKAGE...]
#
# systemd, a kernel, GRUB and OpenSSH are in it, and the packages that are named (with cloud-init: locales and sudo as well).
# Its Ethernet interfaces, whatever systemd calls them (enp0s4 is the first), ask DHCP. From the environment:
#   SIZE=3G        of the disk                     TABLE=mbr|gpt       its partition table (mbr)
#   HOSTNAME_=...  (twinstep)                      PASSWORD=...        of root (none: only keys, and the serial console)
#   KEY=FILE       public key for root's ssh       ADDRESS=A/P         fixed address instead of DHCP
#   MIRROR=...     as mmdebstrap takes it (what this host uses, where that is Debian 12)
# Needs root, for owners of files; mmdebstrap, e2fsprogs, grub-common and grub-pc-bin.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
die() {
	echo "image make: $*" >&2
	exit 2
}
[ $# -ge 1 ] || die "no file named"
out=$1
shift
[ ! -e "$out" ] || die "$out is there already"
[ "$(id -u)" -eq 0 ] || die "only root can give files their owners: run it with sudo"
command -v mmdebstrap >/dev/null || die "there is no mmdebstrap: apt install mmdebstrap"
size=$(numfmt --from=iec "${SIZE:-3G}") || die "SIZE=$SIZE is no size"
mirror=${MIRROR:-}
if [ -z "$mirror" ] && grep -qs bookworm /etc/apt/sources.list.d/debian.sources; then
	mirror=/etc/apt/sources.list.d/debian.sources
fi
packages=(systemd-sysv udev dbus linux-image-cloud-amd64 initramfs-tools grub-common iproute2 openssh-server ca-certificates
	netbase kmod procps "$@")
# What cloud-init asks for in its first boot, and warns of where it is not there.
case " $* " in *" cloud-init "*) packages+=(locales sudo) ;; esac
work=$(mktemp -d --tmpdir="$(dirname "$out")" .image-XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root
mmdebstrap --quiet --variant=minbase --format=directory --include="$(IFS=,; echo "${packages[*]}")" \
	--aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$root" ${mirror:+"$mirror"} >"$work/log" 2>&1 ||
	die "mmdebstrap failed: $(grep -v '^I:' "$work/log" | tail -n 3 | tr '\n' ' ')"

name=${HOSTNAME_:-twinstep}
echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
# As in Debian's cloud images. Where there is none, cloud-init asks locale-gen for en_US, which Debian's does not make unasked.
echo 'LANG=C.UTF-8' >"$root/etc/default/locale"
: >"$root/etc/machine-id"
if [ -n "${ADDRESS:-}" ]; then network="Address=$ADDRESS"; else network="DHCP=yes"; fi
printf '[Match]\nType=ether\n\n[Network]\n%s\n' "$network" >"$root/etc/systemd/network/ether.network"
chroot "$root" systemctl -q enable systemd-networkd serial-getty@ttyS0
# A machine in software on a busy host may take longer than the 90 s after which systemd gives a unit or device up.
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStartSec=20min\nDefaultDeviceTimeoutSec=20min\n' >"$root/etc/systemd/system.conf.d/patience.conf"
if [ -n "${PASSWORD:-}" ]; then
	echo "root:$PASSWORD" | chroot "$root" chpasswd
else
	mkdir -p "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
	printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 - $TERM\n' \
		>"$root/etc/systemd/system/serial-getty@ttyS0.service.d/login.conf"
fi
if [ -n "${KEY:-}" ]; then
	install -D -m 600 "$KEY" "$root/root/.ssh/authorized_keys"
	chmod 700 "$root/root/.ssh"
fi
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<-'END'
	serial --unit=0 --speed=115200
	terminal_input serial
	terminal_output serial
	set timeout=1
	menuentry "Debian" {
	    search --no-floppy --label root --set=root
	    linux /vmlinuz root=LABEL=root ro console=ttyS0
	    initrd /initrd.img
	}
END
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -rf "$root"/dev/* "$root"/run/*
"$here/bootdisk.py" "$work/disk" --root "$root" --size "$size" --table "${TABLE:-mbr}" --label root
mv "$work/disk" "$out"
