// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets of a recorded guest. Those that it received are in the log; those that it sent come out
 * of it again when the log is replayed.
 */
#include "host/log_pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "record/replay.h"
#include "host/exit.h"
#include "host/log_text.h"
#include "host/replay_machine.h"
#include "host/stop.h"

#define SNAPLEN 65536

struct capture {
	struct replay_machine rm; /* the first member, as replay_machine.h wants it */
	struct replay replay;
	atomic_bool ready;
	const char *path; /* of the file, "-": standard output */
	bool created;	  /* it was not there before */
	bool ran;	  /* there is something in it */
	pcap_t *pcap;
	pcap_dumper_t *file;
	enum machine_end end;
	struct err err;	  /* what machine_run() said */
	uint64_t zero_ns; /* wall-clock time of virtual time 0 */
	uint64_t received, sent;
};

static void write_frame(struct capture *c, uint64_t ns, const uint8_t *data, size_t len)
{
	uint64_t t = c->zero_ns + ns;
	struct pcap_pkthdr h = { .caplen = (bpf_u_int32)len, .len = (bpf_u_int32)len };

	h.ts.tv_sec = (time_t)(t / 1000000000);
	h.ts.tv_usec = (suseconds_t)(t % 1000000000); /* nanoseconds, as the file's header says */
	pcap_dump((u_char *)c->file, &h, data);
}

static void capture_sent(void *ctx, const struct output *out)
{
	struct capture *c = ctx;

	if (out->kind != OUTPUT_NET_TX || !c->file)
		return;
	write_frame(c, out->ns, out->data, out->len);
	c->sent++;
}

static void capture_received(void *ctx, struct machine *m, const struct codec_record *rec)
{
	struct capture *c = ctx;

	for (size_t i = 0; i < rec->sp.n; i++) {
		const struct input *in = &rec->sp.input[i];

		if (in->kind != INPUT_NET_RX)
			continue;
		write_frame(c, machine_now(m), in->data, in->len);
		c->received++;
	}
}

/* Refuses to write over a file that the log needs. */
static int check_target(const struct capture *c, struct err *err)
{
	const char *what = same_file(c->path, c->rm.path) ? "the log itself"
							  : machine_opts_file(&c->rm.opts, c->path);

	return what ? err_set(err, EINVAL, "cannot write packets to '%s': it is %s", c->path, what)
		    : 0;
}

static int target_open(struct capture *c, struct err *err)
{
	int fd;

	if (!strcmp(c->path, "-"))
		return dup(STDOUT_FILENO);
	if (check_target(c, err) < 0)
		return -err->code;
	jail_will_remove(c->path);
	fd = open(c->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	c->created = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(c->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	return fd;
}

/* The file with its header. */
static int capture_file(struct capture *c, struct err *err)
{
	const struct log_header *h = log_reader_header(c->rm.reader);
	int fd = target_open(c, err);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");

	if (err->code)
		return -err->code;
	if (!f)
		return err_set(err, errno, "cannot write '%s': %s", c->path, strerror(errno));
	c->zero_ns = h->wall_ns - log_start_ns(h);
	c->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN,
						       PCAP_TSTAMP_PRECISION_NANO);
	c->file = c->pcap ? pcap_dump_fopen(c->pcap, f) : NULL;
	if (c->file)
		return 0;
	fclose(f);
	return err_set(err, EIO, "cannot write '%s': %s", c->path,
		       c->pcap ? pcap_geterr(c->pcap) : "out of memory");
}

/* ---- the steps: a log may come from anywhere, and its guest runs, so in the jail ---- */

static int capture_names(void *ctx, struct err *err)
{
	return capture_file(ctx, err);
}

/* A file in which there is nothing goes again. */
static void capture_unname(void *ctx)
{
	struct capture *c = ctx;

	if (c->file)
		pcap_dump_close(c->file);
	if (c->pcap)
		pcap_close(c->pcap);
	if (c->created && !c->ran)
		jail_remove(c->path);
}

static void capture_jail(void *ctx, struct jail_config *jail)
{
	jail->file_size = UINT64_MAX;
}

static struct output_sink capture_sink(void *ctx)
{
	return (struct output_sink){ .ctx = ctx, .emit = capture_sent };
}

static int capture_start(void *ctx, struct err *err)
{
	struct capture *c = ctx;
	struct record_stream stream = replay_machine_records(&c->rm, capture_received);

	replay_init(&c->replay, c->rm.up.machine, &stream);
	atomic_store(&c->ready, true);
	return 0;
}

static void capture_stop(void *ctx)
{
	struct capture *c = ctx;

	if (atomic_exchange(&c->ready, false))
		replay_fini(&c->replay);
}

static void capture_quit(void *ctx)
{
	struct capture *c = ctx;

	if (atomic_load(&c->ready))
		replay_stop(&c->replay);
}

static const struct bringup_role capture_role = { .names = capture_names,
						  .unname = capture_unname,
						  .jail = capture_jail,
						  .sink = capture_sink,
						  .start = capture_start,
						  .stop = capture_stop,
						  .quit = capture_quit };

/* ---- the run ---- */

static void *capture_thread(void *arg)
{
	struct capture *c = arg;

	c->end = machine_run(c->rm.up.machine, replay_source(&c->replay), &c->err);
	return NULL;
}

/* True: all packets are in the file. */
static bool capture_written(struct capture *c)
{
	if (pcap_dump_flush(c->file) == 0 && !ferror(pcap_dump_file(c->file)))
		return true;
	log_error("cannot write '%s': %s", c->path, errno ? strerror(errno) : "input/output error");
	return false;
}

static int capture_run(void *ctx)
{
	struct capture *c = ctx;
	int ret;

	c->ran = true;
	if (stop_signal())
		replay_stop(&c->replay);
	errno = 0;
	ret = bringup_run_vcpu(capture_thread, c);
	if (ret)
		return ret;
	if (!capture_written(c))
		return EXIT_ENGINE;
	ret = replay_verdict(&c->replay, c->end, &c->err);
	log_info("%s: %llu packets received by the guest, %llu sent", c->path,
		 (unsigned long long)c->received, (unsigned long long)c->sent);
	if (ret < 0) {
		log_error("%s", c->err.text);
		return ret == -EILSEQ ? EXIT_DIVERGED : EXIT_USAGE;
	}
	if (log_reader_cut(c->rm.reader))
		log_warn("%s", log_reader_cut(c->rm.reader));
	if (!stop_signal())
		return 0;
	log_info("stopped before the end of the recording");
	return 128 + stop_signal();
}

int log_pcap_write(const char *path, const struct machine_opts *given, const char *file)
{
	static struct capture c;

	c = (struct capture){ .path = file, .err = ERR_INIT };
	c.rm.given = given;
	c.rm.path = path;
	return replay_machine_live(&c.rm, &capture_role, capture_run);
}
