// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/live.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/thread.h"
#include "hypervisor/clock.h"
#include "record/console_out.h"
#include "record/panic_watch.h"

#define NS_PER_S	1000000000ull
#define SLICE_NS	5000000ull /* the vCPU comes by at least this often, in virtual time */
#define DRIFT_NS	100000ull  /* virtual time is re-anchored when it is off by more */
#define CATCH_UP	20	   /* 1/20 of the passing time is added to make up for an outage */
#define FRAMES_PER_SYNC 64
#define ARENA_SIZE	(FRAMES_PER_SYNC * 1600 + NIC_FRAME_MAX + 8192)
#define CONSOLE_CHUNK	1024
#define NIC_LOOK_MS	1000 /* between looks for an interface that is gone */
#define NIC_MAC_MS	100  /* between two changes of a NIC's address that the host follows */
#define OUTPUT_MS	100  /* how long output may wait for a sync point */
#define SOURCES		(MACHINE_NICS + MACHINE_CONSOLES)

/* Descriptor of one NIC or console in the poller's set. */
struct live_source_fd {
	int fd;		   /* as last added, or -1 */
	atomic_bool armed; /* the poller waits for it */
	bool always; /* epoll does not take it (a regular file): ready whenever there is room */
	bool ended;  /* end of input */
};

struct live {
	struct live_config cfg;
	struct machine *m;
	struct input_source source;

	/* the poller */
	pthread_t poller;
	bool poller_started;
	int epfd, wakefd, pollerfd; /* the last two wake the vCPU and the poller */
	atomic_bool stop, ready, idle;
	atomic_uint_fast64_t poller_beat_ns; /* time of the poller's last pass through its loop */
	atomic_uint_fast64_t mac[MACHINE_NICS]; /* the guest's, as of the last sync point */
	/* the poller's own: the address that the host side knows, and when it may ask again */
	uint64_t mac_known[MACHINE_NICS], next_ask[MACHINE_NICS];
	struct live_source_fd src[SOURCES]; /* NICs first, then consoles */

	/* time */
	uint64_t mono_base; /* monotonic ns at virtual time 0 */
	uint64_t mono_start;
	uint64_t busy_mono; /* monotonic ns and count where the present busy stretch began */
	uint64_t busy_count;
	uint32_t rate;
	uint32_t base_rate;   /* of virtual time that does not follow the host */
	uint64_t next_epoch;  /* virtual ns */
	uint64_t next_digest; /* count */

	/* the sync point under construction */
	bool started;
	uint64_t seq;
	struct input in[SYNC_INPUTS_MAX];
	size_t nin;
	uint8_t arena[ARENA_SIZE];
	size_t arena_used;
	char words[160]; /* to the guest's agent, at first */

	struct console_out out;
	atomic_bool gathered; /* output waits for a sync point */
	struct live_stats stats;
};

/* ---- outputs ---- */

static int live_send_frame(struct live *l, const struct output *out, uint64_t deadline_ns)
{
	struct nic *nic = out->port < MACHINE_NICS ? l->cfg.nic[out->port] : NULL;
	int r;

	if (!nic)
		return 0;
	r = deadline_ns == UINT64_MAX ? nic_send(nic, out->data, out->len)
				      : nic_send_before(nic, out->data, out->len, deadline_ns);
	if (r == -ETIME)
		return r;
	l->stats.tx_packets++;
	if (r < 0)
		l->stats.tx_errors++;
	if (r < 0 && r != -EAGAIN)
		l->stats.nic_errors[out->port]++;
	return 0;
}

int live_emit(struct live *l, const struct output *out, uint64_t deadline_ns)
{
	if (out->kind == OUTPUT_NET_TX)
		return live_send_frame(l, out, deadline_ns);
	l->stats.console_out += out->len;
	console_out_write(&l->out, out);
	return 0;
}

/* Writes out the console bytes that the sink has gathered. vCPU thread. */
static void live_flush_outputs(struct live *l)
{
	atomic_store_explicit(&l->gathered, false, memory_order_relaxed);
	console_out_flush(&l->out);
}

/* Frames at once; bytes of consoles at sync points, or when there are many. */
static void live_sink_emit(void *ctx, const struct output *out)
{
	struct live *l = ((struct live_sink *)ctx)->live;

	panic_watch_output(((struct live_sink *)ctx)->panic, out);
	if (!l)
		return;
	if (out->kind == OUTPUT_NET_TX) {
		live_send_frame(l, out, UINT64_MAX);
		return;
	}
	if (out->kind != OUTPUT_PANIC) { /* a panic also needs a sync point soon */
		l->stats.console_out += out->len;
		console_out_gather(&l->out, out);
	}
	atomic_store_explicit(&l->gathered, true, memory_order_relaxed);
}

struct output_sink live_sink_ops(struct live_sink *s)
{
	return (struct output_sink){ .ctx = s, .emit = live_sink_emit };
}

void live_sink_attach(struct live_sink *s, struct live *l)
{
	s->live = l;
}

/* ---- waiting for the host ---- */

static int live_fd_of(const struct live *l, size_t i)
{
	if (i < MACHINE_NICS)
		return l->cfg.nic[i] ? nic_fd(l->cfg.nic[i]) : -1;
	i -= MACHINE_NICS;
	return l->cfg.console[i] ? l->cfg.console[i]->fd(l->cfg.console[i]->ctx) : -1;
}

/* Makes the poller watch source i until that is ready once. */
static void live_arm(struct live *l, size_t i)
{
	struct live_source_fd *s = &l->src[i];
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u32 = (uint32_t)i };
	int fd = s->ended ? -1 : live_fd_of(l, i);

	if (s->fd == fd && (fd < 0 || s->always || atomic_load(&s->armed)))
		return;
	if (s->fd >= 0 && s->fd != fd)
		epoll_ctl(l->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	s->fd = fd;
	s->always = false;
	atomic_store(&s->armed, fd >= 0);
	if (fd < 0)
		return;
	if (epoll_ctl(l->epfd, EPOLL_CTL_MOD, fd, &ev) == 0)
		return;
	if (errno == ENOENT && epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) == 0)
		return;
	s->always = errno == EPERM;
	atomic_store(&s->armed, false);
}

/* Stops the poller's watch of source i, while the vCPU thread watches it itself. */
static void live_disarm(struct live *l, size_t i)
{
	struct live_source_fd *s = &l->src[i];
	struct epoll_event ev = { .events = EPOLLONESHOT, .data.u32 = (uint32_t)i };

	if (atomic_exchange(&s->armed, false))
		epoll_ctl(l->epfd, EPOLL_CTL_MOD, s->fd, &ev);
}

static void live_poke(struct live *l)
{
	uint64_t one = 1;

	machine_kick(l->m);
	if (atomic_load(&l->idle) && write(l->wakefd, &one, sizeof(one)) < 0)
		return;
}

static void live_beat(struct live *l)
{
	atomic_store_explicit(&l->poller_beat_ns, host_mono_ns(), memory_order_relaxed);
}

/*
 * Asks about NIC `port` if its interface was lost or its address is a new one. Milliseconds until
 * the next question may be due.
 */
static int live_ask_for_nic(struct live *l, unsigned port, uint64_t now)
{
	struct nic *nic = l->cfg.nic[port];
	uint64_t want = atomic_load(&l->mac[port]);
	bool lost = nic && nic_is_lost(nic);
	int r;

	if (!nic || !l->cfg.attach || (!lost && want == l->mac_known[port]))
		return NIC_LOOK_MS;
	if (now < l->next_ask[port])
		return (int)((l->next_ask[port] - now) / 1000000) + 1;
	/*
	 * Another process may do this and take a while; a beat for each NIC keeps that from looking
	 * like a hang.
	 */
	live_beat(l);
	r = l->cfg.attach(l->cfg.attach_ctx, port, (const uint8_t *)&want);
	live_beat(l);
	if (r == 0)
		l->mac_known[port] = want;
	nic_found(nic, r);
	if (lost && r == 0) {
		atomic_store(&l->ready, true);
		live_poke(l);
	}
	l->next_ask[port] = now + (r == 0 ? NIC_MAC_MS : NIC_LOOK_MS) * 1000000ull;
	return r == 0 ? NIC_MAC_MS : NIC_LOOK_MS;
}

static int live_ask_for_nics(struct live *l)
{
	int wait = NIC_LOOK_MS;

	for (unsigned i = 0; i < MACHINE_NICS; i++) {
		int ms = live_ask_for_nic(l, i, host_mono_ns());

		wait = ms < wait ? ms : wait;
	}
	return wait;
}

/* Takes the poller's events. True: a source is ready, and the vCPU has to look. */
static bool live_note_ready(struct live *l, const struct epoll_event *ev, int n)
{
	bool any = false;
	uint64_t drained;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 < SOURCES)
			atomic_store(&l->src[ev[i].data.u32].armed, false);
		else if (read(l->pollerfd, &drained, sizeof(drained)) < 0)
			continue;
		any |= ev[i].data.u32 < SOURCES;
	}
	return any;
}

/* Longest wait, in ms: an output may be waiting, or the watch over this thread for its beat. */
static int wait_at_most(const struct live *l, int ms)
{
	uint64_t beat_ms = l->cfg.idle_max_ns / 1000000;

	if (l->cfg.clock == LIVE_CLOCK_VIRTUAL && ms > OUTPUT_MS)
		ms = OUTPUT_MS;
	return beat_ms && (uint64_t)ms > beat_ms ? (int)beat_ms : ms;
}

uint64_t live_poller_beat(const struct live *l)
{
	return atomic_load(&l->stop)
		       ? host_mono_ns()
		       : atomic_load_explicit(&l->poller_beat_ns, memory_order_relaxed);
}

/*
 * The poller's thread: waits for sources and kicks the vCPU. It also kicks it now and then where
 * virtual time does not follow the host's: a guest without timers may come to no sync point for as
 * long as it likes, and a kick lets its outputs out.
 */
static void *live_poller(void *arg)
{
	struct live *l = arg;
	struct epoll_event ev[SOURCES + 1];
	int wait = wait_at_most(l, NIC_LOOK_MS);

	while (!atomic_load(&l->stop)) {
		int n;

		live_beat(l);
		n = epoll_wait(l->epfd, ev, SOURCES + 1, wait);

		if (n < 0 && errno != EINTR)
			break;
		if (live_note_ready(l, ev, n)) {
			atomic_store(&l->ready, true);
			live_poke(l);
		}
		if (n == 0 && atomic_load_explicit(&l->gathered, memory_order_relaxed))
			machine_kick(l->m);
		wait = live_ask_for_nics(l);
		wait = wait_at_most(l, wait);
	}
	return NULL;
}

void live_wake(struct live *l)
{
	uint64_t one = 1;

	atomic_store(&l->ready, true);
	machine_kick(l->m);
	if (write(l->wakefd, &one, sizeof(one)) < 0)
		return;
}

void live_wake_poller(struct live *l)
{
	uint64_t one = 1;

	if (write(l->pollerfd, &one, sizeof(one)) < 0)
		return;
}

void live_stop(struct live *l)
{
	atomic_store(&l->stop, true);
	live_wake(l);
	live_wake_poller(l);
}

/*
 * Blocks for at most ns (UINT64_MAX: without limit), until a source is ready or live_wake(). NICs
 * wake this thread directly, consoles through the poller.
 */
static void live_wait(struct live *l, uint64_t ns)
{
	struct pollfd p[1 + MACHINE_NICS] = { { .fd = l->wakefd, .events = POLLIN } };
	struct timespec ts = host_timespec(ns);
	uint64_t start = host_mono_ns(), drained;

	for (size_t i = 0; i < MACHINE_NICS; i++) {
		p[1 + i] = (struct pollfd){ .fd = l->src[i].fd, .events = POLLIN };
		live_disarm(l, i);
	}
	atomic_store(&l->idle, true);
	if (!atomic_load(&l->ready) && !atomic_load(&l->stop)) {
		if (ppoll(p, 1 + MACHINE_NICS, ns == UINT64_MAX ? NULL : &ts, NULL) > 0)
			atomic_store(&l->ready, true);
	}
	atomic_store(&l->idle, false);
	if ((p[0].revents & POLLIN) && read(l->wakefd, &drained, sizeof(drained)) < 0)
		drained = 0;
	for (size_t i = 0; i < MACHINE_NICS && !atomic_load(&l->ready); i++)
		live_arm(l, i);
	l->stats.idle_ns += host_mono_ns() - start;
}

/* ---- collecting inputs ---- */

static struct input *live_add(struct live *l, enum input_kind kind)
{
	struct input *in = &l->in[l->nin++];

	*in = (struct input){ .kind = kind };
	return in;
}

/* Room for one more input, with some kept for the hooks' and the digest. */
static bool live_has_room(const struct live *l, size_t bytes)
{
	return l->nin < SYNC_INPUTS_MAX - 32 && l->arena_used + bytes <= ARENA_SIZE;
}

static bool live_collect_nic(struct live *l, size_t port)
{
	struct nic *nic = l->cfg.nic[port];

	for (unsigned i = 0; nic && i < FRAMES_PER_SYNC; i++) {
		uint8_t *p = l->arena + l->arena_used;
		struct input *in;
		ssize_t n;

		if (!live_has_room(l, NIC_FRAME_MAX))
			return true;
		n = nic_recv(nic, p, NIC_FRAME_MAX);
		if (n < 0 && n != -EAGAIN)
			l->stats.nic_errors[port]++;
		if (n <= 0)
			return false;
		l->stats.rx_packets++;
		if (!machine_wants_frame(l->m, (unsigned)port, p, (size_t)n)) {
			l->stats.rx_dropped_host++;
			continue;
		}
		in = live_add(l, INPUT_NET_RX);
		in->port = (uint8_t)port;
		in->data = p;
		in->len = (size_t)n;
		l->arena_used += (size_t)n;
	}
	return nic != NULL;
}

static bool live_collect_console(struct live *l, size_t port)
{
	struct live_source_fd *s = &l->src[MACHINE_NICS + port];
	struct live_console *c = l->cfg.console[port];
	size_t room = c && !s->ended ? machine_console_room(l->m, (unsigned)port) : 0;
	uint8_t *p = l->arena + l->arena_used;
	struct input *in;
	ssize_t n;

	if (!room || !live_has_room(l, CONSOLE_CHUNK))
		return false;
	n = c->read(c->ctx, p, room < CONSOLE_CHUNK ? room : CONSOLE_CHUNK);
	if (n == 0)
		s->ended = true;
	if (n <= 0)
		return false;
	l->stats.console_in += (uint64_t)n;
	in = live_add(l, INPUT_CONSOLE);
	in->port = (uint8_t)port;
	in->data = p;
	in->len = (size_t)n;
	l->arena_used += (size_t)n;
	return false;
}

static bool live_any_always(const struct live *l)
{
	for (size_t i = 0; i < SOURCES; i++) {
		if (l->src[i].always && !l->src[i].ended)
			return true;
	}
	return false;
}

/* Everything that waits on the host side becomes an input; the rest is watched again. */
static void live_collect(struct live *l)
{
	bool more = false;

	if (!atomic_exchange(&l->ready, false) && !live_any_always(l))
		return;
	for (size_t i = 0; i < MACHINE_NICS; i++)
		more |= live_collect_nic(l, i);
	for (size_t i = 0; i < MACHINE_CONSOLES; i++)
		live_collect_console(l, i);
	for (size_t i = 0; i < SOURCES; i++) {
		bool full = i >= MACHINE_NICS &&
			    !machine_console_room(l->m, (unsigned)(i - MACHINE_NICS));

		if (!full)
			live_arm(l, i);
	}
	if (more) {
		atomic_store(&l->ready, true);
		machine_kick(l->m);
	}
}

/* A console that had no room is watched again as soon as the guest has read. */
static void live_rearm_consoles(struct live *l)
{
	for (size_t i = 0; i < MACHINE_CONSOLES; i++) {
		struct live_source_fd *s = &l->src[MACHINE_NICS + i];

		if (l->cfg.console[i] && !s->ended && machine_console_room(l->m, (unsigned)i))
			live_arm(l, MACHINE_NICS + i);
	}
}

/* ---- time ---- */

/*
 * The host's time as the guest's virtual time has to follow it. An outage is made up slowly: a
 * clock that jumped would make all timers and timeouts fire at once.
 */
static uint64_t live_host_now(const struct live *l)
{
	uint64_t now = host_mono_ns(), caught_up = (now - l->mono_start) / CATCH_UP;

	return now - l->mono_base + (caught_up < l->cfg.behind_ns ? caught_up : l->cfg.behind_ns);
}

/*
 * Learns the real time of an instruction from the stretch since the last look. A quarter of what is
 * new goes into the rate at a time.
 */
static void live_learn_rate(struct live *l, uint64_t count)
{
	uint64_t now = host_mono_ns(), n = count - l->busy_count, r;

	if (n < 20000)
		return;
	r = (uint64_t)(((unsigned __int128)(now - l->busy_mono) << CLOCK_RATE_SHIFT) / n);
	if (r < l->base_rate / 16)
		r = l->base_rate / 16;
	if (r > l->base_rate * 64ull)
		r = l->base_rate * 64ull;
	if (r > CLOCK_RATE_MAX)
		r = CLOCK_RATE_MAX;
	l->rate = (uint32_t)((l->rate * 3ull + r) / 4);
	l->busy_mono = now;
	l->busy_count = count;
}

static void live_busy_from_here(struct live *l, uint64_t count)
{
	l->busy_mono = host_mono_ns();
	l->busy_count = count;
}

/* The anchor is the first input of its sync point. */
static void live_set_anchor(struct live *l, uint64_t ns, uint32_t rate)
{
	memmove(l->in + 1, l->in, l->nin * sizeof(l->in[0]));
	l->nin++;
	l->in[0] = (struct input){ .kind = INPUT_ANCHOR, .a = ns, .b = rate };
}

/*
 * Follows the host's clock: forward by an anchor, back by running slower until the host has caught
 * up.
 */
static void live_anchor_host(struct live *l, uint64_t count)
{
	uint64_t v = machine_now(l->m), h = live_host_now(l);
	uint32_t slow = l->rate - l->rate / 8;

	live_learn_rate(l, count);
	if (h > v + DRIFT_NS)
		live_set_anchor(l, h, l->rate);
	else if (v > h + DRIFT_NS && machine_clock(l->m)->rate > slow)
		live_set_anchor(l, v, slow ? slow : 1);
}

/* ---- the source ---- */

static uint64_t live_count(const struct live *l)
{
	struct engine *e = machine_engine(l->m);

	return e->ops->count(e);
}

static uint64_t live_slice_ns(const struct live *l)
{
	const struct live_hooks *h = &l->cfg.hooks;
	uint64_t ns = h->slice_ns ? h->slice_ns(h->ctx) : SLICE_NS;

	return ns < SLICE_NS ? ns : SLICE_NS;
}

static void live_until(void *ctx, struct machine *m, struct landmark *until)
{
	struct live *l = ctx;
	struct clock *clk = machine_clock(m);
	uint64_t count = live_count(l), deadline = machine_next_deadline(m), slice,
		 limit = UINT64_MAX;

	/* Inputs enter, and are recorded, wherever the machine has come to. */
	*until = (struct landmark){ .count = count, .may_pass = true };
	if (!l->started)
		return;
	if (deadline != CLOCK_NEVER)
		limit = clock_count_at(clk, deadline);
	slice = clock_count_at(clk, clock_ns_at(clk, count) + live_slice_ns(l));
	if (slice < limit && l->cfg.clock == LIVE_CLOCK_HOST)
		limit = slice;
	if (l->next_digest && l->next_digest < limit)
		limit = l->next_digest;
	if (l->next_epoch && clock_count_at(clk, l->next_epoch) < limit)
		limit = clock_count_at(clk, l->next_epoch);
	until->count = limit < count ? count : limit;
}

static bool live_has_sources(const struct live *l)
{
	for (size_t i = 0; i < SOURCES; i++) {
		if (!l->src[i].ended && live_fd_of(l, i) >= 0)
			return true;
	}
	return l->cfg.hooks.waits;
}

/*
 * The vCPU is in HLT and there is nothing to do: waits until an input, a wake-up or the next timer;
 * false when none of them can ever come. In virtual time the next timer is due at once, so this
 * waits for inputs only.
 */
static bool live_idle(struct live *l)
{
	uint64_t deadline = machine_next_deadline(l->m), now = live_host_now(l), ns = UINT64_MAX;

	if (deadline == CLOCK_NEVER && !live_has_sources(l))
		return false;
	live_rearm_consoles(l);
	if (deadline != CLOCK_NEVER)
		ns = deadline > now ? deadline - now : 0;
	if (l->cfg.idle_max_ns && l->cfg.idle_max_ns < ns)
		ns = l->cfg.idle_max_ns;
	if (l->cfg.hooks.idle)
		l->cfg.hooks.idle(l->cfg.hooks.ctx);
	if (ns && !(live_any_always(l) && machine_console_room(l->m, 0)))
		live_wait(l, ns);
	live_busy_from_here(l, live_count(l));
	return true;
}

static uint64_t live_nic_mac(const struct live *l, unsigned port)
{
	uint64_t mac = 0;

	memcpy(&mac, machine_nic_mac(l->m, port), 6);
	return mac;
}

/* Tells the poller the guest's present MAC addresses, so that the host side follows a change. */
static void live_note_macs(struct live *l)
{
	for (unsigned i = 0; i < machine_get_config(l->m)->nnics; i++) {
		uint64_t mac = live_nic_mac(l, i);

		if (mac == atomic_load(&l->mac[i]))
			continue;
		atomic_store(&l->mac[i], mac);
		live_wake_poller(l);
	}
}

static void live_anchor(struct live *l, enum sync_reason why, uint64_t count)
{
	uint64_t deadline = machine_next_deadline(l->m);

	if (l->cfg.clock == LIVE_CLOCK_HOST)
		live_anchor_host(l, count);
	else if (why == SYNC_IDLE && deadline != CLOCK_NEVER && deadline > machine_now(l->m))
		live_set_anchor(l, deadline, l->base_rate);
}

static void live_add_digest(struct live *l, uint64_t now, uint64_t count)
{
	bool due = false;

	/* A checkpoint begins an epoch: nothing is dirty in a restored machine. */
	for (size_t i = 0; i < l->nin; i++)
		due |= l->in[i].kind == INPUT_FLUSH_TLB;
	if (l->next_epoch && now >= l->next_epoch) {
		l->next_epoch = now - now % l->cfg.epoch_ns + l->cfg.epoch_ns;
		due = true;
	}
	if (l->next_digest && count >= l->next_digest) {
		l->next_digest = count - count % l->cfg.digest_count + l->cfg.digest_count;
		due = true;
	}
	if (due)
		live_add(l, INPUT_DIGEST);
}

/*
 * An agent that was frozen does little else before it thaws. A byte 0xff makes its parser forget
 * what it was told by halves. Its answers are for nobody.
 */
static void live_tell_agent(struct live *l)
{
	static const char thaw[] = "\377{\"execute\":\"guest-fsfreeze-thaw\"}\n";
	struct input *in;
	int n;

	if (l->cfg.agent == LIVE_AGENT_LEFT || !machine_get_config(l->m)->agent)
		return;
	n = snprintf(l->words, sizeof(l->words), "%s", thaw);
	if (l->cfg.agent == LIVE_AGENT_TIME)
		n += snprintf(l->words + n, sizeof(l->words) - (size_t)n,
			      "{\"execute\":\"guest-set-time\",\"arguments\":{\"time\":%" PRIu64
			      "}}\n",
			      host_clock_ns(CLOCK_REALTIME));
	if ((size_t)n > machine_console_room(l->m, CONSOLE_AGENT))
		return; /* nobody has the port open */
	in = live_add(l, INPUT_CONSOLE);
	in->port = CONSOLE_AGENT;
	in->data = (const uint8_t *)l->words;
	in->len = (size_t)n;
}

/*
 * First sync point: the generator's seed and where virtual time starts. A resumed machine has both,
 * and must go on as it would have without the interruption.
 */
static void live_begin(struct live *l, uint64_t count)
{
	uint64_t now = machine_now(l->m);
	struct input *in;

	l->started = true;
	l->mono_start = host_mono_ns();
	l->mono_base = l->mono_start - now;
	live_busy_from_here(l, count);
	if (!l->cfg.resumed || l->cfg.reseed) {
		in = live_add(l, INPUT_SEED);
		in->data = l->cfg.seed;
		in->len = sizeof(l->cfg.seed);
	}
	for (unsigned i = 0; l->cfg.moved && i < machine_get_config(l->m)->nnics; i++) {
		in = live_add(l, INPUT_CONTROL);
		in->port = (uint8_t)i;
		in->a = CONTROL_ANNOUNCE;
	}
	live_tell_agent(l);
	if (!l->cfg.resumed)
		live_set_anchor(l, now, l->cfg.clock == LIVE_CLOCK_HOST ? l->rate : l->base_rate);
	if (l->cfg.epoch_ns)
		l->next_epoch = now - now % l->cfg.epoch_ns + l->cfg.epoch_ns;
	if (l->cfg.digest_count)
		l->next_digest = count - count % l->cfg.digest_count + l->cfg.digest_count;
}

/* Everything that enters here but the anchor and the digest. */
static void live_gather(struct live *l)
{
	const struct live_hooks *h = &l->cfg.hooks;
	struct input panic;

	l->nin = 0;
	l->arena_used = 0;
	live_collect(l);
	if (panic_watch_take(l->cfg.panic, &panic) && panic.kind)
		*live_add(l, panic.kind) = panic;
	if (h->inputs)
		l->nin += h->inputs(h->ctx, l->m, l->in + l->nin, SYNC_INPUTS_MAX - 12 - l->nin);
}

static bool live_wants_sync(const struct live *l)
{
	const struct live_hooks *h = &l->cfg.hooks;

	return h->wants_sync && h->wants_sync(h->ctx);
}

/*
 * True when there is a reason for a sync point: an input, a timer that is due by the clock that
 * counts, a wish.
 */
static bool live_something(const struct live *l, enum sync_reason why)
{
	uint64_t now = machine_now(l->m), deadline = machine_next_deadline(l->m);

	if (l->cfg.clock == LIVE_CLOCK_HOST && why == SYNC_IDLE && live_host_now(l) > now)
		now = live_host_now(l);
	if (l->cfg.clock == LIVE_CLOCK_VIRTUAL && why == SYNC_IDLE && deadline != CLOCK_NEVER)
		now = deadline;
	return l->nin || deadline <= now || live_wants_sync(l);
}

/* Virtual time at the sync point under construction. */
static uint64_t live_time_here(const struct live *l)
{
	return l->nin && l->in[0].kind == INPUT_ANCHOR ? l->in[0].a : machine_now(l->m);
}

/* Leaves room for the digest. False: the run ends instead. */
static bool live_add_disk_errors(struct live *l)
{
	const struct live_hooks *h = &l->cfg.hooks;
	const struct input *in = l->in + l->nin;
	size_t n = machine_disk_errors(l->m, live_time_here(l), l->in + l->nin,
				       SYNC_INPUTS_MAX - 1 - l->nin);

	l->nin += n;
	return !n || !h->disk_error || !h->disk_error(h->ctx, in->port, (int)in->b);
}

static enum sync_verdict live_next(void *ctx, struct machine *m, enum sync_reason why,
				   const struct landmark *at, struct sync_point *sp)
{
	struct live *l = ctx;
	bool first = !l->started, something;

	live_flush_outputs(l);
	live_note_macs(l);
	if (l->cfg.hooks.pace)
		l->cfg.hooks.pace(l->cfg.hooks.ctx, m);
	do {
		if (atomic_load(&l->stop))
			return SYNC_END;
		live_gather(l);
		something = live_something(l, why);
		if (!something && !first && why == SYNC_IDLE && !live_idle(l))
			return SYNC_END;
	} while (!something && !first && why == SYNC_IDLE);
	if (first)
		live_begin(l, at->count);
	else
		live_anchor(l, why, at->count);
	if (!live_add_disk_errors(l))
		return SYNC_END;
	live_add_digest(l, live_time_here(l), at->count);
	if (!something && !l->nin)
		return SYNC_AGAIN;
	l->stats.sync_points++;
	*sp = (struct sync_point){ .seq = l->seq++, .at = *at, .input = l->in, .n = l->nin };
	return SYNC_APPLY;
}

/* Called while no input can enter: serves the host side as far as possible without one. */
static bool live_spins(void *ctx, struct machine *m)
{
	struct live *l = ctx;
	const struct live_hooks *h = &l->cfg.hooks;

	live_flush_outputs(l);
	return atomic_load(&l->stop) || (h->spins && h->spins(h->ctx, m));
}

static bool live_applied(void *ctx, struct machine *m, const struct sync_point *sp, uint64_t digest)
{
	struct live *l = ctx;

	return !l->cfg.hooks.applied || l->cfg.hooks.applied(l->cfg.hooks.ctx, m, sp, digest);
}

const struct input_source *live_source(struct live *l)
{
	return &l->source;
}

static int live_start_poller(struct live *l, struct err *err)
{
	struct epoll_event wake = { .events = EPOLLIN, .data.u32 = SOURCES };
	int ret;

	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->pollerfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epfd < 0 || l->wakefd < 0 || l->pollerfd < 0 ||
	    epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->pollerfd, &wake) < 0)
		return err_set(err, errno, "cannot set up event polling: %s", strerror(errno));
	for (size_t i = 0; i < SOURCES; i++)
		live_arm(l, i);
	atomic_store(&l->poller_beat_ns, host_mono_ns());
	ret = thread_start(&l->poller, THREAD_POLLER, live_poller, l);
	if (ret)
		return err_set(err, ret, "cannot start the poller thread: %s", strerror(ret));
	l->poller_started = true;
	return 0;
}

/* Chooses the first rate, in virtual time a count: an instruction, or a stretch between exits. */
static void live_choose_rate(struct live *l)
{
	l->base_rate = machine_engine(l->m)->ops->count_ns << CLOCK_RATE_SHIFT;
	l->rate = l->base_rate == CLOCK_RATE_ONE ? 4 * CLOCK_RATE_ONE : l->base_rate;
}

struct live *live_create(const struct live_config *config, struct machine *m, struct err *err)
{
	struct live *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	l->cfg = *config;
	for (size_t i = 0; i < MACHINE_CONSOLES; i++)
		l->out.console[i] = config->console[i];
	l->out.console[CONSOLE_OUT_DEBUG] = config->debug;
	l->out.console[CONSOLE_OUT_FIRMWARE] = config->firmware;
	l->m = m;
	l->seq = config->next_seq ? config->next_seq : 1;
	live_choose_rate(l);
	l->epfd = l->wakefd = l->pollerfd = -1;
	for (unsigned i = 0; i < machine_get_config(m)->nnics; i++) {
		memcpy(&l->mac_known[i], machine_get_config(m)->mac[i], 6);
		atomic_store(&l->mac[i], l->mac_known[i]);
	}
	for (size_t i = 0; i < SOURCES; i++)
		l->src[i].fd = -1;
	l->source = (struct input_source){ .ctx = l,
					   .until = live_until,
					   .next = live_next,
					   .applied = live_applied,
					   .spins = live_spins };
	if (live_start_poller(l, err) < 0) {
		live_destroy(l);
		return NULL;
	}
	return l;
}

void live_destroy(struct live *l)
{
	if (!l)
		return;
	if (l->poller_started) {
		live_stop(l);
		pthread_join(l->poller, NULL);
	}
	live_flush_outputs(l);
	if (l->epfd >= 0)
		close(l->epfd);
	if (l->wakefd >= 0)
		close(l->wakefd);
	if (l->pollerfd >= 0)
		close(l->pollerfd);
	free(l);
}

void live_get_stats(const struct live *l, struct live_stats *s)
{
	*s = l->stats;
	for (size_t i = 0; i < MACHINE_NICS; i++) {
		s->nic_losses += l->cfg.nic[i] ? atomic_load(&l->cfg.nic[i]->losses) : 0;
		s->rx_unusable += l->cfg.nic[i] ? atomic_load(&l->cfg.nic[i]->unusable) : 0;
	}
}
