// SPDX-License-Identifier: GPL-2.0-or-later
// fuzz: registers, time, events and hostile state images of the pvpanic device; build with
// -fsanitize=fuzzer
#include "tests/fuzz/legacy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return legacy_fuzz(LEGACY_PVPANIC, data, size);
}
