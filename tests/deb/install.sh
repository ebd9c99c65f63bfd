#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The packages of `make deb`: lintian finds no errors; in a clean Debian root they are installed, a guest runs, the
# example fails over, and after a purge nothing of them is left. On demand (minutes, root, mmdebstrap, a Debian mirror).
# usage: tests/deb/install.sh [DIRECTORY WITH .deb FILES]
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build} debs=$(realpath "${1:-${BUILD:-build}/deb}")
failed=0
ok() { echo "ok deb.$1"; }
not_ok() {
	echo "not ok deb.$1: $2"
	failed=1
}
check() { if "${@:3}"; then ok "$1"; else not_ok "$1" "$2"; fi; }
for tool in mmdebstrap lintian; do
	command -v $tool >/dev/null || {
		echo "skip deb.all: $tool is not installed"
		exit 0
	}
done
ls "$debs"/*.deb >/dev/null 2>&1 || {
	echo "not ok deb.all: no packages in $debs: make deb"
	exit 1
}
work=$(mktemp -d)
root=$work/root
trap 'umount "$root/proc" "$root/dev" "$root" 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
lintian --fail-on error "$debs"/*.changes >"$work/lintian" 2>&1
status=$?
check lintian "$(grep ^E: "$work/lintian" | head -n 5)" [ $status -eq 0 ]
# What makes system users is there already: else all of systemd would come with the package, and leave traces.
mmdebstrap --quiet --variant=minbase --include=systemd-standalone-sysusers bookworm "$root" ${MIRROR:+"$MIRROR"} >"$work/log" 2>&1 || {
	not_ok root "$(tail -n 3 "$work/log")"
	exit 1
}
mount --bind "$root" "$root" # a file system of its own, as the example wants it
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
files() { (cd "$root" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./var/cache -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/log -o -path ./tmp -o -path ./run/mount \) -prune -o -print | sort); }
files >"$work/before"
cp "$debs"/twinstep_*.deb "$debs"/twinstep-doc_*.deb "$root/tmp/"
inside sh -c 'apt-get update -q && apt-get install -y -q --no-install-recommends /tmp/*.deb' >"$work/log" 2>&1
status=$?
check install "$(tail -n 3 "$work/log")" [ $status -eq 0 ]
packaged=$(inside dpkg-query -W -f '${Version}' twinstep)
said=$(inside twinstep --version | head -n 1)
check version "the package is $packaged, the program says $said" [ "$said" = "twinstep $packaged" ]
unmanned=$(inside sh -c 'for c in $(twinstep help | sed -n "s/^  \([a-z-]*\) .*/\1/p"); do test -f /usr/share/man/man1/twinstep-$c.1.gz || echo $c; done')
check man "no manual page of: $unmanned" [ -z "$unmanned" ]
check doc "twinstep-doc lacks the runbook" inside sh -c "dpkg -L twinstep-doc | grep -q /operations.md"
check sysusers "the witness has no user" inside id _twinstep
check monitoring "no alert rules" inside test -f /usr/share/doc/twinstep/examples/monitoring/alerts.yml
check completion "bash does not complete" inside bash -c 'source /usr/share/bash-completion/completions/twinstep && complete -p twinstep' 
check unit "no unit" inside test -f /lib/systemd/system/twinstep@.service
cp "$build/guest/vmlinuz" "$build/guest/initramfs" "$root/tmp/"
inside twinstep run --kernel /tmp/vmlinuz --initrd /tmp/initramfs --console stdio --memory 128M --append \
	'console=ttyS0 quiet nokaslr mitigations=off cryptomgr.notests twinstep.run="echo inside; exit 7"' >"$work/out" 2>&1
status=$?
check run "$(tail -n 2 "$work/out")" [ $status -eq 7 ]
inside sh -c 'zcat -f /usr/share/doc/twinstep/examples/two-hosts.sh* >/tmp/two-hosts.sh; sh /tmp/two-hosts.sh /tmp/vmlinuz /tmp/initramfs' >"$work/out" 2>&1
check example "$(tail -n 3 "$work/out")" grep -q 'beta goes on: *count [0-9][0-9]' "$work/out"
inside sh -c 'apt-get purge -y -q twinstep twinstep-doc && apt-get autoremove -y -q --purge' >"$work/log" 2>&1
status=$?
check purge "$(tail -n 3 "$work/log")" [ $status -eq 0 ]
files >"$work/after"
left=$(comm -13 "$work/before" "$work/after" | grep -v '^./etc/\(passwd\|shadow\|group\|gshadow\)-$\|/ld.so.cache\|/__pycache__\|/var/lib/systemd\|/root/' | head -n 5)
check clean "left behind: $left" [ -z "$left" ]
# The module for Debian's kernel: the headers bring a compiler, so nothing of this is built on the host.
cp "$debs"/twinstep-dkms_*.deb "$root/tmp/"
inside sh -c 'apt-get install -y -q --no-install-recommends linux-headers-amd64 /tmp/twinstep-dkms_*.deb' >"$work/log" 2>&1
status=$?
check dkms-install "$(tail -n 3 "$work/log")" [ $status -eq 0 ]
kernel=$(cd "$root/lib/modules" && ls | grep -v common | head -n 1)
inside sh -c "dkms status twinstep -k $kernel | grep -q installed || dkms install twinstep/$packaged -k $kernel" >"$work/log" 2>&1
status=$?
check dkms-build "$(tail -n 3 "$work/log")" [ $status -eq 0 ]
check dkms-module "no module for $kernel" eval 'ls "$root/lib/modules/$kernel"/updates/dkms/twinstep-vmx.ko*'
check dkms-info "$(inside modinfo -F license -k "$kernel" twinstep-vmx 2>&1)" [ "$(inside modinfo -F license -k "$kernel" twinstep-vmx)" = GPL ]
inside apt-get purge -y -q twinstep-dkms >"$work/log" 2>&1
status=$?
check dkms-purge "$(tail -n 3 "$work/log")" [ $status -eq 0 ]
check dkms-gone "a module or a source is left" eval '! ls "$root/lib/modules/$kernel"/updates/dkms/twinstep* "$root"/usr/src/twinstep* 2>/dev/null'
exit $failed
