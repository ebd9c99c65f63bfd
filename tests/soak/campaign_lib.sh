# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by campaigns on disks: runs $keep/plan.json, of $count experiments, twice (once with CAMPAIGN_ONCE) with $jobs
# jobs, and compares; results are in $keep/a.db and $work/a.csv, the page in $keep/page.html; prints the table.
# boot_disk SCRIPT: $keep/boot, from which the guest's kernel boots with $work/initramfs and runs the script. Leaves with a
# line where that disk cannot be made.
boot_disk() {
	mkdir -p "$work/root/boot/grub"
	cp "$vmlinuz" "$work/root/boot/vmlinuz"
	cp "$work/initramfs" "$work/root/boot/initrd.img"
	cat >"$work/root/boot/grub/grub.cfg" <<-END
		linux /boot/vmlinuz console=ttyS0 quiet cryptomgr.notests mitigations=off twinstep.run="${1//\$/\\\$}"
		initrd /boot/initrd.img
		boot
	END
	tools/bootdisk.py "$keep/boot" --root "$work/root" 2>"$work/err" || { not_ok image "$(cat "$work/err")"; exit 1; }
}
campaign() { "$twinstep" campaign "$@" </dev/null; }
run_twice() {
	local try began
	for try in a b; do
		began=$SECONDS
		campaign run "$keep/plan.json" -o "$keep/$try.db" --jobs "$jobs" 2>"$work/err"
		check "run-$try" "status $?: $(tail -n 2 "$work/err")" grep -q "$count experiments are done" "$work/err"
		echo "$count experiments in $((SECONDS - began)) s with $jobs jobs"
		campaign report "$keep/$try.db" --csv >"$work/$try.csv"
		[ -z "${CAMPAIGN_ONCE:-}" ] || break
	done
	[ -n "${CAMPAIGN_ONCE:-}" ] || check same-outcomes "$(diff "$work/a.csv" "$work/b.csv" | head -n 5)" cmp -s "$work/a.csv" "$work/b.csv"
	campaign report "$keep/a.db" --html "$keep/page.html"
}
