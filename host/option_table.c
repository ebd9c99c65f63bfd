// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every option of every subcommand. A name may have several rows, when it means or says something
 * else for other subcommands; for one subcommand it has one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/options.h"
#include "host/share.h"
#include "host/webhook.h"

/* ---- parsers of one row each ---- */

static int parse_until(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct option_number *o = target;

	o->given = true;
	return option_parse_number(row, &o->n, arg, err);
}

static int parse_checkpoint(const struct option_row *row, void *target, const char *arg,
			    struct err *err)
{
	struct option_number *o = target;

	o->given = true;
	o->n = UINT64_MAX;
	if (strcmp(arg, "last") && !parse_number(arg, &o->n))
		return err_set(err, EINVAL, "--%s %s: must be a number or `last`", row->name, arg);
	return 0;
}

static int parse_speed(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	char *end;
	double speed = strtod(arg, &end);

	if (*end || end == arg || !(speed >= 0 && speed <= 1e6))
		return err_set(err, EINVAL, "--%s %s: must be a number from 0", row->name, arg);
	*(double *)target = speed;
	return 0;
}

static int parse_days(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	char *end;
	double days = strtod(arg, &end);

	if (*end || end == arg || !(days >= 0 && days <= 3650))
		return err_set(err, EINVAL, "--%s %s: must be days, 0 to 3650", row->name, arg);
	*(double *)target = days;
	return 0;
}

static int parse_limit(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct option_number *o = target;

	o->given = true;
	o->n = 0;
	if (strcmp(arg, "auto") && (!limits_parse_size(arg, &o->n) || !o->n))
		return err_set(err, EINVAL, "--%s %s: must be a size such as 16G, or auto",
			       row->name, arg);
	return 0;
}

static int parse_rate(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	if (!limits_parse_size(arg, target) || !*(uint64_t *)target)
		return err_set(err, EINVAL, "--%s %s: must be bytes a second, such as 50M",
			       row->name, arg);
	return 0;
}

static int parse_webhook(const struct option_row *row, void *target, const char *arg,
			 struct err *err)
{
	if (!webhook_url_is_good(arg))
		return err_set(err, EINVAL, "--%s %s: must be http://... or https://...", row->name,
			       arg);
	*(const char **)target = arg;
	return 0;
}

static int parse_letter(const struct option_row *row, void *target, const char *arg,
			struct err *err)
{
	if (strcmp(arg, "a") && strcmp(arg, "b"))
		return err_set(err, EINVAL, "--%s %s: must be a or b", row->name, arg);
	*(char *)target = arg[0];
	return 0;
}

/* "2/8": the second of eight. */
static int parse_shard(const struct option_row *row, void *target, const char *arg, struct err *err)
{
	struct option_shard *o = target;
	char part[24] = "";
	const char *slash = strchr(arg, '/');
	size_t n = slash ? (size_t)(slash - arg) : sizeof(part);

	if (n < sizeof(part))
		memcpy(part, arg, n);
	if (n >= sizeof(part) || !parse_number(part, &o->part) ||
	    !parse_number(slash + 1, &o->parts) || !o->part || o->part > o->parts ||
	    o->parts > OPTION_SHARDS)
		return err_set(err, EINVAL, "--%s %s: must be a part and their number, such as 2/8",
			       row->name, arg);
	return 0;
}

/* ---- subcommands ---- */

#define FOR(name) (1ull << COMMAND_##name)
#define BOOTS	  (FOR(RUN) | FOR(RECORD) | FOR(PRIMARY) | FOR(PAIR))
#define REPLAYS	  (FOR(REPLAY) | FOR(LOG))
#define REPLICAS  (FOR(PRIMARY) | FOR(BACKUP))
#define PAIRED	  (REPLICAS | FOR(PAIR))
#define LIVE	  (BOOTS | FOR(BACKUP))
#define PROFILED  (FOR(RUN) | FOR(RECORD) | FOR(REPLAY))
#define ALL	  ((1ull << COMMANDS) - 1)

#define AT(field)     offsetof(struct options, field)
#define FLAG(field)   .parse = option_parse_flag, .target = AT(field)
#define STRING(field) .parse = option_parse_string, .target = AT(field)
#define CHOICE(field) .parse = option_parse_choice, .target = AT(field)
#define NUMBER(field, from, to, of) \
	.parse = option_parse_number, .target = AT(field), .min = from, .max = to, .unit = of
#define MS(field, from, to) NUMBER(field, from, to, "milliseconds")

#define ONE_CPU	   "a machine has one processor: two that run at once are not deterministic"
#define NO_HOSTDEV "a device of the host is not deterministic: a machine has virtio devices alone"
#define NO_SHARED_DIR                                                                              \
	"a machine shares no directory: its files could not be replayed; use --disk, or NFS over " \
	"its network"
#define NO_SCREEN   "a machine has no screen: its consoles are --console and --virtio-console"
#define RECORDED    "cannot be chosen for a replay: the machine is the recorded one"
#define PRIMARYS    "a backup takes its guest from the primary: leave out --kernel and --restore"
#define OWN_MEETING "a pair on one host makes its own addresses, key and arbiter: leave it out"

/* clang-format off: a row a paragraph */
const struct option_row option_table[] = {
	/* ---- what a subcommand has of its own ---- */
	{ "output", 'o', "LOG", STRING(output), .commands = FOR(RECORD),
	  .help = "where the log goes; the file must not exist" },
	{ "force", 0, NULL, FLAG(force), .commands = FOR(RECORD), .help = "... or is replaced" },
	{ "incremental-from", 0, "BASE", STRING(incremental_from), .commands = FOR(SNAPSHOT),
	  .help = "write only what has changed since snapshot BASE" },
	{ "freeze", 0, "SOCKET", STRING(freeze), .commands = FOR(SNAPSHOT),
	  .help = "have the agent of --guest-agent unix:SOCKET freeze file systems meanwhile" },
	{ "force", 0, NULL, FLAG(force), .commands = FOR(SNAPSHOT),
	  .help = "replace FILE if it is there" },
	{ "epoch", 0, "MS", MS(epoch_ms, 1, 3600000), .commands = FOR(RECORD), .config = true,
	  .help = "a state digest every MS of guest time (500)" },
	{ "digest-every", 0, "N", NUMBER(digest_every, 1, UINT64_MAX, "instructions"),
	  .commands = FOR(RECORD), .help = "and one every N instructions" },
	{ "checkpoint", 0, "S", NUMBER(checkpoint_s, 0, 86400, "seconds"), .commands = FOR(RECORD),
	  .config = true, .help = "a checkpoint every S seconds of guest time; 0: none (60)" },
	{ "output", 'o', "FILE", STRING(output), .commands = FOR(CAMPAIGN),
	  .help = "run: where the results are kept; what is there already is not done again" },
	{ "jobs", 0, "N", NUMBER(jobs, 1, 256, "jobs"), .commands = FOR(CAMPAIGN),
	  .help = "run: so many experiments at a time (1)" },
	{ "output", 'o', "LOG", STRING(output), .commands = FOR(EXPLORE),
	  .help = "where the run that fails is kept; the file must not exist" },
	{ "runs", 0, "N", NUMBER(runs, 1, 1000000000, "runs"), .commands = FOR(EXPLORE),
	  .help = "so many at most (1000)" },
	{ "changes", 0, "N", NUMBER(changes, 1, 64, "changes"), .commands = FOR(EXPLORE),
	  .help = "so many in a run at most (16)" },
	{ "seed", 0, "N", NUMBER(explore_seed, 0, UINT64_MAX, "a seed"), .commands = FOR(EXPLORE),
	  .help = "another seed, other changes (1)" },
	{ "jobs", 0, "N", NUMBER(jobs, 1, 64, "jobs"), .commands = FOR(EXPLORE),
	  .help = "so many runs at a time (1)" },
	{ "after", 0, "REGEX", STRING(after), .commands = FOR(EXPLORE),
	  .help = "nothing changes before a line on a console matches" },
	{ "bound", 0, "N", NUMBER(bound, 0, 1ull << 48, "instructions"), .commands = FOR(EXPLORE),
	  .help = "a run ends so many instructions beyond the recording's end (100000000)" },
	{ "fail-status", 0, "N", .parse = parse_until, .target = AT(fail_status), .max = 255,
	  .unit = "an exit status", .commands = FOR(EXPLORE),
	  .help = "a run fails whose guest has this exit status" },
	{ "fail-console", 0, "REGEX", STRING(fail_console), .commands = FOR(EXPLORE),
	  .help = "... that shows a line which matches on a console" },
	{ "fail-check", 0, "PROGRAM", STRING(fail_check), .commands = FOR(EXPLORE),
	  .help = "... of which PROGRAM says no, by its exit status; it reads what the consoles "
		  "showed, and finds TWINSTEP_STATUS and TWINSTEP_END in its environment" },
	{ "json", 0, NULL, FLAG(json), .commands = FOR(EXPLORE), .help = "as one line of JSON" },
	{ "patience", 0, "S", NUMBER(patience_s, 1, 86400, "seconds"),
	  .commands = FOR(CAMPAIGN) | FOR(EXPLORE),
	  .help = "a worker, or --fail-check, that stands still for S seconds is ended (300)" },
	{ "shard", 0, "I/N", .parse = parse_shard, .target = AT(shard), .commands = FOR(CAMPAIGN),
	  .help = "run: the I-th of N parts alone; merge puts them together" },
	{ "check", 0, NULL, FLAG(check), .commands = FOR(CAMPAIGN),
	  .help = "plan: say nothing where it is good" },
	{ "record", 0, "LOG", STRING(record), .commands = FOR(CAMPAIGN),
	  .help = "show: keep the experiment as a recording; the file must not exist" },
	{ "html", 0, "FILE", STRING(html), .commands = FOR(CAMPAIGN),
	  .help = "report: as a page for a browser, with plots, too" },
	{ "csv", 0, NULL, FLAG(csv), .commands = FOR(CAMPAIGN),
	  .help = "report: a line for each experiment" },
	{ "json", 0, NULL, FLAG(json), .commands = FOR(CAMPAIGN),
	  .help = "report: as one line of JSON" },
	{ "until", 0, "COUNT", .parse = parse_until, .target = AT(until), .max = UINT64_MAX,
	  .unit = "instructions", .commands = FOR(REPLAY),
	  .help = "stop after COUNT instructions and show the registers" },
	{ "from-checkpoint", 0, "N", .parse = parse_checkpoint, .target = AT(from_checkpoint),
	  .commands = FOR(REPLAY),
	  .help = "start from checkpoint N of the log (`twinstep log` lists them), or `last`" },
	{ "speed", 0, "X", .parse = parse_speed, .target = AT(speed), .commands = FOR(REPLAY),
	  .help = "X times real time (0: as fast as possible, the default)" },
	{ "gdb", 0, "ADDR", STRING(gdb), .commands = FOR(REPLAY),
	  .help = "do not run, but let gdb move along the recording, both ways: at unix:PATH or "
		  "127.0.0.1:PORT (docs/debugging.md)" },
	{ "quiet", 0, NULL, FLAG(quiet), .commands = FOR(REPLAY), .help = "no progress line" },
	{ "pcap", 0, "FILE", STRING(pcap), .commands = FOR(LOG),
	  .help = "write the guest's network traffic, both ways, with virtual timestamps; replays "
		  "the log for what the guest sent; -: to standard output. The options below are "
		  "for this replay" },
	{ "list", 0, NULL, FLAG(list), .commands = FOR(JAIL),
	  .help = "the layers, what this host offers against side channels, and the system calls "
		  "of each kind of thread, with the reasons" },
	{ "test", 0, NULL, FLAG(test), .commands = FOR(JAIL),
	  .help = "from inside, in place of a guest that has broken out: tries what it should not "
		  "be able to do, from each kind of thread" },
	{ "limit", 0, "SIZE|auto", .parse = parse_limit, .target = AT(limit), .commands = FOR(HOST),
	  .help = "promise no more than SIZE to all machines together from now on; auto: the "
		  "host's memory but for a margin (a 16th, 64M to 2G)" },
	{ "host-file", 0, "FILE", STRING(machine.share.host_file), .commands = FOR(HOST),
	  .help = "where the promises are kept (/run/twinstep/host for root)" },
	{ "digest-every", 0, "N", NUMBER(digest_every, 1, UINT64_MAX, "instructions"),
	  .commands = FOR(RUN), .help = "print count and state digest every N instructions" },
	{ "profile", 0, "FILE", STRING(profile), .commands = PROFILED,
	  .help = "write where the guest's instructions went, as folded stacks" },
	{ "profile-every", 0, "N", NUMBER(profile_every, 1, UINT64_MAX, "instructions"),
	  .commands = PROFILED, .help = "a sample every N instructions (100003)" },
	{ "symbols", 0, "FILE", STRING(symbols), .commands = PROFILED | FOR(CAMPAIGN),
	  .help = "names for the profile, or report: a System.map or an ELF file" },
	{ "stats", 0, NULL, FLAG(stats), .commands = LIVE | FOR(REPLAY), .config = true,
	  .help = "print instructions, speed and exits by kind at the end" },
	{ "json", 0, NULL, FLAG(json), .commands = LIVE | FOR(REPLAY), .config = true,
	  .help = "the same, and what else is told, as lines of JSON" },
	{ "json", 0, NULL, FLAG(json), .commands = FOR(LOG),
	  .help = "one line of JSON for the header, each record and the end" },
	{ "json", 0, NULL, FLAG(json), .commands = FOR(SNAPSHOT),
	  .help = "say where it was taken as one line of JSON" },
	{ "json", 0, NULL, FLAG(json),
	  .commands = FOR(STATUS) | FOR(SWITCH) | FOR(ARBITER) | FOR(HOST) | FOR(JAIL) |
		      FOR(QUALIFY) | FOR(VERSION) | FOR(LIST) | FOR(DOCTOR) | FOR(VERIFY) |
		      FOR(EVACUATE) | FOR(MIGRATE) | FOR(RESIZE),
	  .help = "as one line of JSON" },
	{ "quick", 0, NULL, FLAG(quick), .commands = FOR(QUALIFY),
	  .help = "less of each: for a first look" },
	{ "long", 0, NULL, FLAG(longer), .commands = FOR(QUALIFY),
	  .help = "ten times as much: for a host that is going to be trusted" },
	{ "name", 0, "NAME", STRING(name), .commands = FOR(RUN) | FOR(RECORD), .config = true,
	  .help = "answers `twinstep status NAME`, stop, snapshot and balloon" },
	{ "name", 0, "NAME", STRING(name), .commands = REPLICAS, .config = true,
	  .help = "answers `twinstep status NAME`, stop and balloon" },
	{ "name", 0, "NAME", STRING(name), .commands = FOR(PAIR), .config = true, .own = true,
	  .help = "the replicas' control sockets are NAME-a and NAME-b (see `twinstep status`)" },
	{ "control", 0, "PATH", STRING(control), .commands = FOR(RUN) | FOR(RECORD) | REPLICAS,
	  .config = true, .help = "the same, at a socket of this path" },
	{ "control", 0, "PATH", STRING(control), .commands = FOR(PAIR),
	  .refusal = "use --name for a pair: its sockets are NAME-a and NAME-b" },
	{ "disk", 0, "N", .parse = parse_until, .target = AT(disk), .max = MACHINE_DISKS - 1,
	  .unit = "disks", .commands = FOR(VERIFY), .help = "only this one; the first is 0 (all)" },
	{ "disk", 0, "N", .parse = parse_until, .target = AT(disk), .max = MACHINE_DISKS - 1,
	  .unit = "disks", .commands = FOR(RESIZE), .help = "which one; the first is 0" },
	{ "size", 0, "SIZE|+SIZE", STRING(size), .commands = FOR(RESIZE),
	  .help = "bytes that it is to have, or to have more: 20G, +512M" },
	{ "mend", 0, "no|live|backup", CHOICE(mend), .commands = FOR(VERIFY),
	  .help = "a block that differs becomes the live side's, or the backup's (no)" },
	{ "to", 0, "ADDR", STRING(to), .commands = FOR(MIGRATE),
	  .help = "where a backup without --connect waits: HOST:PORT, [V6]:PORT or unix:PATH" },
	{ "keep", 0, NULL, FLAG(keep), .commands = FOR(MIGRATE),
	  .help = "the replica that was live stays as the new one's backup" },
	{ "help", 0, NULL, FLAG(help), .commands = ALL, .help = "this text" },

	/* ---- pairs ---- */
	{ "listen", 0, "ADDR", STRING(replica.listen), .commands = REPLICAS, .group = GROUP_PAIR,
	  .config = true,
	  .help = "where a backup may join, for a backup after a failover: HOST:PORT, [V6]:PORT, "
		  "rdma:HOST:PORT or unix:PATH" },
	{ "connect", 0, "ADDR", STRING(replica.connect), .commands = FOR(BACKUP),
	  .group = GROUP_PAIR, .config = true, .help = "where the primary listens" },
	{ "connect", 0, "ADDR", STRING(replica.connect), .commands = FOR(PRIMARY),
	  .refusal = "is for `twinstep backup`" },
	{ "connect-wait", 0, "MS", MS(replica.connect_wait_ms, 0, 86400000),
	  .commands = FOR(BACKUP) | FOR(PAIR), .group = GROUP_PAIR, .config = true,
	  .help = "how long a backup tries to reach the primary (10000)" },
	{ "key-file", 0, "FILE", STRING(replica.key_file), .commands = REPLICAS,
	  .group = GROUP_PAIR, .config = true,
	  .help = "key that both replicas hold (mode 0600; `twinstep keygen` makes it)" },
	{ "insecure", 0, NULL, FLAG(replica.insecure), .commands = REPLICAS, .group = GROUP_PAIR,
	  .config = true, .help = "no key: anybody who can connect is believed" },
	{ "key-file", 0, "FILE", STRING(replica.key_file), .commands = FOR(RUN),
	  .group = GROUP_PAIR,
	  .help = "with --arbiter: the machine can move to another host (`twinstep migrate`), "
		  "which holds this key (mode 0600)" },
	{ "rdma-clear", 0, NULL, FLAG(replica.rdma_clear), .commands = REPLICAS,
	  .group = GROUP_PAIR, .config = true,
	  .help = "with rdma: addresses: nothing is sealed on the fabric, if both say so" },
	{ "arbiter", 0, "ARBITER", STRING(replica.arbiter), .commands = REPLICAS,
	  .group = GROUP_PAIR, .config = true,
	  .help = "decides who is live: file:DIR, a directory that both replicas see, or "
		  "etcd://HOST:PORT,.../PREFIX with ,ca=FILE ,cert=FILE ,key=FILE ,login=FILE, or "
		  "witness:HOST:PORT/GUEST,key=FILE" },
	{ "arbiter", 0, "ARBITER", STRING(replica.arbiter), .commands = FOR(RUN),
	  .group = GROUP_PAIR,
	  .help = "with --key-file: decides on which host it is live, as for `twinstep primary`" },
	{ "listen", 0, "ADDR", STRING(replica.listen), .commands = FOR(ARBITER),
	  .help = "serve: where replicas ask, HOST:PORT or [V6]:PORT" },
	{ "listen", 0, "ADDR", STRING(replica.listen), .commands = FOR(EXPORTER),
	  .help = "address and port to be asked at, such as [::1]:9177 (127.0.0.1:9177)" },
	{ "key-file", 0, "FILE", STRING(replica.key_file), .commands = FOR(ARBITER),
	  .help = "serve: key that who may ask holds (mode 0600; `twinstep keygen` makes it)" },
	{ "listen", 0, "ADDR", STRING(replica.listen), .commands = FOR(QUALIFY),
	  .help = "answers --connect of another host: HOST:PORT or rdma:HOST:PORT" },
	{ "connect", 0, "ADDR", STRING(replica.connect), .commands = FOR(QUALIFY),
	  .help = "measures round trip and throughput to the host that answers there" },
	{ "key-file", 0, "FILE", STRING(replica.key_file), .commands = FOR(QUALIFY),
	  .help = "key that both hold (mode 0600; `twinstep keygen` makes it)" },
	{ "insecure", 0, NULL, FLAG(replica.insecure), .commands = FOR(QUALIFY),
	  .help = "no key: anybody who can connect is answered" },
	{ "rdma-clear", 0, NULL, FLAG(replica.rdma_clear), .commands = FOR(QUALIFY),
	  .help = "with rdma: addresses: nothing is sealed on the fabric, if both say so" },
	{ "listen", 0, "ADDR", STRING(replica.listen), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "connect", 0, "ADDR", STRING(replica.connect), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "key-file", 0, "FILE", STRING(replica.key_file), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "insecure", 0, NULL, FLAG(replica.insecure), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "rdma-clear", 0, NULL, FLAG(replica.rdma_clear), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "arbiter", 0, "ARBITER", STRING(replica.arbiter), .commands = FOR(PAIR),
	  .refusal = OWN_MEETING },
	{ "no-wait", 0, NULL, FLAG(replica.no_wait), .commands = FOR(PRIMARY) | FOR(PAIR),
	  .group = GROUP_PAIR, .config = true,
	  .help = "start the guest without waiting for a backup" },
	{ "timeout", 0, "MS", MS(agent_timeout_ms, 10, 3600000),
	  .commands = FOR(AGENT) | FOR(SNAPSHOT),
	  .help = "so long may the agent take to answer (60000)" },
	{ "timeout", 0, "MS", MS(replica.timeout_ms, 10, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "silence after which the other replica counts as dead (400)" },
	{ "max-timeout", 0, "MS", MS(replica.max_timeout_ms, 10, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "how long that may become on a busy host or a lossy link (2000; --timeout "
		  "where only that is given)" },
	{ "hang-timeout", 0, "MS", MS(replica.hang_timeout_ms, 100, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "its vCPU without progress after which it counts as dead as well (5000)" },
	{ "max-lag", 0, "MS", MS(replica.max_lag_ms, 1, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true, .help = "how far the backup may be behind (50)" },
	{ "max-stall", 0, "MS", MS(replica.max_stall_ms, 10, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "the guest goes on without a backup that it had to wait for so long at a time "
		  "(500, twice --timeout, or a quarter more than silence may last, whichever "
		  "is most)" },
	{ "min-speed", 0, "PERCENT", NUMBER(replica.min_speed, 0, 100, "%"), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "... and without one for which it could run for less of its time than this "
		  "over ten seconds; 0: however slow (10)" },
	{ "max-pause", 0, "MS", MS(replica.max_pause_ms, 1, 60000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "how long the guest may stand still when a backup joins (50)" },
	{ "join-timeout", 0, "MS", MS(replica.join_timeout_ms, 1000, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "a join that takes longer is told of (60000)" },
	{ "epoch", 0, "MS", MS(replica.epoch_ms, 1, 3600000), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "guest time between two comparisons of state (100)" },
	{ "on-divergence", 0, "primary|backup|halt", CHOICE(replica.on_divergence),
	  .commands = PAIRED, .group = GROUP_PAIR, .config = true,
	  .help = "who goes on after a divergence (primary)" },
	{ "durability", 0, "live|both", CHOICE(replica.durability), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "outputs wait until what is before them is in the backup's memory, or has been "
		  "executed and flushed there (live)" },
	{ "on-disk-error", 0, "failover|guest", CHOICE(replica.on_disk_error), .commands = PAIRED,
	  .group = GROUP_PAIR, .config = true,
	  .help = "the side whose disk fails ends if the other one can go on, or the guest is "
		  "told (failover)" },
	{ "sync-rate", 0, "RATE", .parse = parse_rate, .target = AT(replica.sync_rate),
	  .commands = PAIRED | FOR(RUN), .group = GROUP_PAIR, .config = true,
	  .help = "bytes of disks a second, at most, that a joining backup is sent (no bound)" },
	{ "scrub", 0, "DAYS", .parse = parse_days, .target = AT(replica.scrub_days),
	  .commands = PAIRED, .group = GROUP_PAIR, .config = true,
	  .help = "compare both sides' disks every so many days, such as 7 or 0.5 (0: never)" },
	{ "newer", 0, "a|b", .parse = parse_letter, .target = AT(newer), .commands = FOR(PAIR),
	  .own = true, .group = GROUP_PAIR,
	  .help = "whose disks count, where both were written alone; the other's are given up" },
	{ "force", 0, NULL, FLAG(replica.force), .commands = FOR(PRIMARY), .group = GROUP_PAIR,
	  .help = "start with disks that may be old, and beside a replica that may be live: what "
		  "only "
		  "the other side has is lost" },
	{ "force", 0, NULL, FLAG(replica.force), .commands = FOR(RUN),
	  .help = "write to a disk of a pair that may be old: what only the other side has is "
		  "lost" },
	{ "force", 0, NULL, FLAG(replica.force), .commands = FOR(BACKUP), .group = GROUP_PAIR,
	  .help = "give up what only our disks have, and take the primary's" },
	{ "events", 0, "FILE", STRING(replica.events), .commands = REPLICAS, .group = GROUP_PAIR,
	  .config = true, .help = "append what happens, as lines of JSON" },
	{ "events", 0, "FILE", STRING(replica.events), .commands = FOR(PAIR), .own = true,
	  .group = GROUP_PAIR, .config = true,
	  .help = "append what happens to both replicas, as lines of JSON" },

	{ "lineage", 0, "FILE", STRING(replica.lineage), .commands = REPLICAS, .group = GROUP_PAIR,
	  .help = "keeps by which names this host's replicas are known to the arbiter: a primary "
		  "may follow on one that has ended" },
	{ "force", 0, NULL, FLAG(replica.force), .commands = FOR(UP), .group = GROUP_OWN,
	  .help = "begin as primary with what this host has, where the other one does not answer: "
		  "what only that one has is lost" },
	{ "detach", 'd', NULL, FLAG(detach), .commands = FOR(UP),
	  .help = "go on in the background; messages go to the file `messages` of the guest" },
	{ "first", 0, "HOST", STRING(first), .commands = FOR(UP), .config = true,
	  .help = "the host that begins while nobody has ever been live (that of the first "
		  "section)" },
	{ "on-event", 0, "PROGRAM", STRING(on_event), .commands = FOR(UP), .config = true,
	  .help = "run on each event, outside the jail: its JSON on standard input, its name in "
		  "TWINSTEP_EVENT" },
	{ "user", 0, "USER", STRING(user), .commands = FOR(NET),
	  .help = "create: who may open the taps without being root" },
	{ "webhook", 0, "URL", .parse = parse_webhook, .target = AT(webhook), .commands = FOR(UP),
	  .config = true,
	  .help = "post each event's JSON there, over http: or https:; what nobody takes is "
		  "counted and given up" },
	{ "follow", 'f', NULL, FLAG(follow), .commands = FOR(LOG),
	  .help = "of a guest: go on with what happens, until a signal" },
	{ "batch", 'b', NULL, FLAG(batch), .commands = FOR(TOP),
	  .help = "lines of text, for a file or another program, instead of a screen" },
	{ "times", 'n', "N", .parse = parse_until, .target = AT(times), .min = 1, .max = 1000000000,
	  .unit = "times", .commands = FOR(TOP), .help = "end after N looks" },
	{ "delay", 0, "MS", MS(delay_ms, 100, 3600000), .commands = FOR(TOP),
	  .help = "from one look to the next (2000)" },
	{ "json", 0, NULL, FLAG(json), .commands = FOR(TOP),
	  .help = "a line of JSON for each look, as the exporter has it" },
	{ "all", 0, NULL, FLAG(all), .commands = FOR(DOWN),
	  .help = "end the guest, on both hosts" },
	{ "history", 0, NULL, FLAG(history), .commands = FOR(CONSOLE),
	  .help = "show what the guest wrote last, and do not attach" },

	/* ---- the machine ---- */
	{ "kernel", 0, "FILE", STRING(machine.kernel), .commands = BOOTS, .group = GROUP_MACHINE,
	  .config = true,
	  .help = "Linux bzImage or vmlinux, or multiboot program (ELF); may be compressed" },
	{ "restore", 0, "FILE", STRING(machine.restore), .commands = BOOTS, .group = GROUP_MACHINE,
	  .help = "go on from a snapshot instead of booting a kernel" },
	{ "restore-base", 0, "FILE", STRING(machine.restore_base),
	  .commands = FOR(RUN) | FOR(PRIMARY) | FOR(PAIR), .group = GROUP_MACHINE,
	  .help = "the snapshot from which that of --restore holds the changes" },
	{ "initrd", 0, "FILE[,text=TEXT]", .parse = machine_parse_initrd, .target = AT(machine),
	  .commands = BOOTS, .group = GROUP_MACHINE, .config = true,
	  .help = "initial RAM disk; for multiboot a module with its string (the file's name), may "
		  "be repeated" },
	{ "append", 0, "TEXT", STRING(machine.append), .commands = BOOTS, .group = GROUP_MACHINE,
	  .config = true, .help = "kernel command line" },
	{ "memory", 0, "SIZE", .parse = machine_parse_memory, .target = AT(machine),
	  .commands = BOOTS, .group = GROUP_MACHINE, .config = true,
	  .help = "guest memory, 1M to 64G (256M)" },
	{ "machine", 0, "1|2", .parse = machine_parse_version, .target = AT(machine),
	  .commands = BOOTS, .group = GROUP_MACHINE, .config = true,
	  .help = "2: with local APIC, I/O APIC and ACPI; 1: a small legacy PC (2)" },
	{ "firmware", 0, "FILE", STRING(machine.firmware), .commands = BOOTS,
	  .group = GROUP_MACHINE, .config = true,
	  .help = "without --kernel the first disk boots by itself, by this PC BIOS (SeaBIOS of "
		  "Debian's package seabios)" },
	{ "boot", 0, "disk|cdrom|net[,rom=FILE]", .parse = machine_parse_boot,
	  .target = AT(machine), .commands = BOOTS, .group = GROUP_MACHINE, .config = true,
	  .help = "what firmware boots from: the first disk, or before it the first disk that has "
		  "an El Torito image, as a CD, or the network, by an option ROM (iPXE of "
		  "Debian's package ipxe-qemu) (disk)" },
	{ "on-panic", 0, "report|stop|reset", CHOICE(machine.on_panic), .commands = LIVE,
	  .group = GROUP_MACHINE, .config = true,
	  .help = "when the guest has panicked and will not reboot: say so, end the "
		  "machine as well (status 117), or reset it (report)" },
	{ "clock", 0, "auto|host|virtual", CHOICE(machine.clock), .commands = BOOTS,
	  .group = GROUP_MACHINE, .config = true,
	  .help = "virtual time follows the host's clock, or the instruction count alone; auto: "
		  "host with --net, or when the console is a terminal or socket; a pair's follows "
		  "the host's" },
	{ "rtc", 0, "SECONDS|now", .parse = machine_parse_rtc, .target = AT(machine),
	  .commands = BOOTS, .group = GROUP_MACHINE, .config = true,
	  .help = "time of the guest's clock at the start" },
	{ "seed", 0, "HEX", .parse = machine_parse_seed, .target = AT(machine), .commands = BOOTS,
	  .group = GROUP_MACHINE, .config = true,
	  .help = "seed of the guest's random numbers (host clock: random; else zero)" },
	{ "kernel", 0, "FILE", STRING(machine.kernel), .commands = FOR(BACKUP),
	  .refusal = PRIMARYS },
	{ "restore", 0, "FILE", STRING(machine.restore), .commands = FOR(BACKUP),
	  .refusal = PRIMARYS },
	{ "firmware", 0, "FILE", STRING(machine.firmware), .commands = FOR(BACKUP),
	  .refusal = PRIMARYS },

	/* ---- what other hypervisors have ---- */
	{ "cpus", 0, "N", STRING(machine.append), .commands = BOOTS, .refusal = ONE_CPU },
	{ "smp", 0, "N", STRING(machine.append), .commands = BOOTS, .refusal = ONE_CPU },
	{ "vnc", 0, "WHERE", STRING(machine.append), .commands = BOOTS, .refusal = NO_SCREEN },
	{ "vga", 0, "KIND", STRING(machine.append), .commands = BOOTS, .refusal = NO_SCREEN },
	{ "display", 0, "KIND", STRING(machine.append), .commands = BOOTS, .refusal = NO_SCREEN },
	{ "gpu", 0, "KIND", STRING(machine.append), .commands = BOOTS, .refusal = NO_SCREEN },
	{ "sound", 0, "KIND", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no sound" },
	{ "audio", 0, "KIND", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no sound" },
	{ "tpm", 0, "WHAT", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no TPM: what one keeps for itself, its replica could not "
		     "have" },
	{ "hostdev", 0, "WHAT", STRING(machine.append), .commands = BOOTS, .refusal = NO_HOSTDEV },
	{ "vfio", 0, "WHAT", STRING(machine.append), .commands = BOOTS, .refusal = NO_HOSTDEV },
	{ "uefi", 0, NULL, .parse = option_parse_flag, .target = AT(help), .commands = BOOTS,
	  .refusal = "a machine boots by a BIOS: there is no UEFI" },
	{ "vsock", 0, "WHAT", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no vsock: its other end could not go along to another host; "
		     "use --virtio-console unix:PATH or TCP" },
	{ "virtfs", 0, "WHAT", STRING(machine.append), .commands = BOOTS,
	  .refusal = NO_SHARED_DIR },
	{ "virtiofs", 0, "WHAT", STRING(machine.append), .commands = BOOTS,
	  .refusal = NO_SHARED_DIR },
	{ "floppy", 0, "FILE", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no floppy drive: give the image as --disk FILE" },
	{ "usb", 0, NULL, .parse = option_parse_flag, .target = AT(help), .commands = BOOTS,
	  .refusal = "a machine has no USB" },
	{ "cdrom", 0, "FILE", STRING(machine.append), .commands = BOOTS,
	  .refusal = "a machine has no CD-ROM drive: give the image as --disk FILE,ro, a disk for "
		     "the guest, from which --boot cdrom starts it as a CD" },

	/* ---- the machine of a recording ---- */
	{ "kernel", 0, "FILE", STRING(machine.kernel), .commands = REPLAYS, .group = GROUP_MACHINE,
	  .help = "the kernel, if it has moved since the recording" },
	{ "restore", 0, "FILE", STRING(machine.restore), .commands = REPLAYS,
	  .group = GROUP_MACHINE, .help = "the snapshot, likewise" },
	{ "firmware", 0, "FILE", STRING(machine.firmware), .commands = REPLAYS,
	  .group = GROUP_MACHINE, .help = "the firmware, likewise" },
	{ "initrd", 0, "FILE", .parse = machine_parse_initrd, .target = AT(machine),
	  .commands = REPLAYS, .group = GROUP_MACHINE,
	  .help = "the initrd, or the modules in order, likewise" },
	{ "disk", 0, "FILE", .parse = machine_parse_disk, .target = AT(machine),
	  .commands = REPLAYS, .group = GROUP_MACHINE,
	  .help = "the disk images, likewise, in order" },
	{ "memory", 0, "SIZE", .parse = machine_parse_memory, .target = AT(machine),
	  .commands = REPLAYS, .refusal = RECORDED },
	{ "machine", 0, "1|2", .parse = machine_parse_version, .target = AT(machine),
	  .commands = REPLAYS, .refusal = RECORDED },
	{ "append", 0, "TEXT", STRING(machine.append), .commands = REPLAYS, .refusal = RECORDED },
	{ "net", 0, "BACKEND", .parse = machine_parse_net, .target = AT(machine),
	  .commands = REPLAYS, .refusal = RECORDED },
	{ "clock", 0, "auto|host|virtual", CHOICE(machine.clock), .commands = REPLAYS,
	  .refusal = RECORDED },
	{ "rtc", 0, "SECONDS|now", .parse = machine_parse_rtc, .target = AT(machine),
	  .commands = REPLAYS, .refusal = RECORDED },
	{ "seed", 0, "HEX", .parse = machine_parse_seed, .target = AT(machine), .commands = REPLAYS,
	  .refusal = RECORDED },

	/* ---- the host's side ---- */
	{ "disk", 0, "FILE|nbd:URI[,ro|,overlay][,format=raw][,meta=FILE]",
	  .parse = machine_parse_disk, .target = AT(machine), .commands = LIVE, .group = GROUP_SIDE,
	  .config = true,
	  .help = "raw disk image, or an NBD server's export; overlay keeps changes in memory; up "
		  "to 4, of machine 2 up to 16; meta: where a "
		  "pair keeps what it knows of it (FILE.twin)" },
	{ "cloud-init", 0, "USER-DATA[,META-DATA[,NETWORK-CONFIG]]",
	  .parse = machine_parse_cloud_init, .target = AT(machine), .commands = BOOTS,
	  .group = GROUP_MACHINE, .config = true,
	  .help = "one more disk, read-only and made of these files, of which cloud-init in "
		  "the guest takes users, keys and addresses; recordings, snapshots and the other "
		  "side of a pair have it with them" },
	{ "net", 0, "tap:NAME|pcap:IFACE|none[,mac=ADDRESS][,bridge=BRIDGE[,vlan=N]]",
	  .parse = machine_parse_net, .target = AT(machine), .commands = LIVE, .group = GROUP_SIDE,
	  .config = true,
	  .help = "network card; up to 4, of machine 2 up to 8; bridge, vlan: where `twinstep net "
		  "create` puts a tap" },
	{ "engine", 0, "NAME", STRING(machine.engine), .commands = LIVE | REPLAYS,
	  .group = GROUP_SIDE, .config = true, .help = "soft, vmx or auto (auto)" },
	{ "mixed", 0, NULL, FLAG(machine.mixed), .commands = REPLAYS, .group = GROUP_SIDE,
	  .help = "also what was recorded where guests see another processor than with this "
		  "engine (`twinstep log` shows where); a guest that uses the difference ends the "
		  "replay" },
	{ "console", 0, "WHERE", .parse = machine_parse_console, .target = AT(machine.console),
	  .commands = LIVE | FOR(REPLAY), .group = GROUP_SIDE, .config = true,
	  .help = "serial port: stdio, none, unix:PATH or FILE (stdio)" },
	{ "virtio-console", 0, "WHERE", .parse = machine_parse_console,
	  .target = AT(machine.virtio_console), .commands = LIVE | FOR(REPLAY), .group = GROUP_SIDE,
	  .config = true, .help = "the same for a virtio console" },
	{ "guest-agent", 0, "unix:PATH", .parse = machine_parse_console,
	  .target = AT(machine.guest_agent), .commands = LIVE | FOR(REPLAY), .group = GROUP_SIDE,
	  .config = true,
	  .help = "a virtio port for QEMU's guest agent in the guest (`twinstep agent`, or "
		  "whatever speaks with it); machine 2" },
	{ "debug-console", 0, "WHERE", .parse = machine_parse_console,
	  .target = AT(machine.debug_console), .commands = LIVE | FOR(REPLAY), .group = GROUP_SIDE,
	  .config = true, .help = "output of port 0xe9 (where --console goes)" },
	{ "jail", 0, "on|strict|off", CHOICE(machine.jail),
	  .commands = LIVE | REPLAYS | FOR(DIFF) | FOR(CAMPAIGN) | FOR(EXPLORE),
	  .group = GROUP_SIDE, .config = true,
	  .help = "strict: refuse to start when this host lacks a layer of the jail (on)" },
	{ "no-jail", 0, NULL, .parse = machine_parse_no_jail, .target = AT(machine),
	  .commands = LIVE | REPLAYS | FOR(DIFF) | FOR(CAMPAIGN) | FOR(EXPLORE),
	  .group = GROUP_SIDE, .help = "keep all rights of this user: only to look for errors" },
	{ "speculation", 0, "protect|allow", CHOICE(machine.speculation),
	  .commands = LIVE | REPLAYS, .group = GROUP_SIDE, .config = true,
	  .help = "allow: leave the processor's speculation controls as they are (protect)" },

	/* ---- share of the host ---- */
	{ "cpu-weight", 0, "N", .parse = share_parse_cpu_weight, .target = AT(machine.share.limits),
	  .commands = LIVE | REPLAYS, .group = GROUP_SHARE, .config = true,
	  .help = "1 to 10000: share of busy CPUs against other machines (100)" },
	{ "cpu-max", 0, "PERCENT[%]|QUOTA/PERIOD", .parse = share_parse_cpu_max,
	  .target = AT(machine.share.limits), .commands = LIVE | REPLAYS, .group = GROUP_SHARE,
	  .config = true, .help = "CPU time at most: of one CPU, or microseconds in each period" },
	{ "memory-max", 0, "SIZE", .parse = share_parse_memory_max,
	  .target = AT(machine.share.limits), .commands = LIVE | REPLAYS, .group = GROUP_SHARE,
	  .config = true, .help = "the host ends the machine when its process uses more" },
	{ "io-max", 0, "RATE|read=RATE,write=RATE,read-ops=N,write-ops=N",
	  .parse = share_parse_io_max, .target = AT(machine.share.limits),
	  .commands = LIVE | REPLAYS, .group = GROUP_SHARE, .config = true,
	  .help = "bytes and requests a second on each device that holds a disk of it" },
	{ "cgroup", 0, "PATH", STRING(machine.share.cgroup), .commands = LIVE | REPLAYS,
	  .group = GROUP_SHARE, .config = true,
	  .help = "control group below which the machine's own is made" },
	{ "reserve", 0, "SIZE|auto|off", .parse = share_parse_reserve, .target = AT(machine.share),
	  .commands = LIVE | REPLAYS, .group = GROUP_SHARE, .config = true,
	  .help = "memory that the host promises, or does not start the machine (auto: --memory "
		  "and 64M)" },
	{ "host-file", 0, "FILE", STRING(machine.share.host_file), .commands = LIVE | REPLAYS,
	  .group = GROUP_SHARE, .config = true,
	  .help = "where the promises are kept (see `twinstep host`)" },
	{ "balloon-min", 0, "SIZE", .parse = share_parse_balloon_min, .target = AT(machine.share),
	  .commands = LIVE | REPLAYS, .group = GROUP_SHARE, .config = true,
	  .help = "what `twinstep balloon` leaves the guest (a quarter)" },
};
/* clang-format on */
const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);
