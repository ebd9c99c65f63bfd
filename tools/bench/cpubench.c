// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPU-bound guest program: five kernels of about 200 million instructions each. Prints for each one
 * its time and a checksum, so that a wrong CPU shows as well as a slow one. usage: cpubench
 * [REPEAT]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFER	   (1u << 20)
#define CRC_ROUNDS 24
#define XOR_STEPS  17000000u
#define SIEVE_MAX  7000000u
#define SIEVE_RUNS 2
#define SORT_ITEMS 450000u
#define SHA_ROUNDS 3

static uint8_t buffer[BUFFER];
static uint64_t state = 88172645463325252ull;

static uint64_t xorshift(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t run_crc32(void)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		table[i] = c;
	}
	for (int r = 0; r < CRC_ROUNDS; r++) {
		for (size_t i = 0; i < BUFFER; i++)
			crc = table[(crc ^ buffer[i]) & 0xff] ^ crc >> 8;
	}
	return ~crc;
}

static uint64_t run_xorshift(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < XOR_STEPS; i++)
		sum += xorshift();
	return sum;
}

static uint64_t run_sieve(void)
{
	static uint8_t composite[SIEVE_MAX];
	uint64_t primes = 0;

	for (int r = 0; r < SIEVE_RUNS; r++) {
		memset(composite, 0, sizeof(composite));
		for (uint32_t i = 2; i < SIEVE_MAX; i++) {
			if (composite[i])
				continue;
			primes++;
			for (uint64_t j = (uint64_t)i * i; j < SIEVE_MAX; j += i)
				composite[j] = 1;
		}
	}
	return primes;
}

static void quicksort(uint32_t *a, long lo, long hi)
{
	while (lo < hi) {
		uint32_t pivot = a[lo + (hi - lo) / 2];
		long i = lo, j = hi;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		if (j - lo < hi - i) {
			quicksort(a, lo, j);
			lo = i;
		} else {
			quicksort(a, i, hi);
			hi = j;
		}
	}
}

static uint64_t run_quicksort(void)
{
	static uint32_t items[SORT_ITEMS];
	uint64_t sum = 0;

	for (int r = 0; r < 2; r++) {
		for (size_t i = 0; i < SORT_ITEMS; i++)
			items[i] = (uint32_t)xorshift();
		quicksort(items, 0, SORT_ITEMS - 1);
		for (size_t i = 0; i < SORT_ITEMS; i++)
			sum = sum * 31 + items[i];
	}
	return sum;
}

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/*
 * FIPS 180-4, 4.2.2: fractional parts of the cube roots of the first 64 primes, found by bisection
 * on integers.
 */
static void sha_constants(uint32_t k[64])
{
	int n = 0;

	for (uint32_t p = 2; n < 64; p++) {
		unsigned __int128 lo = 0, hi = (unsigned __int128)8 << 32;
		int prime = 1;

		for (uint32_t d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (!prime)
			continue;
		while (hi - lo > 1) { /* lo^3 <= p * 2^96 < hi^3 */
			unsigned __int128 mid = (lo + hi) / 2, sq = mid * mid;

			if (sq / ((unsigned __int128)1 << 32) * mid < (unsigned __int128)p << 64)
				lo = mid;
			else
				hi = mid;
		}
		k[n++] = (uint32_t)lo;
	}
}

static void sha_block(uint32_t h[8], const uint32_t k[64], const uint8_t *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       w[i - 7] + (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) +
			      ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
		uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) +
			      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

static uint64_t run_sha256(void)
{
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	uint32_t k[64];

	sha_constants(k);
	for (int r = 0; r < SHA_ROUNDS; r++) {
		for (size_t i = 0; i < BUFFER; i += 64)
			sha_block(h, k, buffer + i);
	}
	return (uint64_t)h[0] << 32 | h[1];
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const struct {
	const char *name;
	uint64_t (*run)(void);
} kernels[] = {
	{ "crc32", run_crc32 },		{ "xorshift", run_xorshift }, { "sieve", run_sieve },
	{ "quicksort", run_quicksort }, { "sha256", run_sha256 },
};

int main(int argc, char **argv)
{
	int repeat = argc > 1 ? atoi(argv[1]) : 1;
	double all = 0;

	for (size_t i = 0; i < BUFFER; i++)
		buffer[i] = (uint8_t)xorshift();
	puts("cpubench start");
	fflush(stdout);
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		double start = now(), used;
		uint64_t sum = 0;

		for (int r = 0; r < repeat; r++)
			sum = sum * 3 + kernels[i].run();
		used = now() - start;
		all += used;
		printf("cpubench %-10s %8.3f s  %016llx\n", kernels[i].name, used,
		       (unsigned long long)sum);
		fflush(stdout);
	}
	printf("cpubench %-10s %8.3f s\n", "total", all);
	return 0;
}
