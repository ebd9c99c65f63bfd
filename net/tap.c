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

static bool interface_is_up(int socket_fd, const char *name)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return !ioctl(socket_fd, SIOCGIFFLAGS, &ifr) && ifr.ifr_flags & IFF_UP;
}

/* Brings the interface up; without the right to do so it stays as its owner left it. */
static void interface_up(int socket_fd, const char *name)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (!ioctl(socket_fd, SIOCGIFFLAGS, &ifr) && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(socket_fd, SIOCSIFFLAGS, &ifr))
			errno = 0; /* frames are lost until somebody brings it up */
	}
}

static void tap_up(const char *name)
{
	int s = nic_attach_socket();

	if (s < 0)
		return;
	interface_up(s, name);
	close(s);
}

static int tap_attach(int fd, const char *name, struct err *err)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return 0;
	/* An interface that was made for several queues is used with one of them. */
	ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (errno == EINVAL && !ioctl(fd, TUNSETIFF, &ifr))
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
	/* Without its interface the descriptor is always ready, and there is nothing to read. */
	return nic_is_lost(nic) ? -1 : ((const struct tap *)nic)->fd;
}

/*
 * A descriptor whose interface was deleted can have another one of that name. TUNSETIFF would make
 * it if there is none, so that is looked at first.
 */
static int tap_attach_anew(struct nic *nic, int socket_fd)
{
	struct tap *t = (struct tap *)nic;
	struct ifreq ifr = { 0 };
	int ret;

	if (ioctl(t->fd, TUNGETIFF, &ifr)) {
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic->name);
		if (ioctl(socket_fd, SIOCGIFFLAGS, &ifr))
			return -ENODEV;
		ret = tap_attach(t->fd, nic->name, NULL);
		if (ret < 0)
			return ret;
		interface_up(socket_fd, nic->name);
	}
	return interface_is_up(socket_fd, ifr.ifr_name) ? 0 : -ENETDOWN;
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
	.attach = tap_attach_anew,
	.close = tap_close,
};
