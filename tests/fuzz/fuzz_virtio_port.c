// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/virtio_targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_port_run(data, size);
	return 0;
}
