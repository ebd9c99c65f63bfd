// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_move.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define PAUSE_US   500 /* between two moves: several in each program */
#define ROUNDS_MAX 20  /* of the measurement, on a host where moves come slowly */

struct mover {
	pthread_t thread;
	pid_t moved;
	cpu_set_t cpus;
	atomic_ulong moves;
	atomic_bool over;
};

static int next_cpu(const cpu_set_t *set, int cpu)
{
	do
		cpu = (cpu + 1) % CPU_SETSIZE;
	while (!CPU_ISSET(cpu, set));
	return cpu;
}

/* The call returns when the thread is there. */
static void *move(void *ctx)
{
	struct mover *m = ctx;
	cpu_set_t one;
	int cpu = 0;

	while (!atomic_load(&m->over)) {
		cpu = next_cpu(&m->cpus, cpu);
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(m->moved, sizeof(one), &one) == 0)
			atomic_fetch_add(&m->moves, 1);
		usleep(PAUSE_US);
	}
	return NULL;
}

static void add(struct qualify_moved *m, const struct measure *part)
{
	for (unsigned i = 0; i < MEASURE_PROGRAMS; i++) {
		m->runs += part->row[i].runs;
		m->wrong += part->row[i].wrong;
	}
	m->stops += part->landings;
	m->missed += part->missed;
	if (!m->error[0])
		snprintf(m->error, sizeof(m->error), "%s", part->error);
}

static int measure(struct mover *mover, const struct engine_ops *ops, unsigned repeats,
		   struct qualify_moved *m, struct err *err)
{
	struct measure part;
	int ret = 0;

	for (unsigned i = 0; i < ROUNDS_MAX && !ret && qualify_moved_well(m) && !m->error[0] &&
			     (!i || m->moves < m->stops);
	     i++) {
		ret = measure_engine(ops, repeats, &part, err);
		if (!ret)
			add(m, &part);
		m->moves = atomic_load(&mover->moves);
	}
	return ret;
}

int qualify_move(const struct engine_ops *ops, unsigned repeats, struct qualify_moved *m,
		 struct err *err)
{
	struct mover mover = { .moved = gettid() };
	int ret;

	*m = (struct qualify_moved){ 0 };
	if (sched_getaffinity(0, sizeof(mover.cpus), &mover.cpus) < 0)
		return err_set(err, EINVAL, "the kernel does not say which CPUs there are");
	m->cpus = (unsigned)CPU_COUNT(&mover.cpus);
	if (m->cpus < 2)
		return 0;
	if (pthread_create(&mover.thread, NULL, move, &mover) != 0)
		return err_set(err, EAGAIN, "no thread can be made that moves this one");
	ret = measure(&mover, ops, repeats, m, err);
	atomic_store(&mover.over, true);
	pthread_join(mover.thread, NULL);
	sched_setaffinity(0, sizeof(mover.cpus), &mover.cpus);
	return ret;
}

bool qualify_moved_well(const struct qualify_moved *m)
{
	return !m->wrong && !m->missed && !m->error[0];
}
