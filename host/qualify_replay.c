// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/qualify_replay.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/supervise.h"

#define LOAD_AT 0x100000u
#define LIMIT_S 60 /* for a recording of half a second, or its replay */

/*
 * A multiboot kernel: until half a second has gone by, it writes the time that it sees all over a
 * MiB, and then ends the machine with status 0. How often is up to the host, so no two recordings
 * are alike.
 */
__asm__(".pushsection .rodata\n"
	".balign 4\n"
	"qualify_guest:\n"
	"	.long 0x1badb002, 0, -0x1badb002\n"
	"qualify_guest_start:\n"
	".code32\n"
	"	rdtsc\n"
	"	movl %eax, %ebx\n"
	"1:	rdtsc\n"
	"	movl %eax, %ecx\n"
	"	andl $0xffffc, %ecx\n"
	"	movl %eax, 0x200000(%ecx)\n"
	"	subl %ebx, %eax\n"
	"	cmpl $500000000, %eax\n"
	"	jb 1b\n"
	"	xorl %eax, %eax\n"
	"	outb %al, $0xf4\n"
	"	hlt\n"
	".code64\n"
	"qualify_guest_end:\n"
	".popsection\n");

extern const char qualify_guest[], qualify_guest_start[], qualify_guest_end[];

struct files {
	char dir[64], kernel[80], log[80], said[80];
};

/* While files and a child are there, signals that end this program wait until they are gone. */
struct signals {
	sigset_t awaited, before;
	int told; /* the one that came */
};

/* Beside exit statuses. */
enum { NOT_WAITED = 1000, ENDLESS, TOLD };

static void signals_hold(struct signals *s)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now;

	s->told = 0;
	sigemptyset(&s->awaited);
	sigaddset(&s->awaited, SIGCHLD);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		/* As with nohup: what is ignored goes on being so. */
		if (sigaction(ends[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&s->awaited, ends[i]);
	}
	pthread_sigmask(SIG_BLOCK, &s->awaited, &s->before);
}

/* Ends this program where one came. */
static void signals_let_go(const struct signals *s)
{
	if (s->told) {
		signal(s->told, SIG_DFL);
		raise(s->told);
	}
	pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

static bool write_kernel(const char *path)
{
	const size_t code = (size_t)(qualify_guest_end - qualify_guest);
	const struct {
		Elf32_Ehdr head;
		Elf32_Phdr part;
	} elf = {
		.head = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB,
				       EV_CURRENT },
			  .e_type = ET_EXEC,
			  .e_machine = EM_386,
			  .e_version = EV_CURRENT,
			  .e_entry = LOAD_AT + (Elf32_Addr)(qualify_guest_start - qualify_guest),
			  .e_phoff = sizeof(Elf32_Ehdr),
			  .e_ehsize = sizeof(Elf32_Ehdr),
			  .e_phentsize = sizeof(Elf32_Phdr),
			  .e_phnum = 1 },
		.part = { .p_type = PT_LOAD,
			  .p_offset = sizeof(elf),
			  .p_vaddr = LOAD_AT,
			  .p_paddr = LOAD_AT,
			  .p_filesz = (Elf32_Word)code,
			  .p_memsz = (Elf32_Word)code,
			  .p_flags = PF_R | PF_X,
			  .p_align = 4 },
	};
	FILE *f = fopen(path, "we");
	bool good =
		f && fwrite(&elf, sizeof(elf), 1, f) == 1 && fwrite(qualify_guest, code, 1, f) == 1;

	return (!f || fclose(f) == 0) && good;
}

/* Exit status, 128 or more for another end; ENDLESS, TOLD: the child has been killed. */
static int await(pid_t pid, struct signals *s)
{
	const struct timespec second = { .tv_sec = 1 };
	int status = 0, left = LIMIT_S, sig, killed = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, killed ? 0 : WNOHANG)) <= 0) {
		if (got < 0 && errno != EINTR)
			return NOT_WAITED;
		if (killed)
			continue;
		sig = sigtimedwait(&s->awaited, NULL, &second);
		if (sig > 0 && sig != SIGCHLD)
			s->told = sig;
		if (s->told || (sig < 0 && errno == EAGAIN && --left == 0)) {
			killed = s->told ? TOLD : ENDLESS;
			kill(pid, SIGKILL);
		}
	}
	if (killed)
		return killed;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* This program with those arguments: as await(). */
static int run(const struct files *files, struct signals *s, const char *const *argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(files->said, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(127);
		supervise_exec((char *const *)argv);
	}
	return pid < 0 ? NOT_WAITED : await(pid, s);
}

/* Digests that a replay says it has compared; its last line otherwise goes to r->why. */
static unsigned long read_digests(const struct files *files, struct qualify_replay *r)
{
	char line[512], *at = NULL;
	unsigned long n = 0;
	FILE *f = fopen(files->said, "re");

	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "\"digests\":");
		if (at)
			n = strtoul(at + strlen("\"digests\":"), NULL, 10);
		line[strcspn(line, "\n")] = 0;
		snprintf(r->why, sizeof(r->why), "%.190s", line);
	}
	if (f)
		fclose(f);
	return n;
}

static bool run_round(const struct files *f, struct signals *s, const char *engine,
		      struct qualify_replay *r)
{
	const char *const record[] = { "twinstep",
				       "record",
				       "--engine",
				       engine,
				       "-o",
				       f->log,
				       "--kernel",
				       f->kernel,
				       "--memory",
				       "16M",
				       "--console",
				       "none",
				       "--debug-console",
				       "none",
				       "--clock",
				       "host",
				       "--epoch",
				       "50",
				       NULL };
	const char *const replay[] = { "twinstep", "replay", "--engine", engine,
				       "--quiet",  "--json", f->log,	 NULL };
	int status = run(f, s, record);
	unsigned long n;

	if (status == 0)
		status = run(f, s, replay);
	unlink(f->log);
	n = read_digests(f, r);
	if (status == ENDLESS)
		snprintf(r->why, sizeof(r->why), "did not end within %d seconds", LIMIT_S);
	if (status)
		return false;
	r->why[0] = 0;
	r->digests += n;
	r->rounds++;
	return true;
}

void qualify_replay(const char *engine, unsigned rounds, struct qualify_replay *r)
{
	struct files f = { .dir = "/tmp/twinstep-qualify.XXXXXX" };
	struct signals s;

	*r = (struct qualify_replay){ 0 };
	signals_hold(&s);
	if (!mkdtemp(f.dir)) {
		snprintf(r->why, sizeof(r->why), "no directory can be made in /tmp: %s",
			 strerror(errno));
		signals_let_go(&s);
		return;
	}
	snprintf(f.kernel, sizeof(f.kernel), "%s/kernel", f.dir);
	snprintf(f.log, sizeof(f.log), "%s/log", f.dir);
	snprintf(f.said, sizeof(f.said), "%s/said", f.dir);
	if (!write_kernel(f.kernel))
		snprintf(r->why, sizeof(r->why), "%s cannot be written", f.kernel);
	else
		while (r->rounds < rounds && run_round(&f, &s, engine, r))
			;
	unlink(f.kernel);
	unlink(f.log);
	unlink(f.said);
	rmdir(f.dir);
	signals_let_go(&s);
}
