// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames that a guest sends, as campaigns compare them: as they are, and with good checksums. */
#include "base/buf.h"
#include "base/log.h"
#include "record/tcp_streams.h"
#include "tests/record/tcp_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t sent, taken;

static void take(void *ctx, uint64_t stream, const uint8_t *data, size_t len)
{
	must(len && stream & TCP_STREAM && stream != UINT64_MAX);
	if (stream & 1)
		taken += len;
	else
		must(len == 1 && (*data == 'S' || *data == 'F' || *data == 'R'));
}

/* Head: whether it is IPv6's, the port, flags, length and sequence number. */
static void add(struct tcp_streams *t, struct rd *in)
{
	uint8_t frame[TCP_FRAME];
	unsigned how = rd_u8(in), flags = rd_u8(in);
	size_t n = rd_u8(in) % 64, len;
	uint32_t seq = rd_u16(in) * 0x10001u;
	const uint8_t *payload = rd_bytes(in, n);

	if (!payload)
		return;
	len = tcp_frame(frame, how & 1, how >> 1 & 3, seq, flags, (const char *)payload, n);
	must(tcp_streams_add(t, how >> 3 & 1, frame, len, take, NULL));
	sent += n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_streams *t = tcp_streams_new();
	struct rd in = RD_INIT(data, size);

	must(t != NULL);
	sent = taken = 0;
	tcp_streams_add(t, 0, data, size, take, NULL);
	taken = 0;
	while (!in.bad && rd_left(&in))
		add(t, &in);
	must(taken <= sent + size);
	tcp_streams_free(t);
	return 0;
}
