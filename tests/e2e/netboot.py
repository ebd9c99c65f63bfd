#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A DHCP and TFTP server for a machine that boots from the network:  netboot.py INTERFACE ADDRESS FILE

Every DHCP client gets the address after ADDRESS (a /24) and FILE to boot; TFTP serves what is in FILE's folder.
"""
import os
import socket
import struct
import sys
import threading

COOKIE = b"\x63\x82\x53\x63"
OFFER, ACK = 2, 5


def option(code, data):
    return bytes([code, len(data)]) + data


def dhcp_options(data):
    i, found = 0, {}
    while i + 1 < len(data) and data[i] != 255:
        if data[i] == 0:
            i += 1
            continue
        found[data[i]] = data[i + 2:i + 2 + data[i + 1]]
        i += 2 + data[i + 1]
    return found


def dhcp_answer(ask, here, name):
    kind = dhcp_options(ask[240:]).get(53, b"\1")[0]
    client = socket.inet_aton(here.rsplit(".", 1)[0] + "." + str(int(here.rsplit(".", 1)[1]) + 1))
    server, boot = socket.inet_aton(here), name.encode("ascii")
    head = struct.pack("!BBBB", 2, 1, 6, 0) + ask[4:12] + bytes(4) + client + server + bytes(4) + ask[28:44]
    head += bytes(64) + boot.ljust(128, b"\0") + COOKIE
    return head + option(53, bytes([OFFER if kind == 1 else ACK])) + option(54, server) + \
        option(51, struct.pack("!I", 3600)) + option(1, b"\xff\xff\xff\0") + option(67, boot) + b"\xff"


def dhcp(sock, here, name):
    while True:
        ask, _ = sock.recvfrom(2048)
        if len(ask) > 240:
            sock.sendto(dhcp_answer(ask, here, name), ("255.255.255.255", 68))


def send_file(here, client, data, options):
    """One transfer; the client acknowledges each block, and asks again for one that was lost."""
    size = int(options.get(b"blksize", b"512"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((here, 0))
        s.settimeout(300)
        if options:
            known = {b"blksize": size, b"tsize": len(data)}
            s.sendto(b"\0\6" + b"".join(b"%s\0%d\0" % (k, known[k]) for k in options if k in known), client)
            s.recvfrom(2048)
        for n in range(len(data) // size + 1):
            s.sendto(struct.pack("!HH", 3, (n + 1) & 0xffff) + data[n * size:(n + 1) * size], client)
            s.recvfrom(2048)


def tftp(sock, here, folder):
    while True:
        ask, client = sock.recvfrom(2048)
        words = ask[2:].split(b"\0")
        if ask[:2] != b"\0\1" or len(words) < 2:
            continue
        options = {words[i].lower(): words[i + 1] for i in range(2, len(words) - 1, 2)}
        with open(os.path.join(folder, os.path.basename(words[0].decode("ascii"))), "rb") as f:
            data = f.read()
        # A client that asks again, because it or this host was slow, gets a transfer of its own.
        threading.Thread(target=send_file, args=(here, client, data, options), daemon=True).start()


def main():
    interface, here, path = sys.argv[1:]
    ask = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ask.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    ask.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode("ascii") + b"\0")
    ask.bind(("", 67))
    files = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    files.bind((here, 69))
    threading.Thread(target=dhcp, args=(ask, here, os.path.basename(path)), daemon=True).start()
    print("ready", flush=True)
    tftp(files, here, os.path.dirname(path))


if __name__ == "__main__":
    main()
