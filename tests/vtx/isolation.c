// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a guest does stays in its own VM: hostile code, two VMs that take turns, guests that never
 * come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"
#include "tests/vtx/rig.h"

#define CODE(name) name, (size_t)(name##_end - name)
#define TURNS	   60

extern const char counter[], counter_end[], hostile[], hostile_end[], spinner[], spinner_end[],
	looper[], looper_end[], flooded[], flooded_end[], delivered[], delivered_end[];

static void test_hostile(void)
{
	struct rig vm, soft;
	enum engine_exit_kind kv, ks;

	rig_start(&vm, &vmx_engine_ops, CODE(hostile));
	rig_start(&soft, &soft_exits_engine_ops, CODE(hostile));
	kv = rig_run(&vm, UINT64_MAX);
	ks = rig_run(&soft, UINT64_MAX);
	rig_check(kv == ENGINE_EXIT_SHUTDOWN && ks == kv, "isolation.hostile",
		  "ended with %d on vmx, %d on soft: %s", kv, ks, vm.e->ops->last_error(vm.e));
	rig_check(vm.last == 0xaa, "isolation.hostile.all", "did not get to its end");
	rig_check(vm.e->ops->count(vm.e) == soft.e->ops->count(soft.e), "isolation.hostile.count",
		  "%llu exits, soft %llu", (unsigned long long)vm.e->ops->count(vm.e),
		  (unsigned long long)soft.e->ops->count(soft.e));
	rig_stop(&vm);
	rig_stop(&soft);
}

static bool same_cpu(struct rig *a, struct rig *b)
{
	struct cpu_state sa, sb;

	a->e->ops->get_state(a->e, &sa);
	b->e->ops->get_state(b->e, &sb);
	memset(sa.fxsave + 6, 0, 18);
	memset(sb.fxsave + 6, 0, 18);
	return sa.rip == sb.rip && !memcmp(sa.gpr, sb.gpr, sizeof(sa.gpr)) &&
	       !memcmp(sa.fxsave, sb.fxsave, 512) && sa.dr[0] == sb.dr[0];
}

/* Two VMs take turns on this CPU, each beside a software CPU that does the same. */
static void test_interleaved(void)
{
	struct rig vm[2], soft[2];
	bool same = true;

	for (uint32_t i = 0; i < 2; i++) {
		const uint32_t number = 0x1234567u * (i + 1);

		rig_start(&vm[i], &vmx_engine_ops, CODE(counter));
		rig_start(&soft[i], &soft_exits_engine_ops, CODE(counter));
		memory_write(&vm[i].mem, 0x500, &number, 4);
		memory_write(&soft[i].mem, 0x500, &number, 4);
	}
	for (unsigned turn = 1; turn <= TURNS && same; turn++) {
		for (unsigned i = 0; i < 2; i++) {
			rig_run(&vm[i], turn);
			rig_run(&soft[i], turn);
			same &= same_cpu(&vm[i], &soft[i]);
		}
	}
	rig_check(same, "isolation.interleaved.registers",
		  "a VM's registers changed behind its back");
	for (unsigned i = 0; i < 2; i++) {
		rig_check(!memcmp(vm[i].mem.base, soft[i].mem.base, RIG_MEMORY),
			  "isolation.interleaved.memory", "VM %u: memory differs", i);
		rig_stop(&vm[i]);
		rig_stop(&soft[i]);
	}
}

#define FLOOD 1500u

/*
 * An interrupt at every boundary that takes one, and NMIs among them, which do not wait for one
 * another.
 */
static void flood(struct rig *r, const struct engine_ops *ops)
{
	rig_start(r, ops, CODE(flooded));
	for (uint64_t n = 1; n <= FLOOD; n++) {
		if (rig_run(r, n) != ENGINE_EXIT_UNTIL)
			return;
		if (n % 5 == 0)
			r->e->ops->inject_nmi(r->e);
		else if (r->e->ops->can_interrupt(r->e))
			r->e->ops->inject(r->e, 0x20);
	}
}

static void test_flooded(void)
{
	struct rig vm, soft;
	uint32_t count[3];

	flood(&vm, &vmx_engine_ops);
	flood(&soft, &soft_exits_engine_ops);
	memory_read(&vm.mem, 0x600, count, sizeof(count));
	rig_check(count[1] > FLOOD / 4 && count[2] > FLOOD / 10, "isolation.flooded",
		  "%u turns, %u interrupts, %u NMIs", count[0], count[1], count[2]);
	rig_check(same_cpu(&vm, &soft) && !memcmp(vm.mem.base, soft.mem.base, RIG_MEMORY),
		  "isolation.flooded.same", "another state than the software CPU: %s",
		  vm.e->ops->last_error(vm.e));
	rig_stop(&vm);
	rig_stop(&soft);
}

#define DELIVERIES 200u

/* Interrupts and NMIs by turns, behind each OUT. */
static void deliver(struct rig *r, const struct engine_ops *ops)
{
	rig_start(r, ops, CODE(delivered));
	for (uint64_t n = 1; n <= DELIVERIES; n++) {
		if (rig_run(r, n) != ENGINE_EXIT_UNTIL)
			return;
		if (n / 2 % 2)
			r->e->ops->inject_nmi(r->e);
		else if (r->e->ops->can_interrupt(r->e))
			r->e->ops->inject(r->e, 0x20);
	}
}

/*
 * The delivery itself leaves the guest: where it writes to a clean page it is begun again, where it
 * writes to device memory software does it. No instruction comes before it.
 */
static void test_delivered(void)
{
	struct rig vm, soft;
	uint32_t count[2];

	deliver(&vm, &vmx_engine_ops);
	deliver(&soft, &soft_exits_engine_ops);
	memory_read(&vm.mem, 0x600, count, sizeof(count));
	rig_check(count[0] == 0 && count[1] == DELIVERIES - 1, "isolation.delivered",
		  "%u instructions came first, %u events came: %s", count[0], count[1],
		  vm.e->ops->last_error(vm.e));
	rig_check(vm.mmio == soft.mmio && vm.mmio >= DELIVERIES / 2, "isolation.delivered.device",
		  "%llu accesses, on the software CPU %llu", (unsigned long long)vm.mmio,
		  (unsigned long long)soft.mmio);
	rig_check(same_cpu(&vm, &soft) && !memcmp(vm.mem.base, soft.mem.base, RIG_MEMORY),
		  "isolation.delivered.same", "another state than the software CPU");
	rig_stop(&vm);
	rig_stop(&soft);
}

/* A process whose guest never exits is killed: nothing of its VM stays. */
static void test_killed(const char *name, const char *code, size_t len)
{
	unsigned before = rig_vms();
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct rig vm;

		rig_start(&vm, &vmx_engine_ops, code, len);
		rig_run(&vm, UINT64_MAX);
		_exit(0);
	}
	/* The host may be busy; its VM is there before its guest runs. */
	for (unsigned i = 0; i < 2000 && rig_vms() == before; i++)
		usleep(10000);
	usleep(50000);
	rig_check(rig_vms() == before + 1, name, "%u VMs while it ran, before %u", rig_vms(),
		  before);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	rig_check(WIFSIGNALED(status) && rig_vms() == before, "isolation.killed",
		  "status %#x, %u VMs after, %u before", status, rig_vms(), before);
}

static void on_alarm(int sig)
{
}

/* A kick cannot stop such a guest where a record could name it: the run ends with that reason. */
static struct rig *kicked;

static void kick_on_alarm(int sig)
{
	kicked->e->ops->kick(kicked->e);
}

static void test_spinning(void)
{
	struct itimerval tick = { { 0, 5000 }, { 0, 5000 } }, off = { 0 };
	struct rig vm;
	enum engine_exit_kind kind;

	rig_start(&vm, &vmx_engine_ops, CODE(spinner));
	kicked = &vm;
	signal(SIGALRM, kick_on_alarm);
	setitimer(ITIMER_REAL, &tick, NULL);
	kind = rig_run(&vm, UINT64_MAX);
	setitimer(ITIMER_REAL, &off, NULL);
	signal(SIGALRM, on_alarm);
	rig_check(kind == ENGINE_EXIT_SPIN, "isolation.spinning", "ended with %d", kind);
	rig_stop(&vm);
}

static uint64_t kernel_symbol(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], symbol[128];
	unsigned long long address = 0, at;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %127s", &at, symbol) == 2 && !strcmp(symbol, name))
			address = at;
	}
	if (f)
		fclose(f);
	return address;
}

static volatile uint64_t watched;

static __attribute__((noinline)) void watched_call(void)
{
	watched++;
}

/*
 * The host watches a function of this process. A guest has in its breakpoint registers, switched
 * on, the address of the module's own code that enters it: that neither counts as the host's watch,
 * nor is the watch lost.
 */
static void test_breakpoints(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = HW_BREAKPOINT_X,
					.bp_addr = (uintptr_t)watched_call,
					.bp_len = sizeof(long) };
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	uint64_t entry = kernel_symbol("twvmx_enter"), seen = 0;
	struct err err = ERR_INIT;
	struct cpu_state s;
	struct rig vm;

	rig_start(&vm, &vmx_engine_ops, CODE(counter));
	for (uint64_t turn = 1; turn <= 4; turn++) {
		rig_run(&vm, turn * 50);
		vm.e->ops->get_state(vm.e, &s);
		for (unsigned i = 0; i < 4; i++)
			s.dr[i] = entry;
		s.dr[7] = 0x4ff;
		vm.e->ops->set_state(vm.e, &s, &err);
		watched_call();
	}
	rig_check(fd >= 0 && entry && read(fd, &seen, sizeof(seen)) == sizeof(seen) && seen == 4 &&
			  watched == 4,
		  "isolation.breakpoints",
		  "%llu hits of a watch on what was called 4 times (file %d, entry at %#llx)",
		  (unsigned long long)seen, fd, (unsigned long long)entry);
	close(fd);
	rig_stop(&vm);
}

/* ---- memory ---- */

#define SLOT_SIZE (512ul << 10)

static int make_vm(void)
{
	int fd = open(TWVMX_DEVICE, O_RDWR | O_CLOEXEC);

	return ioctl(fd, TWVMX_IOC_CREATE, TWVMX_VERSION) == 0 ? fd : -1;
}

/* 0 or errno. */
static int map_slot(int fd, const void *user, uint64_t size)
{
	const struct twvmx_slot s = { .version = TWVMX_VERSION,
				      .size = size,
				      .user = (uintptr_t)user };

	return ioctl(fd, TWVMX_IOC_SLOT, &s) < 0 ? errno : 0;
}

static void *anonymous(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Guest memory is anonymous or shared memory: no file system's pages, and no driver's. */
static void test_foreign_pages(void)
{
	int fd = make_vm(), file, ramfs, run;
	void *p, *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	mkdir("/tmp/ramfs", 0700);
	mount("none", "/tmp/ramfs", "ramfs", 0, NULL);
	file = open("/tmp/ramfs/file", O_RDWR | O_CREAT, 0600);
	p = ftruncate(file, 4096) == 0
		    ? mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
		    : MAP_FAILED;
	ramfs = map_slot(fd, p, 4096);
	run = map_slot(fd, page, 4096);
	/* Newer kernels do not pin pages of a file for long, and say EFAULT. */
	rig_check(p != MAP_FAILED && page != MAP_FAILED && (ramfs == EINVAL || ramfs == EFAULT) &&
			  run == EINVAL,
		  "isolation.foreign-pages", "errno %d for a file, %d for the run page", ramfs,
		  run);
	munmap(page, 4096);
	close(fd);
	close(file);
}

static unsigned long locked_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[128];
	unsigned long kb = ~0ul;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %lu kB", &kb);
	if (f)
		fclose(f);
	return kb;
}

/* Without privilege, `ulimit -l` bounds what a VM pins. */
static int try_memlock(void)
{
	const struct rlimit limit = { SLOT_SIZE, SLOT_SIZE };
	int fd = make_vm();
	void *p = anonymous(2 * SLOT_SIZE);

	if (fd < 0 || setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setresuid(65534, 65534, 65534) < 0)
		return 1;
	if (map_slot(fd, p, SLOT_SIZE + 4096) != ENOMEM || locked_kb() != 0)
		return 2;
	if (map_slot(fd, p, SLOT_SIZE) != 0 || locked_kb() != SLOT_SIZE >> 10)
		return 3;
	if (map_slot(fd, NULL, 0) != 0 || locked_kb() != 0)
		return 4;
	return 0;
}

static void test_memlock(void)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		_exit(try_memlock());
	waitpid(pid, &status, 0);
	rig_check(status == 0, "isolation.memlock", "status %#x", status);
}

/* What another process can do with the file of a process that has gone. */
static void hold_file(int fd, int until, volatile int *result)
{
	char c;

	if (read(until, &c, 1) != 1)
		_exit(1);
	result[0] = ioctl(fd, TWVMX_IOC_RUN, 0) < 0 ? errno : 0;
	result[1] = ioctl(fd, TWVMX_IOC_CREATE, TWVMX_VERSION) < 0 ? errno : 0;
	result[2] = 1;
	_exit(0);
}

/* A VM ends with its process, also when another process has inherited its file. */
static void test_inherited(void)
{
	unsigned before = rig_vms(), while_alive;
	volatile int *result = anonymous(4096);
	int go[2], status;
	pid_t pid;

	if (pipe(go) < 0)
		return;
	pid = fork();
	if (!pid) {
		int fd = make_vm();

		result[3] = map_slot(fd, anonymous(SLOT_SIZE), SLOT_SIZE) + 1;
		if (!fork())
			hold_file(fd, go[0], result);
		pause();
	}
	for (unsigned i = 0; i < 100 && !result[3]; i++)
		usleep(10000);
	usleep(20000);
	while_alive = rig_vms();
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	rig_check(result[3] == 1 && while_alive == before + 1 && rig_vms() == before,
		  "isolation.inherited", "%u VMs before, %u while it lived, %u after", before,
		  while_alive, rig_vms());
	if (write(go[1], "", 1) != 1)
		return;
	for (unsigned i = 0; i < 100 && !result[2]; i++)
		usleep(10000);
	rig_check(result[0] == ENXIO && result[1] == EEXIST, "isolation.inherited.dead",
		  "errno %d of RUN, %d of CREATE", result[0], result[1]);
	close(go[0]);
	close(go[1]);
}

int main(void)
{
	test_hostile();
	test_interleaved();
	test_breakpoints();
	test_flooded();
	test_delivered();
	test_foreign_pages();
	test_memlock();
	test_inherited();
	test_killed("isolation.spinner", CODE(spinner));
	test_killed("isolation.looper", CODE(looper));
	test_spinning();
	rig_check(rig_vms() == 0, "isolation.nothing-left", "%u VMs are left", rig_vms());
	return rig_failures != 0;
}
