// SPDX-License-Identifier: GPL-2.0-or-later
/* What the guest received is in the log; what it sent comes out of it again when it is replayed. */
#include "tools/log_pcap.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "record/replay.h"
#include "tools/cmd.h"
#include "tools/log_text.h"
#include "tools/replay_machine.h"
#include "tools/stop.h"

#define SNAPLEN 65536

struct capture {
	struct replay_machine rm;
	struct replay replay;
	atomic_bool ready;
	pcap_t *pcap;
	pcap_dumper_t *file;
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

static int stream_next(void *ctx, const struct codec_record **rec, struct err *err)
{
	return logstream_next(&((struct capture *)ctx)->rm.stream, rec, err);
}

static const struct replay_end *stream_end(void *ctx)
{
	struct capture *c = ctx;

	return c->rm.stream.has_end ? &c->rm.stream.end : NULL;
}

static int capture_open(struct capture *c, const char *path, const struct machine_opts *where, const char *file,
			struct err *err)
{
	struct record_stream stream = { .ctx = c, .next = stream_next, .end = stream_end, .applied = capture_received };
	struct output_sink sink = { .ctx = c, .emit = capture_sent };
	const struct log_header *h;
	int ret = replay_machine_open(&c->rm, path, where, err);

	if (ret == 0)
		ret = replay_machine_create(&c->rm, NULL, &sink, err);
	if (ret < 0)
		return ret;
	h = log_reader_header(c->rm.reader);
	c->zero_ns = h->wall_ns - log_start_ns(h);
	c->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN, PCAP_TSTAMP_PRECISION_NANO);
	if (!c->pcap)
		return err_set(err, ENOMEM, "out of memory");
	c->file = pcap_dump_open(c->pcap, file);
	if (!c->file)
		return err_set(err, EIO, "cannot write '%s': %s", file, pcap_geterr(c->pcap));
	replay_init(&c->replay, c->rm.machine, &stream);
	atomic_store(&c->ready, true);
	return 0;
}

static int capture_run(struct capture *c, const char *file)
{
	struct err err = ERR_INIT;
	enum machine_end end = machine_run(c->rm.machine, replay_source(&c->replay), &err);
	int ret = replay_verdict(&c->replay, end, &err);

	if (pcap_dump_flush(c->file) < 0) {
		log_error("cannot write '%s': %s", file, strerror(errno));
		return EXIT_ENGINE;
	}
	log_info("%s: %llu packets received by the guest, %llu sent", file, (unsigned long long)c->received,
		 (unsigned long long)c->sent);
	if (ret < 0) {
		log_error("%s", err.text);
		return ret == -EILSEQ ? EXIT_DIVERGED : EXIT_USAGE;
	}
	if (log_reader_cut(c->rm.reader))
		log_warn("%s", log_reader_cut(c->rm.reader));
	return stop_signal() ? 128 + stop_signal() : 0;
}

static void capture_stop(void *ctx)
{
	struct capture *c = ctx;

	if (atomic_load(&c->ready))
		replay_stop(&c->replay);
}

int log_pcap_write(const char *path, const struct machine_opts *where, const char *file)
{
	static struct capture c;
	struct err err = ERR_INIT;
	int status = EXIT_USAGE;

	stop_on_signals(capture_stop, &c);
	if (capture_open(&c, path, where, file, &err) < 0)
		log_error("%s", err.text);
	else
		status = capture_run(&c, file);
	stop_restore();
	if (atomic_exchange(&c.ready, false))
		replay_fini(&c.replay);
	if (c.file)
		pcap_dump_close(c.file);
	if (c.pcap)
		pcap_close(c.pcap);
	c.file = NULL;
	replay_machine_close(&c.rm);
	return status;
}
