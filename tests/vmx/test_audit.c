// SPDX-License-Identifier: GPL-2.0-only
/* The look at the host's registers: each one that changes has to be named, and no other. */
#include "tests/vmx/vmcs.h"

#include "hypervisor/vmx/module/audit.c"
#include "tests/unit.h"

struct vmx_config vmx_config;

static struct vm *vm;
static int load_error;
static unsigned loaded;

int vmcs_load(struct vm *v)
{
	loaded += !load_error;
	return load_error;
}

void vmcs_clear(struct vm *v)
{
	loaded--;
}

static void set_up(void)
{
	memset(mock_vmcs, 0, sizeof(mock_vmcs));
	memset(mock_dr, 0, sizeof(mock_dr));
	vm = calloc(1, sizeof(*vm));
	vm->vmcs_ready = true;
	mock_msrs = loaded = 0;
	mock_cpu = load_error = 0;
	mock_features = 0;
	mock_cr0 = 0x80050033;
	mock_cr4 = 0x3726e0;
	mock_gdt = (struct desc_ptr){ .address = 0x1000, .size = 0x7f };
	mock_idt = (struct desc_ptr){ .address = 0x2000, .size = 0xfff };
	mock_msr_set(MSR_LSTAR, 0xffffffff81000000);
	mock_msr_set(MSR_KERNEL_GS_BASE, 0x1234);
}

static void tear_down(void)
{
	ck_assert_uint_eq(loaded, 0); /* no VMCS is left on the CPU */
	free(vm);
}

static int ask(bool first, struct twvmx_host *h)
{
	*h = (struct twvmx_host){ .version = TWVMX_VERSION, .remember = first };
	return audit_host(vm, h);
}

/* What a second look names after this. */
static u64 changes(void)
{
	struct twvmx_host h;

	ck_assert_int_eq(ask(false, &h), 0);
	return h.changed;
}

static void begin(void)
{
	struct twvmx_host h;

	ck_assert_int_eq(ask(true, &h), 0);
}

START_TEST(what_stays_is_not_named)
{
	struct twvmx_host h;

	begin();
	ck_assert_int_eq(ask(false, &h), 0);
	ck_assert_uint_eq(h.changed, 0);
	ck_assert(h.present & BIT_ULL(TWVMX_HOST_LSTAR));
	ck_assert(h.present & BIT_ULL(TWVMX_HOST_IDT_LIMIT));
	ck_assert_uint_eq(h.cr4, mock_cr4);
}
END_TEST

START_TEST(what_the_processor_lacks_is_not_looked_at)
{
	struct twvmx_host h;

	ck_assert_int_eq(ask(true, &h), 0);
	ck_assert(!(h.present & BIT_ULL(TWVMX_HOST_TSX_CTRL)));
	ck_assert(!(h.present & BIT_ULL(TWVMX_HOST_XCR0)));
	ck_assert(!(h.present & BIT_ULL(TWVMX_HOST_DR0)));
}
END_TEST

START_TEST(each_msr_is_named)
{
	if (!msrs[_i])
		return;
	mock_msr_set(msrs[_i], 0x5000);
	begin();
	mock_msr_set(msrs[_i], 0x5001);
	ck_assert_uint_eq(changes(), BIT_ULL(_i));
	mock_msr_set(msrs[_i], 0x5000);
	ck_assert_uint_eq(changes(), 0);
}
END_TEST

START_TEST(control_registers_and_tables_are_named)
{
	begin();
	mock_cr0 ^= 8;
	mock_gdt.size = 0xffff;
	ck_assert_uint_eq(changes(), BIT_ULL(TWVMX_HOST_CR0) | BIT_ULL(TWVMX_HOST_GDT_LIMIT));
	mock_cr0 ^= 8;
	mock_gdt.size = 0x7f;
	mock_cr4 ^= X86_CR4_MCE;
	mock_idt.address++;
	ck_assert_uint_eq(changes(), BIT_ULL(TWVMX_HOST_CR4) | BIT_ULL(TWVMX_HOST_IDT));
}
END_TEST

START_TEST(breakpoints_count_while_they_are_on)
{
	begin();
	mock_dr[2] = 0x1000;
	ck_assert_uint_eq(changes(), 0);
	mock_dr[7] = 0x10;
	begin();
	mock_dr[2] = 0x2000;
	ck_assert_uint_eq(changes(), BIT_ULL(TWVMX_HOST_DR2));
}
END_TEST

START_TEST(another_cpu_cannot_be_compared)
{
	struct twvmx_host h;

	ck_assert_int_eq(ask(false, &h), -EAGAIN); /* nothing is remembered yet */
	begin();
	mock_cpu = 1;
	ck_assert_int_eq(ask(false, &h), -EAGAIN);
	mock_cpu = 0;
	ck_assert_uint_eq(changes(), 0);
}
END_TEST

START_TEST(the_guests_are_what_the_exit_left)
{
	struct twvmx_host h;

	vmwrite(GUEST_CR4, 0x2060);
	vmwrite(GUEST_IA32_DEBUGCTL, 0x4000);
	ck_assert_int_eq(ask(true, &h), 0);
	ck_assert_uint_eq(h.guest_cr4, 0x2060);
	ck_assert_uint_eq(h.guest_debugctl, 0x4000);
	vm->vmcs_ready = false; /* it never ran */
	ck_assert_int_eq(ask(true, &h), 0);
	ck_assert_uint_eq(h.guest_cr4 | h.guest_debugctl, 0);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
	struct twvmx_host h = { .version = TWVMX_VERSION + 1 };

	ck_assert_int_eq(audit_host(vm, &h), -EINVAL);
	h = (struct twvmx_host){ .version = TWVMX_VERSION, .remember = 2 };
	ck_assert_int_eq(audit_host(vm, &h), -EINVAL);
	load_error = -EIO; /* VT-x went off */
	ck_assert_int_eq(ask(true, &h), -EIO);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, what_stays_is_not_named);
	tcase_add_test(tc, what_the_processor_lacks_is_not_looked_at);
	tcase_add_loop_test(tc, each_msr_is_named, 0, TWVMX_HOST_REGS);
	tcase_add_test(tc, control_registers_and_tables_are_named);
	tcase_add_test(tc, breakpoints_count_while_they_are_on);
	tcase_add_test(tc, another_cpu_cannot_be_compared);
	tcase_add_test(tc, the_guests_are_what_the_exit_left);
	tcase_add_test(tc, what_cannot_be_is_refused);
}

UNIT_MAIN("audit", add)
