// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/seccomp.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_fprog programs[THREAD_ROLES];

bool seccomp_allows(const struct seccomp_call *c, enum thread_role role)
{
	const uint32_t threads = ~(1u << THREAD_KEEPER);

	return role == THREAD_MAIN ? c->roles & threads : c->roles >> role & 1;
}

static bool is_refusal(const struct seccomp_call *c)
{
	return c->rule == CALL_ABSENT || c->rule == CALL_REFUSED;
}

static bool seen_before(size_t i, enum thread_role role)
{
	for (size_t j = 0; j < i; j++) {
		if (seccomp_allows(&seccomp_calls[j], role) && !strcmp(seccomp_calls[j].name, seccomp_calls[i].name))
			return true;
	}
	return false;
}

const char *seccomp_rule_text(enum seccomp_rule rule)
{
	static const char *const text[] = {
		[CALL_ANY] = "allow",
		[CALL_NO_EXEC] = "allow, memory not executable",
		[CALL_THREAD] = "allow, threads only",
		[CALL_FILTER] = "allow, to narrow filters",
		[CALL_NAME] = "allow, the thread's name",
		[CALL_FSTAT] = "allow, descriptors only",
		[CALL_IS_TTY] = "allow, TCGETS",
		[CALL_SET_TTY] = "allow, TCSETS",
		[CALL_VMX] = "allow, of the VT-x module",
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
		n += seccomp_allows(&seccomp_calls[i], role) && !is_refusal(&seccomp_calls[i]) && !seen_before(i, role);
	return n;
}

/* clone(): exactly the flags of pthread_create(), so neither a process nor a namespace. */
#define THREAD_FLAGS                                                                                       \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static int add_call(scmp_filter_ctx ctx, const struct seccomp_call *c)
{
	int nr = seccomp_syscall_resolve_name(c->name);
	const uint32_t allow = SCMP_ACT_ALLOW;

	if (nr == __NR_SCMP_ERROR)
		return -ENOSYS;
	switch (c->rule) {
	case CALL_NO_EXEC:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	case CALL_THREAD:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A0(SCMP_CMP_EQ, THREAD_FLAGS, 0));
	case CALL_FILTER:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A0(SCMP_CMP_EQ, SECCOMP_SET_MODE_FILTER, 0));
	case CALL_NAME:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	case CALL_FSTAT:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
	case CALL_IS_TTY:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A1(SCMP_CMP_EQ, TCGETS, 0));
	case CALL_SET_TTY:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A1(SCMP_CMP_EQ, TCSETS, 0));
	case CALL_VMX: /* type and upper bits of the number: twinstep_vmx.h has 54e0h to 54e7h */
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xfff8, 0x54e0));
	case CALL_OWN_PROCESS:
		return seccomp_rule_add(ctx, allow, nr, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	case CALL_REFUSED:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), nr, 0);
	case CALL_ABSENT:
		return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
	default:
		return seccomp_rule_add(ctx, allow, nr, 0);
	}
}

/* libseccomp loads filters itself, but then each thread would have to translate its own. */
static int take_program(scmp_filter_ctx ctx, struct sock_fprog *p)
{
	int fd = memfd_create("twinstep-filter", MFD_CLOEXEC), ret = -ENOMEM;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (seccomp_export_bpf(ctx, fd) < 0 || fstat(fd, &st) < 0 || !(p->filter = malloc((size_t)st.st_size)))
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
