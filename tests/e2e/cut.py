# SPDX-License-Identifier: GPL-2.0-or-later
"""cut.py LISTEN TARGET BYTES [HOLD [RATE]]: carries one connection between two unix sockets and cuts it when the target
has sent so many bytes; 0: never; -1: at once. With HOLD it is not cut then: that file is made, and nothing passes before
the file is removed. RATE: bytes a second that pass. LISTEN goes with the first connection; LISTEN.ready says that it was
there."""
import os
import select
import socket
import sys
import time

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
open(sys.argv[1] + ".ready", "w").close()
a = listener.accept()[0]
os.unlink(sys.argv[1])
b = socket.socket(socket.AF_UNIX)
b.connect(sys.argv[2])
left = int(sys.argv[3]) or sys.maxsize
hold = sys.argv[4] if len(sys.argv) > 4 else ""
rate = float(sys.argv[5]) if len(sys.argv) > 5 else 0
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
        if rate:
            time.sleep(len(data) / rate)
    if left <= 0 and hold:
        open(hold, "w").close()
        while os.path.exists(hold):
            time.sleep(0.01)
        left = sys.maxsize
