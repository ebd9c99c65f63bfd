/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The results of a campaign, summed up for people and for programs. */
#ifndef HOST_CAMPAIGN_REPORT_H
#define HOST_CAMPAIGN_REPORT_H

#include "host/campaign.h"
#include "host/campaign_symbols.h"

/* Prints them as the options want it. 0 or -errno. */
int campaign_report(sqlite3 *db, const struct options *o, struct err *err);
/* campaign_html.c: writes them as the page that the options name. */
int campaign_page(sqlite3 *db, const struct campaign_plan *plan, const struct options *o,
		  struct err *err);

#endif
