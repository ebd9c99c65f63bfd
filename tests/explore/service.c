// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest program, as the only one of a Linux guest: a service with a race. Two threads count their
 * work in one counter, and a switch from one to the other between reading and writing it loses
 * updates. ROUNDS updates each, with WORK steps of other things before each of them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4

volatile unsigned long counter;
static pthread_barrier_t together;

__attribute__((noinline)) void work(volatile unsigned long *mine);
__attribute__((noinline)) void work(volatile unsigned long *mine)
{
	for (unsigned i = 0; i < WORK; i++)
		*mine += i;
}

/* The race: nothing keeps the other thread out. */
__attribute__((noinline)) void count_one(void);
__attribute__((noinline)) void count_one(void)
{
	counter = counter + 1;
}

static void *serve(void *arg)
{
	volatile unsigned long mine = 0;

	if (pthread_barrier_wait(&together))
		printf("begin\n");
	for (unsigned i = 0; i < ROUNDS; i++) {
		work(&mine);
		count_one();
	}
	return NULL;
}

/* The assertion. */
__attribute__((noinline)) void lost(unsigned long seen);
__attribute__((noinline)) void lost(unsigned long seen)
{
	printf("lost update: %lu of %u\n", seen, 2 * ROUNDS);
}

int main(int argc, char **argv)
{
	pthread_t thread[2];
	char go;
	int bad;

	setvbuf(stdout, NULL, _IONBF, 0);
	printf("ready\n");
	if (getpid() == 1 && read(0, &go, 1) != 1)
		return 2;
	pthread_barrier_init(&together, NULL, 2);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, serve, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	bad = counter != 2 * ROUNDS;
	if (bad)
		lost(counter);
	if (getpid() == 1 && ioperm(DEBUG_EXIT_PORT, 1, 1) == 0)
		__asm__ volatile("outb %b0, %w1" : : "a"(bad), "Nd"(DEBUG_EXIT_PORT));
	return bad;
}
