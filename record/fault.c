// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/clock.h"
#include "hypervisor/translate.h"
#include "hypervisor/x86.h"
#include "record/liveness.h"

/* Units that the index of a place counts. */
enum axis { AXIS_WORDS, AXIS_BYTES, AXIS_ANY, AXIS_NONE, AXIS_NICS, AXIS_DISKS, AXIS_DISK_BYTES };

static const struct {
	const char *name;
	unsigned bits;
	enum axis axis;
	uint64_t count; /* of registers */
	unsigned word;	/* the first of CONTROL_FLIP_REG's, and how many a register has */
	unsigned words;
	uint64_t amount;
} places[FAULT_PLACES] = {
	[FAULT_REGISTER] = { .name = "register",
			     .bits = 64,
			     .axis = AXIS_WORDS,
			     .count = 16,
			     .word = FLIP_WORD_GPR,
			     .words = 1 },
	[FAULT_FLAGS] = { .name = "flags",
			  .bits = 22,
			  .axis = AXIS_WORDS,
			  .count = 1,
			  .word = FLIP_WORD_FLAGS,
			  .words = 1 },
	[FAULT_RIP] = { .name = "rip",
			.bits = 64,
			.axis = AXIS_WORDS,
			.count = 1,
			.word = FLIP_WORD_RIP,
			.words = 1 },
	[FAULT_VECTOR] = { .name = "vector",
			   .bits = 128,
			   .axis = AXIS_WORDS,
			   .count = 16,
			   .word = FLIP_WORD_VECTOR,
			   .words = 2 },
	[FAULT_X87] = { .name = "x87",
			.bits = 80,
			.axis = AXIS_WORDS,
			.count = 8,
			.word = FLIP_WORD_X87,
			.words = 2 },
	[FAULT_MEMORY] = { .name = "memory", .bits = 8, .axis = AXIS_BYTES },
	[FAULT_LINEAR] = { .name = "linear", .bits = 8, .axis = AXIS_ANY },
	[FAULT_PAGE_TABLE] = { .name = "page table", .bits = 64, .axis = AXIS_ANY },
	[FAULT_TLB] = { .name = "tlb", .bits = 28, .axis = AXIS_ANY },
	[FAULT_USED] = { .name = "used memory", .bits = 8, .axis = AXIS_ANY },
	[FAULT_PROCESS] = { .name = "process memory", .bits = 8, .axis = AXIS_ANY },
	[FAULT_STUCK] = { .name = "register stuck",
			  .bits = 64,
			  .axis = AXIS_WORDS,
			  .count = 16,
			  .word = FLIP_WORD_GPR,
			  .words = 1,
			  .amount = 1000 },
	[FAULT_STUCK_RAM] = { .name = "memory stuck",
			      .bits = 8,
			      .axis = AXIS_BYTES,
			      .amount = 1000 },
	[FAULT_SKIP] = { .name = "skip", .bits = 1, .axis = AXIS_NONE },
	[FAULT_REPLACE] = { .name = "replace", .bits = 1, .axis = AXIS_NONE },
	[FAULT_PACKET_LOST] = { .name = "packet lost", .bits = 1, .axis = AXIS_NICS },
	[FAULT_PACKET_TWICE] = { .name = "packet twice", .bits = 1, .axis = AXIS_NICS },
	[FAULT_PACKET_LATE] = { .name = "packet late",
				.bits = 1,
				.axis = AXIS_NICS,
				.amount = 10000000 },
	[FAULT_PACKET_SWAPPED] = { .name = "packet swapped", .bits = 1, .axis = AXIS_NICS },
	[FAULT_PACKET_CORRUPT] = { .name = "packet corrupt", .bits = 12000, .axis = AXIS_NICS },
	[FAULT_LINK_DOWN] = { .name = "link down",
			      .bits = 1,
			      .axis = AXIS_NICS,
			      .amount = 100000000 },
	[FAULT_CLOCK_JUMP] = { .name = "clock jump",
			       .bits = 1,
			       .axis = AXIS_NONE,
			       .amount = 1000000000 },
	[FAULT_CLOCK_FAST] = { .name = "clock fast", .bits = 1, .axis = AXIS_NONE, .amount = 1000 },
	[FAULT_CLOCK_SLOW] = { .name = "clock slow", .bits = 1, .axis = AXIS_NONE, .amount = 1000 },
	[FAULT_CLOCK_STOP] = { .name = "clock stop",
			       .bits = 1,
			       .axis = AXIS_NONE,
			       .amount = 1000000000 },
	[FAULT_DISK_ERROR] = { .name = "disk error", .bits = 1, .axis = AXIS_DISKS, .amount = EIO },
	[FAULT_DISK_SLOW] = { .name = "disk slow",
			      .bits = 1,
			      .axis = AXIS_DISKS,
			      .amount = 100000000 },
	[FAULT_DISK_FULL] = { .name = "disk full",
			      .bits = 1,
			      .axis = AXIS_DISKS,
			      .amount = 100000000 },
	[FAULT_DISK_LOST] = { .name = "write lost", .bits = 1, .axis = AXIS_DISKS },
	[FAULT_DISK_TORN] = { .name = "write torn", .bits = 1, .axis = AXIS_DISKS },
	[FAULT_DISK_ASTRAY] = { .name = "write astray", .bits = 1, .axis = AXIS_DISKS },
	[FAULT_DISK_ROT] = { .name = "bit rot", .bits = 8, .axis = AXIS_DISK_BYTES },
	[FAULT_RESET] = { .name = "reset", .bits = 1, .axis = AXIS_NONE },
	[FAULT_NMI] = { .name = "nmi", .bits = 1, .axis = AXIS_NONE },
	[FAULT_IRQ_LOST] = { .name = "interrupt lost", .bits = 1, .axis = AXIS_NONE },
	[FAULT_IRQ_SPURIOUS] = { .name = "interrupt spurious", .bits = 1, .axis = AXIS_NONE },
	[FAULT_PRESSURE] = { .name = "memory pressure",
			     .bits = 1,
			     .axis = AXIS_NONE,
			     .amount = 4096 },
	[FAULT_PRIMARY_KILLED] = { .name = "primary killed", .bits = 1, .axis = AXIS_NONE },
	[FAULT_BACKUP_KILLED] = { .name = "backup killed", .bits = 1, .axis = AXIS_NONE },
	[FAULT_PRIMARY_STOPPED] = { .name = "primary stopped",
				    .bits = 1,
				    .axis = AXIS_NONE,
				    .amount = 5000 },
	[FAULT_BACKUP_STOPPED] = { .name = "backup stopped",
				   .bits = 1,
				   .axis = AXIS_NONE,
				   .amount = 5000 },
	[FAULT_PAIR_CUT] = { .name = "pair cut", .bits = 1, .axis = AXIS_NONE, .amount = 5000 },
	[FAULT_PRIMARY_DIFFERS] = { .name = "primary differs", .bits = 8, .axis = AXIS_BYTES },
	[FAULT_POWER] = { .name = "power lost", .bits = 1, .axis = AXIS_ANY, .amount = 10000000 },
	[FAULT_BACKUP_DIFFERS] = { .name = "backup differs", .bits = 8, .axis = AXIS_BYTES },
};

unsigned fault_bits(enum fault_place place)
{
	return places[place].bits;
}

const char *fault_place_name(enum fault_place place)
{
	return places[place].name;
}

uint64_t fault_amount(enum fault_place place)
{
	return places[place].amount;
}

bool fault_is_hardware(enum fault_place place)
{
	return place < FAULT_PACKET_LOST;
}

bool fault_is_packet(enum fault_place place)
{
	return place >= FAULT_PACKET_LOST && place <= FAULT_PACKET_CORRUPT;
}

bool fault_is_of_pair(enum fault_place place)
{
	return place >= FAULT_PRIMARY_KILLED && place <= FAULT_BACKUP_DIFFERS;
}

unsigned fault_width(const struct fault *f)
{
	return f->width ? f->width : 1;
}

bool fault_last(enum fault_place place, const struct machine_config *c, uint64_t *last)
{
	const uint64_t count[] = { [AXIS_WORDS] = places[place].count,
				   [AXIS_BYTES] = c->memory,
				   [AXIS_ANY] = UINT64_MAX,
				   [AXIS_NONE] = 1,
				   [AXIS_NICS] = c->nnics,
				   [AXIS_DISKS] = c->ndisks,
				   [AXIS_DISK_BYTES] = c->ndisks ? c->disk_sectors[0] * 512 : 0 };
	uint64_t n = count[places[place].axis];

	*last = n - 1;
	return n != 0;
}

void fault_say(const struct fault *f, char *text, size_t n)
{
	enum axis axis = places[f->place].axis;
	size_t used = (size_t)snprintf(text, n, "%s", places[f->place].name);

	if (axis != AXIS_NONE && used < n)
		used += (size_t)snprintf(text + used, n - used,
					 axis == AXIS_BYTES || axis == AXIS_ANY ||
							 axis == AXIS_DISK_BYTES
						 ? " 0x%" PRIx64
						 : " %" PRIu64,
					 f->index);
	if (places[f->place].bits > 1 && used < n)
		used += (size_t)snprintf(text + used, n - used, ", bit %u", f->bit);
	if (f->width > 1 && used < n)
		used += (size_t)snprintf(text + used, n - used, " and %u above it", f->width - 1);
	if (f->amount && used < n)
		snprintf(text + used, n - used, ", %" PRIu64, f->amount);
}

/* ---- flips ---- */

struct flips {
	struct input *in;
	size_t n, max;
	bool bad; /* one of them is of nothing */
};

static void flip(struct flips *l, enum control_command a, uint64_t b)
{
	if (l->n == l->max)
		l->bad = true;
	else
		l->in[l->n++] = (struct input){ .kind = INPUT_CONTROL, .a = a, .b = b };
}

static void flip_ram(struct flips *l, const struct memory *mem, uint64_t gpa, unsigned bit)
{
	uint64_t offset = memory_offset(mem, gpa);

	if (offset == UINT64_MAX)
		l->bad = true;
	else
		flip(l, CONTROL_FLIP_BIT, offset * 8 + bit);
}

static void flip_linear(struct flips *l, const struct memory *mem, const struct cpu_state *s,
			uint64_t linear, unsigned bit)
{
	uint64_t gpa;

	if (cpu_state_translate(s, mem, linear + bit / 8, &gpa))
		flip_ram(l, mem, gpa, bit % 8);
	else
		l->bad = true;
}

/* ---- page tables ---- */

#define ENTRY_USER  5ull /* present, and the user's */
#define ENTRY_LARGE 0x80ull
#define ENTRY_FRAME 0x000ffffffffff000ull

/*
 * Chooses one of the first n entries of a page table that have the bits. *choice is a random
 * number: its remainder picks the entry, and its quotient is left for the next choice.
 */
static bool choose_entry(const struct memory *mem, uint64_t table, uint64_t bits, unsigned n,
			 uint64_t *choice, uint64_t *at, uint64_t *entry)
{
	uint64_t entries[512], used = 0, which;

	if (!memory_read(mem, table, entries, sizeof(entries)))
		return false;
	for (unsigned i = 0; i < n; i++)
		used += (entries[i] & bits) == bits;
	if (!used)
		return false;
	which = *choice % used;
	*choice /= used;
	for (unsigned i = 0; i < n; i++) {
		if ((entries[i] & bits) != bits || which--)
			continue;
		*at = table + 8ull * i;
		*entry = entries[i];
		return true;
	}
	return false;
}

/* Paging of four levels: an entry of any of them, each level alike likely. */
static void flip_page_table(struct flips *l, const struct fault *f, const struct memory *mem,
			    const struct cpu_state *s)
{
	uint64_t choice = f->index / 4, table = s->cr3 & ENTRY_FRAME, at = 0, entry = 0;

	if (!(s->cr0 & CR0_PG) || !(s->efer & EFER_LMA)) {
		l->bad = true;
		return;
	}
	for (unsigned level = 0; level <= f->index % 4; level++) {
		if (!choose_entry(mem, table, 1, 512, &choice, &at, &entry))
			break;
		if (level && (entry & ENTRY_LARGE))
			break;
		table = entry & ENTRY_FRAME;
	}
	for (unsigned i = 0; at && i < fault_width(f); i++)
		flip_ram(l, mem, at + (f->bit + i) % 64 / 8, (f->bit + i) % 8);
	l->bad |= !at;
}

/* ---- pages ---- */

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

/* By the high part of the index the page, by the low one the byte in it. */
static void flip_used(struct flips *l, const struct fault *f, const struct memory *mem)
{
	uint64_t used = 0, which;

	for (uint64_t page = 0; page < mem->pages; page++)
		used += !is_zero(mem->base + page * PAGE_SIZE);
	which = used ? f->index / PAGE_SIZE % used : 0;
	for (uint64_t page = 0; used && page < mem->pages; page++) {
		uint64_t byte = page * PAGE_SIZE + f->index % PAGE_SIZE;

		if (is_zero(mem->base + page * PAGE_SIZE) || which--)
			continue;
		for (unsigned i = 0; i < fault_width(f); i++)
			flip(l, CONTROL_FLIP_BIT, byte * 8 + (f->bit + i) % 8);
		return;
	}
	l->bad = true;
}

/*
 * Down the tables of the process that runs, by the entries of the user's half. In a large page what
 * the choices have left of the number chooses among its 4 KiB.
 */
static void flip_process(struct flips *l, const struct fault *f, const struct memory *mem,
			 const struct cpu_state *s)
{
	uint64_t choice = f->index / PAGE_SIZE, table = s->cr3 & ENTRY_FRAME, entry = 0;
	uint64_t size = 1ull << 39, byte;

	l->bad |= !(s->cr0 & CR0_PG) || !(s->efer & EFER_LMA);
	for (unsigned level = 0; level < 4 && !l->bad; level++) {
		uint64_t at;

		if (!choose_entry(mem, table, ENTRY_USER, level ? 512 : 256, &choice, &at, &entry))
			l->bad = true;
		if (level && (entry & ENTRY_LARGE))
			break;
		table = entry & ENTRY_FRAME;
		size >>= level < 3 ? 9 : 0;
	}
	byte = choice % (size / PAGE_SIZE) * PAGE_SIZE + f->index % PAGE_SIZE;
	for (unsigned i = 0; !l->bad && i < fault_width(f); i++)
		flip_ram(l, mem, (entry & ENTRY_FRAME & ~(size - 1)) + byte, (f->bit + i) % 8);
}

/* ---- instructions ---- */

/* Length of the instruction that comes next; 0: there is none. */
static unsigned next_length(const struct memory *mem, const struct cpu_state *s)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];

	return next_instruction(mem, s, &insn, operand) ? insn.length : 0;
}

/* RIP behind the instruction: the bits in which it differs. */
static void flip_skip(struct flips *l, const struct memory *mem, const struct cpu_state *s)
{
	unsigned length = next_length(mem, s);
	uint64_t differ = s->rip ^ (s->rip + length);

	l->bad |= !length;
	for (unsigned bit = 0; bit < 64; bit++) {
		if (differ >> bit & 1)
			flip(l, CONTROL_FLIP_REG, FLIP_WORD_RIP * 64 + bit);
	}
}

static void flip_replace(struct flips *l, const struct memory *mem, const struct cpu_state *s)
{
	unsigned length = next_length(mem, s);

	l->bad |= !length;
	for (unsigned i = 0; i < length; i++) {
		uint64_t linear = s->seg[SEG_CS].base + s->rip + i, gpa;
		uint8_t v;

		if (!cpu_state_translate(s, mem, linear, &gpa) || !memory_read(mem, gpa, &v, 1)) {
			l->bad = true;
			return;
		}
		for (unsigned bit = 0; bit < 8; bit++) {
			if ((v ^ 0x90) >> bit & 1)
				flip_linear(l, mem, s, linear, bit);
		}
	}
}

/* ---- faults ---- */

static void flip_words(struct flips *l, const struct fault *f)
{
	for (unsigned i = 0; i < fault_width(f); i++) {
		unsigned bit = (f->bit + i) % places[f->place].bits;
		uint64_t word =
			places[f->place].word + f->index * places[f->place].words + bit / 64;

		flip(l, CONTROL_FLIP_REG, word * 64 + bit % 64);
	}
}

static void flip_bytes(struct flips *l, const struct fault *f, const struct memory *mem,
		       const struct cpu_state *s)
{
	for (unsigned i = 0; i < fault_width(f); i++) {
		unsigned bit = f->bit + i;

		if (f->place == FAULT_LINEAR)
			flip_linear(l, mem, s, f->index, bit);
		else if (f->index + bit / 8 < mem->size)
			flip(l, CONTROL_FLIP_BIT, f->index * 8 + bit);
		else
			l->bad = true;
	}
}

/* The machine finds the translation; the number fills what the bit leaves. */
static void flip_tlb(struct flips *l, const struct fault *f)
{
	for (unsigned i = 0; i < fault_width(f); i++)
		flip(l, CONTROL_FLIP_TLB, f->index << 6 | (f->bit + i) % places[FAULT_TLB].bits);
}

static void flip_all(struct flips *l, const struct fault *f, struct machine *m)
{
	const struct memory *mem = machine_memory(m);
	struct cpu_state s;

	machine_engine(m)->ops->get_state(machine_engine(m), &s);
	if (places[f->place].axis == AXIS_WORDS)
		flip_words(l, f);
	else if (f->place == FAULT_PAGE_TABLE)
		flip_page_table(l, f, mem, &s);
	else if (f->place == FAULT_TLB)
		flip_tlb(l, f);
	else if (f->place == FAULT_USED)
		flip_used(l, f, mem);
	else if (f->place == FAULT_PROCESS)
		flip_process(l, f, mem, &s);
	else if (f->place == FAULT_SKIP)
		flip_skip(l, mem, &s);
	else if (f->place == FAULT_REPLACE)
		flip_replace(l, mem, &s);
	else
		flip_bytes(l, f, mem, &s);
}

/* Time goes on from where it is, with another rate. */
static struct input anchor(const struct machine *m, const struct clock *c, uint64_t later,
			   unsigned __int128 rate)
{
	rate = rate < 1 ? 1 : rate > CLOCK_RATE_MAX ? CLOCK_RATE_MAX : rate;
	return (struct input){ .kind = INPUT_ANCHOR,
			       .a = clock_now(c) + later,
			       .b = (uint64_t)rate };
}

static struct input control(const struct fault *f, enum control_command a, uint64_t b)
{
	uint8_t port = places[f->place].axis == AXIS_ANY ? 0 : (uint8_t)f->index;

	return (struct input){ .kind = INPUT_CONTROL, .port = port, .a = a, .b = b };
}

/* Makes the input of a fault that is a single one, at no place in memory or registers. */
static bool environment_input(const struct fault *f, struct machine *m, struct input *in)
{
	const struct clock *c = machine_clock(m);
	const unsigned __int128 rate = c->rate;

	switch (f->place) {
	case FAULT_LINK_DOWN:
		*in = control(f, CONTROL_LINK, 0);
		return true;
	case FAULT_CLOCK_JUMP:
		*in = anchor(m, c, f->amount, rate);
		return true;
	case FAULT_CLOCK_FAST:
		*in = anchor(m, c, 0, rate * (1000000 + f->amount) / 1000000);
		return true;
	case FAULT_CLOCK_SLOW:
		*in = anchor(m, c, 0, rate * (1000000 - f->amount) / 1000000);
		return f->amount <= 1000000;
	case FAULT_CLOCK_STOP:
		*in = anchor(m, c, 0, 1);
		return true;
	case FAULT_DISK_SLOW:
		*in = control(f, CONTROL_DISK_LATE, f->amount);
		return true;
	case FAULT_DISK_FULL:
		*in = control(f, CONTROL_DISK_WRITES, DISK_SPOIL_FULL);
		return true;
	case FAULT_DISK_LOST:
	case FAULT_DISK_TORN:
	case FAULT_DISK_ASTRAY:
		*in = control(f, CONTROL_DISK_WRITES,
			      DISK_SPOIL_LOST + (unsigned)(f->place - FAULT_DISK_LOST));
		return true;
	case FAULT_DISK_ROT:
		*in = (struct input){ .kind = INPUT_CONTROL,
				      .a = CONTROL_DISK_ROT,
				      .b = f->index * 8 + f->bit };
		return true;
	case FAULT_RESET:
		*in = control(f, CONTROL_RESET, 0);
		return true;
	case FAULT_POWER:
		*in = control(f, CONTROL_POWER, 0);
		return true;
	case FAULT_NMI:
		*in = control(f, CONTROL_NMI, 0);
		return true;
	case FAULT_IRQ_LOST:
		*in = control(f, CONTROL_INTERRUPT, INTERRUPT_LOST);
		return true;
	case FAULT_IRQ_SPURIOUS:
		*in = control(f, CONTROL_INTERRUPT, INTERRUPT_SPURIOUS);
		return machine_takes_spurious(m);
	case FAULT_PRESSURE:
		*in = control(f, CONTROL_BALLOON, f->amount);
		return true;
	default:
		return false;
	}
}

size_t fault_inputs(const struct fault *f, struct machine *m, struct input *in, size_t max)
{
	struct flips l = { .in = in, .max = max };
	uint64_t last;

	if (f->place >= FAULT_PLACES || f->bit >= places[f->place].bits || !max ||
	    !fault_last(f->place, machine_get_config(m), &last) || f->index > last)
		return 0;
	if (fault_is_hardware(f->place)) {
		flip_all(&l, f, m);
		return l.bad ? 0 : l.n;
	}
	return environment_input(f, m, in);
}

/* ---- faults that stay ---- */

bool fault_stays(enum fault_place place)
{
	return place == FAULT_STUCK || place == FAULT_STUCK_RAM;
}

uint64_t fault_bits_now(const struct fault *f, struct machine *m)
{
	const struct memory *mem = machine_memory(m);
	uint64_t bits = 0;
	struct cpu_state s;

	machine_engine(m)->ops->get_state(machine_engine(m), &s);
	for (unsigned i = 0; i < fault_width(f); i++) {
		unsigned bit = f->bit + i;
		uint64_t at = f->index + bit / 8;

		if (f->place == FAULT_STUCK)
			bits |= (s.gpr[f->index] >> bit % 64 & 1) << i;
		else if (at < mem->size)
			bits |= (uint64_t)(mem->base[at] >> bit % 8 & 1) << i;
	}
	return bits;
}

size_t fault_renew(const struct fault *f, struct machine *m, uint64_t before, struct input *in,
		   size_t max)
{
	uint64_t back = ~(fault_bits_now(f, m) ^ before);
	size_t n = 0;

	for (unsigned i = 0; i < fault_width(f) && n < max; i++) {
		const struct fault one = { .place = f->place,
					   .index = f->index,
					   .bit = (f->bit + i) % places[f->place].bits };

		if (back >> i & 1 && f->place == FAULT_STUCK)
			n += fault_inputs(&one, m, in + n, max - n);
		else if (back >> i & 1)
			in[n++] = (struct input){ .kind = INPUT_CONTROL,
						  .a = CONTROL_FLIP_BIT,
						  .b = f->index * 8 + f->bit + i };
	}
	return n;
}

bool fault_ends(const struct fault *f, struct input *in)
{
	if (f->place == FAULT_POWER) {
		*in = control(f, CONTROL_POWER, f->index | 1);
		return true;
	}
	if (f->place != FAULT_LINK_DOWN && f->place != FAULT_DISK_FULL)
		return false;
	*in = f->place == FAULT_LINK_DOWN ? control(f, CONTROL_LINK, 1)
					  : control(f, CONTROL_DISK_WRITES, DISK_SPOIL_NONE);
	return true;
}

bool fault_waits(const struct fault *f, const struct machine *m)
{
	uint64_t last;

	return fault_last(f->place, machine_get_config(m), &last) && f->index <= last &&
	       f->bit < places[f->place].bits &&
	       (fault_is_packet(f->place) || f->place == FAULT_DISK_ERROR ||
		f->place == FAULT_IRQ_SPURIOUS);
}
