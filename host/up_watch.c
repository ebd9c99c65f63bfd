// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/up_watch.h"

#include <jansson.h>
#include <signal.h>
#include <unistd.h>

#include "base/host_clock.h"
#include "base/log.h"
#include "host/control.h"
#include "host/notify.h"

#define START_MS  60000 /* until a new replica answers */
#define LOOP_MS	  20000 /* the loop may wait for an arbiter that does not answer */
#define ANSWER_MS 1000

static bool vcpu_goes_on(const struct up_watch *w, uint64_t age_ms)
{
	json_t *answer = control_ask(w->guest, "status", ANSWER_MS, NULL);
	double still = json_number_value(json_object_get(answer, "vcpu_ms"));
	bool good = answer ? still < (double)w->hang_ms : age_ms < START_MS;

	json_decref(answer);
	return good;
}

static bool all_is_well(struct up_watch *w)
{
	uint64_t now = (uint64_t)host_mono_ms();
	uint64_t since = atomic_load(&w->child_since_ms), tick = atomic_load(&w->tick_ms);

	if (now > tick && now - tick > LOOP_MS)
		return false;
	return !since || vcpu_goes_on(w, now > since ? now - since : 0);
}

static void *watch(void *arg)
{
	struct up_watch *w = arg;

	while (!atomic_load(&w->stop)) {
		if (all_is_well(w))
			notify_send("WATCHDOG=1");
		for (uint64_t ms = 0; ms < w->every_ms && !atomic_load(&w->stop); ms += 50)
			host_sleep_ns(50000000);
	}
	return NULL;
}

void up_watch_start(struct up_watch *w, const char *guest, uint64_t hang_ms)
{
	sigset_t all, was;

	w->guest = guest;
	w->every_ms = notify_watchdog_ms() / 4;
	w->hang_ms = hang_ms;
	up_watch_tick(w, (uint64_t)host_mono_ms(), 0);
	if (!w->every_ms)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	w->runs = pthread_create(&w->thread, NULL, watch, w) == 0;
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!w->runs)
		log_warn("no thread for the watchdog: systemd will take this guest for hung");
}

void up_watch_stop(struct up_watch *w)
{
	atomic_store(&w->stop, true);
	if (w->runs)
		pthread_join(w->thread, NULL);
	w->runs = false;
}

void up_watch_tick(struct up_watch *w, uint64_t now_ms, uint64_t child_since_ms)
{
	atomic_store(&w->tick_ms, now_ms);
	atomic_store(&w->child_since_ms, child_since_ms);
}
