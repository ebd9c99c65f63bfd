#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a guest spends on TCP in bulk, in instructions, by the profile of its kernel: what offloads of the network card could
# take away. BENCH_MIB (64) each way; the difference to a run that transfers nothing.
if [ "${TWINSTEP_BENCH_INSIDE:-}" != 1 ]; then
	flags=(--net)
	[ "$(id -u)" -eq 0 ] || flags+=(--user --map-root-user)
	TWINSTEP_BENCH_INSIDE=1 exec unshare "${flags[@]}" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
mib=${BENCH_MIB:-64}
ip link set lo up
ip tuntap add tap0 mode tap && ip addr add 10.77.3.1/24 dev tap0 && ip link set tap0 up
${CC:-cc} -O2 -static -s -o "$work/bulk" tools/bench/bulk.c
cp "$initramfs" "$work/initramfs"
echo "file bin/bulk 0755 $work/bulk" | "$build/guest-pkgs/newc" >>"$work/initramfs"
initramfs=$work/initramfs

# guest NAME COMMAND [OPTION...]
guest() {
	twinstep_command "twinstep.ip=10.77.3.2/24 twinstep.run=\"$2\"" --net tap:tap0 --console "$work/$1.console" --stats "${@:3}"
	timeout 1200 "${cmd[@]}" </dev/null >"$work/$1" 2>>"$work/err"
}
guest symbols "cat /proc/kallsyms"
tr -d '\r' <"$work/symbols.console" | tr '\t' ' ' | grep -a '^[0-9a-f]\{16\} ' | sort >"$work/map"
python3 - "$mib" <<-'PY' &
	import socket, sys
	s = socket.socket()
	s.bind(("10.77.3.1", 9000))
	s.listen()
	with s.accept()[0] as c:
	    while c.recv(1 << 18):
	        pass
	with s.accept()[0] as c:
	    c.sendall(bytes(int(sys.argv[1]) << 20))
PY
background=$!
for way in nothing send recv; do
	command="bulk $way 10.77.3.1 9000 $mib"
	[ $way != nothing ] || command=true
	guest $way "$command" --profile "$work/$way.profile" --symbols "$work/map" || {
		echo "bulk: $way failed: $(tail -n 2 "$work/err" "$work/$way.console")" >&2
		exit 1
	}
done

# Samples of one run by what they are in, less those of the run that transfers nothing.
shares() {
	awk -v mib="$mib" '
		function kind(name) {
			if (name ~ /csum/) return "checksums"
			if (name ~ /gso|skb_segment/) return "segmentation"
			if (name ~ /virtio|virtqueue|vring|vp_|start_xmit|free_old_xmit|receive_buf|try_fill_recv|skb_xmit|detach_buf/) return "the driver"
			return "the rest"
		}
		{ n = $NF; sub(/ [0-9]+$/, ""); sub(/.*;/, ""); sub(/ *\[.*/, "") }
		FNR == NR { all -= n; part[kind($0)] -= n; next }
		{ all += n; part[kind($0)] += n }
		END {
			printf "%-6s %9.0f instructions for each MiB:", "'"$1"'", all * 100003 / mib
			split("checksums,segmentation,the driver,the rest", order, ",")
			for (i = 1; i <= 4; i++) printf("%s %s %.1f %%", (i > 1 ? "," : ""), order[i], 100 * part[order[i]] / all)
			print ""
		}' "$work/nothing.profile" "$work/$1.profile"
}
shares send
shares recv
[ -z "${BENCH_KEEP:-}" ] || cp "$work"/*.profile "$BENCH_KEEP"
