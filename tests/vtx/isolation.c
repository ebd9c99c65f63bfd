// SPDX-License-Identifier: GPL-2.0-or-later
/* What a guest does stays in its own VM: hostile code, two VMs that take turns, guests that never come back. */
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"
#include "tests/vtx/rig.h"

#define CODE(name) name, (size_t)(name##_end - name)
#define TURNS	   60

extern const char counter[], counter_end[], hostile[], hostile_end[], spinner[], spinner_end[], looper[], looper_end[];

static void test_hostile(void)
{
	struct rig vm, soft;
	enum engine_exit_kind kv, ks;

	rig_start(&vm, &vmx_engine_ops, CODE(hostile));
	rig_start(&soft, &soft_exits_engine_ops, CODE(hostile));
	kv = rig_run(&vm, UINT64_MAX);
	ks = rig_run(&soft, UINT64_MAX);
	rig_check(kv == ENGINE_EXIT_SHUTDOWN && ks == kv, "isolation.hostile", "ended with %d on vmx, %d on soft: %s",
		  kv, ks, vm.e->ops->last_error(vm.e));
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
	return sa.rip == sb.rip && !memcmp(sa.gpr, sb.gpr, sizeof(sa.gpr)) && !memcmp(sa.fxsave, sb.fxsave, 512) &&
	       sa.dr[0] == sb.dr[0];
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
	rig_check(same, "isolation.interleaved.registers", "a VM's registers changed behind its back");
	for (unsigned i = 0; i < 2; i++) {
		rig_check(!memcmp(vm[i].mem.base, soft[i].mem.base, RIG_MEMORY), "isolation.interleaved.memory",
			  "VM %u: memory differs", i);
		rig_stop(&vm[i]);
		rig_stop(&soft[i]);
	}
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
	usleep(50000);
	rig_check(rig_vms() == before + 1, name, "%u VMs while it ran, before %u", rig_vms(), before);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	rig_check(WIFSIGNALED(status) && rig_vms() == before, "isolation.killed", "status %#x, %u VMs after, %u before",
		  status, rig_vms(), before);
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

/*
 * The host watches a variable of this process. A guest has in its breakpoint registers what the host's kernel writes
 * all the time: the host's watch is not lost and counts nothing else. (The time in which both could meet is short.)
 */
static void test_breakpoints(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = HW_BREAKPOINT_W,
					.bp_addr = (uintptr_t)&watched,
					.bp_len = HW_BREAKPOINT_LEN_8 };
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	uint64_t jiffies = kernel_symbol("jiffies"), seen = 0;
	struct err err = ERR_INIT;
	struct cpu_state s;
	struct rig vm;

	rig_start(&vm, &vmx_engine_ops, CODE(counter));
	for (uint64_t turn = 1; turn <= 4; turn++) {
		rig_run(&vm, turn * 200);
		vm.e->ops->get_state(vm.e, &s);
		for (unsigned i = 0; i < 4; i++)
			s.dr[i] = jiffies;
		vm.e->ops->set_state(vm.e, &s, &err);
		watched++;
	}
	rig_check(fd >= 0 && jiffies && read(fd, &seen, sizeof(seen)) == sizeof(seen) && seen == 4,
		  "isolation.breakpoints",
		  "%llu hits of a watch on what was written 4 times (file %d, jiffies at %#llx)",
		  (unsigned long long)seen, fd, (unsigned long long)jiffies);
	close(fd);
	rig_stop(&vm);
}

int main(void)
{
	test_hostile();
	test_interleaved();
	test_breakpoints();
	test_killed("isolation.spinner", CODE(spinner));
	test_killed("isolation.looper", CODE(looper));
	test_spinning();
	rig_check(rig_vms() == 0, "isolation.nothing-left", "%u VMs are left", rig_vms());
	return rig_failures != 0;
}
