#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `twinstep doctor` on a host where one thing at a time is broken: it names that thing, says what to do, and finds the rest in
# order (the table is in doctor.py; SHOW=1 prints the answers). What needs a replica is in tests/host/test_doctor.c and up.py.
# waits for the host: *
# beside others
# mostly waits
. "$(dirname "$0")/lib.sh"
need_guest
if [ "$(id -u)" -ne 0 ] || ! unshare --net --mount --uts true 2>/dev/null; then
	skip all "needs root and namespaces"
	exit 0
fi
for state in good bad; do
	${CC:-cc} -shared -fPIC -D_GNU_SOURCE -D$state -x c -o "$work/$state.so" - <<-'END'
		#include <sys/timex.h>
		int adjtimex(struct timex *t)
		{
		#ifdef good
			*t = (struct timex){ .maxerror = 1000 };
			return TIME_OK;
		#else
			*t = (struct timex){ .status = STA_UNSYNC };
			return TIME_ERROR;
		#endif
		}
	END
done
unshare --net --mount --uts sh -c 'hostname alpha && ip link set lo up && mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec python3 tests/e2e/doctor.py "$@"' \
	sh "$(realpath "$twinstep")" "$(realpath "$build/guest")" "$work" || failed=1
exit $failed
