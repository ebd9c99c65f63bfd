// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/seccomp.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/tcp_options.h"
#include "hypervisor/vmx/module/twinstep_vmx.h"

/* madvise() of newer kernels: guard pages of a thread's stack, in newer C libraries. */
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE  103

static struct sock_fprog programs[THREAD_ROLES];

bool seccomp_allows(const struct seccomp_call *c, enum thread_role role)
{
	const uint32_t threads = (1u << THREAD_KEEPER) - 1;

	return role == THREAD_MAIN ? c->roles & threads : c->roles >> role & 1;
}

static bool is_refusal(const struct seccomp_call *c)
{
	return c->rule == CALL_ABSENT || c->rule == CALL_REFUSED;
}

static bool seen_before(size_t i, enum thread_role role)
{
	for (size_t j = 0; j < i; j++) {
		if (seccomp_allows(&seccomp_calls[j], role) &&
		    !strcmp(seccomp_calls[j].name, seccomp_calls[i].name))
			return true;
	}
	return false;
}

const char *seccomp_rule_text(enum seccomp_rule rule)
{
	static const char *const text[] = {
		[CALL_ANY] = "allow",
		[CALL_NO_EXEC] = "allow, memory not executable",
		[CALL_HEAP] = "allow, own memory, not executable",
		[CALL_ADVICE] = "allow, but not to share pages",
		[CALL_THREAD] = "allow, threads only",
		[CALL_FILTER] = "allow, to narrow filters",
		[CALL_NAME] = "allow, the thread's name",
		[CALL_FSTAT] = "allow, of a descriptor",
		[CALL_SIZE] = "allow, BLKGETSIZE64",
		[CALL_IS_TTY] = "allow, TCGETS",
		[CALL_SET_TTY] = "allow, TCSETS",
		[CALL_VMX] = "allow, of the VT-x module",
		[CALL_VERBS] = "allow, of an RDMA device",
		[CALL_QUEUE] = "allow, shared, not executable",
		[CALL_SEND] = "allow, to nobody else",
		[CALL_SEND_MESSAGE] = "allow, no connecting",
		[CALL_NO_DELAY] = "allow, TCP_NODELAY, TCP_RTO_MIN_US, TCP_DELACK_MAX_US",
		[CALL_PACKETS] = "allow, of packet capture",
		[CALL_PEER] = "allow, SO_PEERCRED",
		[CALL_ERROR] = "allow, SO_ERROR",
		[CALL_LOOK] = "allow, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFFLAGS, TUNGETIFF",
		[CALL_JOIN] = "allow, TUNSETIFF, SIOCSIFFLAGS",
		[CALL_ADD_MEMBER] = "allow, PACKET_ADD_MEMBERSHIP",
		[CALL_NO_BLOCK] = "allow, FIONBIO",
		[CALL_SET_CAPTURE] = "allow, SO_ATTACH_FILTER",
		[CALL_FLAGS] = "allow, F_GETFL, F_SETFL, F_SETFD",
		[CALL_SEAL] = "allow, F_ADD_SEALS",
		[CALL_OWN_LIMIT] = "allow, own RLIMIT_AS",
		[CALL_ABORT] = "allow, SIGABRT",
		[CALL_OWN_PROCESS] = "allow, this process",
		[CALL_ABSENT] = "refuse, ENOSYS",
		[CALL_REFUSED] = "refuse, EACCES",
	};

	return text[rule];
}

unsigned seccomp_count(enum thread_role role)
{
	unsigned n = 0;

	for (size_t i = 0; i < seccomp_ncalls; i++)
		n += seccomp_allows(&seccomp_calls[i], role) && !is_refusal(&seccomp_calls[i]) &&
		     !seen_before(i, role);
	return n;
}

/* clone(): exactly the flags of pthread_create(), so neither a process nor a namespace. */
#define THREAD_FLAGS                                                                        \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
#define MAP_KIND   (MAP_TYPE | MAP_ANONYMOUS)
#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE)
#define OTHERS(x)  (0xffffffffu & ~(unsigned)(x))

#define IS(arg, value)                     \
	{                                  \
		arg, SCMP_CMP_EQ, value, 0 \
	}
#define HAS(arg, mask, value)                        \
	{                                            \
		arg, SCMP_CMP_MASKED_EQ, mask, value \
	}

/*
 * Conditions on arguments. A call is allowed when all conditions of one of its rule's rows hold.
 * Filters see an argument's value only: memory behind a pointer cannot be looked at.
 */
static const struct {
	enum seccomp_rule rule;
	unsigned n;
	struct scmp_arg_cmp arg[3];
} checks[] = {
	{ CALL_NO_EXEC, 1, { HAS(2, PROT_EXEC, 0) } },
	{ CALL_HEAP, 2, { HAS(2, PROT_EXEC, 0), HAS(3, MAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_DONTNEED) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_FREE) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_HUGEPAGE) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_UNMERGEABLE) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_DONTFORK) } },
	{ CALL_ADVICE, 1, { IS(2, MADV_DONTDUMP) } },
	{ CALL_ADVICE, 1, { IS(2, ADVICE_GUARD_INSTALL) } },
	{ CALL_ADVICE, 1, { IS(2, ADVICE_GUARD_REMOVE) } },
	{ CALL_THREAD, 1, { IS(0, THREAD_FLAGS) } },
	{ CALL_FILTER, 2, { IS(0, SECCOMP_SET_MODE_FILTER), IS(1, 0) } },
	{ CALL_NAME, 1, { IS(0, PR_SET_NAME) } },
	{ CALL_FSTAT, 1, { HAS(3, AT_EMPTY_PATH, AT_EMPTY_PATH) } },
	{ CALL_SIZE, 1, { IS(1, BLKGETSIZE64) } },
	{ CALL_IS_TTY, 1, { IS(1, TCGETS) } },
	{ CALL_SET_TTY, 1, { IS(1, TCSETS) } },
	{ CALL_VMX,
	  1,
	  { HAS(1, _IOC(0, 0xff, 0xf8, 0), _IOC(0, TWVMX_IOC_TYPE, TWVMX_IOC_FIRST, 0)) } },
	{ CALL_VERBS, 1, { IS(1, RDMA_VERBS_IOCTL) } },
	{ CALL_QUEUE, 2, { HAS(2, PROT_EXEC, 0), HAS(3, MAP_TYPE | MAP_ANONYMOUS, MAP_SHARED) } },
	{ CALL_SEND, 2, { HAS(3, OTHERS(SEND_FLAGS), 0), IS(4, 0) } },
	{ CALL_SEND_MESSAGE, 1, { HAS(2, OTHERS(SEND_FLAGS), 0) } },
	{ CALL_NO_DELAY, 2, { IS(1, IPPROTO_TCP), IS(2, TCP_NODELAY) } },
	{ CALL_NO_DELAY, 2, { IS(1, IPPROTO_TCP), IS(2, TCP_RTO_MIN_US) } },
	{ CALL_NO_DELAY, 2, { IS(1, IPPROTO_TCP), IS(2, TCP_DELACK_MAX_US) } },
	{ CALL_PACKETS, 2, { IS(1, SOL_SOCKET), IS(2, SO_ATTACH_FILTER) } },
	{ CALL_PACKETS, 2, { IS(1, SOL_SOCKET), IS(2, SO_DETACH_FILTER) } },
	{ CALL_PACKETS, 2, { IS(1, SOL_PACKET), IS(2, PACKET_RX_RING) } },
	{ CALL_PEER, 2, { IS(1, SOL_SOCKET), IS(2, SO_PEERCRED) } },
	{ CALL_ERROR, 2, { IS(1, SOL_SOCKET), IS(2, SO_ERROR) } },
	{ CALL_LOOK, 1, { IS(1, SIOCGIFNAME) } },
	{ CALL_LOOK, 1, { IS(1, SIOCGIFINDEX) } },
	{ CALL_LOOK, 1, { IS(1, SIOCGIFFLAGS) } },
	{ CALL_LOOK, 1, { IS(1, TUNGETIFF) } },
	{ CALL_JOIN, 1, { IS(1, TUNSETIFF) } },
	{ CALL_JOIN, 1, { IS(1, SIOCSIFFLAGS) } },
	{ CALL_ADD_MEMBER, 2, { IS(1, SOL_PACKET), IS(2, PACKET_ADD_MEMBERSHIP) } },
	{ CALL_NO_BLOCK, 1, { IS(1, FIONBIO) } },
	{ CALL_SET_CAPTURE, 2, { IS(1, SOL_SOCKET), IS(2, SO_ATTACH_FILTER) } },
	{ CALL_FLAGS, 1, { IS(1, F_GETFL) } },
	{ CALL_FLAGS, 1, { IS(1, F_SETFL) } },
	{ CALL_FLAGS, 1, { IS(1, F_SETFD) } },
	{ CALL_SEAL, 1, { IS(1, F_ADD_SEALS) } },
	{ CALL_ABORT, 1, { IS(0, SIGABRT) } },
	{ CALL_OWN_LIMIT, 2, { IS(0, 0), IS(1, RLIMIT_AS) } },
};

static int add_checked(scmp_filter_ctx ctx, int nr, enum seccomp_rule rule)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (checks[i].rule == rule)
			ret = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, checks[i].n,
						     checks[i].arg);
	}
	return ret;
}

static int add_call(scmp_filter_ctx ctx, const struct seccomp_call *c)
{
	int nr = seccomp_syscall_resolve_name(c->name);

	if (nr == __NR_SCMP_ERROR)
		return -ENOSYS;
	switch (c->rule) {
	case CALL_ANY:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
	case CALL_OWN_PROCESS:
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1,
					SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	case CALL_REFUSED:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), nr, 0);
	case CALL_ABSENT:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
	default:
		return add_checked(ctx, nr, c->rule);
	}
}

/* libseccomp loads filters itself, but then each thread would have to translate its own. */
static int take_program(scmp_filter_ctx ctx, struct sock_fprog *p)
{
	int fd = memfd_create("twinstep-filter", MFD_CLOEXEC), ret = -ENOMEM;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (seccomp_export_bpf(ctx, fd) < 0 || fstat(fd, &st) < 0 ||
	    !(p->filter = malloc((size_t)st.st_size)))
		goto out;
	if (pread(fd, p->filter, (size_t)st.st_size, 0) == st.st_size) {
		p->len = (unsigned short)((size_t)st.st_size / sizeof(struct sock_filter));
		ret = 0;
	}
out:
	close(fd);
	return ret;
}

static int prepare_role(enum thread_role role)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = ctx ? 0 : -ENOMEM;

	if (ret == 0)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (ret == 0) /* 32-bit programs' calls, and x32's: else only the thread would end */
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; ret == 0 && i < seccomp_ncalls; i++) {
		if (seccomp_allows(&seccomp_calls[i], role))
			ret = add_call(ctx, &seccomp_calls[i]);
	}
	if (ret == 0)
		ret = take_program(ctx, &programs[role]);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}

int seccomp_prepare(uint32_t roles)
{
	int ret = 0;

	for (enum thread_role r = 0; ret == 0 && r < THREAD_ROLES; r++) {
		if (roles >> r & 1 && !programs[r].len)
			ret = prepare_role(r);
	}
	return ret;
}

int seccomp_enter(enum thread_role role)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[role]) < 0 ? -errno : 0;
}
