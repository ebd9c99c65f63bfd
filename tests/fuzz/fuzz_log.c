// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: the log reader, on raw files and behind right checksums; replay into a machine; build with
// -fsanitize=fuzzer
#include "hypervisor/cpuid.h"
#include "record/logstream.h"
#include "record/replay.h"
#include "tests/fuzz/bounded.h"
#include "tests/fuzz/log_forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct machine_config config = {
	.version = MACHINE_VERSION, .memory = MEMORY_MIN, .nnics = 1, .mac = { { 2 } }
};

#define COUNT_MAX 3000 /* how far a replay may run */

static int import(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	must(i < config.ndisks);
	return 0;
}

static void replay(struct logstream *s, struct machine *m)
{
	struct record_stream records = logstream_records(s);
	struct err err = ERR_INIT;
	struct replay r;
	enum machine_end end;

	replay_init(&r, m, &records);
	r.stop_count = machine_engine(m)->ops->count(machine_engine(m)) + COUNT_MAX;
	end = machine_run(m, replay_source(&r), &err);
	replay_verdict(&r, end, &err);
	replay_fini(&r);
}

static void read_log(const void *data, size_t n, uint8_t how)
{
	const struct output_sink sink = { 0 };
	const struct codec_record *rec;
	const struct log_mark *mark;
	struct err err = ERR_INIT;
	struct logstream s;
	struct machine *m = NULL;
	size_t marks = 0;
	char path[32];
	int fd, ret;
	struct log_reader *r;

	log_forge_open(data, n, &fd, path);
	r = log_reader_open(path, &err);
	must((r != NULL) == (err.code == 0));
	if (r) {
		logstream_init(&s, r);
		if (how & 2)
			m = machine_create(&config, bounded_engine(COUNT_MAX), NULL, &sink, &err);
		ret = how & 4 ? log_reader_marks(r, &mark, &marks, &err) : 0;
		must(ret == 0 || err.code);
		if (m && marks)
			ret = logstream_restore(&s, m, marks - 1, import, NULL, &err);
		if (m && ret == 0)
			replay(&s, m);
		while (!m && logstream_next(&s, &rec, &err) > 0)
			;
	}
	machine_destroy(m);
	log_reader_close(r);
	close(fd);
}

static void forge_header(struct log_forge *f)
{
	struct log_header h = {
		.config = config, .engine = "soft", .counter = "retired", .rate = CLOCK_RATE_ONE
	};
	struct buf body = BUF_INIT;

	log_header_save(&h, &body);
	log_forge_header(f, LOG_VERSION, &body);
	buf_free(&body);
}

/*
 * The input as a list of frames: kind, flags, length of the payload (two bytes), raw length when
 * compressed.
 */
static void forged(struct rd *in, uint8_t how)
{
	struct log_forge f = { 0 };

	forge_header(&f);
	while (rd_left(in)) {
		uint8_t kind = rd_u8(in) % LOG_KIND_END_, flags = rd_u8(in) & 1;
		size_t n = rd_u16(in);
		uint32_t raw = flags ? rd_u32(in) : 0;
		const uint8_t *p;

		if (n > rd_left(in))
			n = rd_left(in);
		if (!flags)
			raw = (uint32_t)n;
		p = rd_bytes(in, n);
		log_forge_frame(&f, kind, flags, raw, p ? p : (const uint8_t *)"", n);
	}
	read_log(f.file.data, f.file.len, how);
	buf_free(&f.file);
}

/* The first byte chooses: raw or forged, with a machine, from the last checkpoint. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	uint8_t how = rd_u8(&in);

	if (how & 1)
		forged(&in, how);
	else
		read_log(in.p, rd_left(&in), how);
	return 0;
}
