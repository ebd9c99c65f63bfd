// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The jail's self-test: proves the jail from the inside. Each attempt runs in a jail of its own, in
 * a thread of the role under test, in place of a device model that an attacker has taken over; it
 * must fail or be the end of the process. Attempts are made twice: with all layers, and without the
 * system call filters, so that what lies under them is tested as well.
 */
#include "host/jail_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "isolation/jail.h"

/* ---- attempts: 0 or positive: it worked; -1 and errno: it did not ---- */

static long try_open(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long try_create(void)
{
	return open("/file", O_WRONLY | O_CREAT, 0600);
}

static long try_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/notify" };
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);

	return s < 0 ? -1 : connect(s, (struct sockaddr *)&sa, sizeof(sa));
}

static long try_raw_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_raw_ip_socket(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid() ? getppid() : 2, NULL, NULL);
}

/* The keeper: the only other process in sight. */
static long try_kill(void)
{
	return kill(2, SIGKILL);
}

static long try_kill_all(void)
{
	return kill(-1, 0);
}

static long try_fork(void)
{
	pid_t pid = (pid_t)syscall(SYS_fork);

	if (pid == 0)
		_exit(0);
	return pid;
}

/* Processes until there are too many for anybody; they end with their namespace. */
static long try_fork_bomb(void)
{
	for (int i = 0; i < 500; i++) {
		pid_t pid = (pid_t)syscall(SYS_fork);

		if (pid < 0)
			return -1;
		if (pid == 0) {
			pause();
			_exit(0);
		}
	}
	return 0;
}

static long try_exec(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };

	return execve("/bin/true", argv, NULL);
}

static long try_mount(void)
{
	return mount("none", "/", "tmpfs", 0, NULL);
}

static long try_namespace(void)
{
	return unshare(CLONE_NEWNS);
}

static long try_setuid(void)
{
	return setresuid(0, 0, 0);
}

static long try_bpf(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long try_perf(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE, .size = sizeof(attr) };

	return syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
}

static long try_keyctl(void)
{
	return syscall(SYS_keyctl, 1, NULL); /* KEYCTL_JOIN_SESSION_KEYRING */
}

static long try_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, O_CLOEXEC);
}

static long try_module(void)
{
	return syscall(SYS_init_module, "", 0, "");
}

static long try_host_name(void)
{
	return sethostname("x", 1);
}

static long try_exec_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

static long try_memory(void)
{
	void *p = mmap(NULL, 1ull << 40, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}

/* None of the pieces is suspicious. */
static long try_memory_in_pieces(void)
{
	const size_t piece = 64 << 20;

	for (int i = 0; i < 1024; i++) {
		if (mmap(NULL, piece, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			return -1;
	}
	return 0;
}

static long try_raise_limit(void)
{
	const struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit(RLIMIT_AS, &r);
}

/* A descriptor of the wrong kind: one that was open for reading, as a kernel image is. */
static int readable = -1, grows = -1;
/* A descriptor that the machine's starter forgot to close. */
static int forgotten = -1;

static long try_forgotten(void)
{
	return write(forgotten, "x", 1);
}

static long try_write_input(void)
{
	return write(readable, "x", 1);
}

static long try_fill_disk(void)
{
	return pwrite(grows, "x", 1, 1ll << 42);
}

static long try_inject_typing(void)
{
	return ioctl(STDIN_FILENO, TIOCSTI, "x");
}

/* ---- calls that a role has, with arguments that it does not need ---- */

static int listens = -1; /* as that of a pair's first replica, which is the host's although the jail
			    has no network */
static struct sockaddr_in reachable;

/* A socket that listens no more can be connected, and that without connect(). */
static long try_fast_open(void)
{
	if (shutdown(listens, SHUT_RD) < 0)
		return -1;
	return sendto(listens, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&reachable,
		      sizeof(reachable));
}

static long try_socket_option(void)
{
	const int bytes = 1 << 24;

	return setsockopt(listens, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static long try_own_signal(void)
{
	return fcntl(listens, F_SETOWN, 2);
}

static long try_merge_pages(void)
{
	static char pages[8192] __attribute__((aligned(4096)));

	return madvise(pages, sizeof(pages), MADV_MERGEABLE);
}

static long try_memory_file(void)
{
	int fd = memfd_create("twinstep-test", 0);

	return fd < 0 ? -1 : ftruncate(fd, 1 << 30);
}

static long try_exec_existing(void)
{
	static char page[4096] __attribute__((aligned(4096)));

	return mprotect(page, sizeof(page), PROT_READ | PROT_EXEC);
}

static long try_stat(void)
{
	struct stat st;

	return fstatat(AT_FDCWD, "/etc/passwd", &st, AT_EMPTY_PATH);
}

static long try_limit_other(void)
{
	const struct rlimit r = { 0, 0 };

	return prlimit(2, RLIMIT_NOFILE, &r, NULL);
}

static long try_schedule_other(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sched_setaffinity(2, sizeof(set), &set);
}

static long try_signal_thread(void)
{
	return syscall(SYS_tgkill, 2, 2, SIGKILL);
}

static long try_handle(void)
{
	return syscall(SYS_pidfd_open, 2, 0);
}

static long try_read_other(void)
{
	char byte;
	const struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	return process_vm_readv(2, &here, 1, &there, 1, 0);
}

static long try_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_own_listener(void)
{
	struct sock_filter allow_all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { .len = 1, .filter = &allow_all };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
		       &program);
}

static long try_clone_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_clone3_process(void)
{
	uint64_t args[8] = { [4] = SIGCHLD };
	long pid = syscall(SYS_clone3, args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_io_uring(void)
{
	uint64_t params[15] = { 0 };

	return syscall(SYS_io_uring_setup, 1, params);
}

/* The kernel's other doors: getpid() by the numbers of 32-bit programs, and of x32. */
static long try_32_bit_call(void)
{
	long ret = 20;

	__asm__ volatile("int $0x80" : "+a"(ret) : : "memory");
	return ret < 0 ? -1 : 0;
}

static long try_x32_call(void)
{
	return syscall(0x40000000 | SYS_getpid);
}

struct attempt {
	const char *name;
	long (*run)(void);
	bool filter_only; /* no layer but the filter is against it, or it harms only the process
			     itself */
};

static const struct attempt attempts[] = {
	{ "open a file", try_open, false },
	{ "create a file", try_create, false },
	{ "connect to a service", try_connect, false },
	{ "raw socket", try_raw_socket, false },
	{ "raw IP socket", try_raw_ip_socket, false },
	{ "ptrace another process", try_ptrace, false },
	{ "kill another process", try_kill, false },
	{ "kill all processes", try_kill_all, true },
	{ "fork", try_fork, true },
	{ "fork bomb", try_fork_bomb, false },
	{ "execute a program", try_exec, false },
	{ "mount", try_mount, false },
	{ "new namespace", try_namespace, false },
	{ "become root", try_setuid, false },
	{ "bpf", try_bpf, true },
	{ "perf_event_open", try_perf, true },
	{ "keyctl", try_keyctl, true },
	{ "userfaultfd", try_userfaultfd, true },
	{ "load a module", try_module, false },
	{ "change the host's name", try_host_name, false },
	{ "executable memory", try_exec_memory, true },
	{ "memory beyond the limit", try_memory, false },
	{ "memory in small pieces", try_memory_in_pieces, false },
	{ "raise a limit", try_raise_limit, false },
	{ "write to an input", try_write_input, false },
	{ "write to a forgotten descriptor", try_forgotten, false },
	{ "fill the disk", try_fill_disk, false },
	{ "type at the terminal", try_inject_typing, true },
	{ "connect a listening socket", try_fast_open, true },
	{ "change a socket", try_socket_option, true },
	{ "direct signals at another process", try_own_signal, true },
	{ "merge pages with others", try_merge_pages, true },
	{ "memory in a file of its own", try_memory_file, true },
	{ "make memory executable", try_exec_existing, true },
	{ "look at a path", try_stat, false },
	{ "limit another process", try_limit_other, true },
	{ "schedule another process", try_schedule_other, true },
	{ "signal a thread of another process", try_signal_thread, false },
	{ "get hold of another process", try_handle, true },
	{ "read another process", try_read_other, false },
	{ "become traceable", try_dumpable, true },
	{ "serve its own filter", try_own_listener, true },
	{ "clone a process", try_clone_process, true },
	{ "clone3 a process", try_clone3_process, true },
	{ "io_uring", try_io_uring, true },
	{ "32-bit system call", try_32_bit_call, true },
	{ "x32 system call", try_x32_call, true },
};
#define ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

/* ---- one attempt ---- */

enum { DENIED = 64, WORKED = 63, BROKEN = 62 }; /* exit statuses of a child; DENIED + errno */

static void *attempt_thread(void *arg)
{
	const struct attempt *a = arg;
	long ret;

	errno = 0;
	ret = a->run();
	_exit(ret < 0 ? DENIED + (errno < 150 ? errno : 0) : WORKED);
}

/* What `int $0x80` raises in a kernel that runs no 32-bit programs. */
static void no_such_call(int sig)
{
	(void)sig;
	_exit(DENIED + ENOSYS);
}

static int listening(struct sockaddr_in *where)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, n) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &n) < 0)
		return -1;
	if (where)
		*where = sa;
	return fd;
}

static _Noreturn void attempt_child(const struct attempt *a, enum thread_role role,
				    uint32_t without)
{
	const struct jail_config c = { .file_size = 4ull << 30, .without = without };
	struct err err = ERR_INIT;
	pthread_t t;
	int target;

	log_set_level(LOG_ERROR);
	forgotten = fcntl(STDERR_FILENO, F_DUPFD,
			  200); /* not a number that is soon given to something else */
	listens = listening(NULL);
	target = listening(&reachable);
	jail_begin(JAIL_ON);
	readable = open("/dev/null", O_RDONLY | O_CLOEXEC);
	grows = memfd_create("twinstep-test", MFD_CLOEXEC);
	signal(SIGXFSZ, SIG_IGN);
	if (a->run == try_32_bit_call)
		signal(SIGSEGV, no_such_call);
	if (readable < 0 || grows < 0 || listens < 0 || target < 0 ||
	    jail_enter(JAIL_ON, &c, &err) < 0)
		_exit(BROKEN);
	if (thread_start(&t, role, attempt_thread, (void *)(uintptr_t)a))
		_exit(BROKEN);
	pthread_join(t, NULL);
	_exit(BROKEN);
}

/* Makes the attempt. True: it was denied; text says in a sentence what became of it. */
static bool attempt(const struct attempt *a, enum thread_role role, uint32_t without, char *text,
		    size_t n)
{
	int status = 0, code;
	pid_t pid;

	fflush(NULL);
	pid = jail_fork();
	if (pid == 0)
		attempt_child(a, role, without);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		snprintf(text, n, "cannot be tried: %s", strerror(errno));
		return false;
	}
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		snprintf(text, n, "the end");
	else if (code >= DENIED)
		snprintf(text, n, "%s", strerror(code - DENIED));
	else
		snprintf(text, n, code == WORKED ? "it worked" : "cannot be tried (%d)", status);
	return (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) || code >= DENIED;
}

static bool test_one(const struct attempt *a, enum thread_role role, uint32_t without)
{
	const char *how = without ? "without filters" : thread_role_name(role);
	char text[128];
	bool denied = attempt(a, role, without, text, sizeof(text));

	printf(denied ? "ok denied %s, %s: %s\n" : "not ok %s, %s: %s\n", a->name, how, text);
	fflush(stdout);
	return denied;
}

int jail_test(void)
{
	unsigned bad = 0;

	for (size_t i = 0; i < ATTEMPTS; i++) {
		for (enum thread_role r = THREAD_MAIN; r < THREAD_KEEPER; r++)
			bad += !test_one(&attempts[i], r, 0);
		if (!attempts[i].filter_only)
			bad += !test_one(&attempts[i], THREAD_VCPU, 1u << LAYER_SECCOMP);
	}
	return bad ? 1 : 0;
}
