// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: the host file, which says what memory is promised to whom. What is read and written again
 * is read as the same; promises never exceed the limit.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "isolation/host_file.h"
#include "isolation/process.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line of an entry: this process's own, or of whatever the script says. */
static void put_entry(struct buf *out, struct rd *in)
{
	uint8_t how = rd_u8(in);
	char text[64];
	int n = snprintf(text, sizeof(text), "vm m%u", how >> 4);

	buf_put(out, text, (size_t)n);
	for (unsigned i = 0; i < (how & 1 ? 13u : 13u - (rd_u8(in) & 1)); i++) {
		uint64_t v = how & 2 ? rd_u8(in) : rd_u64(in);

		if (i == 0 && how & 4)
			v = (uint64_t)getpid();
		if (i == 1 && how & 4)
			v = process_start(getpid());
		n = snprintf(text, sizeof(text), " %llu", (unsigned long long)v);
		buf_put(out, text, (size_t)n);
	}
	buf_put_u8(out, '\n');
}

/* Lines in good order, and bytes of the script where one stands instead. */
static void put_text(struct buf *out, struct rd *in, uint8_t how)
{
	static char head[80];
	char text[64];

	if (!head[0]) {
		FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
		char id[37] = "unknown";

		if (f && !fgets(id, sizeof(id), f))
			strcpy(id, "unknown");
		if (f)
			fclose(f);
		snprintf(head, sizeof(head), "twinstep-host 1 %s\n", id);
	}
	buf_put(out, head, strlen(head));
	if (how & 4)
		out->data[rd_u8(in) % out->len] = rd_u8(in);
	snprintf(text, sizeof(text), "limit %llu\n", (unsigned long long)rd_u64(in));
	buf_put(out, text, strlen(text));
	while (rd_left(in) > 1 && out->len < 60000)
		put_entry(out, in);
	for (unsigned n = how >> 6; n; n--) {
		uint16_t at = rd_u16(in);

		out->data[at % out->len] = rd_u8(in);
	}
}

static void use(const char *path, struct rd *in)
{
	static struct host_state s, again;
	struct host_entry e = { .pid = getpid(),
				.start = process_start(getpid()),
				.promised = rd_u32(in),
				.name = "fuzz" };
	struct err err = ERR_INIT;

	if (host_file_read(path, &s, &err) < 0) {
		must(err.code);
		return;
	}
	must(s.n <= HOST_ENTRIES);
	must(host_file_set_limit(path, s.limit, &err) == 0 &&
	     host_file_read(path, &again, &err) == 0);
	must(s.n == again.n && s.limit == again.limit &&
	     host_file_promised(&s) == host_file_promised(&again));
	if (host_file_promise(path, &e, 1u << 30, &err) < 0)
		return;
	must(host_file_read(path, &again, &err) == 0);
	must(host_file_promised(&again) <= (again.limit ? again.limit : 1u << 30));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = RD_INIT(data, size);
	uint8_t how = rd_u8(&in);
	struct buf text = BUF_INIT;
	char path[80];

	folder_make();
	if (how & 1)
		put_text(&text, &in, how);
	else
		buf_put(&text, in.p, rd_left(&in));
	folder_file("host", text.data, text.len);
	snprintf(path, sizeof(path), "%s/host", folder.path);
	use(path, &in);
	folder_empty();
	buf_free(&text);
	return 0;
}
