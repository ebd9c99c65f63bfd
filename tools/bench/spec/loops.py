# SPDX-License-Identifier: GPL-2.0-or-later
"""Loops as in pyperformance: floating point, dictionaries and strings, lists, calls. Prints what they come to."""


def nbody(n):
    x, v = [0.1 * i for i in range(15)], [0.01 * i for i in range(15)]
    for _ in range(n):
        for i in range(0, 15, 3):
            for j in range(i + 3, 15, 3):
                d = [x[i + k] - x[j + k] for k in range(3)]
                f = 0.001 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.1)
                for k in range(3):
                    v[i + k] -= d[k] * f
                    v[j + k] += d[k] * f
        for i in range(15):
            x[i] += v[i] * 0.001
    return "%.12f" % sum(x)


def words(n):
    count = {}
    for i in range(n):
        w = "w%d" % (i * 7919 % 5003)
        count[w] = count.get(w, 0) + len(w)
    return sum(len(k) * v for k, v in sorted(count.items()))


def fannkuch(n):
    p, count, most = list(range(n)), [0] * n, 0
    i = 0
    while i < n:
        if count[i] < i:
            j = 0 if i % 2 == 0 else count[i]
            p[j], p[i] = p[i], p[j]
            q, flips = p[:], 0
            while q[0]:
                q[: q[0] + 1] = q[q[0] :: -1]
                flips += 1
            most = max(most, flips)
            count[i] += 1
            i = 0
        else:
            count[i] = 0
            i += 1
    return most


def calls(n):
    return n if n < 2 else calls(n - 1) + calls(n - 2)


print(nbody(3000), words(120000), fannkuch(8), calls(23))
