#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bad options and files: one clear line on standard error, status 2, nothing left behind.
# beside others
. "$(dirname "$0")/lib.sh"
need_guest

# refused TEST WORD OPTION...: `twinstep run` refuses it with one line that has WORD in it.
refused() {
	local test=$1 word=$2 status before after
	shift 2
	before=$(find "$work" | sort | md5sum)
	timeout 600 "$twinstep" run "$@" >"$out" 2>"$err" </dev/null
	status=$?
	after=$(find "$work" | sort | md5sum)
	if [ "$status" -ne 2 ]; then
		not_ok "$test" "exit status $status: $(head -n 1 "$err")"
	elif [ "$(wc -l <"$err")" -ne 1 ] || [ -s "$out" ]; then
		not_ok "$test" "expected one line on standard error, got: $(cat "$err" "$out" | head -n 3)"
	elif ! grep -q '^twinstep: ' "$err" || ! grep -qF -- "$word" "$err"; then
		not_ok "$test" "no '$word' in: $(cat "$err")"
	elif [ "$before" != "$after" ]; then
		not_ok "$test" "left something behind: $(find "$work")"
	else
		ok "$test"
	fi
}

outdir=$(mktemp -d)
cleanup() { rm -rf "$outdir"; }
out=$outdir/out err=$outdir/err
image=$work/image con="--console $work/console"
head -c 1000 "$vmlinuz" >"$image.1000"
head -c 600 "$vmlinuz" >"$image.600"
head -c 5000000 "$vmlinuz" >"$image.half"
cp "$vmlinuz" "$image.corrupt"
printf '\xff\xff\xff\xff' | dd of="$image.corrupt" bs=1 seek=$((0x1f4)) conv=notrunc 2>/dev/null
: >"$image.empty"
head -c 100000 /dev/urandom >"$image.noise"
printf '\177ELF\1\1\1' >"$image.elf"
head -c 100 /bin/true >"$image.elf2"
mkfifo "$work/fifo"
mkdir "$work/dir"
truncate -s 1000 "$work/odd.img"
truncate -s 64K "$work/plain.img" "$work/qcow2.img"
printf 'QFI\373\0\0\0\3' | dd of="$work/qcow2.img" conv=notrunc 2>/dev/null
touch "$work/plain"

# shellcheck disable=SC2086
{
	refused no-kernel "--kernel" $con
	refused no-cpus "one processor" --kernel "$vmlinuz" --cpus 2 $con
	refused no-vsock "no vsock" --kernel "$vmlinuz" --vsock 3 $con
	refused no-virtfs "shares no directory" --kernel "$vmlinuz" --virtfs /srv $con
	refused no-screen "no screen" --kernel "$vmlinuz" --vnc :1 $con
	refused no-sound "no sound" --kernel "$vmlinuz" --sound hda $con
	refused no-tpm "no TPM" --kernel "$vmlinuz" --tpm /dev/tpm0 $con
	refused no-hostdev "of the host is not deterministic" --kernel "$vmlinuz" --hostdev 00:1f.0 $con
	refused no-uefi "no UEFI" --kernel "$vmlinuz" --uefi $con
	refused no-usb "no USB" --kernel "$vmlinuz" --usb $con
	refused no-cdrom "--disk FILE,ro" --kernel "$vmlinuz" --cdrom debian.iso $con
	refused machine-unknown "versions 1 to 2" --kernel "$vmlinuz" --machine 3 $con
	refused unknown-option "--frobnicate" --kernel "$vmlinuz" --frobnicate $con
	refused missing-value "--memory" --kernel "$vmlinuz" $con --memory
	refused flag-with-value "--stats" --kernel "$vmlinuz" $con --stats=3
	refused extra-argument "surplus" --kernel "$vmlinuz" $con surplus
	refused missing-file "nothere" --kernel "$work/nothere" $con
	refused directory "directory" --kernel "$work/dir" $con
	refused fifo "regular file" --kernel "$work/fifo" $con
	refused device "regular file" --kernel /dev/zero $con
	refused truncated-600 "image.600" --kernel "$image.600" $con
	refused truncated-1000 "image.1000" --kernel "$image.1000" $con
	refused truncated-half "cut short" --kernel "$image.half" $con
	refused corrupt-size "0x1f4" --kernel "$image.corrupt" $con
	refused empty "image.empty" --kernel "$image.empty" $con
	refused noise "neither" --kernel "$image.noise" $con
	refused elf-short "image.elf" --kernel "$image.elf" $con
	refused elf-no-multiboot "multiboot" --kernel "$image.elf2" $con
	refused initrd-missing "nothere" --kernel "$vmlinuz" --initrd "$work/nothere" $con
	refused initrd-directory "directory" --kernel "$vmlinuz" --initrd "$work/dir" $con
	refused initrd-empty "empty" --kernel "$vmlinuz" --initrd "$image.empty" $con
	refused initrd-too-large "does not fit" --kernel "$vmlinuz" --initrd "$initramfs" --memory 80M $con
	refused two-initrds "one initrd" --kernel "$vmlinuz" --initrd "$initramfs" --initrd "$initramfs" $con
	refused memory-zero "--memory 0" --kernel "$vmlinuz" --memory 0 $con
	refused memory-odd "4096" --kernel "$vmlinuz" --memory 100000001 $con
	refused memory-junk "not a size" --kernel "$vmlinuz" --memory lots $con
	refused memory-negative "not a size" --kernel "$vmlinuz" --memory -5M $con
	refused memory-huge "at most 64G" --kernel "$vmlinuz" --memory 1000T $con
	refused memory-overflow "not a size" --kernel "$vmlinuz" --memory 99999999999999999999G $con
	refused memory-small "--memory" --kernel "$vmlinuz" --memory 16M $con
	refused cmdline-long "command line" --kernel "$vmlinuz" --append "$(head -c 3000 /dev/zero | tr '\0' x)" $con
	refused engine-unknown "engine" --kernel "$vmlinuz" --engine warp $con
	refused clock-unknown "--clock" --kernel "$vmlinuz" --clock sun $con
	refused net-unknown "network backend" --kernel "$vmlinuz" --net carrier:pigeon $con
	refused net-long "name of a network interface" --kernel "$vmlinuz" --net tap:averyveryverylongname $con
	refused net-missing "nosuchif0" --kernel "$vmlinuz" --net pcap:nosuchif0 $con
	refused net-mac "mac=" --kernel "$vmlinuz" --net none,mac=01:00:00:00:00:00 $con
	refused disk-missing "nothere" --kernel "$vmlinuz" --disk "$work/nothere" $con
	refused disk-directory "dir" --kernel "$vmlinuz" --disk "$work/dir" $con
	refused disk-word "'mode=fast' is not known" --kernel "$vmlinuz" --disk "$work/plain.img,mode=fast" $con
	refused disk-qcow2 "qcow2" --kernel "$vmlinuz" --disk "$work/qcow2.img" $con
	refused net-word "'mtu=1500' is not known" --kernel "$vmlinuz" --net none,mtu=1500 $con
	refused disk-odd "512" --kernel "$vmlinuz" --disk "$work/odd.img" $con
	refused digest-junk "--digest-every" --kernel "$vmlinuz" --digest-every often $con
	refused seed-junk "--seed" --kernel "$vmlinuz" --seed 0x12 $con
	refused console-directory "dir" --kernel "$vmlinuz" --console "$work/dir"
	refused console-nowhere "nowhere" --kernel "$vmlinuz" --console "$work/nowhere/file"
	refused console-fifo "nobody reads" --kernel "$vmlinuz" --console "$work/fifo"
	refused socket-over-file "not a socket" --kernel "$vmlinuz" --console "unix:$work/plain"
	refused socket-long "107" --kernel "$vmlinuz" --console "unix:/$(head -c 200 /dev/zero | tr '\0' x)"
}

# A pair of which a replica cannot start ends at once as well.
truncate -s 1M "$work/image-a"
refused_pair() {
	local test=$1 word=$2 status
	shift 2
	timeout 600 "$twinstep" pair "$@" >"$out" 2>"$err" </dev/null
	status=$?
	check "$test" "status $status: $(cat "$err")" \
		eval '[ "$status" -eq 2 ] && [ "$(grep -vc "the jail goes without" "$err")" -eq 1 ] && grep -qF -- "$word" "$err"'
}
refused_pair pair-kernel "nothere" --kernel "$work/nothere" --console none
refused_pair pair-backup-disk "image-b" --kernel "$vmlinuz" --disk "$work/image-%r" --console none

status=0
"$twinstep" frobnicate 2>"$err" || status=$?
check unknown-command "status $status: $(cat "$err")" [ "$status" -eq 2 -a "$(wc -l <"$err")" -eq 1 ]
"$twinstep" --version >"$out" 2>"$err"
check version "--version must say twinstep and a number" grep -qE '^twinstep [0-9]+\.[0-9]+$' "$out"
"$twinstep" version --json >"$out" 2>"$err"
check version-json "not JSON with a wire version: $(cat "$out")" python3 -c 'import json,sys; json.load(sys.stdin)["wire"]' <"$out"
"$twinstep" run --help >"$out" 2>"$err"
check help "--help must print to standard output and succeed" [ $? -eq 0 -a -s "$out" -a ! -s "$err" ]
exit $failed
