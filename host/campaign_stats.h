/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the outcomes of a campaign's experiments say, and how surely. */
#ifndef HOST_CAMPAIGN_STATS_H
#define HOST_CAMPAIGN_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/experiment.h"

/* How many standard deviations a two-sided confidence (0.95) is: 1.96. Below 1 - 1e-9. */
double share_deviations(double confidence);
/* Wilson's interval of a share: hits of n, at z standard deviations. */
void share_interval(uint64_t hits, uint64_t n, double z, double *low, double *high);
/*
 * Experiments after which a share is known to `margin` (0.01: one in a hundred, either way) at z
 * standard deviations, whatever it is: Cochran's formula with the correction for a finite
 * population. population: of faults that there are, HUGE_VAL where nobody counted.
 */
uint64_t share_sample(double margin, double z, double population);

struct campaign_tally {
	uint64_t n, outcome[OUTCOMES];
};

void campaign_tally_add(struct campaign_tally *t, enum outcome o);
/* The widest half of an outcome's interval. */
double campaign_tally_margin(const struct campaign_tally *t, double z);
/* "no effect 51.2 % (48.1 to 54.3), hang ...": what has come up so far, in one line. */
void campaign_tally_say(const struct campaign_tally *t, double z, char *text, size_t n);

/* Outcomes by the order of the experiments, in which they do not come. */
struct campaign_order {
	uint8_t *outcome; /* 1 + enum outcome of each, 0: not known */
	uint64_t experiments, known;
	double margin, z; /* early enough is when every share is known so well; 0: at the end */
	uint64_t prefix;  /* experiments before this one are all known */
	struct campaign_tally before, all; /* of those, and of all that are known */
	bool enough;			   /* those are enough: what comes behind is not needed */
};

/* False: no memory. Free with campaign_order_free(). */
bool campaign_order_init(struct campaign_order *c, uint64_t experiments, double margin, double z);
void campaign_order_free(struct campaign_order *c);
/*
 * One more is known. The end depends on outcomes and numbers alone, not on what came first: the
 * first so many experiments of the plan that are enough.
 */
void campaign_order_add(struct campaign_order *c, uint64_t n, enum outcome o);

#endif
