// SPDX-License-Identifier: GPL-2.0-or-later
/* `twinstep explore`: looks for a run of a recorded guest that fails. */
#include "host/explore.h"
#include "tools/cmd.h"

const struct command cmd_explore = {
	.id = COMMAND_EXPLORE,
	.name = "explore",
	.summary = "look for a run of a recorded guest that fails, and keep it",
	.usage = "-o LOG [OPTION...] RECORDING",
	.text = "Runs a recorded guest again and again, each time with other changes of timing and "
		"of its world: time that jumps, goes faster or slower, so that interrupts come at "
		"other instructions; packets that come later or in another order; disks that are "
		"slow. When a run fails its changes are taken away until the fewest are left that "
		"still make it fail, and that run is kept as a recording.",
	.end = "Without --fail-*, a run fails that ends otherwise than the recording. Exit status: "
	       "0 one was found; 1 none; 123 it did not repeat; 2 a file or option is not good.",
	.min_args = 1,
	.max_args = 1,
	.run = explore_run,
};
