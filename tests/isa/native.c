/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases on the host CPU. A child process maps the memory of the cases and never leaves signal
 * handlers: the handler stores what the case before did, writes the next case's registers into the
 * signal frame and returns, so the kernel loads the whole state and the case runs until its next
 * trap.
 *
 * A case may set FS and GS bases, AC, DF, NT and, in code that it fell into, segment registers. The
 * handler's entry, in assembly, sets what C code needs before any of it runs and puts the bases
 * back on the way out. It has two forms: a kernel that does not know of WRFSBASE and WRGSBASE, on a
 * processor that executes them all the same (so under some hypervisors), gives a base back only
 * where it was set by a system call.
 */
#include "tests/isa/isa.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "hypervisor/cpustate.h"

#define HWCAP2_FSGSBASE_BIT 2
/* Linux's selectors */
#define USER32_CS   0x23
#define USER_CS	    0x33
#define TICK_USEC   4000
#define MEMORY_SIZE (CODE_SIZE + IMAGE_SIZE)

struct native {
	int fd; /* code pages, then the image */
	uint8_t *alias;
	struct outcome *out;
	uint8_t *kept; /* memory after each case, or NULL */
	size_t max;
	const struct tcase *cases;
	size_t count;
	pid_t child;
};

/* What the handlers of the child know. */
static struct {
	const struct tcase *cases;
	struct outcome *out;
	uint8_t *code, *image, *kept;
	const uint8_t *pristine;
	size_t next, count;
	bool running, writable; /* are the code pages? */
	size_t tick_case;
	bool tick_seen;
} child;

static uint64_t host_fs, test_fs, test_gs;

void isa_signal(int sig, siginfo_t *info, void *context) __attribute__((used));

/* Before C code: flags, the case's bases to memory, the segments. */
#define LEAVE_CASE                                                   \
	"pushq $0x202\n\t"                                           \
	"popfq\n\t"                                                  \
	"rdfsbase %%rax\n\t"                                         \
	"mov %%rax, %[fs]\n\t"                                       \
	"rdgsbase %%rax\n\t"                                         \
	"mov %%rax, %[gs]\n\t"                                       \
	"xor %%eax, %%eax\n\t"                                       \
	"mov %%eax, %%fs\n\t"                                        \
	"mov %%eax, %%gs\n\t"                                        \
	"mov $0x2b, %%eax\n\t" /* USER_DS: 64-bit code does without, \
				  compatibility mode does not */     \
	"mov %%eax, %%ds\n\t"                                        \
	"mov %%eax, %%es\n\t"
#define CALL_HANDLER          \
	"sub $8, %%rsp\n\t"   \
	"call isa_signal\n\t" \
	"add $8, %%rsp\n\t"
#define BASES                                                                                   \
	[fs] "m"(test_fs), [gs] "m"(test_gs), [host] "m"(host_fs), [prctl] "i"(SYS_arch_prctl), \
		[set_fs] "i"(ARCH_SET_FS), [set_gs] "i"(ARCH_SET_GS)

__attribute__((naked)) static void signal_entry(void)
{
	__asm__(LEAVE_CASE "mov %[host], %%rax\n\t"
			   "wrfsbase %%rax\n\t" CALL_HANDLER "mov %[gs], %%rax\n\t"
			   "wrgsbase %%rax\n\t"
			   "mov %[fs], %%rax\n\t"
			   "wrfsbase %%rax\n\t"
			   "ret"
		:
		: BASES);
}

#define SYSTEM_CALL(what, base)      \
	"mov $%c[prctl], %%eax\n\t"  \
	"mov $%c" what ", %%edi\n\t" \
	"mov %" base ", %%rsi\n\t"   \
	"syscall\n\t"

/* The kernel restores all registers but the bases from the signal frame, so none is kept. */
__attribute__((naked)) static void signal_entry_by_calls(void)
{
	__asm__(LEAVE_CASE
		"mov %%edi, %%r12d\n\t"
		"mov %%rsi, %%r13\n\t" SYSTEM_CALL(
			"[set_fs]", "[host]") "mov %%r12d, %%edi\n\t"
					      "mov %%r13, %%rsi\n\t" CALL_HANDLER SYSTEM_CALL(
						      "[set_gs]", "[gs]")
						      SYSTEM_CALL("[set_fs]", "[fs]") "ret"
		:
		: BASES);
}

static bool kernel_knows_bases(void)
{
	return getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
}

static void forbid_dump(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
}

static bool has_bases(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		uint64_t base;

		forbid_dump();
		__asm__ volatile("rdfsbase %0" : "=r"(base));
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status);
}

/* ---- what a hypervisor may refuse ---- */
struct entry {
	uint64_t rsp;
	bool m32;
};
static struct entry tried;

static void go_to_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	g[REG_RIP] = CODE_BASE;
	g[REG_RSP] = (greg_t)tried.rsp;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | (tried.m32 ? USER32_CS : USER_CS);
}

_Noreturn static void child_try(void)
{
	struct sigaction sa = { .sa_sigaction = go_to_trap, .sa_flags = SA_SIGINFO };
	void *code =
		mmap((void *)(uintptr_t)CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	forbid_dump();
	if (code != (void *)(uintptr_t)CODE_BASE)
		_exit(3);
	memset(code, 0xcc, CODE_SIZE); /* INT3 */
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	_exit(4);
}

/* Does the kernel get into user mode there? */
static bool enters(struct entry e)
{
	int status;
	pid_t pid;

	tried = e;
	pid = fork();
	if (pid == 0)
		child_try();
	return pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
	       WTERMSIG(status) != SIGSEGV;
}

static bool is_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static bool contains(const struct tcase *c, bool (*what)(ZydisMnemonic m))
{
	ZydisDecodedInstruction ins;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	for (unsigned i = 0; i < c->n; i++) {
		if (policy_decode(c->m32, &c->insn[i], &ins, op) && what(ins.mnemonic))
			return true;
	}
	return false;
}

static bool writes_base(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_WRFSBASE || m == ZYDIS_MNEMONIC_WRGSBASE;
}

static bool pushes_flags(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_PUSHF || m == ZYDIS_MNEMONIC_PUSHFD ||
	       m == ZYDIS_MNEMONIC_PUSHFQ;
}

static bool pops_flags(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_POPF || m == ZYDIS_MNEMONIC_POPFD || m == ZYDIS_MNEMONIC_POPFQ;
}

bool native_has_32(void)
{
	static int known; /* 0: not yet, -1: no */

	if (!known)
		known = enters((struct entry){ DATA_BASE, true }) ? 1 : -1;
	return known > 0;
}

static bool has_any_stack(void)
{
	static int known;

	if (!known)
		known = enters((struct entry){ 1ull << 63, false }) ? 1 : -1;
	return known > 0;
}

/* A hypervisor that takes a fault or an interrupt for itself goes back with IRET, thus without NT.
 */
uint32_t native_open_flags(void)
{
	return has_any_stack() ? 0 : FL_NT;
}

const char *native_refuses(const struct tcase *c)
{
	if (c->m32 && !native_has_32())
		return "32-bit code";
	if (!is_canonical(c->init.gpr[R_RSP]) && !has_any_stack())
		return "a stack pointer that is not canonical";
	/* The kernel gives back what it knows, whenever the case leaves user mode. */
	if (!kernel_knows_bases() && contains(c, writes_base))
		return "WRFSBASE and WRGSBASE";
	if (native_open_flags() & FL_NT && contains(c, pushes_flags) &&
	    (c->init.rflags & FL_NT || contains(c, pops_flags)))
		return "PUSHF with NT";
	return NULL;
}

const char *native_unavailable(void)
{
	if (!kernel_knows_bases() && !has_bases())
		return "the host does not let user mode write FS and GS bases";
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("aes") ||
	    !__builtin_cpu_supports("pclmul"))
		return "the host CPU lacks SSE4.2, AES or PCLMULQDQ";
	return NULL;
}

static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
				 REG_R12, REG_R13, REG_R14, REG_R15 };

static void store_outcome(ucontext_t *uc, struct outcome *o)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	for (unsigned i = 0; i < 16; i++)
		o->regs.gpr[i] = (uint64_t)g[greg_of[i]];
	/* Upper halves do not live through compatibility mode: SDM vol. 1, 3.4.1.1. */
	for (unsigned i = 0; i < 8 && child.cases[child.next].m32; i++)
		o->regs.gpr[i] = (uint32_t)o->regs.gpr[i];
	o->regs.rip = (uint64_t)g[REG_RIP];
	o->regs.rflags = (uint64_t)g[REG_EFL];
	o->regs.fs_base = test_fs;
	o->regs.gs_base = test_gs;
	memcpy(o->regs.fx, uc->uc_mcontext.fpregs, 512);
	o->vector = (uint32_t)g[REG_TRAPNO];
	o->error = (uint32_t)g[REG_ERR];
	o->cs = (uint16_t)g[REG_CSGSFS];
	o->ss = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
	o->cr2 = (uint64_t)g[REG_CR2];
	o->memory = image_hash(&child.cases[child.next], child.image);
	if (child.kept)
		memcpy(child.kept + child.next * MEMORY_SIZE, child.code, MEMORY_SIZE);
	o->status = OUT_OK;
}

static void load_case(ucontext_t *uc, const struct tcase *c)
{
	greg_t *g = uc->uc_mcontext.gregs;
	uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;
	uint64_t bv;

	bool writable = c->cls == CLS_SMC;

	if (writable != child.writable)
		mprotect((void *)CODE_BASE, CODE_SIZE,
			 PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0));
	child.writable = writable;
	memset(child.code, 0xcc, CODE_SIZE);
	memcpy(child.code + c->code_off, c->code, c->code_len);
	memcpy(child.image, child.pristine, IMAGE_SIZE);
	for (unsigned i = 0; i < 16; i++)
		g[greg_of[i]] = (greg_t)c->init.gpr[i];
	g[REG_RIP] = (greg_t)c->init.rip;
	g[REG_EFL] = (greg_t)c->init.rflags;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | (c->m32 ? USER32_CS : USER_CS);
	test_fs = c->init.fs_base;
	test_gs = c->init.gs_base;
	memcpy(fx, c->init.fx, 464); /* the rest describes the frame to the kernel */
	memcpy(&bv, fx + 512, 8);
	bv |= 3;
	memcpy(fx + 512, &bv, 8);
}

static void next_case(ucontext_t *uc)
{
	if (child.next == child.count)
		_exit(0);
	load_case(uc, &child.cases[child.next]);
	child.running = true;
}

/* A tick: the same case at two ticks of CPU time has run away. */
static bool timed_out(void)
{
	if (child.tick_seen && child.tick_case == child.next)
		return true;
	child.tick_seen = true;
	child.tick_case = child.next;
	return false;
}

void isa_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	if (sig == SIGVTALRM) {
		if (!child.running || !timed_out())
			return;
		child.out[child.next++].status = OUT_TIMEOUT;
	} else if (child.running) {
		store_outcome(uc, &child.out[child.next]);
		child.next++;
	}
	next_case(uc);
}

static void *map_fixed(uint64_t addr, size_t len, int prot, int fd, off_t off)
{
	void *want = (void *)(uintptr_t)addr;
	/*
	 * Populated, because the present bit of an error code shows whether the page table was
	 * filled in.
	 */
	void *p = mmap(want, len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, off);

	if (p != want)
		_exit(3);
	return p;
}

static void map_case_memory(int fd)
{
	const off_t image = CODE_SIZE;

	map_fixed(CODE_BASE, CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0);
	map_fixed(DATA_BASE, DATA_RW_SIZE, PROT_READ | PROT_WRITE, fd, image + IMAGE_DATA);
	map_fixed(DATA_BASE + DATA_RW_SIZE, DATA_SIZE - DATA_RW_SIZE, PROT_READ, fd,
		  image + IMAGE_DATA + DATA_RW_SIZE);
	map_fixed(FAR_BASE, FAR_SIZE, PROT_READ | PROT_WRITE, fd, image + IMAGE_FAR);
	map_fixed(SCRATCH_BASE, SCRATCH_SIZE, PROT_READ | PROT_WRITE, fd, image + IMAGE_SCRATCH);
}

static void catch_signals(void)
{
	static const int sigs[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGUSR1, SIGVTALRM };
	static uint8_t stack[256 * 1024] __attribute__((aligned(64)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sa.sa_sigaction = (void (*)(int, siginfo_t *, void *))(
		kernel_knows_bases() ? signal_entry : signal_entry_by_calls);
	sigfillset(&sa.sa_mask);
	sigaltstack(&ss, NULL);
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
}

_Noreturn static void child_main(struct native *n, size_t first)
{
	struct itimerval tick = { { 0, TICK_USEC }, { 0, TICK_USEC } };
	struct rlimit cpu = { 60, 60 };

	child.cases = n->cases;
	child.out = n->out;
	child.code = n->alias;
	child.image = n->alias + CODE_SIZE;
	child.kept = n->kept;
	child.pristine = image_pristine();
	child.next = first;
	child.count = n->count;
	setrlimit(RLIMIT_CPU, &cpu);
	map_case_memory(n->fd);
	__asm__ volatile("rdfsbase %0" : "=r"(host_fs));
	catch_signals();
	setitimer(ITIMER_VIRTUAL, &tick, NULL);
	raise(SIGUSR1);
	_exit(4);
}

static int start_child(struct native *n, size_t first, struct err *err)
{
	n->child = fork();
	if (n->child < 0)
		return err_set(err, errno, "cannot start the child that runs cases natively: %s",
			       strerror(errno));
	if (n->child == 0)
		child_main(n, first);
	return 0;
}

int native_start(struct native *n, const struct tcase *cases, size_t count, struct err *err)
{
	image_pristine();
	n->cases = cases;
	n->count = count;
	memset(n->out, 0, count * sizeof(n->out[0]));
	return start_child(n, 0, err);
}

const struct outcome *native_finish(struct native *n)
{
	struct err err;
	size_t done = 0;
	int status;

	for (;;) {
		if (waitpid(n->child, &status, 0) != n->child)
			return NULL;
		while (done < n->count && n->out[done].status != OUT_NONE)
			done++;
		if (done == n->count)
			return n->out;
		/* The case broke the child itself; it is left out. */
		n->out[done++].status = OUT_BROKEN;
		if (done == n->count || start_child(n, done, &err) < 0)
			return n->out;
	}
}

const uint8_t *native_image(const struct native *n)
{
	return n->alias + CODE_SIZE;
}

int native_keep_memory(struct native *n, struct err *err)
{
	void *p = mmap(NULL, n->max * MEMORY_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_set(err, errno, "cannot keep the memory of the native side: %s",
			       strerror(errno));
	n->kept = p;
	return 0;
}

const uint8_t *native_kept(const struct native *n, size_t i)
{
	return n->kept + i * MEMORY_SIZE;
}

struct native *native_create(size_t max, struct err *err)
{
	struct native *n = calloc(1, sizeof(*n));

	if (!n) {
		err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	n->max = max;
	n->fd = memfd_create("isa", MFD_CLOEXEC);
	if (n->fd >= 0 && ftruncate(n->fd, CODE_SIZE + IMAGE_SIZE) == 0)
		n->alias = mmap(NULL, CODE_SIZE + IMAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				n->fd, 0);
	n->out = mmap(NULL, max * sizeof(n->out[0]), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!n->alias || n->alias == MAP_FAILED || n->out == MAP_FAILED) {
		err_set(err, errno, "cannot make the memory of the native side: %s",
			strerror(errno));
		return NULL;
	}
	return n;
}

void native_destroy(struct native *n)
{
	if (!n)
		return;
	munmap(n->alias, CODE_SIZE + IMAGE_SIZE);
	munmap(n->out, n->max * sizeof(n->out[0]));
	if (n->kept)
		munmap(n->kept, n->max * MEMORY_SIZE);
	close(n->fd);
	free(n);
}
