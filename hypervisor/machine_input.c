// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kinds of inputs: a row for each, with its name, the shape of what it carries, and the
 * function by which it enters the machine. The codec of records and the text of logs go by the
 * shape, so a new kind is a row here.
 */
#include <errno.h>

#include "hypervisor/machine_private.h"

static int apply_anchor(struct machine *m, const struct input *in)
{
	return in->b <= UINT32_MAX ? clock_anchor(&m->clock, in->a, (uint32_t)in->b) : -EINVAL;
}

static int apply_net_rx(struct machine *m, const struct input *in)
{
	if (in->port >= m->config.nnics)
		return -EINVAL;
	machine_virtio_net_rx(m, in->port, in->data, in->len);
	return 0;
}

static int apply_console(struct machine *m, const struct input *in)
{
	if (in->port != CONSOLE_SERIAL)
		return machine_virtio_console_rx(m, in->port, in->data, in->len);
	uart_receive(&m->uart, in->data, in->len);
	return 0;
}

static int apply_seed(struct machine *m, const struct input *in)
{
	if (in->len != GENERATOR_SEED_LEN)
		return -EINVAL;
	generator_seed(&m->generator, in->data);
	return 0;
}

static int apply_disk_error(struct machine *m, const struct input *in)
{
	return in->b > 0 && in->b < 4096 ? machine_virtio_disk_error(m, in->port, in->a, (int)in->b)
					 : -EINVAL;
}

static int control_flip_bit(struct machine *m, uint64_t bit)
{
	uint64_t gpa = memory_gpa(&m->memory, bit / 8);
	uint8_t v;

	if (bit / 8 >= m->memory.size || !memory_read(&m->memory, gpa, &v, 1))
		return -EINVAL;
	v ^= (uint8_t)(1u << bit % 8);
	return memory_write(&m->memory, gpa, &v, 1) ? 0 : -EINVAL;
}

/* False: there is no such bit. */
static bool flip_word(struct cpu_state *s, unsigned word, unsigned bit)
{
	uint64_t mask = 1ull << bit;

	if (word < FLIP_WORD_FLAGS)
		s->gpr[word] ^= mask;
	else if (word == FLIP_WORD_FLAGS)
		s->rflags ^= mask;
	else if (word == FLIP_WORD_RIP)
		s->rip ^= mask;
	else if (word < FLIP_WORD_X87)
		s->fxsave[160 + 8 * (word - FLIP_WORD_VECTOR) + bit / 8] ^=
			(uint8_t)(1u << bit % 8);
	else if (word < FLIP_WORDS && (bit < 16 || word % 2 == 0))
		s->fxsave[32 + 8 * (word - FLIP_WORD_X87) + bit / 8] ^= (uint8_t)(1u << bit % 8);
	else
		return false;
	return true;
}

/*
 * The CPU in another state, under the translations that it has: set_state() alone drops them.
 * -EINVAL: no CPU can be in that state.
 */
static int control_flip_reg(struct machine *m, uint64_t which)
{
	const struct engine_ops *ops = m->engine->ops;
	struct buf hidden = BUF_INIT;
	struct cpu_state s;
	struct rd in;
	int ret;

	ops->get_state(m->engine, &s);
	if (which >= FLIP_WORDS * 64 || !flip_word(&s, (unsigned)(which / 64), which % 64))
		return -EINVAL;
	if (!ops->hidden_save)
		return ops->set_state(m->engine, &s, NULL);
	ops->hidden_save(m->engine, &hidden);
	ret = hidden.bad ? -ENOMEM : ops->set_state(m->engine, &s, NULL);
	in = (struct rd)RD_INIT(hidden.data, hidden.len);
	if (ret == 0)
		ret = ops->hidden_restore(m->engine, &in);
	buf_free(&hidden);
	return ret;
}

static int control_flip_tlb(struct machine *m, uint64_t which)
{
	const struct engine_ops *ops = m->engine->ops;

	return ops->flip_tlb ? ops->flip_tlb(m->engine, which) : -EINVAL;
}

/* A spurious one is what a controller answers that nobody asks. */
static int control_interrupt(struct machine *m, uint64_t fault)
{
	if (fault == INTERRUPT_LOST)
		m->lose_interrupt = true;
	else if (fault != INTERRUPT_SPURIOUS || !machine_takes_spurious(m))
		return -EINVAL;
	else
		machine_inject(m);
	return 0;
}

static int control_power(struct machine *m, uint64_t seed)
{
	int ret = machine_virtio_power(m, seed);

	if (ret == 0 && seed)
		machine_end_soon(m, MACHINE_RESET);
	return ret;
}

static int apply_control(struct machine *m, const struct input *in)
{
	switch (in->a) {
	case CONTROL_STOP:
		machine_end_soon(m, MACHINE_STOPPED);
		return 0;
	case CONTROL_RESET:
		machine_end_soon(m, MACHINE_RESET);
		return 0;
	case CONTROL_NMI:
		m->engine->ops->inject_nmi(m->engine);
		return 0;
	case CONTROL_FLIP_BIT:
		return control_flip_bit(m, in->b);
	case CONTROL_FLIP_REG:
		return control_flip_reg(m, in->b);
	case CONTROL_FLIP_TLB:
		return control_flip_tlb(m, in->b);
	case CONTROL_INTERRUPT:
		return control_interrupt(m, in->b);
	case CONTROL_POWER:
		return control_power(m, in->b);
	case CONTROL_POWER_BUTTON:
		if (!m->v2)
			return -EINVAL;
		machine_v2_power_button(m);
		return 0;
	case CONTROL_BALLOON:
	case CONTROL_LINK:
	case CONTROL_ANNOUNCE:
	case CONTROL_DISK_LATE:
	case CONTROL_DISK_WRITES:
	case CONTROL_DISK_ROT:
	case CONTROL_DISK_GROW:
		return machine_virtio_control(m, (enum control_command)in->a, in->port, in->b);
	default:
		return -EINVAL;
	}
}

int machine_inject_fault(struct machine *m, const struct input *flip)
{
	return apply_control(m, flip);
}

static int apply_flush_tlb(struct machine *m, const struct input *in)
{
	m->engine->ops->flush_tlb(m->engine);
	return 0;
}

/* The digest comes after the timers: machine_apply() computes it last. */
static int apply_digest(struct machine *m, const struct input *in)
{
	return 0;
}

static const struct input_form forms[INPUT_KIND_END_] = {
	[INPUT_ANCHOR] = { "anchor", "time anchors", INPUT_SHAPE_TIME, apply_anchor },
	[INPUT_NET_RX] = { "net", "packets", INPUT_SHAPE_DATA, apply_net_rx },
	[INPUT_CONSOLE] = { "console", "console input", INPUT_SHAPE_DATA, apply_console },
	[INPUT_SEED] = { "seed", "seeds", INPUT_SHAPE_DATA, apply_seed },
	[INPUT_DISK_ERROR] = { "disk-error", "disk errors", INPUT_SHAPE_PAIR, apply_disk_error },
	[INPUT_CONTROL] = { "control", "controls", INPUT_SHAPE_PAIR, apply_control },
	[INPUT_FLUSH_TLB] = { "flush-tlb", "checkpoints", INPUT_SHAPE_NONE, apply_flush_tlb },
	[INPUT_DIGEST] = { "digest", "digests", INPUT_SHAPE_DIGEST, apply_digest },
};

const struct input_form *input_form(unsigned kind)
{
	return kind < INPUT_KIND_END_ && forms[kind].apply ? &forms[kind] : NULL;
}
