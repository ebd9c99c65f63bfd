// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: what firmware talks to: the configuration device with its transfers, the ROM and saved
// states of both; build with -fsanitize=fuzzer
//
// A transfer writes to memory only; the ROM reads as it was loaded whatever is written to it; what
// was restored is saved as it was.
#include <stdlib.h>

#include "base/log.h"
#include "hypervisor/devices/fw_cfg.h"
#include "hypervisor/devices/rom.h"
#include "tests/devices/rig.h"

#define MEMORY (2u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bus bus;
static struct memory mem;
static struct fw_cfg cfg;
static struct rom rom;
static uint8_t image[ROM_SIZE_UNIT];

static void start(void)
{
	struct err err = ERR_INIT;

	bus_init(&bus);
	must(memory_init(&mem, MEMORY, &err) == 0);
	fw_cfg_init(&cfg, &bus, &mem);
	rom_init(&rom, &bus, &mem);
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i ^ i >> 8);
	must(rom_load(&rom, image, sizeof(image)) == 0);
	must(fw_cfg_add_file(&cfg, "etc/a", image, 300) && fw_cfg_add_number(&cfg, "etc/b", 7, 2));
}

/* A structure of a transfer near the values that there are, and its start. */
static void transfer(struct rd *in)
{
	uint8_t request[16];
	uint32_t at = rd_u32(in) % (MEMORY + 64);

	rd_get(in, request, sizeof(request));
	request[0] = 0;
	request[1] &= 0x23;
	request[8] = request[9] = request[10] = request[11] = 0;
	memory_write(&mem, at, request, sizeof(request));
	bus_write(&bus, BUS_PORT, 0x514, 4, rd_u8(in) & 1);
	bus_write(&bus, BUS_PORT, 0x518, 4, __builtin_bswap32(at));
}

static void state(const struct device_ops *ops, void *dev, struct rd *in)
{
	struct buf saved = BUF_INIT, again = BUF_INIT;
	unsigned n = rd_u8(in) & 3;
	struct rd rd;

	ops->save(dev, &saved);
	while (n--)
		saved.data[rd_u16(in) % 8 % saved.len] = rd_u8(in);
	rd = (struct rd)RD_INIT(saved.data, saved.len);
	if (ops->restore(dev, &rd) == 0 && !rd_left(&rd)) {
		ops->save(dev, &again);
		must(again.len == saved.len && !memcmp(again.data, saved.data, again.len));
	}
	buf_free(&saved);
	buf_free(&again);
}

static void step(struct rd *in)
{
	uint8_t op = rd_u8(in);
	unsigned size = 1u << (op >> 6), port = 0x510 + (op >> 2 & 15);

	switch (op & 3) {
	case 0:
		bus_write(&bus, BUS_PORT, port, size > 4 ? 4 : size, rd_u32(in));
		break;
	case 1:
		bus_read(&bus, BUS_PORT, port, size > 4 ? 4 : size);
		bus_write(&bus, BUS_MMIO, ROM_END - 1 - rd_u16(in), size, rd_u32(in));
		break;
	case 2:
		transfer(in);
		break;
	default:
		if (op & 4)
			state(&fw_cfg_ops, &cfg, in);
		else if (op & 8)
			state(&rom_ops, &rom, in);
		else
			rom_ops.reset(&rom);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);

	start();
	while (rd_left(&in))
		step(&in);
	for (size_t i = 0; rom.size == sizeof(image) && i < sizeof(image); i += 4093)
		must(bus_read(&bus, BUS_MMIO, ROM_END - rom.size + i, 1) == rom.image[i]);
	fw_cfg_fini(&cfg);
	rom_fini(&rom);
	memory_fini(&mem);
	return 0;
}
