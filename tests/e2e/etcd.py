# SPDX-License-Identifier: GPL-2.0-or-later
"""The arbiter in etcd, against three real members: see etcd.sh."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, "tests/etcd")
from cluster import BUILD, PATIENCE, Asker, Cluster, Relay  # noqa: E402

work, bad = sys.argv[1], 0
STOPPED = signal.SIGSTOP


def check(name, good, why=""):
    global bad
    print("ok etcd.%s" % name if good else "not ok etcd.%s: %s" % (name, why), flush=True)
    bad |= not good


def spec(prefix, *ports, options=""):
    return "etcd://%s/%s%s" % (",".join("127.0.0.1:%d" % p for p in ports), prefix, options)


def interface(c):
    env = dict(os.environ, ARBITER_ETCD="etcd://127.0.0.1:%d,127.0.0.1:%d" % tuple(c.ports[:2]))
    out = subprocess.run([BUILD + "/tests/replica/test_arbiter"], env=env, stdout=subprocess.PIPE, text=True)
    check("interface", out.returncode == 0, " ".join(x for x in out.stdout.splitlines() if x.startswith("not")))


def race(c, prefix, generations, during, relays=()):
    """Two replicas ask for each generation at once; each has one owner, and both are told the same."""
    ports = [r.port for r in relays] or c.ports
    a = [Asker(spec(prefix, *ports)), Asker(spec(prefix, *reversed(ports)))]
    won, why, slowest = [], "", 0
    for g in generations:
        results = [None, None]

        def insist(i):
            results[i] = a[i].insist("take %d %d" % (g, i + 1))
        threads = [threading.Thread(target=insist, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        during(g)
        for t in threads:
            t.join()
        if None in results or results[0][0] + results[1][0] != 1:
            why += "generation %d: %s; " % (g, results)
        else:
            won.append((g, 1 if results[0][0] else 2))
            slowest = max(slowest, results[0][1], results[1][1])
    for g, owner in won:
        if a[0].ask("owner %d" % g)[:2] != (1, owner):
            why += "generation %d has another owner than %d; " % (g, owner)
    for x in a:
        x.close()
    return why, slowest


def members_die(c):
    """The leader, another one, in turn, and each back again: a majority is always there."""
    def during(g):
        if g % 3 == 1:
            c.victim = c.leader() if g % 2 else (c.leader() + 1) % 3
            c.kill(c.victim)
        elif g % 3 == 0:
            c.start(c.victim)
            c.wait((c.victim,))
    why, slowest = race(c, "die", range(1, 13), during)
    check("members-die", not why, why)
    print("# the slowest answer took %d ms" % slowest)


def frozen(c):
    """A member that is stopped takes connections and never answers: the next one is asked."""
    a = Asker(spec("frozen", *c.ports))
    a.ask("take 1 1")
    victim = (c.leader() + 1) % 3
    c.kill(victim, STOPPED)
    times, results = [], []
    for g in range(2, 6):
        b = Asker(spec("frozen", *(c.ports[victim:] + c.ports[:victim])))
        r = b.ask("take %d 1" % g)
        results.append(r[0])
        times.append(r[2])
        b.close()
    c.kill(victim, signal.SIGCONT)
    a.close()
    check("frozen-member", results == [1] * 4 and max(times) < 2000, "%s in %s ms" % (results, times))


def no_majority(c):
    """Nobody can tell, and nothing is taken; when the majority is back, the answer comes."""
    a = Asker(spec("majority", *c.ports))
    first = a.ask("take 1 1")[0]
    for i in (0, 1):
        c.kill(i)
    lost = a.ask("take 2 1")
    c.start(0)
    back = a.insist("take 2 1")[0]
    c.start(1)
    c.wait()
    check("no-majority", first == 1 and lost[0] == -11 and back == 1, "%d, then %s, then %d" % (first, lost, back))
    a.close()


def lost_answers(c):
    """The transaction takes effect and its answer is cut off: the owner is read back, nothing is taken twice."""
    relay = Relay(c.ports[0])
    a, b, why = Asker(spec("lost", relay.port)), Asker(spec("lost", *c.ports)), ""
    for g in range(1, 9):
        relay.cut = True
        before = relay.swallowed
        lost = a.ask("take %d 1" % g)
        relay.cut = False
        if g % 2:  # the other one asks first: it is told that there is an owner
            other = b.insist("take %d 2" % g)[0]
            again = a.insist("take %d 1" % g)[0]
        else:
            again = a.insist("take %d 1" % g)[0]
            other = b.insist("take %d 2" % g)[0]
        if lost[0] >= 0 or relay.swallowed == before or again != 1 or other != 0:
            why += "generation %d: %s, %d swallowed, then %d, the other one %d; " % (
                g, lost, relay.swallowed - before, again, other)
    check("lost-answers", not why, why)
    a.close()
    b.close()


def slow(c):
    """200 ms each way: more than the moment after which the next member is asked."""
    relays = [Relay(p) for p in c.ports]
    for r in relays:
        r.delay = 0.2
    why, slowest = race(c, "slow", range(1, 4), lambda g: None, relays)
    check("slow-links", not why and slowest < 5000, why or "%d ms" % slowest)


def forgets(c):
    """A key that is gone is no generation to be taken again."""
    a = Asker(spec("forgets", *c.ports))
    taken = [a.ask("take %d 1" % g)[0] for g in (1, 2, 3)]
    c.ctl("del", "forgets/generation/", "--prefix")
    r = a.ask("take 4 1")
    check("forgets", taken == [1, 1, 1] and r[0] == -1 and "not the next" in r[3], "%s, then %s" % (taken, r))
    a.close()


def keeper_killed(c):
    """The process that asks is killed: the next one is there at once."""
    a, why = Asker(spec("keeper", *c.ports)), ""
    for g in range(1, 4):
        if a.insist("take %d 1" % g)[0] != 1:
            why += "generation %d; " % g
        pids = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(child(a.p.pid))], stdout=subprocess.PIPE, text=True)
        if "courier" not in pids.stdout:
            why += "no process that asks: %s; " % pids.stdout
            break
        os.kill(int(pids.stdout.split()[0]), signal.SIGKILL)
    check("keeper-killed", not why, why)
    a.close()


def child(pid):
    return int(open("/proc/%d/task/%d/children" % (pid, pid)).read().split()[0])


def two_clusters(c):
    """Endpoints of two clusters would give each generation away twice."""
    os.mkdir(work + "/other")
    other = Cluster(work + "/other")
    a = Asker(spec("two", c.ports[0], other.ports[0]))
    first = a.ask("take 1 1")
    c.kill(0, STOPPED)
    r = a.ask("take 2 1")
    c.kill(0, signal.SIGCONT)
    check("two-clusters", first[0] == 1 and r[0] < 0 and "another cluster" in r[3], "%s, then %s" % (first, r))
    a.close()
    other.close()


def login(c):
    """A user and a password, that fail and that serve; logins that are forgotten."""
    with open(work + "/login", "w") as f:
        f.write("twin:secret\n")
    os.chmod(work + "/login", 0o600)
    for args in (("user", "add", "root:root"), ("user", "add", "twin:secret"), ("role", "add", "r"),
                 ("role", "grant-permission", "r", "--prefix=true", "readwrite", "login/"),
                 ("user", "grant-role", "twin", "r"), ("user", "grant-role", "root", "root"), ("auth", "enable")):
        out = c.ctl(*args)
        if out.returncode:
            check("login", False, out.stdout)
            return
    none = Asker(spec("login", *c.ports)).ask("take 1 1")
    a = Asker(spec("login", *c.ports, options=",login=%s/login" % work))
    taken = a.ask("take 1 1")
    for i in range(3):  # simple tokens live in a member's memory
        c.kill(i)
        c.start(i)
        time.sleep(0.5)
    again = a.insist("take 2 1")
    foreign = Asker(spec("foreign", *c.ports, options=",login=%s/login" % work)).ask("take 1 1")
    c.ctl("--user", "root:root", "auth", "disable")
    c.wait()
    good = none[0] < 0 and taken[0] == 1 and again[0] == 1 and foreign[0] < 0
    check("login", good, "without: %s, with: %s, again: %s, elsewhere: %s" % (none, taken, again, foreign))
    a.close()


def start_replica(c, name, *args):
    p = subprocess.Popen([BUILD + "/twinstep", *args, "--insecure", "--timeout", "1000", "--console", "none",
                          "--listen", "unix:%s/%s.sock" % (work, name), "--control", "%s/%s.ctl" % (work, name),
                          "--events", "%s/%s.events" % (work, name), "--arbiter", spec("pair", *c.ports)],
                         stdin=subprocess.DEVNULL, stderr=open("%s/%s.log" % (work, name), "w"))
    return p


def has_event(name, event, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if any(json.loads(x)["event"] == event for x in open("%s/%s.events" % (work, name)) if x.endswith("\n")):
                return True
        except FileNotFoundError:
            pass
        time.sleep(0.05)
    return False


def pair(c):
    """A jailed pair: the primary is killed without a majority of etcd; the backup waits, and lives when that is back."""
    a = start_replica(c, "a", "primary", "--no-wait", "--kernel", BUILD + "/guest/vmlinuz", "--initrd",
                      BUILD + "/guest/initramfs", "--append", "console=ttyS0 quiet")
    b = start_replica(c, "b", "backup", "--connect", "unix:%s/a.sock" % work)
    protected = has_event("a", "protected")
    for i in (0, 1):
        c.kill(i)
    a.kill()
    asks = has_event("b", "asking")
    early = has_event("b", "live", 1)
    c.start(0)
    live = has_event("b", "live")
    c.start(1)
    c.wait()
    check("pair", protected and asks and not early and live,
          "protected %s, asks %s, live too early %s, live %s: %s" % (protected, asks, early, live,
                                                                   open(work + "/b.log").read()))
    for p in (a, b):
        p.kill()
        p.wait()


def certificates():
    tls = work + "/tls"
    os.mkdir(tls)
    os.mkdir(work + "/secure")
    subprocess.run(["tests/etcd/certificates.sh", tls], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    c = Cluster(work + "/secure", tls)
    full = ",ca=%s/ca.pem,cert=%s/client.pem,key=%s/client.key" % (tls, tls, tls)
    good = Asker(spec("tls", *c.ports, options=full)).ask("take 1 1")
    nobody = Asker(spec("tls", *c.ports, options=",ca=%s/ca.pem" % tls)).ask("take 2 1")
    stranger = Asker(spec("tls", *c.ports, options=full.replace("ca.pem", "other-ca.pem"))).ask("take 2 1")
    plain = Asker(spec("tls", *c.ports)).ask("take 2 1")
    after = Asker(spec("tls", *c.ports, options=full)).ask("last")
    check("certificates", good[0] == 1 and max(nobody[0], stranger[0], plain[0]) < 0 and after[1] == 1,
          "%s, without: %s, of a stranger: %s, in clear: %s, last: %s" % (good, nobody, stranger, plain, after))
    c.close()


os.mkdir(work + "/cluster")
cluster = Cluster(work + "/cluster")
try:
    for test in (interface, members_die, frozen, no_majority, lost_answers, slow, forgets, keeper_killed, two_clusters,
                 pair, login):
        start = time.monotonic()
        test(cluster)
        print("# %s: %.1f s" % (test.__name__, time.monotonic() - start))
finally:
    cluster.close()
certificates()
sys.exit(bad)
