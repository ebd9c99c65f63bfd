// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/nic.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/call_before.h"

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

/* What the kernel takes as an interface name; '%' would make it choose a number. */
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

	if (nic_check_spec(spec, err))
		return NULL;
	return find_backend(spec, &arg)->open(arg, mac, err);
}

int nic_fd(const struct nic *nic)
{
	return nic->ops->fd(nic);
}

int nic_send(struct nic *nic, const void *frame, size_t len)
{
	return nic->ops->send(nic, frame, len);
}

int nic_send_before(struct nic *nic, const void *frame, size_t len, uint64_t deadline_ns)
{
	int fd = nic_fd(nic);
	long r;

	if (fd < 0)
		return 0;
	do
		r = call_before(deadline_ns, nic->ops->send_call, fd, frame, len);
	while (r == -EINTR);
	return r >= 0 ? 0 : r == -ENOBUFS ? -EAGAIN : (int)r;
}

ssize_t nic_recv(struct nic *nic, void *frame, size_t max)
{
	return nic->ops->recv(nic, frame, max);
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
