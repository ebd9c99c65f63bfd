/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side of a guest's network: tap interfaces, and their places in bridges and VLANs, as
 * the guest's configuration has them (`net = tap:NAME,bridge=BRIDGE,vlan=N`).
 *
 * What is made here carries a mark, the interface's alias "twinstep:GUEST", and nothing without
 * that guest's mark is ever changed or removed. Bridges, and the host's own interfaces, belong to
 * the administrator.
 */
#ifndef HOST_NET_PORTS_H
#define HOST_NET_PORTS_H

#include <stdio.h>

#include "base/err.h"
#include "host/guest_conf.h"

/*
 * Makes what is not there yet, and brings what is there under this guest's mark to what the
 * configuration says. Looks at everything before the first change, and takes back what it made when
 * a later step fails. user: who may open the taps without being root, or NULL. Says on out what it
 * did, a line for each. 0, or -errno and err.
 */
int net_ports_create(const struct guest_conf *g, const char *user, FILE *out, struct err *err);
/*
 * Removes all with the guest's mark, whether its configuration (NULL: there is none) still has it
 * or not; nothing, when a running guest has one of them open. 0, also where there is nothing; or
 * -errno and err, so when the configuration has a tap that somebody else made.
 */
int net_ports_delete(const char *guest, const struct guest_conf *g, FILE *out, struct err *err);

#endif
