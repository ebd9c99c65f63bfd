#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each metric that the Grafana dashboard or an alert rule names is one that /metrics has, and no panel asks for nothing. The
runbook has each alert and each alarm of host/guest_alarms.c. What the dashboard asks is written to ASKED, as rules that promtool can judge.

    monitoring_names.py METRICS RULES DASHBOARD ASKED"""
import json
import re
import sys

metrics, rules, dashboard, asked = sys.argv[1:]
there = set(re.findall(r"^# TYPE (\S+) ", open(metrics).read(), re.M))
wrong = []
for path in rules, dashboard:
    named = set(re.findall(r"\btwinstep_[a-z_]+", open(path).read()))
    if not named:
        wrong.append("%s names no metric" % path)
    wrong += ["%s names %s, which /metrics has not" % (path, n) for n in sorted(named - there)]
whole = json.load(open(dashboard))
panels = whole["panels"]
asks = [t["expr"] for p in panels for t in p["targets"]] + [a["expr"] for a in whole["annotations"]["list"]]
wrong += ["%s asks for what %s has not: $%s" % (dashboard, "templating", n) for n in
          set(re.findall(r"\$\{?(\w+)", json.dumps(whole))) - {v["name"] for v in whole["templating"]["list"]} - {"__all", "__rate_interval"}]
with open(asked, "w") as f:
    json.dump({"groups": [{"name": "dashboard", "rules": [{"record": "asked:%d" % i, "expr": e.replace("$guest", "web")}
                                                          for i, e in enumerate(asks)]}]}, f)
wrong += ["panel %r asks for nothing" % p["title"] for p in panels if not any("twinstep_" in t["expr"] for t in p["targets"])]
runbook = open("docs/operations.md").read()
for name in re.findall(r"alert: (\w+)", open(rules).read()):
    if "#### %s\n" % name not in runbook:
        wrong.append("docs/operations.md says nothing of the alert %s" % name)
for alarm in re.findall(r'json_s(?:tring|printf)\("([^"]+)"', open("host/guest_alarms.c").read()):
    if not re.search(r"^\| `" + re.sub(r"%[.0-9a-z]+", "[A-Z]+", alarm), runbook, re.M):
        wrong.append("docs/operations.md says nothing of the alarm %r" % alarm)
places = [(x, y) for p in panels for g in [p["gridPos"]] for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])]
if len(places) != len(set(places)):
    wrong.append("two panels of %s lie on each other" % dashboard)
print("\n".join(wrong) or "%d metrics, %d panels" % (len(there), len(panels)))
sys.exit(bool(wrong))
