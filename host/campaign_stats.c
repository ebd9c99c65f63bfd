// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/campaign_stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEWEST 50 /* experiments before which no interval is believed to be narrow */

/* ---- shares ---- */

double share_deviations(double confidence)
{
	double low = 0, high = 10;

	for (int i = 0; i < 60; i++) {
		double z = (low + high) / 2;

		if (erf(z / sqrt(2)) < confidence)
			low = z;
		else
			high = z;
	}
	return high;
}

void share_interval(uint64_t hits, uint64_t n, double z, double *low, double *high)
{
	double p, d, middle, half;

	if (!n) {
		*low = 0;
		*high = 1;
		return;
	}
	p = (double)hits / (double)n;
	d = 1 + z * z / (double)n;
	middle = (p + z * z / (2 * (double)n)) / d;
	half = z / d * sqrt(p * (1 - p) / (double)n + z * z / (4.0 * (double)n * (double)n));
	*low = middle - half > 0 && hits ? middle - half : 0;
	*high = middle + half < 1 && hits < n ? middle + half : 1;
}

uint64_t share_sample(double margin, double z, double population)
{
	double n = z * z / (4 * margin * margin);

	if (population < HUGE_VAL)
		n = population / (1 + (population - 1) / n);
	return n < 1 ? 1 : n > 1e18 ? 1000000000000000000u : (uint64_t)ceil(n);
}

/* ---- tallies ---- */

void campaign_tally_add(struct campaign_tally *t, enum outcome o)
{
	t->n++;
	t->outcome[o]++;
}

double campaign_tally_margin(const struct campaign_tally *t, double z)
{
	double widest = 0;

	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		share_interval(t->outcome[i], t->n, z, &low, &high);
		widest = (high - low) / 2 > widest ? (high - low) / 2 : widest;
	}
	return widest;
}

void campaign_tally_say(const struct campaign_tally *t, double z, char *text, size_t n)
{
	size_t used = 0;

	*text = 0;
	for (unsigned i = 0; i < OUTCOMES && used < n; i++) {
		double low, high;

		if (!t->outcome[i])
			continue;
		share_interval(t->outcome[i], t->n, z, &low, &high);
		used += (size_t)snprintf(text + used, n - used, "%s%s %.1f %% (%.1f to %.1f)",
					 used ? ", " : "", outcome_name((enum outcome)i),
					 100 * (double)t->outcome[i] / (double)t->n, 100 * low,
					 100 * high);
	}
}

/* ---- order ---- */

bool campaign_order_init(struct campaign_order *c, uint64_t experiments, double margin, double z)
{
	*c = (struct campaign_order){ .outcome = calloc(experiments, 1),
				      .experiments = experiments,
				      .margin = margin,
				      .z = z };
	return c->outcome != NULL;
}

void campaign_order_free(struct campaign_order *c)
{
	free(c->outcome);
	c->outcome = NULL;
}

void campaign_order_add(struct campaign_order *c, uint64_t n, enum outcome o)
{
	if (n >= c->experiments || c->outcome[n])
		return;
	c->outcome[n] = (uint8_t)(1 + o);
	c->known++;
	campaign_tally_add(&c->all, o);
	while (!c->enough && c->prefix < c->experiments && c->outcome[c->prefix]) {
		campaign_tally_add(&c->before, (enum outcome)(c->outcome[c->prefix++] - 1));
		c->enough = c->margin > 0 && c->prefix >= FEWEST &&
			    campaign_tally_margin(&c->before, c->z) <= c->margin;
	}
}
