#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# RDMA beside TCP between two replicas in one virtual machine (SoftRoCE in QEMU, all of it software): round trips and throughput of the
# way alone; acknowledgements and system calls of a protected pair. Ratios and counts are what it can show.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=${BUILD:-build}
make -s BUILD="$build" "$build/twinstep" rdma-programs >/dev/null || exit 1
mkdir -p "$build/rdma-bench"
{
	echo "BENCH_RUNS=${BENCH_RUNS:-5}"
	cat tests/rdma/bench
} >"$build/rdma-bench/script"
RDMA_SCRIPT=$build/rdma-bench/script RDMA_IMAGE=rdma-bench RDMA_TIMEOUT=${RDMA_TIMEOUT:-1800} \
	tests/rdma/rdma.sh >"$build/rdma-bench/out"
result=$?
awk '
	function ratio(a, b) { return a > 0 && b > 0 ? sprintf("%.2f", a / b) : "-" }
	function number(x) { return x ~ /^[0-9]/ ? sprintf("%.1f", x) : x }
	function row(name, v) { printf "%-34s %10s %10s %10s %8s %8s\n", name, number(v[3]), number(v[4]), number(v[5]), ratio(v[4], v[3]), ratio(v[5], v[3]) }
	BEGIN {
		printf "%-34s %10s %10s %10s %8s %8s\n", "", "TCP, TLS", "RDMA", "RDMA clear", "/ TCP", "/ TCP"
		say["median-us"] = "round trip of a record, us"; say["p99-us"] = "99 % below, us"
		say["stream-mbyte"] = "state in frames, MB/s"; say["placed-mbyte"] = "pages placed, MB/s"
		say["ack-us"] = "acknowledgement in a pair, us"
	}
	/^row / { n = split($0, v, " "); for (i = n + 1; i <= 5; i++) v[i] = "-"; if ($2 == "placed-mbyte") v[3] = v[4] = "-"; row(say[$2], v) }
	/^calls / { sub(/^calls [^ ]* /, ""); calls[++ncalls] = $0 }
	/^fabric |^cpu |^not ok|^skip/ { print }
	END { for (i = 1; i <= ncalls; i++) print "system calls over " calls[i] }
' "$build/rdma-bench/out"
exit "$result"
