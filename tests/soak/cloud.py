#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a cloud image gets of --cloud-init: a Debian with cloud-init boots from its own disk with user-data, meta-data and
network configuration; its user logs in with its key at its address, and what user-data runs has run once.

    tests/soak/cloud.py DISK

DISK is made by `twinstep image make DISK cloud-init` where it is not there, and not written to. On demand, as root."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from debian import PATIENCE, TWINSTEP, Guest, ssh_words  # noqa: E402

TAP = "cloud0"
ADDRESS = "10.77.0.7"
MAC = "52:54:00:77:00:07"
USER_DATA = """#cloud-config
hostname: probe
users:
  - name: alice
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys:
      - %s
write_files:
  - path: /srv/written
    content: by cloud-init
runcmd:
  - echo run >>/srv/run
"""
# By the card's address, as clouds do it: what udev calls the interface does not matter.
NETWORK = """version: 2
ethernets:
  first:
    match:
      macaddress: "%s"
    set-name: net0
    addresses: [%s/24]
""" % (MAC, ADDRESS)
WANTED = [("booted", "systemctl is-system-running --wait", "running"), ("user", "id -un", "alice"),
          ("hostname", "hostname", "probe"), ("sudo", "sudo id -un", "root"),
          ("done", "cloud-init status --wait | tr -d .", "status: done"), ("written", "cat /srv/written", "by cloud-init"),
          ("run-once", "cat /srv/run", "run"), ("interface", "cat /sys/class/net/net0/address", MAC),
          ("units", "systemctl --failed --no-legend --plain", "")]
failed = False


def result(name, good, why=""):
    global failed
    failed |= not good
    print("ok cloud.%s" % name if good else "not ok cloud.%s: %s" % (name, why), flush=True)


def files(work):
    """Key, user-data, meta-data and network configuration; the argument of --cloud-init."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work + "/key"], check=True)
    with open(work + "/key.pub") as f:
        key = f.read().strip()
    for name, text in (("user", USER_DATA % key), ("meta", "instance-id: one\n"), ("network", NETWORK)):
        with open(work + "/" + name, "w") as f:
            f.write(text)
    return ",".join(work + "/" + name for name in ("user", "meta", "network"))


def asks(ssh, line):
    done = subprocess.run(ssh + [line], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def session(guest, ssh):
    """Whether its user could log in; prints what was looked at there."""
    deadline = time.monotonic() + PATIENCE
    while (answer := asks(ssh, "true"))[0]:
        if time.monotonic() > deadline or guest.proc.poll() is not None:
            result("login", False, "%s; the console ends with %s" % (answer[1], guest.console[-600:].decode(errors="replace")))
            return False
        time.sleep(1)
    result("login", True)
    for name, line, text in WANTED:
        got = asks(ssh, line)[1]
        result(name, got == text, got)
    if failed:
        print(asks(ssh, "sudo grep -hE 'WARN|ERROR|Error|Traceback' /var/log/cloud-init.log | tail -n 20")[1], flush=True)
    return True


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    disk = os.path.abspath(sys.argv[1])
    if not os.path.exists(disk):
        subprocess.run([TWINSTEP, "image", "make", disk, "cloud-init"], check=True)
    if os.environ.get("TWINSTEP_TEST_INSIDE") != "1":
        os.environ["TWINSTEP_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    for words in ("tuntap add %s mode tap", "addr add 10.77.0.1/24 dev %s", "link set %s up"):
        subprocess.run(["ip"] + (words % TAP).split(), check=True)
    with tempfile.TemporaryDirectory(prefix="twinstep-cloud-") as work:
        given = files(work)
        start = time.monotonic()
        guest = Guest([TWINSTEP, "run", "--no-jail", "--disk", disk + ",overlay", "--memory", "512M", "--net",
                       "tap:%s,mac=%s" % (TAP, MAC), "--cloud-init", given, "--console", "stdio"])
        try:
            ssh = ssh_words(work + "/key")[:-1] + ["alice@" + ADDRESS]
            if session(guest, ssh):
                print("all of it after %.0f s" % (time.monotonic() - start), flush=True)
                asks(ssh, "sudo systemctl poweroff")
                result("poweroff", guest.proc.wait(PATIENCE) == 0, "status %s" % guest.proc.returncode)
        finally:
            guest.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
