// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/traits.h"

#include <stdio.h>
#include <string.h>

const char *const trait_name[TRAITS] = {
	[TRAIT_FLAGS] = "flags",
	[TRAIT_BIT_SCANS] = "bit-scans",
	[TRAIT_ESTIMATES] = "estimates",
	[TRAIT_X87_POINTERS] = "x87-pointers",
	[TRAIT_X87_FUNCTIONS] = "x87-functions",
	[TRAIT_ARITHMETIC] = "arithmetic",
	[TRAIT_ADDRESSES] = "addresses",
};

/* tests/vmx/test_agree.c has the software CPU run the programs and come to these. */
static const uint32_t of_soft[TRAITS] = {
	[TRAIT_FLAGS] = 0x692ac1de,	    [TRAIT_BIT_SCANS] = 0x678dde7d,
	[TRAIT_ESTIMATES] = 0x0b723075,	    [TRAIT_X87_POINTERS] = 0xdb932377,
	[TRAIT_X87_FUNCTIONS] = 0x483984ba, [TRAIT_ARITHMETIC] = 0x51ea7edd,
	[TRAIT_ADDRESSES] = 0x00000001,
};
/*
 * Machine version 1 has BSF and BSR where version 2 has TZCNT and LZCNT, and does not cut all
 * intermediate values of x87 functions that are known to be cut (soft/x87_trans.c).
 */
static const uint32_t bit_scans_of_version_1 = 0xeb7eeae2, functions_of_version_1 = 0x233984ba;

void traits_of_soft(unsigned version, struct traits *t)
{
	*t = (struct traits){ .host = "the software CPU", .n = TRAITS };
	memcpy(t->number, of_soft, sizeof(of_soft));
	if (version >= 2)
		return;
	t->number[TRAIT_BIT_SCANS] = bit_scans_of_version_1;
	t->number[TRAIT_X87_FUNCTIONS] = functions_of_version_1;
}

void traits_of(const struct engine_ops *ops, unsigned version, struct traits *t)
{
	if (ops->traits)
		ops->traits(t);
	else
		traits_of_soft(version, t);
}

bool traits_differ(const struct traits *a, const struct traits *b, char *text, size_t n)
{
	uint32_t both = a->n < b->n ? a->n : b->n;
	size_t len = 0;

	text[0] = 0;
	for (uint32_t i = 0; i < both && i < TRAITS; i++) {
		if (a->number[i] == b->number[i])
			continue;
		if (len < n)
			len += (size_t)snprintf(text + len, n - len, "%s%s", len ? ", " : "",
						trait_name[i]);
	}
	return len > 0;
}

bool traits_known(const struct traits *t)
{
	return t->n >= TRAITS_FIRST;
}

void traits_save(const struct traits *t, struct buf *out)
{
	buf_put_str(out, t->host);
	buf_put_u8(out, (uint8_t)t->n);
	for (uint32_t i = 0; i < t->n; i++)
		buf_put_u32(out, t->number[i]);
}

void traits_restore(struct traits *t, struct rd *in)
{
	size_t n;
	const uint8_t *host = rd_blob(in, TRAITS_HOST - 1, &n);

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; host && i < n; i++)
		t->host[i] = (char)(host[i] >= ' ' && host[i] < 127 ? host[i] : '?');
	t->n = rd_u8(in);
	if (t->n > TRAITS_MAX)
		in->bad = true;
	for (uint32_t i = 0; !in->bad && i < t->n; i++)
		t->number[i] = rd_u32(in);
	if (in->bad)
		*t = (struct traits){ 0 };
}
