/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs of Debian's iproute2 (`ip`, `bridge`), run for their effect or for what they know. */
#ifndef HOST_IP_TOOL_H
#define HOST_IP_TOOL_H

#include <jansson.h>

#include "base/err.h"

#define IP_TOOL_ARGS 20

/*
 * Runs the program with the words of argv, up to a NULL, and waits for its end. 0, or -errno and
 * err, with what the program said.
 */
int ip_tool_run(const char *const *argv, struct err *err);
/* Runs a command of the tool that prints JSON: its value, which is the caller's; NULL and err. */
json_t *ip_tool_ask(const char *const *argv, struct err *err);

/* ip_tool_run() of the words. */
#define IP_TOOL(err, ...) ip_tool_run((const char *const[]){ __VA_ARGS__, NULL }, err)

#endif
