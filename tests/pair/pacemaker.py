# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that two nodes of a real Pacemaker with corosync (knet over veth) have as a promotable clone.

    tests/pair/pair.sh pacemaker.py

A node is a host name, a network namespace, processes of its own, and /run, /dev/shm and state directories of its own. The
guest counts; what is asked of the cluster, and what is done to a node, must not cost it more than its place."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, MACHINE, Failure, TWINSTEP, sh  # noqa: E402

PATIENCE = 240
NODES = {"alpha": "10.76.0.1", "beta": "10.76.0.2"}
COROSYNC = """totem {
  version: 2
  cluster_name: twinstep
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: 5000
}
nodelist {
%s}
quorum {
  provider: corosync_votequorum
  two_node: 1
  wait_for_all: 0
}
logging {
  to_logfile: yes
  logfile: /var/log/corosync/corosync.log
  to_syslog: no
}
"""
NODE = "  node {\n    name: %s\n    nodeid: %d\n    ring0_addr: %s\n  }\n"
RESOURCE = """<clone id="web-clone"><meta_attributes id="web-clone-meta"><nvpair id="web-promotable" name="promotable" value="true"/>
</meta_attributes><primitive id="web" class="ocf" provider="twinstep" type="twinstep"><instance_attributes id="web-attributes">
<nvpair id="web-config" name="config" value="%s"/><nvpair id="web-binary" name="binary" value="%s"/></instance_attributes><operations>
<op id="web-start" name="start" interval="0" timeout="120s"/><op id="web-stop" name="stop" interval="0" timeout="120s"/>
<op id="web-promote" name="promote" interval="0" timeout="120s"/><op id="web-demote" name="demote" interval="0" timeout="120s"/>
<op id="web-monitor-p" name="monitor" interval="2s" role="Promoted" timeout="60s"/>
<op id="web-monitor-u" name="monitor" interval="3s" role="Unpromoted" timeout="60s"/></operations></primitive></clone>"""
CONF = """kernel = %(build)s/guest/vmlinuz
initrd = %(build)s/guest/initramfs
append = console=ttyS0 %(words)squiet nokaslr mitigations=off twinstep.run="i=0; while sleep 0.1; do i=$((i+1)); echo kept $i; done"
memory = 128M
machine = %(machine)s
arbiter = file:%(dir)s/arbiter
key-file = %(dir)s/key
timeout = %(timeout)s
[host alpha]
listen = 10.76.0.1:7777
[host beta]
listen = 10.76.0.2:7777
"""
OWN = ["/var/lib/pacemaker", "/var/lib/corosync", "/var/log/pacemaker", "/var/log/corosync", "/etc/corosync"]


class Node:
    def __init__(self, name, test):
        self.name, self.test = name, test
        self.ns = "twinstep-%d-%s" % (os.getpid(), name)
        self.dir = "%s/%s" % (test.dir, name)
        for path in OWN:  # with the owners that the packages gave them
            shutil.copytree(path, self.dir + path, symlinks=True) if os.path.isdir(path) else os.makedirs(self.dir + path)
            sh("chown", "--reference", path, self.dir + path)
        os.makedirs(self.dir + "/run/twinstep", 0o700)
        os.makedirs(self.dir + "/lib/twinstep")
        os.chmod(self.dir + "/run/twinstep", 0o700)
        with open(self.dir + "/etc/corosync/corosync.conf", "w") as f:
            f.write(COROSYNC % "".join(NODE % (n, i + 1, a) for i, (n, a) in enumerate(NODES.items())))
        self.boot = None

    def start(self):
        """From the power button to a node of the cluster."""
        shutil.rmtree(self.dir + "/run")
        os.makedirs(self.dir + "/run/resource-agents")
        script = ["hostname " + self.name, "mount --make-rprivate /", "mount -t tmpfs tmpfs /dev/shm",
                  "mount --bind %s/run /run" % self.dir, "mkdir -p /var/lib/twinstep",
                  "mount --bind %s/lib/twinstep /var/lib/twinstep" % self.dir,
                  "mount --bind %s/ocf /usr/lib/ocf/resource.d" % self.test.dir]
        script += ["mount --bind %s%s %s" % (self.dir, p, p) for p in OWN]
        self.boot = subprocess.Popen(
            ["ip", "netns", "exec", self.ns, "setpriv", "--pdeathsig", "KILL", "unshare", "--uts", "--mount", "--pid", "--fork",
             "--kill-child", "--mount-proc", "sh", "-c", "set -e; " + "; ".join(script) + "; echo up; while :; do sleep 1; done"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=open(self.dir + "/boot.log", "a"))
        if self.boot.stdout.readline() != b"up\n":
            raise Failure("%s does not start" % self.name)
        with open("/proc/%d/task/%d/children" % (self.boot.pid, self.boot.pid)) as f:
            self.init = int(f.read().split()[0])
        for daemon, ready in (("corosync", ["corosync-cmapctl", "-m", "stats"]), ("pacemakerd", ["crm_mon", "-1"])):
            self.spawn(*([daemon, "-f"] if daemon == "corosync" else [daemon]))
            self.test.wait(lambda r=ready: self.call(*r).returncode == 0, "%s of %s" % (daemon, self.name))

    def enter(self, *args):
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-n", "-p", *args]

    def spawn(self, *args):
        log = open("%s/%s.log" % (self.dir, args[0]), "a")
        return subprocess.Popen(self.enter(*args), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def call(self, *args):
        return subprocess.run(self.enter(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def kill(self):
        """The node loses its power: every process of it."""
        os.kill(self.init, 9)
        self.boot.wait()

    def agent(self, action):
        return self.call("env", "OCF_ROOT=/usr/lib/ocf", "OCF_RESKEY_config=%s/web.conf" % self.test.dir, "OCF_RESKEY_binary=" + os.path.abspath(TWINSTEP),
                         "/usr/lib/ocf/resource.d/twinstep/twinstep", action)

    def twinstep(self, *args):
        return self.call(os.path.abspath(TWINSTEP), *args).stdout

    def state(self):
        found = re.search(r"^web +(\S+)", self.twinstep("list"), re.M)
        return found.group(1) if found else "down"

    def live(self):
        return bool(re.search(r'"live": ?true', self.twinstep("status", "web", "--json")))

    def count(self):
        counts = re.findall(r"kept (\d+)", self.twinstep("console", "web", "--history"))
        return int(counts[-1]) if counts else 0


class Test:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="twinstep-pacemaker-")
        os.chmod(self.dir, 0o755)
        self.nodes = {}
        sh(TWINSTEP, "keygen", self.dir + "/key")
        sh(TWINSTEP, "arbiter", "init", "file:" + self.dir + "/arbiter")
        with open(self.dir + "/web.conf", "w") as f:
            f.write(CONF % {"build": os.path.abspath(BUILD), "dir": self.dir, "machine": MACHINE,
                            "timeout": os.environ.get("TIMEOUT", "1000"),
                            "words": "acpi=off nolapic noapic " if MACHINE == "1" else ""})
        os.makedirs(self.dir + "/ocf/twinstep")
        shutil.copy("tools/ocf/twinstep", self.dir + "/ocf/twinstep/twinstep")
        for name in NODES:
            self.nodes[name] = Node(name, self)
            sh("ip", "netns", "add", self.nodes[name].ns)
        a, b = self.nodes.values()
        sh("ip", "-n", a.ns, "link", "add", "ring0", "type", "veth", "peer", "name", "ring0", "netns", b.ns)
        for name, n in self.nodes.items():
            sh("ip", "-n", n.ns, "link", "set", "lo", "up")
            sh("ip", "-n", n.ns, "addr", "add", NODES[name] + "/24", "dev", "ring0")
            sh("ip", "-n", n.ns, "link", "set", "ring0", "up")

    def wait(self, what, text):
        end = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > end:
                raise Failure("%s: %s" % (text, self.cluster()))
            time.sleep(0.3)

    def any(self):
        return next(n for n in self.nodes.values() if n.boot.poll() is None)

    def cluster(self):
        return self.any().call("crm_mon", "-1", "-A", "-f").stdout + " ".join("%s %s" % (n, x.state()) for n, x in self.nodes.items() if x.boot.poll() is None)

    def promoted(self):
        """Names of the nodes that Pacemaker says are promoted."""
        out = self.any().call("crm_mon", "-1").stdout
        found = re.search(r"(?:Promoted|Masters): \[([^]]*)\]", out)
        return found.group(1).split() if found else []

    def settled(self, name=None, protected=True):
        """Pacemaker and the truth agree: the guest is live on one node (this one), and promoted there."""
        live = [n for n, x in self.nodes.items() if x.boot.poll() is None and x.live()]
        if len(live) != 1 or (name and live != [name]) or self.promoted() != live:
            return False
        return not protected or self.nodes[live[0]].state() == "protected"

    def reach(self, step, name=None, protected=True):
        start, before = time.monotonic(), self.seen
        self.wait(lambda: self.settled(name, protected), step)
        live = [x for x in self.nodes.values() if x.boot.poll() is None and x.live()][0]
        self.wait(lambda: live.count() > before + 5, step + ": the guest does not go on")
        self.seen = live.count()
        print("ok pacemaker.%s: live and promoted on %s, %d counted, %.1f s" % (step, live.name, self.seen, time.monotonic() - start), flush=True)
        return live

    def run(self):
        self.seen = 0
        for n in self.nodes.values():
            n.start()
        a = self.nodes["alpha"]
        self.wait(lambda: "2 nodes configured" in a.call("crm_mon", "-1").stdout and "Online: [ alpha beta ]" in a.call("crm_mon", "-1").stdout, "two nodes")
        for name, value in (("stonith-enabled", "false"), ("no-quorum-policy", "ignore")):
            a.call("crm_attribute", "--type", "crm_config", "--name", name, "--update", value)
        out = a.call("cibadmin", "-C", "-o", "resources", "-X", RESOURCE % (self.dir + "/web.conf", os.path.abspath(TWINSTEP)))
        if out.returncode:
            raise Failure("cibadmin: " + out.stderr)
        live = self.reach("start")
        live.call("crm_standby", "-N", live.name, "-v", "on")
        moved = self.reach("standby", "beta" if live.name == "alpha" else "alpha", False)
        live.call("crm_standby", "-N", live.name, "-D")
        self.reach("standby-ends", moved.name)
        # Pacemaker moves what is promoted by demoting and promoting; its agent's migration, which promotable clones do not get,
        # by hand: Pacemaker follows.
        moved.call("crm_resource", "-r", "web-clone", "--move", "--promoted", "--node", live.name)
        self.reach("move", live.name)
        live.call("crm_resource", "-r", "web-clone", "--clear")
        for node, action in ((live, "migrate_to"), (moved, "migrate_from")):
            done = node.agent(action)
            if done.returncode:
                raise Failure("%s: status %d: %s" % (action, done.returncode, done.stderr))
        self.reach("migrate", moved.name)
        moved.call("kill", "-9", str(json.loads(moved.twinstep("list", "--json"))[0]["replica"]))
        live = self.reach("replica-killed")
        lost, left = live.name, "beta" if live.name == "alpha" else "alpha"
        live.kill()
        self.reach("node-lost", left, False)
        self.nodes[lost].start()
        self.reach("node-back", left)
        stopped = self.nodes[left].call("crm_resource", "-r", "web-clone", "-m", "-p", "target-role", "-v", "Stopped")
        self.wait(lambda: all(n.state() == "down" for n in self.nodes.values()), "stop: " + stopped.stderr)
        print("ok pacemaker.stop", flush=True)

    def close(self):
        for n in self.nodes.values():
            if n.boot and n.boot.poll() is None:
                n.kill()
            subprocess.run(["ip", "netns", "del", n.ns], stderr=subprocess.DEVNULL)
        if os.environ.get("KEEP") is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print("kept " + self.dir)


def main():
    test = Test()
    try:
        test.run()
    except (Failure, OSError, subprocess.SubprocessError) as e:
        print("not ok pacemaker: %s" % e, flush=True)
        return 1
    finally:
        test.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
