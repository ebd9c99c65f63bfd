/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traits of the processor that executes a guest, which the guest can see and the CPU model does not
 * settle: flags that the manuals leave undefined, estimates, the last place of x87 functions. Small
 * programs (vmx/agree.h) fold each kind of trait into a number. Where two engines have the same
 * numbers, records of one may be replayed on the other. Where numbers differ, a guest that uses
 * such a trait would replay otherwise, so the replay is refused before it begins.
 */
#ifndef HYPERVISOR_TRAITS_H
#define HYPERVISOR_TRAITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "hypervisor/engine.h"

/* New ones go to the end: old records know the first ones. */
enum trait {
	TRAIT_FLAGS,	     /* that the manuals leave undefined */
	TRAIT_BIT_SCANS,     /* F3 BSF and F3 BSR, which may be TZCNT and LZCNT */
	TRAIT_ESTIMATES,     /* RCPSS and RSQRTSS */
	TRAIT_X87_POINTERS,  /* address of the last x87 operand, and its segments */
	TRAIT_X87_FUNCTIONS, /* FSIN, FPATAN, FYL2X in the last place */
	TRAIT_ARITHMETIC,    /* SQRTSS and DIVSS, which IEEE 754 settles */
	TRAIT_ADDRESSES,     /* WRFSBASE of an address beyond 48 bits */
	TRAITS
};

#define TRAITS_FIRST 7	/* as many as the first records with traits hold */
#define TRAITS_MAX   32 /* that a record may hold */
#define TRAITS_HOST  40
#define TRAITS_TEXT  120

struct traits {
	char host[TRAITS_HOST]; /* what executes, for people: printable */
	uint32_t n;		/* 0: not known */
	uint32_t number[TRAITS_MAX];
};

extern const char *const trait_name[TRAITS];

/* The traits of an engine that runs a machine of that version. */
void traits_of(const struct engine_ops *ops, unsigned version, struct traits *t);
/* The traits of the software CPU, which are the same on every host. */
void traits_of_soft(unsigned version, struct traits *t);
/*
 * True: a number that both know differs. text gets the names of such numbers, cut where n bytes are
 * too few.
 */
bool traits_differ(const struct traits *a, const struct traits *b, char *text, size_t n);

/* True: *t has at least the numbers of the first records with traits. Fewer say too little. */
bool traits_known(const struct traits *t);

void traits_save(const struct traits *t, struct buf *out);
/* in->bad: damaged. What is not printable in the host's name becomes "?". */
void traits_restore(struct traits *t, struct rd *in);

#endif
