// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/fault.h"

static const struct {
	const char *name;
	unsigned bits;
	uint64_t count; /* of registers; 0: as large as RAM */
	unsigned word;	/* the first of CONTROL_FLIP_REG's, and how many a register has */
	unsigned words;
} places[FAULT_PLACES] = {
	[FAULT_REGISTER] = { "register", 64, 16, FLIP_WORD_GPR, 1 },
	[FAULT_FLAGS] = { "flags", 22, 1, FLIP_WORD_FLAGS, 1 },
	[FAULT_RIP] = { "rip", 64, 1, FLIP_WORD_RIP, 1 },
	[FAULT_VECTOR] = { "vector", 128, 16, FLIP_WORD_VECTOR, 2 },
	[FAULT_X87] = { "x87", 80, 8, FLIP_WORD_X87, 2 },
	[FAULT_MEMORY] = { "memory", 8, 0, 0, 0 },
};

unsigned fault_bits(enum fault_place place)
{
	return places[place].bits;
}

const char *fault_place_name(enum fault_place place)
{
	return places[place].name;
}

size_t fault_inputs(const struct fault *f, const struct machine_config *c, struct input *in,
		    size_t max)
{
	uint64_t word;

	if (!max || f->place >= FAULT_PLACES || f->bit >= places[f->place].bits ||
	    f->index >= (places[f->place].count ? places[f->place].count : c->memory))
		return 0;
	*in = (struct input){ .kind = INPUT_CONTROL, .a = CONTROL_FLIP_BIT };
	in->b = f->index * 8 + f->bit;
	if (f->place == FAULT_MEMORY)
		return 1;
	word = places[f->place].word + f->index * places[f->place].words + f->bit / 64;
	in->a = CONTROL_FLIP_REG;
	in->b = word * 64 + f->bit % 64;
	return 1;
}
