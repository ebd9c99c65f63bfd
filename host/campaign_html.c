// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The report as one page that needs nothing else: style and plots are in it, no script, nothing is
 * fetched. Results are read twice, for their ranges and then into bins, so that a page about
 * millions of experiments takes no more memory than one about ten.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host/campaign_report.h"

#define BINS	   48
#define LATENCIES  40 /* powers of two */
#define WORST	   25
#define SYMBOLS	   100 /* of code that had most of the faults */
#define WIDTH	   960.0
#define PLOT_LEFT  4.0
#define PLOT_HIGH  150.0
#define CELL	   14.0
#define LABEL_WIDE 60.0

struct bins {
	uint64_t low, high; /* of what is on the axis, both within; low above high: nothing */
	struct campaign_tally bin[BINS];
};

struct page {
	FILE *f;
	const char *results; /* name of the file */
	bool pair;	     /* counts are microseconds since the guest was protected */
	double z;
	struct campaign_tally all, place[FAULT_PLACES];
	struct named_tallies named;
	struct campaign_tally bit[16][64]; /* of general registers */
	struct bins time, address;
	struct campaign_tally latency[LATENCIES];
	struct campaign_row worst[WORST];
	size_t nworst;
};

static const struct {
	const char *color;
	unsigned weight; /* how bad it is; 0: not worth a line of its own */
} looks[OUTCOMES] = {
	[OUTCOME_NONE] = { "#9aa5b1", 0 },     [OUTCOME_LATENT] = { "#4c78a8", 0 },
	[OUTCOME_LATE] = { "#72b7b2", 0 },     [OUTCOME_WRONG] = { "#d62728", 4 },
	[OUTCOME_DETECTED] = { "#2ca02c", 1 }, [OUTCOME_HANG] = { "#ff9f1c", 2 },
	[OUTCOME_CRASH] = { "#7b3fa0", 3 },    [OUTCOME_REFUSED] = { "#e3e3e3", 0 },
	[OUTCOME_MASKED] = { "#8cd17d", 0 },   [OUTCOME_DIVERGED] = { "#2f7d32", 0 },
	[OUTCOME_LOST] = { "#b91c1c", 4 },
};

static const char *const registers[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",	 "r10", "r11", "r12", "r13", "r14", "r15" };

/* ---- collecting ---- */

static void widen(struct bins *b, uint64_t at)
{
	b->low = at < b->low ? at : b->low;
	b->high = at > b->high ? at : b->high;
}

static int take_ranges(void *ctx, const struct campaign_row *row)
{
	struct page *p = ctx;

	widen(&p->time, row->fault.count);
	if (row->fault.place == FAULT_MEMORY)
		widen(&p->address, row->fault.index);
	return 0;
}

static void into_bin(struct bins *b, uint64_t at, enum outcome o)
{
	unsigned __int128 whole = (unsigned __int128)(b->high - b->low) + 1;

	campaign_tally_add(&b->bin[(unsigned __int128)(at - b->low) * BINS / whole], o);
}

/* Until the guest noticed, or until it showed; in a pair, where a difference is known by its place
 * in the outputs alone, until the guest's end.
 */
static uint64_t latency_of(const struct page *p, const struct campaign_row *row)
{
	uint64_t at = row->result.outcome == OUTCOME_WRONG && !p->pair
			      ? row->result.first_difference
			      : row->result.end_count;

	return at > row->fault.count && at != UINT64_MAX ? at - row->fault.count : 0;
}

/* The worse one first; of equals the one that shows sooner, then the lower number. */
static bool is_worse(const struct page *p, const struct campaign_row *a,
		     const struct campaign_row *b)
{
	unsigned wa = looks[a->result.outcome].weight, wb = looks[b->result.outcome].weight;
	uint64_t la = latency_of(p, a), lb = latency_of(p, b);

	if (wa != wb)
		return wa > wb;
	return la != lb ? la < lb : a->n < b->n;
}

static void keep_worst(struct page *p, const struct campaign_row *row)
{
	size_t at = p->nworst;

	if (!looks[row->result.outcome].weight)
		return;
	while (at > 0 && is_worse(p, row, &p->worst[at - 1]))
		at--;
	if (at == WORST)
		return;
	p->nworst += p->nworst < WORST;
	memmove(&p->worst[at + 1], &p->worst[at], (p->nworst - at - 1) * sizeof(*row));
	p->worst[at] = *row;
}

static int take_row(void *ctx, const struct campaign_row *row)
{
	struct page *p = ctx;
	enum outcome o = row->result.outcome;
	uint64_t latency = latency_of(p, row);

	campaign_tally_add(&p->all, o);
	campaign_tally_add(&p->place[row->fault.place], o);
	if (row->fault.place == FAULT_REGISTER && row->fault.index < 16 && row->fault.bit < 64)
		campaign_tally_add(&p->bit[row->fault.index][row->fault.bit], o);
	into_bin(&p->time, row->fault.count, o);
	if (row->fault.place == FAULT_MEMORY)
		into_bin(&p->address, row->fault.index, o);
	if (o == OUTCOME_DETECTED || o == OUTCOME_WRONG) {
		unsigned power = latency ? 63 - (unsigned)__builtin_clzll(latency) : 0;

		campaign_tally_add(&p->latency[power < LATENCIES ? power : LATENCIES - 1], o);
	}
	keep_worst(p, row);
	named_tallies_add(&p->named, &row->fault, o);
	return 0;
}

/* ---- pieces ---- */

static void put_text(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '<' || *s == '>' || *s == '&' || *s == '"' ||
		    ((unsigned char)*s < ' ' && *s != '\n'))
			fprintf(f, "&#%d;", (unsigned char)*s < ' ' ? ' ' : *s);
		else
			putc(*s, f);
	}
}

static void begin_plot(FILE *f, const char *name, double high)
{
	fprintf(f,
		"<div class=\"wide\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
		"aria-label=\"%s\">\n",
		WIDTH, high, name);
}

static void put_rect(FILE *f, double x, double y, double w, double h, const char *color)
{
	fprintf(f, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"", x, y,
		w, h, color);
}

static void put_label(FILE *f, double x, double y, const char *anchor, const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
		text);
}

static void put_legend(FILE *f)
{
	fputs("<p class=\"legend\">", f);
	for (unsigned i = 0; i < OUTCOMES; i++)
		fprintf(f, "<span><i style=\"background:%s\"></i>%s</span> ", looks[i].color,
			outcome_name((enum outcome)i));
	fputs("</p>\n", f);
}

static void put_head(struct page *p, const struct campaign_plan *plan)
{
	FILE *f = p->f;

	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<title>Fault-injection campaign</title>\n<style>\n"
	      "body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:62rem;padding:1rem;"
	      "color:#1f2933;background:#fff}\n"
	      "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\n"
	      "table{border-collapse:collapse;width:100%}th,td{padding:.25rem .5rem;"
	      "text-align:right;border-bottom:1px solid #e4e7eb}\n"
	      "th:first-child,td:first-child,td.l,th.l{text-align:left}"
	      ".wide{overflow-x:auto}code{font-size:.85em;white-space:nowrap}\n"
	      "svg{width:100%;min-width:36rem;height:auto;display:block}td,th{white-space:nowrap}"
	      "text{font:12px system-ui,sans-serif;"
	      "fill:#52606d}\n"
	      ".legend span{margin-right:1rem;white-space:nowrap}.legend i{display:inline-block;"
	      "width:.8em;height:.8em;margin-right:.3em;border:1px solid #cbd2d9}\n"
	      "</style></head><body>\n<h1>Fault-injection campaign</h1>\n<p>",
	      f);
	put_text(f, p->results);
	fprintf(f, ": %" PRIu64 " experiments of %" PRIu64 " on ", p->all.n, plan->experiments);
	put_text(f, plan->npair ? "a pair" : plan->log);
	fprintf(f,
		", seed %" PRIu64 ". Intervals are Wilson's, %.2f standard deviations either way."
		"</p>\n",
		plan->seed, p->z);
	put_legend(f);
}

/* ---- outcomes ---- */

static void put_outcomes(struct page *p)
{
	FILE *f = p->f;
	double y = 4, room = WIDTH - 140;

	fputs("<h2>Outcomes</h2>\n", f);
	begin_plot(f, "outcomes with intervals", OUTCOMES * 26 + 8);
	for (unsigned i = 0; i < OUTCOMES; i++, y += 26) {
		double low, high,
			share = p->all.n ? (double)p->all.outcome[i] / (double)p->all.n : 0;

		share_interval(p->all.outcome[i], p->all.n, p->z, &low, &high);
		put_label(f, 110, y + 15, "end", outcome_name((enum outcome)i));
		put_rect(f, 120, y + 2, room * share, 18, looks[i].color);
		fputs("/>\n", f);
		fprintf(f,
			"<path d=\"M%.1f %.1fH%.1fM%.1f %.1fv10M%.1f %.1fv10\" stroke=\"#111\"/>\n",
			120 + room * low, y + 11, 120 + room * high, 120 + room * low, y + 6,
			120 + room * high, y + 6);
	}
	fputs("</svg></div>\n<table><tr><th>outcome</th><th>experiments</th><th>share</th>"
	      "<th>interval</th></tr>\n",
	      f);
	for (unsigned i = 0; i < OUTCOMES; i++) {
		double low, high;

		share_interval(p->all.outcome[i], p->all.n, p->z, &low, &high);
		fprintf(f,
			"<tr><td>%s</td><td>%" PRIu64 "</td><td>%.2f %%</td>"
			"<td>%.2f to %.2f %%</td></tr>\n",
			outcome_name((enum outcome)i), p->all.outcome[i],
			p->all.n ? 100 * (double)p->all.outcome[i] / (double)p->all.n : 0.0,
			100 * low, 100 * high);
	}
	fputs("</table>\n", f);
}

static void begin_shares(FILE *f, const char *title, const char *of)
{
	fprintf(f,
		"<h2>%s</h2>\n<div class=\"wide\"><table><tr><th>%s</th>"
		"<th>experiments</th>",
		title, of);
	for (unsigned i = 0; i < OUTCOMES; i++)
		fprintf(f, "<th>%s</th>", outcome_name((enum outcome)i));
	fputs("</tr>\n", f);
}

static void put_shares(FILE *f, const char *name, const struct campaign_tally *t, double z)
{
	fputs("<tr><td>", f);
	put_text(f, name);
	fprintf(f, "</td><td>%" PRIu64 "</td>", t->n);
	for (unsigned o = 0; o < OUTCOMES; o++) {
		double low, high;

		share_interval(t->outcome[o], t->n, z, &low, &high);
		fprintf(f, "<td title=\"%.1f to %.1f %%\">%.1f %%</td>", 100 * low, 100 * high,
			100 * (double)t->outcome[o] / (double)t->n);
	}
	fputs("</tr>\n", f);
}

static void put_places(struct page *p)
{
	begin_shares(p->f, "By place", "place");
	for (unsigned i = 0; i < FAULT_PLACES; i++) {
		if (p->place[i].n)
			put_shares(p->f, fault_place_name((enum fault_place)i), &p->place[i], p->z);
	}
	fputs("</table></div>\n", p->f);
}

static void put_symbols(struct page *p)
{
	if (!p->named.n)
		return;
	begin_shares(p->f, "By symbol", "code");
	for (size_t i = 0; i < p->named.n && i < SYMBOLS; i++)
		put_shares(p->f, p->named.list[i].name, &p->named.list[i].t, p->z);
	fputs("</table></div>\n", p->f);
}

/* ---- plots of bins ---- */

/* Outcomes on top of each other, as shares of the fullest column. */
static void put_columns(FILE *f, const char *name, const struct campaign_tally *t, size_t n)
{
	double step = (WIDTH - 2 * PLOT_LEFT) / (double)n;
	uint64_t most = 1;

	for (size_t i = 0; i < n; i++)
		most = t[i].n > most ? t[i].n : most;
	begin_plot(f, name, PLOT_HIGH + 24);
	for (size_t i = 0; i < n; i++) {
		double y = PLOT_HIGH;

		for (unsigned o = 0; o < OUTCOMES; o++) {
			double h = PLOT_HIGH * (double)t[i].outcome[o] / (double)most;

			if (!t[i].outcome[o])
				continue;
			y -= h;
			put_rect(f, PLOT_LEFT + step * (double)i, y, step * 0.9, h, looks[o].color);
			fprintf(f, "><title>%s: %" PRIu64 " of %" PRIu64 "</title></rect>\n",
				outcome_name((enum outcome)o), t[i].outcome[o], t[i].n);
		}
	}
	fprintf(f, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#52606d\"/>\n", PLOT_LEFT, PLOT_HIGH,
		WIDTH - PLOT_LEFT);
}

static void put_bins(FILE *f, const char *title, const char *unit, const struct bins *b)
{
	char text[64];

	if (b->low > b->high)
		return;
	fprintf(f, "<h2>%s</h2>\n", title);
	put_columns(f, title, b->bin, BINS);
	snprintf(text, sizeof(text), unit, b->low);
	put_label(f, PLOT_LEFT, PLOT_HIGH + 18, "start", text);
	snprintf(text, sizeof(text), unit, b->high);
	put_label(f, WIDTH - PLOT_LEFT, PLOT_HIGH + 18, "end", text);
	fputs("</svg></div>\n", f);
}

static void put_latencies(struct page *p)
{
	size_t n = LATENCIES;
	char text[64];

	while (n > 1 && !p->latency[n - 1].n)
		n--;
	if (n == 1 && !p->latency[0].n)
		return;
	fprintf(p->f, "<h2>%s</h2>\n",
		p->pair ? "Microseconds from the fault until the guest's end"
			: "Instructions from the fault until it was detected, or showed");
	put_columns(p->f, "latency, by powers of two", p->latency, n);
	put_label(p->f, PLOT_LEFT, PLOT_HIGH + 18, "start", "1");
	snprintf(text, sizeof(text), "below 2^%zu", n);
	put_label(p->f, WIDTH - PLOT_LEFT, PLOT_HIGH + 18, "end", text);
	fputs("</svg></div>\n", p->f);
}

/* How much of what was done to a bit had consequences, by shade. */
static void put_bits(struct page *p)
{
	FILE *f = p->f;

	if (!p->place[FAULT_REGISTER].n)
		return;
	fputs("<h2>By register and bit</h2>\n<p>The darker, the larger the share that had "
	      "consequences (wrong output, detected, hang, crash); white: not tried.</p>\n",
	      f);
	begin_plot(f, "registers and bits", 16 * CELL + 22);
	for (unsigned r = 0; r < 16; r++) {
		put_label(f, LABEL_WIDE - 8, CELL * r + 11, "end", registers[r]);
		for (unsigned b = 0; b < 64; b++) {
			const struct campaign_tally *t = &p->bit[r][b];
			uint64_t bad = t->outcome[OUTCOME_WRONG] + t->outcome[OUTCOME_DETECTED] +
				       t->outcome[OUTCOME_HANG] + t->outcome[OUTCOME_CRASH];

			if (!t->n)
				continue;
			put_rect(f, LABEL_WIDE + CELL * b, CELL * r, CELL - 1, CELL - 1, "#b91c1c");
			fprintf(f,
				" fill-opacity=\"%.2f\"><title>%s, bit %u: %" PRIu64 " of %" PRIu64
				"</title></rect>\n",
				0.06 + 0.94 * (double)bad / (double)t->n, registers[r], b, bad,
				t->n);
		}
	}
	put_label(f, LABEL_WIDE, 16 * CELL + 16, "start", "bit 0");
	put_label(f, LABEL_WIDE + 64 * CELL, 16 * CELL + 16, "end", "bit 63");
	fputs("</svg></div>\n", f);
}

static void put_worst(struct page *p)
{
	FILE *f = p->f;

	if (!p->nworst)
		return;
	fprintf(f,
		"<h2>The worst</h2>\n<div class=\"wide\"><table><tr><th>experiment</th>"
		"<th class=\"l\">outcome</th><th class=\"l\">fault</th><th>%s</th>"
		"<th>%s until</th><th class=\"l\">once more</th></tr>\n",
		p->pair ? "\302\265s protected" : "count", p->pair ? "\302\265s" : "instructions");
	for (size_t i = 0; i < p->nworst; i++) {
		const struct campaign_row *row = &p->worst[i];
		char what[160];

		fault_say(&row->fault, what, sizeof(what));
		fprintf(f,
			"<tr><td>%" PRIu64 "</td><td class=\"l\">%s</td><td class=\"l\">%s</td>"
			"<td>%" PRIu64 "</td><td>%" PRIu64 "</td>"
			"<td class=\"l\"><code>twinstep campaign show ",
			row->n, outcome_name(row->result.outcome), what, row->fault.count,
			latency_of(p, row));
		put_text(f, p->results);
		fprintf(f, " %" PRIu64 "</code></td></tr>\n", row->n);
	}
	fputs("</table></div>\n", f);
}

/* ---- the page ---- */

static void put_page(struct page *p, const struct campaign_plan *plan)
{
	put_head(p, plan);
	put_outcomes(p);
	put_places(p);
	put_symbols(p);
	put_bits(p);
	put_bins(p->f, "By address in RAM", "0x%" PRIx64, &p->address);
	put_bins(p->f, "Over time", p->pair ? "%" PRIu64 " \302\265s" : "count %" PRIu64, &p->time);
	put_latencies(p);
	put_worst(p);
	fputs("<h2>Plan</h2>\n<pre class=\"wide\">", p->f);
	put_text(p->f, plan->text);
	fputs("</pre>\n</body></html>\n", p->f);
}

static int write_page(struct page *p, sqlite3 *db, const struct campaign_plan *plan,
		      const char *path, struct err *err)
{
	int ret = campaign_store_rows(db, take_ranges, p, err), broken;

	p->z = plan->deviations;
	p->pair = plan->npair > 0;
	if (ret == 0)
		ret = campaign_store_rows(db, take_row, p, err);
	if (ret == 0)
		ret = named_tallies_sort(&p->named, err);
	if (ret == 0 && !(p->f = fopen(path, "we")))
		ret = err_set(err, errno, "cannot write '%s': %s", path, strerror(errno));
	if (p->f) {
		put_page(p, plan);
		broken = ferror(p->f);
		if (fclose(p->f) || broken)
			ret = err_set(err, errno ? errno : EIO, "cannot write '%s': %s", path,
				      strerror(errno));
	}
	return ret;
}

int campaign_page(sqlite3 *db, const struct campaign_plan *plan, const struct options *o,
		  struct err *err)
{
	struct page *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p->results = o->args[1];
	p->time.low = p->address.low = UINT64_MAX;
	ret = named_tallies_open(&p->named, o->symbols, err);
	if (ret == 0)
		ret = write_page(p, db, plan, o->html, err);
	named_tallies_free(&p->named);
	free(p);
	return ret;
}
