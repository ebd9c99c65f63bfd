// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MC146818, after Motorola's datasheet.
 *
 * The clock runs while the divider is on (register A, DV = 010) and SET (register B) is clear. Then
 * the date is base_sec plus the whole seconds of virtual time since base_ns, and the time bytes are
 * computed when they are read. While it is stopped the bytes in `cmos` are the date, as raw as the
 * guest wrote them.
 *
 * Interrupt flags are computed when somebody looks: rtc_sync() finds what fell due since it ran
 * last. A timer is set only for events whose interrupt is enabled and whose flag is not yet set, so
 * an unread register C stops the interrupts, as on the chip, and an idle RTC costs no exits.
 *
 * UIP is set during the last 244 us of each second, and the new date shows as soon as it clears: a
 * guest that waits for the bit waits little.
 */
#include "hypervisor/devices/rtc.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/devices/bytewide.h"

#define NS_PER_SEC  1000000000u
#define DAY	    86400
#define UIP_NS	    244000u
#define DIVIDER_HZ  32768u
#define EPOCH_LIMIT 253402300800ll   /* 10000-01-01 */
#define EPOCH_START (-62167219200ll) /* 0000-01-01 */

enum {
	REG_SEC,
	REG_SEC_ALARM,
	REG_MIN,
	REG_MIN_ALARM,
	REG_HOUR,
	REG_HOUR_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_CENTURY = 0x32,
};

#define A_UIP	  0x80
#define A_DV(a)	  ((a) >> 4 & 7)
#define A_RS(a)	  ((a)&15)
#define DV_RUN	  2
#define DV_RESET  6 /* and 7 */
#define B_SET	  0x80
#define B_ENABLES 0x70
#define B_UIE	  0x10
#define B_SQWE	  0x08
#define B_BINARY  0x04
#define B_24H	  0x02
#define C_IRQF	  0x80
#define C_PF	  0x40
#define C_AF	  0x20
#define C_UF	  0x10
#define D_VRT	  0x80
#define HOUR_PM	  0x80
#define ALARM_ANY 0xc0 /* both bits set in an alarm byte: every value matches */

struct date {
	int64_t year;
	int month, day, hour, min, sec, weekday; /* month and day from 1, weekday 0 is Sunday */
};

/*
 * Days since 1970-01-01 of a date in the proleptic Gregorian calendar; months count from March
 * inside.
 */
static int64_t days_from_date(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400,
		yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static struct date date_from_sec(int64_t sec)
{
	int64_t days = floor_div(sec, DAY), z = days + 719468, era = floor_div(z, 146097),
		doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	int in_day = (int)(sec - days * DAY), weekday = (int)((days + 4) % 7);
	struct date d = {
		.month = (int)(mp < 10 ? mp + 3 : mp - 9),
		.day = (int)(doy - (153 * mp + 2) / 5 + 1),
		.hour = in_day / 3600,
		.min = in_day / 60 % 60,
		.sec = in_day % 60,
		.weekday = weekday < 0 ? weekday + 7 : weekday,
	};

	d.year = yoe + era * 400 + (d.month <= 2);
	return d;
}

static bool rtc_counting(const struct rtc *r)
{
	return A_DV(r->a) == DV_RUN;
}

static bool rtc_running(const struct rtc *r)
{
	return rtc_counting(r) && !(r->b & B_SET);
}

/* Whole seconds of the divider chain since base_ns. */
static int64_t rtc_elapsed(const struct rtc *r, uint64_t ns)
{
	return (int64_t)((ns - r->base_ns) / NS_PER_SEC);
}

static int64_t rtc_seconds(const struct rtc *r, uint64_t ns)
{
	return r->base_sec + rtc_elapsed(r, ns);
}

/* ---- formats ---- */
static uint8_t rtc_encode(const struct rtc *r, int v)
{
	return (uint8_t)(r->b & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int rtc_decode(const struct rtc *r, uint8_t v)
{
	return r->b & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t rtc_encode_hour(const struct rtc *r, int hour)
{
	if (r->b & B_24H)
		return rtc_encode(r, hour);
	return rtc_encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

/* Any byte gives some hour; one that is no hour gives one above 23. */
static int rtc_decode_hour(const struct rtc *r, uint8_t v)
{
	int hour;

	if (r->b & B_24H)
		return rtc_decode(r, v);
	hour = rtc_decode(r, v & 0x7f);
	if (hour < 1 || hour > 12)
		return 24;
	return hour % 12 + (v & HOUR_PM ? 12 : 0);
}

static bool is_time_reg(unsigned reg)
{
	return reg == REG_SEC || reg == REG_MIN || reg == REG_HOUR ||
	       (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == REG_CENTURY;
}

static void rtc_date_to_cmos(struct rtc *r, int64_t sec)
{
	struct date d = date_from_sec(sec);

	r->cmos[REG_SEC] = rtc_encode(r, d.sec);
	r->cmos[REG_MIN] = rtc_encode(r, d.min);
	r->cmos[REG_HOUR] = rtc_encode_hour(r, d.hour);
	r->cmos[REG_WEEKDAY] = rtc_encode(r, (d.weekday + r->weekday) % 7 + 1);
	r->cmos[REG_DAY] = rtc_encode(r, d.day);
	r->cmos[REG_MONTH] = rtc_encode(r, d.month);
	r->cmos[REG_YEAR] = rtc_encode(r, (int)(d.year % 100));
	r->cmos[REG_CENTURY] = rtc_encode(r, (int)(d.year / 100));
}

static int clamp(int v, int low, int high)
{
	return v < low ? low : v > high ? high : v;
}

/* The date that the bytes mean. A byte that is no valid value counts as the nearest one. */
static int64_t rtc_date_from_cmos(struct rtc *r)
{
	int century = clamp(rtc_decode(r, r->cmos[REG_CENTURY]), 0, 99);
	int year = clamp(rtc_decode(r, r->cmos[REG_YEAR]), 0, 99);
	int64_t days = days_from_date(century * 100 + year,
				      clamp(rtc_decode(r, r->cmos[REG_MONTH]), 1, 12),
				      clamp(rtc_decode(r, r->cmos[REG_DAY]), 1, 31));
	int64_t sec = days * DAY + clamp(rtc_decode_hour(r, r->cmos[REG_HOUR]), 0, 23) * 3600 +
		      clamp(rtc_decode(r, r->cmos[REG_MIN]), 0, 59) * 60 +
		      clamp(rtc_decode(r, r->cmos[REG_SEC]), 0, 59);
	int weekday = clamp(rtc_decode(r, r->cmos[REG_WEEKDAY]), 1, 7) - 1;

	r->weekday = (uint8_t)((weekday + 7 - date_from_sec(sec).weekday) % 7);
	return sec;
}

/* ---- interrupts ---- */
/* Period of PF in cycles of the divider, 0: none. The two shortest settings repeat slower ones. */
static uint64_t rtc_period(const struct rtc *r)
{
	unsigned rs = A_RS(r->a);

	if (!rs || !rtc_counting(r))
		return 0;
	return 1ull << (rs <= 2 ? rs + 6 : rs - 1);
}

static uint64_t rtc_cycles(const struct rtc *r, uint64_t ns)
{
	return (uint64_t)((unsigned __int128)(ns - r->base_ns) * DIVIDER_HZ / NS_PER_SEC);
}

static uint64_t rtc_cycle_ns(const struct rtc *r, uint64_t cycle)
{
	return r->base_ns +
	       (uint64_t)(((unsigned __int128)cycle * NS_PER_SEC + DIVIDER_HZ - 1) / DIVIDER_HZ);
}

static bool alarm_any(uint8_t v)
{
	return (v & ALARM_ANY) == ALARM_ANY;
}

/*
 * First second after `sec` that the alarm bytes match, or INT64_MAX: an alarm comes within a day or
 * never.
 */
static int64_t rtc_alarm_after(const struct rtc *r, int64_t sec)
{
	uint8_t h = r->cmos[REG_HOUR_ALARM], m = r->cmos[REG_MIN_ALARM], s = r->cmos[REG_SEC_ALARM];
	int hour = alarm_any(h) ? -1 : rtc_decode_hour(r, h);
	int min = alarm_any(m) ? -1 : rtc_decode(r, m);
	int second = alarm_any(s) ? -1 : rtc_decode(r, s);
	int64_t t = sec + 1, day = floor_div(t, DAY) * DAY;

	while (t <= sec + DAY) {
		int in_day = (int)((t - day) % DAY);

		if (hour >= 0 && in_day / 3600 != hour)
			t += 3600 - in_day % 3600;
		else if (min >= 0 && in_day / 60 % 60 != min)
			t += 60 - in_day % 60;
		else if (second >= 0 && in_day % 60 != second)
			t++;
		else
			return t;
	}
	return INT64_MAX;
}

/* Puts what fell due since the last call into the flags. */
static void rtc_sync(struct rtc *r, uint64_t now)
{
	uint64_t period = rtc_period(r);
	int64_t seen = rtc_seconds(r, r->seen_ns), sec = rtc_seconds(r, now);

	if (period && rtc_cycles(r, now) / period != rtc_cycles(r, r->seen_ns) / period)
		r->flags |= C_PF;
	if (rtc_running(r) && sec != seen) {
		r->flags |= C_UF;
		if (rtc_alarm_after(r, seen) <= sec)
			r->flags |= C_AF;
	}
	r->seen_ns = now;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Virtual time of the next event that raises the interrupt. */
static uint64_t rtc_next_event(const struct rtc *r, uint64_t now)
{
	unsigned wanted = r->b & B_ENABLES & ~r->flags;
	uint64_t at = CLOCK_NEVER, period = rtc_period(r),
		 to_sec = NS_PER_SEC - (now - r->base_ns) % NS_PER_SEC;

	if ((wanted & C_PF) && period)
		at = rtc_cycle_ns(r, (rtc_cycles(r, now) / period + 1) * period);
	if ((wanted & C_UF) && rtc_running(r))
		at = min_u64(at, now + to_sec);
	if ((wanted & C_AF) && rtc_running(r)) {
		int64_t sec = rtc_seconds(r, now), alarm = rtc_alarm_after(r, sec);

		if (alarm != INT64_MAX)
			at = min_u64(at, now + to_sec + (uint64_t)(alarm - sec - 1) * NS_PER_SEC);
	}
	return at;
}

/* After anything changed: interrupt line and timer. */
static void rtc_update(struct rtc *r)
{
	irq_set(&r->irq, r->flags & r->b & B_ENABLES);
	timer_set(r->clock, &r->timer, rtc_next_event(r, r->seen_ns));
}

static void rtc_fire(void *dev)
{
	struct rtc *r = dev;

	rtc_sync(r, clock_now(r->clock));
	rtc_update(r);
}

/* ---- registers ---- */
/*
 * Moves the base to the last second that began, with another date; the phase of the divider stays.
 */
static void rtc_set_seconds(struct rtc *r, int64_t sec, uint64_t now)
{
	r->base_ns += (uint64_t)rtc_elapsed(r, now) * NS_PER_SEC;
	r->base_sec = sec;
}

/* Applies new values of A and B, stopping or starting the clock. */
static void rtc_set_control(struct rtc *r, uint8_t a, uint8_t b, uint64_t now)
{
	bool was_running = rtc_running(r), was_counting = rtc_counting(r);

	if (was_running && ((b & B_SET) || A_DV(a) != DV_RUN))
		rtc_date_to_cmos(r, rtc_seconds(r, now));
	/* The first second after the divider's reset ends half a second after the release. */
	if (!was_counting && A_DV(a) == DV_RUN) {
		r->base_ns = now - NS_PER_SEC / 2;
		r->base_sec = 0;
	}
	r->a = a;
	r->b = b;
	if (!was_running && rtc_running(r))
		rtc_set_seconds(r, rtc_date_from_cmos(r), now);
}

static void rtc_write_time(struct rtc *r, unsigned reg, uint8_t v, uint64_t now)
{
	if (rtc_running(r)) {
		rtc_date_to_cmos(r, rtc_seconds(r, now));
		r->cmos[reg] = v;
		rtc_set_seconds(r, rtc_date_from_cmos(r), now);
	} else {
		r->cmos[reg] = v;
	}
}

static void rtc_write_data(struct rtc *r, uint8_t v)
{
	uint64_t now = clock_now(r->clock);

	rtc_sync(r, now);
	switch (r->index) {
	case REG_A:
		rtc_set_control(r, v & (uint8_t)~A_UIP, r->b, now);
		break;
	case REG_B:
		if (v & B_SET)
			v &= (uint8_t)~B_UIE;
		rtc_set_control(r, r->a, v, now);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		if (is_time_reg(r->index))
			rtc_write_time(r, r->index, v, now);
		else
			r->cmos[r->index] = v;
	}
	rtc_update(r);
}

static uint8_t rtc_read_c(struct rtc *r, uint64_t now)
{
	uint8_t v;

	rtc_sync(r, now);
	v = r->flags | (r->flags & r->b & B_ENABLES ? C_IRQF : 0);
	r->flags = 0;
	rtc_update(r);
	return v;
}

static uint8_t rtc_read_data(struct rtc *r)
{
	uint64_t now = clock_now(r->clock);
	bool uip;

	switch (r->index) {
	case REG_A:
		uip = rtc_running(r) && (now - r->base_ns) % NS_PER_SEC >= NS_PER_SEC - UIP_NS;
		return r->a | (uip ? A_UIP : 0);
	case REG_B:
		return r->b;
	case REG_C:
		return rtc_read_c(r, now);
	case REG_D:
		return D_VRT;
	default:
		if (rtc_running(r) && is_time_reg(r->index))
			rtc_date_to_cmos(r, rtc_seconds(r, now));
		return r->cmos[r->index];
	}
}

/* The index cannot be read back. */
static uint8_t rtc_read8(void *dev, unsigned reg)
{
	return reg == 1 ? rtc_read_data(dev) : 0xff;
}

/* Bit 7 of the index port would mask NMIs; nothing raises one here. */
static void rtc_write8(void *dev, unsigned reg, uint8_t v)
{
	struct rtc *r = dev;

	if (reg == 1)
		rtc_write_data(r, v);
	else
		r->index = v & 0x7f;
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned size)
{
	return bytewide_read(dev, offset, size, 2, rtc_read8);
}

static void rtc_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	bytewide_write(dev, offset, size, value, 2, rtc_write8);
}

/* ---- start state ---- */
static void cmos_put16(struct rtc *r, unsigned at, uint64_t v)
{
	uint64_t low = min_u64(v, 0xffff);

	r->cmos[at] = (uint8_t)low;
	r->cmos[at + 1] = (uint8_t)(low >> 8);
}

static uint64_t above(uint64_t size, uint64_t base)
{
	return size > base ? size - base : 0;
}

/* Fills in what firmware leaves: no drives, an FPU, memory sizes, the checksum over 10h to 2Dh. */
static void rtc_fill_cmos(struct rtc *r)
{
	unsigned sum = 0;
	uint64_t high = min_u64(r->high >> 16, 0xffffff);

	r->cmos[0x14] = 0x02;
	cmos_put16(r, 0x15, 640);
	cmos_put16(r, 0x17, above(r->low, 1 << 20) >> 10);
	cmos_put16(r, 0x30, above(r->low, 1 << 20) >> 10);
	cmos_put16(r, 0x34, above(r->low, 16 << 20) >> 16);
	r->cmos[0x5b] = (uint8_t)high;
	r->cmos[0x5c] = (uint8_t)(high >> 8);
	r->cmos[0x5d] = (uint8_t)(high >> 16);
	for (unsigned i = 0x10; i <= 0x2d; i++)
		sum += r->cmos[i];
	r->cmos[0x2e] = (uint8_t)(sum >> 8);
	r->cmos[0x2f] = (uint8_t)sum;
}

static void rtc_power_on(struct rtc *r)
{
	memset(r->cmos, 0, sizeof(r->cmos));
	rtc_fill_cmos(r);
	r->a = DV_RUN << 4 | 6;
	r->b = B_24H;
	r->index = r->flags = r->weekday = 0;
	r->base_sec = (int64_t)r->epoch;
	r->base_ns = r->seen_ns = 0;
	rtc_update(r);
}

/* The RESET pin: date and memory have a battery. */
static void rtc_reset(void *dev)
{
	struct rtc *r = dev;

	rtc_sync(r, clock_now(r->clock));
	r->b &= (uint8_t) ~(B_ENABLES | B_SQWE);
	r->flags = r->index = 0;
	rtc_update(r);
}

void rtc_init(struct rtc *r, struct bus *bus, struct clock *clock, struct irq_line irq8,
	      uint64_t epoch, uint64_t low, uint64_t high)
{
	memset(r, 0, sizeof(*r));
	r->clock = clock;
	r->irq = irq8;
	r->epoch = epoch < EPOCH_LIMIT ? epoch : EPOCH_LIMIT - 1;
	r->low = low;
	r->high = high;
	timer_init(clock, &r->timer, "rtc", rtc_fire, r);
	rtc_power_on(r);
	bus_add(bus, BUS_PORT, 0x70, 2, rtc_read, rtc_write, r, "rtc");
}

static void rtc_save(const void *dev, struct buf *out)
{
	const struct rtc *r = dev;

	buf_put(out, r->cmos, sizeof(r->cmos));
	buf_put_u8(out, r->index);
	buf_put_u8(out, r->a);
	buf_put_u8(out, r->b);
	buf_put_u8(out, r->flags);
	buf_put_u8(out, r->weekday);
	buf_put_u64(out, (uint64_t)r->base_sec);
	buf_put_u64(out, r->base_ns);
	buf_put_u64(out, r->seen_ns);
	buf_put_u64(out, r->timer.deadline);
}

static int rtc_restore(void *dev, struct rd *in)
{
	struct rtc *r = dev;
	uint64_t deadline;

	rd_get(in, r->cmos, sizeof(r->cmos));
	r->index = rd_u8(in);
	r->a = rd_u8(in);
	r->b = rd_u8(in);
	r->flags = rd_u8(in);
	r->weekday = rd_u8(in);
	r->base_sec = (int64_t)rd_u64(in);
	r->base_ns = rd_u64(in);
	r->seen_ns = rd_u64(in);
	deadline = rd_u64(in);
	if (in->bad || r->index > 0x7f || (r->a & A_UIP) || (r->flags & ~B_ENABLES) ||
	    r->weekday > 6 || r->base_sec < EPOCH_START || r->base_sec >= EPOCH_LIMIT + DAY * 31) {
		rtc_power_on(r);
		return -EINVAL;
	}
	timer_set(r->clock, &r->timer, deadline);
	return 0;
}

const struct device_ops rtc_ops = {
	.name = "rtc",
	.reset = rtc_reset,
	.save = rtc_save,
	.restore = rtc_restore,
};
