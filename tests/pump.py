# SPDX-License-Identifier: GPL-2.0-or-later
"""One direction of a connection that a test stands between."""
import socket


def pump(src, dst, before):
    """Carries bytes until one end closes, or before(data) gives False; then both are closed."""
    try:
        while data := src.recv(16384):
            if before(data) is False:
                break
            dst.sendall(data)
    except OSError:
        pass
    for s in (src, dst):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
