# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that gives itself another MAC, is in a VLAN as well, and sends with an address which is somebody else's, in a
failover.

usage: address.py
"""
import glob
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import rig as rigs  # noqa: E402
from rig import APPEND, PATIENCE, Client, Connection, Failure, Rig, Watch, sh  # noqa: E402

CONFIGURED, PRESENT = bytes.fromhex("525400770002"), bytes.fromhex("525400aabbcc")
VIRTUAL = "10.77.0.99"  # a load balancer's, which this guest serves without answering for it
VLAN, IN_VLAN, MODULES = 7, "10.79.0.2", ("llc", "stp", "mrp", "garp", "8021q")
GUEST = ("ip link set eth0 address 52:54:00:aa:bb:cc; for m in %s; do insmod /vlan/$m.ko; done; "
         "ip link add link eth0 name eth0.%d type vlan id %d; ip addr add %s/24 dev eth0.%d; ip link set eth0.%d up; "
         "echo 0 >/proc/sys/net/ipv6/conf/eth0.%d/accept_dad; ip -6 addr add fd79::2/64 dev eth0.%d; "
         "arping -A -c 1 -I eth0.%d %s >/dev/null; " % (" ".join(MODULES), VLAN, VLAN, IN_VLAN, *(VLAN,) * 5, IN_VLAN) +
         "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip -6 addr add fd77::2/64 dev eth0; "
         "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce; "
         "ip addr add %s/32 dev lo; while sleep 0.2; do ping -c 1 -W 1 -I %s %s >/dev/null; done" % (
             VIRTUAL, VIRTUAL, rigs.CLIENT_IP))


def archive(files):
    """An initramfs (cpio, newc) of {name: bytes}, to stand behind another one."""
    out = b""
    for n, (name, data) in enumerate([("vlan", None), *files.items(), ("TRAILER!!!", b"")]):
        mode, data, path = (0o40755, b"", name) if data is None else (0o100644, data, name)
        head = b"070701" + b"".join(b"%08X" % x for x in (
            n + 900000, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path) + 1, 0)) + path.encode() + b"\0"
        out += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return out


def initramfs(path):
    """The guest's, and the modules of its kernel that VLANs need."""
    files = {}
    for m in MODULES:
        found = glob.glob("%s/guest-pkgs/root/lib/modules/*/kernel/net/**/%s.ko" % (rigs.BUILD, m), recursive=True)
        with open(found[0], "rb") as f:
            files["vlan/%s.ko" % m] = f.read()
    with open(path, "wb") as out, open(rigs.BUILD + "/guest/initramfs", "rb") as f:
        out.write(f.read() + archive(files))
    return path


class AddressRig(Rig):
    def boot_args(self):
        args = super().boot_args()
        args[args.index("--initrd") + 1] = initramfs(self.dir + "/initramfs")
        args[-1] = APPEND + ' twinstep.run="%s"' % GUEST
        return args


def of(frames, since, ethertype):
    return [f for t, f in frames if t > since and f[12:14] == bytes.fromhex(ethertype)]


def in_vlan(frames, since, ethertype):
    """The same of those in the VLAN, as they would be without its tag."""
    tag = bytes.fromhex("8100") + VLAN.to_bytes(2, "big")
    return of([(t, f[:12] + f[16:]) for t, f in frames if f[12:16] == tag], since, ethertype)


def wait_for(what, text):
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise Failure(text)
        time.sleep(0.05)


def main():
    rig = AddressRig()
    watches = []
    try:
        primary, backup = rig.start_pair()  # it ends when redis answers: the capture has followed the change
        watches = [Watch(PRESENT), Watch(CONFIGURED)]
        wait_for(lambda: watches[0].seen["a"], "no frame from the guest's new address")
        # The last thing that the guest's script does; only then has it all the addresses that it is to announce.
        virtual = socket.inet_aton(VIRTUAL)
        wait_for(lambda: [f for f in of(watches[0].seen["a"], 0, "0800") if f[26:30] == virtual],
                 "the guest never used the load balancer's address")
        client = Client(0)
        wait_for(lambda: client.count > 10 or client.error, "no replies")
        killed = time.monotonic()
        primary.kill()
        backup.wait_event("live", PATIENCE)
        seen = watches[0].seen["b"]
        guest, us = socket.inet_aton(rigs.GUEST_IP), client.count
        wait_for(lambda: of(seen, killed, "8035"), "nobody told the switches where the new address is")
        wait_for(lambda: [f for f in of(seen, killed, "0806") if f[28:32] == guest], "no gratuitous ARP")
        wait_for(lambda: [f for f in of(seen, killed, "86dd") if f[20] == 58 and f[54] == 136],
                 "the guest was not asked to announce itself: no advertisement for fd77::2")
        inside = socket.inet_aton(IN_VLAN)
        wait_for(lambda: in_vlan(seen, killed, "8035"), "nobody told the switches in VLAN %d" % VLAN)
        wait_for(lambda: [f for f in in_vlan(seen, killed, "0806") if f[28:32] == inside], "no gratuitous ARP in the VLAN")
        wait_for(lambda: [f for f in in_vlan(seen, killed, "86dd") if f[20] == 58 and f[54] == 136],
                 "no advertisement in the VLAN")
        wait_for(lambda: client.count > us + 10 or client.error, "the connection is stuck")
        sh("ip", "neigh", "flush", "dev", "br0")
        for _ in range(8):
            c = Connection(timeout=20)
            if c.call("PING") != b"+PONG":
                raise Failure("a new connection is not served")
            c.sock.close()
        client.stop()
        if client.error:
            raise Failure("client: %s" % client.error)
        stolen = [f.hex() for f in of(seen, killed, "0806") if f[28:32] == virtual]
        if stolen:
            raise Failure("%d announcements of the load balancer's address: %s" % (len(stolen), stolen[0]))
        stale = [f.hex() for h in "ab" for _, f in watches[1].seen[h]]
        if stale:
            raise Failure("%d frames from the address that the guest has given up: %s" % (len(stale), stale[0]))
        print("ok address: the new one is announced, in its VLAN too, with that of others left alone", flush=True)
        return 0
    except (Failure, OSError) as e:
        print("not ok address: %s" % e, flush=True)
        return 1
    finally:
        for w in watches:
            w.close()
        rig.close()


if __name__ == "__main__":
    sys.exit(main())
