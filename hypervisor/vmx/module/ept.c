// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. The pages of a slot are pinned while the slot exists, so nothing moves under the
 * guest. All of them are mapped from the start: an EPT violation outside the slots is device
 * memory, inside it is the first write to a clean page.
 *
 * Dirty pages are found by write protection and not by the D bits of EPT: with those bits enabled,
 * the processor treats its own walks of guest page tables as writes, so the set of dirty pages
 * would hold pages that nobody wrote, and differ from what another engine reports for the same
 * execution.
 *
 * Pages are mapped 2 MiB at a time where the host's pages are contiguous; the first write splits
 * such an entry. On processors where instruction fetches through pages that change their size can
 * end in a machine check, such an entry cannot be executed, and the first fetch splits it too: the
 * guest never runs code in a large page.
 */
#include <linux/bitmap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "vcpu.h"

#define EPT_R	    1ull
#define EPT_W	    2ull
#define EPT_X	    4ull
#define EPT_RWX	    7ull
#define EPT_WB	    (6ull << 3)
#define EPT_IPAT    (1ull << 6)
#define EPT_LARGE   (1ull << 7)
#define EPT_ADDR    0x000ffffffffff000ull
#define LEVEL_BITS  9
#define ENTRIES	    512
#define LARGE_PAGES 512ull

#define SLOT_PAGES_MAX (64ull << 18) /* 64 GiB */
#define GPA_LIMIT      (1ull << 40)
#define PIN_CHUNK      512

/* gfp: GFP_NOWAIT in a section, where nothing may sleep. */
static u64 *table_alloc(struct vm *vm, gfp_t gfp)
{
	struct page *p = alloc_page(gfp | __GFP_ACCOUNT | __GFP_ZERO);

	if (!p)
		return NULL;
	list_add(&p->lru, &vm->ept_pages);
	vm->ept_tables++;
	return page_address(p);
}

static void table_free(struct vm *vm, u64 entry)
{
	struct page *p = pfn_to_page((entry & EPT_ADDR) >> PAGE_SHIFT);

	list_del(&p->lru);
	vm->ept_tables--;
	__free_page(p);
}

int ept_init(struct vm *vm)
{
	INIT_LIST_HEAD(&vm->ept_pages);
	vm->ept_root = table_alloc(vm, GFP_KERNEL);
	return vm->ept_root ? 0 : -ENOMEM;
}

static unsigned int index_of(u64 gpa, int level)
{
	return gpa >> (PAGE_SHIFT + LEVEL_BITS * level) & (ENTRIES - 1);
}

/*
 * Entry for gpa at level 0 (4 KiB) or 1 (2 MiB); makes the tables above it when asked, else NULL
 * without them.
 */
static u64 *ept_entry(struct vm *vm, u64 gpa, int level, bool make)
{
	u64 *t = vm->ept_root;

	for (int l = 3; l > level; l--) {
		u64 *e = &t[index_of(gpa, l)];

		if (*e & EPT_LARGE)
			return NULL;
		if (!*e) {
			u64 *next = make ? table_alloc(vm, GFP_KERNEL) : NULL;

			if (!next)
				return NULL;
			*e = __pa(next) | EPT_RWX;
		}
		t = __va(*e & EPT_ADDR);
	}
	return &t[index_of(gpa, level)];
}

static struct slot *slot_of(struct vm *vm, u64 gpa)
{
	for (int i = 0; i < TWVMX_SLOTS; i++) {
		struct slot *s = &vm->slot[i];

		if (s->npages && gpa >= s->gpa && gpa - s->gpa < s->npages << PAGE_SHIFT)
			return s;
	}
	return NULL;
}

static u64 leaf(struct page *p, u64 bits)
{
	return PFN_PHYS(page_to_pfn(p)) | EPT_WB | EPT_IPAT | bits;
}

/* ---- mapping ---- */

static bool is_contiguous(struct page **pages)
{
	u64 first = page_to_pfn(pages[0]);

	if (!(vmx_config.has & TWVMX_EPT_2M) || first % LARGE_PAGES)
		return false;
	for (u64 i = 1; i < LARGE_PAGES; i++) {
		if (page_to_pfn(pages[i]) != first + i)
			return false;
	}
	return true;
}

/*
 * A table that an unmapped slot has left behind would never be used again: its guest pages have no
 * entry.
 */
static void map_large(struct vm *vm, u64 *e, struct page *p)
{
	if (*e && !(*e & EPT_LARGE)) {
		table_free(vm, *e);
		vm->needs_invept = true;
	}
	*e = leaf(p, EPT_LARGE | EPT_R | (boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) ? 0 : EPT_X));
	vm->ept_large++;
}

static int slot_map(struct vm *vm, struct slot *s)
{
	u64 i = 0;

	while (i < s->npages) {
		u64 gpa = s->gpa + (i << PAGE_SHIFT);
		bool large = !(gpa & (PMD_SIZE - 1)) && s->npages - i >= LARGE_PAGES &&
			     is_contiguous(s->pages + i);
		u64 *e = ept_entry(vm, gpa, large, true);

		if (!e)
			return -ENOMEM;
		if (large)
			map_large(vm, e, s->pages[i]);
		else
			*e = leaf(s->pages[i], EPT_R | EPT_X);
		i += large ? LARGE_PAGES : 1;
		if (!(i % LARGE_PAGES))
			cond_resched();
	}
	return 0;
}

static void slot_unmap(struct vm *vm, struct slot *s)
{
	for (u64 i = 0; i < s->npages; i++) {
		u64 gpa = s->gpa + (i << PAGE_SHIFT);
		u64 *e = ept_entry(vm, gpa, 0, false);

		if (!(i % LARGE_PAGES))
			cond_resched();
		if (e) {
			*e = 0;
			continue;
		}
		e = ept_entry(vm, gpa, 1, false);
		if (e && *e & EPT_LARGE) {
			*e = 0;
			vm->ept_large--;
		}
	}
	vm->needs_invept = true;
}

/*
 * The 2 MiB entry of gpa becomes 512 entries that may be read and executed. False also when there
 * is no memory for the table at this moment: then user space executes the instruction.
 */
static bool split_large(struct vm *vm, u64 gpa, gfp_t gfp)
{
	u64 *large = ept_entry(vm, gpa, 1, false), *t;

	if (!large || !(*large & EPT_LARGE))
		return false;
	t = table_alloc(vm, gfp | __GFP_NOWARN);
	if (!t)
		return false;
	for (u64 i = 0; i < ENTRIES; i++)
		t[i] = (((*large & ~EPT_LARGE) | EPT_X) + (i << PAGE_SHIFT));
	*large = __pa(t) | EPT_RWX;
	vm->needs_invept = true;
	vm->ept_large--;
	vm->ept_splits++;
	return true;
}

/* True when gpa is in a 2 MiB entry that was not to be executed: now it may be. */
bool ept_make_executable(struct vm *vm, u64 gpa)
{
	return slot_of(vm, gpa) && split_large(vm, gpa, GFP_NOWAIT);
}

/* True when gpa is in a slot: its page is marked dirty and may be written from now on. */
bool ept_make_writable(struct vm *vm, u64 gpa)
{
	struct slot *s = slot_of(vm, gpa);
	u64 *e;

	if (!s)
		return false;
	e = ept_entry(vm, gpa, 0, false);
	if (!e && split_large(vm, gpa, GFP_NOWAIT))
		e = ept_entry(vm, gpa, 0, false);
	if (!e || !*e)
		return false;
	*e |= EPT_W;
	set_bit((gpa - s->gpa) >> PAGE_SHIFT, (unsigned long *)s->dirty);
	return true;
}

/* ---- memory that fails ---- */

/* A page of hugetlbfs fails as a whole. */
static bool is_poisoned(struct page *p)
{
	return PageHWPoison(p) || (PageHuge(p) && PageHWPoison(compound_head(p)));
}

bool ept_is_poisoned(struct vm *vm, u64 gpa)
{
	struct slot *s = slot_of(vm, gpa);

	return s && is_poisoned(s->pages[(gpa - s->gpa) >> PAGE_SHIFT]);
}

/*
 * The kernel takes pages out of the process's tables. One reason is that their memory has failed,
 * which nobody tells a module; the next section looks. From any thread: slots may be changing, and
 * then those that come are looked at when they are pinned.
 */
void ept_note_unmapped(struct vm *vm, u64 start, u64 end)
{
	bool ours = false;

	for (int i = 0; i < TWVMX_SLOTS; i++) {
		u64 user = READ_ONCE(vm->slot[i].user);
		u64 size = READ_ONCE(vm->slot[i].npages) << PAGE_SHIFT;

		ours |= start < user + size && user < end;
	}
	if (!ours)
		return;
	spin_lock(&vm->unmapped_lock);
	vm->unmapped_from = vm->unmapped ? min(vm->unmapped_from, start) : start;
	vm->unmapped_to = vm->unmapped ? max(vm->unmapped_to, end) : end;
	WRITE_ONCE(vm->unmapped, true);
	spin_unlock(&vm->unmapped_lock);
}

/* Any page may have failed. */
void ept_suspect_all(struct vm *vm)
{
	ept_note_unmapped(vm, 0, ~0ull);
}

static void drop_page(struct vm *vm, u64 gpa)
{
	u64 *e = ept_entry(vm, gpa, 0, false);

	if (!e && split_large(vm, gpa, GFP_KERNEL))
		e = ept_entry(vm, gpa, 0, false);
	if (!e)
		e = ept_entry(vm, gpa, 1, false); /* no memory for a table: all of it goes */
	if (!e || !*e)
		return;
	vm->ept_large -= !!(*e & EPT_LARGE);
	*e = 0;
	vm->needs_invept = true;
}

/*
 * Takes pages whose memory has failed away from the guest, which would else meet a machine check
 * again and again. Before a section; may sleep.
 */
void ept_drop_poisoned(struct vm *vm)
{
	u64 from, to;

	if (!READ_ONCE(vm->unmapped))
		return;
	spin_lock(&vm->unmapped_lock);
	from = vm->unmapped_from;
	to = vm->unmapped_to;
	WRITE_ONCE(vm->unmapped, false);
	spin_unlock(&vm->unmapped_lock);
	for (int n = 0; n < TWVMX_SLOTS; n++) {
		struct slot *s = &vm->slot[n];
		u64 first = from > s->user ? (from - s->user) >> PAGE_SHIFT : 0;

		for (u64 i = first; i < s->npages && s->user + (i << PAGE_SHIFT) < to; i++) {
			if (is_poisoned(s->pages[i]))
				drop_page(vm, s->gpa + (i << PAGE_SHIFT));
			if (!(i % LARGE_PAGES))
				cond_resched();
		}
	}
}

/* ---- slots ---- */

static void slot_release(struct slot *s)
{
	if (s->pages && s->npages)
		unpin_user_pages_dirty_lock(s->pages, s->npages, true);
	kvfree(s->pages);
	kvfree(s->dirty);
	*s = (struct slot){};
}

/*
 * Memory without a file on disk behind it: a file system wants to be told before its pages are
 * written, and a guest tells nobody. Pages of drivers, like a run page, may want another caching
 * than a guest's memory has.
 */
static bool all_plain(struct page **pages, int n)
{
	for (int i = 0; i < n; i++) {
		if (!PageAnon(pages[i]) && !folio_test_swapbacked(page_folio(pages[i])) &&
		    !PageHuge(pages[i]))
			return false;
	}
	return true;
}

static int slot_pin(struct slot *s, u64 user, u64 npages)
{
	while (s->npages < npages) {
		int want = min_t(u64, npages - s->npages, PIN_CHUNK);
		int got = pin_user_pages_fast(user + (s->npages << PAGE_SHIFT), want,
					      FOLL_WRITE | FOLL_LONGTERM, s->pages + s->npages);

		if (got <= 0)
			return got ? got : -EFAULT;
		s->npages += got;
		if (!all_plain(s->pages + s->npages - got, got))
			return -EINVAL;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int slot_check(struct vm *vm, const struct twvmx_slot *a)
{
	if (a->version != TWVMX_VERSION || a->slot >= TWVMX_SLOTS)
		return -EINVAL;
	if ((a->gpa | a->size | a->user) & ~PAGE_MASK)
		return -EINVAL;
	if (a->size >> PAGE_SHIFT > SLOT_PAGES_MAX || a->gpa >= GPA_LIMIT ||
	    a->size > GPA_LIMIT - a->gpa)
		return -EINVAL;
	if (a->user + a->size < a->user)
		return -EINVAL;
	for (int i = 0; i < TWVMX_SLOTS; i++) {
		struct slot *o = &vm->slot[i];

		if (i != a->slot && o->npages && a->gpa < o->gpa + (o->npages << PAGE_SHIFT) &&
		    o->gpa < a->gpa + a->size)
			return -EEXIST;
	}
	return 0;
}

/* Pinned memory counts against RLIMIT_MEMLOCK unless the caller may lock what it likes. */
static int charge(struct vm *vm, u64 npages, bool more)
{
	return npages ? account_locked_vm(vm->mm, npages, more) : 0;
}

int ept_set_slot(struct vm *vm, const struct twvmx_slot *a)
{
	struct slot *s = &vm->slot[a->slot < TWVMX_SLOTS ? a->slot : 0];
	u64 npages = a->size >> PAGE_SHIFT;
	int ret = slot_check(vm, a);

	if (ret)
		return ret;
	if (s->npages) {
		slot_unmap(vm, s);
		charge(vm, s->npages, false);
		slot_release(s);
	}
	if (!npages)
		return 0;
	ret = charge(vm, npages, true);
	if (ret)
		return ret;
	s->gpa = a->gpa;
	WRITE_ONCE(s->user, a->user);
	s->pages = kvcalloc(npages, sizeof(*s->pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	s->dirty = kvcalloc(BITS_TO_LONGS(npages), sizeof(long), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	ret = s->pages && s->dirty ? slot_pin(s, a->user, npages) : -ENOMEM;
	if (!ret)
		ret = slot_map(vm, s);
	if (ret) {
		slot_unmap(vm, s);
		slot_release(s);
		charge(vm, npages, false);
	}
	ept_suspect_all(vm); /* what has failed since it was pinned */
	return ret;
}

/* ---- dirty pages ---- */

static int report_page(struct vm *vm, struct slot *s, u64 i, u8 __user *map)
{
	u64 *e = ept_entry(vm, s->gpa + (i << PAGE_SHIFT), 0, false);

	if (put_user((u8)1, map + i))
		return -EFAULT;
	if (e)
		*e &= ~EPT_W;
	__clear_bit(i, (unsigned long *)s->dirty);
	vm->needs_invept = true;
	return 0;
}

int ept_fetch_dirty(struct vm *vm, const struct twvmx_dirty *a)
{
	u8 __user *map = u64_to_user_ptr(a->map);
	struct slot *s;
	unsigned long i;

	if (a->version != TWVMX_VERSION || a->slot >= TWVMX_SLOTS)
		return -EINVAL;
	s = &vm->slot[a->slot];
	if (!s->npages || a->pages != s->npages || !access_ok(map, s->npages))
		return -EINVAL;
	for_each_set_bit(i, (unsigned long *)s->dirty, s->npages)
	{
		int ret = report_page(vm, s, i, map);

		if (ret)
			return ret;
	}
	return 0;
}

void ept_free(struct vm *vm)
{
	struct page *p, *next;

	for (int i = 0; i < TWVMX_SLOTS; i++) {
		charge(vm, vm->slot[i].npages, false);
		slot_release(&vm->slot[i]);
	}
	list_for_each_entry_safe(p, next, &vm->ept_pages, lru)
	{
		list_del(&p->lru);
		__free_page(p);
	}
	vm->ept_root = NULL;
}

void ept_fill_stats(const struct vm *vm, struct twvmx_stats *stats)
{
	*stats = (struct twvmx_stats){
		.version = TWVMX_VERSION,
		.pages = vm->slot[0].npages + vm->slot[1].npages,
		.large = vm->ept_large,
		.splits = vm->ept_splits,
		.tables = vm->ept_tables,
	};
}

/* Write-back tables, four levels, no A/D bits. */
u64 ept_pointer(const struct vm *vm)
{
	return __pa(vm->ept_root) | 6 | 3 << 3;
}
