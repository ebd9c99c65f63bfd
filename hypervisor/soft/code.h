/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for host code that the translator makes: one sealed memfd, mapped writable at one address
 * and executable at another, never both at one.
 */
#ifndef SOFT_CODE_H
#define SOFT_CODE_H

#include <stddef.h>
#include <stdint.h>

#define CODE_MEMORY (16u << 20)

struct code {
	uint8_t *rw;	   /* where it is written; NULL: none */
	const uint8_t *rx; /* where it runs */
};

/*
 * Maps the code memory of the next code_take() of this process, for who may map nothing executable
 * any more by then. Returns NULL, or why not; may be called again. Processes that are forked off
 * afterwards do not have it, and make no machine.
 */
const char *code_reserve(void);
/*
 * Takes the memory that was reserved, or else maps some now. Returns 0, or -1 when there is none.
 */
int code_take(struct code *c);
/* The memory is the next code_take()'s, where none is reserved. */
void code_free(struct code *c);

#endif
