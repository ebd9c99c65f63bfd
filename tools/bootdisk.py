#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a raw disk image that boots by itself from a PC BIOS: partition table, GRUB 2, one ext4 file system.

    bootdisk.py OUT --root DIR [--table mbr|gpt] [--size BYTES] [--label NAME]

DIR becomes the file system; GRUB's modules are put into its boot/grub, where its grub.cfg has to be. Nothing is mounted
and no loop device is needed: mke2fs copies the directory, and GRUB's two images are put where grub-bios-setup would.
Packages: e2fsprogs, grub-common, grub-pc-bin. The same input makes the same bytes, but for times in the file system.
"""
import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid
import zlib

GRUB = "/usr/lib/grub/i386-pc"
SECTOR = 512
FIRST = 2048  # sector of the file system with an MBR, of the BIOS boot partition with a GPT
BIOS_BOOT = 2048  # sectors of that
CORE_MODULES = "biosdisk part_msdos part_gpt ext2 normal configfile search search_label search_fs_uuid linux".split()
GUID_BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
GUID_LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
NAMESPACE = uuid.UUID("b0b0f2a6-5e0c-4e6c-9a57-7b1f1f9b1a2e")
GPT_ENTRIES = 128


def fail(text):
    sys.exit(f"bootdisk: {text}")


def need(program):
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return found or fail(f"there is no {program}: apt install e2fsprogs grub-common grub-pc-bin")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        fail(f"{command[0]} failed: {done.stdout.strip()}")


def core_image(part, label):
    """GRUB's core: it looks for the file system by its label and reads grub.cfg there."""
    with tempfile.TemporaryDirectory() as tmp:
        config = os.path.join(tmp, "early.cfg")
        core = os.path.join(tmp, "core.img")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"search.fs_label {label} root\nset prefix=($root)/boot/grub\n")
        run(need("grub-mkimage"), "-O", "i386-pc", "-d", GRUB, "-c", config, "-o", core, "-p", f"(hd0,{part})/boot/grub",
            *CORE_MODULES)
        with open(core, "rb") as f:
            data = bytearray(f.read())
    data += bytes(-len(data) % SECTOR)
    return data


def install_grub(disk, core, at):
    """The core from sector `at` on, and a boot sector that loads it (boot.S and diskboot.S of GRUB have the fields)."""
    with open(os.path.join(GRUB, "boot.img"), "rb") as f:
        boot = bytearray(f.read(SECTOR))
    struct.pack_into("<Q", boot, 0x5c, at)  # kernel_sector
    struct.pack_into("<H", boot, 0x66, 0x9090)  # boot_drive_check: what the BIOS says is right
    struct.pack_into("<QHH", core, SECTOR - 12, at + 1, len(core) // SECTOR - 1, 0x820)  # firstlist
    disk[0:440] = boot[0:440]
    disk[510:512] = b"\x55\xaa"
    disk[at * SECTOR:at * SECTOR + len(core)] = core


def mbr_entry(active, kind, start, count):
    return struct.pack("<B3sB3sII", 0x80 if active else 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, count)


def make_mbr(disk, start, count):
    struct.pack_into("<I", disk, 440, 0x7715e9)  # disk signature
    disk[446:462] = mbr_entry(True, 0x83, start, count)


def gpt_header(here, other, sectors, entries_at, entries_crc, guid):
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, here, other, 34, sectors - 34,
                       guid.bytes_le, entries_at, GPT_ENTRIES, 128, entries_crc)
    crc = zlib.crc32(head)
    return head[:16] + struct.pack("<I", crc) + head[20:]


def make_gpt(disk, tail, sectors, start, count, label):
    def entry(kind, name, first, n):
        guid = uuid.uuid5(NAMESPACE, f"{label} {name}")
        return struct.pack("<16s16sQQQ72s", kind.bytes_le, guid.bytes_le, first, first + n - 1, 0,
                           name.encode("utf-16-le"))

    entries = entry(GUID_BIOS_BOOT, "bios", FIRST, BIOS_BOOT) + entry(GUID_LINUX, label, start, count)
    entries += bytes(GPT_ENTRIES * 128 - len(entries))
    guid, crc = uuid.uuid5(NAMESPACE, label), zlib.crc32(entries)
    disk[446:462] = mbr_entry(False, 0xee, 1, sectors - 1)
    disk[SECTOR:SECTOR + 92] = gpt_header(1, sectors - 1, sectors, 2, crc, guid)
    disk[2 * SECTOR:2 * SECTOR + len(entries)] = entries
    tail[:len(entries)] = entries
    tail[32 * SECTOR:32 * SECTOR + 92] = gpt_header(sectors - 1, 1, sectors, sectors - 33, crc, guid)


def directory_size(root):
    n = 0
    for where, dirs, files in os.walk(root):
        n += 4096 * len(dirs)
        for name in files:
            n += (os.lstat(os.path.join(where, name)).st_size + 4095) // 4096 * 4096
    return n


def install_modules(root):
    to = os.path.join(root, "boot/grub/i386-pc")
    os.makedirs(to, exist_ok=True)
    for name in os.listdir(GRUB):
        if name.endswith((".mod", ".lst")):
            shutil.copyfile(os.path.join(GRUB, name), os.path.join(to, name))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out")
    p.add_argument("--root", required=True)
    p.add_argument("--table", choices=("mbr", "gpt"), default="mbr")
    p.add_argument("--size", type=int, default=0, help="bytes; 0: what the files need and a quarter")
    p.add_argument("--label", default="root")
    o = p.parse_args()
    if not os.path.exists(os.path.join(GRUB, "boot.img")):
        fail(f"there is no {GRUB}/boot.img: apt install grub-pc-bin")
    install_modules(o.root)
    start = FIRST if o.table == "mbr" else FIRST + BIOS_BOOT
    size = o.size or directory_size(o.root) * 5 // 4 + (16 << 20)
    sectors = (size // SECTOR + 2047) // 2048 * 2048
    count = sectors - start - (2048 if o.table == "gpt" else 0)
    if count < 8192:
        fail(f"{size} bytes are too few for a file system")
    head, tail = bytearray(start * SECTOR), bytearray(33 * SECTOR)
    core = core_image("gpt2" if o.table == "gpt" else "msdos1", o.label)
    install_grub(head, core, FIRST if o.table == "gpt" else 1)
    if o.table == "gpt":
        make_gpt(head, tail, sectors, start, count, o.label)
    else:
        make_mbr(head, start, count)
    with open(o.out, "wb") as f:
        f.truncate(sectors * SECTOR)
        f.write(head)
        if o.table == "gpt":
            f.seek((sectors - 33) * SECTOR)
            f.write(tail)
    guid = str(uuid.uuid5(NAMESPACE, f"{o.label} file system"))
    run(need("mke2fs"), "-q", "-F", "-t", "ext4", "-L", o.label, "-U", guid, "-E",
        f"offset={start * SECTOR},hash_seed={guid},lazy_itable_init=1", "-d", o.root, o.out, f"{count // 2}k")


if __name__ == "__main__":
    main()
