#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion for bash, as a shell uses it: commands, options, values of options.
# beside others
set -u
cd "$(dirname "$0")/../.."
twinstep=${BUILD:-build}/twinstep
bad=0
if [ ! -x "$twinstep" ]; then
	echo "not ok completion: no $twinstep"
	exit 1
fi
script=$("$twinstep" completion bash) && eval "$script" || {
	echo "not ok completion.script: bash does not take it"
	exit 1
}

# completes TEST "EXPECTED..." WORD...: the last word is being typed.
completes() {
	local test=$1 expected=$2 got
	shift 2
	COMP_WORDS=(twinstep "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_twinstep
	got=${COMPREPLY[*]-}
	if [ "$got" = "$expected" ]; then
		echo "ok completion.$test"
	else
		echo "not ok completion.$test: '$got', not '$expected'"
		bad=1
	fi
}
completes command "record replay resize" re
completes option "--control --clock --cloud-init --console --cpu-weight --cpu-max --cgroup" run --c
completes own-option "--from-checkpoint" replay --fr
completes short "-o" record -o
completes not-refused "" replay --app
completes value "host" run --clock h
completes value-equals "protect" run --speculation = pro
completes all-values "primary backup halt" pair --on-divergence ""
completes file "" run --kernel vm
completes argument "" log some
# Every command and its every option is offered.
for c in $("$twinstep" help | sed -n 's/^  \([a-z-]*\)  *[a-z].*/\1/p'); do
	COMP_WORDS=(twinstep "$c" --) COMP_CWORD=2 COMPREPLY=()
	_twinstep
	# shellcheck disable=SC2207
	have=($("$twinstep" "$c" --help | sed -n 's/^  \(-[a-z], \)\{0,1\}\(--[a-z-]*\).*/\2/p'))
	if [ ${#have[@]} -eq 0 ] || [ "${COMPREPLY[*]}" != "${have[*]}" ]; then
		[ "$(printf '%s\n' "${COMPREPLY[@]}" | sort)" = "$(printf '%s\n' "${have[@]}" | sort)" ] && continue
		echo "not ok completion.$c: '${COMPREPLY[*]-}', not '${have[*]-}'"
		bad=1
	fi
done
[ "$bad" -ne 0 ] || echo "ok completion.all-options"
exit $bad
