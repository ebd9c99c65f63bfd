// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/run_end.h"

#include <jansson.h>
#include <string.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/exit.h"

#define STATS_MAX 128

struct end_rule {
	const char *name;
	int status;
	bool cpu; /* the registers say something about it */
};

static const struct end_rule rules[] = {
	[MACHINE_ENDED] = { "end of run", 0, false },
	[MACHINE_POWEROFF] = { "power-off", 0, false },
	[MACHINE_EXIT] = { "debug exit", 0, false },
	[MACHINE_TRIPLE] = { "triple fault", EXIT_TRIPLE, true },
	[MACHINE_STUCK] = { "stuck in exceptions", EXIT_STUCK, true },
	[MACHINE_STOPPED] = { "stopped", 0, false },
	[MACHINE_RESET] = { "reset", EXIT_RESET, false },
	[MACHINE_DIVERGED] = { "divergence", EXIT_DIVERGED, true },
	[MACHINE_FAILED] = { "engine failure", EXIT_ENGINE, true },
	[MACHINE_SPINNING] = { "end of run in a loop without exits", 0, false },
	[MACHINE_PROBED] = { "stop of a debugger", 0, false },
};

const char *run_end_name(enum machine_end end)
{
	return rules[end].name;
}

int run_end_status(const struct machine *m, enum machine_end end, int sig)
{
	if (end == MACHINE_EXIT)
		return (int)machine_exit_code(m);
	if (sig && !rules[end].status)
		return 128 + sig;
	return rules[end].status;
}

int run_end_panic_status(const struct machine *m, const struct panic_watch *w, enum machine_end end,
			 int status)
{
	bool halted = end == MACHINE_POWEROFF && machine_is_halted(m);
	bool stopped = end == MACHINE_STOPPED && atomic_load(&w->seen);

	if (w->action == PANIC_STOP && (halted || stopped))
		return EXIT_PANIC;
	return w->action == PANIC_RESET && halted ? EXIT_RESET : status;
}

void run_end_report(struct machine *m, enum machine_end end, const struct err *err)
{
	char text[4096];

	if (end == MACHINE_POWEROFF && machine_is_halted(m))
		log_warn("the guest has halted with interrupts off and without a power-off: "
			 "nothing can wake it");
	if (!rules[end].status)
		return;
	if (err->code)
		log_error("the guest ended by %s: %s", rules[end].name, err->text);
	else
		log_error("the guest ended by %s", rules[end].name);
	if (!rules[end].cpu)
		return;
	machine_describe_cpu(m, text, sizeof(text));
	fputs(text, stderr);
}

FILE *run_end_stream(const char *console)
{
	return strcmp(console, "stdio") ? stdout : stderr;
}

static double mips(const struct run_summary *s)
{
	uint64_t busy = s->host_ns > s->idle_ns ? s->host_ns - s->idle_ns : 0;

	return busy ? (double)(s->count - s->start) * 1e3 / (double)busy : 0;
}

static size_t get_stats(const struct machine *m, struct engine_stat *stats)
{
	size_t n = machine_stats(m, stats, STATS_MAX);

	return n < STATS_MAX ? n : STATS_MAX;
}

/* Prints the share of translated code, for an engine that translates. */
static void print_share(FILE *f, const struct engine_stat *stats, size_t n, uint64_t instructions)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(stats[i].name, "in_code") && stats[i].value && instructions)
			fprintf(f, "%-32s %.1f %%\n", "translated share",
				(double)stats[i].value * 100 / (double)instructions);
	}
}

void run_summary_print(FILE *f, const struct machine *m, const struct run_summary *s)
{
	struct engine_stat stats[STATS_MAX];
	size_t n = get_stats(m, stats);

	fprintf(f, "%-32s %s\n", "end", run_end_name(s->end));
	fprintf(f, "%-32s %llu\n", "instructions", (unsigned long long)s->count);
	fprintf(f, "%-32s %.3f s\n", "virtual time", (double)s->virtual_ns / 1e9);
	fprintf(f, "%-32s %.3f s\n", "host time", (double)s->host_ns / 1e9);
	fprintf(f, "%-32s %.3f s\n", "idle", (double)s->idle_ns / 1e9);
	fprintf(f, "%-32s %.1f\n", "MIPS while not idle", mips(s));
	print_share(f, stats, n, s->count - s->start);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(stats[i].name, "instructions") || !strcmp(stats[i].name, "virtual_ns"))
			continue; /* said above */
		fprintf(f, "%-32s %llu\n", stats[i].name, (unsigned long long)stats[i].value);
	}
	fflush(f);
}

void run_summary_json(FILE *f, const struct machine *m, const struct run_summary *s)
{
	struct engine_stat stats[STATS_MAX];
	size_t n = get_stats(m, stats);
	json_t *o = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:f}", "event", "end", "end",
			      run_end_name(s->end), "status", s->status, "instructions",
			      (json_int_t)s->count, "virtual_ns", (json_int_t)s->virtual_ns,
			      "host_ns", (json_int_t)s->host_ns, "idle_ns", (json_int_t)s->idle_ns,
			      "mips", mips(s));
	json_t *list = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(list, stats[i].name, json_integer((json_int_t)stats[i].value));
	json_object_set_new(o, "stats", list);
	json_dumpf(o, f, JSON_COMPACT);
	fputc('\n', f);
	fflush(f);
	json_decref(o);
}
