// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control groups of both versions in directories that look like them, and the values that people
 * may give.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "isolation/cgroup.h"
#include "isolation/process.h"
#include "tests/unit.h"

static char top[64]; /* of the fake host */

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	f = fopen(full, "w");
	ck_assert_msg(f != NULL, "%s", full);
	fputs(text, f);
	fclose(f);
}

static const char *get(const char *path)
{
	static char text[512];
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	f = fopen(full, "r");
	ck_assert_msg(f != NULL, "%s", full);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

static void make_dir(const char *path)
{
	char command[600];

	snprintf(command, sizeof(command), "mkdir -p '%s/%s'", top, path);
	ck_assert_int_eq(system(command), 0);
}

static bool is_there(const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	return access(full, F_OK) == 0;
}

static void begin(const char *mounts, const char *self)
{
	strcpy(top, "/tmp/twinstep-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	make_dir("proc/self");
	put("proc/self/mountinfo", mounts);
	put("proc/self/cgroup", self);
}

static void end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	ck_assert_int_eq(system(command), 0);
}

static int find(struct cgroup_site *s, const char *parent, struct err *err)
{
	char proc[80];

	snprintf(proc, sizeof(proc), "%s/proc", top);
	return cgroup_find(s, proc, parent, err);
}

/* The kernel would make a group's files; here they are there beforehand. */
static const char *group_dir(const char *parent, const char *name, const char *files)
{
	static char dir[200];
	char list[400], file[300], *save;

	snprintf(dir, sizeof(dir), "%s/%s.%d.%" PRIu64, parent, name, (int)getpid(),
		 process_start(getpid()));
	make_dir(dir);
	strcpy(list, files);
	for (char *f = strtok_r(list, " ", &save); f; f = strtok_r(NULL, " ", &save)) {
		snprintf(file, sizeof(file), "%s/%s", dir, f);
		put(file, "");
	}
	return dir;
}

static const char *in(const char *dir, const char *file)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

/* mountinfo with our directory in place of @. */
static const char *mounts(const char *text)
{
	static char out[2048];
	size_t n = 0;

	/* the directory's name is known only when it exists */
	for (; *text && n < sizeof(out) - 80; text++) {
		if (*text == '@')
			n += (size_t)sprintf(out + n, "%s", top);
		else
			out[n++] = *text;
	}
	out[n] = 0;
	return out;
}

static const struct limits all = { .cpu_weight = 50,
				   .cpu_quota_us = 25000,
				   .cpu_period_us = 100000,
				   .memory_max = 1ull << 29,
				   .io = { 1000, 2000, 30, 40 } };

START_TEST(version_2)
{
	struct cgroup g = { 0 };
	struct err err = ERR_INIT;
	dev_t dev = makedev(254, 16);
	char alive[200];
	const char *dir;

	begin("", "0::/user.slice/session-1.scope\n");
	put("proc/self/mountinfo",
	    mounts("30 23 0:26 / @/sys rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"));
	make_dir("sys/user.slice/session-1.scope");
	make_dir("sys/user.slice/twinstep/old.999999999.5");
	make_dir("sys/user.slice/twinstep/notours");
	put("sys/user.slice/cgroup.controllers", "cpu io memory pids\n");
	put("sys/user.slice/cgroup.subtree_control", "cpu memory\n");
	put("sys/user.slice/twinstep/cgroup.subtree_control", "");
	strcpy(alive, group_dir("sys/user.slice/twinstep", "alive", ""));
	dir = group_dir("sys/user.slice/twinstep", "web",
			"cpu.weight cpu.max memory.max io.max cgroup.procs memory.events");
	ck_assert_int_eq(find(&g.site, NULL, &err), 0);
	ck_assert_uint_eq(g.site.ntrees, 1);
	ck_assert_int_eq(cgroup_create(&g, "web", getpid(), &all, &dev, 1, &err), 0);
	ck_assert_str_eq(get("sys/user.slice/cgroup.subtree_control"),
			 "+io"); /* the others it hands down already */
	ck_assert_str_eq(get("sys/user.slice/twinstep/cgroup.subtree_control"), "+io");
	ck_assert_str_eq(get(in(dir, "cpu.weight")), "50");
	ck_assert_str_eq(get(in(dir, "cpu.max")), "25000 100000");
	ck_assert_str_eq(get(in(dir, "memory.max")), "536870912");
	ck_assert_str_eq(get(in(dir, "io.max")), "254:16 wiops=40"); /* the last of four lines */
	ck_assert(!is_there("sys/user.slice/twinstep/old.999999999.5"));
	ck_assert(is_there("sys/user.slice/twinstep/notours"));
	ck_assert(is_there(alive));
	ck_assert_int_eq(cgroup_join(&g, &err), 0);
	ck_assert_str_eq(get(in(dir, "cgroup.procs")), "0");
	ck_assert(!cgroup_sweep(&g.site, getpid())); /* we live */
	ck_assert(is_there(dir));
	end();
}
END_TEST

START_TEST(version_1)
{
	struct cgroup g = { 0 };
	struct err err = ERR_INIT;
	dev_t dev = makedev(8, 0);
	const char *dir;

	begin("", "4:memory:/a\n3:blkio:/\n2:cpu,cpuacct:/\n0::/\n");
	put("proc/self/mountinfo",
	    mounts("31 23 0:28 / @ rw - tmpfs tmpfs rw\n"
		   "32 31 0:29 / @/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		   "33 31 0:30 /a @/mem\\040ory rw - cgroup cgroup rw,memory\n"
		   "34 31 0:31 / @/blkio rw - cgroup cgroup rw,blkio\n"
		   "35 31 0:32 / @/systemd rw - cgroup cgroup rw,name=systemd\n"
		   "41 31 0:38 / @/unified rw - cgroup2 cgroup2 rw\n"));
	make_dir("unified");
	put("unified/cgroup.controllers", "\n");
	dir = group_dir("cpu,cpuacct/twinstep", "db",
			"cpu.shares cpu.cfs_period_us cpu.cfs_quota_us cgroup.procs");
	ck_assert_int_eq(find(&g.site, NULL, &err), 0);
	ck_assert_uint_eq(g.site.ntrees, 3);
	ck_assert_int_eq(g.site.of[CGROUP_CPU], g.site.of[CGROUP_ACCOUNT]);
	group_dir("mem ory/twinstep", "db", "memory.limit_in_bytes cgroup.procs");
	group_dir("blkio/twinstep", "db",
		  "blkio.throttle.read_bps_device blkio.throttle.write_bps_device "
		  "blkio.throttle.read_iops_device blkio.throttle.write_iops_device cgroup.procs");
	ck_assert_msg(cgroup_create(&g, "db", getpid(), &all, &dev, 1, &err) == 0, "%s", err.text);
	dir = group_dir("cpu,cpuacct/twinstep", "db", "");
	ck_assert_str_eq(get(in(dir, "cpu.shares")), "512");
	ck_assert_str_eq(get(in(dir, "cpu.cfs_quota_us")), "25000");
	ck_assert_str_eq(get(in(dir, "cpu.cfs_period_us")), "100000");
	dir = group_dir("mem ory/twinstep", "db", "");
	ck_assert_str_eq(get(in(dir, "memory.limit_in_bytes")), "536870912");
	dir = group_dir("blkio/twinstep", "db", "");
	ck_assert_str_eq(get(in(dir, "blkio.throttle.write_bps_device")), "8:0 2000");
	ck_assert_str_eq(get(in(dir, "blkio.throttle.read_iops_device")), "8:0 30");
	end();
}
END_TEST

START_TEST(below_a_named_group)
{
	struct cgroup g = { 0 };
	struct err err = ERR_INIT;
	const char *dir;

	begin("", "0::/\n");
	put("proc/self/mountinfo", mounts("30 23 0:26 / @/sys rw - cgroup2 cgroup2 rw\n"));
	make_dir("sys/mine");
	put("sys/cgroup.controllers", "\n");
	put("sys/mine/cgroup.controllers", "cpu\n");
	put("sys/mine/cgroup.subtree_control", "cpu\n");
	dir = group_dir("sys/mine", "x", "cpu.weight cgroup.procs");
	ck_assert_int_eq(find(&g.site, "/mine", &err), 0);
	ck_assert_int_eq(cgroup_create(&g, "x", getpid(), &(struct limits){ .cpu_weight = 7 }, NULL,
				       0, &err),
			 0);
	ck_assert_str_eq(get(in(dir, "cpu.weight")), "7");
	ck_assert_int_eq(find(&g.site, "/other", &err), 0); /* is not there: nothing is offered */
	ck_assert_int_lt(cgroup_create(&g, "x", getpid(), &(struct limits){ .cpu_weight = 7 }, NULL,
				       0, &err),
			 0);
	ck_assert_int_eq(find(&g.site, "mine", &err), -EINVAL);
	ck_assert_int_eq(find(&g.site, "/a/../../etc", &err), -EINVAL);
	ck_assert_int_eq(find(&g.site, "/..", &err), -EINVAL);
	end();
}
END_TEST

START_TEST(what_is_missing_is_named)
{
	struct cgroup g = { 0 };
	struct err err = ERR_INIT;
	const char *dir;

	begin("", "0::/\n");
	put("proc/self/mountinfo", mounts("30 23 0:26 / @/sys rw - cgroup2 cgroup2 rw\n"));
	make_dir("sys");
	put("sys/cgroup.controllers", "memory pids\n");
	put("sys/cgroup.subtree_control", "memory\n");
	ck_assert_int_eq(find(&g.site, NULL, &err), 0);
	ck_assert_int_eq(cgroup_create(&g, "x", getpid(), &(struct limits){ .cpu_weight = 7 }, NULL,
				       0, &err),
			 -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.text, "no cpu controller"));
	/* A kernel without one of the files. */
	dir = group_dir("sys/twinstep", "x", "cgroup.procs");
	put("sys/twinstep/cgroup.subtree_control", "memory\n");
	ck_assert_int_eq(cgroup_create(&g, "x", getpid(), &(struct limits){ .memory_max = 1 << 30 },
				       NULL, 0, &err),
			 -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.text, "memory.max"));
	ck_assert(is_there(dir));
	/* No control groups at all. */
	put("proc/self/mountinfo", "22 1 0:21 / / rw - ext4 /dev/vda rw\n");
	ck_assert_int_eq(find(&g.site, NULL, &err), 0);
	ck_assert_uint_eq(g.site.ntrees, 0);
	ck_assert_int_eq(cgroup_create(&g, "x", getpid(), &(struct limits){ .memory_max = 1 << 30 },
				       NULL, 0, &err),
			 -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(err.text, "no memory controller"));
	end();
}
END_TEST

START_TEST(hostile_descriptions)
{
	static const char *const lines[] = {
		"",
		"\n",
		"garbage\n",
		" - \n",
		" - cgroup\n",
		"30 23 0:26 / - cgroup2 cgroup2 rw\n",
		"30 23 0:26 / /x rw - cgroup2\n",
		"30 23 0:26 / \\9\\ rw - cgroup2 cgroup2 rw\n",
		"30 23 0:26 / /x rw - cgroup cgroup cpu,,,\n",
		"30 23 0:26 / /x\\040 rw - cgroup cgroup ,cpu\n",
	};
	static const char *const selves[] = {
		"",	 "0::\n",     "::::\n", "1:cpu:relative\n", "0::/../../x\n", "1:cpu:/..\n",
		"cpu\n", "1:cpu,:/\n"
	};
	char *longest = malloc(5000);
	struct cgroup_site s;
	struct err err = ERR_INIT;

	begin("", "");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		for (size_t j = 0; j < sizeof(selves) / sizeof(selves[0]); j++) {
			put("proc/self/mountinfo", lines[i]);
			put("proc/self/cgroup", selves[j]);
			ck_assert_int_eq(find(&s, NULL, &err), 0);
			ck_assert_uint_le(s.ntrees, 1);
			ck_assert(!s.ntrees || !strstr(s.tree[0].parent, ".."));
		}
	}
	memset(longest, 'a', 4990);
	strcpy(longest + 4990, " - x\n");
	put("proc/self/mountinfo", longest);
	ck_assert_int_eq(find(&s, NULL, &err), 0);
	sprintf(longest, "1:cpu:/%0900d\n", 7);
	put("proc/self/mountinfo", mounts("30 23 0:26 / @/x rw - cgroup cgroup cpu\n"));
	put("proc/self/cgroup", longest);
	ck_assert_int_eq(find(&s, NULL, &err), 0);
	ck_assert_uint_eq(s.ntrees, 0);
	free(longest);
	end();
}
END_TEST

START_TEST(values)
{
	static const char *const bad_weight[] = {
		"", "0", "10001", "-1", "1.5", "10x", "99999999999999999999", " 5"
	};
	static const char *const bad_cpu[] = { "",
					       "0",
					       "-5",
					       "50%%",
					       "1/",
					       "/100000",
					       "500/100000",
					       "5000/1",
					       "5/5/5",
					       "50 %",
					       "x",
					       "1000/999",
					       "1e3",
					       "99999999999999999999/100000",
					       "2000/1000001" };
	static const char *const bad_io[] = { "",	 "0",
					      "read",	 "read=",
					      "read=0",	 "read=1,read=2",
					      "speed=5", "read=1,,write=2",
					      "read=-1", "read=1M,x=2",
					      "20Q",	 "1,2" };
	static const char *const bad_memory[] = { "",	       "1M",   "lots", "-1G",
						  "16777217T", "32M ", "31M" };
	struct limits l = { 0 };
	struct err err = ERR_INIT;

	for (size_t i = 0; i < sizeof(bad_weight) / sizeof(bad_weight[0]); i++)
		ck_assert_msg(limits_take_cpu_weight(&l, bad_weight[i], &err) < 0, "%s",
			      bad_weight[i]);
	for (size_t i = 0; i < sizeof(bad_cpu) / sizeof(bad_cpu[0]); i++)
		ck_assert_msg(limits_take_cpu_max(&l, bad_cpu[i], &err) < 0, "%s", bad_cpu[i]);
	for (size_t i = 0; i < sizeof(bad_io) / sizeof(bad_io[0]); i++)
		ck_assert_msg(limits_take_io_max(&l, bad_io[i], &err) < 0, "%s", bad_io[i]);
	for (size_t i = 0; i < sizeof(bad_memory) / sizeof(bad_memory[0]); i++)
		ck_assert_msg(limits_take_memory_max(&l, bad_memory[i], &err) < 0, "%s",
			      bad_memory[i]);
	l = (struct limits){ 0 };
	ck_assert(!limits_any(&l));
	ck_assert_int_eq(limits_take_cpu_weight(&l, "10000", &err), 0);
	ck_assert_int_eq(limits_take_cpu_max(&l, "150%", &err), 0);
	ck_assert_uint_eq(l.cpu_quota_us, 150000);
	ck_assert_int_eq(limits_take_cpu_max(&l, "1", &err), 0);
	ck_assert_uint_eq(l.cpu_quota_us, 1000);
	ck_assert_int_eq(limits_take_cpu_max(&l, "20000/50000", &err), 0);
	ck_assert_uint_eq(l.cpu_quota_us, 20000);
	ck_assert_uint_eq(l.cpu_period_us, 50000);
	ck_assert_int_eq(limits_take_memory_max(&l, "1G", &err), 0);
	ck_assert_uint_eq(l.memory_max, 1 << 30);
	ck_assert_int_eq(limits_take_io_max(&l, "2M", &err), 0);
	ck_assert_uint_eq(l.io[IO_READ_BPS], 2 << 20);
	ck_assert_int_eq(limits_take_io_max(&l, "write=1K,read-ops=7", &err), 0);
	ck_assert_uint_eq(l.io[IO_READ_BPS], 0);
	ck_assert_uint_eq(l.io[IO_WRITE_BPS], 1024);
	ck_assert_uint_eq(l.io[IO_READ_OPS], 7);
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, version_2);
	tcase_add_test(tc, version_1);
	tcase_add_test(tc, below_a_named_group);
	tcase_add_test(tc, what_is_missing_is_named);
	tcase_add_test(tc, hostile_descriptions);
	tcase_add_test(tc, values);
}

UNIT_MAIN("cgroup", add_tests)
