// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory in large host pages: it is mapped 2 MiB at a time, dirty pages are exact to 4 KiB
 * all the same, and nothing of it stays. Wants root: it changes what large pages the host has.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/vtx/rig.h"

#define LARGE  (2ul << 20)
#define MEMORY (8 * LARGE)
#define LIST   0x1000u
#define DS_ALL 0xc093u /* 4 GiB, writable */

extern const char toucher[], toucher_end[];

struct touch {
	uint32_t list[16]; /* odd: read; up to a 0 */
	uint64_t splits;   /* of 2 MiB entries that this makes, without the first fetch */
};

static const struct touch touches[] = {
	{ { 3 * LARGE + 1, 4 * LARGE + 0x1001, 8 * LARGE - 1 }, 0 },
	{ { 3 * LARGE, 4 * LARGE - 2, 4 * LARGE, 5 * LARGE + 0x3000, 5 * LARGE + 0x4ffe }, 3 },
	{ { 3 * LARGE, 3 * LARGE + 0x1000, 5 * LARGE + 0x3000, 7 * LARGE - 2, 0x20000,
	    6 * LARGE + 1 },
	  1 },
};

#define NTOUCHES (sizeof(touches) / sizeof(touches[0]))

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("not ok huge.host: cannot write %s to %s\n", text, path);
	if (fd >= 0)
		close(fd);
}

/* Number after a name in a file of such lines, or 0. */
static unsigned long number(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	char line[128];
	unsigned long n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, strlen(name)))
			n = strtoul(line + strlen(name), NULL, 10);
	}
	if (f)
		fclose(f);
	return n;
}

static uint64_t stat_of(const struct rig *r, const char *name)
{
	struct engine_stat s[64];
	size_t n = r->e->ops->stats(r->e, s, 64);

	for (size_t i = 0; i < n && i < 64; i++) {
		if (!strcmp(s[i].name, name))
			return s[i].value;
	}
	return UINT64_MAX;
}

/* DS reaches everywhere, as after a detour through protected mode. */
static void widen(struct rig *r)
{
	struct err err = ERR_INIT;
	struct cpu_state s;

	r->e->ops->get_state(r->e, &s);
	s.seg[SEG_DS].limit = UINT32_MAX;
	s.seg[SEG_DS].attr = DS_ALL;
	rig_check(r->e->ops->set_state(r->e, &s, &err) == 0, "huge.state", "%s", err.text);
}

static void again(struct rig *r)
{
	struct err err = ERR_INIT;
	struct cpu_state s;

	r->e->ops->get_state(r->e, &s);
	s.rip = RIG_CODE;
	s.halted = false;
	r->e->ops->set_state(r->e, &s, &err);
}

/*
 * Runs the guest over one list; true when both engines report the same pages as written, to a
 * digest and to a round of collecting.
 */
static bool touch(struct rig *vm, struct rig *soft, const struct touch *t)
{
	uint64_t set[2][MEMORY / PAGE_SIZE / 64] = { 0 };
	struct rig *both[] = { vm, soft };
	bool same;

	for (unsigned i = 0; i < 2; i++) {
		memory_write(&both[i]->mem, LIST, t->list, sizeof(t->list));
		again(both[i]);
		both[i]->e->ops->sync_dirty(both[i]->e);
		memset(both[i]->mem.dirty, 0, both[i]->mem.pages);
		memory_collect_begin(&both[i]->mem);
		if (rig_run(both[i], UINT64_MAX) != ENGINE_EXIT_HALT)
			return false;
		memory_collect(&both[i]->mem, set[i]);
		memory_collect_end(&both[i]->mem);
	}
	same = !memcmp(vm->mem.dirty, soft->mem.dirty, vm->mem.pages) &&
	       !memcmp(set[0], set[1], sizeof(set[0]));
	for (unsigned i = 0; t->list[i]; i++)
		same &= (t->list[i] & 1) || (vm->mem.dirty[t->list[i] / PAGE_SIZE] &&
					     page_set_has(set[0], t->list[i] / PAGE_SIZE));
	return same && !memcmp(vm->mem.base, soft->mem.base, MEMORY);
}

/* large: entries of 2 MiB that are expected at the start, at least. */
static void test_touches(struct rig *vm, const char *kind, uint64_t large)
{
	char name[64];
	struct rig soft;
	uint64_t splits;

	rig_memory(&soft, MEMORY);
	rig_start_on_memory(vm, &vmx_engine_ops, toucher, (size_t)(toucher_end - toucher));
	rig_start_on_memory(&soft, &soft_exits_engine_ops, toucher,
			    (size_t)(toucher_end - toucher));
	widen(vm);
	widen(&soft);
	snprintf(name, sizeof(name), "huge.%s.dirty", kind);
	rig_check(touch(vm, &soft, &touches[0]), name, "before the first write: %s",
		  vm->e->ops->last_error(vm->e));
	splits = stat_of(vm, "splits_2m");
	snprintf(name, sizeof(name), "huge.%s.mapped", kind);
	/* Code and stack are in the first 2 MiB. */
	rig_check(large ? stat_of(vm, "pages_2m") == large - 1 && splits == 1
			: !splits && !stat_of(vm, "pages_2m"),
		  name, "%llu large, %llu splits", (unsigned long long)stat_of(vm, "pages_2m"),
		  (unsigned long long)splits);
	for (unsigned i = 1; i < NTOUCHES; i++) {
		snprintf(name, sizeof(name), "huge.%s.dirty.%u", kind, i);
		rig_check(touch(vm, &soft, &touches[i]), name,
			  "other pages or contents than the software CPU");
		splits += large ? touches[i].splits : 0;
		snprintf(name, sizeof(name), "huge.%s.splits.%u", kind, i);
		rig_check(stat_of(vm, "splits_2m") == splits, name, "%llu splits, expected %llu",
			  (unsigned long long)stat_of(vm, "splits_2m"), (unsigned long long)splits);
	}
	rig_stop(&soft);
}

/* Unmapped and mapped again: large again, and the tables that the splits made do not stay. */
static void test_remap(struct rig *vm, const char *kind, uint64_t large)
{
	char name[64];
	bool good = true;

	for (unsigned i = 0; i < 20; i++) {
		vm->e->ops->memory_moved(vm->e);
		again(vm);
		good &= rig_run(vm, UINT64_MAX) == ENGINE_EXIT_HALT;
		good &= stat_of(vm, "ept_tables") < 12;
	}
	snprintf(name, sizeof(name), "huge.%s.remap", kind);
	rig_check(good, name, "%llu tables: %s", (unsigned long long)stat_of(vm, "ept_tables"),
		  vm->e->ops->last_error(vm->e));
}

/* Each CPU has a part of these counters that the others see late. */
static unsigned long still_pinned(void)
{
	put("/proc/sys/vm/stat_refresh", "1");
	return number("/proc/vmstat", "nr_foll_pin_acquired ") -
	       number("/proc/vmstat", "nr_foll_pin_released ");
}

static void test_kind(struct rig *vm, const char *kind, uint64_t large)
{
	unsigned long before = still_pinned();
	char name[64];

	test_touches(vm, kind, large);
	test_remap(vm, kind, large);
	snprintf(name, sizeof(name), "huge.%s.pinned", kind);
	rig_check(still_pinned() == before + MEMORY / PAGE_SIZE, name, "%lu pages",
		  still_pinned() - before);
	rig_stop(vm);
	snprintf(name, sizeof(name), "huge.%s.nothing-left", kind);
	rig_check(still_pinned() == before, name, "%lu pages are pinned", still_pinned() - before);
}

/* Memory as the product makes it, with and without large pages in shared memory. */
static void test_shmem(const char *kind, const char *enabled, uint64_t large)
{
	struct rig vm;

	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", enabled);
	rig_memory(&vm, MEMORY);
	test_kind(&vm, kind, large);
}

static void test_hugetlb(void)
{
	struct rig vm;
	unsigned long all;

	put("/proc/sys/vm/nr_hugepages", "12");
	all = number("/proc/meminfo", "HugePages_Free:");
	rig_memory(&vm, MEMORY);
	munmap(vm.mem.base, MEMORY);
	vm.mem.base = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	rig_check(vm.mem.base != MAP_FAILED, "huge.hugetlb.map", "the host has %lu large pages",
		  all);
	if (vm.mem.base == MAP_FAILED)
		return;
	test_kind(&vm, "hugetlb", MEMORY / LARGE);
	rig_check(all && number("/proc/meminfo", "HugePages_Free:") == all,
		  "huge.hugetlb.given-back", "%lu of %lu",
		  number("/proc/meminfo", "HugePages_Free:"), all);
	put("/proc/sys/vm/nr_hugepages", "0");
}

int main(void)
{
	test_shmem("small", "never", 0);
	test_shmem("shmem", "advise", MEMORY / LARGE);
	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
	test_hugetlb();
	return rig_failures != 0;
}
