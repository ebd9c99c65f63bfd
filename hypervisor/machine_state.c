// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine's state as bytes: configuration, save and restore, digests, and the registers as
 * text.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "hypervisor/cpuid.h"
#include "hypervisor/devices/memdisk.h"
#include "hypervisor/machine_private.h"
#include "hypervisor/translate.h"

/* ---- configuration ---- */

void machine_config_defaults(struct machine_config *c)
{
	*c = (struct machine_config){
		.version = MACHINE_VERSION,
		.memory = 256ull << 20,
		.rtc_epoch = 1767225600, /* 2026-01-01 */
	};
}

unsigned machine_nics_max(unsigned version)
{
	return version > 1 ? MACHINE_NICS : MACHINE_V1_DEVICES;
}

unsigned machine_disks_max(unsigned version)
{
	return version > 1 ? MACHINE_DISKS : MACHINE_V1_DEVICES;
}

/* In the byte that says which lines a machine has. */
#define LINE_CONSOLE 1u
#define LINE_AGENT   2u

/*
 * Number that stands for today's model of a version above 1: its CPU, and its board's revision. A
 * board with an agent has another, so that a program that knows of none does not take it.
 */
static uint64_t config_model(const struct machine_config *c)
{
	return cpuid_v2_digest() + MACHINE_V2_REVISION + ((uint64_t)c->agent << 32);
}

/* Number of kinds of carried bytes that have to be written: up to the last one that is there. */
static unsigned carried_kinds(const struct machine_config *c)
{
	unsigned n = CARRIED;

	while (n && !c->carried_sectors[n - 1])
		n--;
	return n;
}

void machine_config_save(const struct machine_config *c, struct buf *out)
{
	buf_put_u32(out, c->version);
	buf_put_u64(out, c->memory);
	buf_put_u8(out, (uint8_t)c->nnics);
	for (unsigned i = 0; i < c->nnics; i++)
		buf_put(out, c->mac[i], 6);
	buf_put_u8(out, (uint8_t)c->ndisks);
	for (unsigned i = 0; i < c->ndisks; i++) {
		buf_put_u64(out, c->disk_sectors[i]);
		buf_put_u8(out, c->disk_readonly[i]);
	}
	buf_put_u8(out, (c->virtio_console ? LINE_CONSOLE : 0) | (c->agent ? LINE_AGENT : 0));
	buf_put_u64(out, c->rtc_epoch);
	if (c->version > 1) {
		buf_put_u64(out, config_model(c));
		buf_put_u8(out, c->firmware);
	}
	for (unsigned i = 0; i < carried_kinds(c); i++)
		buf_put_u32(out, c->carried_sectors[i]);
}

static int config_restore_carried(struct machine_config *c, struct rd *in)
{
	unsigned n = 0;

	while (rd_left(in) && !in->bad && n < CARRIED) {
		c->carried_sectors[n] = rd_u32(in);
		if (c->carried_sectors[n++] > MEMDISK_SECTORS_MAX)
			return -EINVAL;
	}
	if (n != carried_kinds(c)) /* one way to write it */
		return -EINVAL;
	if (c->carried_sectors[CARRIED_CIDATA] && c->ndisks == machine_disks_max(c->version))
		return -EINVAL;
	return (c->carried_sectors[CARRIED_NET_ROM] || c->carried_sectors[CARRIED_CD_ROM]) &&
			       !c->firmware
		       ? -EINVAL
		       : 0;
}

static int config_restore_disks(struct machine_config *c, struct rd *in)
{
	c->ndisks = rd_u8(in);
	if (c->ndisks > machine_disks_max(c->version))
		return -EINVAL;
	for (unsigned i = 0; i < c->ndisks; i++) {
		c->disk_sectors[i] = rd_u64(in);
		c->disk_readonly[i] = rd_u8(in) != 0;
	}
	return 0;
}

static int config_restore_lines(struct machine_config *c, uint8_t lines)
{
	c->virtio_console = lines & LINE_CONSOLE;
	c->agent = lines & LINE_AGENT;
	return lines & ~(LINE_CONSOLE | LINE_AGENT) || (c->agent && c->version < 2) ? -EINVAL : 0;
}

int machine_config_restore(struct machine_config *c, struct rd *in)
{
	*c = (struct machine_config){ 0 };
	c->version = rd_u32(in);
	c->memory = rd_u64(in);
	c->nnics = rd_u8(in);
	if (c->version < 1 || c->version > MACHINE_VERSIONS ||
	    c->nnics > machine_nics_max(c->version) || c->memory > MEMORY_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < c->nnics; i++)
		rd_get(in, c->mac[i], 6);
	if (config_restore_disks(c, in) < 0)
		return -EINVAL;
	if (config_restore_lines(c, rd_u8(in)) < 0)
		return -EINVAL;
	c->rtc_epoch = rd_u64(in);
	if (c->version > 1 && rd_u64(in) != config_model(c))
		return -EINVAL;
	c->firmware = c->version > 1 && rd_u8(in) != 0;
	if (!in->bad && config_restore_carried(c, in) < 0)
		return -EINVAL;
	return in->bad ? -EINVAL : 0;
}

int machine_config_check_power_button(const struct machine_config *c, struct err *err)
{
	return c->version > 1 ? 0
			      : err_set(err, EINVAL,
					"a machine of version 1 has no power button: stop it, or "
					"start it with --machine 2");
}

uint64_t machine_config_digest(const struct machine_config *c)
{
	struct buf b = BUF_INIT;
	uint64_t h;

	machine_config_save(c, &b);
	h = XXH3_64bits(b.data, b.len);
	buf_free(&b);
	return h;
}

/* ---- save and restore ---- */

static void save_cpu(struct machine *m, struct buf *out)
{
	struct cpu_state s;

	m->engine->ops->get_state(m->engine, &s);
	cpu_state_save(&s, out);
}

static void save_board(const struct machine *m, struct buf *out)
{
	clock_save(&m->clock, out);
	generator_save(&m->generator, out);
}

/* Every part is a blob of its own, so that damage is found where it is. */
void machine_save(struct machine *m, struct buf *out)
{
	struct buf b = BUF_INIT;

	save_cpu(m, &b);
	buf_put_blob(out, b.data, b.len);
	buf_clear(&b);
	save_board(m, &b);
	buf_put_blob(out, b.data, b.len);
	buf_put_u8(out, (uint8_t)m->ndevices);
	for (size_t i = 0; i < m->ndevices; i++) {
		buf_clear(&b);
		m->device[i].ops->save(m->device[i].dev, &b);
		out->bad |= b.bad;
		buf_put_blob(out, b.data, b.len);
	}
	buf_put_u64(out, m->digest);
	buf_free(&b);
}

#define PART_MAX (4u << 20)

static int restore_part(struct rd *in, struct rd *part, const char *name, struct err *err)
{
	size_t n;
	const uint8_t *p = rd_blob(in, PART_MAX, &n);

	if (in->bad)
		return err_set(err, EINVAL, "machine state ends inside the part '%s'", name);
	*part = (struct rd)RD_INIT(p, n);
	return 0;
}

static int restore_cpu(struct machine *m, struct rd *in, struct err *err)
{
	struct cpu_state s;
	struct rd part;
	int ret = restore_part(in, &part, "cpu", err);

	if (ret < 0)
		return ret;
	if (cpu_state_restore(&s, &part) < 0 || rd_left(&part))
		return err_set(err, EINVAL, "machine state: the part 'cpu' is not valid");
	return m->engine->ops->set_state(m->engine, &s, err);
}

static int restore_board(struct machine *m, struct rd *in, struct err *err)
{
	struct rd part;
	int ret = restore_part(in, &part, "clock", err);

	if (ret < 0)
		return ret;
	if (clock_restore(&m->clock, &part) < 0 || generator_restore(&m->generator, &part) < 0 ||
	    rd_left(&part) || m->clock.anchor_count > m->engine->ops->count(m->engine))
		return err_set(err, EINVAL, "machine state: the part 'clock' is not valid");
	return 0;
}

static int restore_devices(struct machine *m, struct rd *in, struct err *err)
{
	if (rd_u8(in) != m->ndevices)
		return err_set(err, EINVAL, "machine state is of a machine with other devices");
	for (size_t i = 0; i < m->ndevices; i++) {
		struct rd part;
		int ret = restore_part(in, &part, m->device[i].name, err);

		if (ret < 0)
			return ret;
		if (m->device[i].ops->restore(m->device[i].dev, &part) < 0 || rd_left(&part))
			return err_set(err, EINVAL, "machine state: the part '%s' is not valid",
				       m->device[i].name);
	}
	return 0;
}

int machine_restore(struct machine *m, struct rd *in, struct err *err)
{
	int ret = restore_cpu(m, in, err);

	if (ret == 0)
		ret = restore_board(m, in, err);
	if (ret == 0)
		ret = restore_devices(m, in, err);
	machine_virtio_note_sizes(m);
	if (ret < 0)
		return ret;
	m->digest = rd_u64(in);
	if (in->bad || rd_left(in))
		return err_set(err, EINVAL, "machine state has a wrong length");
	m->wants_end = false;
	return 0;
}

/* ---- digests ---- */

static void digest_part(struct machine *m, const char *name, uint64_t hash)
{
	struct digest_part *p = &m->part[m->nparts++];

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->hash = hash;
}

static uint64_t digest_scratch(struct machine *m)
{
	must(!m->scratch.bad);
	return XXH3_64bits(m->scratch.data, m->scratch.len);
}

/*
 * Hashes (page number, content hash) of all pages written since the last digest into one number,
 * and clears their marks.
 */
static uint64_t digest_memory(struct machine *m)
{
	struct memory *mem = &m->memory;

	m->engine->ops->sync_dirty(m->engine);
	buf_clear(&m->scratch);
	for (uint64_t i = memory_next_undigested(mem, 0); i < mem->pages;
	     i = memory_next_undigested(mem, i + 1)) {
		uint64_t hash = XXH3_64bits(mem->base + i * PAGE_SIZE, PAGE_SIZE);

		memory_set_digested(mem, i);
		buf_put_u64(&m->scratch, i);
		buf_put_u64(&m->scratch, hash);
		if (m->on_dirty)
			m->on_dirty(m->on_dirty_ctx, i * PAGE_SIZE, mem->base + i * PAGE_SIZE,
				    hash);
	}
	return digest_scratch(m);
}

uint64_t machine_digest(struct machine *m)
{
	struct buf all = BUF_INIT;

	m->nparts = 0;
	buf_clear(&m->scratch);
	save_cpu(m, &m->scratch);
	digest_part(m, "cpu", digest_scratch(m));
	buf_clear(&m->scratch);
	save_board(m, &m->scratch);
	digest_part(m, "clock", digest_scratch(m));
	for (size_t i = 0; i < m->ndevices; i++) {
		buf_clear(&m->scratch);
		m->device[i].ops->save(m->device[i].dev, &m->scratch);
		digest_part(m, m->device[i].name, digest_scratch(m));
	}
	digest_part(m, "memory", digest_memory(m));
	buf_put_u64(&all, m->digest);
	for (size_t i = 0; i < m->nparts; i++)
		buf_put_u64(&all, m->part[i].hash);
	must(!all.bad);
	m->digest = XXH3_64bits(all.data, all.len);
	buf_free(&all);
	return m->digest;
}

size_t machine_digest_parts(const struct machine *m, struct digest_part *part, size_t max)
{
	size_t n = m->nparts < max ? m->nparts : max;

	memcpy(part, m->part, n * sizeof(*part));
	return n;
}

void machine_on_dirty_page(struct machine *m,
			   void (*fn)(void *ctx, uint64_t offset, const void *page, uint64_t hash),
			   void *ctx)
{
	m->on_dirty = fn;
	m->on_dirty_ctx = ctx;
}

/* ---- registers as text ---- */

static const char *const gpr_names[16] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
					   "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15" };
static const char *const seg_names[SEG_COUNT] = {
	"ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"
};

struct text {
	char *p;
	size_t n, used;
};

static void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->used >= t->n)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->used, t->n - t->used, fmt, ap);
	va_end(ap);
	t->used += n > 0 ? (size_t)n : 0;
}

/*
 * The bytes at RIP, read through the guest's page tables without side effects where paging is on.
 */
static void describe_code(struct machine *m, const struct cpu_state *s, struct text *t)
{
	text_add(t, "code at CS:RIP:");
	for (uint64_t i = 0; i < 16; i++) {
		uint64_t gpa;
		uint8_t byte;

		if (!cpu_state_translate(s, &m->memory, s->seg[SEG_CS].base + s->rip + i, &gpa) ||
		    !memory_read(&m->memory, gpa, &byte, 1)) {
			text_add(t, " (not readable)");
			break;
		}
		text_add(t, " %02x", byte);
	}
	text_add(t, "\n");
}

void machine_describe_cpu(struct machine *m, char *text, size_t n)
{
	struct text t = { .p = text, .n = n };
	struct cpu_state s;

	if (n)
		text[0] = 0;
	m->engine->ops->get_state(m->engine, &s);
	for (unsigned i = 0; i < 16; i++)
		text_add(&t, "%s %016" PRIx64 "%s", gpr_names[i], s.gpr[i],
			 i % 4 == 3 ? "\n" : "  ");
	text_add(&t, "RIP %016" PRIx64 "  RFLAGS %08" PRIx64 "  count %" PRIu64 "%s\n", s.rip,
		 s.rflags, s.count, s.halted ? "  (halted)" : "");
	text_add(&t,
		 "CR0 %08" PRIx64 "  CR2 %016" PRIx64 "  CR3 %016" PRIx64 "  CR4 %08" PRIx64
		 "  EFER %04" PRIx64 "\n",
		 s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		text_add(&t, "%-4s %04x base %016" PRIx64 " limit %08x attr %05x\n", seg_names[i],
			 s.seg[i].selector, s.seg[i].base, s.seg[i].limit, s.seg[i].attr);
	text_add(&t, "GDTR base %016" PRIx64 " limit %04x  IDTR base %016" PRIx64 " limit %04x\n",
		 s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit);
	describe_code(m, &s, &t);
}
