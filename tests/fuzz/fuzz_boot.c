// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libFuzzer entry: the input is a kernel image; a second copy of its tail serves as initrd or
 * module. Whatever comes, loading ends with an error or with a vCPU state that points into the
 * guest's memory.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hypervisor/boot/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memory mem;
	struct boot_request req = { .kernel = { "kernel", data, size }, .cmdline = "fuzz" };
	struct cpu_state cpu = { 0 };
	struct err err = ERR_INIT;

	if (!mem.base)
		must(memory_init(&mem, 24u << 20, &err) == 0);
	if (size && data[size - 1] & 1) {
		req.module[0] = (struct boot_image){ "module", data + size / 2, size - size / 2 };
		req.nmodules = 1;
	}
	if (boot_load(&mem, &req, &cpu, &err))
		must(err.code && err.text[0]);
	else
		must(memory_at(&mem, cpu.rip, 1) && !strcmp(req.cmdline, "fuzz"));
	return 0;
}
