// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest NIC on an interface that the host uses itself: libpcap captures what is addressed to the guest, and injects
 * what the guest sends. Own packets do not come back: the capture takes the incoming direction only, and the filter
 * drops frames with the guest's address as source (a bridge may send them round).
 *
 * A frame captured between two ends of one host (veth) may have an unfinished TCP or UDP checksum, which the sender
 * left to hardware that is not there: the field then holds the sum of the pseudo-header. Such a frame is completed
 * here, as the hardware would have done. Frames that were joined by offloads and are longer than NIC_FRAME_MAX are
 * dropped: switch segmentation offload off at the sender (docs/operations.md).
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/nic.h"

struct pcap_nic {
	struct nic nic;
	pcap_t *pcap;
	int fd;
};

#define ETH_LEN	     14
#define ETHERTYPE_4  0x0800
#define ETHERTYPE_6  0x86dd
#define IP6_LEN	     40
#define PROTO_TCP    6
#define PROTO_UDP    17
#define TCP_CHECK    16
#define UDP_CHECK    6
#define UNUSABLE_RUN 64 /* unusable frames dropped before the caller gets its turn */
#define READ_WAIT_MS 1
#define RING_BYTES   (4 << 20)

static unsigned get_be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* One's complement sum of big-endian words (RFC 1071), not inverted. */
static uint32_t sum_bytes(const uint8_t *p, size_t n, uint32_t sum)
{
	for (; n > 1; p += 2, n -= 2)
		sum += get_be16(p);
	if (n)
		sum += (uint32_t)*p << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* addresses: source and destination next to each other. l4 is the transport header, len its length with payload. */
static void finish_l4(const uint8_t *addresses, size_t alen, uint8_t proto, uint8_t *l4, size_t len)
{
	size_t at = proto == PROTO_TCP ? TCP_CHECK : proto == PROTO_UDP ? UDP_CHECK : SIZE_MAX;
	uint16_t pseudo, check;

	if (at == SIZE_MAX || len < at + 2 || len > UINT16_MAX)
		return;
	pseudo = fold(sum_bytes(addresses, alen, (uint32_t)proto + (uint32_t)len));
	if (get_be16(l4 + at) != pseudo)
		return;
	check = (uint16_t)~fold(sum_bytes(l4, len, 0));
	if (!check && proto == PROTO_UDP)
		check = 0xffff; /* 0 would mean: no checksum */
	l4[at] = (uint8_t)(check >> 8);
	l4[at + 1] = (uint8_t)check;
}

static void finish_checksum(uint8_t *frame, size_t len)
{
	uint8_t *ip = frame + ETH_LEN;
	size_t left = len - ETH_LEN, hlen, total;

	if (len < ETH_LEN + 20)
		return;
	if (get_be16(frame + 12) == ETHERTYPE_4) {
		hlen = (size_t)(ip[0] & 15) * 4;
		total = get_be16(ip + 2);
		if (hlen < 20 || total < hlen || total > left || get_be16(ip + 6) & 0x3fff)
			return; /* damaged or a fragment */
		finish_l4(ip + 12, 8, ip[9], ip + hlen, total - hlen);
	} else if (get_be16(frame + 12) == ETHERTYPE_6 && left >= IP6_LEN) {
		total = get_be16(ip + 4);
		if (total <= left - IP6_LEN)
			finish_l4(ip + 8, 32, ip[6], ip + IP6_LEN, total);
	}
}

static int set_filter(pcap_t *p, const char *iface, const uint8_t mac[6], struct err *err)
{
	char addr[18], text[160];
	struct bpf_program prog;
	int r = 0;

	snprintf(addr, sizeof(addr), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	snprintf(text, sizeof(text), "(ether dst %s or ether multicast) and not ether src %s", addr, addr);
	if (pcap_compile(p, &prog, text, 1, PCAP_NETMASK_UNKNOWN))
		return err_set(err, EINVAL, "cannot make a capture filter for %s: %s", iface, pcap_geterr(p));
	if (pcap_setfilter(p, &prog))
		r = err_set(err, EIO, "cannot set the capture filter on %s: %s", iface, pcap_geterr(p));
	pcap_freecode(&prog);
	return r;
}

static int activate(pcap_t *p, const char *iface, struct err *err)
{
	int r;

	pcap_set_snaplen(p, 65535);
	pcap_set_promisc(p, 1); /* the guest's address is not the interface's */
	pcap_set_immediate_mode(p, 1);
	pcap_set_timeout(p, READ_WAIT_MS);
	pcap_set_buffer_size(p, RING_BYTES);
	r = pcap_activate(p);
	if (r == PCAP_ERROR_PERM_DENIED)
		return err_set(err, EPERM, "no permission to capture on %s: CAP_NET_RAW is needed", iface);
	if (r == PCAP_ERROR_NO_SUCH_DEVICE)
		return err_set(err, ENODEV, "there is no network interface %s", iface);
	if (r == PCAP_ERROR_IFACE_NOT_UP)
		return err_set(err, ENETDOWN, "network interface %s is down", iface);
	if (r < 0)
		return err_set(err, EIO, "cannot capture on %s: %s", iface, pcap_geterr(p));
	if (pcap_datalink(p) != DLT_EN10MB)
		return err_set(err, EINVAL, "%s is not an Ethernet interface", iface);
	return 0;
}

static int prepare(struct pcap_nic *n, const char *iface, const uint8_t mac[6], struct err *err)
{
	char text[PCAP_ERRBUF_SIZE];
	int r = activate(n->pcap, iface, err);

	if (r || (r = set_filter(n->pcap, iface, mac, err)))
		return r;
	if (pcap_setdirection(n->pcap, PCAP_D_IN))
		return err_set(err, EIO, "cannot limit the capture on %s to incoming frames: %s", iface,
			       pcap_geterr(n->pcap));
	if (pcap_setnonblock(n->pcap, 1, text))
		return err_set(err, EIO, "cannot capture on %s without blocking: %s", iface, text);
	n->fd = pcap_get_selectable_fd(n->pcap);
	return n->fd < 0 ? err_set(err, EIO, "a capture on %s cannot be waited for", iface) : 0;
}

static struct nic *pcap_nic_open(const char *iface, const uint8_t mac[6], struct err *err)
{
	char text[PCAP_ERRBUF_SIZE];
	struct pcap_nic *n = calloc(1, sizeof(*n));

	if (!n) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	n->nic.ops = &nic_pcap_ops;
	n->pcap = pcap_create(iface, text);
	if (!n->pcap) {
		err_set(err, EIO, "cannot capture on %s: %s", iface, text);
		free(n);
		return NULL;
	}
	if (prepare(n, iface, mac, err)) {
		pcap_close(n->pcap);
		free(n);
		return NULL;
	}
	return &n->nic;
}

static int pcap_nic_fd(const struct nic *nic)
{
	return ((const struct pcap_nic *)nic)->fd;
}

static int pcap_nic_send(struct nic *nic, const void *frame, size_t len)
{
	errno = 0;
	if (pcap_inject(((struct pcap_nic *)nic)->pcap, frame, len) >= 0)
		return 0;
	return errno == ENOBUFS ? -EAGAIN : errno ? -errno : -EIO;
}

static ssize_t pcap_nic_recv(struct nic *nic, void *frame, size_t max)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;
	int r = 0;

	for (int i = 0; i < UNUSABLE_RUN; i++) {
		r = pcap_next_ex(((struct pcap_nic *)nic)->pcap, &h, &data);
		if (r != 1)
			break;
		if (h->caplen != h->len || h->len > max || h->len < NIC_FRAME_MIN)
			continue;
		memcpy(frame, data, h->len);
		finish_checksum(frame, h->len);
		return (ssize_t)h->len;
	}
	return r >= 0 ? -EAGAIN : -EIO;
}

static void pcap_nic_close(struct nic *nic)
{
	pcap_close(((struct pcap_nic *)nic)->pcap);
	free(nic);
}

const struct nic_ops nic_pcap_ops = {
	.scheme = "pcap",
	.open = pcap_nic_open,
	.fd = pcap_nic_fd,
	.send = pcap_nic_send,
	.recv = pcap_nic_recv,
	.close = pcap_nic_close,
};
