/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block cache of the software CPU: self-modifying code, page-crossing instructions, aliases,
 * overflow.
 */
#include "tests/unit.h"

#include "hypervisor/soft/block.h"
#include "tests/soft/guest.h"

#define MEMORY (64ull << 20)
#define CODE   0x1000ull

static struct guest g;
static struct cpu *cpu;

static void start(uint64_t at, const uint8_t *code, const uint8_t *end)
{
	struct cpu_state s;

	guest_init(&g, MEMORY);
	cpu = guest_cpu(&g);
	guest_load(&g, at, code, end);
	guest_long_mode(&g, at, 0, &s);
}

#define START(at, name) start((at), name##_start, name##_end)

static void run_to(uint64_t count)
{
	ck_assert_int_eq(guest_run_to(&g, count), ENGINE_EXIT_UNTIL);
	ck_assert_uint_eq(g.e->ops->count(g.e), count);
}

/* The store changes the immediate of the instruction after it, in the same block. */
GUEST_CODE(next, "	movb	$77, 1f+1(%rip)\n"
		 "1:	mov	$1, %al\n"
		 "	mov	$2, %bl\n"
		 "2:	jmp	2b\n");

START_TEST(next_instruction_changes)
{
	START(CODE, next);
	run_to(3);
	ck_assert_uint_eq(cpu->gpr[R_RAX] & 0xff, 77);
	ck_assert_uint_eq(cpu->gpr[R_RBX] & 0xff, 2);
	guest_fini(&g);
}
END_TEST

/* A loop that counts its own immediate up: every iteration runs the new code. */
GUEST_CODE(counting, "1:	incl	2f+1(%rip)\n"
		     "2:	mov	$0, %eax\n"
		     "	add	%rax, %rbx\n"
		     "	jmp	1b\n");

START_TEST(loop_changes_itself)
{
	START(CODE, counting);
	for (uint64_t i = 1; i <= 500; i++) {
		run_to(4 * i);
		ck_assert_uint_eq(cpu->gpr[R_RAX], i);
		ck_assert_uint_eq(cpu->gpr[R_RBX], i * (i + 1) / 2);
	}
	run_to(400000);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 100000);
	guest_fini(&g);
}
END_TEST

/* The same through another linear address of the page, and a caller that keeps its block. */
GUEST_CODE(alias, "1:	call	2f\n"
		  "	add	%rax, %rbx\n"
		  "	incl	0x40001101\n"
		  "	jmp	1b\n"
		  "	.org	alias_start + 0x100\n"
		  "2:	mov	$5, %eax\n"
		  "	ret\n");

START_TEST(callee_changes_through_alias)
{
	START(CODE, alias);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x87);
	run_to(6 * 100);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 104);
	ck_assert_uint_eq(cpu->gpr[R_RBX], (5 + 104) * 100 / 2);
	guest_fini(&g);
}
END_TEST

/* REP STOSB runs over itself: the iterations after the write decode what it wrote (0x90: NOP). */
GUEST_CODE(rep_over, "	lea	1f-3(%rip), %rdi\n"
		     "	mov	$64, %ecx\n"
		     "	mov	$0x90, %al\n"
		     "	jmp	1f\n"
		     "	.balign	64\n"
		     "	nop\n	nop\n	nop\n"
		     "1:	rep stosb\n"
		     "	mov	$1, %edx\n"
		     "2:	jmp	2b\n");

START_TEST(rep_overwrites_itself)
{
	struct guest first;

	START(CODE, rep_over);
	for (uint64_t i = 0; i <= 40; i++)
		run_to(i);
	first = g;
	START(CODE, rep_over);
	run_to(40);
	ck_assert_uint_eq(cpu->rip, guest_cpu(&first)->rip);
	ck_assert_uint_eq(cpu->gpr[R_RCX], guest_cpu(&first)->gpr[R_RCX]);
	ck_assert_uint_eq(cpu->gpr[R_RDI], guest_cpu(&first)->gpr[R_RDI]);
	/*
	 * Four iterations; the fourth makes NOP of the prefix, and STOSB alone does not count down.
	 */
	ck_assert_uint_eq(cpu->gpr[R_RCX], 60);
	ck_assert_uint_eq(cpu->gpr[R_RDX], 1);
	guest_fini(&first);
	guest_fini(&g);
}
END_TEST

/* The same where the prefix is the last byte of a page and the opcode the first of the next one. */
GUEST_CODE(rep_cross, "	rep stosb\n"
		      "	mov	$1, %edx\n"
		      "2:	jmp	2b\n");

START_TEST(rep_across_pages_overwrites_itself)
{
	START(0x4fff, rep_cross);
	cpu->gpr[R_RDI] = 0x4ffe;
	cpu->gpr[R_RCX] = 64;
	cpu->gpr[R_RAX] = 0x90;
	run_to(10);
	ck_assert_uint_eq(cpu->gpr[R_RCX], 62);
	ck_assert_uint_eq(cpu->gpr[R_RDX], 1);
	guest_fini(&g);
}
END_TEST

/* An instruction through two pages, whose second half changes and is remapped. */
GUEST_CODE(cross, "	mov	$0x11223344, %eax\n"
		  "	add	%rax, %rbx\n"
		  "	ret\n");
GUEST_CODE(caller, "1:	call	*%rdx\n"
		   "	incl	(%rsi)\n"
		   "	jmp	1b\n");

START_TEST(instruction_crosses_pages)
{
	START(CODE, caller);
	guest_load(&g, 0x4ffd, cross_start, cross_end);
	cpu->gpr[R_RDX] = 0x4ffd;
	cpu->gpr[R_RSI] = 0x5000; /* bits 23:16 and up of the immediate */
	run_to(6 * 10 + 2);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11223344 + (10 << 16));
	run_to(6 * 10 + 3);
	ck_assert_uint_eq(cpu->rip, 0x5005);
	guest_fini(&g);
}
END_TEST

/*
 * A loop over such an instruction decodes it once, and by hand when the second page has left the
 * ITLB.
 */
START_TEST(crossing_instruction_is_cached)
{
	struct cpu_stats before;

	START(CODE, caller);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x75000 | 7);
	guest_poke(&g, 0x75018, 0x10000 | 7);
	guest_poke(&g, 0x75020, 0x11000 | 7);
	guest_load(&g, 0x10ffd, cross_start, cross_end);
	cpu->gpr[R_RDX] = 0x40003ffd;
	cpu->gpr[R_RSI] = 0x200000;
	run_to(60);
	before = cpu->stats;
	run_to(6000);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11223344);
	ck_assert_uint_eq(cpu->stats.decoded, before.decoded);
	ck_assert_uint_eq(cpu->stats.singles, before.singles);
	for (uint64_t i = 0; i < 20; i++) {
		mmu_flush_page(cpu, i & 1 ? 0x40003000 : 0x40004000);
		run_to(6000 + 6 * (i + 1));
	}
	ck_assert_uint_eq(cpu->stats.walks, before.walks + 20);
	ck_assert_uint_eq(cpu->stats.singles, before.singles + 10);
	ck_assert_uint_eq(cpu->stats.decoded, before.decoded);
	guest_fini(&g);
}
END_TEST

START_TEST(second_page_is_remapped)
{
	START(CODE, caller);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x75000 | 7);
	guest_poke(&g, 0x75018, 0x10000 | 7);
	guest_poke(&g, 0x75020, 0x11000 | 7);
	guest_load(&g, 0x10ffd, cross_start, cross_end);
	guest_load(&g, 0x12000, cross_start + 3, cross_end);
	guest_poke(&g, 0x12000, guest_peek(&g, 0x12000) + 1);
	cpu->gpr[R_RDX] = 0x40003ffd;
	cpu->gpr[R_RSI] = 0x200000;
	run_to(2);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11223344);
	guest_poke(&g, 0x75020, 0x12000 | 7);
	run_to(8);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11223344); /* stale, as the ITLB is */
	mmu_flush_page(cpu, 0x40004000);
	run_to(14);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11233344);
	ck_assert_uint_eq(guest_peek(&g, 0x75020) & 0x60, 0x20);
	guest_fini(&g);
}
END_TEST

/* One physical page at two addresses: RIP-relative operands follow the address. */
GUEST_CODE(relative, "	lea	relative_start(%rip), %rax\n"
		     "	mov	relative_end(%rip), %ebx\n"
		     "	jmp	*%rdx\n");

START_TEST(one_page_at_two_addresses)
{
	START(CODE, relative);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x87);
	guest_poke(&g, CODE + (uint64_t)(relative_end - relative_start), 0x1234);
	for (uint64_t i = 0; i < 20; i++) {
		cpu->gpr[R_RDX] = i & 1 ? CODE : 0x40000000 + CODE;
		run_to(3 * i + 2);
		ck_assert_uint_eq(cpu->gpr[R_RAX], i & 1 ? 0x40000000 + CODE : CODE);
		ck_assert_uint_eq(cpu->gpr[R_RBX], 0x1234);
		run_to(3 * i + 3);
	}
	guest_fini(&g);
}
END_TEST

/* A direct jump into the next page of addresses, at first the same physical page. */
GUEST_CODE(over, "1:	jmp	over_start + 0x1100\n"
		 "	.org	over_start + 0x100\n"
		 "	mov	$5, %eax\n"
		 "	jmp	over_start - 0x1000\n"
		 "	.org	over_start + 0x1100\n");

START_TEST(jump_target_is_remapped)
{
	START(0x10000, over);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x75000 | 7);
	guest_poke(&g, 0x75018, 0x10000 | 7);
	guest_poke(&g, 0x75020, 0x10000 | 7);
	guest_load(&g, 0x12000, over_start, over_end);
	memory_write(&g.mem, 0x12101, (uint8_t[]){ 6 }, 1);
	cpu->rip = 0x40003000;
	run_to(300);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 5);
	guest_poke(&g, 0x75020, 0x12000 | 7);
	mmu_flush_page(cpu, 0x40004000);
	run_to(303);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 6);
	guest_fini(&g);
}
END_TEST

/*
 * An indirect jump to a page that is mapped elsewhere by then, behind what its translation does and
 * does not outlive: nothing at all, a load of CR3, another page in its ITLB slot.
 */
#define HOP_TO	  0x40004000ull
#define HOP_OTHER (HOP_TO + TLB_SIZE * PAGE_SIZE)

GUEST_CODE(hop, "1:	jmp	*%rdx\n"
		"	.org	hop_start + 0x40\n"
		"	dec	%ecx\n"
		"	jnz	1b\n"
		"	hlt\n"
		"	.org	hop_start + 0x80\n"
		"	mov	%cr3, %rsi\n"
		"	mov	%rsi, %cr3\n"
		"	hlt\n");
GUEST_CODE(five, "	mov	$5, %eax\n"
		 "	jmp	*%rbx\n");
GUEST_CODE(six, "	mov	$6, %eax\n"
		"	jmp	*%rbx\n");

static void run_until_halt(uint64_t rip)
{
	cpu->rip = rip;
	cpu->halted = false;
	ck_assert_int_eq(guest_run_to(&g, cpu->count + 1000), ENGINE_EXIT_HALT);
}

/* Returns which of the two programs ran. */
static uint64_t hop_to(uint64_t page, uint64_t times)
{
	cpu->gpr[R_RBX] = CODE + 0x40;
	cpu->gpr[R_RDX] = page;
	cpu->gpr[R_RCX] = times;
	run_until_halt(CODE);
	return cpu->gpr[R_RAX];
}

static void start_hops(void)
{
	START(CODE, hop);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, 0x75000 | 7);
	guest_poke(&g, 0x74000 + 8 * 4, 0x76000 | 7);
	guest_poke(&g, 0x75020, 0x12000 | 7);
	guest_poke(&g, 0x76020, 0x12000 | 7);
	GUEST_LOAD(&g, 0x12000, five);
	GUEST_LOAD(&g, 0x13000, six);
	ck_assert_uint_eq(hop_to(HOP_TO, 20), 5);
	guest_poke(&g, 0x75020, 0x13000 | 7);
	ck_assert_uint_eq(hop_to(HOP_TO, 20), 5);
}

START_TEST(indirect_target_is_remapped)
{
	start_hops();
	run_until_halt(CODE + 0x80);
	ck_assert_uint_eq(hop_to(HOP_TO, 20), 6);
	guest_fini(&g);
}
END_TEST

START_TEST(slot_of_indirect_target_is_taken)
{
	start_hops();
	ck_assert_uint_eq(hop_to(HOP_OTHER, 1), 5);
	ck_assert_uint_eq(hop_to(HOP_TO, 20), 6);
	/* The other way round, with the entry of the jump cache in use. */
	guest_poke(&g, 0x76020, 0x13000 | 7);
	ck_assert_uint_eq(hop_to(HOP_OTHER, 20), 6);
	guest_poke(&g, 0x75020, 0x12000 | 7);
	ck_assert_uint_eq(hop_to(HOP_TO, 20), 5);
	guest_fini(&g);
}
END_TEST

START_TEST(write_from_outside)
{
	uint32_t imm = 99;

	START(CODE, cross);
	run_to(2);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 0x11223344);
	memory_write(&g.mem, CODE + 1, &imm, sizeof(imm));
	cpu->rip = CODE;
	run_to(4);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 99);
	guest_fini(&g);
}
END_TEST

START_TEST(data_beside_code)
{
	struct engine_stat before[32], after[32];

	/*
	 * The stores of `data` fall into pieces of the page without code: nothing is decoded again.
	 */
	START(CODE, caller);
	guest_load(&g, 0x2000, cross_start, cross_end);
	cpu->gpr[R_RDX] = 0x2000;
	cpu->gpr[R_RSI] = CODE + 0x800;
	run_to(100);
	g.e->ops->stats(g.e, before, 32);
	run_to(60000);
	g.e->ops->stats(g.e, after, 32);
	ck_assert_str_eq(after[0].name, "blocks");
	ck_assert_uint_le(after[0].value, before[0].value + 1);
	ck_assert_uint_eq(guest_peek(&g, CODE + 0x800), 10000);
	guest_fini(&g);
}
END_TEST

/* ---- more code than the cache holds ---- */
#define MANY   400000u
#define STRIDE 64u

/* Code at 8 MiB and up: `inc rax; add rbx, rax; jmp next`, one block in every 64 bytes. */
static void many_blocks(void)
{
	static const uint8_t code[] = { 0x48, 0xff, 0xc0, 0x48, 0x01, 0xc3, 0xe9, 53, 0, 0, 0 };
	uint8_t *p = guest_ram(&g, 0x800000);

	for (unsigned i = 0; i < MANY; i++, p += STRIDE)
		memcpy(p, code, sizeof(code));
	p -= STRIDE;
	memcpy(p + 7, &(int32_t){ -(int32_t)((MANY - 1) * STRIDE) - 11 }, 4);
}

START_TEST(overflow_is_invisible)
{
	START(CODE, relative);
	many_blocks();
	cpu->gpr[R_RAX] = cpu->gpr[R_RBX] = 0;
	cpu->rip = 0x800000;
	run_to(3ull * MANY * 2 + 3);
	ck_assert_uint_eq(cpu->gpr[R_RAX], 2 * MANY + 1);
	ck_assert_uint_eq(cpu->gpr[R_RBX], (2 * MANY + 1) * (2ull * MANY + 2) / 2);
	ck_assert_uint_eq(cpu->rip, 0x800000 + STRIDE);
	ck_assert_uint_gt(cpu->blocks->epoch, 3);
	guest_fini(&g);
}
END_TEST

/* A bit of a control register that goes to and fro, and a page that is read after each change. */
GUEST_CODE(toggle_wp, "1:	mov	%cr0, %rax\n"
		      "	xor	$0x10000, %rax\n"
		      "	mov	%rax, %cr0\n"
		      "	mov	(%rdi), %rbx\n"
		      "	jmp	1b\n");
GUEST_CODE(toggle_pge, "1:	mov	%cr4, %rax\n"
		       "	xor	$0x80, %rax\n"
		       "	mov	%rax, %cr4\n"
		       "	mov	(%rdi), %rbx\n"
		       "	jmp	1b\n");

/*
 * What such a change may cost: these for each, and nothing else. Code that has been decoded stays,
 * and runs as it ran.
 */
static void toggles_cost(unsigned walks)
{
	struct cpu_stats before;

	cpu->gpr[R_RDI] = 0x200000;
	run_to(10 * 5);
	before = cpu->stats;
	run_to(1010 * 5);
	ck_assert_uint_eq(cpu->stats.walks, before.walks + 1000 * walks);
	ck_assert_uint_eq(cpu->stats.decoded, before.decoded);
	ck_assert_uint_eq(cpu->stats.blocks, before.blocks);
	ck_assert_uint_eq(cpu->stats.singles, before.singles);
	ck_assert_uint_eq(cpu->stats.translated, before.translated);
	guest_fini(&g);
}

START_TEST(write_protection_toggles_for_nothing)
{
	START(CODE, toggle_wp);
	toggles_cost(0);
}
END_TEST

/*
 * Both directions drop all translations (SDM vol. 3, 4.10.4.1): the code's and the data's come
 * back.
 */
START_TEST(global_pages_toggle_for_two_walks)
{
	START(CODE, toggle_pge);
	toggles_cost(2);
}
END_TEST

/*
 * An instruction that goes on in the next page, by then beyond CS's limit: fetching it makes a walk
 * whose accessed bit lies beside the code of the block before it, in the page table that holds
 * both.
 */
#define LOOP_PT	  0x75000ull
#define LOOP	  0x401f8ff0ull
#define LOOP_PTE2 (LOOP_PT + 8 * 0x1f9)

GUEST_CODE(limit_loop, "	.fill	14, 1, 0x90\n"
		       "	mov	$1, %eax\n"
		       "	jmp	limit_loop_start\n");

START_TEST(walk_beyond_limit_meets_last_block)
{
	uint64_t pte = 0x11000 | 7;
	struct cpu_state s;
	struct err err = ERR_INIT;

	START(CODE, counting);
	guest_poke(&g, GUEST_PDPT + 8, 0x74000 | 7);
	guest_poke(&g, 0x74000, LOOP_PT | 7);
	guest_poke(&g, LOOP_PT + 8 * 0x1f8, LOOP_PT | 7);
	guest_poke(&g, LOOP_PTE2, pte);
	memory_write(&g.mem, LOOP_PT + 0xff0, limit_loop_start, 16);
	guest_load(&g, 0x11000, limit_loop_start + 16, limit_loop_end);
	g.e->ops->get_state(g.e, &s);
	s.seg[SEG_CS] = (struct seg_state){ 0, 0x7fffffff, 0xc09b, 8 };
	s.rip = LOOP;
	ck_assert_int_eq(g.e->ops->set_state(g.e, &s, &err), 0);
	run_to(16 * 4);
	ck_assert_uint_eq(cpu->rip, LOOP);
	memcpy(guest_ram(&g, LOOP_PTE2), &pte, sizeof(pte));
	mmu_flush_page(cpu, LOOP + 0x10);
	cpu->seg[SEG_CS].limit = LOOP + 0xf;
	/* #GP, for which there are no tables. */
	ck_assert_int_eq(guest_run_to(&g, 16 * 6), ENGINE_EXIT_SHUTDOWN);
	ck_assert_uint_eq(cpu->count, 16 * 4 + 14);
	ck_assert_uint_eq(guest_peek(&g, LOOP_PTE2) & 0x20, 0x20);
	guest_fini(&g);
}
END_TEST

START_TEST(dropping_is_invisible)
{
	START(CODE, counting);
	for (uint64_t i = 1; i <= 3000; i++) {
		run_to(i * 3);
		block_drop_all(cpu);
	}
	ck_assert_uint_eq(cpu->gpr[R_RAX], 2250);
	guest_fini(&g);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_test(tc, next_instruction_changes);
	tcase_add_test(tc, loop_changes_itself);
	tcase_add_test(tc, callee_changes_through_alias);
	tcase_add_test(tc, rep_overwrites_itself);
	tcase_add_test(tc, instruction_crosses_pages);
	tcase_add_test(tc, second_page_is_remapped);
	tcase_add_test(tc, one_page_at_two_addresses);
	tcase_add_test(tc, rep_across_pages_overwrites_itself);
	tcase_add_test(tc, jump_target_is_remapped);
	tcase_add_test(tc, indirect_target_is_remapped);
	tcase_add_test(tc, slot_of_indirect_target_is_taken);
	tcase_add_test(tc, write_from_outside);
	tcase_add_test(tc, crossing_instruction_is_cached);
	tcase_add_test(tc, data_beside_code);
	tcase_add_test(tc, overflow_is_invisible);
	tcase_add_test(tc, write_protection_toggles_for_nothing);
	tcase_add_test(tc, global_pages_toggle_for_two_walks);
	tcase_add_test(tc, walk_beyond_limit_meets_last_block);
	tcase_add_test(tc, dropping_is_invisible);
}

UNIT_MAIN("soft_block", add)
