/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of `twinstep qualify` about the host's registers around a guest's run. */
#ifndef HOST_QUALIFY_HOST_H
#define HOST_QUALIFY_HOST_H

#include <stdbool.h>

#include "host/qualify_checks.h"
#include "hypervisor/vmx/bench.h"

/* A guest that leaves at each second instruction, for ever: counts on both kinds of engine. */
extern const struct bench_program qualify_port_loop;
/* One exit each; false: the guest stopped. */
bool qualify_run_times(struct bench *b, unsigned runs);

/* 2: one entry, and what the processor then had in registers that the host has a say in. */
void qualify_check_entry(const struct check_input *in, struct check *c);
/* 3: what the host had before many runs is there after them, on each CPU. */
void qualify_check_registers(const struct check_input *in, struct check *c);

#endif
