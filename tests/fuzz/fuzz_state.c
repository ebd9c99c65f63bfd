// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: hostile machine states: a true image with changed bytes is restored or refused; what is
// restored must run
#include <string.h>

#include "base/log.h"
#include "hypervisor/clock.h"
#include "hypervisor/devices/disk.h"
#include "hypervisor/machine.h"
#include "tests/fuzz/bounded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUN_COUNT 200
#define STOPS	  8
#define CODE	  0x7c00

/* A disk of zeros without a host behind it. */
static void disk_start(struct disk_backend *d, uint64_t id, enum disk_op op, uint64_t sector,
		       uint32_t sectors, void *data)
{
	must(sector + sectors <= d->sectors);
	if (op == DISK_READ)
		memset(data, 0, (size_t)sectors * DISK_SECTOR);
}

static int disk_finish(struct disk_backend *d, uint64_t id)
{
	return 0;
}

static int disk_digest(struct disk_backend *d, uint64_t *hash)
{
	*hash = 0;
	return 0;
}

static void disk_close(struct disk_backend *d)
{
}

static const struct disk_backend_ops disk_ops = { .name = "zero",
						  .start = disk_start,
						  .finish = disk_finish,
						  .digest = disk_digest,
						  .close = disk_close };
static struct disk_backend disk = { .ops = &disk_ops, .sectors = 1024 };

static struct machine *make(void)
{
	struct disk_backend *const disks[] = { &disk };
	struct machine_config c;
	struct machine *m;

	machine_config_defaults(&c);
	c.memory = MEMORY_MIN;
	c.nnics = 1;
	c.ndisks = 1;
	c.disk_sectors[0] = disk.sectors;
	c.virtio_console = true;
	c.carried_sectors[CARRIED_CIDATA] = 2;
	m = machine_create(&c, bounded_engine(RUN_COUNT * STOPS), disks, &(struct output_sink){ 0 },
			   NULL);
	must(m);
	return m;
}

/*
 * Some instructions at a time; between them virtual time jumps, so that timers fire, and a digest
 * is taken.
 */
struct walk {
	unsigned stops;
	uint64_t seq;
	struct input input[2];
};

static void walk_until(void *ctx, struct machine *m, struct landmark *until)
{
	uint64_t now = machine_engine(m)->ops->count(machine_engine(m));

	*until = (struct landmark){ .count = now > UINT64_MAX - RUN_COUNT ? UINT64_MAX
									  : now + RUN_COUNT };
}

static enum sync_verdict walk_next(void *ctx, struct machine *m, enum sync_reason why,
				   const struct landmark *at, struct sync_point *sp)
{
	struct walk *w = ctx;

	if (w->stops++ == STOPS)
		return SYNC_END;
	w->input[0] = (struct input){ .kind = INPUT_ANCHOR,
				      .a = machine_now(m) + 300000000,
				      .b = CLOCK_RATE_ONE };
	w->input[1] = (struct input){ .kind = INPUT_DIGEST };
	*sp = (struct sync_point){ .seq = ++w->seq, .at = *at, .input = w->input, .n = 2 };
	return SYNC_APPLY;
}

static void run(struct machine *m)
{
	struct walk w = { 0 };
	struct input_source source = { .ctx = &w, .until = walk_until, .next = walk_next };
	struct err err = ERR_INIT;

	machine_kick(m);
	machine_run(m, &source, &err);
}

/* What a machine saves before its first instruction, which is at CODE. */
static const struct buf *true_state(void)
{
	static struct buf state;

	if (!state.len)
		first_state(make(), CODE, &state);
	return &state;
}

/* The rest of the input, and HLT behind it. */
static void put_code(struct machine *m, struct rd *in)
{
	uint8_t code[2048];

	memset(code, 0xf4, sizeof(code));
	rd_get(in, code, rd_left(in) < sizeof(code) ? rd_left(in) : sizeof(code));
	memory_write(machine_memory(m), CODE, code, sizeof(code));
}

/* Input: number of changes, then (offset, value) pairs; the rest goes into RAM as code. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct buf *first = true_state();
	struct machine *m = make();
	struct rd in = RD_INIT(data, size), image;
	struct buf state = BUF_INIT, again = BUF_INIT;
	struct err err = ERR_INIT;
	unsigned n = rd_u8(&in) & 31;

	buf_put(&state, first->data, first->len);
	while (n-- && rd_left(&in) >= 3) {
		uint16_t at = rd_u16(&in);

		state.data[at % state.len] = rd_u8(&in);
	}
	put_code(m, &in);
	image = (struct rd)RD_INIT(state.data, state.len);
	if (machine_restore(m, &image, &err) == 0) {
		machine_save(m, &again);
		must(!again.bad);
		run(m);
	} else {
		must(err.code && err.text[0]);
	}
	machine_destroy(m);
	buf_free(&state);
	buf_free(&again);
	return 0;
}
