#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# All benchmarks, or those named, of boot cpu spec memory redis exits record record-redis campaign walk pair disks join jail neighbours rdma.
# usage: tools/bench/run.sh [NAME...]
# BENCH_RUNS (5): runs of each side, of which the median is shown.
set -u
here=$(dirname "$0")
[ $# -gt 0 ] || set -- boot cpu spec memory redis exits record record-redis campaign walk pair disks join jail neighbours rdma
command -v qemu-system-x86_64 >/dev/null || echo "qemu-system-x86_64 is not installed: no comparison"
echo "host: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs; load $(cut -d' ' -f1 /proc/loadavg)"
for name in "$@"; do
	"$here/$name.sh" || exit
done
