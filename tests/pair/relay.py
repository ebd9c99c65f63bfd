# SPDX-License-Identifier: GPL-2.0-or-later
"""Links with defects, for kernels without netem.

relay.py frames TAP IFACE    carries Ethernet frames between a tap device (made here) and a veth end; lines on standard
                             input set the defects: LOSS_PERCENT DELAY_MS JITTER_MS (jitter reorders)
relay.py stream PORT HOST:PORT RATE DELAY_MS
                             carries TCP connections, at RATE bytes a second and with a delay, both ways
"""
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from pump import pump  # noqa: E402

TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002


def open_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_NO_PI))
    return fd


class Frames:
    def __init__(self, tap, iface):
        self.tap = open_tap(tap)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((iface, 0))
        self.sock.setblocking(False)
        self.loss = self.delay = self.jitter = 0.0
        self.waiting = []
        self.number = 0

    def take(self, data, send):
        if random.random() * 100 < self.loss:
            return
        due = time.monotonic() + (self.delay + random.random() * self.jitter) / 1000
        self.number += 1
        heapq.heappush(self.waiting, (due, self.number, data, send))

    def to_tap(self, data):
        try:
            os.write(self.tap, data)
        except OSError:
            pass

    def to_wire(self, data):
        try:
            self.sock.send(data)
        except OSError:
            pass

    def deliver(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            _, _, data, send = heapq.heappop(self.waiting)
            send(data)

    def receive(self, ready):
        try:
            if self.tap in ready:
                self.take(os.read(self.tap, 65536), self.to_wire)
            if self.sock in ready:
                data, addr = self.sock.recvfrom(65536)
                if addr[2] != 4:
                    self.take(data, self.to_tap)
        except BlockingIOError:
            pass

    def run(self):
        commands = sys.stdin.fileno()
        while True:
            left = max(0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([self.tap, self.sock, commands], [], [], left)
            if commands in ready:
                line = os.read(commands, 4096).decode().split("\n")[-2:]
                if not line or not line[0]:
                    return
                self.loss, self.delay, self.jitter = map(float, line[0].split())
            self.receive(ready)
            self.deliver()


def stream(port, target, rate, delay):
    host, target_port = target.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", port))

    def slow(data):
        time.sleep(len(data) / rate + delay / 1000)

    while True:
        a, _ = listener.accept()
        b = socket.create_connection((host, int(target_port)))
        for s in (a, b):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for src, dst in ((a, b), (b, a)):
            threading.Thread(target=pump, args=(src, dst, slow), daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "frames":
        Frames(sys.argv[2], sys.argv[3]).run()
    else:
        stream(int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5]))
