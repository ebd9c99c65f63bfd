// SPDX-License-Identifier: GPL-2.0-or-later
#include "isolation/jail.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "isolation/jail_private.h"
#include "isolation/landlock.h"
#include "isolation/seccomp.h"
#include "isolation/spec.h"

#define INNER_UID    1000	 /* in the jail's user namespace */
#define HOST_UID     0x7f000000u /* + process id: a uid of its own, where root starts the machine */
#define OPEN_FILES   256
#define THREADS	     64
#define INHERITED    256
#define MEMORY_SPARE (2ull << 30) /* stacks, heaps, buffers */
#define ARENAS	     4

static const struct {
	const char *name, *purpose;
} layers[] = {
	[LAYER_PID] = { "pid-namespace", "sees and signals no other process" },
	[LAYER_UID] = { "own-uid", "not root, and under root shares its user id with no other "
				   "process of the host" },
	[LAYER_USER] = { "user-namespace", "is nobody outside, whatever it becomes inside" },
	[LAYER_MOUNT] = { "mount-namespace", "changes nobody's mounts" },
	[LAYER_NET] = { "net-namespace", "has no network but the descriptors it was given" },
	[LAYER_IPC] = { "ipc-namespace", "reaches no System V or POSIX queue or memory" },
	[LAYER_UTS] = { "uts-namespace", "does not change the host's name" },
	[LAYER_CGROUP] = { "cgroup-namespace", "does not see where in the control groups it is" },
	[LAYER_ROOT] = { "empty-root", "has a file system that is empty and read-only" },
	[LAYER_LIMITS] = { "limits", "open files, threads, address space, file size and core dumps "
				     "are bounded" },
	[LAYER_LANDLOCK] = { "landlock", "opens no path, even if one came into reach" },
	[LAYER_CAPS] = { "no-capabilities", "holds no privilege, not even in its own namespaces" },
	[LAYER_NO_PRIVS] = { "no-new-privileges", "gains none by executing a file" },
	[LAYER_NO_DUMP] = { "not-dumpable",
			    "is not traced by others, and leaves no memory in a core file" },
	[LAYER_CORE] = { "core-scheduling",
			 "shares no core with the threads of others while it runs" },
	[LAYER_SPECULATION] = { "speculation",
				"is not steered, nor looked into, by way of what the CPU guesses" },
	[LAYER_SECCOMP] = { "seccomp", "each thread asks the kernel only for what its role needs" },
};

static int state[LAYERS]; /* 0, or a positive errno */
static bool entered;
static char lacking[400]; /* layers that could not be had, for jail_warn() */
static uint64_t mapped;	  /* when the jail was entered */
static struct keeper *keeper, *service_keeper, *dialler;
static int inherited[INHERITED];
static unsigned ninherited;

const char *jail_layer_name(enum jail_layer l)
{
	return layers[l].name;
}

const char *jail_layer_purpose(enum jail_layer l)
{
	return layers[l].purpose;
}

void jail_layer_set(enum jail_layer l, int ret)
{
	state[l] = ret < 0 ? -ret : ret;
}

/* ---- descriptors that whoever started us left open ---- */

void jail_note_inherited(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d)) && ninherited < INHERITED) {
		int fd = atoi(e->d_name);

		if (fd > STDERR_FILENO && fd != dirfd(d))
			inherited[ninherited++] = fd;
	}
	if (d)
		closedir(d);
}

static void close_inherited(void)
{
	while (ninherited)
		close(inherited[--ninherited]);
}

/* ---- user ---- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

static int write_map(const char *path, unsigned inside, unsigned outside)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u 1", inside, outside);
	return write_file(path, text);
}

int jail_map_user(unsigned inside_uid, unsigned inside_gid, unsigned uid, unsigned gid)
{
	int ret = write_file("/proc/self/setgroups", "deny");

	if (ret == 0)
		ret = write_map("/proc/self/uid_map", inside_uid, uid);
	return ret ? ret : write_map("/proc/self/gid_map", inside_gid, gid);
}

/*
 * Root becomes a user that nobody else is; what it may do in namespaces is kept until the end of
 * jail_enter().
 */
static int take_own_uid(void)
{
	unsigned id = HOST_UID + (unsigned)jail_pid();

	if (geteuid() != 0)
		return 0; /* already somebody without rights */
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
	    setresuid(id, id, id) < 0)
		return -errno;
	capng_get_caps_process();
	for (int i = 0; i <= CAP_LAST_CAP; i++) {
		if (capng_have_capability(CAPNG_PERMITTED, (unsigned)i))
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, (unsigned)i);
	}
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_DUMPABLE, 1); /* else the files in /proc/self are root's */
	return 0;
}

static int enter_user(void)
{
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0)
		return -errno;
	return jail_map_user(INNER_UID, INNER_UID, uid, gid);
}

/* ---- root ---- */

static int mount_root(void)
{
	static const char *const places[] = { "/tmp", "/dev", "/proc", "/usr" };
	int ret = -ENOENT;

	for (size_t i = 0; ret && i < sizeof(places) / sizeof(places[0]); i++) {
		ret = mount("twinstep", places[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			    "size=4k,nr_inodes=2,mode=0555");
		if (ret < 0 || chdir(places[i]) < 0)
			ret = -errno;
	}
	return ret;
}

static int enter_root(void)
{
	const unsigned long flags =
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	int ret;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	ret = mount_root();
	if (ret < 0)
		return ret;
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return mount(NULL, "/", NULL, flags, NULL) < 0 ? -errno : 0;
}

/* ---- limits ---- */

static int limit(int what, uint64_t n)
{
	struct rlimit r;

	if (getrlimit(what, &r) < 0)
		return -errno;
	if (r.rlim_max > n)
		r.rlim_max = n;
	r.rlim_cur = r.rlim_max;
	return setrlimit(what, &r) < 0 ? -errno : 0;
}

static uint64_t mapped_now(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%llu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * 4096;
}

void jail_limit_memory(uint64_t bytes)
{
#ifndef __SANITIZE_ADDRESS__ /* its shadow is larger than any limit */
	if (mapped)
		limit(RLIMIT_AS, mapped + bytes + MEMORY_SPARE);
#endif
}

static int enter_limits(const struct jail_config *c)
{
	int ret = limit(RLIMIT_NOFILE, OPEN_FILES);

	if (ret == 0)
		ret = limit(RLIMIT_NPROC, THREADS);
	if (ret == 0)
		ret = limit(RLIMIT_CORE, 0);
	if (ret == 0)
		ret = limit(RLIMIT_MSGQUEUE, 0);
	if (ret == 0 && c->file_size)
		ret = limit(RLIMIT_FSIZE, c->file_size);
	jail_limit_memory(c->memory);
	return ret;
}

/* ---- privileges ---- */

static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	/*
	 * Without CAP_SETPCAP the bounding set stays; without any capability nothing comes out of
	 * it.
	 */
	capng_apply(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return -EPERM;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	capng_get_caps_process();
	return capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE ? 0 : -EPERM;
}

static void enter_thread(enum thread_role role)
{
	int ret = seccomp_enter(role);

	if (ret < 0) {
		log_error("thread %s cannot be restricted: %s", thread_role_name(role),
			  strerror(-ret));
		abort();
	}
}

static int enter_seccomp(void)
{
	int ret = seccomp_prepare((1u << THREAD_KEEPER) - 1);

	if (ret == 0)
		ret = seccomp_enter(THREAD_MAIN);
	if (ret == 0)
		thread_on_start(enter_thread);
	return ret;
}

/* ---- the whole ---- */

/*
 * The order matters: names while there are names, rights to make namespaces while there are rights.
 */
static const struct {
	enum jail_layer layer;
	int flag; /* of unshare(); 0: see enter() */
} steps[] = {
	{ LAYER_CORE, 0 },
	{ LAYER_SPECULATION, 0 },
	{ LAYER_UID, 0 },
	{ LAYER_USER, 0 },
	{ LAYER_MOUNT, CLONE_NEWNS },
	{ LAYER_NET, CLONE_NEWNET },
	{ LAYER_IPC, CLONE_NEWIPC },
	{ LAYER_UTS, CLONE_NEWUTS },
	{ LAYER_CGROUP, CLONE_NEWCGROUP },
	{ LAYER_ROOT, 0 },
	{ LAYER_LIMITS, 0 },
	{ LAYER_CAPS, 0 },
	{ LAYER_NO_PRIVS, 0 },
	{ LAYER_NO_DUMP, 0 },
	{ LAYER_LANDLOCK, 0 },
	{ LAYER_SECCOMP, 0 },
};

static int enter(enum jail_layer layer, int flag, const struct jail_config *c)
{
	if (flag)
		return unshare(flag) < 0 ? -errno : 0;
	switch (layer) {
	case LAYER_CORE:
		return spec_core_create();
	case LAYER_SPECULATION:
		return spec_protect();
	case LAYER_UID:
		return take_own_uid();
	case LAYER_USER:
		return enter_user();
	case LAYER_ROOT: /* never in the mount namespace of others */
		return state[LAYER_MOUNT] ? -state[LAYER_MOUNT] : enter_root();
	case LAYER_LIMITS:
		return enter_limits(c);
	case LAYER_CAPS:
		return drop_capabilities();
	case LAYER_NO_PRIVS:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
	case LAYER_NO_DUMP:
		jail_die_with_parent(); /* a change of identity undoes it */
		return prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 0;
	case LAYER_LANDLOCK:
		return landlock_enter();
	default:
		return enter_seccomp();
	}
}

static int report(enum jail_mode mode, uint32_t without, struct err *err)
{
	size_t n = 0;

	for (unsigned l = 0; l < LAYERS; l++) {
		if (state[l] && !(without >> l & 1) && n < sizeof(lacking))
			n += (size_t)snprintf(lacking + n, sizeof(lacking) - n, "%s%s (%s)",
					      n ? ", " : "", layers[l].name, strerror(state[l]));
	}
	if (n && mode == JAIL_STRICT)
		return err_set(err, EPERM, "--jail strict: this host does not allow %s", lacking);
	return 0;
}

void jail_warn(void)
{
	if (!entered)
		log_warn("--no-jail: a guest that takes over its device models has all the rights "
			 "of this user");
	else if (lacking[0])
		log_warn("the jail goes without what this host does not allow: %s", lacking);
}

int jail_enter(enum jail_mode mode, const struct jail_config *c, struct err *err)
{
	if (mode == JAIL_OFF)
		return 0;
	mapped = mapped_now();
	mallopt(M_ARENA_MAX, ARENAS); /* also keeps malloc() from asking how many CPUs there are */
	close_inherited();
	keeper = keeper_start(&(struct keeper_post){ .fd = -1 }, err);
	if (!keeper)
		return -err->code;
	if (c->service && !(service_keeper = keeper_start(c->service, err)))
		return -err->code;
	if (c->dialler && !(dialler = keeper_start(c->dialler, err)))
		return -err->code;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool skip = c->without >> steps[i].layer & 1;

		jail_layer_set(steps[i].layer,
			       skip ? ECANCELED : enter(steps[i].layer, steps[i].flag, c));
	}
	entered = true;
	return report(mode, c->without, err);
}

struct keeper *jail_keeper(void)
{
	return keeper;
}

struct keeper *jail_service_keeper(void)
{
	return service_keeper;
}

struct keeper *jail_dialler(void)
{
	return dialler;
}

void jail_end_dialler(void)
{
	keeper_end(dialler);
	dialler = NULL;
}

void jail_end(void)
{
	jail_end_dialler();
	keeper_end(service_keeper);
	keeper_end(keeper);
	service_keeper = keeper = NULL;
}

int jail_check_peer(int fd)
{
	return keeper ? keeper_check_peer(keeper, fd) : keeper_peer_allowed(fd);
}

void jail_will_remove(const char *path)
{
	keeper_allow_remove(path);
}

void jail_remove(const char *path)
{
	if (!entered)
		unlink(path);
	else if (keeper)
		keeper_remove(keeper, path);
}
