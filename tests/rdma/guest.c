/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Half of its memory is full from the start, so that a backup has something to fetch; it looks at
 * that all the time. Writes 100001, 100002, ... to COM1, one in 10 ms, until it is stopped: no gap
 * may be seen in what left; or 000000 when its memory is not what it was.
 */
#include "tests/vtx/guest/com.h"

#define LINES 800000 /* more than two hours */

#define PAGES 512u
#define WORDS 512u /* of a page */

#define CONTENT 0x9e3779b97f4a7c15
static volatile u64 memory[PAGES * WORDS]
	__attribute__((aligned(4096))) = { [0 ... PAGES * WORDS - 1] = CONTENT };

/* A word that never changes; another one of that page does. */
static int memory_is_right(u32 n)
{
	u64 page = n * 37 % PAGES, i = page * WORDS + 1 + n % (WORDS - 1);

	memory[page * WORDS] = n;
	return memory[i] == CONTENT;
}

static void put_number(u32 n)
{
	for (u32 unit = 100000; unit; unit /= 10)
		com_put((char)('0' + n / unit % 10));
	com_put('\n');
}

int main(void)
{
	start_timer();
	for (u32 n = 1; n <= LINES; n++) {
		u64 until = ticks + 10;

		while (ticks < until)
			__asm__ volatile("hlt");
		put_number(memory_is_right(n) ? 100000 + n : 0);
	}
	finish();
}
