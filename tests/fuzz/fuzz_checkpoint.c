// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: the checkpoint reader, on raw files and behind right checksums, into a machine, and what
// makes changes of two files; build with -fsanitize=fuzzer
#include "record/checkpoint_diff.h"
#include "tests/fuzz/checkpoint_forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct machine_config config = {
	.version = MACHINE_VERSION, .memory = MEMORY_MIN, .ndisks = 1, .disk_sectors = { 64 }
};

static int import(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err)
{
	must(i < config.ndisks);
	return 0;
}

static int content(void *ctx, unsigned i, uint64_t offset, const uint8_t *data, uint64_t len,
		   struct err *err)
{
	must(i < config.ndisks && offset + len <= config.disk_sectors[i] * DISK_SECTOR);
	return 0;
}

static void read_all(const void *data, size_t n, struct machine *m)
{
	struct checkpoint_restore_options o = { .disk_import = import, .disk_content = content };
	struct err err = ERR_INIT;
	int fd = forge_fd(data, n), ret = checkpoint_restore_fd(fd, "fuzz", m, &o, NULL, &err);

	must(ret == -err.code);
	if (!m) {
		const struct checkpoint_file same = { fd, "fuzz" }, to = { forge_fd("", 0), "to" };
		struct checkpoint_info info;

		err.code = 0;
		ret = checkpoint_diff(&same, &same, &to, &info, &err);
		must(ret == -err.code && (ret || !info.pages));
		close(to.fd);
	}
	close(fd);
}

/* The input as a list of sections: kind, flags, index, length of the payload (two bytes), raw
 * length when compressed.
 */
static void forged(struct rd *in, struct machine *m)
{
	struct buf body = BUF_INIT;
	struct forge f = { 0 };

	forge_body(&body, &config, "retired", 0);
	forge_header(&f, CHECKPOINT_VERSION, &body);
	while (rd_left(in)) {
		uint8_t kind = rd_u8(in) % 6, flags = rd_u8(in) & 3, index = rd_u8(in) & 1;
		size_t n = rd_u16(in);
		uint32_t raw = flags & CHECKPOINT_ZSTD ? rd_u32(in) : (uint32_t)n;
		const uint8_t *p;

		if (n > rd_left(in))
			raw = (uint32_t)(n = rd_left(in));
		p = rd_bytes(in, n);
		forge_section(&f, kind, flags, index, raw, p ? p : (const uint8_t *)"", n);
	}
	read_all(f.file.data, f.file.len, m);
	buf_free(&f.file);
	buf_free(&body);
}

/* The first byte chooses: raw or forged, checked only or restored. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	uint8_t how = rd_u8(&in);
	struct machine_config diskless = config;
	struct machine *m = NULL;

	diskless.ndisks = 0;
	if (how & 2)
		m = machine_create(&diskless, &soft_engine_ops, NULL, &(struct output_sink){ 0 },
				   NULL);
	if (how & 1)
		forged(&in, m);
	else
		read_all(in.p, rd_left(&in), m);
	if (m)
		machine_destroy(m);
	return 0;
}
