// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/packet_pattern.h"

#include <string.h>

#include "base/hex.h"

static bool add(struct packet_pattern *p, uint8_t byte, bool any)
{
	if (p->n == PACKET_PATTERN_MAX)
		return false;
	p->byte[p->n] = byte;
	p->any[p->n++] = any;
	return true;
}

/* Behind the first quotation mark; NULL: there is no second one. */
static const char *parse_quoted(struct packet_pattern *p, const char *text)
{
	while (*text && *text != '\'' && add(p, (uint8_t)*text, false))
		text++;
	return *text == '\'' ? text + 1 : NULL;
}

static const char *parse_byte(struct packet_pattern *p, const char *text)
{
	int high = hex_digit(text[0], HEX_ANY), low = high < 0 ? -1 : hex_digit(text[1], HEX_ANY);

	if (text[0] == '?' && text[1] == '?')
		return add(p, 0, true) ? text + 2 : NULL;
	return low >= 0 && add(p, (uint8_t)(high << 4 | low), false) ? text + 2 : NULL;
}

bool packet_pattern_parse(struct packet_pattern *p, const char *text)
{
	*p = (struct packet_pattern){ .at = UINT64_MAX, .nic = UINT64_MAX };
	while (text && *text) {
		if (*text == ' ')
			text++;
		else
			text = *text == '\'' ? parse_quoted(p, text + 1) : parse_byte(p, text);
	}
	return text && p->n;
}

static bool matches_at(const struct packet_pattern *p, const uint8_t *data)
{
	for (size_t i = 0; i < p->n; i++) {
		if (!p->any[i] && p->byte[i] != data[i])
			return false;
	}
	return true;
}

bool packet_pattern_matches(const struct packet_pattern *p, unsigned nic, const uint8_t *data,
			    size_t len)
{
	if ((p->nic != UINT64_MAX && p->nic != nic) || len < p->n)
		return false;
	if (p->at != UINT64_MAX)
		return p->at <= len - p->n && matches_at(p, data + p->at);
	for (size_t at = 0; at <= len - p->n; at++) {
		if (matches_at(p, data + at))
			return true;
	}
	return false;
}
