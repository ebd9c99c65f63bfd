// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest NIC on an interface that the host uses itself: libpcap captures what is addressed to the
 * guest, and injects what the guest sends. Own packets do not come back: the capture takes the
 * incoming direction only, and the filter drops frames with the guest's address as source (a bridge
 * may send them round).
 *
 * A frame captured between two ends of one host (veth) has not been through a network card: its
 * checksum may be open, and TCP segments may be joined. Both are put right (segment.h). Datagrams
 * that were joined (UDP_SEGMENT, GRO) do not say how long each of them was: they are known by being
 * longer than the interface lets through, dropped, and counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "net/nic.h"
#include "net/segment.h"

struct pcap_nic {
	struct nic nic;
	pcap_t *pcap;
	int fd;
	size_t longest;		  /* frame that the interface lets through */
	uint8_t mac[6];		  /* the filter's, in the process that has set it last */
	struct segments segments; /* of the frame captured last */
};

#define UNUSABLE_RUN 64 /* unusable frames dropped before the caller gets its turn */
#define READ_WAIT_MS 1
#define RING_BYTES   (4 << 20)
#define VLAN_TAG     4

static int compile_filter(pcap_t *p, const char *iface, const uint8_t mac[6],
			  struct bpf_program *prog, struct err *err)
{
	char addr[18], text[160];

	snprintf(addr, sizeof(addr), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	snprintf(text, sizeof(text), "(ether dst %s or ether multicast) and not ether src %s", addr,
		 addr);
	if (pcap_compile(p, prog, text, 1, PCAP_NETMASK_UNKNOWN))
		return err_set(err, EINVAL, "cannot make a capture filter for %s: %s", iface,
			       pcap_geterr(p));
	return 0;
}

static int set_filter(pcap_t *p, const char *iface, const uint8_t mac[6], struct err *err)
{
	struct bpf_program prog;
	int r = compile_filter(p, iface, mac, &prog, err);

	if (r)
		return r;
	if (pcap_setfilter(p, &prog))
		r = err_set(err, EIO, "cannot set the capture filter on %s: %s", iface,
			    pcap_geterr(p));
	pcap_freecode(&prog);
	return r;
}

static int activate(pcap_t *p, const char *iface, struct err *err)
{
	int r;

	pcap_set_snaplen(p, 262144);
	pcap_set_promisc(p, 1); /* the guest's address is not the interface's */
	pcap_set_immediate_mode(p, 1);
	pcap_set_timeout(p, READ_WAIT_MS);
	pcap_set_buffer_size(p, RING_BYTES);
	r = pcap_activate(p);
	if (r == PCAP_ERROR_PERM_DENIED)
		return err_set(err, EPERM, "no permission to capture on %s: CAP_NET_RAW is needed",
			       iface);
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
		return err_set(err, EIO, "cannot limit the capture on %s to incoming frames: %s",
			       iface, pcap_geterr(n->pcap));
	if (pcap_setnonblock(n->pcap, 1, text))
		return err_set(err, EIO, "cannot capture on %s without blocking: %s", iface, text);
	memcpy(n->mac, mac, sizeof(n->mac));
	n->fd = pcap_get_selectable_fd(n->pcap);
	return n->fd < 0 ? err_set(err, EIO, "a capture on %s cannot be waited for", iface) : 0;
}

/* Bytes of the interface's longest frame, VLAN tag included; a jumbo frame's where no MTU is known.
 */
static size_t longest_frame(const char *iface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t longest = NIC_FRAME_MAX;
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", iface);
	if (fd >= 0 && !ioctl(fd, SIOCGIFMTU, &ifr) && ifr.ifr_mtu > 0)
		longest = (size_t)ifr.ifr_mtu + NIC_FRAME_MIN + VLAN_TAG;
	if (fd >= 0)
		close(fd);
	return longest;
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
	n->longest = longest_frame(iface);
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

/*
 * 1 when a frame waits, 0 when none does, or -errno when the interface is down or gone. libpcap is
 * not asked then: it would look for the interface by its name, and after a change of name never
 * trust it again.
 */
static int look(const struct pcap_nic *n)
{
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	socklen_t len = sizeof(int);
	int error = 0;

	if (poll(&p, 1, 0) <= 0)
		return 0;
	if (!(p.revents & POLLERR))
		return 1;
	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return error ? -error : 1;
}

static ssize_t drop_unusable(struct pcap_nic *n, unsigned len)
{
	if (!atomic_fetch_add(&n->nic.unusable, 1))
		log_warn("pcap:%s: dropped a frame of %u bytes, which is none that a wire would "
			 "carry: datagrams that the sender's offload has joined cannot be taken "
			 "apart (on that side: ethtool -K IFACE tx-udp-segmentation off)",
			 n->nic.name, len);
	return 0;
}

/* Takes a captured frame: its length, 0 when it is unusable or its segments wait, or -errno. */
static ssize_t capture(struct pcap_nic *n, uint8_t *frame, size_t max)
{
	struct pcap_pkthdr *h;
	const uint8_t *data;
	int r = look(n);

	if (r <= 0)
		return r ? r : -EAGAIN;
	r = pcap_next_ex(n->pcap, &h, &data);
	if (r != 1)
		return r == 0 ? -EAGAIN : -EIO;
	if (h->caplen == h->len && h->len > SEGMENT_FRAME &&
	    segments_start(&n->segments, data, h->len))
		return 0;
	if (h->caplen != h->len || h->len < NIC_FRAME_MIN || h->len > max || h->len > n->longest)
		return drop_unusable(n, h->len);
	memcpy(frame, data, h->len);
	segment_finish_checksum(frame, h->len);
	return (ssize_t)h->len;
}

static ssize_t pcap_nic_recv(struct nic *nic, void *frame, size_t max)
{
	struct pcap_nic *n = (struct pcap_nic *)nic;

	if (max < SEGMENT_FRAME)
		return -EINVAL;
	for (int i = 0; i < UNUSABLE_RUN; i++) {
		ssize_t len = (ssize_t)segments_next(&n->segments, frame);

		if (!len)
			len = capture(n, frame, max);
		if (len)
			return len;
	}
	return -EAGAIN;
}

/*
 * The filter is exchanged in the kernel alone, in one step: libpcap, which would stop and empty the
 * capture for it, may be capturing on another thread or in another process. Frames that the old
 * filter let through meet the guest's own one.
 */
static int pcap_nic_set_mac(struct nic *nic, const uint8_t mac[6], struct err *err)
{
	struct pcap_nic *n = (struct pcap_nic *)nic;
	struct bpf_program prog;
	struct sock_fprog exchange;
	int r;

	if (!memcmp(mac, n->mac, sizeof(n->mac)))
		return 0;
	r = compile_filter(n->pcap, nic->name, mac, &prog, err);
	if (r)
		return r;
	exchange = (struct sock_fprog){ .len = (unsigned short)prog.bf_len,
					.filter = (struct sock_filter *)prog.bf_insns };
	if (setsockopt(n->fd, SOL_SOCKET, SO_ATTACH_FILTER, &exchange, sizeof(exchange)) < 0)
		r = err_set(err, errno, "cannot set the capture filter on %s: %s", nic->name,
			    strerror(errno));
	else
		memcpy(n->mac, mac, sizeof(n->mac));
	pcap_freecode(&prog);
	return r;
}

static int bind_anew(int fd, int ifindex)
{
	struct sockaddr_ll sll = { .sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL),
				   .sll_ifindex = ifindex };
	struct packet_mreq all = { .mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC };

	if (bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return -errno;
	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0 ? -errno
											: 0;
}

/*
 * An interface that comes back up goes on by itself, whatever its name is now. One that was deleted
 * leaves the socket unbound: one of its old name takes the place.
 */
static int pcap_nic_attach(struct nic *nic, int socket_fd)
{
	int fd = ((struct pcap_nic *)nic)->fd;
	struct sockaddr_ll sll = { 0 };
	socklen_t len = sizeof(sll);
	struct ifreq ifr = { 0 };
	bool bound;

	if (getsockname(fd, (struct sockaddr *)&sll, &len) < 0)
		return -errno;
	ifr.ifr_ifindex = sll.sll_ifindex;
	bound = sll.sll_ifindex > 0 && !ioctl(fd, SIOCGIFNAME, &ifr);
	if (!bound)
		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic->name);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		return -ENODEV;
	if (!(ifr.ifr_flags & IFF_UP))
		return -ENETDOWN;
	if (bound)
		return 0;
	return ioctl(fd, SIOCGIFINDEX, &ifr) ? -errno : bind_anew(fd, ifr.ifr_ifindex);
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
	.send_call = SYS_sendto,
	.recv = pcap_nic_recv,
	.attach = pcap_nic_attach,
	.set_mac = pcap_nic_set_mac,
	.close = pcap_nic_close,
};
