// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: local APIC, I/O APIC and 8259, wired as in machine version 2: registers in memory and as
// MSRs, messages, inputs, time, acknowledgement, hostile state images; build with -fsanitize=fuzzer
//
// After each step the output to the processor is what the registers say (apic_rig.h: it is called
// for changes only), an interrupt that is acknowledged has a vector above 15 or comes from the
// 8259, and states survive a round trip.
#include "tests/devices/apic_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct apic_rig a;

static void round_trip(const struct device_ops *ops, void *dev)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct rd in;

	ops->save(dev, &first);
	in = (struct rd)RD_INIT(first.data, first.len);
	must(ops->restore(dev, &in) == 0 && rd_left(&in) == 0);
	ops->save(dev, &second);
	must(first.len == second.len && !memcmp(first.data, second.data, first.len));
	buf_free(&first);
	buf_free(&second);
}

/* A true image with some bytes replaced: restored or refused. */
static void hostile(const struct device_ops *ops, void *dev, struct rd *in)
{
	struct buf image = BUF_INIT;
	unsigned n = rd_u8(in) & 7;
	struct rd rd;

	ops->save(dev, &image);
	while (n--)
		image.data[rd_u16(in) % image.len] = rd_u8(in);
	rd = (struct rd)RD_INIT(image.data, image.len);
	ops->restore(dev, &rd);
	buf_free(&image);
}

static void msr(struct rd *in, uint8_t op)
{
	static const uint32_t special[] = { LAPIC_MSR_BASE, LAPIC_MSR_DEADLINE };
	uint8_t reg = rd_u8(in);
	uint32_t n = reg & 0x80 ? special[reg & 1] : LAPIC_MSR_FIRST + (reg & 0x3f);
	uint64_t v = 0;

	if (op & 0x10)
		lapic_msr_read(&a.lapic, n, &v);
	else if (op & 0x20)
		lapic_msr_write(&a.lapic, n, rd_u64(in));
	else
		lapic_msr_write(&a.lapic, n, rd_u32(in));
}

static void message(struct rd *in)
{
	uint32_t v = rd_u32(in);
	struct apic_message msg = apic_message_of_msi(0xfee00000u | (v & 0xff00c), v >> 16);

	lapic_receive(&a.lapic, &msg);
}

static void take(void)
{
	bool own = a.lapic.out;
	uint8_t v;

	if (!lapic_pending(&a.lapic))
		return;
	must(own == a.intr);
	v = lapic_acknowledge(&a.lapic);
	must(v >= 16 || a.lapic.lint & 1 || a.pic.chip[0].base < 16 || a.pic.chip[1].base < 16);
}

static void state(struct rd *in, uint8_t op)
{
	static const struct device_ops *const ops[] = { &lapic_ops, &ioapic_ops, &i8259_ops };
	void *const dev[] = { &a.lapic, &a.ioapic, &a.pic };
	unsigned which = (op >> 4) % 3;

	if (op & 0x80)
		round_trip(ops[which], dev[which]);
	else
		hostile(ops[which], dev[which], in);
}

static void step(struct rd *in)
{
	uint8_t op = rd_u8(in), v;

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
		lapic_mmio_write(&a.lapic, (unsigned)rd_u8(in) << 4, 4, rd_u32(in));
		break;
	case 3:
		lapic_mmio_read(&a.lapic, rd_u16(in) & 0xfff, 1u << (op >> 6));
		break;
	case 4:
	case 5:
		msr(in, op);
		break;
	case 6:
		message(in);
		break;
	case 7:
	case 8:
		bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE, 4, rd_u8(in) & 0x3f);
		bus_write(&a.rig.bus, BUS_MMIO, IOAPIC_BASE + 0x10, 4, rd_u32(in));
		break;
	case 9:
		v = rd_u8(in);
		ioapic_set_irq(&a.ioapic, v & 31, v & 0x80);
		break;
	case 10:
		v = rd_u8(in);
		i8259_set_irq(&a.pic, v & 15, v & 0x80);
		break;
	case 11:
		bus_write(&a.rig.bus, BUS_PORT, op & 0x10 ? 0x21 : 0x20, 1, rd_u8(in));
		break;
	case 12:
		take();
		break;
	case 13:
		rig_jump(&a.rig, (uint64_t)rd_u8(in) << (op >> 4 << 1));
		break;
	case 14:
		state(in, op);
		break;
	default:
		lapic_set_cr8(&a.lapic, op >> 4);
		lapic_set_tsc_offset(&a.lapic, rd_u32(in));
	}
	must(a.intr == lapic_pending(&a.lapic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);

	apic_rig_init(&a);
	lapic_firmware(&a.lapic);
	while (rd_left(&in) && a.rig.ns < INT64_MAX)
		step(&in);
	round_trip(&lapic_ops, &a.lapic);
	round_trip(&ioapic_ops, &a.ioapic);
	return 0;
}
