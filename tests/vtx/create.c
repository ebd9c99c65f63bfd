// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks for a VM once: exit status 0, or errno of CREATE. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"

int main(void)
{
	int fd = open(TWVMX_DEVICE, O_RDWR);

	if (fd < 0 || ioctl(fd, TWVMX_IOC_CREATE, TWVMX_VERSION) < 0) {
		const int why = errno;

		printf("%s\n", strerror(why));
		return why;
	}
	return 0;
}
