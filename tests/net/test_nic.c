// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NIC backends on interfaces of a network namespace of their own: what the guest sends comes out on
 * the other side, and the other way round; a capture shows what is for the guest and nothing else.
 */
#include "net/nic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit.h"

#define WAIT_MS 20000 /* for what is on its way already */

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t other_mac[6] = { 0x52, 0x54, 0, 9, 9, 9 };
static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
static const uint8_t multicast[6] = { 0x33, 0x33, 0, 0, 0, 1 };

static bool namespaces;

static struct nic *open_nic(const char *spec)
{
	struct err err = ERR_INIT;
	struct nic *nic = nic_open(spec, guest_mac, &err);

	ck_assert_msg(nic != NULL, "%s", err.text);
	return nic;
}

static void refused(const char *spec, const char *word)
{
	struct err err = ERR_INIT;

	ck_assert_ptr_null(nic_open(spec, guest_mac, &err));
	ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
}

/* A raw socket on the far side. */
static int open_wire(const char *iface)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex(iface) };
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));

	ck_assert_int_ge(s, 0);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return s;
}

static size_t make_frame(uint8_t frame[100], const uint8_t dst[6], const uint8_t src[6],
			 uint8_t mark)
{
	memset(frame, mark, 100);
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	frame[12] = 0x88; /* local experimental */
	frame[13] = 0xb5;
	return 100;
}

static bool wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, WAIT_MS) == 1;
}

/* Next frame with our experimental type that the NIC has; its mark, or -1 when none comes. */
static int next_mark(struct nic *nic)
{
	uint8_t frame[NIC_FRAME_MAX];

	for (int i = 0; i < 200; i++) {
		ssize_t n = nic_recv(nic, frame, sizeof(frame));

		if (n == 100 && frame[12] == 0x88 && frame[13] == 0xb5)
			return frame[99];
		if (n == -EAGAIN && !wait_readable(nic_fd(nic)))
			return -1;
	}
	return -1;
}

static int next_mark_on_wire(int wire)
{
	uint8_t frame[2000];

	for (int i = 0; i < 200; i++) {
		ssize_t n = recv(wire, frame, sizeof(frame), 0);

		if (n == 100 && frame[12] == 0x88 && frame[13] == 0xb5)
			return frame[99];
		if (n < 0 && !wait_readable(wire))
			return -1;
	}
	return -1;
}

static void transmit(int wire, const uint8_t dst[6], const uint8_t src[6], uint8_t mark)
{
	uint8_t frame[100];
	size_t n = make_frame(frame, dst, src, mark);

	ck_assert_int_eq(send(wire, frame, n, 0), (int)n);
}

static void make_veth(void)
{
	ck_assert_int_eq(system("ip link add v0 type veth peer name v1 && ip link set v0 up && ip "
				"link set v1 up"),
			 0);
}

START_TEST(checks_specs)
{
	refused("pigeon:x", "unknown network backend");
	refused("tap", "name of a network interface");
	refused("tap:", "name of a network interface");
	refused("tap:a/b", "name of a network interface");
	refused("tap:a%d", "name of a network interface");
	refused("pcap:0123456789abcdef", "name of a network interface");
	refused("none:x", "takes no name");
	ck_assert_int_eq(nic_check_spec("tap:tap0", NULL), 0);
	ck_assert_int_eq(nic_check_spec("pcap:eth0", NULL), 0);
}
END_TEST

/* In time, too late, and in time again: the second one is not seen. */
static void sends_before(struct nic *nic, int wire)
{
	uint8_t frame[100];

	make_frame(frame, broadcast, guest_mac, 11);
	ck_assert_int_eq(nic_send_before(nic, frame, sizeof(frame), UINT64_MAX), 0);
	make_frame(frame, broadcast, guest_mac, 12);
	ck_assert_int_eq(nic_send_before(nic, frame, sizeof(frame), 1), -ETIME);
	make_frame(frame, broadcast, guest_mac, 13);
	ck_assert_int_eq(nic_send_before(nic, frame, sizeof(frame), UINT64_MAX), 0);
	ck_assert_int_eq(next_mark_on_wire(wire), 11);
	ck_assert_int_eq(next_mark_on_wire(wire), 13);
	ck_assert_int_lt(nic_send_before(nic, frame, 1, UINT64_MAX),
			 0); /* the kernel wants an Ethernet header */
}

START_TEST(none_swallows)
{
	struct nic *nic = open_nic("none");
	uint8_t frame[100];

	ck_assert_int_eq(nic_send_before(nic, frame, sizeof(frame), UINT64_MAX), 0);

	ck_assert_int_eq(nic_fd(nic), -1);
	ck_assert_int_eq(nic_send(nic, frame, sizeof(frame)), 0);
	ck_assert_int_eq(nic_recv(nic, frame, sizeof(frame)), -EAGAIN);
	nic_close(nic);
	nic_close(NULL);
}
END_TEST

START_TEST(tap_carries_frames)
{
	struct nic *nic = open_nic("tap:t0");
	int wire = open_wire("t0");
	uint8_t frame[100];

	make_frame(frame, broadcast, guest_mac, 7);
	ck_assert_int_eq(nic_send(nic, frame, sizeof(frame)), 0);
	ck_assert_int_eq(next_mark_on_wire(wire), 7);
	transmit(wire, guest_mac, other_mac, 8);
	ck_assert_int_eq(next_mark(nic), 8);
	sends_before(nic, wire);
	refused("tap:t0", "in use");
	nic_close(nic);
	ck_assert_uint_eq(if_nametoindex("t0"), 0); /* ours alone: gone */
	close(wire);
}
END_TEST

START_TEST(tap_refuses_other_interfaces)
{
	make_veth();
	refused("tap:v0", "not a tap");
	ck_assert_int_eq(system("ip tuntap add t1 mode tap"), 0);
	nic_close(open_nic("tap:t1"));
	ck_assert_uint_ne(if_nametoindex("t1"), 0); /* somebody else's: stays */
}
END_TEST

START_TEST(pcap_filters)
{
	struct nic *nic;
	int wire;

	make_veth();
	nic = open_nic("pcap:v1");
	wire = open_wire("v0");
	transmit(wire, other_mac, broadcast, 1); /* not for the guest */
	transmit(wire, broadcast, guest_mac, 2); /* the guest's own, come round by a bridge */
	transmit(wire, guest_mac, other_mac, 3); /* for the guest */
	transmit(wire, broadcast, other_mac, 4); /* for everybody */
	transmit(wire, multicast, other_mac, 5); /* for a group */
	transmit(wire, other_mac, other_mac, 6);
	transmit(wire, guest_mac, other_mac, 77); /* the last one */
	ck_assert_int_eq(next_mark(nic), 3);
	ck_assert_int_eq(next_mark(nic), 4);
	ck_assert_int_eq(next_mark(nic), 5);
	ck_assert_int_eq(next_mark(nic), 77);
	nic_close(nic);
	close(wire);
}
END_TEST

START_TEST(pcap_does_not_hear_itself)
{
	uint8_t frame[100];
	struct nic *nic;
	int wire;

	make_veth();
	nic = open_nic("pcap:v1");
	wire = open_wire("v0");
	make_frame(frame, broadcast, other_mac, 1); /* not even with another source address */
	ck_assert_int_eq(nic_send(nic, frame, sizeof(frame)), 0);
	ck_assert_int_eq(next_mark_on_wire(wire), 1);
	transmit(wire, guest_mac, other_mac, 2);
	ck_assert_int_eq(next_mark(nic), 2);
	sends_before(nic, wire);
	nic_close(nic);
	close(wire);
}
END_TEST

static unsigned sum_words(const uint8_t *p, size_t n, unsigned sum)
{
	for (size_t i = 0; i < n; i += 2)
		sum += (unsigned)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * A UDP frame over IPv4 whose checksum is left to the hardware, as a veth hands it over; 18 bytes
 * of payload.
 */
static size_t make_udp(uint8_t *f, bool unfinished)
{
	static const uint8_t ip[20] = { 0x45, 0, 0,  46, 0, 0, 0,  0, 64, 17,
					0,    0, 10, 0,	 0, 1, 10, 0, 0,  2 };
	unsigned pseudo;

	memset(f, 0x31, 60);
	memcpy(f, guest_mac, 6);
	memcpy(f + 6, other_mac, 6);
	f[12] = 8;
	f[13] = 0;
	memcpy(f + 14, ip, 20);
	memcpy(f + 34, "\x04\xd2\x16\x2e\0\x1a\0\0", 8);
	pseudo = sum_words(ip + 12, 8, 17 + 26);
	f[40] = unfinished ? (uint8_t)(pseudo >> 8) : 0x12;
	f[41] = unfinished ? (uint8_t)pseudo : 0x34;
	return 60;
}

static ssize_t next_udp(struct nic *nic, uint8_t *frame)
{
	for (int i = 0; i < 200; i++) {
		ssize_t n = nic_recv(nic, frame, NIC_FRAME_MAX);

		if (n == 60 && frame[12] == 8 && frame[23] == 17)
			return n;
		if (n == -EAGAIN && !wait_readable(nic_fd(nic)))
			break;
	}
	return -1;
}

START_TEST(pcap_finishes_checksums)
{
	uint8_t frame[NIC_FRAME_MAX];
	struct nic *nic;
	int wire;

	make_veth();
	nic = open_nic("pcap:v1");
	wire = open_wire("v0");
	ck_assert_int_eq(send(wire, frame, make_udp(frame, true), 0), 60);
	ck_assert_int_eq(next_udp(nic, frame), 60);
	ck_assert_uint_eq(sum_words(frame + 34, 26, sum_words(frame + 26, 8, 17 + 26)), 0xffff);
	ck_assert_int_eq(send(wire, frame, make_udp(frame, false), 0),
			 60); /* simply wrong: the guest shall see it */
	ck_assert_int_eq(next_udp(nic, frame), 60);
	ck_assert_uint_eq(frame[40], 0x12);
	ck_assert_uint_eq(frame[41], 0x34);
	nic_close(nic);
	close(wire);
}
END_TEST

/*
 * Four datagrams that their sender has left joined: they arrive as they are, or not at all, and are
 * counted.
 */
START_TEST(pcap_does_not_pass_on_joined_datagrams)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	static uint8_t data[4800], frame[NIC_FRAME_MAX];
	int part = 1200, seen = 0, s;
	struct nic *nic;

	make_veth();
	ck_assert_int_eq(system("ip addr add 10.9.9.1/24 dev v0 && ip neigh add 10.9.9.2 lladdr "
				"52:54:00:01:02:03 dev v0"),
			 0);
	nic = open_nic("pcap:v1");
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	to.sin_addr.s_addr = inet_addr("10.9.9.2");
	ck_assert_int_eq(setsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &part, sizeof(part)), 0);
	ck_assert_int_eq(sendto(s, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to)),
			 sizeof(data));
	for (int i = 0; i < 200 && seen < 4 && !atomic_load(&nic->unusable); i++) {
		ssize_t n = nic_recv(nic, frame, sizeof(frame));

		ck_assert_int_le(n, 1514);
		seen += n == 42 + part && frame[23] == IPPROTO_UDP;
		if (n == -EAGAIN && !atomic_load(&nic->unusable) && !wait_readable(nic_fd(nic)))
			break;
	}
	ck_assert_int_eq(seen / 4 + (int)atomic_load(&nic->unusable), 1);
	nic_close(nic);
	close(s);
}
END_TEST

START_TEST(pcap_names_what_is_wrong)
{
	make_veth();
	refused("pcap:nosuch0", "nosuch0");
	ck_assert_int_eq(system("ip link set v1 down"), 0);
	refused("pcap:v1", "v1");
}
END_TEST

/* ---- an interface that goes and comes ---- */

struct shaky {
	struct nic nic;
	int error; /* what calls return, 0: they work */
	int attached;
};

static int shaky_fd(const struct nic *nic)
{
	return nic_is_lost(nic) ? -1 : 0;
}

static int shaky_send(struct nic *nic, const void *frame, size_t len)
{
	return ((struct shaky *)nic)->error;
}

static ssize_t shaky_recv(struct nic *nic, void *frame, size_t max)
{
	struct shaky *s = (struct shaky *)nic;

	return s->error ? s->error : 60;
}

static int shaky_attach(struct nic *nic, int socket_fd)
{
	return ((struct shaky *)nic)->attached;
}

static const struct nic_ops shaky_ops = {
	.scheme = "shaky",
	.fd = shaky_fd,
	.send = shaky_send,
	.recv = shaky_recv,
	.attach = shaky_attach,
};

START_TEST(a_lost_interface_is_counted_once)
{
	struct shaky s = { .nic = { .ops = &shaky_ops, .name = "x" }, .error = -EAGAIN };
	uint8_t frame[60] = { 0 };

	ck_assert_int_eq(nic_recv(&s.nic, frame, 60), -EAGAIN);
	ck_assert(!nic_is_lost(&s.nic));
	s.error = -EMSGSIZE; /* the frame's fault */
	ck_assert_int_eq(nic_send(&s.nic, frame, 60), -EMSGSIZE);
	ck_assert(!nic_is_lost(&s.nic));
	s.error = -EBADFD;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(nic_recv(&s.nic, frame, 60), -EBADFD);
		ck_assert_int_eq(nic_send(&s.nic, frame, 60), -EBADFD);
		ck_assert_int_eq(nic_send_before(&s.nic, frame, 60, UINT64_MAX), -ENETDOWN);
	}
	ck_assert(nic_is_lost(&s.nic));
	ck_assert_int_eq(nic_fd(&s.nic), -1);
	ck_assert_uint_eq(s.nic.losses, 1);
	s.attached = -ENODEV;
	nic_found(&s.nic, nic_attach(&s.nic, -1, guest_mac));
	ck_assert(nic_is_lost(&s.nic));
	s.attached = s.error = 0;
	nic_found(&s.nic, nic_attach(&s.nic, -1, guest_mac));
	ck_assert(!nic_is_lost(&s.nic));
	s.error = -ENETDOWN;
	ck_assert_int_eq(nic_recv(&s.nic, frame, 60), -ENETDOWN);
	ck_assert_uint_eq(s.nic.losses, 2);
	s.error = 0; /* a frame that had arrived before says nothing */
	ck_assert_int_eq(nic_recv(&s.nic, frame, 60), 60);
	ck_assert(nic_is_lost(&s.nic));
}
END_TEST

static void enter_namespace(void)
{
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
}

static void add(TCase *tc)
{
	if (namespaces)
		tcase_add_checked_fixture(tc, enter_namespace, NULL);
	tcase_add_test(tc, checks_specs);
	tcase_add_test(tc, none_swallows);
	tcase_add_test(tc, a_lost_interface_is_counted_once);
	if (!namespaces)
		return;
	tcase_add_test(tc, tap_carries_frames);
	tcase_add_test(tc, tap_refuses_other_interfaces);
	tcase_add_test(tc, pcap_filters);
	tcase_add_test(tc, pcap_does_not_hear_itself);
	tcase_add_test(tc, pcap_finishes_checksums);
	tcase_add_test(tc, pcap_does_not_pass_on_joined_datagrams);
	tcase_add_test(tc, pcap_names_what_is_wrong);
}

int main(int argc, char **argv)
{
	unit_arguments(argc, argv);
	namespaces = system("unshare --net true 2>/dev/null && test -c /dev/net/tun && command -v "
			    "ip >/dev/null") == 0;
	if (!namespaces)
		puts("skip nic.interfaces: no right to make a network namespace here");
	return unit_run("nic", add);
}
