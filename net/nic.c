// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/nic.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/call_before.h"
#include "base/log.h"

static const struct nic_ops *const backends[] = { &nic_tap_ops, &nic_pcap_ops, &nic_none_ops };

static const struct nic_ops *find_backend(const char *spec, const char **arg)
{
	size_t n = strcspn(spec, ":");

	*arg = spec[n] ? spec + n + 1 : spec + n;
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
		if (strlen(backends[i]->scheme) == n && !strncmp(spec, backends[i]->scheme, n))
			return backends[i];
	}
	return NULL;
}

/* The kernel takes s as an interface name; a '%' would make it choose a number instead. */
static bool is_interface_name(const char *s)
{
	size_t n = strlen(s);

	if (!n || n >= IFNAMSIZ || !strcmp(s, ".") || !strcmp(s, ".."))
		return false;
	for (; *s; s++) {
		if (*s == '/' || *s == ':' || *s == '%' || isspace((unsigned char)*s) ||
		    iscntrl((unsigned char)*s))
			return false;
	}
	return true;
}

int nic_check_spec(const char *spec, struct err *err)
{
	const char *arg;
	const struct nic_ops *ops = find_backend(spec, &arg);

	if (!ops)
		return err_set(err, EINVAL,
			       "unknown network backend '%s': use tap:NAME, pcap:IFACE or none",
			       spec);
	if (ops == &nic_none_ops)
		return *arg ? err_set(err, EINVAL, "network backend 'none' takes no name, got '%s'",
				      arg)
			    : 0;
	if (!is_interface_name(arg))
		return err_set(err, EINVAL,
			       "'%s' in '%s' cannot be the name of a network interface (1 to 15 "
			       "characters)",
			       arg, spec);
	return 0;
}

struct nic *nic_open(const char *spec, const uint8_t mac[6], struct err *err)
{
	const char *arg;
	struct nic *nic;

	if (nic_check_spec(spec, err))
		return NULL;
	nic = find_backend(spec, &arg)->open(arg, mac, err);
	if (nic && nic->ops != &nic_none_ops)
		snprintf(nic->name, sizeof(nic->name), "%s", arg);
	return nic;
}

int nic_fd(const struct nic *nic)
{
	return nic->ops->fd(nic);
}

/* ---- an interface that goes and comes ---- */

bool nic_is_lost(const struct nic *nic)
{
	return atomic_load(&nic->lost);
}

int nic_attach_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int nic_attach(struct nic *nic, int socket_fd, const uint8_t mac[6])
{
	int ret = nic_set_mac(nic, mac, NULL);

	return ret < 0 || !nic->ops->attach ? ret : nic->ops->attach(nic, socket_fd);
}

void nic_found(struct nic *nic, int attached)
{
	if (attached == 0 && atomic_exchange(&nic->lost, false))
		log_info("%s:%s is back: the guest's NIC works again", nic->ops->scheme, nic->name);
}

/*
 * Looks at a call's result and hands it back. An error that concerns the interface, and not the
 * frame alone, makes the NIC lost.
 */
static long result(struct nic *nic, long r)
{
	bool gone = r == -ENETDOWN || r == -ENXIO || r == -ENODEV || r == -EBADFD || r == -EIO;

	if (!gone || !nic->ops->attach || atomic_exchange(&nic->lost, true))
		return r;
	atomic_fetch_add(&nic->losses, 1);
	log_warn("%s:%s is down or gone: the guest's NIC is silent until it is back",
		 nic->ops->scheme, nic->name);
	return r;
}

/* ---- frames ---- */

int nic_send(struct nic *nic, const void *frame, size_t len)
{
	return (int)result(nic, nic->ops->send(nic, frame, len));
}

int nic_send_before(struct nic *nic, const void *frame, size_t len, uint64_t deadline_ns)
{
	int fd = nic_fd(nic);
	long r;

	if (fd < 0)
		return nic->ops->attach ? -ENETDOWN : 0;
	do
		r = call_before(deadline_ns, nic->ops->send_call, fd, frame, len);
	while (r == -EINTR);
	return r >= 0 ? 0 : r == -ENOBUFS ? -EAGAIN : (int)result(nic, r);
}

ssize_t nic_recv(struct nic *nic, void *frame, size_t max)
{
	return result(nic, nic->ops->recv(nic, frame, max));
}

int nic_set_mac(struct nic *nic, const uint8_t mac[6], struct err *err)
{
	return nic->ops->set_mac ? nic->ops->set_mac(nic, mac, err) : 0;
}

void nic_close(struct nic *nic)
{
	if (nic)
		nic->ops->close(nic);
}

static struct nic *none_open(const char *arg, const uint8_t mac[6], struct err *err)
{
	static struct nic none = { .ops = &nic_none_ops };

	return &none;
}

static int none_fd(const struct nic *nic)
{
	return -1;
}

static int none_send(struct nic *nic, const void *frame, size_t len)
{
	return 0;
}

static ssize_t none_recv(struct nic *nic, void *frame, size_t max)
{
	return -EAGAIN;
}

static void none_close(struct nic *nic)
{
}

const struct nic_ops nic_none_ops = {
	.scheme = "none",
	.open = none_open,
	.fd = none_fd,
	.send = none_send,
	.recv = none_recv,
	.close = none_close,
};
