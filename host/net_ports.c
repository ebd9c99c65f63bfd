// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/net_ports.h"

#include <errno.h>
#include <string.h>

#include "host/ip_tool.h"

#define MARK	 "twinstep:"
#define MARK_MAX (sizeof(MARK) + GUEST_NAME_MAX)

struct ports {
	const char *user;
	char mark[MARK_MAX];
	json_t *links; /* as `ip -j -d link` shows them */
	FILE *out;
};

/* ---- what is there ---- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static const char *kind_of(const json_t *link)
{
	return text_of(json_object_get(link, "linkinfo"), "info_kind");
}

/* Before the mark of a guest is made. */
static int look(struct ports *p, const char *guest, FILE *out, struct err *err)
{
	static const char *const show[] = { "ip", "-j", "-d", "link", "show", NULL };

	p->out = out;
	snprintf(p->mark, sizeof(p->mark), MARK "%s", guest);
	p->links = ip_tool_ask(show, err);
	return p->links ? 0 : -err->code;
}

static const json_t *find(const struct ports *p, const char *name)
{
	const json_t *link;
	size_t i;

	json_array_foreach(p->links, i, link)
	{
		if (!strcmp(text_of(link, "ifname"), name))
			return link;
	}
	return NULL;
}

static bool is_ours(const struct ports *p, const json_t *link)
{
	return !strcmp(text_of(link, "ifalias"), p->mark);
}

/* A process has it open. */
static bool is_in_use(const json_t *link)
{
	const json_t *flag;
	size_t i;

	json_array_foreach(json_object_get(link, "flags"), i, flag)
	{
		const char *name = json_string_value(flag);

		if (name && !strcmp(name, "LOWER_UP"))
			return true;
	}
	return false;
}

/* The name of a tap interface; NULL: the card is none. */
static const char *tap_of(const struct nic_opt *nic)
{
	return strncmp(nic->spec, "tap:", 4) ? NULL : nic->spec + 4;
}

/* ---- whether it can be as the configuration says ---- */

static int check_bridge(const struct ports *p, const struct nic_opt *nic, struct err *err)
{
	const json_t *bridge = find(p, nic->bridge), *data;

	if (!bridge)
		return err_set(
			err, ENODEV,
			"there is no bridge %s on this host: make one, with the interface to "
			"the network in it (ip link add %s type bridge)",
			nic->bridge, nic->bridge);
	if (strcmp(kind_of(bridge), "bridge"))
		return err_set(err, EINVAL, "%s is not a bridge", nic->bridge);
	data = json_object_get(json_object_get(bridge, "linkinfo"), "info_data");
	if (nic->vlan && !json_integer_value(json_object_get(data, "vlan_filtering")))
		return err_set(
			err, EINVAL,
			"bridge %s knows no VLANs: ip link set %s type bridge vlan_filtering "
			"1",
			nic->bridge, nic->bridge);
	return 0;
}

static int check_tap(const struct ports *p, const struct nic_opt *nic, struct err *err)
{
	const char *name = tap_of(nic), *alias;
	const json_t *link = find(p, name);

	if (nic->bridge && check_bridge(p, nic, err) < 0)
		return -err->code;
	if (!link || is_ours(p, link))
		return 0;
	alias = text_of(link, "ifalias");
	if (!strncmp(alias, MARK, strlen(MARK)))
		return err_set(err, EEXIST, "tap interface %s belongs to guest %s", name,
			       alias + strlen(MARK));
	if (strcmp(kind_of(link), "tun"))
		return err_set(err, EEXIST, "%s exists and is not a tap interface", name);
	if (nic->bridge && strcmp(text_of(link, "master"), nic->bridge))
		return err_set(err, EEXIST,
			       "tap interface %s was made by somebody else and is not in bridge %s",
			       name, nic->bridge);
	return 0;
}

/* ---- making it so ---- */

/* The port takes and sends frames of this VLAN, without a tag, and of no other. */
static int set_vlan(const char *name, unsigned vlan, struct err *err)
{
	const char *const show[] = { "bridge", "-j", "vlan", "show", "dev", name, NULL };
	json_t *ports = ip_tool_ask(show, err), *entry;
	char id[12];
	size_t i;
	int ret = ports ? 0 : -err->code;

	json_array_foreach(json_object_get(json_array_get(ports, 0), "vlans"), i, entry)
	{
		unsigned other = (unsigned)json_integer_value(json_object_get(entry, "vlan"));

		snprintf(id, sizeof(id), "%u", other);
		if (ret == 0 && other != vlan)
			ret = IP_TOOL(err, "bridge", "vlan", "del", "dev", name, "vid", id);
	}
	json_decref(ports);
	snprintf(id, sizeof(id), "%u", vlan);
	if (ret == 0)
		ret = IP_TOOL(err, "bridge", "vlan", "add", "dev", name, "vid", id, "pvid",
			      "untagged");
	return ret;
}

/* A port has no address of its own: the host would be in the guest's network by it. */
static int put_into_bridge(const char *name, const struct nic_opt *nic, const json_t *link,
			   struct err *err)
{
	int ret = IP_TOOL(err, "ip", "link", "set", "dev", name, "addrgenmode", "none");

	if (ret == 0 && strcmp(text_of(link, "master"), nic->bridge))
		ret = IP_TOOL(err, "ip", "link", "set", "dev", name, "master", nic->bridge);
	if (ret == 0 && nic->vlan)
		ret = set_vlan(name, nic->vlan, err);
	return ret;
}

static int make_tap(const struct ports *p, const char *name, struct err *err)
{
	int ret;

	if (p->user)
		ret = IP_TOOL(err, "ip", "tuntap", "add", "dev", name, "mode", "tap", "user",
			      p->user);
	else
		ret = IP_TOOL(err, "ip", "tuntap", "add", "dev", name, "mode", "tap");
	if (ret == 0 && IP_TOOL(err, "ip", "link", "set", "dev", name, "alias", p->mark) < 0) {
		ret = -err->code;
		IP_TOOL(NULL, "ip", "link", "delete", "dev", name);
	}
	return ret;
}

static int apply(const struct ports *p, const struct nic_opt *nic, bool *made, struct err *err)
{
	const char *name = tap_of(nic);
	const json_t *link = find(p, name);
	int ret = 0;

	*made = false;
	if (link && !is_ours(p, link)) {
		fprintf(p->out, "%s: somebody else's, left as it is\n", name);
		return 0;
	}
	if (!link) {
		ret = make_tap(p, name, err);
		*made = ret == 0;
	}
	if (ret == 0 && nic->bridge)
		ret = put_into_bridge(name, nic, link, err);
	else if (ret == 0 && *text_of(link, "master"))
		ret = IP_TOOL(err, "ip", "link", "set", "dev", name, "nomaster");
	if (ret == 0)
		ret = IP_TOOL(err, "ip", "link", "set", "dev", name, "up");
	if (ret == 0) {
		fprintf(p->out, "%s: %s", name, link ? "is there" : "made");
		if (nic->bridge)
			fprintf(p->out, ", in bridge %s", nic->bridge);
		if (nic->vlan)
			fprintf(p->out, ", VLAN %u", nic->vlan);
		fputc('\n', p->out);
	}
	return ret;
}

static int apply_all(const struct ports *p, const struct machine_opts *m, struct err *err)
{
	bool made[MACHINE_NICS] = { false };
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < m->nnics; i++) {
		if (tap_of(&m->nic[i]))
			ret = apply(p, &m->nic[i], &made[i], err);
	}
	for (unsigned i = 0; ret < 0 && i < m->nnics; i++) {
		if (made[i])
			IP_TOOL(NULL, "ip", "link", "delete", "dev", tap_of(&m->nic[i]));
	}
	return ret;
}

int net_ports_create(const struct guest_conf *g, const char *user, FILE *out, struct err *err)
{
	const struct machine_opts *m = &g->seen.machine;
	struct ports p = { .user = user };
	bool any = false;
	int ret;

	for (unsigned i = 0; i < m->nnics; i++)
		any |= tap_of(&m->nic[i]) != NULL;
	if (!any)
		return 0;
	ret = look(&p, g->name, out, err);
	for (unsigned i = 0; ret == 0 && i < m->nnics; i++) {
		if (tap_of(&m->nic[i]))
			ret = check_tap(&p, &m->nic[i], err);
	}
	if (ret == 0)
		ret = apply_all(&p, m, err);
	json_decref(p.links);
	return ret;
}

/* ---- removing it ---- */

static int remove_marked(const struct ports *p, struct err *err)
{
	const json_t *link;
	int ret = 0;
	size_t i;

	json_array_foreach(p->links, i, link)
	{
		if (is_ours(p, link) && is_in_use(link))
			return err_set(err, EBUSY,
				       "%s is in use: end the guest first (twinstep down %s)",
				       text_of(link, "ifname"), p->mark + strlen(MARK));
	}
	json_array_foreach(p->links, i, link)
	{
		const char *name = text_of(link, "ifname");

		if (ret || !is_ours(p, link))
			continue;
		ret = IP_TOOL(err, "ip", "link", "delete", "dev", name);
		if (ret == 0)
			fprintf(p->out, "%s: removed\n", name);
	}
	return ret;
}

/* The taps that the configuration has, and that are there without the mark. */
static int say_others(const struct ports *p, const struct machine_opts *m, struct err *err)
{
	for (unsigned i = 0; i < m->nnics; i++) {
		const char *name = tap_of(&m->nic[i]);
		const json_t *link = name ? find(p, name) : NULL;

		if (link && !is_ours(p, link))
			return err_set(err, EPERM,
				       "%s was not made by `twinstep net create %s`: left as it is",
				       name, p->mark + strlen(MARK));
	}
	return 0;
}

int net_ports_delete(const char *guest, const struct guest_conf *g, FILE *out, struct err *err)
{
	struct ports p = { 0 };
	int ret = look(&p, guest, out, err);

	if (ret == 0)
		ret = remove_marked(&p, err);
	if (ret == 0 && g)
		ret = say_others(&p, &g->seen.machine, err);
	json_decref(p.links);
	return ret;
}
