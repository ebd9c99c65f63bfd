// SPDX-License-Identifier: GPL-2.0-or-later
#include "replica/orders.h"

#include <errno.h>
#include <string.h>

void orders_init(struct orders *o)
{
	memset(o, 0, sizeof(*o));
	pthread_mutex_init(&o->lock, NULL);
}

void orders_fini(struct orders *o)
{
	pthread_mutex_destroy(&o->lock);
}

int orders_add(struct orders *o, const struct input *control)
{
	int ret = -EBUSY;

	pthread_mutex_lock(&o->lock);
	if (o->ncontrols < CONTROLS) {
		o->controls[o->ncontrols++] = *control;
		ret = 0;
	}
	pthread_mutex_unlock(&o->lock);
	return ret;
}

size_t orders_take(struct orders *o, struct input *in, size_t max)
{
	size_t n;

	pthread_mutex_lock(&o->lock);
	n = o->ncontrols < max ? o->ncontrols : max;
	memcpy(in, o->controls, n * sizeof(*in));
	memmove(o->controls, o->controls + n, (o->ncontrols - n) * sizeof(*in));
	o->ncontrols -= (unsigned)n;
	pthread_mutex_unlock(&o->lock);
	return n;
}

bool orders_wait(struct orders *o)
{
	bool wait;

	pthread_mutex_lock(&o->lock);
	wait = o->ncontrols != 0;
	pthread_mutex_unlock(&o->lock);
	return wait;
}

bool orders_stop(struct orders *o)
{
	bool stop = false;

	pthread_mutex_lock(&o->lock);
	for (unsigned i = 0; i < o->ncontrols; i++)
		stop |= o->controls[i].a == CONTROL_STOP;
	pthread_mutex_unlock(&o->lock);
	return stop;
}

void orders_set_fault(struct orders *o, const struct input *fault)
{
	pthread_mutex_lock(&o->lock);
	o->fault = *fault;
	pthread_mutex_unlock(&o->lock);
}

struct input orders_take_fault(struct orders *o)
{
	struct input fault;

	pthread_mutex_lock(&o->lock);
	fault = o->fault;
	o->fault.kind = 0;
	pthread_mutex_unlock(&o->lock);
	return fault;
}
