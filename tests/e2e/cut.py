# SPDX-License-Identifier: GPL-2.0-or-later
"""cut.py LISTEN TARGET BYTES: carries one connection between two unix sockets and cuts it when the target has sent so
many bytes; 0: never; -1: at once."""
import os
import select
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
a = listener.accept()[0]
os.unlink(sys.argv[1])
b = socket.socket(socket.AF_UNIX)
b.connect(sys.argv[2])
left = int(sys.argv[3]) or sys.maxsize
other = {a: b, b: a}
while left > 0:
    for s in select.select([a, b], [], [])[0]:
        try:
            data = s.recv(65536)
            if not data:
                sys.exit()
            other[s].sendall(data)
        except ConnectionError:
            sys.exit()
        left -= len(data) if s is b else 0
