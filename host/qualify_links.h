/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `twinstep qualify`: RDMA devices of this host, and what the way to another one takes. */
#ifndef HOST_QUALIFY_LINKS_H
#define HOST_QUALIFY_LINKS_H

#include <jansson.h>
#include <stdbool.h>

#include "host/options.h"

void qualify_rdma_print(void);
json_t *qualify_rdma_json(void);
/* Whether --listen or --connect was given: then that is all that is done. */
bool qualify_link_wanted(const struct options *o);
/* 0, or an exit status and a message. */
int qualify_link_run(const struct options *o);

#endif
