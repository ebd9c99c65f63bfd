// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/gdb_stub.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"

#define READ_ONLY   "E.a recording cannot be changed"
#define MONITOR_MAX 1024

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target, void *ctx)
{
	memset(s, 0, sizeof(*s));
	s->target = target;
	s->ctx = ctx;
}

void gdb_stub_fini(struct gdb_stub *s)
{
	buf_free(&s->out);
	buf_free(&s->last);
}

/* ---- answers ---- */

static void answer(struct gdb_stub *s, const void *data, size_t len)
{
	buf_clear(&s->last);
	gdb_packet_put(&s->last, data, len);
	buf_put(&s->out, s->last.data, s->last.len);
}

static void say(struct gdb_stub *s, const char *text)
{
	answer(s, text, strlen(text));
}

static void answer_hex(struct gdb_stub *s, const void *data, size_t len)
{
	struct buf b = BUF_INIT;

	gdb_hex_put(&b, data, len);
	answer(s, b.data, b.len);
	buf_free(&b);
}

/* ---- stops ---- */

static void put(char *text, size_t n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put(char *text, size_t n, const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + used, n - used, fmt, ap);
	va_end(ap);
}

/* Kind of the breakpoint at RIP, in GDB's word for it. */
static const char *breakpoint_word(struct gdb_stub *s)
{
	struct cpu_state cpu;

	s->target->state(s->ctx, &cpu);
	for (size_t i = 0; i < s->points.nbreakpoints; i++) {
		if (s->points.breakpoint[i] == cpu.seg[SEG_CS].base + cpu.rip)
			return s->breakpoint_type[i] == '0' ? "swbreak:;" : "hwbreak:;";
	}
	return "";
}

static void say_stop(struct gdb_stub *s)
{
	static const char *const watch_word[] = { "watch", "rwatch", "awatch" };
	char text[128] = "T05thread:1;";

	switch (s->why) {
	case TIMELINE_THERE:
		break;
	case TIMELINE_BREAKPOINT:
		put(text, sizeof(text), "%s", breakpoint_word(s));
		break;
	case TIMELINE_WATCH:
		put(text, sizeof(text), "%s:%" PRIx64 ";",
		    watch_word[(s->watch_type[s->where.watch] - '2') % 3], s->where.address);
		break;
	case TIMELINE_BEGIN:
		put(text, sizeof(text), "replaylog:begin;");
		break;
	case TIMELINE_END:
		put(text, sizeof(text), "replaylog:end;");
		break;
	case TIMELINE_ASKED:
		strcpy(text, "T02thread:1;");
		break;
	case TIMELINE_FAILED:
		strcpy(text, "T06thread:1;");
		break;
	}
	say(s, text);
}

static void move(struct gdb_stub *s, enum gdb_move how)
{
	s->why = s->target->move(s->ctx, how, &s->points, &s->where);
	say_stop(s);
}

/* ---- breakpoints and watches: ZTYPE,ADDRESS,KIND ---- */

static bool parse_point(const char *p, uint64_t *address, uint64_t *length)
{
	return p[0] >= '0' && p[0] <= '4' && p[1] == ',' && (p += 2, gdb_number(&p, address)) &&
	       *p == ',' && (p++, gdb_number(&p, length));
}

static bool add_point(struct gdb_stub *s, char type, uint64_t address, uint64_t length)
{
	struct timeline_probe *t = &s->points;

	if (type <= '1') {
		if (t->nbreakpoints == PROBE_BREAKPOINTS)
			return false;
		s->breakpoint_type[t->nbreakpoints] = (uint8_t)type;
		t->breakpoint[t->nbreakpoints++] = address;
		return true;
	}
	if (t->nwatches == PROBE_WATCHES || !length || length > 4096)
		return false;
	s->watch_type[t->nwatches] = (uint8_t)type;
	t->watch[t->nwatches++] = (struct engine_watch){
		.address = address, .length = length, .read = type != '2', .write = type != '3'
	};
	return true;
}

static void remove_point(struct gdb_stub *s, char type, uint64_t address, uint64_t length)
{
	struct timeline_probe *t = &s->points;

	for (size_t i = 0; type <= '1' && i < t->nbreakpoints; i++) {
		if (t->breakpoint[i] != address || s->breakpoint_type[i] != type)
			continue;
		t->nbreakpoints--;
		t->breakpoint[i] = t->breakpoint[t->nbreakpoints];
		s->breakpoint_type[i] = s->breakpoint_type[t->nbreakpoints];
		return;
	}
	for (size_t i = 0; type > '1' && i < t->nwatches; i++) {
		if (t->watch[i].address != address || t->watch[i].length != length ||
		    s->watch_type[i] != type)
			continue;
		t->nwatches--;
		t->watch[i] = t->watch[t->nwatches];
		s->watch_type[i] = s->watch_type[t->nwatches];
		return;
	}
}

static void on_insert(struct gdb_stub *s, const char *p)
{
	uint64_t address, length;

	if (!parse_point(p, &address, &length))
		say(s, "E01");
	else
		say(s, add_point(s, p[0], address, length) ? "OK" : "E.too many, or too long");
}

static void on_remove(struct gdb_stub *s, const char *p)
{
	uint64_t address, length;

	if (!parse_point(p, &address, &length)) {
		say(s, "E01");
		return;
	}
	remove_point(s, p[0], address, length);
	say(s, "OK");
}

/* ---- looking ---- */

static void on_registers(struct gdb_stub *s, const char *p)
{
	struct cpu_state cpu;
	struct buf b = BUF_INIT;

	s->target->state(s->ctx, &cpu);
	gdb_registers_put(&cpu, &b);
	answer_hex(s, b.data, b.len);
	buf_free(&b);
}

static void on_memory(struct gdb_stub *s, const char *p)
{
	uint8_t data[GDB_PACKET_MAX / 2 - 16];
	uint64_t address, len;
	size_t n;

	if (!gdb_number(&p, &address) || *p++ != ',' || !gdb_number(&p, &len)) {
		say(s, "E01");
		return;
	}
	n = s->target->read(s->ctx, address, data, len < sizeof(data) ? (size_t)len : sizeof(data));
	if (n)
		answer_hex(s, data, n);
	else
		say(s, "E14");
}

static void on_features(struct gdb_stub *s, const char *p)
{
	uint64_t from, len;
	const size_t size = strlen(gdb_target_xml);
	struct buf b = BUF_INIT;

	if (!gdb_number(&p, &from) || *p++ != ',' || !gdb_number(&p, &len) || from > size) {
		say(s, "E01");
		return;
	}
	if (len > GDB_PACKET_MAX / 4)
		len = GDB_PACKET_MAX / 4;
	buf_put_u8(&b, len < size - from ? 'm' : 'l');
	buf_put(&b, gdb_target_xml + from, len < size - from ? len : size - from);
	answer(s, b.data, b.len);
	buf_free(&b);
}

static void on_monitor(struct gdb_stub *s, const char *p)
{
	char command[MONITOR_MAX] = "";
	struct buf text = BUF_INIT;
	size_t n = strlen(p) / 2;

	if (n >= sizeof(command) || !hex_get(p, command, n, HEX_ANY)) {
		say(s, "E01");
		return;
	}
	command[n] = 0;
	s->target->monitor(s->ctx, command, &text);
	if (text.len > GDB_PACKET_MAX / 2 - 16)
		text.len = GDB_PACKET_MAX / 2 - 16;
	if (text.len)
		answer_hex(s, text.data, text.len);
	else
		say(s, "OK");
	buf_free(&text);
}

/* ---- moving and the rest ---- */

static void on_step(struct gdb_stub *s, const char *p)
{
	if (*p)
		say(s, READ_ONLY);
	else
		move(s, GDB_STEP);
}

static void on_continue(struct gdb_stub *s, const char *p)
{
	if (*p)
		say(s, READ_ONLY);
	else
		move(s, GDB_CONTINUE);
}

static void on_step_back(struct gdb_stub *s, const char *p)
{
	move(s, GDB_STEP_BACK);
}

static void on_back(struct gdb_stub *s, const char *p)
{
	move(s, GDB_BACK);
}

static void on_why(struct gdb_stub *s, const char *p)
{
	say_stop(s);
}

static void on_no_ack(struct gdb_stub *s, const char *p)
{
	say(s, "OK");
	s->no_ack = true;
}

static void on_detach(struct gdb_stub *s, const char *p)
{
	say(s, "OK");
	s->over = true;
}

static void on_kill(struct gdb_stub *s, const char *p)
{
	s->over = s->ended = true;
}

static void on_write(struct gdb_stub *s, const char *p)
{
	say(s, READ_ONLY);
}

struct command {
	const char *prefix;
	void (*run)(struct gdb_stub *s, const char *rest);
	const char *reply; /* where there is nothing to run */
};

/* The first whose prefix fits. */
static const struct command commands[] = {
	{ "qSupported", .reply = "PacketSize=4000;qXfer:features:read+;ReverseStep+;"
				 "ReverseContinue+;QStartNoAckMode+;swbreak+;hwbreak+" },
	{ "QStartNoAckMode", .run = on_no_ack },
	{ "qXfer:features:read:target.xml:", .run = on_features },
	{ "qRcmd,", .run = on_monitor },
	{ "qAttached", .reply = "1" },
	{ "qC", .reply = "QC1" },
	{ "qfThreadInfo", .reply = "m1" },
	{ "qsThreadInfo", .reply = "l" },
	{ "?", .run = on_why },
	{ "g", .run = on_registers },
	{ "m", .run = on_memory },
	{ "s", .run = on_step },
	{ "c", .run = on_continue },
	{ "bs", .run = on_step_back },
	{ "bc", .run = on_back },
	{ "Z", .run = on_insert },
	{ "z", .run = on_remove },
	{ "H", .reply = "OK" },
	{ "T", .reply = "OK" },
	{ "G", .run = on_write },
	{ "P", .run = on_write },
	{ "M", .run = on_write },
	{ "X", .run = on_write },
	{ "D", .run = on_detach },
	{ "k", .run = on_kill },
};

static void on_packet(struct gdb_stub *s)
{
	const char *text = s->in.data;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		size_t n = strlen(commands[i].prefix);

		if (strncmp(text, commands[i].prefix, n))
			continue;
		if (commands[i].run)
			commands[i].run(s, text + n);
		else
			say(s, commands[i].reply);
		return;
	}
	say(s, ""); /* not supported */
}

void gdb_stub_input(struct gdb_stub *s, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && !s->over; i++) {
		bool ack = !s->no_ack;

		switch (gdb_packet_feed(&s->in, data[i])) {
		case GDB_PACKET:
			if (ack)
				buf_put_u8(&s->out, '+');
			on_packet(s);
			break;
		case GDB_BAD:
			if (ack)
				buf_put_u8(&s->out, '-');
			break;
		case GDB_NAK:
			if (ack)
				buf_put(&s->out, s->last.data, s->last.len);
			break;
		case GDB_BREAK: /* it stands already */
		case GDB_MORE:
			break;
		}
	}
}
