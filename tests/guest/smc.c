/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code that changes under the processor's feet, and string instructions across pages. SDM vol.
 * 3, 8.1.3; vol. 2, REP.
 */
#include "tests/guest/rt64.h"

#define LIN TEST_BASE

static u8 code[8192] ALIGNED, data_a[4096] ALIGNED, data_b[4096] ALIGNED;

static u64 run_at(u64 lin)
{
	u64 rax;

	__asm__ volatile("call *%1"
			 : "=a"(rax)
			 : "r"(lin)
			 : "rcx", "rdx", "rsi", "rdi", "r8", "memory");
	return rax;
}

static void put(u8 *at, const char *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		((volatile u8 *)at)[i] = (u8)bytes[i];
}

/* mov eax, imm32; ret */
static void put_mov(u8 *at, u32 v)
{
	put(at, "\xb8", 1);
	*(volatile u32 *)(at + 1) = v;
	put(at + 5, "\xc3", 1);
}

static void test_between_calls(void)
{
	u64 sum = 0;

	for (u32 i = 1; i <= 100; i++) {
		put_mov(code, i);
		sum += run_at((u64)code);
	}
	check_eq("smc.between-calls", sum, 5050);
	put_mov(code + 4094, 77); /* across a page boundary */
	check_eq("smc.straddle.first", run_at((u64)code + 4094), 77);
	*(volatile u8 *)(code + 4096) = 1; /* only the second page changes */
	check_eq("smc.straddle.second-page", run_at((u64)code + 4094), 77 | 1 << 8);
	*(volatile u8 *)(code + 4095) = 78;
	check_eq("smc.straddle.first-page", run_at((u64)code + 4094), 78 | 1 << 8);
}

/* An instruction that changes the next one, within the same block. */
static void test_next_instruction(void)
{
	/* movb $2, 1(%rip) -> immediate of the mov that follows; mov $1, %eax; ret */
	put(code, "\xc6\x05\x01\x00\x00\x00\x02\xb8\x01\x00\x00\x00\xc3", 13);
	check_eq("smc.next-instruction", run_at((u64)code), 2);
	check_eq("smc.next-instruction.again", run_at((u64)code), 2);
	/* the same, by a 16-byte store: nothing else of the page changes */
	put(code + 64, "\x0f\x11\x07\xb8\x01\x00\x00\x00\xc3",
	    9); /* movups %xmm0, (%rdi); mov $1, %eax; ret */
	put(data_a, "\x0f\x11\x07\xb8\x05\x00\x00\x00\xc3\x90\x90\x90\x90\x90\x90\x90", 16);
	{
		u64 rax;

		__asm__ volatile("movups (%2), %%xmm0; call *%1"
				 : "=a"(rax)
				 : "D"(code + 64), "S"(data_a)
				 : "memory", "rcx", "rdx");
		(void)rax;
		__asm__ volatile("movups (%2), %%xmm0; mov %1, %%rcx; call *%%rcx"
				 : "=a"(rax)
				 : "D"(code + 64), "S"(data_a)
				 : "memory", "rcx", "rdx");
		check_eq("smc.vector-store", rax, 5);
	}
	/*
	 * a loop that counts up its own immediate: mov ecx,10; xor eax,eax; L: add eax,0; incb
	 * -4(%rip); loop L; ret
	 */
	put(code + 128,
	    "\xb9\x0a\x00\x00\x00\x31\xc0\x83\xc0\x00\xfe\x05\xf9\xff\xff\xff\xe2\xf5\xc3", 19);
	check_eq("smc.loop", run_at((u64)code + 128), 45);
}

static void test_string_over_code(void)
{
	put_mov(code, 0x11111111);
	run_at((u64)code);
	__asm__ volatile("rep stosb" : : "D"(code + 1), "c"(4), "a"(0x22) : "memory");
	check_eq("smc.rep-stos", run_at((u64)code), 0x22222222);
	put_mov(data_a, 0x33333333);
	__asm__ volatile("rep movsb" : : "D"(code), "S"(data_a), "c"(6) : "memory");
	check_eq("smc.rep-movs", run_at((u64)code), 0x33333333);
	/*
	 * REP STOSB that overwrites itself: what is fetched after an iteration is up to the
	 * processor.
	 */
	put(code + 256, "\xf3\xaa\xb8\x07\x00\x00\x00\xc3", 8);
	put(code + 264, "\x90\x90\x90\x90\x90\x90\x90\x90\xc3", 9);
	{
		u64 rcx;

		__asm__ volatile("call *%%rdx"
				 : "=c"(rcx)
				 : "d"(code + 256), "D"(code + 256), "c"(16), "a"(0x90)
				 : "memory");
		check_eq("smc.rep-itself", rcx < 16, 1);
	}
}

/* The same physical page at two linear addresses. */
static void test_alias(void)
{
	map(LIN, code, PT_P | PT_W);
	map(LIN + 4096, code, PT_P);
	put_mov(code, 10);
	check_eq("smc.alias.read", run_at(LIN + 4096), 10);
	*(volatile u8 *)(LIN + 1) = 11;
	check_eq("smc.alias.write", run_at(LIN + 4096), 11);
	*(volatile u8 *)(code + 1) = 12;
	check_eq("smc.alias.write-low", run_at(LIN + 4096), 12);
}

/* The same linear address on another page. */
static void test_remap(void)
{
	put_mov(code, 20);
	put_mov(data_a, 30);
	map(LIN, code, PT_P);
	check_eq("smc.remap.first", run_at(LIN), 20);
	map(LIN, data_a, PT_P);
	check_eq("smc.remap.second", run_at(LIN), 30);
	*pt_entry(LIN, 1) = (u64)code | PT_P;
	flush_tlb();
	check_eq("smc.remap.cr3", run_at(LIN), 20);
	*pt_entry(LIN, 1) = 0;
	invlpg(LIN);
	check_eq("smc.remap.gone", CATCH_ERR(run_at(LIN)), VE(PF, 0x10));
}

/*
 * Fetch that runs into a page which is not there, after instructions that must have had their
 * effect.
 */
static void test_fetch_fault(void)
{
	map(LIN, code, PT_P);
	map(LIN + 4096, NULL, 0);
	put(code + 4090, "\xff\x07\xff\x07\xb8\x01",
	    6); /* incl (%rdi) twice, first bytes of a mov */
	*(volatile u32 *)data_a = 0;
	check_eq("smc.fetch-fault",
		 CATCH_ERR(__asm__ volatile("call *%1"
					    :
					    : "D"(data_a), "r"(LIN + 4090)
					    : "memory")),
		 VE(PF, 0x10));
	check_eq("smc.fetch-fault.cr2", last_cr2, LIN + 4096);
	check_eq("smc.fetch-fault.rip", last.rip, LIN + 4094);
	check_eq("smc.fetch-fault.effects", *(volatile u32 *)data_a, 2);
}

static void test_string_faults(void)
{
	map(LIN, data_a, PT_URW);
	map(LIN + 4096, NULL, 0);
	/* REP STOSB into a page that is not there: registers say how far it came. */
	check_eq("string.stos.fault",
		 CATCH_ERR(__asm__ volatile("rep stosb"
					    :
					    : "D"(LIN + 4086), "c"(100), "a"(0x5a))),
		 VE(PF, 2));
	check_eq("string.stos.rcx", last.rcx, 90);
	check_eq("string.stos.rdi", last.rdi, LIN + 4096);
	check_eq("string.stos.cr2", last_cr2, LIN + 4096);
	check_eq("string.stos.done", data_a[4095], 0x5a);
	check_eq("string.stos.rf", last.rflags & FL_RF, FL_RF);
	/* An element across the boundary is not written in part. */
	data_a[4094] = data_a[4095] = 1;
	check_eq("string.stosq.fault",
		 CATCH_ERR(__asm__ volatile("rep stosq"
					    :
					    : "D"(LIN + 4082), "c"(4), "a"(-1))),
		 VE(PF, 2));
	check_eq("string.stosq.rcx", last.rcx, 3);
	check_eq("string.stosq.rdi", last.rdi, LIN + 4090);
	check_eq("string.stosq.partial", data_a[4095], 1);
	/* Backwards. */
	map(LIN - 4096 + 0x10000, NULL, 0);
	map(LIN + 0x10000, data_b, PT_URW);
	check_eq("string.movs.back",
		 CATCH_ERR(__asm__ volatile("std; rep movsw"
					    :
					    : "S"(LIN + 100), "D"(LIN + 0x10000 + 6), "c"(50))),
		 VE(PF, 2));
	__asm__ volatile("cld");
	check_eq("string.movs.back.rcx", last.rcx, 46);
	check_eq("string.movs.back.rdi", last.rdi, LIN + 0x10000 - 2);
	check_eq("string.movs.back.rsi", last.rsi, LIN + 92);
	/* Source and destination: the read faults first. */
	check_eq("string.movs.both",
		 CATCH_ERR(__asm__ volatile("movsb"
					    :
					    : "S"(LIN + 4096), "D"(LIN + 4097))),
		 VE(PF, 0));
	/* The handler maps the page and returns: the instruction goes on where it was. */
	data_a[4095] = 7;
	check_eq("string.scas.fault",
		 CATCH_ERR(__asm__ volatile("cmpb $7, %%al; repne scasb"
					    :
					    : "D"(LIN + 4090), "c"(64), "a"(0xee))),
		 VE(PF, 0));
	check_eq("string.scas.rdi", last.rdi, LIN + 4096);
	check_eq("string.rcx-0",
		 CATCH(__asm__ volatile("rep stosb"
					:
					: "D"(0x800000000000), "c"(0))),
		 NONE);
}

static u64 faults;

static void map_and_go(struct frame *f)
{
	faults++;
	(void)f;
	map(read_cr2() & ~0xfffull, data_b, PT_URW);
}

static void test_restart(void)
{
	u64 rcx, rdi;

	map(LIN, data_a, PT_URW);
	map(LIN + 4096, NULL, 0);
	irq_fn[PF] = map_and_go;
	faults = 0;
	__asm__ volatile("rep stosb"
			 : "=D"(rdi), "=c"(rcx)
			 : "D"(LIN + 4000), "c"(200), "a"(0x77)
			 : "memory");
	check_eq("restart.stos.faults", faults, 1);
	check_eq("restart.stos.rdi", rdi, LIN + 4200);
	check_eq("restart.stos.rcx", rcx, 0);
	check_eq("restart.stos.last", data_b[103], 0x77);
	/* push to a stack page that is not there; the handler needs another stack */
	set_gate(PF, (u64)(vectors + 16 * PF), SEL_CODE, GATE_INT, 1);
	map(LIN + 4096, NULL, 0);
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; pushq $0x1234; mov %%rbx, %%rsp"
			 :
			 : "r"(LIN + 4096 + 64)
			 : "rbx", "memory");
	reset_gate(PF);
	check_eq("restart.push.faults", faults, 2);
	check_eq("restart.push.value", *(u64 *)(data_b + 56), 0x1234);
	/* read-modify-write across the two pages */
	map(LIN + 4096, NULL, 0);
	*(volatile u32 *)(data_a + 4092) = 0xffffffff;
	*(volatile u32 *)data_b = 0;
	__asm__ volatile("lock addq $1, (%0)" : : "r"(LIN + 4092) : "memory");
	check_eq("restart.rmw.faults", faults, 3);
	check_eq("restart.rmw.low", *(volatile u32 *)(data_a + 4092), 0);
	check_eq("restart.rmw.high", *(volatile u32 *)data_b, 1);
	irq_fn[PF] = NULL;
}

int main(void)
{
	test_between_calls();
	test_next_instruction();
	test_string_over_code();
	test_alias();
	test_remap();
	test_fetch_fault();
	test_string_faults();
	test_restart();
	finish();
}
