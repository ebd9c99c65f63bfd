// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8254 timer, after Intel's datasheet (order number 231164).
 *
 * Nothing counts here. A channel remembers at which clock (cycle of the 1193182 Hz input) its count
 * was loaded, and the count, the output and the next edge follow from the clock now, which follows
 * from virtual time in exact integers. A count or trigger takes effect one clock after the write,
 * as the chip loads its counter on the next clock pulse.
 *
 * Channel 0's edges become interrupts by a timer at the virtual time of the next rising edge of
 * OUT. The rule for late ticks: a timer that fires late makes one edge on IRQ0, however many
 * periods went by, and the phase is kept: the next deadline is the first edge after now on the grid
 * laid by the load. In modes 2 to 4 the line is lowered just before the edge rather than at the
 * chip's falling edge, so a tick that the guest was too late to take within half a period is not
 * lost. Deadlines of a periodic mode are at least I8254_MIN_REARM_NS apart.
 */
#include "hypervisor/devices/i8254.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

#define NS_PER_SEC 1000000000u
#define NEVER	   INT64_MAX

#define RW_LOW	1
#define RW_HIGH 2
#define RW_BOTH 3

#define PORT61_GATE2	0x01
#define PORT61_WRITABLE 0x0f
#define PORT61_REFRESH	0x10
#define PORT61_OUT2	0x20
#define REFRESH_CLOCKS	18 /* DRAM refresh by channel 1: every 15 us */

/* Cycles of the input clock that began at or before ns. */
static int64_t ns_to_clocks(uint64_t ns)
{
	return (int64_t)((unsigned __int128)ns * I8254_HZ / NS_PER_SEC);
}

/* First ns that belongs to the cycle. */
static uint64_t clocks_to_ns(int64_t clocks)
{
	unsigned __int128 ns =
		((unsigned __int128)(uint64_t)clocks * NS_PER_SEC + I8254_HZ - 1) / I8254_HZ;

	return ns < CLOCK_NEVER ? (uint64_t)ns : CLOCK_NEVER;
}

static int64_t pit_now(const struct i8254 *pit)
{
	return ns_to_clocks(clock_now(pit->clock));
}

/* Modes 6 and 7 are 2 and 3. */
static unsigned ch_mode(const struct i8254_channel *ch)
{
	return ch->mode > 5 ? ch->mode - 4u : ch->mode;
}

static bool ch_periodic(const struct i8254_channel *ch)
{
	return ch_mode(ch) == 2 || ch_mode(ch) == 3;
}

static uint32_t ch_modulus(const struct i8254_channel *ch)
{
	return ch->bcd ? 10000 : 65536;
}

/* Mode 3: clocks of the high half; the low half has the rest. */
static uint32_t high_half(uint32_t n)
{
	return (n + 1) / 2;
}

/* Clocks since the count in force was loaded; negative before the load. */
static int64_t ch_elapsed(const struct i8254_channel *ch, int64_t now)
{
	return ch->frozen ? ch->start : now - ch->start;
}

/* Puts a count written in mid-period into force once its time has come. */
static void ch_advance(struct i8254_channel *ch, int64_t now)
{
	int64_t into;

	if (!ch->pending || ch->frozen || now < ch->change)
		return;
	/* A change in the middle of mode 3's period goes on with the low half of the new count. */
	into = ch_mode(ch) == 3 && (ch->change - ch->start) % ch->count ? high_half(ch->reload) : 0;
	ch->start = ch->change - into;
	ch->count = ch->reload;
	ch->pending = false;
}

static bool ch_out_periodic(const struct i8254_channel *ch, int64_t elapsed)
{
	uint32_t phase;

	if (elapsed < 0 || ch->frozen)
		return true;
	phase = (uint32_t)(elapsed % ch->count);
	return ch_mode(ch) == 2 ? phase != ch->count - 1 : phase < high_half(ch->count);
}

static bool ch_out(const struct i8254_channel *ch, int64_t now)
{
	int64_t elapsed = ch_elapsed(ch, now);

	if (!ch->armed)
		return ch_mode(ch) != 0;
	switch (ch_mode(ch)) {
	case 0:
		return elapsed >= ch->count;
	case 1:
		return elapsed < 0 || elapsed >= ch->count;
	case 2:
	case 3:
		return ch_out_periodic(ch, elapsed);
	default: /* a strobe of one clock when the count expires */
		return elapsed != ch->count;
	}
}

/* The counting element. Mode 3 counts by twos, from an even value, twice a period. */
static uint32_t ch_value(const struct i8254_channel *ch, int64_t now)
{
	int64_t elapsed = ch_elapsed(ch, now);
	uint32_t n = ch->count, phase;

	if (!ch->armed || elapsed < 0)
		return n % ch_modulus(ch);
	if (!ch_periodic(ch))
		return (uint32_t)((n + ch_modulus(ch) - elapsed % ch_modulus(ch)) % ch_modulus(ch));
	phase = (uint32_t)(elapsed % n);
	if (ch_mode(ch) == 2)
		return (n - phase) % ch_modulus(ch);
	if (phase >= high_half(n))
		phase -= high_half(n);
	return ((n & ~1u) - 2 * phase) % ch_modulus(ch);
}

static uint16_t ch_encode(const struct i8254_channel *ch, uint32_t v)
{
	if (!ch->bcd)
		return (uint16_t)v;
	return (uint16_t)((v / 1000 % 10) << 12 | (v / 100 % 10) << 8 | (v / 10 % 10) << 4 |
			  v % 10);
}

/*
 * A written count; 0 is the largest. Digits above 9 count as what they say, modulo the counter's
 * range.
 */
static uint32_t ch_decode(const struct i8254_channel *ch, uint16_t v)
{
	uint32_t n = v;

	if (ch->bcd)
		n = ((v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15)) %
		    10000;
	return n ? n : ch_modulus(ch);
}

/* End of the period (mode 2) or half period (mode 3) that holds `now`. */
static int64_t ch_period_end(const struct i8254_channel *ch, int64_t now)
{
	int64_t elapsed = ch_elapsed(ch, now), phase;

	if (elapsed < 0)
		return ch->start;
	phase = elapsed % ch->count;
	if (ch_mode(ch) == 3 && phase < high_half(ch->count))
		return now - phase + high_half(ch->count);
	return now - phase + ch->count;
}

static void ch_load(struct i8254_channel *ch, int64_t start)
{
	ch->count = ch->reload;
	ch->start = ch->frozen ? 0 : start;
	ch->armed = true;
	ch->pending = false;
}

static void ch_write_count(struct i8254_channel *ch, uint16_t v, int64_t now)
{
	unsigned mode = ch_mode(ch);

	ch->reload = ch_decode(ch, v);
	ch->written = true;
	if (mode == 1 || mode == 5) { /* waits for a trigger */
		if (!ch->armed)
			ch->count = ch->reload;
	} else if (!ch_periodic(ch) || !ch->armed) {
		ch_load(ch, now + 1);
	} else if (ch->frozen) { /* GATE rising will load it */
		ch->pending = true;
		ch->change = 0;
	} else if (now < ch->start) { /* the count before was not even loaded */
		ch->count = ch->reload;
	} else {
		if (!ch->pending)
			ch->change = ch_period_end(ch, now);
		ch->pending = true;
	}
}

static void ch_write(struct i8254_channel *ch, uint8_t v, int64_t now)
{
	ch_advance(ch, now);
	if (ch->rw == RW_LOW) {
		ch_write_count(ch, v, now);
	} else if (ch->rw == RW_HIGH) {
		ch_write_count(ch, (uint16_t)(v << 8), now);
	} else if (!ch->write_high) {
		ch->low = v;
		ch->write_high = true;
		if (ch_mode(ch) == 0) /* the first byte stops the count and lowers OUT */
			ch->armed = false;
	} else {
		ch->write_high = false;
		ch_write_count(ch, (uint16_t)(v << 8 | ch->low), now);
	}
}

static uint8_t ch_read(struct i8254_channel *ch, int64_t now)
{
	uint16_t v;
	bool high = ch->rw == RW_HIGH || ch->read_high;

	ch_advance(ch, now);
	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status;
	}
	v = ch->count_latched ? ch->latch : ch_encode(ch, ch_value(ch, now));
	if (ch->rw == RW_BOTH)
		ch->read_high = !ch->read_high;
	if (ch->rw != RW_BOTH || high)
		ch->count_latched = false;
	return (uint8_t)(high ? v >> 8 : v);
}

static void ch_latch_count(struct i8254_channel *ch, int64_t now)
{
	if (ch->count_latched)
		return;
	ch->latch = ch_encode(ch, ch_value(ch, now));
	ch->count_latched = true;
}

/* Bit 6, NULL COUNT: the count written last is not yet in the counting element. */
static void ch_latch_status(struct i8254_channel *ch, int64_t now)
{
	bool null = !ch->armed || ch->pending || ch_elapsed(ch, now) < 0 || ch->reload != ch->count;

	if (ch->status_latched)
		return;
	ch->status =
		(uint8_t)(ch_out(ch, now) << 7 | null << 6 | ch->rw << 4 | ch->mode << 1 | ch->bcd);
	ch->status_latched = true;
}

static void ch_control(struct i8254_channel *ch, uint8_t v)
{
	bool gate = ch->gate;

	*ch = (struct i8254_channel){
		.rw = v >> 4 & 3, .mode = v >> 1 & 7, .bcd = v & 1, .gate = gate
	};
	ch->count = ch->reload = ch_modulus(ch);
	ch->frozen = !gate && ch_mode(ch) != 1 && ch_mode(ch) != 5;
}

/* GATE acts by its level in modes 0 and 4, by its edge in 1 and 5, by both in 2 and 3. */
static void ch_set_gate(struct i8254_channel *ch, bool gate, int64_t now)
{
	bool triggered = ch_mode(ch) == 1 || ch_mode(ch) == 5;

	if (gate == ch->gate)
		return;
	ch_advance(ch, now);
	ch->gate = gate;
	if (triggered) {
		if (gate && ch->written)
			ch_load(ch, now + 1);
	} else if (!gate) {
		ch->start = ch->armed && now > ch->start ? now - ch->start : 0;
		ch->frozen = true;
	} else {
		ch->frozen = false;
		if (ch_periodic(ch) && ch->armed)
			ch_load(ch, now + 1);
		else
			ch->start = now - ch->start;
	}
}

/* First rising edge of OUT after now by the count in force alone. */
static int64_t ch_edge(const struct i8254_channel *ch, int64_t now)
{
	int64_t elapsed = ch_elapsed(ch, now), edge;

	if (!ch->armed || ch->frozen)
		return NEVER;
	if (ch_periodic(ch)) {
		if (ch->count < 2) /* OUT cannot toggle */
			return NEVER;
		return elapsed < 0 ? ch->start + ch->count : now - elapsed % ch->count + ch->count;
	}
	edge = ch->start + ch->count + (ch_mode(ch) == 4 || ch_mode(ch) == 5);
	return edge > now ? edge : NEVER;
}

static int64_t ch_next_edge(const struct i8254_channel *ch, int64_t now)
{
	struct i8254_channel next = *ch;
	int64_t edge = ch_edge(ch, now);

	if (!ch->pending || ch->frozen || edge <= ch->change)
		return edge;
	ch_advance(&next, ch->change);
	return ch_edge(&next, ch->change);
}

/* Sets the timer for the first edge of channel 0 after ns. */
static void pit_arm(struct i8254 *pit, uint64_t ns)
{
	int64_t edge = ch_next_edge(&pit->ch[0], ns_to_clocks(ns));

	if (edge == NEVER)
		timer_stop(pit->clock, &pit->timer);
	else
		timer_set(pit->clock, &pit->timer, clocks_to_ns(edge));
}

static void pit_set_out(struct i8254 *pit, bool level)
{
	pit->out = level;
	irq_set(&pit->irq, level);
}

static void pit_fire(void *dev)
{
	struct i8254 *pit = dev;
	struct i8254_channel *ch = &pit->ch[0];
	uint64_t now = clock_now(pit->clock);

	ch_advance(ch, ns_to_clocks(now));
	pit_set_out(pit, false);
	pit_set_out(pit, true);
	pit_arm(pit, ch_periodic(ch) ? now + I8254_MIN_REARM_NS : now);
}

/* After the guest changed channel 0. The strobe of mode 4 and the low phases of modes 2 and 3 do
 * not show on the line.
 */
static void pit_update(struct i8254 *pit)
{
	const struct i8254_channel *ch = &pit->ch[0];
	uint64_t now = clock_now(pit->clock);

	pit_set_out(pit, ch_mode(ch) != 0 || ch_out(ch, ns_to_clocks(now)));
	pit_arm(pit, now);
}

/*
 * Read-back command: bit 5 clear latches counts, bit 4 clear latches status, bits 3 to 1 choose the
 * channels.
 */
static void pit_read_back(struct i8254 *pit, uint8_t v, int64_t now)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(v & (2u << i)))
			continue;
		ch_advance(&pit->ch[i], now);
		if (!(v & 0x20))
			ch_latch_count(&pit->ch[i], now);
		if (!(v & 0x10))
			ch_latch_status(&pit->ch[i], now);
	}
}

static void pit_control(struct i8254 *pit, uint8_t v)
{
	int64_t now = pit_now(pit);
	struct i8254_channel *ch;

	if (v >> 6 == 3) {
		pit_read_back(pit, v, now);
		return;
	}
	ch = &pit->ch[v >> 6];
	ch_advance(ch, now);
	if (!(v & 0x30)) {
		ch_latch_count(ch, now);
		return;
	}
	ch_control(ch, v);
	if (ch == &pit->ch[0])
		pit_update(pit);
}

static uint8_t pit_read8(void *dev, unsigned reg)
{
	struct i8254 *pit = dev;

	return reg < 3 ? ch_read(&pit->ch[reg], pit_now(pit))
		       : 0xff; /* the control word cannot be read */
}

static void pit_write8(void *dev, unsigned reg, uint8_t v)
{
	struct i8254 *pit = dev;

	if (reg == 3) {
		pit_control(pit, v);
		return;
	}
	ch_write(&pit->ch[reg], v, pit_now(pit));
	if (reg == 0)
		pit_update(pit);
}

static uint64_t pit_read(void *dev, uint64_t offset, unsigned size)
{
	return bytewide_read(dev, offset, size, 4, pit_read8);
}

static void pit_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bytewide_write(dev, offset, size, value, 4, pit_write8);
}

static uint8_t port61_read8(void *dev, unsigned reg)
{
	struct i8254 *pit = dev;
	int64_t now = pit_now(pit);
	uint8_t v = pit->port61;

	ch_advance(&pit->ch[2], now);
	if (now / REFRESH_CLOCKS & 1)
		v |= PORT61_REFRESH;
	if (ch_out(&pit->ch[2], now))
		v |= PORT61_OUT2;
	return v;
}

static void port61_write8(void *dev, unsigned reg, uint8_t v)
{
	struct i8254 *pit = dev;

	pit->port61 = v & PORT61_WRITABLE;
	ch_set_gate(&pit->ch[2], v & PORT61_GATE2, pit_now(pit));
}

static uint64_t port61_read(void *dev, uint64_t offset, unsigned size)
{
	return bytewide_read(dev, offset, size, 1, port61_read8);
}

static void port61_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bytewide_write(dev, offset, size, value, 1, port61_write8);
}

/* The chip has no reset; here the channels wait for a control word, and no interrupt comes. */
static void i8254_reset(void *dev)
{
	struct i8254 *pit = dev;

	for (unsigned i = 0; i < 3; i++) {
		pit->ch[i] = (struct i8254_channel){ .gate = i != 2 };
		ch_control(&pit->ch[i], 0x36); /* mode 3, no count yet */
	}
	pit->port61 = 0;
	timer_stop(pit->clock, &pit->timer);
	pit_set_out(pit, false);
}

void i8254_init(struct i8254 *pit, struct bus *bus, struct clock *clock, struct irq_line irq0)
{
	memset(pit, 0, sizeof(*pit));
	pit->clock = clock;
	pit->irq = irq0;
	timer_init(clock, &pit->timer, "i8254", pit_fire, pit);
	i8254_reset(pit);
	bus_add(bus, BUS_PORT, 0x40, 4, pit_read, pit_write, pit, "i8254");
	bus_add(bus, BUS_PORT, 0x61, 1, port61_read, port61_write, pit, "port61");
}

static bool *ch_bool(struct i8254_channel *ch, unsigned i)
{
	bool *const field[] = { &ch->bcd,	    &ch->gate,	    &ch->armed,
				&ch->written,	    &ch->frozen,    &ch->pending,
				&ch->write_high,    &ch->read_high, &ch->count_latched,
				&ch->status_latched };

	return i < sizeof(field) / sizeof(field[0]) ? field[i] : NULL;
}

static void ch_save(const struct i8254_channel *channel, struct buf *out)
{
	struct i8254_channel ch = *channel;

	for (unsigned k = 0; ch_bool(&ch, k); k++)
		buf_put_u8(out, *ch_bool(&ch, k));
	buf_put_u8(out, ch.mode);
	buf_put_u8(out, ch.rw);
	buf_put_u8(out, ch.low);
	buf_put_u8(out, ch.status);
	buf_put_u16(out, ch.latch);
	buf_put_u32(out, ch.count);
	buf_put_u32(out, ch.reload);
	buf_put_u64(out, (uint64_t)ch.start);
	buf_put_u64(out, (uint64_t)ch.change);
}

static void i8254_save(const void *dev, struct buf *out)
{
	const struct i8254 *pit = dev;

	for (unsigned i = 0; i < 3; i++)
		ch_save(&pit->ch[i], out);
	buf_put_u8(out, pit->port61);
	buf_put_u8(out, pit->out);
	buf_put_u64(out, pit->timer.deadline);
}

/*
 * Clocks that virtual time can reach, with room for a period, as a time or (a suspended channel
 * goes on) before it.
 */
static bool clocks_valid(int64_t v)
{
	int64_t limit = ns_to_clocks(UINT64_MAX) + (1 << 20);

	return v >= -limit && v <= limit;
}

static bool ch_valid(const struct i8254_channel *ch, unsigned i)
{
	bool level = ch_mode(ch) != 1 && ch_mode(ch) != 5;

	return ch->mode <= 7 && ch->rw >= RW_LOW && ch->rw <= RW_BOTH && ch->count >= 1 &&
	       ch->count <= ch_modulus(ch) && ch->reload >= 1 && ch->reload <= ch_modulus(ch) &&
	       clocks_valid(ch->start) && clocks_valid(ch->change) &&
	       (!ch->pending || (ch->armed && ch_periodic(ch))) && (i == 2 || ch->gate) &&
	       ch->frozen == (level && !ch->gate) && (!ch->frozen || ch->start >= 0) &&
	       (!ch->pending || ch->frozen || ch->change >= ch->start);
}

static bool ch_restore(struct i8254_channel *ch, unsigned i, struct rd *in)
{
	bool good = true;

	for (unsigned k = 0; ch_bool(ch, k); k++) {
		uint8_t v = rd_u8(in);

		good = good && v <= 1;
		*ch_bool(ch, k) = v == 1;
	}
	ch->mode = rd_u8(in);
	ch->rw = rd_u8(in);
	ch->low = rd_u8(in);
	ch->status = rd_u8(in);
	ch->latch = rd_u16(in);
	ch->count = rd_u32(in);
	ch->reload = rd_u32(in);
	ch->start = (int64_t)rd_u64(in);
	ch->change = (int64_t)rd_u64(in);
	return good && !in->bad && ch_valid(ch, i);
}

static int i8254_restore(void *dev, struct rd *in)
{
	struct i8254 *pit = dev;
	uint64_t deadline;
	bool good = true;
	uint8_t out;

	for (unsigned i = 0; i < 3; i++)
		good = ch_restore(&pit->ch[i], i, in) && good;
	pit->port61 = rd_u8(in);
	out = rd_u8(in);
	deadline = rd_u64(in);
	if (!good || in->bad || out > 1 || pit->port61 & ~PORT61_WRITABLE ||
	    pit->ch[2].gate != (pit->port61 & PORT61_GATE2)) {
		i8254_reset(pit);
		return -EINVAL;
	}
	pit->out = out;
	timer_set(pit->clock, &pit->timer, deadline);
	return 0;
}

const struct device_ops i8254_ops = {
	.name = "i8254",
	.reset = i8254_reset,
	.save = i8254_save,
	.restore = i8254_restore,
};
