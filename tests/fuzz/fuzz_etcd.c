// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz: what says that it is etcd answers anything. The first byte chooses the question. Nobody is
 * given a generation whose owner the answer does not name, unless it says that it was put.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "replica/etcd_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const char *text, size_t len)
{
	static const uint8_t me[ARBITER_ID_LEN] = { 1, 2, 3 };
	struct err err = ERR_INIT;
	struct etcd_answer a;
	int ret = etcd_take_parse(text, len, me, &a, &err);

	must(ret == 0 || (ret < 0 && err.code == -ret && err.text[0]));
	must(ret < 0 || a.result == 0 || a.result == 1 || a.result == -EPERM);
	if (ret == 0 && a.result == 1)
		must(!memcmp(a.id, me, sizeof(me)) || memmem(text, len, "response_put", 12));
}

static void login(const char *text, size_t len)
{
	struct err err = ERR_INIT;
	char *token = NULL;
	int ret = etcd_login_parse(text, len, &token, &err);

	must((ret == 0) == (token != NULL));
	must(!token || !strpbrk(token, "\r\n"));
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct err err = ERR_INIT;
	struct etcd_answer a;

	if (!size)
		return 0;
	switch (data[0] & 3) {
	case 0:
		take(text, size - 1);
		break;
	case 1:
		must(etcd_owner_parse(text, size - 1, &a, &err) < 0 || a.result == 0 ||
		     a.result == 1);
		break;
	case 2:
		etcd_last_parse(text, size - 1, &a, &err);
		break;
	default:
		login(text, size - 1);
	}
	return 0;
}
