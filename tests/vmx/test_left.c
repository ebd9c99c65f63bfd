// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the engine makes of an exit that came in the middle of something: of the delivery of an
 * event, or of an access that this processor's paging judges otherwise than the machine's. The
 * processor is the run page, as the module would have filled it.
 */
#include "hypervisor/vmx/vmx.c"
#include "hypervisor/vmx/bench.h"
#include "tests/unit.h"

#define EXIT_EPT 48
#define EXTERNAL 0
#define HANDLER	 0x9000u
#define STACK	 0x7000u
#define DATA	 0x40000u /* a page of the guest's */
#define PDPT	 0x2000u
#define GIB	 (1ull << 30)

static struct bench b;
static struct vmx *v;
static struct twvmx_run page;

/* INC DWORD [RBP]; INT 41h; HLT */
static const char code[] = "\xff\x45\x00\xcd\x41\xf4";
#define INC_END (BENCH_CODE + 3)
#define INT_END (BENCH_CODE + 5)

static const struct bench_program program = {
	.name = "left", .code = code, .end = code + sizeof(code) - 1, .long_mode = true
};

static void put64(uint64_t gpa, uint64_t value)
{
	memory_write(&b.mem, gpa, &value, 8);
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t value = 0;

	memory_read(&b.mem, gpa, &value, 8);
	return value;
}

static void set_up(void)
{
	struct err err = ERR_INIT;

	ck_assert_int_eq(bench_start(&b, &soft_interpret_engine_ops, 2, &program, &err), 0);
	for (unsigned vector = 0; vector < 256; vector++)
		put64(BENCH_IDT + vector * 16, 0x8e0000080000 | HANDLER);
	v = calloc(1, sizeof(*v));
	memset(&page, 0, sizeof(page));
	v->run = &page;
	v->soft = b.e;
	v->mem = &b.mem;
	v->source = &vmx_count_pmu;
	v->until.count = UINT64_MAX;
	b.e->ops->get_state(b.e, &v->st);
	v->st.gpr[R_RBP] = DATA;
	v->st.gpr[R_RSP] = STACK;
}

static void tear_down(void)
{
	free(v);
	bench_stop(&b);
}

/* What enter() and the count source do once the module has come back. */
static void leave(uint32_t reason)
{
	page.exit_reason = reason;
	take_back_event(v);
	ck_assert_msg(handle_exit(v), "%s", v->error);
}

static void leave_with_page_fault(uint32_t error)
{
	page.exit_info = INFO_VALID | INFO_HAS_ERROR | TYPE_EXCEPTION << 8 | VEC_PF;
	page.exit_error = error;
	leave(EXIT_EXCEPTION);
}

/* ---- the delivery of an event leaves ---- */

static const struct {
	uint32_t info, error;
	bool blocks;
} events[] = {
	{ INFO_VALID | TYPE_NMI << 8 | VEC_NMI, 0, true },
	{ INFO_VALID | EXTERNAL << 8 | 0x40, 0, false },
	{ INFO_VALID | INFO_HAS_ERROR | TYPE_EXCEPTION << 8 | VEC_GP, 0x28, false },
};

/* Its frame goes to device memory, say: software delivers it, before any instruction. */
START_TEST(an_event_whose_delivery_leaves_comes_first)
{
	bool with_error = events[_i].info & INFO_HAS_ERROR;
	uint64_t frame = STACK - (with_error ? 48 : 40);

	page.idt_info = events[_i].info;
	page.idt_error = events[_i].error;
	leave(EXIT_EPT);
	ck_assert_uint_eq(v->st.rip, HANDLER);
	ck_assert_uint_eq(v->st.gpr[R_RSP], frame);
	ck_assert_uint_eq(get64(frame + (with_error ? 8 : 0)), BENCH_CODE);
	ck_assert(!with_error || get64(frame) == events[_i].error);
	ck_assert_uint_eq(get64(DATA), 0);
	ck_assert_uint_eq(v->count, 0);
	ck_assert_int_eq(v->st.nmi_blocked, events[_i].blocks);
	ck_assert(!v->st.event.valid);
}
END_TEST

/* It never got as far as a fault of its own: a signal came. The next entry delivers it. */
START_TEST(an_event_on_its_way_goes_in_at_the_next_entry)
{
	page.idt_info = events[_i].info;
	page.idt_error = events[_i].error;
	v->load = 0;
	leave(TWVMX_EXIT_SIGNAL);
	ck_assert_uint_eq(v->st.rip, BENCH_CODE);
	ck_assert_int_eq(v->st.nmi_blocked, events[_i].blocks);
	choose_event(v);
	ck_assert_uint_eq(page.entry_info, events[_i].info);
	ck_assert_uint_eq(page.entry_error, events[_i].error);
	/* Blocked by itself, it could not be entered (SDM vol. 3, 27.3.1.5). */
	ck_assert(!v->st.nmi_blocked);
	ck_assert_int_eq(v->load & TWVMX_LOAD_GPR, events[_i].blocks ? TWVMX_LOAD_GPR : 0);
}
END_TEST

/* A second NMI waits for the end of the first one's handler. */
START_TEST(another_nmi_waits_behind_it)
{
	static const char iretq[] = "\x48\xcf";

	memory_write(&b.mem, HANDLER, iretq, 2);
	page.idt_info = events[0].info;
	v->st.nmi_pending = true;
	leave(EXIT_EPT);
	ck_assert(v->st.nmi_pending && v->st.nmi_blocked);
	ck_assert(!has_event(&v->st));
	ck_assert(soft_step(v, true));
	ck_assert_uint_eq(v->st.rip, BENCH_CODE);
	ck_assert(v->st.nmi_pending && !v->st.nmi_blocked);
	ck_assert(has_event(&v->st));
}
END_TEST

/* RIP is at the instruction, which has not retired: it is executed, and counts. */
START_TEST(a_software_interrupt_is_executed_again)
{
	v->st.rip = INC_END;
	page.idt_info = INFO_VALID | TYPE_SOFTWARE << 8 | 0x41;
	leave(EXIT_EPT);
	ck_assert_uint_eq(v->st.rip, HANDLER);
	ck_assert_uint_eq(get64(STACK - 40), INT_END);
	ck_assert_uint_eq(v->count, 1);
}
END_TEST

/* ---- a processor with other paging ---- */

#define FAULT_WRITE_RESERVED (1u | 2 | 8)

static void is_done(void)
{
	ck_assert_uint_eq(v->st.rip, INC_END);
	ck_assert_uint_eq(v->count, 1);
	ck_assert(!v->st.event.valid);
	ck_assert_uint_eq(v->st.cr2, 0);
}

/* The guest's handler has the fault that the machine's processor raises. */
static void has_faulted(uint64_t linear)
{
	ck_assert_uint_eq(v->st.rip, HANDLER);
	ck_assert_uint_eq(v->st.cr2, linear);
	ck_assert_uint_eq(get64(STACK - 48), FAULT_WRITE_RESERVED);
	ck_assert_uint_eq(get64(STACK - 40), BENCH_CODE);
	ck_assert_uint_eq(v->count, 0);
	ck_assert_uint_eq(v->spurious_faults, 0);
}

/* A processor without pages of 1 GiB takes the size bit for a reserved one. */
START_TEST(a_page_of_one_gib_is_one_everywhere)
{
	put64(PDPT + 8, 0x87); /* address 0 once more */
	v->st.gpr[R_RBP] = GIB + DATA;
	leave_with_page_fault(FAULT_WRITE_RESERVED);
	is_done();
	ck_assert_uint_eq(get64(DATA), 1);
	ck_assert_uint_eq(v->spurious_faults, 1);
	ck_assert(v->flush);
}
END_TEST

/* Its low address bits are reserved on the machine's processor, and so everywhere. */
START_TEST(a_page_of_one_gib_has_reserved_bits)
{
	put64(PDPT + 8, 0x87 | 1u << 13);
	v->st.gpr[R_RBP] = GIB + DATA;
	leave_with_page_fault(FAULT_WRITE_RESERVED);
	has_faulted(GIB + DATA);
}
END_TEST

static void map_data(uint64_t gpa)
{
	put64(BENCH_PT + DATA / PAGE_SIZE * 8, gpa | 7);
}

/* A processor with 38 address bits or fewer faults where the machine's, with 40, has a device. */
START_TEST(an_address_of_the_machines_is_one_everywhere)
{
	map_data(1ull << 38);
	leave_with_page_fault(FAULT_WRITE_RESERVED);
	is_done();
	ck_assert_uint_eq(v->spurious_faults, 1);
}
END_TEST

/* One with more goes through, to where there is no memory; one with as many faults by itself. */
START_TEST(an_address_beyond_the_machines_faults_everywhere)
{
	map_data(1ull << 40);
	page.gpa = 1ull << 40;
	if (_i)
		leave(EXIT_EPT);
	else
		leave_with_page_fault(FAULT_WRITE_RESERVED);
	has_faulted(DATA);
}
END_TEST

/* ---- instructions that drop translations, done in software ---- */

static const struct {
	const char *code;
	size_t len;
	uint64_t rax;
	bool flushes;
} done[] = {
	{ "\x90", 1, 0, false },			   /* NOP */
	{ "\xff\x00", 2, DATA, false },			   /* INC DWORD [RAX] */
	{ "\x0f\x01\x38", 3, DATA, true },		   /* INVLPG [RAX] */
	{ "\x0f\x22\xd8", 3, 0x1000, true },		   /* MOV CR3, RAX: the same one */
	{ "\x0f\x22\xe0", 3, CR4_PAE | CR4_OSFXSR, true }, /* MOV CR4, RAX: without PGE */
};

/* The processor keeps translations of its own, which have to go, too; and only then. */
START_TEST(what_software_drops_the_processor_drops)
{
	memory_write(&b.mem, BENCH_CODE, done[_i].code, done[_i].len);
	b.e->ops->memory_written(b.e, BENCH_CODE, done[_i].len);
	v->st.gpr[R_RAX] = done[_i].rax;
	v->guest_flushes = soft_engine_cpu(v->soft)->guest_flushes;
	ck_assert(soft_step(v, true));
	ck_assert_uint_eq(v->st.rip, BENCH_CODE + done[_i].len);
	ck_assert_int_eq(v->flush, done[_i].flushes);
	v->flush = false;
	ck_assert(soft_step(v, true)); /* once */
	ck_assert(!v->flush);
}
END_TEST

static void add(TCase *tc)
{
	const int n = sizeof(events) / sizeof(events[0]);

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, an_event_whose_delivery_leaves_comes_first, 0, n);
	tcase_add_loop_test(tc, an_event_on_its_way_goes_in_at_the_next_entry, 0, n);
	tcase_add_test(tc, another_nmi_waits_behind_it);
	tcase_add_test(tc, a_software_interrupt_is_executed_again);
	tcase_add_test(tc, a_page_of_one_gib_is_one_everywhere);
	tcase_add_test(tc, a_page_of_one_gib_has_reserved_bits);
	tcase_add_test(tc, an_address_of_the_machines_is_one_everywhere);
	tcase_add_loop_test(tc, an_address_beyond_the_machines_faults_everywhere, 0, 2);
	tcase_add_loop_test(tc, what_software_drops_the_processor_drops, 0,
			    sizeof(done) / sizeof(done[0]));
}

UNIT_MAIN("left", add)
