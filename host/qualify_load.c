// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_load.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 64
#define AREA	    (16u << 20) /* of each thread */
#define STRIDE	    4160u	/* another page and another line each time */

struct qualify_load {
	pthread_t thread[THREADS_MAX];
	size_t n;
	sem_t begun; /* by each thread, once: it has written, or cannot */
	atomic_uint writing;
	atomic_bool over;
};

static void *thrash(void *ctx)
{
	struct qualify_load *l = ctx;
	volatile uint8_t *area = calloc(1, AREA);
	size_t at = 0;

	if (area) {
		area[at]++;
		atomic_fetch_add(&l->writing, 1);
	}
	sem_post(&l->begun);
	while (area && !atomic_load_explicit(&l->over, memory_order_relaxed)) {
		area[at]++;
		at = (at + STRIDE) % AREA;
	}
	free((void *)area);
	return NULL;
}

struct qualify_load *qualify_load_begin(unsigned *threads, unsigned *cpus)
{
	struct qualify_load *l = calloc(1, sizeof(*l));
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	*threads = 0;
	*cpus = online > 0 ? (unsigned)online : 1;
	if (!l)
		return NULL;
	sem_init(&l->begun, 0, 0);
	while (l->n < THREADS_MAX && l->n < *cpus &&
	       pthread_create(&l->thread[l->n], NULL, thrash, l) == 0)
		l->n++;
	for (size_t i = 0; i < l->n; i++) {
		while (sem_wait(&l->begun) < 0 && errno == EINTR)
			;
	}
	*threads = atomic_load(&l->writing);
	if (*threads)
		return l;
	qualify_load_end(l);
	return NULL;
}

void qualify_load_end(struct qualify_load *l)
{
	if (!l)
		return;
	atomic_store(&l->over, true);
	for (size_t i = 0; i < l->n; i++)
		pthread_join(l->thread[i], NULL);
	sem_destroy(&l->begun);
	free(l);
}
