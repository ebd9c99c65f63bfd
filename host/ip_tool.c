// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/ip_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (1u << 24) /* of all interfaces of a host */

static _Noreturn void become(const char *const *argv, int out, int complaints)
{
	signal(SIGPIPE, SIG_DFL); /* exec keeps what is ignored */
	dup2(out, STDOUT_FILENO);
	dup2(complaints, STDERR_FILENO);
	setenv("LC_ALL", "C", 1);
	/* exec does not change the strings, as POSIX says beside its prototype. */
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(STDERR_FILENO, "%s\n", strerror(errno));
	_exit(127);
}

/* All that can be read, with a 0 behind it; NULL: out of memory, or more than anybody prints. */
static char *read_all(int fd)
{
	size_t len = 0, size = 4096;
	char *text = malloc(size);
	ssize_t n;

	while (text && (n = read(fd, text + len, size - len - 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len += (size_t)n;
		if (len + 1 == size) {
			char *more = size < ANSWER_MAX ? realloc(text, size *= 2) : NULL;

			if (!more)
				free(text);
			text = more;
		}
	}
	if (text)
		text[len] = 0;
	return text;
}

static int say_failure(const char *const *argv, int status, char *text, struct err *err)
{
	char words[200] = "";
	bool barred = strstr(text, "not permitted") || strstr(text, "Permission denied");
	size_t n = 0;

	for (size_t i = 0; argv[i] && n < sizeof(words); i++)
		n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%s", i ? " " : "", argv[i]);
	text[strcspn(text, "\n")] = 0;
	if (status == 127)
		return err_set(err, ENOENT, "cannot run `%s`: %s (Debian package iproute2)",
			       argv[0], text);
	return err_set(err, barred ? EPERM : EIO, "`%s` failed: %s%s", words, text,
		       barred ? " (be root)" : "");
}

/* Runs it; its output, of which the caller frees what it gets. Complaints go to a temporary file.
 */
static int run(const char *const *argv, char **answer, struct err *err)
{
	int out[2], status = 0;
	FILE *complaints = tmpfile();
	char text[240] = "";
	pid_t pid;

	*answer = NULL;
	if (!complaints || pipe2(out, O_CLOEXEC) < 0) {
		int ret = err_set(err, errno, "cannot run `%s`: %s", argv[0], strerror(errno));

		if (complaints)
			fclose(complaints);
		return ret;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		become(argv, out[1], fileno(complaints));
	close(out[1]);
	if (pid > 0)
		*answer = read_all(out[0]);
	close(out[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pread(fileno(complaints), text, sizeof(text) - 1, 0) < 0)
		text[0] = 0;
	fclose(complaints);
	if (pid < 0)
		return err_set(err, EAGAIN, "cannot start `%s`", argv[0]);
	if (status)
		return say_failure(argv, WIFEXITED(status) ? WEXITSTATUS(status) : -1, text, err);
	return *answer ? 0 : err_set(err, ENOMEM, "`%s` says more than can be kept", argv[0]);
}

int ip_tool_run(const char *const *argv, struct err *err)
{
	char *answer;
	int ret = run(argv, &answer, err);

	free(answer);
	return ret;
}

json_t *ip_tool_ask(const char *const *argv, struct err *err)
{
	json_t *value = NULL;
	char *answer;

	if (run(argv, &answer, err) == 0) {
		value = *answer ? json_loads(answer, 0, NULL) : json_array();
		if (!value)
			err_set(err, EPROTO, "`%s` does not answer in JSON: %.60s", argv[0],
				answer);
	}
	free(answer);
	return value;
}
