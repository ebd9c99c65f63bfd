// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/suboptions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *suboptions_word(const char **arg)
{
	const char *s = *arg;
	char *word = malloc(strlen(s) + 1);
	size_t n = 0;

	if (!word)
		return NULL;
	for (; *s && (*s != ',' || s[1] == ','); s++) {
		word[n++] = *s;
		s += *s == ',';
	}
	word[n] = 0;
	*arg = *s ? s + 1 : NULL;
	return word;
}

static int refuse(const char *option, const char *arg, const char *word,
		  const struct suboption *known, size_t n, struct err *err)
{
	char list[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < n && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s%s%s", i ? ", " : "",
					known[i].name, known[i].takes ? "=" : "",
					known[i].takes ? known[i].takes : "");
	return err_set(err, EINVAL,
		       "--%s %s: '%s' is not known here; there are %s (a comma that belongs to a "
		       "name is written ,,)",
		       option, arg, word, list);
}

static int take_word(const char *option, const char *arg, char *word, const struct suboption *known,
		     size_t n, struct err *err)
{
	char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : strlen(word);

	for (size_t i = 0; i < n; i++) {
		const struct suboption *k = &known[i];

		if (strlen(k->name) != len || memcmp(k->name, word, len) || !k->takes != !value)
			continue;
		if (k->flag) {
			*k->flag = true;
			return 0;
		}
		if (*k->value)
			return err_set(err, EINVAL, "--%s %s: %s= is there twice", option, arg,
				       k->name);
		if (!value[1])
			return err_set(err, EINVAL, "--%s %s: %s= needs %s behind it", option, arg,
				       k->name, k->takes);
		*k->value = strdup(value + 1);
		return *k->value ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	return refuse(option, arg, word, known, n, err);
}

int suboptions_parse(const char *option, const char *arg, char **what,
		     const struct suboption *known, size_t n, struct err *err)
{
	const char *rest = arg;
	int ret = 0;

	*what = suboptions_word(&rest);
	if (!*what)
		return err_set(err, ENOMEM, "out of memory");
	while (rest && ret == 0) {
		char *word = suboptions_word(&rest);

		ret = word ? take_word(option, arg, word, known, n, err)
			   : err_set(err, ENOMEM, "out of memory");
		free(word);
	}
	return ret;
}
