#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nothing in the deterministic machine reaches the host's time, randomness, files, sockets or threads: the objects made
# from hypervisor/ (the VT-x engine and guest memory's memfd apart) refer to no such function, nor to base/host_clock.
# beside others
set -u
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
forbidden='host_clock_ns|host_mono_ns|host_mono_ms|host_sleep_ns|time|gettimeofday|clock_gettime|clock|nanosleep|usleep|sleep|rand|random|srand|getrandom|getentropy|drand48|open|openat|fopen|read|write|pread|pwrite|socket|connect|send|recv|sendto|recvfrom|pthread_create|fork|getpid|getenv|localtime|gmtime|mktime'
bad=0 n=0
for o in $(find "$build/obj/hypervisor" -name '*.o' ! -path '*/vmx/*' ! -name memory.o 2>/dev/null | sort); do
	[ -f "$(echo "${o#"$build"/obj/}" | sed 's/\.o$/.c/')" ] || continue
	n=$((n + 1))
	found=$(nm -u "$o" | awk '{print $2}' | sed 's/@.*//' | grep -xE "$forbidden" | tr '\n' ' ')
	[ -z "$found" ] && continue
	echo "not ok purity.$(basename "$o" .o): uses ${found% }"
	bad=1
done
if [ "$n" -eq 0 ]; then
	echo "not ok purity: no objects under $build/obj/hypervisor"
	exit 1
fi
[ "$bad" -ne 0 ] || echo "ok purity.hypervisor ($n objects)"
exit $bad
