// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest NIC on a tap interface: the kernel's end of the wire is the interface, ours is the
 * descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/nic.h"

struct tap {
	struct nic nic;
	int fd;
};

/* Brings the interface up; without the right to do so it stays as its owner left it. */
static void tap_up(const char *name)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (!ioctl(s, SIOCGIFFLAGS, &ifr) && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(s, SIOCSIFFLAGS, &ifr))
			errno = 0; /* frames are lost until somebody brings it up */
	}
	close(s);
}

static int tap_attach(int fd, const char *name, struct err *err)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return 0;
	if (errno == EBUSY)
		return err_set(err, EBUSY, "tap interface %s is in use by another process", name);
	if (errno == EPERM)
		return err_set(err, EPERM,
			       "no permission for tap interface %s: be root, or let root create it "
			       "for this user (ip tuntap add %s mode tap user NAME)",
			       name, name);
	if (errno == EINVAL)
		return err_set(err, EINVAL, "%s exists and is not a tap interface", name);
	return err_set(err, errno, "cannot open tap interface %s: %s", name, strerror(errno));
}

static struct nic *tap_open(const char *name, const uint8_t mac[6], struct err *err)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	t->nic.ops = &nic_tap_ops;
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0) {
		err_set(err, errno, "cannot open /dev/net/tun for tap interface %s: %s", name,
			strerror(errno));
		free(t);
		return NULL;
	}
	if (tap_attach(t->fd, name, err)) {
		close(t->fd);
		free(t);
		return NULL;
	}
	tap_up(name);
	return &t->nic;
}

static int tap_fd(const struct nic *nic)
{
	return ((const struct tap *)nic)->fd;
}

static int tap_send(struct nic *nic, const void *frame, size_t len)
{
	ssize_t n;

	do
		n = write(((struct tap *)nic)->fd, frame, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static ssize_t tap_recv(struct nic *nic, void *frame, size_t max)
{
	ssize_t n;

	do
		n = read(((struct tap *)nic)->fd, frame, max);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? n : -EAGAIN;
}

static void tap_close(struct nic *nic)
{
	close(((struct tap *)nic)->fd);
	free(nic);
}

const struct nic_ops nic_tap_ops = {
	.scheme = "tap",
	.open = tap_open,
	.fd = tap_fd,
	.send = tap_send,
	.send_call = SYS_write,
	.recv = tap_recv,
	.close = tap_close,
};
