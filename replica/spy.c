// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeps frames that arrive for the guest while its replica is not live. On a hub, or a bridge that
 * floods, a backup sees the frames that the primary gets. Frames that never became a record,
 * because the primary died too early, are given to the guest when the backup goes live, so that
 * clients need not wait for their own retransmission. TCP ignores data that it already has.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/host_clock.h"
#include "base/thread.h"
#include "replica/replica_private.h"

#define SPY_PAUSE_MS 2
#define SPY_AGE_NS   (2 * NS_PER_S)

static void spy_keep(struct replica *r, unsigned port, const uint8_t *frame, size_t len)
{
	struct spy_frame *f = &r->spy.frames[r->spy.at % SPY_FRAMES];

	if (len > SPY_FRAME_MAX)
		return;
	f->ns = host_mono_ns();
	f->port = (uint8_t)port;
	f->len = len;
	f->hash = XXH3_64bits(frame, len);
	memcpy(f->data, frame, len);
	r->spy.at++;
}

static void spy_drain(struct replica *r, unsigned port, uint8_t *frame)
{
	struct nic *nic = r->cfg.live.nic[port];

	for (unsigned i = 0; nic && i < 64; i++) {
		ssize_t n = nic_recv(nic, frame, NIC_FRAME_MAX);

		if (n <= 0)
			return;
		spy_keep(r, port, frame, (size_t)n);
	}
}

/*
 * Reads frames in groups, after short pauses, because waking for each frame would take CPU time
 * from the replay. Meanwhile the host keeps them.
 */
static void *spy_thread(void *arg)
{
	struct replica *r = arg;
	uint8_t *frame = r->spy.frame;
	bool more = true;

	while (more) {
		struct pollfd p[MACHINE_NICS + 1] = { { .fd = r->spy.wake, .events = POLLIN } };
		nfds_t n = 1;

		for (unsigned i = 0; i < MACHINE_NICS; i++) {
			struct nic *nic = r->cfg.live.nic[i];

			if (nic)
				p[n++] = (struct pollfd){ .fd = nic_fd(nic), .events = POLLIN };
		}
		poll(p, n, -1);
		poll(p, 1, SPY_PAUSE_MS);
		more = !atomic_load(&r->spy.stop); /* read before the last look at the NICs */
		for (unsigned i = 0; i < MACHINE_NICS; i++)
			spy_drain(r, i, frame);
	}
	return NULL;
}

int spy_start(struct replica *r, struct err *err)
{
	int ret;

	if (!r->spy.frames)
		r->spy.frames = calloc(SPY_FRAMES, sizeof(*r->spy.frames));
	/*
	 * The jail does not let the spy's thread get a heap from the kernel, so this is allocated
	 * here.
	 */
	if (!r->spy.frame)
		r->spy.frame = malloc(NIC_FRAME_MAX);
	r->spy.feeding = false;
	atomic_store(&r->spy.stop, false);
	r->spy.wake = eventfd(0, EFD_CLOEXEC);
	if (!r->spy.frames || !r->spy.frame || r->spy.wake < 0)
		return err_set(err, ENOMEM, "out of memory");
	ret = thread_start(&r->spy.thread, THREAD_SPY, spy_thread, r);
	if (ret)
		return err_set(err, ret, "cannot start a thread: %s", strerror(ret));
	r->spy.runs = true;
	return 0;
}

void spy_end(struct replica *r)
{
	if (!r->spy.runs)
		return;
	atomic_store(&r->spy.stop, true);
	eventfd_write(r->spy.wake, 1);
	pthread_join(r->spy.thread, NULL);
	r->spy.runs = false;
	close(r->spy.wake);
	r->spy.feed_at = r->spy.at > SPY_FRAMES ? r->spy.at - SPY_FRAMES : 0;
	r->spy.feeding = true;
}

void spy_saw(struct replica *r, const uint8_t *frame, size_t len)
{
	r->spy.seen[r->spy.seen_at++ % SEEN_FRAMES] = XXH3_64bits(frame, len);
}

static bool was_seen(const struct replica *r, uint64_t hash)
{
	for (unsigned i = 0; i < SEEN_FRAMES; i++) {
		if (r->spy.seen[i] == hash)
			return true;
	}
	return false;
}

size_t spy_feed(struct replica *r, struct input *in, size_t max)
{
	uint64_t now = host_mono_ns();
	size_t n = 0;

	for (; r->spy.feeding && r->spy.feed_at != r->spy.at && n < max; r->spy.feed_at++) {
		const struct spy_frame *f = &r->spy.frames[r->spy.feed_at % SPY_FRAMES];

		if (now - f->ns > SPY_AGE_NS || was_seen(r, f->hash) ||
		    !machine_wants_frame(r->m, f->port, f->data, f->len))
			continue;
		in[n++] = (struct input){
			.kind = INPUT_NET_RX, .port = f->port, .data = f->data, .len = f->len
		};
	}
	r->spy.feeding = r->spy.feeding && r->spy.feed_at != r->spy.at;
	return n;
}
