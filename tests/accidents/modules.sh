#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody gave a multiboot program's modules by relative paths, and moved the files after it was recorded.
# waits for the host: protected failover
# beside others
. "$(dirname "$0")/../e2e/lib.sh"
root=$PWD
[ "${twinstep:0:1}" = / ] || twinstep=$root/$twinstep
declare -A pid
cleanup() { [ ${#pid[@]} -eq 0 ] || kill -9 "${pid[@]}" 2>/dev/null; wait 2>/dev/null; }
if ! ${CC:-gcc} -m32 -nostdlib -static -Wl,-Ttext=0x100000,-melf_i386,-n,--build-id=none -o "$work/guest.elf" \
	tests/accidents/modules.S; then
	not_ok build "cannot build the guest"
	exit 1
fi
mkdir "$work/here" "$work/there"
cd "$work/here" || exit 1
echo A >first.bin
echo B >second.bin
machine=(--kernel ../guest.elf --debug-console ../out --initrd ./first.bin --initrd "$work/here/second.bin,text=/boot/dom0 quiet,, please")
text=$'first.bin=A\n/boot/dom0 quiet, please=B'
prints() { [ "$(cat "$work/out")" = "$1" ]; }

# Recorded here, replayed there.
echo x | "$twinstep" record -o ../log "${machine[@]}" 2>../err
status=$?
check recorded "status $status: $(cat ../err)" [ $status -eq 0 ]
check strings "$(cat ../out)" prints "$text"$'\n'"$text"
"$twinstep" replay ../log --console none --debug-console ../out 2>../err
check replayed "status $?: $(cat ../err)" prints "$text"$'\n'"$text"
mv first.bin ../there/renamed.bin
mv second.bin ../there/
cd ../there || exit 1
"$twinstep" replay ../log --console none --debug-console ../out 2>../err
status=$?
check moved "status $status: $(cat ../err)" eval "[ $status -eq 2 ] && grep -q 'may have moved (use --initrd)' ../err"
"$twinstep" replay ../log --console none --debug-console ../out --initrd renamed.bin --initrd second.bin 2>../err
status=$?
check replayed-there "status $status: $(cat ../err)" eval '[ $status -eq 0 ] && prints "$text"$'"'\n'"'"$text"'
"$twinstep" replay ../log --console none --initrd second.bin --initrd renamed.bin 2>../err
status=$?
check swapped "status $status: $(cat ../err)" eval "[ $status -eq 2 ] && grep -q 'not the one that was recorded' ../err"
"$twinstep" log ../log --json 2>/dev/null | head -n 1 >../json
check shown "$(cat ../json)" grep -q '"initrd1":{.*"text":"/boot/dom0 quiet, please"' ../json

# A snapshot needs neither file.
cp renamed.bin ../here/first.bin
cp second.bin ../here/second.bin
cd ../here || exit 1
mkfifo ../keys
"$twinstep" run "${machine[@]}" --control "$work/control" --clock virtual <>../keys 2>../err &
pid[run]=$!
check seen "output of a guest that never sleeps does not come out: $(cat ../out)" wait_for 10 prints "$text"
"$twinstep" snapshot "$work/control" ../snapshot >/dev/null 2>../err2
check snapshot "$(cat ../err2)" [ -s ../snapshot ]
kill "${pid[run]}"
wait "${pid[run]}"
echo x | "$twinstep" run --restore ../snapshot --debug-console ../out 2>../err
status=$?
check restored "status $status: $(cat ../err)" eval '[ $status -eq 0 ] && prints "$text"'

# A pair: after the failover the guest has them still.
"$twinstep" keygen ../key
"$twinstep" arbiter init "file:$work/arbiter" >/dev/null
options=(--key-file ../key --arbiter "file:$work/arbiter" --timeout 5000)
"$twinstep" primary "${options[@]}" "${machine[@]}" --console none --events ../events --listen "unix:$work/peer" 2>../err &
pid[primary]=$!
mkfifo ../typed
"$twinstep" backup "${options[@]}" --connect "unix:$work/peer" --connect-wait 30000 --events ../events2 \
	--debug-console ../out2 <>../typed >/dev/null 2>../err2 &
pid[backup]=$!
check protected "$(cat ../err ../err2)" wait_for 30 grep -q '"protected"' ../events
wait_for 10 prints "$text"
kill -9 $(cat "/proc/${pid[primary]}/task/${pid[primary]}/children")
check failover "$(cat ../err2)" wait_for 30 grep -q '"live"' ../events2
echo x >../typed
wait "${pid[backup]}"
status=$?
check pair "status $status: $(cat ../err2 ../out2)" eval "[ $status -eq 0 ] && tail -n 2 ../out2 | cmp -s - <(echo '$text')"

# Recordings of log version 2, in which a module has a path and no string: with the path that the guest saw they replay
# wherever the files are now, and one whose guest saw a relative path is refused by name.
cd "$root" || exit 1
echo A >"$work/there/module"
old=(--kernel tests/record/modules2.elf --initrd "$work/there/module" --console none --debug-console "$work/out")
"$twinstep" replay tests/record/modules2.log "${old[@]}" 2>"$work/err"
status=$?
check version-2 "status $status: $(cat "$work/err")" eval '[ $status -eq 0 ] && prints /srv/guest/first.bin=A'"$'\n'"'/srv/guest/first.bin=A'
"$twinstep" replay tests/record/modules2-relative.log "${old[@]}" 2>"$work/err"
status=$?
check version-2-relative "status $status: $(cat "$work/err")" eval "[ $status -eq 2 ] && grep -q 'log version 2, which does not keep' '$work/err'"
exit $failed
