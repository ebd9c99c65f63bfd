#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots the VT-x test image in Bochs with a script inside and prints what the script printed.
# usage: tests/vtx/boot.sh OUT SCRIPT [FILE...]     FILEs go to /guest inside
#   VTX_TTY   terminal for the serial line
#   MODEL   Bochs' CPU model (broadwell_ult)      MEGS    memory (512)      VTX_CPU   seconds of CPU time (600)
#   VTX_TIMEOUT   seconds (1700: a busy host)      CPUS    processors (1)      APPEND    for the kernel's command line
#   VTX_KERNEL   see build.sh      VTX_BIOS   firmware      VTX_BOCHS   another Bochs, without debugger and display
set -euo pipefail
here=$(dirname "$0")
out=$(realpath "${1:?usage: $0 OUT SCRIPT [FILE...]}") script=$2
shift 2
image=$out/vtx${VTX_KERNEL:+-$VTX_KERNEL}
work=$(mktemp -d "$image/run.XXXXXX")
trap '[ -n "${VTX_KEEP:-}" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir "$work/iso"
{
	cat "$image/list"
	echo "file script 0755 $script"
	for f in "$@"; do
		echo "file guest/$(basename "$f") 0644 $f"
	done
} | "$image/newc" >"$work/iso/initrd"
cp "$image/vmlinuz" /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/"
cat >"$work/iso/isolinux.cfg" <<-END
	default vtx
	prompt 0
	label vtx
	kernel vmlinuz
	append initrd=initrd console=ttyS0,115200 quiet nokaslr mitigations=off cryptomgr.notests panic=-1 ${APPEND:-}
END
xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
	-boot-info-table "$work/iso" 2>/dev/null
sed "s,@DIR@,$work,; s,@MODEL@,${MODEL:-broadwell_ult},; s,@MEGS@,${MEGS:-512},; s,@CPUS@,${CPUS:-1},; s,@QUANTUM@,${QUANTUM:-32},; s,@BIOS@,${VTX_BIOS:-/usr/share/bochs/BIOS-bochs-latest}," \
	"$here/bochsrc.in" >"$work/bochsrc"
# With VTX_TTY the serial line is that terminal.
[ -z "${VTX_TTY:-}" ] || sed -i "s,^com1:.*,com1: enabled=1\, mode=term\, dev=$VTX_TTY," "$work/bochsrc"
echo c >"$work/rc.dbg"
bochs=(bochs-bin -rc "$work/rc.dbg")
if [ -n "${VTX_BOCHS:-}" ]; then
	bochs=("$VTX_BOCHS")
	sed -i 's,^display_library:.*,display_library: nogui,; /^plugin_ctrl:/d; /^debugger_log:/d; s/ quantum=[0-9]*,//' "$work/bochsrc"
fi
# In a process group of its own, Bochs would be stopped when it changes the terminal.
foreground=${VTX_TTY:+--foreground}
# Bochs ends with status 1 also after a clean power-off: what it printed decides.
(ulimit -t "${VTX_CPU:-600}" && exec timeout $foreground -k 5 "${VTX_TIMEOUT:-1700}" "${bochs[@]}" -q -f "$work/bochsrc" </dev/null >"$work/out.txt" 2>&1) || true
if ! grep -q '^vtx-begin' "$work/out.txt"; then
	echo "not ok vtx.boot: the kernel did not reach the test script: $(tail -n 1 "$work/serial.txt" 2>/dev/null)"
	[ -z "${VTX_DEBUG:-}" ] || tail -n 30 "$work/out.txt" "$work/serial.txt" "$work/bochs.log"
	exit 1
fi
sed -n '/^vtx-begin/,/^vtx-end/p' "$work/out.txt" | tr -d '\r' | sed '/^vtx-/d'
# What is said after the script's end, when the host goes down, is there only.
[ -n "${VTX_TTY:-}" ] || grep -aE 'BUG|Oops|Call Trace|invalid opcode|general protection|RIP: 0010' "$work/serial.txt" | sed 's/^/kernel: /' || true
if ! grep -q '^vtx-end' "$work/out.txt"; then
	echo "not ok vtx.end: the test script did not end: $(tail -n 1 "$work/serial.txt" 2>/dev/null)"
	[ -z "${VTX_DEBUG:-}" ] || tail -n 30 "$work/serial.txt" "$work/bochs.log"
	exit 1
fi
