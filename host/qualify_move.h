/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A counter whose thread goes from CPU to CPU while it counts. */
#ifndef HOST_QUALIFY_MOVE_H
#define HOST_QUALIFY_MOVE_H

#include "hypervisor/vmx/measure.h"

struct qualify_moved {
	unsigned cpus;	      /* that this thread may run on; with one, nothing is measured */
	unsigned long moves;  /* from one to another */
	unsigned runs, wrong; /* of the counted programs */
	unsigned stops, missed;
	char error[BENCH_ERROR]; /* empty, or why the engine gave up */
};

/*
 * Measures the engine's count (measure_engine(), `repeats` runs of each program, and again until
 * there were as many moves as stops), while another thread moves this one. 0, or as
 * measure_engine().
 */
int qualify_move(const struct engine_ops *ops, unsigned repeats, struct qualify_moved *m,
		 struct err *err);
/* True: measured, and every count was right; or there is one CPU only. */
bool qualify_moved_well(const struct qualify_moved *m);

#endif
