#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The exporter beside a running replica: metrics as promtool wants them (where it is installed), numbers as `twinstep
# status` has them, a page that needs nothing from outside, and nothing but reading. SCREENSHOTS=DIR: pictures of the page,
# by Chromium, as a desk and as a telephone show it.
# waits for the host: metrics truth ipv6
. "$(dirname "$0")/lib.sh"
in_namespace "$@"
need_guest
ip link set lo up
guest=exporter-$$
"$twinstep" keygen "$work/key"
"$twinstep" arbiter init "file:$work/arbiter"
"$twinstep" primary --no-wait --name "$guest" --kernel "$vmlinuz" --initrd "$initramfs" --memory 128M --console none \
	--append "$cmdline twinstep.run=\"while :; do :; done\"" --key-file "$work/key" --arbiter "file:$work/arbiter" \
	--listen "unix:$work/peer" 2>"$work/err" &
machine=$!
"$twinstep" exporter 2>"$work/exporter" &
exporter=$!
if command -v chromium >/dev/null; then
	python3 tests/e2e/page.py tools/exporter.html http://127.0.0.1:9177/ "$guest" "UNPROTECTED: alone" "live here" >"$work/page.out" 2>&1 &
	page=$!
else
	page=
	skip page "chromium is not installed"
fi
cleanup() { kill "$machine" "$exporter" ${exporter6:-} $page 2>/dev/null; wait 2>/dev/null; }
get() { python3 -c 'import sys, urllib.request as u; print(u.urlopen("http://127.0.0.1:9177" + sys.argv[1], timeout=30).read().decode(), end="")' "$1"; }
up() { get /metrics >"$work/metrics" 2>/dev/null && grep -q "^twinstep_guest_live{guest=\"$guest\"} 1" "$work/metrics"; }
check metrics "$(tail -n 2 "$work/exporter" "$work/err" 2>&1)" wait_for 30 up
if command -v promtool >/dev/null; then
	promtool check metrics <"$work/metrics" >"$work/promtool" 2>&1
	status=$?
	check promtool "$(head -n 3 "$work/promtool")" eval '[ $status -eq 0 ] && [ ! -s "$work/promtool" ]'
	promtool check rules docs/monitoring/alerts.yml >"$work/promtool" 2>&1
	status=$?
	check rules "$(head -n 3 "$work/promtool")" [ $status -eq 0 ]
	promtool test rules tests/e2e/alerts_test.yml >"$work/promtool" 2>&1
	status=$?
	check alerts "$(head -n 9 "$work/promtool")" [ $status -eq 0 ]
else
	skip promtool "promtool (package prometheus) is not installed"
fi
python3 tests/e2e/monitoring_names.py "$work/metrics" docs/monitoring/alerts.yml docs/monitoring/grafana.json "$work/asked.yml" >"$work/names" 2>&1
status=$?
check names "$(head -n 5 "$work/names")" [ $status -eq 0 ]
if command -v promtool >/dev/null; then
	promtool check rules "$work/asked.yml" >"$work/promtool" 2>&1
	status=$?
	check dashboard "$(head -n 3 "$work/promtool")" [ $status -eq 0 ]
fi
"$twinstep" top -b -n 2 --delay 300 >"$work/top" 2>&1
check top "$(cat "$work/top")" eval '[ "$(grep -cE "^$guest +alone +primary " "$work/top")" = 2 ] && [ "$(grep -c "UNPROTECTED: alone" "$work/top")" = 2 ]'
python3 tests/e2e/top.py "$twinstep" "$guest" || failed=1
"$twinstep" top --json -n 1 >"$work/top.json"
get /api/v1/machines >"$work/json"
"$twinstep" status "$guest" --json >"$work/status"
python3 - "$work/json" "$work/status" "$guest" "$work/top.json" <<-'EOF'
	import json, sys
	shown = [m for m in json.load(open(sys.argv[1]))["machines"] if m["name"] == sys.argv[3]][0]
	is_so = json.load(open(sys.argv[2]))
	top = [m for m in json.load(open(sys.argv[4]))["machines"] if m["name"] == sys.argv[3]][0]
	for key in ("state", "role", "live", "generation"):
	    assert shown["status"][key] == is_so[key] == top["status"][key], (key, shown["status"], is_so, top)
	assert 0 < shown["status"]["instructions"] <= is_so["instructions"]
EOF
check truth "what is shown is not what is" [ $? -eq 0 ]
get / >"$work/page"
check page "something from outside: $(grep -oE '(src|href)=[^ ]*' "$work/page")" eval \
	'grep -q "^<!doctype html>" "$work/page" && ! grep -qE "src=|href=|@import|https?://[^w]" "$work/page"'
code() { python3 -c 'import sys, http.client as h; c = h.HTTPConnection("127.0.0.1", 9177, timeout=30); c.request(*sys.argv[1:]); print(c.getresponse().status)' "$@"; }
check read-only "$(code POST /api/v1/machines)" [ "$(code POST /api/v1/machines)" = 405 ]
check nowhere "$(code GET /etc/passwd)" [ "$(code GET /../../etc/passwd)" = 404 ]
check address "an address that is none was taken" eval '! timeout 600 "$twinstep" exporter --listen here:1 2>"$work/err2" && grep -q "127.0.0.1:9177" "$work/err2"'
"$twinstep" exporter --listen '[::1]:9178' 2>"$work/exporter6" &
exporter6=$!
page6() { python3 -c 'import urllib.request as u; print(u.urlopen("http://[::1]:9178/metrics", timeout=30).read().decode())' | grep -q "^twinstep_guest_up{guest=\"$guest\"} 1"; }
check ipv6 "$(cat "$work/exporter6")" wait_for 10 page6
kill "$exporter6"
if [ -n "$page" ]; then
	wait "$page" || failed=1
	cat "$work/page.out"
fi
exit $failed
