/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors that remember where they were born.
 *
 * A function that can fail returns 0 or a negative errno and takes a `struct err *`. The function
 * that finds the fault calls err_set(), which stores the sentence for a person (what failed, on
 * what, what to do) together with the source position, and returns the negative errno, so that
 * `return err_set(err, EINVAL, "...")` is one line. Callers in between hand the code up untouched,
 * or put a prefix before the sentence with err_prefix().
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	int code;	  /* positive errno; 0: no error */
	const char *file; /* where err_set() was called */
	int line;
	char text[512]; /* one sentence, no newline */
};

#define ERR_INIT  \
	{         \
		0 \
	}

/* Fills in *err (NULL allowed: only the code is returned) and returns -code. */
#define err_set(err, code, ...) err_set_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)

int err_set_at(struct err *err, int code, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Puts "<prefix>: " before the sentence of an error that is set; returns -err->code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
