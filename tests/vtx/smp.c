// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VMs that change the CPU, two CPUs at once, and a CPU that goes and comes back. usage: smp, or
 *   smp move PROGRAM ARG...     runs a program while its threads are moved from CPU to CPU
 *   smp spin                    leaves a VM that never exits on each CPU
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/vmx/module/twinstep_vmx.h"
#include "tests/vtx/rig.h"

#define CODE(name) name, (size_t)(name##_end - name)
#define TURNS	   64
#define LONG_RUN   1500u
#define CYCLES	   3

extern const char counter[], counter_end[], walker[], walker_end[], spinner[], spinner_end[];

static bool pin_thread(pid_t thread, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(thread, sizeof(set), &set) == 0;
}

static bool set_online(bool online)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY);
	bool good = fd >= 0 && write(fd, online ? "1" : "0", 1) == 1;

	if (fd >= 0)
		close(fd);
	return good;
}

/* ---- a VM beside the software CPU ---- */

struct pair {
	struct rig vm, soft;
};

static void pair_start(struct pair *p, const char *code, size_t len, uint32_t number)
{
	rig_start(&p->vm, &vmx_engine_ops, code, len);
	rig_start(&p->soft, &soft_exits_engine_ops, code, len);
	memory_write(&p->vm.mem, 0x500, &number, 4);
	memory_write(&p->soft.mem, 0x500, &number, 4);
}

static bool pair_run(struct pair *p, uint64_t count)
{
	return rig_run(&p->vm, count) == ENGINE_EXIT_UNTIL &&
	       rig_run(&p->soft, count) == ENGINE_EXIT_UNTIL;
}

static bool pair_same(struct pair *p)
{
	struct cpu_state a, b;

	p->vm.e->ops->get_state(p->vm.e, &a);
	p->soft.e->ops->get_state(p->soft.e, &b);
	memset(a.fxsave + 6, 0, 18);
	memset(b.fxsave + 6, 0, 18);
	return a.rip == b.rip && a.count == b.count && !memcmp(a.gpr, b.gpr, sizeof(a.gpr)) &&
	       !memcmp(a.fxsave, b.fxsave, 512) &&
	       !memcmp(p->vm.mem.base, p->soft.mem.base, RIG_MEMORY);
}

/* Both report the same pages as written since the last time. */
static bool pair_same_dirty(struct pair *p)
{
	bool same;

	p->vm.e->ops->sync_dirty(p->vm.e);
	p->soft.e->ops->sync_dirty(p->soft.e);
	same = !memcmp(p->vm.mem.dirty, p->soft.mem.dirty, p->vm.mem.pages);
	memset(p->vm.mem.dirty, 0, p->vm.mem.pages);
	memset(p->soft.mem.dirty, 0, p->soft.mem.pages);
	return same;
}

static void pair_stop(struct pair *p)
{
	rig_stop(&p->vm);
	rig_stop(&p->soft);
}

/* ---- tests ---- */

/*
 * The VM goes to the other CPU after every stretch, and pages are write-protected there: what a CPU
 * has cached of the time before must not be used when the VM comes back.
 */
static void test_turns(void)
{
	struct pair p;
	bool same = true, dirty = true;
	unsigned turn;

	pair_start(&p, CODE(walker), 0);
	for (turn = 1; turn <= TURNS && same && dirty; turn++) {
		same = pin_thread(0, turn & 1) && pair_run(&p, turn * 48) && pair_same(&p);
		if (turn % 3 == 0)
			dirty = pair_same_dirty(&p);
	}
	rig_check(same, "smp.turns", "turn %u: another state than the software CPU: %s", turn,
		  p.vm.e->ops->last_error(p.vm.e));
	rig_check(dirty, "smp.turns.dirty", "turn %u: other dirty pages than the software CPU",
		  turn);
	pair_stop(&p);
}

struct mover {
	pid_t thread;
	volatile bool stop;
	unsigned moves;
};

static void *move(void *arg)
{
	struct mover *m = arg;

	while (!m->stop) {
		pin_thread(m->thread, m->moves++ & 1);
		usleep(1000);
	}
	return NULL;
}

/* Moved by another thread at moments that nobody chose. */
static void test_moved(void)
{
	struct mover m = { .thread = gettid() };
	struct pair p;
	pthread_t t;
	bool same;

	pair_start(&p, CODE(counter), 0x1234567);
	pthread_create(&t, NULL, move, &m);
	same = pair_run(&p, LONG_RUN);
	m.stop = true;
	pthread_join(t, NULL);
	rig_check(same && pair_same(&p), "smp.moved", "another state than the software CPU: %s",
		  p.vm.e->ops->last_error(p.vm.e));
	rig_check(m.moves > 10, "smp.moved.often", "%u times only", m.moves);
	pair_stop(&p);
}

/* One VM on each CPU at the same time. */
static void test_both(void)
{
	pid_t pid[2];
	int status, bad = 0;

	for (unsigned i = 0; i < 2; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			struct pair p;

			pin_thread(0, i);
			pair_start(&p, CODE(counter), 0x7654321 * (i + 1));
			_exit(!pair_run(&p, LONG_RUN) || !pair_same(&p));
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		waitpid(pid[i], &status, 0);
		bad |= status;
	}
	rig_check(!bad, "smp.both", "a VM differs from the software CPU");
}

struct cycler {
	volatile bool stop;
	bool failed;
	unsigned cycles;
	pid_t thread;
};

/* The thread is on CPU 1 whenever that is there. */
static void *cycle(void *arg)
{
	struct cycler *c = arg;

	while (c->cycles < CYCLES && !c->failed) {
		c->failed |= !set_online(false);
		usleep(20000);
		c->failed |= !set_online(true) || !pin_thread(c->thread, 1);
		usleep(20000);
		c->cycles++;
	}
	c->stop = true;
	return NULL;
}

static void test_hotplug(void)
{
	struct cycler c = { .thread = gettid() };
	struct pair p;
	pthread_t t;
	uint64_t count = 0;
	bool same = true;

	pair_start(&p, CODE(walker), 0);
	pin_thread(0, 1);
	pthread_create(&t, NULL, cycle, &c);
	while (!c.stop && same)
		same = pair_run(&p, count += 100);
	pthread_join(t, NULL);
	rig_check(same && pair_same(&p), "smp.hotplug", "another state than the software CPU: %s",
		  p.vm.e->ops->last_error(p.vm.e));
	rig_check(pair_same_dirty(&p), "smp.hotplug.dirty",
		  "other dirty pages than the software CPU");
	rig_check(!c.failed && c.cycles == CYCLES, "smp.hotplug.cycles",
		  "CPU 1 did not go or come in cycle %u", c.cycles);
	pair_stop(&p);
}

/*
 * VT-x was switched on while the CPU was away; the CPU that comes gets it too, and loses it with
 * the last VM.
 */
static void test_late(void)
{
	struct pair p;
	bool good = set_online(false);

	pin_thread(0, 0);
	pair_start(&p, CODE(counter), 77);
	good &= pair_run(&p, 50) && set_online(true) && pin_thread(0, 1) && pair_run(&p, 100) &&
		pair_same(&p);
	rig_check(good, "smp.late", "on the CPU that came later: %s",
		  p.vm.e->ops->last_error(p.vm.e));
	pair_stop(&p);
	pair_start(&p, CODE(counter), 78);
	rig_check(pair_run(&p, 50) && pair_same(&p), "smp.anew", "%s",
		  p.vm.e->ops->last_error(p.vm.e));
	pair_stop(&p);
}

/* ---- smp move ---- */

static void move_threads(pid_t pid, unsigned cpu)
{
	char path[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] != '.')
			pin_thread(atoi(d->d_name), cpu);
	}
	if (dir)
		closedir(dir);
}

/* Also the processes that a jail puts between. */
static void move_children(pid_t pid, unsigned cpu)
{
	char path[64];
	FILE *f;
	int child;

	move_threads(pid, cpu);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	while (f && fscanf(f, "%d", &child) == 1)
		move_children(child, cpu);
	if (f)
		fclose(f);
}

static int run_moved(char **argv)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	for (unsigned n = 0; waitpid(pid, &status, WNOHANG) == 0; n++) {
		move_children(pid, n & 1);
		usleep(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int leave_spinning(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!fork()) {
			struct rig vm;

			pin_thread(0, i);
			rig_start(&vm, &vmx_engine_ops, CODE(spinner));
			rig_run(&vm, UINT64_MAX);
			_exit(0);
		}
	}
	usleep(100000);
	return rig_vms() != 2;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "spin"))
		return leave_spinning();
	if (argc > 2)
		return run_moved(argv + 2);
	test_turns();
	test_moved();
	test_both();
	test_hotplug();
	test_late();
	rig_check(rig_vms() == 0, "smp.nothing-left", "%u VMs are left", rig_vms());
	return rig_failures != 0;
}
