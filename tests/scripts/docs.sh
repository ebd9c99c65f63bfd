#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The documentation names what there is: the manual page and --help the same commands, and for each the same options, and
# README.md and docs/ only files and make targets that exist, in lines of at most 100 columns.
# beside others
set -u
cd "$(dirname "$0")/../.."
twinstep=${BUILD:-build}/twinstep
bad=0

# missing NAME "where" LIST: one failure that names what is in LIST, if anything
missing() {
	[ -z "$3" ] && {
		echo "ok docs.$1"
		return
	}
	echo "not ok docs.$1: $2: $(echo "$3" | tr '\n' ' ')"
	bad=1
}
if [ ! -x "$twinstep" ]; then
	echo "not ok docs: no $twinstep"
	exit 1
fi
commands=$("$twinstep" help | sed -n 's/^  \([a-z-]*\)  .*/\1/p')
manual=$(sed 's/\\-/-/g; s/\\f[A-Z]//g' docs/twinstep.1)
missing manual-commands "not in docs/twinstep.1" \
	"$(for c in $commands; do grep -qE "^\.B[RI]* \"?$c( |\"|$)" <<<"$manual" || echo "$c"; done)"
missing options "differs" "$(python3 tests/scripts/manual_options.py "$twinstep" docs/twinstep.1 2>&1)"

pages=(README.md docs/*.md)
missing links "no such file" "$(for page in "${pages[@]}"; do
	grep -oE '\]\([^)#:]+' "$page" | cut -c 3- | while read -r to; do
		[ -e "$(dirname "$page")/$to" ] || echo "$page: $to"
	done
done)"
missing files "no such file" "$(for page in "${pages[@]}"; do
	grep -oE '`(base|docs|host|hypervisor|isolation|net|record|replica|tests|tools)/[[:alnum:]_./*-]*`' "$page" | tr -d '\`' |
		while read -r path; do
			compgen -G "$path" >/dev/null || echo "$page: $path"
		done
done)"
missing width "more than 100 columns" "$(LC_ALL=C.UTF-8 grep -nE '^.{101}' "${pages[@]}" CONTRIBUTING.md | grep -vE '^[^:]*:[0-9]+:(\||    )' | cut -d: -f1,2)"
eval "$(sed -n '/^needed=(/,/^)/p; /^optional=(/p' tools/setup.sh)"
missing packages "not in docs/dependencies.md" "$(for package in "${needed[@]}" "${optional[@]}"; do
	grep -qE "(^| )$package( |,)" docs/dependencies.md || echo "$package"
done)"
missing make-targets "no such target" "$(for page in "${pages[@]}"; do
	grep -oE '(`|^    )make [a-z][a-z-]*' "$page" | sed 's/.*make //' | while read -r target; do
		grep -qE "^([a-z-]+ )*$target( [a-z-]+)*:" Makefile tests/*/rules.mk || echo "$page: $target"
	done
done)"
# Each alarm has a section with its cause and cure, and no section is of an alarm that there is not.
missing alarms "not both in docs/monitoring/alerts.yml and, with cause and cure, in docs/operations.md" "$(python3 - <<-'END'
	import re
	rules = set(re.findall(r"^ *- alert: (\w+)", open("docs/monitoring/alerts.yml").read(), re.M))
	sections = re.findall(r"^#### (Twinstep\w+)\n(.*?)(?=^##)", open("docs/operations.md").read(), re.M | re.S)
	told = {name for name, text in sections if "\n- Cause: " in text and "\n- Cure: " in text}
	print("\n".join(sorted(rules ^ told)), end="")
END
)"
exit $bad
