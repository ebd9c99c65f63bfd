// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: what a witness is asked and what it answers. What is taken has a name that can be a
 * directory's, and is the same after it was written and read again.
 */
#include <string.h>

#include "base/log.h"
#include "replica/witness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(const uint8_t *in)
{
	struct witness_request q, again;
	uint8_t out[WITNESS_REQUEST];
	struct err err = ERR_INIT;

	if (witness_get_request(in, &q, &err) < 0) {
		must(err.code && err.text[0]);
		return;
	}
	must(witness_name_is_good(q.guest) && !strchr(q.guest, '/') && q.guest[0] != '.');
	witness_put_request(out, &q);
	must(witness_get_request(out, &again, &err) == 0);
	must(!memcmp(&q, &again, sizeof(q)));
}

static void answer(const uint8_t *in)
{
	struct witness_answer a, again;
	uint8_t out[WITNESS_ANSWER];

	if (witness_get_answer(in, &a) < 0)
		return;
	must(a.result <= 1 && strlen(a.text) < sizeof(a.text));
	witness_put_answer(out, &a);
	must(!memcmp(in, out, sizeof(out)));
	must(witness_get_answer(out, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t in[WITNESS_ANSWER] = { 'T', 'W', 'I', 'T', 1 };

	if (size && data[0] & 1) { /* right at the beginning */
		memcpy(in + 5, data, size > 75 ? 75 : size);
		in[5] %= 8;
		in[6] = in[7] = 0;
	} else {
		memcpy(in, data, size > sizeof(in) ? sizeof(in) : size);
	}
	request(in);
	answer(in);
	return 0;
}
