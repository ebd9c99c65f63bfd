// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/boot/eltorito.h"

#include <string.h>

#include "hypervisor/boot/checksum.h"

#define ROM_UNIT   512u
#define ROM_LENGTH 2u /* offsets: the length in units */
#define PNP_HEADER 0x20u
#define PNP_SIZE   32u
#define PNP_SUM	   9u

static const uint8_t code[] = {
#include <eltorito.hex> /* made of eltorito.S */
};

enum { ROM_SIZE = (sizeof(code) + 1 + ROM_UNIT - 1) / ROM_UNIT * ROM_UNIT };

_Static_assert(ROM_SIZE / ROM_UNIT <= UINT8_MAX, "the length of an option ROM is a byte");

void eltorito_put_rom(struct buf *out)
{
	uint8_t rom[ROM_SIZE] = { 0 };

	memcpy(rom, code, sizeof(code));
	rom[ROM_LENGTH] = ROM_SIZE / ROM_UNIT;
	rom[PNP_HEADER + PNP_SUM] = boot_checksum(rom + PNP_HEADER, PNP_SIZE);
	rom[ROM_SIZE - 1] = boot_checksum(rom, ROM_SIZE);
	buf_put(out, rom, ROM_SIZE);
}
