// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/campaign.h"
#include "host/symbols.h"

#define PLAN_MAX    (1u << 20)
#define PAIR_MS_MAX 86400000u /* a day */

static int bad(struct err *err, const char *name, const char *what)
{
	return err_set(err, EINVAL, "plan '%s': %s", name, what);
}

/* An unsigned number, if it is there. */
static int get_number(const json_t *o, const char *key, uint64_t *n, const char *name,
		      struct err *err)
{
	const json_t *v = json_object_get(o, key);

	const char *text = json_string_value(v);
	char *end = NULL;

	if (!v)
		return 0;
	if (text && !strncmp(text, "0x", 2) && text[2]) {
		errno = 0;
		*n = strtoull(text + 2, &end, 16);
		if (!errno && !*end && text[2] != '-' && text[2] != '+')
			return 0;
	} else if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*n = (uint64_t)json_integer_value(v);
		return 0;
	}
	return err_set(err, EINVAL,
		       "plan '%s': \"%s\" must be a number from 0, or as \"0x1f\" in a string",
		       name, key);
}

static int check_keys(const json_t *o, const char *const *known, const char *name, struct err *err)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, key, v)
	{
		size_t i = 0;

		while (known[i] && strcmp(known[i], key))
			i++;
		if (!known[i])
			return err_set(err, EINVAL, "plan '%s': nothing is called \"%.40s\" here",
				       name, key);
	}
	return 0;
}

/* What names of code mean: the file is read once a plan. */
static int read_symbols(struct symbols *s, const json_t *o, const char *name, struct err *err)
{
	const json_t *v = json_object_get(o, "symbols");
	const char *path = json_string_value(v);
	int fd, ret;

	if (!v)
		return 0;
	if (!path)
		return bad(err, name, "\"symbols\" must be the path of a System.map or ELF file");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "plan '%s': cannot read symbols '%s': %s", name, path,
			       strerror(errno));
	ret = symbols_read(s, fd, path, err);
	close(fd);
	return ret;
}

static int find_symbol(const struct symbols *s, const char *symbol, uint64_t *address,
		       uint64_t *end, const char *name, struct err *err)
{
	if (!s->n)
		return err_set(err, EINVAL,
			       "plan '%s': the name %.60s needs \"symbols\", the path of a "
			       "System.map or ELF file",
			       name, symbol);
	if (!symbols_named(s, symbol, address, end))
		return err_set(err, EINVAL, "plan '%s': no code is called %.60s in its symbols",
			       name, symbol);
	return 0;
}

static int parse_symbol(const json_t *o, struct campaign_fault *f, const struct symbols *s,
			const char *name, struct err *err)
{
	const json_t *v = json_object_get(o, "symbol");
	const char *symbol = json_string_value(v);
	uint64_t end;

	if (!v)
		return 0;
	if (!symbol || f->place != FAULT_LINEAR || json_object_get(o, "first") ||
	    json_object_get(o, "last"))
		return bad(err, name,
			   "a \"symbol\" is a name, of a linear fault without first and last");
	if (find_symbol(s, symbol, &f->first, &end, name, err) < 0)
		return -EINVAL;
	f->last = end - 1;
	return 0;
}

static int parse_place(const json_t *o, struct campaign_fault *f, const char *name, struct err *err)
{
	const char *place = json_string_value(json_object_get(o, "place"));

	for (unsigned i = 0; place && i < FAULT_PLACES; i++) {
		if (strcmp(place, fault_place_name((enum fault_place)i)))
			continue;
		f->place = (enum fault_place)i;
		return 0;
	}
	return bad(
		err, name,
		"a fault's \"place\" must be register, flags, rip, vector, x87, memory or another "
		"one of docs/campaigns.md");
}

/* The highest index of a place in any machine. */
static uint64_t last_anywhere(enum fault_place place)
{
	static const struct machine_config any = { .memory = UINT64_MAX,
						   .nnics = MACHINE_NICS,
						   .ndisks = MACHINE_DISKS,
						   .disk_sectors = { UINT64_MAX / 512 } };
	uint64_t last;

	return fault_last(place, &any, &last) ? last : 0;
}

static int check_range(const struct campaign_fault *f, const char *name, struct err *err)
{
	uint64_t last = last_anywhere(f->place);

	if (f->first > f->last)
		return bad(err, name, "a fault's \"first\" is above its \"last\"");
	if (f->first <= last)
		return 0;
	return err_set(err, EINVAL,
		       "plan '%s': the \"first\" of a fault of the place \"%s\" is at most %llu",
		       name, fault_place_name(f->place), (unsigned long long)last);
}

static int parse_fault(const json_t *o, struct campaign_fault *f, const struct symbols *s,
		       bool pair, const char *name, struct err *err)
{
	static const char *const known[] = { "place",  "first",	 "last", "width",
					     "amount", "symbol", NULL };
	uint64_t width = 1;

	*f = (struct campaign_fault){ .last = UINT64_MAX };
	if (!json_is_object(o))
		return bad(err, name, "each of \"faults\" must be an object");
	if (check_keys(o, known, name, err) < 0 || parse_place(o, f, name, err) < 0 ||
	    get_number(o, "first", &f->first, name, err) < 0 ||
	    get_number(o, "last", &f->last, name, err) < 0 ||
	    get_number(o, "width", &width, name, err) < 0 || parse_symbol(o, f, s, name, err) < 0)
		return -EINVAL;
	f->amount = fault_amount(f->place);
	if (json_object_get(o, "amount") && !f->amount)
		return bad(err, name, "a fault of that \"place\" has no \"amount\"");
	if (get_number(o, "amount", &f->amount, name, err) < 0)
		return -EINVAL;
	if (!width || width > 64 || width > fault_bits(f->place))
		return bad(
			err, name,
			"a fault's \"width\" must be from 1 to the bits of its place, 64 at most");
	f->width = (unsigned)width;
	if (f->place == FAULT_DISK_ERROR && (!f->amount || f->amount > 4095))
		return bad(err, name, "the \"amount\" of a disk error is an errno, 1 to 4095");
	if (f->place == FAULT_CLOCK_SLOW && f->amount > 1000000)
		return bad(err, name, "the \"amount\" of a slow clock is at most 1000000");
	if (f->place == FAULT_DISK_SLOW && f->amount > 3600000000000)
		return bad(err, name, "the \"amount\" of a slow disk is at most an hour of ns");
	if (pair && f->amount > PAIR_MS_MAX)
		return bad(err, name, "the \"amount\" of a fault of a pair is at most a day of ms");
	if (fault_is_of_pair(f->place) != pair)
		return bad(err, name,
			   pair ? "the faults of a \"pair\" are those of two replicas"
				: "a recording has no replicas: their faults are of a \"pair\"");
	return check_range(f, name, err);
}

/* With "when" a packet that one is what a packet's fault is done to: it says which NIC. */
static int check_packet(const struct campaign_plan *p, const json_t *o,
			const struct campaign_fault *f, const char *name, struct err *err)
{
	if (p->when.kind != WHEN_PACKET || !fault_is_packet(f->place) ||
	    !(json_object_get(o, "first") || json_object_get(o, "last")))
		return 0;
	return bad(err, name,
		   "the \"packet\" of \"when\" says which NIC its faults are of: leave out their "
		   "\"first\" and \"last\"");
}

static int parse_faults(struct campaign_plan *p, const json_t *list, const struct symbols *s,
			const char *name, struct err *err)
{
	size_t n = json_array_size(list);

	if (!n || n > CAMPAIGN_FAULTS)
		return bad(err, name, "\"faults\" must be a list of 1 to 16");
	for (; p->nfaults < n; p->nfaults++) {
		const json_t *o = json_array_get(list, p->nfaults);
		struct campaign_fault *f = &p->fault[p->nfaults];

		if (parse_fault(o, f, s, p->npair > 0, name, err) < 0 ||
		    check_packet(p, o, f, name, err) < 0)
			return -EINVAL;
	}
	return 0;
}

/* An address, or the name of one. */
static int get_address(const json_t *o, const char *key, uint64_t *n, const struct symbols *s,
		       const char *name, struct err *err)
{
	const char *text = json_string_value(json_object_get(o, key));
	uint64_t end;

	return text && strncmp(text, "0x", 2) ? find_symbol(s, text, n, &end, name, err)
					      : get_number(o, key, n, name, err);
}

static int parse_when_packet(struct campaign_plan *p, const json_t *o, const char *name,
			     struct err *err)
{
	struct packet_pattern *pattern = &p->when_packet;
	const char *text = json_string_value(json_object_get(o, "packet"));

	if (!text || !packet_pattern_parse(pattern, text))
		return bad(err, name,
			   "the \"packet\" of \"when\" must be 1 to 256 bytes, such as "
			   "\"0800 ?? 'GET /'\"");
	if (get_number(o, "at", &pattern->at, name, err) < 0 ||
	    get_number(o, "nic", &pattern->nic, name, err) < 0)
		return -EINVAL;
	p->when.kind = WHEN_PACKET;
	return 0;
}

static int parse_when_output(struct campaign_plan *p, const json_t *o, const char *name,
			     struct err *err)
{
	const char *text = json_string_value(json_object_get(o, "output"));

	if (!text || strlen(text) > 500 || regcomp(&p->when_output, text, REG_EXTENDED | REG_NOSUB))
		return bad(err, name, "the \"output\" of \"when\" is no regular expression");
	p->when.kind = WHEN_OUTPUT;
	return 0;
}

static int parse_when(struct campaign_plan *p, const json_t *o, const struct symbols *s,
		      const char *name, struct err *err)
{
	static const char *const known[] = { "executed", "accessed", "output", "packet",
					     "at",	 "nic",	     "nth",    NULL };
	bool output = json_object_get(o, "output"), packet = json_object_get(o, "packet");
	bool executed = json_object_get(o, "executed"), accessed = json_object_get(o, "accessed");

	if (!o)
		return 0;
	if (!json_is_object(o) || executed + accessed + output + packet != 1)
		return bad(err, name,
			   "\"when\" must be an object with one of executed, accessed, output and "
			   "packet");
	if (!packet && (json_object_get(o, "at") || json_object_get(o, "nic")))
		return bad(err, name, "the \"at\" and \"nic\" of \"when\" are of a packet");
	if (check_keys(o, known, name, err) < 0 ||
	    get_number(o, "nth", &p->when.nth, name, err) < 0 ||
	    get_address(o, executed ? "executed" : "accessed", &p->when.address, s, name, err) < 0)
		return -EINVAL;
	if (executed || accessed) {
		p->when.kind = executed ? WHEN_EXECUTED : WHEN_ACCESSED;
		return 0;
	}
	return packet ? parse_when_packet(p, o, name, err) : parse_when_output(p, o, name, err);
}

/* Up to 32 expressions; *n counts what has to be freed. */
static int parse_expressions(const json_t *o, const char *key, int flags, regex_t *r, size_t *n,
			     const char *name, struct err *err)
{
	const json_t *list = json_object_get(o, key);
	size_t all = json_array_size(list);

	if (list && (!json_is_array(list) || all > CAMPAIGN_DETECTORS))
		return err_set(err, EINVAL,
			       "plan '%s': \"%s\" must be a list of at most 32 regular "
			       "expressions",
			       name, key);
	for (; *n < all; ++*n) {
		const char *text = json_string_value(json_array_get(list, *n));

		if (!text || strlen(text) > 500 || regcomp(&r[*n], text, REG_EXTENDED | flags))
			return err_set(err, EINVAL,
				       "plan '%s': one of \"%s\" is no regular expression", name,
				       key);
	}
	return 0;
}

_Static_assert(CAMPAIGN_MASKS == CAMPAIGN_DETECTORS, "one limit of expressions");

static int parse_statuses(struct campaign_plan *p, const json_t *list, const char *name,
			  struct err *err)
{
	size_t n = json_array_size(list);

	if (list && (!json_is_array(list) || n > sizeof(p->detect_status)))
		return bad(err, name, "\"detect_status\" must be a list of exit statuses");
	for (; p->ndetect_status < n; p->ndetect_status++) {
		const json_t *v = json_array_get(list, p->ndetect_status);

		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 255)
			return bad(err, name, "an exit status is a number from 0 to 255");
		p->detect_status[p->ndetect_status] = (uint8_t)json_integer_value(v);
	}
	return 0;
}

/* A number between two limits, which it may not reach. */
static int get_share(const json_t *o, const char *key, double low, double high, double *v,
		     const char *name, struct err *err)
{
	const json_t *n = json_object_get(o, key);

	if (!n)
		return 0;
	*v = json_number_value(n);
	return *v > low && *v < high
		       ? 0
		       : err_set(err, EINVAL, "plan '%s': \"%s\" must be between %g and %g", name,
				 key, low, high);
}

/* How many faults there are to draw from; HUGE_VAL: the plan alone does not say. */
static double population(const struct campaign_plan *p)
{
	double n = 0;

	for (size_t i = 0; i < p->nfaults; i++) {
		const struct campaign_fault *f = &p->fault[i];
		uint64_t last = last_anywhere(f->place);

		if (!fault_is_hardware(f->place) || p->to == UINT64_MAX ||
		    p->when.kind != WHEN_ALWAYS || p->together > 1)
			return HUGE_VAL;
		last = f->last < last ? f->last : last;
		if (last >= UINT64_MAX - 1)
			return HUGE_VAL;
		if (last >= f->first)
			n += (double)(last - f->first + 1) * fault_bits(f->place) *
			     (double)(p->to - p->from);
	}
	return n;
}

/* How many experiments, and how surely. */
static int parse_size(struct campaign_plan *p, const json_t *o, const char *name, struct err *err)
{
	double confidence = 0.95;

	if (get_number(o, "experiments", &p->experiments, name, err) < 0 ||
	    get_share(o, "margin", 0, 0.5, &p->margin, name, err) < 0 ||
	    get_share(o, "confidence", 0, 1, &confidence, name, err) < 0)
		return -EINVAL;
	p->deviations = share_deviations(confidence);
	if (!json_object_get(o, "experiments") && p->margin > 0)
		p->experiments = share_sample(p->margin, p->deviations, population(p));
	if (!p->experiments || p->experiments > CAMPAIGN_EXPERIMENTS)
		return bad(err, name,
			   "\"experiments\", or those that a \"margin\" takes, must be from 1 to "
			   "100000000");
	return 0;
}

static int put_address(json_t *o, const char *key, uint64_t address)
{
	return json_object_set_new(o, key, json_sprintf("0x%llx", (unsigned long long)address));
}

/*
 * Puts addresses for names into the text, which is kept beside the results: they can be read when
 * the symbols are not there any more, and a file that has changed makes another plan.
 */
static int settle_names(struct campaign_plan *p, json_t *o, struct err *err)
{
	json_t *when = json_object_get(o, "when");
	int ret = json_object_del(o, "symbols");

	for (size_t i = 0; i < p->nfaults; i++) {
		json_t *f = json_array_get(json_object_get(o, "faults"), i);

		if (json_object_del(f, "symbol") == 0)
			ret |= put_address(f, "first", p->fault[i].first) |
			       put_address(f, "last", p->fault[i].last);
	}
	if (p->when.kind == WHEN_EXECUTED || p->when.kind == WHEN_ACCESSED)
		ret |= put_address(when, p->when.kind == WHEN_EXECUTED ? "executed" : "accessed",
				   p->when.address);
	free(p->text);
	p->text = ret ? NULL : json_dumps(o, JSON_INDENT(2));
	return p->text ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* What may be called by a name. */
static int parse_named(struct campaign_plan *p, json_t *o, const char *name, struct err *err)
{
	struct symbols s = { 0 };
	int ret = read_symbols(&s, o, name, err);

	if (ret == 0)
		ret = parse_when(p, json_object_get(o, "when"), &s, name, err);
	if (ret == 0)
		ret = parse_faults(p, json_object_get(o, "faults"), &s, name, err);
	if (ret == 0 && json_object_get(o, "symbols"))
		ret = settle_names(p, o, err);
	symbols_free(&s);
	return ret;
}

/* The arguments of `twinstep pair`, which campaign_pair_check() knows. */
static int parse_pair(struct campaign_plan *p, json_t *o, const char *name, struct err *err)
{
	static const char *const known[] = { "pair",  "seed",	"experiments", "from",	     "to",
					     "bound", "faults", "margin",      "confidence", NULL };
	const json_t *list = json_object_get(o, "pair");
	size_t n = json_array_size(list);

	if (!n || n > CAMPAIGN_PAIR)
		return bad(err, name,
			   "\"pair\" must be a list of 1 to 64 arguments of `twinstep pair`");
	for (; p->npair < n; p->npair++) {
		const char *text = json_string_value(json_array_get(list, p->npair));

		p->pair[p->npair] = text ? strdup(text) : NULL;
		if (!p->pair[p->npair])
			return bad(err, name, "each of \"pair\" must be a string");
	}
	p->bound = 60000;
	return check_keys(o, known, name, err);
}

/* What the experiments are about. */
static int parse_subject(struct campaign_plan *p, json_t *o, const char *name, struct err *err)
{
	static const char *const known[] = { "log",	"seed",	      "experiments",   "from",
					     "to",	"bound",      "faults",	       "detect",
					     "margin",	"confidence", "detect_status", "when",
					     "prune",	"symbols",    "mask",	       "together",
					     "compare", NULL };
	const char *log = json_string_value(json_object_get(o, "log"));

	if (json_object_get(o, "pair"))
		return parse_pair(p, o, name, err);
	if (!log)
		return bad(err, name,
			   "must be an object with the path of a recording as \"log\", or the "
			   "arguments of a \"pair\"");
	p->log = strdup(log);
	return p->log ? check_keys(o, known, name, err) : err_set(err, ENOMEM, "out of memory");
}

static int parse_compare(struct campaign_plan *p, const json_t *o, const char *name,
			 struct err *err)
{
	const json_t *v = json_object_get(o, "compare");
	const char *text = json_string_value(v);

	p->by_status = text && !strcmp(text, "status");
	return !v || p->by_status || (text && !strcmp(text, "outputs"))
		       ? 0
		       : bad(err, name, "\"compare\" must be outputs or status");
}

static int parse_object(struct campaign_plan *p, json_t *o, const char *name, struct err *err)
{
	if (!json_is_object(o))
		return bad(err, name, "must be an object");
	if (parse_subject(p, o, name, err) < 0 || get_number(o, "seed", &p->seed, name, err) < 0 ||
	    get_number(o, "from", &p->from, name, err) < 0 ||
	    get_number(o, "to", &p->to, name, err) < 0 ||
	    get_number(o, "bound", &p->bound, name, err) < 0 || parse_named(p, o, name, err) < 0 ||
	    parse_expressions(o, "detect", REG_NOSUB, p->detector, &p->ndetectors, name, err) < 0 ||
	    parse_expressions(o, "mask", REG_NEWLINE, p->mask, &p->nmasks, name, err) < 0 ||
	    parse_statuses(p, json_object_get(o, "detect_status"), name, err) < 0)
		return -EINVAL;
	if (get_number(o, "together", &p->together, name, err) < 0 ||
	    parse_compare(p, o, name, err) < 0)
		return -EINVAL;
	if (!p->together || p->together > CAMPAIGN_TOGETHER)
		return bad(err, name, "\"together\" must be from 1 to 8");
	p->prune = json_is_true(json_object_get(o, "prune"));
	if (json_object_get(o, "prune") && !json_is_boolean(json_object_get(o, "prune")))
		return bad(err, name, "\"prune\" must be true or false");
	if (p->from >= p->to)
		return bad(err, name, "\"from\" must be below \"to\"");
	if (p->npair && p->bound > PAIR_MS_MAX)
		return bad(err, name, "the \"bound\" of a pair is at most a day of ms");
	return parse_size(p, o, name, err);
}

int campaign_plan_parse(struct campaign_plan *p, const char *text, size_t len, const char *name,
			struct err *err)
{
	json_error_t where;
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
	int ret;

	*p = (struct campaign_plan){
		.seed = 1, .to = UINT64_MAX, .bound = 100000000, .together = 1
	};
	if (!o)
		return err_set(err, EINVAL, "plan '%s', line %d: %s", name, where.line, where.text);
	p->text = strndup(text, len);
	ret = p->text ? parse_object(p, o, name, err) : err_set(err, ENOMEM, "out of memory");
	json_decref(o);
	return ret;
}

int campaign_plan_read(struct campaign_plan *p, const char *path, struct err *err)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;
	int ret;

	*p = (struct campaign_plan){ 0 };
	if (!f)
		return err_set(err, errno, "cannot read plan '%s': %s", path, strerror(errno));
	text = malloc(PLAN_MAX + 1);
	n = text ? fread(text, 1, PLAN_MAX + 1, f) : 0;
	fclose(f);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	ret = n > PLAN_MAX ? bad(err, path, "is longer than 1 MiB")
			   : campaign_plan_parse(p, text, n, path, err);
	free(text);
	return ret;
}

void campaign_plan_free(struct campaign_plan *p)
{
	for (size_t i = 0; i < p->ndetectors; i++)
		regfree(&p->detector[i]);
	for (size_t i = 0; i < p->nmasks; i++)
		regfree(&p->mask[i]);
	if (p->when.kind == WHEN_OUTPUT)
		regfree(&p->when_output);
	free(p->text);
	free(p->log);
	for (size_t i = 0; i < p->npair; i++)
		free(p->pair[i]);
	*p = (struct campaign_plan){ 0 };
}

/* ---- drawing ---- */

/* SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t campaign_random_below(uint64_t *state, uint64_t n)
{
	return (uint64_t)((unsigned __int128)next_random(state) * n >> 64);
}

/* When it is done; a packet that is there before anything else cannot be changed any more. */
static bool draw_moment(const struct campaign_plan *p, const struct campaign_space *s,
			uint64_t *state, struct experiment_moment *m)
{
	uint64_t from = p->from > s->start ? p->from : s->start;
	uint64_t to = p->to < s->end ? p->to : s->end;
	size_t low = 0, high = s->nmoments;

	if (p->when.kind == WHEN_ALWAYS) {
		m->count = from < to ? from + campaign_random_below(state, to - from) : 0;
		return from < to;
	}
	if (p->when.kind == WHEN_PACKET && from == s->start)
		from++;
	while (low < high && s->moment[low].count < from)
		low++;
	while (low < high && s->moment[high - 1].count >= to)
		high--;
	if (low == high)
		return false;
	*m = s->moment[low + campaign_random_below(state, high - low)];
	return true;
}

static bool draw_one(const struct campaign_plan *p, uint64_t state, const struct campaign_space *s,
		     struct experiment_moment *m, struct fault *f)
{
	const struct campaign_fault *of = &p->fault[campaign_random_below(&state, p->nfaults)];
	uint64_t last, wide;

	if (!fault_last(of->place, s->config, &last))
		return false;
	if (of->last < last)
		last = of->last;
	*f = (struct fault){ .place = of->place, .width = of->width, .amount = of->amount };
	if (of->first > last || !draw_moment(p, s, &state, m))
		return false;
	wide = last - of->first;
	f->index = of->first + (wide == UINT64_MAX ? next_random(&state)
						   : campaign_random_below(&state, wide + 1));
	f->bit = (unsigned)campaign_random_below(&state, fault_bits(of->place));
	return true;
}

/*
 * A packet that the plan names has entered at the moment's count: what is done to itself is done
 * before, and so is what comes with that. True: one of the faults is such.
 */
static bool aim_at_packet(const struct campaign_plan *p, const struct experiment_moment *m,
			  struct fault *f)
{
	bool any = false;

	for (uint64_t i = 0; i < p->together && p->when.kind == WHEN_PACKET; i++) {
		if (!fault_is_packet(f[i].place))
			continue;
		f[i].index = m->nic;
		f[i].packet = m->packet;
		any = true;
	}
	return any;
}

bool campaign_plan_has(const struct campaign_plan *p, const struct fault *f)
{
	bool moved = p->when.kind == WHEN_PACKET && fault_is_packet(f->place);

	for (size_t i = 0; i < p->nfaults; i++) {
		const struct campaign_fault *of = &p->fault[i];

		if (f->place == of->place && f->width == of->width && f->amount == of->amount &&
		    f->bit < fault_bits(f->place) && moved == (f->packet > 0) &&
		    (moved || (f->index >= of->first && f->index <= of->last)) &&
		    f->index <= last_anywhere(f->place))
			return true;
	}
	return false;
}

bool campaign_plan_draw(const struct campaign_plan *p, uint64_t n, const struct campaign_space *s,
			struct fault f[CAMPAIGN_TOGETHER])
{
	uint64_t state = p->seed * 0x9e3779b97f4a7c15ull + n, count;
	struct experiment_moment first = { 0 }, m = { 0 };

	for (uint64_t i = 0; i < p->together; i++) {
		if (!draw_one(p, state, s, i ? &m : &first, &f[i]))
			return false;
		state = next_random(&state);
	}
	count = first.count - aim_at_packet(p, &first, f);
	for (uint64_t i = 0; i < p->together; i++)
		f[i].count = count;
	return true;
}
