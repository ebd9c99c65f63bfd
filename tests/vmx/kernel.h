/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of a kernel as hypervisor/vmx/module/ needs to be compiled into a unit test.
 *
 * The VMCS and the MSRs are tables here, so that a test can lay out what an exit leaves behind and
 * see what the module makes of it. What only a processor can do (VMLAUNCH, LLDT, ...) compiles and
 * is not to be called. Names of the kernel's headers that the module includes lead here
 * (tests/vmx/rules.mk); numbers are those of the Intel SDM, vol. 3, appendices A to C, and vol. 4.
 */
#ifndef TESTS_VMX_KERNEL_H
#define TESTS_VMX_KERNEL_H

#include <asm/processor-flags.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned int gfp_t;

/* ---- the language ---- */

/* What a test may set or look at, and need not. */
#define MOCK static __attribute__((unused))

#define __user
#define __init
#define __exit
#define __rcu
#define __must_check
#define __aligned(n)	      __attribute__((aligned(n)))
#define BIT(n)		      (1ul << (n))
#define BIT_ULL(n)	      (1ull << (n))
#define ARRAY_SIZE(a)	      (sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x)	      (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)      (*(volatile __typeof__(x) *)&(x) = (v))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))
#define min_t(t, a, b)	      ((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define max(a, b)	      ((a) > (b) ? (a) : (b))
#define min(a, b)	      ((a) < (b) ? (a) : (b))
#define U32_MAX		      UINT32_MAX
#define u64_to_user_ptr(x)    ((void *)(uintptr_t)(x))
#define IS_ENABLED(x)	      0
#define MAX_ERRNO	      4095
#define IS_ERR(p)	      ((uintptr_t)(p) >= (uintptr_t)-MAX_ERRNO)
#define PTR_ERR(p)	      ((long)(intptr_t)(p))
#define ERR_PTR(e)	      ((void *)(intptr_t)(e))
#define pr_err(...)	      fprintf(stderr, __VA_ARGS__)
#define pr_err_once	      pr_err
#define pr_warn_ratelimited   pr_err
#define cond_resched()	      ((void)0)
#define might_sleep()	      ((void)0)

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l->prev = l;
}

static inline void list_add(struct list_head *n, struct list_head *head)
{
	n->next = head->next;
	n->prev = head;
	head->next->prev = n;
	head->next = n;
}

static inline void list_del(struct list_head *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
}

#define list_entry(p, t, m) container_of(p, t, m)
#define list_for_each_entry_safe(p, n, head, m)               \
	for (p = list_entry((head)->next, __typeof__(*p), m), \
	    n = list_entry(p->m.next, __typeof__(*p), m);     \
	     &p->m != (head); p = n, n = list_entry(n->m.next, __typeof__(*n), m))

/* ---- variables of each CPU: there is one ---- */

#define DEFINE_PER_CPU(type, name) __typeof__(type) name
#define this_cpu_read(name)	   (name)
#define this_cpu_write(name, v)	   ((name) = (v))

/* ---- memory: addresses are those of this process ---- */

#define PAGE_SHIFT  12
#define PAGE_SIZE   4096ul
#define PAGE_MASK   (~(PAGE_SIZE - 1))
#define PMD_SIZE    (2ul << 20)
#define PFN_PHYS(n) ((u64)(n) << PAGE_SHIFT)
#define __pa(p)	    ((u64)(uintptr_t)(p))
#define __va(a)	    ((void *)(uintptr_t)(a))

#define GFP_KERNEL	   0u
#define GFP_KERNEL_ACCOUNT 0u
#define GFP_NOWAIT	   1u
#define __GFP_ACCOUNT	   0u
#define __GFP_ZERO	   0u
#define __GFP_NOWARN	   0u
#define FOLL_WRITE	   1u
#define FOLL_LONGTERM	   2u

struct page {
	struct list_head lru;
	void *at;
	bool poisoned;
	struct page *next;
};

/* Every page that the module was given, or that a test has pinned. */
MOCK struct page *mock_pages;
MOCK unsigned mock_no_memory; /* allocations that fail from now on */

static inline struct page *mock_page_of(const void *at)
{
	struct page *p = mock_pages;

	while (p && p->at != at)
		p = p->next;
	return p;
}

static inline struct page *mock_page_add(void *at)
{
	struct page *p = calloc(1, sizeof(*p));

	p->at = at;
	p->next = mock_pages;
	mock_pages = p;
	return p;
}

static inline struct page *alloc_page(gfp_t gfp)
{
	void *at;

	if (mock_no_memory) {
		mock_no_memory--;
		return NULL;
	}
	at = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	memset(at, 0, PAGE_SIZE);
	return mock_page_add(at);
}

static inline void __free_page(struct page *p)
{
	struct page **at = &mock_pages;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	free(p->at);
	free(p);
}

static inline void *page_address(const struct page *p)
{
	return p->at;
}

static inline u64 page_to_pfn(const struct page *p)
{
	return __pa(p->at) >> PAGE_SHIFT;
}

static inline struct page *pfn_to_page(u64 pfn)
{
	return mock_page_of(__va(pfn << PAGE_SHIFT));
}

#define PageAnon(p)		 true
#define page_folio(p)		 (p)
#define folio_test_swapbacked(f) true
#define compound_head(p)	 (p)
#define PageHuge(p)		 false
#define PageHWPoison(p)		 ((p)->poisoned)

static inline void *kvcalloc(size_t n, size_t size, gfp_t gfp)
{
	return calloc(n, size);
}

#define kmalloc_array(n, size, gfp) calloc(n, size)
#define kvfree(p)		    free((void *)(p))
#define kfree(p)		    free((void *)(p))
#define access_ok(p, n)		    true
#define put_user(v, p)		    (*(p) = (v), 0)

static inline unsigned long copy_from_user(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return 0;
}

/* ---- bits ---- */

#define BITS_TO_LONGS(n) (((n) + 63) / 64)

static inline void set_bit(u64 i, unsigned long *map)
{
	map[i / 64] |= 1ul << i % 64;
}

static inline void __clear_bit(u64 i, unsigned long *map)
{
	map[i / 64] &= ~(1ul << i % 64);
}

static inline u64 mock_next_bit(const unsigned long *map, u64 n, u64 i)
{
	while (i < n && !(map[i / 64] >> i % 64 & 1))
		i++;
	return i;
}

#define for_each_set_bit(i, map, n) \
	for (i = mock_next_bit(map, n, 0); i < (n); i = mock_next_bit(map, n, i + 1))

/* ---- processes ---- */

struct mutex {
	int unused;
};
typedef int spinlock_t;
struct mmu_notifier {
	int unused;
};
struct mm_struct {
	u64 locked; /* pages that were charged */
};
struct task_struct {
	struct mm_struct *mm;
};
struct pt_regs {
	unsigned long cs, flags;
};
struct inode;
struct file;

MOCK struct task_struct mock_task;
MOCK bool mock_signal, mock_resched;
MOCK int mock_cpu;

#define current			 (&mock_task)
#define spin_lock(l)		 ((void)(l))
#define spin_unlock(l)		 ((void)(l))
#define signal_pending(t)	 mock_signal
#define fatal_signal_pending(t)	 mock_signal
#define need_resched()		 mock_resched
#define local_irq_disable()	 ((void)0)
#define local_irq_enable()	 ((void)0)
#define local_irq_save(flags)	 ((void)((flags) = 0))
#define local_irq_restore(flags) ((void)(flags))
#define preempt_disable()	 ((void)0)
#define preempt_enable()	 ((void)0)
#define smp_processor_id()	 mock_cpu
#define account_locked_vm(m, n, more) \
	((m)->locked = (more) ? (m)->locked + (n) : (m)->locked - (n), 0)

/* ---- time ---- */

MOCK unsigned long jiffies;

#define msecs_to_jiffies(ms)	     ((unsigned long)(ms))
#define time_before(a, b)	     ((long)((a) - (b)) < 0)
#define mul_u64_u32_shr(a, m, shift) ((u64)((unsigned __int128)(a) * (m) >> (shift)))

/* ---- the processor ---- */

#define CONFIG_X86_MCE 1

enum l1tf_mitigations { L1TF_MITIGATION_OFF, L1TF_MITIGATION_FLUSH };

MOCK enum l1tf_mitigations l1tf_mitigation;
MOCK struct pt_regs mock_machine_check; /* what the handler was given last */

static inline void do_machine_check(struct pt_regs *regs)
{
	mock_machine_check = *regs;
}

#define X86_FEATURE_PEBS	1
#define X86_FEATURE_FLUSH_L1D	2
#define X86_FEATURE_KERNEL_IBRS 3
#define X86_FEATURE_OSXSAVE	4
#define X86_FEATURE_RDTSCP	5
#define X86_BUG_L1TF		10
#define X86_BUG_ITLB_MULTIHIT	11

MOCK u64 mock_features; /* bits, by the numbers above */

#define boot_cpu_has(f)	    (mock_features >> (f)&1)
#define boot_cpu_has_bug(b) (mock_features >> (b)&1)
#define cpu_feature_enabled boot_cpu_has

#define MSR_EFER		  0xc0000080
#define MSR_STAR		  0xc0000081
#define MSR_LSTAR		  0xc0000082
#define MSR_CSTAR		  0xc0000083
#define MSR_SYSCALL_MASK	  0xc0000084
#define MSR_FS_BASE		  0xc0000100
#define MSR_GS_BASE		  0xc0000101
#define MSR_KERNEL_GS_BASE	  0xc0000102
#define MSR_TSC_AUX		  0xc0000103
#define MSR_IA32_SPEC_CTRL	  0x48
#define MSR_IA32_FLUSH_CMD	  0x10b
#define MSR_IA32_SYSENTER_CS	  0x174
#define MSR_IA32_SYSENTER_ESP	  0x175
#define MSR_IA32_SYSENTER_EIP	  0x176
#define MSR_CORE_PERF_FIXED_CTR0  0x309
#define MSR_CORE_PERF_GLOBAL_CTRL 0x38f
#define MSR_IA32_PEBS_ENABLE	  0x3f1
#define MSR_IA32_DEBUGCTLMSR	  0x1d9
#define MSR_IA32_CR_PAT		  0x277
#define MSR_MTRRdefType		  0x2ff
#define MSR_IA32_XSS		  0xda0
#define MSR_SMI_COUNT		  0x34
#define MSR_IA32_TSX_CTRL	  0x122
#define TSX_CTRL_RTM_DISABLE	  1ull
#define XFEATURE_MASK_FPSSE	  3u
#define XFEATURE_MASK_PKRU	  0x200u
#define MSR_IA32_VMX_CR4_FIXED1	  0x489
#define L1D_FLUSH		  1ull
#define EFER_SCE		  1u
#define EFER_LME		  0x100u
#define EFER_LMA		  0x400u
#define EFER_NX			  0x800u

#define MOCK_MSRS 64
MOCK struct {
	u32 number;
	u64 value;
	unsigned writes;
} mock_msr[MOCK_MSRS];
MOCK unsigned mock_msrs;

/* The place of an MSR; NULL where this processor has none of that number. */
static inline u64 *mock_msr_find(u32 number)
{
	for (unsigned i = 0; i < mock_msrs; i++) {
		if (mock_msr[i].number == number)
			return &mock_msr[i].value;
	}
	return NULL;
}

static inline void mock_msr_set(u32 number, u64 value)
{
	u64 *at = mock_msr_find(number);

	if (!at) {
		mock_msr[mock_msrs].number = number;
		at = &mock_msr[mock_msrs++].value;
	}
	*at = value;
}

static inline int mock_rdmsr(u32 number, u64 *v)
{
	const u64 *at = mock_msr_find(number);

	*v = at ? *at : 0;
	return at ? 0 : -EIO;
}

static inline int wrmsrl_safe(u32 number, u64 v)
{
	if (!mock_msr_find(number))
		return -EIO;
	mock_msr_set(number, v);
	return 0;
}

#define rdmsrl_safe(n, v) mock_rdmsr(n, v)
#define rdmsrl(n, v)	  ((void)mock_rdmsr(n, &(v)))
#define wrmsrl(n, v)	  mock_msr_set(n, v)

static inline void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d)
{
	*a = *b = *c = *d = 0;
}

struct desc_ptr {
	u16 size;
	unsigned long address;
} __attribute__((packed));
struct ldttss_desc {
	u16 limit0, base0;
	u16 base1 : 8, attr : 8;
	u16 limit1 : 8, base2 : 8;
	u32 base3, zero;
};

MOCK struct desc_ptr mock_gdt, mock_idt;
MOCK unsigned long mock_dr[8];

#define __KERNEL_CS			     0x10
#define __KERNEL_DS			     0x18
#define savesegment(s, v)		     ((v) = 0)
#define loadsegment(s, v)		     ((void)(v))
#define load_gs_index(v)		     ((void)(v))
#define native_store_gdt(d)		     (*(d) = mock_gdt)
#define native_load_gdt(d)		     ((void)(d))
#define store_idt(d)			     (*(d) = mock_idt)
#define load_idt(d)			     ((void)(d))
#define invalidate_tss_limit()		     ((void)0)
#define indirect_branch_prediction_barrier() ((void)0)
#define set_debugreg(v, n)		     ((void)(v))
#define get_debugreg(v, n)		     ((v) = mock_dr[n])
#define hw_breakpoint_active()		     false
#define hw_breakpoint_restore()		     ((void)0)
#define get_debugctlmsr()		     0ull
#define update_debugctlmsr(v)		     ((void)(v))
#define __get_current_cr3_fast()	     0ul
#define kernel_fpu_begin_mask(m)	     ((void)0)
#define kernel_fpu_end()		     ((void)0)

/* The host's. */
MOCK unsigned long mock_cr0, mock_cr4;
#define read_cr0()	  mock_cr0
#define __read_cr4()	  mock_cr4
#define cr4_read_shadow() mock_cr4

/* ---- VT-x ---- */

#include "tests/vmx/kernel_vmx.h"

/* ---- perf ---- */

#define PERF_EVENT_STATE_ERROR	  (-2)
#define PERF_EVENT_STATE_INACTIVE 0
#define PERF_EVENT_STATE_ACTIVE	  1

typedef struct {
	s64 v;
} local64_t;
struct perf_event;
struct perf_sample_data;
struct pmu {
	void (*read)(struct perf_event *event);
};
struct hw_perf_event {
	int state, idx;
	struct task_struct *target;
	local64_t prev_count;
	unsigned long event_base;
};
struct perf_event {
	int state, oncpu;
	struct hw_perf_event hw;
	local64_t count;
	struct pmu *pmu;
};
struct x86_pmu_capability {
	int version, bit_width_fixed;
};

#define local64_read(l) ((l)->v)

MOCK struct pmu mock_pmu;
MOCK u64 mock_retired, mock_period; /* what the counter will show; the last period that was set */
MOCK unsigned mock_events;	    /* made so far */
MOCK int mock_event_error;	    /* of the next one */

static inline void mock_pmu_read(struct perf_event *event)
{
	event->count.v = (s64)mock_retired;
}

static inline void perf_get_x86_pmu_capability(struct x86_pmu_capability *cap)
{
	*cap = (struct x86_pmu_capability){ .version = 5, .bit_width_fixed = 48 };
}

static inline struct perf_event *perf_event_create_kernel_counter(
	struct perf_event_attr *attr, int cpu, struct task_struct *task,
	void (*overflow)(struct perf_event *, struct perf_sample_data *, struct pt_regs *),
	void *context)
{
	struct perf_event *event;

	if (mock_event_error)
		return ERR_PTR(mock_event_error);
	event = calloc(1, sizeof(*event));
	mock_pmu.read = mock_pmu_read;
	event->pmu = &mock_pmu;
	event->state = PERF_EVENT_STATE_ACTIVE;
	event->hw.idx = 32;
	event->hw.target = task;
	mock_events++;
	mock_retired = 0;
	return event;
}

static inline void perf_event_release_kernel(struct perf_event *event)
{
	free(event);
}

static inline int perf_event_period(struct perf_event *event, u64 period)
{
	mock_period = period;
	event->hw.state = 0;
	return 0;
}

#endif
