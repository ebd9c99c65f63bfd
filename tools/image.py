#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `twinstep image` runs: make (debian-disk.sh), info."""
import os
import struct
import sys
import uuid
import zlib

SECTOR = 512
KINDS = {0x05: "extended", 0x07: "NTFS", 0x0b: "FAT32", 0x0c: "FAT32", 0x0f: "extended", 0x82: "swap", 0x83: "Linux",
         0x8e: "LVM", 0xef: "EFI system", 0xfd: "RAID"}
GUIDS = {"21686148-6449-6e6f-744e-656564454649": "BIOS boot", "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
         "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "swap",
         "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root"}


def fail(text):
    sys.stderr.write(f"twinstep: {text}\n")
    sys.exit(2)


# ---- info ----

def mbr_partitions(head):
    for n in range(4):
        flags, kind, first, count = struct.unpack_from("<B3xB3xII", head, 446 + 16 * n)
        if kind and count:
            yield n + 1, KINDS.get(kind, f"type {kind:02x}"), first, count, " active" if flags & 0x80 else ""


def gpt_partitions(f, name, sectors):
    f.seek(SECTOR)
    head = bytearray(f.read(92))
    if head[:8] != b"EFI PART":
        fail(f"{name}: its MBR says GPT, and sector 1 does not begin with EFI PART")
    crc, at, n, size = struct.unpack_from("<I", head, 16)[0], *struct.unpack_from("<QII", head, 72)
    head[16:20] = bytes(4)
    if zlib.crc32(head) != crc:
        fail(f"{name}: the checksum of the GPT at sector 1 is wrong")
    if not 128 <= size <= 4096 or n > 1024 or at * SECTOR + n * size > sectors * SECTOR:
        fail(f"{name}: the GPT's table, {n} entries of {size} bytes at sector {at}, cannot be")
    f.seek(at * SECTOR)
    table = f.read(n * size)
    for i in range(n):
        kind, first, last = struct.unpack_from("<16s16xQQ", table, i * size)
        if any(kind):
            guid = str(uuid.UUID(bytes_le=kind))
            label = table[i * size + 56:i * size + 128].decode("utf-16-le", "replace").rstrip("\0")
            label = "".join(c if c.isprintable() else "?" for c in label)
            yield i + 1, GUIDS.get(guid, guid), first, last - first + 1, f" {label}"


def file_system(f, first, sectors):
    if (first + 8) > sectors:
        return "behind the end of the disk"
    f.seek(first * SECTOR)
    data = f.read(69 * 1024)
    marks = ((1080, b"\x53\xef", "ext2/3/4"), (0, b"XFSB", "XFS"), (65600, b"_BHRfS_M", "btrfs"), (82, b"FAT32", "FAT32"),
             (54, b"FAT", "FAT"), (4086, b"SWAPSPACE2", "swap"), (3, b"NTFS", "NTFS"), (0, b"LUKS", "LUKS"))
    return next((what for at, mark, what in marks if data[at:at + len(mark)] == mark), "")


def boot_code(head):
    if head[510:512] != b"\x55\xaa":
        return "none: bytes 510 and 511 are not 55 aa, so no BIOS boots it"
    if b"GRUB" in head[:440]:
        return "GRUB"
    if b"SYSLINUX" in head[:440] or b"isolinux" in head[:440].lower():
        return "syslinux"
    return "some" if any(head[:440]) else "none: the boot sector has no code"


def info(args):
    if len(args) != 1:
        fail("image info: one FILE")
    name = args[0]
    try:
        with open(name, "rb") as f:
            sectors = f.seek(0, os.SEEK_END) // SECTOR
            f.seek(0)
            head = f.read(SECTOR)
            if len(head) < SECTOR:
                fail(f"{name} is shorter than a sector")
            rows = list(mbr_partitions(head)) if head[510:512] == b"\x55\xaa" else []
            gpt = any(head[446 + 16 * n + 4] == 0xee for n in range(4))
            if gpt:
                rows = list(gpt_partitions(f, name, sectors))
            print(f"size         {sectors * SECTOR >> 20} MiB")
            print(f"boot code    {boot_code(head)}")
            print(f"partitions   {'GPT' if gpt else 'MBR' if rows else 'no table'}")
            for n, kind, first, count, more in rows:
                print(f"  {n:<3} {first:>10} {count * SECTOR >> 20:>7} MiB  {kind}{more}  {file_system(f, first, sectors)}".rstrip())
    except OSError as e:
        fail(f"cannot read {name}: {e.strerror}")


# ---- make ----

def make(args):
    script = os.path.join(os.path.dirname(os.path.realpath(__file__)), "debian-disk.sh")
    if not args:
        fail("image make: FILE [PACKAGE...]")
    os.execv(script, [script] + args)


def main():
    verbs = {"make": make, "info": info}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        fail("image: make, info or seed")
    verbs[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
