# SPDX-License-Identifier: GPL-2.0-or-later
"""Three etcd processes on loopback, relays before them that lose answers or are slow, and askers (tests/replica/ask.c)."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from pump import pump  # noqa: E402

BUILD = os.environ.get("BUILD", "build")
ETCD = os.environ["ETCD_BIN"] + "/etcd"
ETCDCTL = os.environ["ETCD_BIN"] + "/etcdctl"
PATIENCE = 180


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    """enter: words before each member's commands, such as `ip netns exec`; address: where it is to be reached."""

    def __init__(self, folder, tls=None, enter=((), (), ()), address=("127.0.0.1",) * 3, ports=None, peers=None):
        self.dir, self.tls, self.enter, self.address = folder, tls, enter, address
        self.ports = ports or [free_port() for _ in range(3)]
        self.peers = peers or [free_port() for _ in range(3)]
        self.proc = [None] * 3
        for i in range(3):
            self.start(i)
        self.wait()

    def start(self, i):
        scheme = "https" if self.tls else "http"
        url = "%s://%s:%d" % (scheme, self.address[i], self.ports[i])
        peers = ["http://%s:%d" % p for p in zip(self.address, self.peers)]
        args = [*self.enter[i], "setpriv", "--pdeathsig", "KILL", ETCD, "--name", "m%d" % i, "--data-dir", "%s/m%d" % (self.dir, i),
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
                "--initial-cluster", ",".join("m%d=%s" % p for p in enumerate(peers)),
                "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap"]
        if self.tls:
            args += ["--cert-file", self.tls + "/server.pem", "--key-file", self.tls + "/server.key",
                     "--client-cert-auth", "--trusted-ca-file", self.tls + "/ca.pem"]
        with open("%s/m%d.log" % (self.dir, i), "a") as log:
            self.proc[i] = subprocess.Popen(args, stdout=log, stderr=log)

    def ctl(self, *args, member=0):
        cmd = [*self.enter[member], ETCDCTL, "--endpoints",
               "%s://%s:%d" % ("https" if self.tls else "http", self.address[member], self.ports[member])]
        if self.tls:
            cmd += ["--cacert", self.tls + "/ca.pem", "--cert", self.tls + "/client.pem", "--key", self.tls + "/client.key"]
        return subprocess.run(cmd + list(args), env=dict(os.environ, ETCDCTL_API="3"), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def wait(self, members=(0, 1, 2)):
        end = time.monotonic() + PATIENCE
        for i in members:
            while self.ctl("get", "x", member=i).returncode != 0:
                if time.monotonic() > end:
                    raise RuntimeError("etcd does not start: see %s" % self.dir)
                time.sleep(0.1)

    def leader(self):
        for i in range(3):
            if not self.proc[i]:
                continue
            out = self.ctl("endpoint", "status", "-w", "json", member=i)
            if out.returncode == 0:
                status = json.loads(out.stdout)[0]["Status"]
                if status["leader"] == status["header"]["member_id"]:
                    return i
        raise RuntimeError("no leader")

    def kill(self, i, sig=signal.SIGKILL):
        self.proc[i].send_signal(sig)
        if sig == signal.SIGKILL:
            self.proc[i].wait()
            self.proc[i] = None

    def close(self):
        for p in self.proc:
            if p:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Relay:
    """Before a port: passes on, delays both ways, or swallows answers and then cuts the connection."""

    def __init__(self, port):
        self.to, self.delay, self.cut, self.swallowed = port, 0.0, False, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.server.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                continue
            threading.Thread(target=self.carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, client, True), daemon=True).start()

    def carry(self, src, dst, answers):
        def before(data):
            if answers and self.cut:
                self.swallowed += 1
                return False
            return time.sleep(self.delay)

        pump(src, dst, before)


class Asker:
    """A replica's keeper, in its jail."""

    def __init__(self, spec):
        self.p = subprocess.Popen([BUILD + "/tests/replica/ask", spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)

    def send(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def answer(self):
        """Result, owner or last, milliseconds, error."""
        result, number, ms, text = self.p.stdout.readline().rstrip("\n").split(" ", 3)
        return int(result), int(number), int(ms), text

    def ask(self, line):
        self.send(line)
        return self.answer()

    def insist(self, line):
        """As a replica does: asks until there is an answer. Result, milliseconds."""
        start = time.monotonic()
        while True:
            result = self.ask(line)[0]
            if result >= 0:
                return result, int(1000 * (time.monotonic() - start))
            if time.monotonic() - start > PATIENCE:
                raise RuntimeError("no answer to " + line)
            time.sleep(0.05)

    def close(self):
        self.p.stdin.close()
        self.p.wait()
