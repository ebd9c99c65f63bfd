// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine's life: creation, the run loop, and what a sync point does.
 *
 * The loop is a function of the machine's state and of what the source hands out, nothing else. An
 * interrupt is injected at the first boundary where the CPU accepts it after the controller asked;
 * both are decided by instructions and sync points, so it needs no record of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/cpustate.h"
#include "hypervisor/devices/memdisk.h"
#include "hypervisor/machine_private.h"

/* ---- what the engine calls ---- */

static uint32_t machine_port_read(void *ctx, uint16_t port, unsigned size)
{
	return (uint32_t)bus_read(&((struct machine *)ctx)->bus, BUS_PORT, port, size);
}

static void machine_port_write(void *ctx, uint16_t port, unsigned size, uint32_t value)
{
	bus_write(&((struct machine *)ctx)->bus, BUS_PORT, port, size, value);
}

static uint64_t machine_mmio_read(void *ctx, uint64_t gpa, unsigned size)
{
	if (machine_v2_decodes(ctx, gpa))
		return machine_v2_mmio_read(ctx, gpa, size);
	return bus_read(&((struct machine *)ctx)->bus, BUS_MMIO, gpa, size);
}

static void machine_mmio_write(void *ctx, uint64_t gpa, unsigned size, uint64_t value)
{
	if (machine_v2_decodes(ctx, gpa))
		machine_v2_mmio_write(ctx, gpa, size, value);
	else
		bus_write(&((struct machine *)ctx)->bus, BUS_MMIO, gpa, size, value);
}

static uint64_t machine_time(void *ctx)
{
	return clock_now(&((struct machine *)ctx)->clock);
}

static void machine_time_line(void *ctx, struct engine_time *t)
{
	const struct clock *c = &((struct machine *)ctx)->clock;

	*t = (struct engine_time){ .anchor_ns = c->anchor_ns,
				   .anchor_count = c->anchor_count,
				   .rate = c->rate };
}

static uint64_t machine_random(void *ctx)
{
	return generator_next(&((struct machine *)ctx)->generator);
}

/* ---- effects of devices ---- */

static uint64_t machine_count(void *ctx)
{
	const struct machine *m = ctx;

	return m->engine->ops->count(m->engine);
}

/* A deadline moved: the engine may have been told to run past it. */
static void machine_deadline_changed(void *ctx)
{
	struct machine *m = ctx;

	if (clock_next_deadline(&m->clock) != m->deadline)
		m->engine->ops->bus_stop(m->engine);
}

void machine_intr(void *ctx, bool level)
{
	struct machine *m = ctx;

	if (m->engine)
		m->engine->ops->window(m->engine, level);
}

void machine_end_soon(struct machine *m, enum machine_end end)
{
	m->wants_end = true;
	m->end = end;
	m->engine->ops->bus_stop(m->engine);
}

static void machine_debug_exit(void *ctx, uint8_t code)
{
	struct machine *m = ctx;

	m->exit_code = code;
	machine_end_soon(m, MACHINE_EXIT);
}

static void machine_guest_reset(void *ctx)
{
	machine_end_soon(ctx, MACHINE_RESET);
}

void machine_output(struct machine *m, enum output_kind kind, uint8_t port, const uint8_t *data,
		    size_t len)
{
	struct output out = { .kind = kind, .port = port, .data = data, .len = len };

	if (!m->sink.emit)
		return;
	out.count = m->engine->ops->count(m->engine);
	out.ns = clock_now(&m->clock);
	m->sink.emit(m->sink.ctx, &out);
}

static void machine_uart_tx(void *ctx, const uint8_t *data, size_t n)
{
	machine_output(ctx, OUTPUT_CONSOLE, 0, data, n);
}

static void machine_debug_tx(void *ctx, const uint8_t *data, size_t n)
{
	machine_output(ctx, OUTPUT_DEBUG, 0, data, n);
}

static void machine_firmware_tx(void *ctx, const uint8_t *data, size_t n)
{
	machine_output(ctx, OUTPUT_DEBUG, 1, data, n);
}

/* ---- creation ---- */

void machine_device_add(struct machine *m, const struct device_ops *ops, void *dev, unsigned number)
{
	struct machine_device *d = &m->device[m->ndevices];
	size_t n = strlen(ops->name);

	must(m->ndevices < MACHINE_DEVICES && n < sizeof(d->name) - 3 && number < 100);
	*d = (struct machine_device){ .ops = ops, .dev = dev };
	memcpy(d->name, ops->name, n);
	if (number > 9)
		d->name[n++] = (char)('0' + number / 10);
	if (number)
		d->name[n] = (char)('0' + number % 10);
	m->ndevices++;
}

struct irq_line machine_irq(struct machine *m, unsigned line)
{
	if (m->v2)
		return machine_v2_irq(m, line);
	return (struct irq_line){ .set = m->intc.ops->set_irq, .ctx = m->intc.dev, .line = line };
}

/* The interrupt controllers, then the other chips: the order of reset, save and digest. */
static int machine_board_init(struct machine *m, struct err *err)
{
	if (m->config.version == 2) {
		if (machine_v2_init(m, err) < 0)
			return -ENOMEM;
	} else {
		i8259_init(&m->pic, &m->bus, machine_intr, m);
		m->intc = (struct intc){ .ops = &i8259_intc_ops, .dev = &m->pic };
		machine_device_add(m, &i8259_ops, &m->pic, 0);
	}
	i8254_init(&m->pit, &m->bus, &m->clock, machine_irq(m, 0));
	machine_device_add(m, &i8254_ops, &m->pit, 0);
	rtc_init(&m->rtc, &m->bus, &m->clock, machine_irq(m, 8), m->config.rtc_epoch,
		 m->memory.low_size, m->memory.high_size);
	machine_device_add(m, &rtc_ops, &m->rtc, 0);
	uart_init(&m->uart, &m->bus, UART_COM1, &m->clock, machine_irq(m, 4), machine_uart_tx, m);
	machine_device_add(m, &uart_ops, &m->uart, 0);
	reset_init(&m->reset, &m->bus, machine_guest_reset, m);
	machine_device_add(m, &reset_ops, &m->reset, 0);
	debugport_init(&m->debugport, &m->bus, machine_debug_exit, machine_debug_tx, m);
	if (m->config.firmware)
		debugport_add_firmware(&m->debugport, &m->bus, machine_firmware_tx);
	machine_device_add(m, &debugport_ops, &m->debugport, 0);
	return 0;
}

static int machine_engine_create(struct machine *m, const struct engine_ops *ops, struct err *err)
{
	struct engine_bus bus = {
		.ctx = m,
		.version = m->config.version,
		.port_read = machine_port_read,
		.port_write = machine_port_write,
		.mmio_read = machine_mmio_read,
		.mmio_write = machine_mmio_write,
		.time_ns = machine_time,
		.time_line = machine_time_line,
		.random = machine_random,
	};

	if (m->config.version == 2)
		machine_v2_engine_bus(&bus);
	m->engine = ops->create(&m->memory, &bus, err);
	if (!m->engine)
		return -1;
	m->memory.engine = m->engine;
	m->clock.count = machine_count;
	m->clock.count_ctx = m;
	m->clock.changed = machine_deadline_changed;
	m->clock.changed_ctx = m;
	return 0;
}

/* All devices, and what firmware would have set up before the kernel starts. */
static void machine_reset_devices(struct machine *m)
{
	for (size_t i = 0; i < m->ndevices; i++)
		m->device[i].ops->reset(m->device[i].dev);
	bus_write(&m->bus, BUS_PORT, 0x4d0, 1, m->level_irqs & 0xff);
	bus_write(&m->bus, BUS_PORT, 0x4d1, 1, m->level_irqs >> 8);
	if (m->v2)
		machine_v2_firmware(m);
}

static int machine_config_check(const struct machine_config *c, struct err *err)
{
	if (c->version < 1 || c->version > MACHINE_VERSIONS)
		return err_set(err, EINVAL,
			       "machine version %u: this program knows versions 1 to %u",
			       c->version, MACHINE_VERSIONS);
	if (c->firmware && c->version < 2)
		return err_set(err, EINVAL, "a machine of version 1 has no firmware");
	if ((c->carried_sectors[CARRIED_NET_ROM] || c->carried_sectors[CARRIED_CD_ROM]) &&
	    !c->firmware)
		return err_set(err, EINVAL, "a machine without firmware has no option ROM");
	if (c->nnics > machine_nics_max(c->version))
		return err_set(err, EINVAL,
			       "%u network cards: a machine of version %u has at most %u", c->nnics,
			       c->version, machine_nics_max(c->version));
	if (c->ndisks + (c->carried_sectors[CARRIED_CIDATA] ? 1 : 0) >
	    machine_disks_max(c->version))
		return err_set(err, EINVAL, "%u disks%s: a machine of version %u has at most %u",
			       c->ndisks,
			       c->carried_sectors[CARRIED_CIDATA] ? " and cloud-init's" : "",
			       c->version, machine_disks_max(c->version));
	return 0;
}

struct machine *machine_create(const struct machine_config *config, const struct engine_ops *engine,
			       struct disk_backend *const *disks, const struct output_sink *sink,
			       struct err *err)
{
	struct machine *m;

	if (machine_config_check(config, err) < 0)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (!m) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	m->config = *config;
	m->sink = *sink;
	m->memory.fd = -1;
	bus_init(&m->bus);
	clock_init(&m->clock);
	generator_init(&m->generator);
	if (memory_init(&m->memory, config->memory, err) < 0 ||
	    machine_engine_create(m, engine, err) < 0)
		goto fail;
	if (machine_board_init(m, err) < 0 || machine_virtio_init(m, disks, err) < 0)
		goto fail;
	if (m->v2)
		machine_v2_add_controllers(m);
	machine_reset_devices(m);
	return m;
fail:
	machine_destroy(m);
	return NULL;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	machine_virtio_fini(m);
	machine_v2_fini(m);
	if (m->engine)
		m->engine->ops->destroy(m->engine);
	memory_fini(&m->memory);
	buf_free(&m->scratch);
	free(m);
}

/* ---- sync points ---- */

static bool is_flip(const struct input *in)
{
	return in->kind == INPUT_CONTROL &&
	       (in->a == CONTROL_FLIP_BIT || in->a == CONTROL_FLIP_REG ||
		in->a == CONTROL_FLIP_TLB);
}

/* The last act of a sync point whose inputs say so: one that the CPU could not be handed yet, or
 * new. */
static void lose_interrupt(struct machine *m)
{
	m->lose_interrupt = false;
	if (!m->intc.ops->pending(m->intc.dev))
		return;
	m->intc.ops->drop(m->intc.dev);
	m->lost_interrupts++;
}

/*
 * Applies a sync point; *digest is set when it asked for one. A record may be forged: every field
 * is checked.
 */
static int machine_apply(struct machine *m, const struct sync_point *sp, uint64_t *digest,
			 struct err *err)
{
	bool wants_digest = false, takes_time = sp->n == 0;

	*digest = 0;
	m->lose_interrupt = false;
	m->syncs++;
	for (size_t i = 0; i < sp->n; i++) {
		const struct input *in = &sp->input[i];
		const struct input_form *form = input_form(in->kind);
		int ret = form && !wants_digest ? form->apply(m, in) : -EINVAL;

		if (ret < 0)
			return err_set(err, -ret,
				       "record %llu: input %zu (kind %d) cannot be applied",
				       (unsigned long long)sp->seq, i, in->kind);
		wants_digest |= in->kind == INPUT_DIGEST;
		takes_time |= !is_flip(in);
	}
	if (takes_time)
		clock_expire(&m->clock);
	if (m->lose_interrupt)
		lose_interrupt(m);
	if (wants_digest)
		*digest = machine_digest(m);
	return 0;
}

/* ---- what a machine has with it ---- */

/* NULL: it has none of that kind. */
static struct memdisk *carried(const struct machine *m, enum machine_carried which)
{
	if (!m->config.carried_sectors[which])
		return NULL;
	return which == CARRIED_CIDATA ? machine_virtio_cidata(m) : machine_v2_rom(m, which);
}

int machine_load_carried(struct machine *m, enum machine_carried which, const uint8_t *data,
			 size_t size, struct err *err)
{
	struct memdisk *d = carried(m, which);

	if (!d || memdisk_load(d, data, size) < 0)
		return err_set(err, EINVAL, "%zu bytes for %s of %u sectors", size,
			       which == CARRIED_CIDATA ? "a disk of cloud-init's" : "an option ROM",
			       m->config.carried_sectors[which]);
	return 0;
}

const uint8_t *machine_carried(const struct machine *m, enum machine_carried which, size_t *size)
{
	const struct memdisk *d = carried(m, which);

	*size = (size_t)m->config.carried_sectors[which] * DISK_SECTOR;
	return d ? d->data : NULL;
}

/* ---- firmware ---- */

int machine_load_firmware(struct machine *m, const uint8_t *image, size_t size, const char *name,
			  struct err *err)
{
	struct cpu_state s;
	int ret = machine_v2_load_firmware(m, image, size);

	if (ret == -EINVAL)
		return err_set(err, EINVAL,
			       "%s is no firmware: %zu bytes, and a ROM has a multiple of 64 KiB "
			       "up to 1 MiB",
			       name, size);
	if (ret == -EBUSY)
		return err_set(err, EBUSY,
			       "%s: a device has some of the %zu addresses below 4 GiB that a ROM "
			       "of its size takes",
			       name, size);
	if (ret < 0)
		return err_set(err, -ret, "out of memory");
	cpu_state_reset(&s);
	return m->engine->ops->set_state(m->engine, &s, err);
}

/*
 * The reset pin: CPU and devices start again; memory, clock and count go on. The boundary behind
 * the instruction that asked for it is the one where the first instruction of the firmware starts.
 */
static int machine_restart(struct machine *m, struct err *err)
{
	struct cpu_state s;
	uint64_t count = m->engine->ops->count(m->engine);
	int ret;

	cpu_state_reset(&s);
	s.count = count;
	ret = m->engine->ops->set_state(m->engine, &s, err);
	if (ret == 0)
		machine_reset_devices(m);
	return ret;
}

/* The guest has asked for an end. True: the run goes on all the same; else *end says how it ends.
 */
static bool machine_goes_on(struct machine *m, enum machine_end *end, struct err *err)
{
	m->wants_end = false;
	*end = m->end;
	if (m->end != MACHINE_RESET || !m->config.firmware)
		return false;
	*end = MACHINE_FAILED;
	return machine_restart(m, err) == 0;
}

/* ---- running ---- */

/* Steps of run() after an exit of the engine. */
enum step { STEP_ON, STEP_SYNC, STEP_SPIN, STEP_END };

struct exit_rule {
	enum step step;
	enum sync_reason why;
	enum machine_end end;
};

static const struct exit_rule exit_rules[ENGINE_EXIT_COUNT_] = {
	[ENGINE_EXIT_UNTIL] = { .step = STEP_SYNC, .why = SYNC_UNTIL },
	[ENGINE_EXIT_KICK] = { .step = STEP_SYNC, .why = SYNC_KICK },
	[ENGINE_EXIT_HALT] = { .step = STEP_SYNC, .why = SYNC_IDLE },
	[ENGINE_EXIT_WINDOW] = { .step = STEP_ON },
	[ENGINE_EXIT_BUS] = { .step = STEP_ON },
	[ENGINE_EXIT_SPIN] = { .step = STEP_SPIN },
	[ENGINE_EXIT_SHUTDOWN] = { .step = STEP_END, .end = MACHINE_TRIPLE },
	[ENGINE_EXIT_STUCK] = { .step = STEP_END, .end = MACHINE_STUCK },
	[ENGINE_EXIT_PROBE] = { .step = STEP_END, .end = MACHINE_PROBED },
	[ENGINE_EXIT_ERROR] = { .step = STEP_END, .end = MACHINE_FAILED },
};

void machine_inject(struct machine *m)
{
	m->injected++;
	m->engine->ops->inject(m->engine, m->intc.ops->acknowledge(m->intc.dev));
}

/* Hands a pending interrupt to the CPU when it takes one now; else asks to be told when. */
static void machine_interrupt(struct machine *m)
{
	const struct engine_ops *ops = m->engine->ops;

	if (!m->intc.ops->pending(m->intc.dev))
		return;
	if (ops->can_interrupt(m->engine))
		machine_inject(m);
	ops->window(m->engine, m->intc.ops->pending(m->intc.dev));
}

/* True when the vCPU sits in HLT and can never leave it: interrupts are off, and no NMI comes. */
static bool machine_halted_for_good(struct machine *m)
{
	struct cpu_state s;

	if (m->engine->ops->can_interrupt(m->engine))
		return false;
	m->engine->ops->get_state(m->engine, &s);
	if (!s.halted || (s.rflags & FL_IF) || s.nmi_pending)
		return false;
	return !m->v2 || s.nmi_blocked || !machine_v2_may_nmi(m);
}

/* Asks for a sync point and applies it. True: the run goes on, else *end says how it ended. */
static bool machine_sync(struct machine *m, const struct input_source *src, enum sync_reason why,
			 enum machine_end *end, struct err *err)
{
	struct sync_point sp = { 0 };
	struct landmark at;
	uint64_t digest;

	/* A boundary can be the place of an injection and of a sync point; whichever the engine
	 * stopped for, this order. */
	machine_interrupt(m);
	if (why == SYNC_IDLE && machine_halted_for_good(m)) {
		m->halted = true;
		*end = MACHINE_POWEROFF;
		return false;
	}
	m->engine->ops->landmark(m->engine, &at);
	switch (src->next(src->ctx, m, why, &at, &sp)) {
	case SYNC_AGAIN:
		return true;
	case SYNC_END:
		*end = MACHINE_ENDED;
		return false;
	case SYNC_APPLY:
		break;
	}
	*end = MACHINE_DIVERGED;
	if (machine_apply(m, &sp, &digest, err) < 0)
		return false;
	*end = MACHINE_FAILED;
	if (machine_virtio_disk_check(m, err) < 0)
		return false;
	*end = MACHINE_DIVERGED;
	return !src->applied || src->applied(src->ctx, m, &sp, digest);
}

enum machine_end machine_run(struct machine *m, const struct input_source *src, struct err *err)
{
	enum machine_end end = MACHINE_FAILED;

	for (;;) {
		struct landmark until;
		const struct exit_rule *rule;
		enum engine_exit_kind kind;

		if (m->wants_end && !machine_goes_on(m, &end, err))
			return end;
		machine_interrupt(m);
		src->until(src->ctx, m, &until);
		m->deadline = clock_next_deadline(&m->clock);
		kind = m->engine->ops->run(m->engine, &until);
		m->exits[kind]++;
		rule = &exit_rules[kind];
		if (rule->step == STEP_END) {
			if (kind == ENGINE_EXIT_ERROR)
				err_set(err, EIO, "engine %s: %s", m->engine->ops->name,
					m->engine->ops->last_error(m->engine));
			return rule->end;
		}
		if (rule->step == STEP_SPIN && src->spins && src->spins(src->ctx, m))
			return MACHINE_SPINNING;
		if (rule->step == STEP_SYNC && !m->wants_end &&
		    !machine_sync(m, src, rule->why, &end, err))
			return end;
	}
}

void machine_kick(struct machine *m)
{
	m->engine->ops->kick(m->engine);
}

/* ---- small questions ---- */

unsigned machine_exit_code(const struct machine *m)
{
	return m->exit_code;
}

uint64_t machine_lost_interrupts(const struct machine *m)
{
	return m->lost_interrupts;
}

bool machine_takes_spurious(const struct machine *m)
{
	return !m->intc.ops->pending(m->intc.dev) && m->engine->ops->can_interrupt(m->engine);
}

bool machine_is_halted(const struct machine *m)
{
	return m->halted && m->v2;
}

const struct machine_config *machine_get_config(const struct machine *m)
{
	return &m->config;
}

struct memory *machine_memory(struct machine *m)
{
	return &m->memory;
}

struct engine *machine_engine(struct machine *m)
{
	return m->engine;
}

struct clock *machine_clock(struct machine *m)
{
	return &m->clock;
}

uint64_t machine_now(const struct machine *m)
{
	return clock_now(&m->clock);
}

uint64_t machine_next_deadline(const struct machine *m)
{
	return clock_next_deadline(&m->clock);
}

size_t machine_console_room(const struct machine *m, unsigned port)
{
	return port == CONSOLE_SERIAL ? uart_room(&m->uart) : machine_virtio_console_room(m, port);
}

static const char *const exit_names[ENGINE_EXIT_COUNT_] = {
	[ENGINE_EXIT_UNTIL] = "exit_until", [ENGINE_EXIT_KICK] = "exit_kick",
	[ENGINE_EXIT_HALT] = "exit_halt",   [ENGINE_EXIT_WINDOW] = "exit_window",
	[ENGINE_EXIT_BUS] = "exit_bus",	    [ENGINE_EXIT_SHUTDOWN] = "exit_shutdown",
	[ENGINE_EXIT_SPIN] = "exit_spin",   [ENGINE_EXIT_STUCK] = "exit_stuck",
	[ENGINE_EXIT_PROBE] = "exit_probe", [ENGINE_EXIT_ERROR] = "exit_error",
};

static size_t stat_add(struct engine_stat *stats, size_t n, size_t max, const char *name,
		       uint64_t value)
{
	if (n < max)
		stats[n] = (struct engine_stat){ .name = name, .value = value };
	return n + 1;
}

size_t machine_stats(const struct machine *m, struct engine_stat *stats, size_t max)
{
	size_t n = 0;

	n = stat_add(stats, n, max, "instructions", m->engine->ops->count(m->engine));
	n = stat_add(stats, n, max, "virtual_ns", clock_now(&m->clock));
	n = stat_add(stats, n, max, "sync_points", m->syncs);
	n = stat_add(stats, n, max, "interrupts_injected", m->injected);
	for (size_t i = 0; i < ENGINE_EXIT_COUNT_; i++)
		n = stat_add(stats, n, max, exit_names[i], m->exits[i]);
	n = stat_add(stats, n, max, "unclaimed_port", m->bus.unclaimed[BUS_PORT]);
	n = stat_add(stats, n, max, "unclaimed_mmio", m->bus.unclaimed[BUS_MMIO]);
	return n +
	       m->engine->ops->stats(m->engine, n < max ? stats + n : NULL, n < max ? max - n : 0);
}
