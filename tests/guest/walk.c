/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A value that goes wrong long before anybody looks: for tests/e2e/gdb.sh, which finds who wrote
 * it. */
#include "tests/guest/rt64.h"

#define WRONG 0xbadull

volatile u64 shared, noise[512];

__attribute__((noinline)) void writer(u64 v);
__attribute__((noinline)) void writer(u64 v)
{
	shared = v;
}

__attribute__((noinline)) void work(u64 rounds);
__attribute__((noinline)) void work(u64 rounds)
{
	for (u64 i = 0; i < rounds; i++)
		noise[i % 512] += i;
}

__attribute__((noinline)) void look(void);
__attribute__((noinline)) void look(void)
{
	check_eq("walk.wrong", shared, WRONG);
}

int main(void)
{
	for (u64 i = 0; i < 100; i++) {
		writer(i);
		work(200);
	}
	writer(WRONG);
	check_eq("walk.trap", CATCH(__asm__ volatile("ud2")), UD);
	work(60000);
	look();
	finish();
}
