// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/qualify_load.h"

#include <pthread.h>
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
	atomic_bool over;
};

static void *thrash(void *ctx)
{
	struct qualify_load *l = ctx;
	volatile uint8_t *area = malloc(AREA);
	size_t at = 0;

	while (area && !atomic_load_explicit(&l->over, memory_order_relaxed)) {
		area[at]++;
		at = (at + STRIDE) % AREA;
	}
	free((void *)area);
	return NULL;
}

struct qualify_load *qualify_load_begin(void)
{
	struct qualify_load *l = calloc(1, sizeof(*l));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	while (l && l->n < THREADS_MAX && (long)l->n < cpus &&
	       pthread_create(&l->thread[l->n], NULL, thrash, l) == 0)
		l->n++;
	if (l && !l->n) {
		free(l);
		return NULL;
	}
	return l;
}

void qualify_load_end(struct qualify_load *l)
{
	if (!l)
		return;
	atomic_store(&l->over, true);
	for (size_t i = 0; i < l->n; i++)
		pthread_join(l->thread[i], NULL);
	free(l);
}
