#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The drivers of an unmodified Debian kernel on the virtio devices: disks, console, rng, balloon, network card.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest

image() { head -c 8388608 /dev/zero | tr '\0' "$2" >"$work/$1"; }
# In the guest: a pattern goes to vda and vdc; vdb must refuse. Sums are printed for comparison with the images.
script="p() { yes \$1 | head -c \$2; };
p abcdefg 3000000 | dd of=/dev/vda bs=64k seek=1 conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches;
echo vda \$(head -c 4194304 /dev/vda | md5sum);
blkdiscard -o 1048576 -l 524288 /dev/vda && echo vda-discarded;
echo vda-after \$(dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | md5sum);
p x 65536 | dd of=/dev/vdb 2>/dev/null || echo vdb-refused; echo vdb \$(md5sum </dev/vdb);
p overlay 100000 | dd of=/dev/vdc bs=1000 seek=7 conv=fsync 2>/dev/null; echo vdc \$(md5sum </dev/vdc);
echo cache \$(cat /sys/block/vda/queue/write_cache); echo serial \$(cat /sys/block/vdb/serial);
echo rng \$(cat /sys/class/misc/hw_random/rng_current) \$(dd if=/dev/hwrng bs=16 count=4 2>/dev/null | wc -c);
echo to-hvc0 >/dev/hvc0; echo eth0 \$(cat /sys/class/net/eth0/address);
ip link set eth0 up; echo carrier \$(cat /sys/class/net/eth0/carrier);
echo drivers \$(ls /sys/bus/virtio/drivers/*/ | grep -c ^virtio);
exit 5"
script=${script//$'\n'/ }

run() {
	local n=$1
	image "a$n" a
	image b b
	image c c
	timeout 600 "$twinstep" run --kernel "$vmlinuz" --initrd "$initramfs" --clock virtual --digest-every 10000000 \
		--disk "$work/a$n" --disk "$work/b,ro" --disk "$work/c,overlay" --net none,mac=52:54:00:aa:bb:cc \
		--console "$work/console$n" --virtio-console "$work/hvc$n" \
		--append "$cmdline twinstep.run=\"$script\"" >"$work/digests$n" 2>"$work/err$n"
}
says() { grep -aq "^$1"$'\r*$' "$work/console1"; }
sum() { md5sum | cut -d ' ' -f 1; }

run 1
status=$?
check exit-code "status $status, not 5: $(tail -n 3 "$work/err1" "$work/console1")" [ "$status" -eq 5 ]

image expect a
yes abcdefg | head -c 3000000 | dd of="$work/expect" bs=64k seek=1 conv=notrunc iflag=fullblock status=none
check disk-read "the guest does not read what it wrote: $(grep -a '^vda' "$work/console1")" \
	says "vda $(head -c 4194304 "$work/expect" | sum) -"
head -c 524288 /dev/zero | dd of="$work/expect" bs=512k seek=2 conv=notrunc iflag=fullblock status=none
check discard "blkdiscard failed or did not leave zeros" says "vda-after $(head -c 4194304 "$work/expect" | sum) -"
truncate -s 8388608 "$work/expect"
check disk-image "the image on the host is not what the guest wrote" cmp -s "$work/expect" "$work/a1"
check read-only "a read-only disk was written" says vdb-refused
image expect b
check read-only-image "the read-only image has changed" cmp -s "$work/expect" "$work/b"
image expect c
check overlay-image "the base of an overlay has changed" cmp -s "$work/expect" "$work/c"
yes overlay | head -c 100000 | dd of="$work/expect" bs=1000 seek=7 conv=notrunc iflag=fullblock status=none
check overlay "the guest does not see its changes" says "vdc $(sum <"$work/expect") -"
check write-cache "the write cache is not 'write back'" says 'cache write back'
check serial "no serial number" says 'serial twinstep-disk1'
check rng "no bytes from the hardware generator" says 'rng virtio_rng.0 64'
check console "nothing on the virtio console" grep -aq '^to-hvc0' "$work/hvc1"
check mac "another MAC address: $(grep -a '^eth0' "$work/console1")" says 'eth0 52:54:00:aa:bb:cc'
check link "no carrier" says 'carrier 1'
check drivers "not every device has its driver" says 'drivers 7'

run 2
n=$(wc -l <"$work/digests1")
check repeatable "two runs differ ($n digests): $(diff "$work/digests1" "$work/digests2" | head -n 2 | tr '\n' ' ')" \
	cmp -s "$work/digests1" "$work/digests2"
exit $failed
