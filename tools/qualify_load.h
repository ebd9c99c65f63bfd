/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A busy host, for checks of what must not depend on that. */
#ifndef TOOLS_QUALIFY_LOAD_H
#define TOOLS_QUALIFY_LOAD_H

struct qualify_load;

/* A thread for each CPU, which writes all over more memory than caches hold. NULL: none started. */
struct qualify_load *qualify_load_begin(void);
/* Ends them; NULL is allowed. */
void qualify_load_end(struct qualify_load *l);

#endif
