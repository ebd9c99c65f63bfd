/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the runtimes of the 32-bit and of the 64-bit guest programs share: ports, printing, result
 * lines.
 */
#ifndef TESTS_GUEST_RT_H
#define TESTS_GUEST_RT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define UNUSED	__attribute__((unused))
#define ALIGNED __attribute__((aligned(4096)))

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };
#define NONE 0xffu /* no exception */

#define FL_CF 1ull
#define FL_TF 0x100ull
#define FL_IF 0x200ull
#define FL_NT 0x4000ull
#define FL_RF 0x10000ull
#define FL_AC 0x40000ull

/* ---- ports ---- */
static inline void outb(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* A compiler may call these on its own. */
void *memcpy(void *to, const void *from, size_t n);
UNUSED __attribute__((noinline)) void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int v, size_t n);
UNUSED __attribute__((noinline)) void *memset(void *to, int v, size_t n)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory");
	return to;
}

/* ---- text ---- */
static void put_char(char c)
{
	outb(0xe9, (u8)c);
}

static void put_hex(u64 v)
{
	int shift = 60;

	while (shift > 0 && v >> shift == 0)
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[v >> shift & 15]);
}

/* %s and %x (64 bits) only. */
UNUSED static void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == 'x')
			put_hex(va_arg(ap, u64));
		else
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put_char(*s);
	}
	va_end(ap);
}

static int failures;

_Noreturn UNUSED static void finish(void)
{
	outb(0xf4, failures ? 1 : 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* One result line: what was seen and what was expected. */
UNUSED static void check_eq(const char *name, u64 seen, u64 expected)
{
	if (seen == expected) {
		print("ok %s\n", name);
		return;
	}
	failures++;
	print("not ok %s: saw %x, expected %x\n", name, seen, expected);
}

#endif
