// SPDX-License-Identifier: GPL-2.0-or-later
#include "hypervisor/devices/virtio_net.h"

#include <errno.h>
#include <string.h>

enum { QUEUE_RX, QUEUE_TX, QUEUE_CTRL, QUEUES };

/* Feature bits (5.1.3) */
#define F_MAC		 (1ull << 5)
#define F_MRG_RXBUF	 (1ull << 15)
#define F_STATUS	 (1ull << 16)
#define F_CTRL_VQ	 (1ull << 17)
#define F_CTRL_RX	 (1ull << 18)
#define F_CTRL_RX_EXTRA	 (1ull << 20)
#define F_GUEST_ANNOUNCE (1ull << 21)
#define F_CTRL_MAC_ADDR	 (1ull << 23)
#define FEATURES                                                                    \
	(F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA | \
	 F_GUEST_ANNOUNCE | F_CTRL_MAC_ADDR)

/* struct virtio_net_config (5.1.4): mac, status */
#define CONFIG_SIZE	8
#define STATUS_LINK_UP	1u
#define STATUS_ANNOUNCE 2u

/* struct virtio_net_hdr (5.1.6); everything in it but num_buffers is zero without offloads */
#define HDR_SIZE	   12u
#define HDR_NUM_BUFFERS_AT 10u

#define FRAME_MIN     14u /* an Ethernet header */
#define ETH_ALEN      6u
#define CTRL_OK	      0u
#define CTRL_ERR      1u
#define CTRL_DATA_MAX (2 * (4u + 1024 * ETH_ALEN))

static struct virtio_net *net_of(struct virtio *v)
{
	return (struct virtio_net *)v;
}

static void net_config_get(struct virtio *v, uint8_t *config)
{
	const struct virtio_net *n = net_of(v);

	memcpy(config, n->present_mac, ETH_ALEN);
	config[6] = (uint8_t)((n->link ? STATUS_LINK_UP : 0) | (n->announce ? STATUS_ANNOUNCE : 0));
	config[7] = 0;
}

/* --- transmit --- */

static void net_tx_one(struct virtio_net *n, const struct virtq_chain *c)
{
	uint64_t len = c->read_len - HDR_SIZE;

	if (c->read_len < HDR_SIZE + FRAME_MIN || len > VIRTIO_NET_FRAME_MAX || !n->link) {
		n->tx_dropped++;
		return;
	}
	if (!virtq_read(&n->virtio, c, HDR_SIZE, n->frame, len))
		return;
	n->tx_frames++;
	n->tx_bytes += len;
	n->fx.tx(n->fx.ctx, n->frame, len);
}

static void net_notify_tx(struct virtio_net *n)
{
	struct virtio *v = &n->virtio;

	/* Bounded by the ring's size: a ring that overlaps the frames could refill itself. */
	for (unsigned i = 0; i < v->limit && virtq_pop(v, QUEUE_TX, &n->chain); i++) {
		net_tx_one(n, &n->chain);
		virtq_push(v, QUEUE_TX, n->chain.head, 0);
	}
	virtq_listen(v, QUEUE_TX);
	virtq_signal(v, QUEUE_TX);
}

/* --- receive --- */

static bool filter_has(const struct virtio_net_filter *f, const uint8_t *mac)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!memcmp(f->mac[i], mac, ETH_ALEN))
			return true;
	return f->all;
}

/* Receive filter (5.1.6.5.1): before the driver sets one, everything passes. */
static bool net_filter(const struct virtio_net *n, const uint8_t *mac)
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (n->promisc)
		return true;
	if (!memcmp(mac, broadcast, ETH_ALEN))
		return !n->nobcast;
	if (mac[0] & 1)
		return !n->nomulti && (n->allmulti || filter_has(&n->multicast, mac));
	return !n->nouni && (n->alluni || !memcmp(mac, n->present_mac, ETH_ALEN) ||
			     filter_has(&n->unicast, mac));
}

bool virtio_net_wants(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
	return len >= FRAME_MIN && len <= VIRTIO_NET_FRAME_MAX && n->link &&
	       virtio_live(&n->virtio) && net_filter(n, frame);
}

struct rx_buffers {
	uint16_t head[VIRTQ_SIZE_MAX];
	uint32_t len[VIRTQ_SIZE_MAX];
	unsigned n;
	struct virtq_seg hdr[2]; /* where num_buffers is, in one piece or two */
};

/* Guest addresses of the two bytes of num_buffers, which a hostile driver may have split. */
static void rx_find_num_buffers(const struct virtq_chain *c, struct virtq_seg at[2])
{
	uint64_t skip = HDR_NUM_BUFFERS_AT;
	unsigned found = 0;

	for (unsigned i = c->nread; i < c->nread + c->nwrite && found < 2; i++) {
		while (found < 2 && skip < c->seg[i].len)
			at[found++] = (struct virtq_seg){ .gpa = c->seg[i].gpa + skip++, .len = 1 };
		skip -= skip < c->seg[i].len ? 0 : c->seg[i].len;
	}
}

/*
 * Fills buffers from n->frame (header and frame, total bytes). False: not enough, all buffers are
 * still available.
 */
static bool net_rx_fill(struct virtio_net *n, struct rx_buffers *b, uint64_t total)
{
	struct virtio *v = &n->virtio;
	struct virtq_chain *c = &n->chain;
	uint64_t done = 0;

	b->n = 0;
	while (done < total) {
		uint64_t part = total - done;

		if (b->n == v->limit || (b->n && !virtio_has(v, F_MRG_RXBUF)) ||
		    !virtq_pop(v, QUEUE_RX, c))
			break;
		if (c->write_len < part)
			part = c->write_len;
		if ((b->n == 0 && part < HDR_SIZE) || part == 0) {
			virtio_break(v);
			return false;
		}
		if (b->n == 0)
			rx_find_num_buffers(c, b->hdr);
		if (!virtq_write(v, c, 0, n->frame + done, part))
			return false;
		b->head[b->n] = c->head;
		b->len[b->n++] = (uint32_t)part;
		done += part;
	}
	if (done == total)
		return true;
	virtq_unpop(v, QUEUE_RX, b->n);
	return false;
}

static bool net_deliver(struct virtio_net *n, const uint8_t *frame, size_t len)
{
	struct virtio *v = &n->virtio;
	struct rx_buffers b;
	uint8_t num[2];

	memset(n->frame, 0, HDR_SIZE);
	n->frame[HDR_NUM_BUFFERS_AT] = 1;
	memcpy(n->frame + HDR_SIZE, frame, len);
	if (!net_rx_fill(n, &b, HDR_SIZE + len))
		return false;
	num[0] = (uint8_t)b.n;
	num[1] = (uint8_t)(b.n >> 8);
	for (unsigned i = 0; b.n > 1 && i < 2; i++)
		memory_write(v->mem, b.hdr[i].gpa, &num[i], 1);
	for (unsigned i = 0; i < b.n; i++)
		virtq_push(v, QUEUE_RX, b.head[i], b.len[i]);
	virtq_signal(v, QUEUE_RX);
	return true;
}

bool virtio_net_receive(struct virtio_net *n, const uint8_t *frame, size_t len)
{
	if (!virtio_net_wants(n, frame, len)) {
		n->rx_filtered++;
		return false;
	}
	if (!net_deliver(n, frame, len)) {
		n->rx_dropped++;
		return false;
	}
	n->rx_frames++;
	n->rx_bytes += len;
	return true;
}

/* --- control queue (5.1.6.5) --- */

static bool ctrl_rx(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	bool *const flag[] = { &n->promisc, &n->allmulti, &n->alluni,
			       &n->nomulti, &n->nouni,	  &n->nobcast };

	if (len != 1 || cmd >= sizeof(flag) / sizeof(flag[0]))
		return false;
	*flag[cmd] = data[0] != 0;
	return true;
}

/* Reads a table of struct virtio_net_ctrl_mac: le32 number of entries, then the addresses. */
static bool ctrl_mac_list(struct virtio_net_filter *f, struct rd *in)
{
	uint32_t n = rd_u32(in);

	memset(f, 0, sizeof(*f));
	if (in->bad || n > rd_left(in) / ETH_ALEN)
		return false;
	f->all = n > VIRTIO_NET_MACS;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t mac[ETH_ALEN];

		rd_get(in, mac, sizeof(mac));
		if (!f->all)
			memcpy(f->mac[f->n++], mac, sizeof(mac));
	}
	return true;
}

static bool ctrl_mac(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	struct rd in = RD_INIT(data, len);
	struct virtio_net_filter unicast, multicast;

	if (cmd == 1 && len == ETH_ALEN) {
		memcpy(n->present_mac, data, ETH_ALEN);
		return true;
	}
	if (cmd != 0 || !ctrl_mac_list(&unicast, &in) || !ctrl_mac_list(&multicast, &in))
		return false;
	n->unicast = unicast;
	n->multicast = multicast;
	return true;
}

static bool ctrl_announce(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len)
{
	if (cmd != 0 || !virtio_has(&n->virtio, F_GUEST_ANNOUNCE))
		return false;
	n->announce = false;
	return true;
}

static const struct {
	uint64_t feature;
	bool (*handle)(struct virtio_net *n, uint8_t cmd, const uint8_t *data, size_t len);
} ctrl_class[] = {
	[0] = { F_CTRL_RX, ctrl_rx },
	[1] = { F_CTRL_VQ, ctrl_mac },
	[3] = { F_GUEST_ANNOUNCE, ctrl_announce },
};

static bool net_ctrl(struct virtio_net *n, const uint8_t *data, size_t len)
{
	unsigned class = data[0];

	if (class >= sizeof(ctrl_class) / sizeof(ctrl_class[0]) || !ctrl_class[class].handle ||
	    !virtio_has(&n->virtio, ctrl_class[class].feature))
		return false;
	return ctrl_class[class].handle(n, data[1], data + 2, len - 2);
}

static void net_notify_ctrl(struct virtio_net *n)
{
	struct virtio *v = &n->virtio;
	struct virtq_chain *c = &n->chain;

	for (unsigned i = 0; i < v->limit && virtq_pop(v, QUEUE_CTRL, c); i++) {
		uint8_t ack = CTRL_ERR;

		if (c->read_len < 2 || c->write_len < 1) {
			virtio_break(v);
			return;
		}
		if (c->read_len <= CTRL_DATA_MAX) {
			if (!virtq_read(v, c, 0, n->frame, c->read_len))
				return;
			ack = net_ctrl(n, n->frame, c->read_len) ? CTRL_OK : CTRL_ERR;
		}
		virtq_write(v, c, 0, &ack, 1);
		virtq_push(v, QUEUE_CTRL, c->head, 1);
	}
	virtq_listen(v, QUEUE_CTRL);
	virtq_signal(v, QUEUE_CTRL);
}

/* Receive buffers are picked up when a frame comes, so their queue needs no notification. */
static void net_notify(struct virtio *v, unsigned queue)
{
	if (queue == QUEUE_TX)
		net_notify_tx(net_of(v));
	else if (queue == QUEUE_CTRL)
		net_notify_ctrl(net_of(v));
}

static void net_class_reset(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	memcpy(n->present_mac, n->mac, ETH_ALEN);
	n->announce = false;
	n->promisc = true;
	n->allmulti = n->alluni = n->nomulti = n->nouni = n->nobcast = false;
	memset(&n->unicast, 0, sizeof(n->unicast));
	memset(&n->multicast, 0, sizeof(n->multicast));
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.nqueues = QUEUES,
	.config_size = CONFIG_SIZE,
	.config_get = net_config_get,
	.notify = net_notify,
	.reset = net_class_reset,
};

void virtio_net_init(struct virtio_net *n, struct memory *mem, const uint8_t mac[6],
		     const struct virtio_net_effects *fx)
{
	memset(n, 0, sizeof(*n));
	n->fx = *fx;
	n->link = true;
	memcpy(n->mac, mac, ETH_ALEN);
	virtio_init(&n->virtio, &net_class, mem, FEATURES);
	net_class_reset(&n->virtio);
}

void virtio_net_set_link(struct virtio_net *n, bool up)
{
	if (n->link == up)
		return;
	n->link = up;
	virtio_config_changed(&n->virtio);
}

bool virtio_net_announce(struct virtio_net *n)
{
	if (!virtio_live(&n->virtio) || !virtio_has(&n->virtio, F_GUEST_ANNOUNCE))
		return false;
	n->announce = true;
	virtio_config_changed(&n->virtio);
	return true;
}

static void net_reset(void *dev)
{
	struct virtio_net *n = dev;

	n->link = true;
	virtio_reset(&n->virtio);
}

static void filter_save(const struct virtio_net_filter *f, struct buf *out)
{
	buf_put_u8(out, f->n);
	buf_put_u8(out, f->all);
	buf_put(out, f->mac, (size_t)f->n * ETH_ALEN);
}

static bool filter_restore(struct virtio_net_filter *f, struct rd *in)
{
	uint8_t n = rd_u8(in), all = rd_u8(in);

	memset(f, 0, sizeof(*f));
	if (in->bad || n > VIRTIO_NET_MACS || all > 1)
		return false;
	f->n = n;
	f->all = all;
	rd_get(in, f->mac, (size_t)n * ETH_ALEN);
	return !in->bad;
}

/* Bits of the flags byte pair, in this order. */
#define NET_FLAGS(n)                                                                     \
	{                                                                                \
		&(n)->link, &(n)->announce, &(n)->promisc, &(n)->allmulti, &(n)->alluni, \
			&(n)->nomulti, &(n)->nouni, &(n)->nobcast                        \
	}

static void net_save(const void *dev, struct buf *out)
{
	const struct virtio_net *n = dev;
	const bool *const flag[8] = NET_FLAGS(n);
	uint8_t flags = 0;

	for (unsigned i = 0; i < 8; i++)
		flags |= (uint8_t)(*flag[i] << i);
	virtio_save(&n->virtio, out);
	buf_put(out, n->mac, ETH_ALEN);
	buf_put(out, n->present_mac, ETH_ALEN);
	buf_put_u8(out, flags);
	filter_save(&n->unicast, out);
	filter_save(&n->multicast, out);
}

static int net_restore(void *dev, struct rd *in)
{
	struct virtio_net *n = dev;
	bool *const flag[8] = NET_FLAGS(n);
	uint8_t mac[ETH_ALEN], flags;

	if (virtio_restore(&n->virtio, in))
		goto bad;
	rd_get(in, mac, sizeof(mac));
	rd_get(in, n->present_mac, ETH_ALEN);
	flags = rd_u8(in);
	for (unsigned i = 0; i < 8; i++)
		*flag[i] = flags >> i & 1;
	if (memcmp(mac, n->mac, sizeof(mac)) || !filter_restore(&n->unicast, in) ||
	    !filter_restore(&n->multicast, in) || in->bad)
		goto bad;
	return 0;
bad:
	net_reset(n);
	return -EINVAL;
}

const struct device_ops virtio_net_ops = {
	.name = "virtio-net",
	.reset = net_reset,
	.save = net_save,
	.restore = net_restore,
};
