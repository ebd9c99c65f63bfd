// SPDX-License-Identifier: GPL-2.0-or-later
#include "host/pair_disks.h"

#include <errno.h>

#include "host/disk_keep.h"

/* The copies have the same content, but one that followed may lack the other's last flushes. */
static char newer_of_same(const struct disk_meta_identity *a, const struct disk_meta_identity *b)
{
	if ((a->state == DISK_FOLLOWS) == (b->state == DISK_FOLLOWS))
		return 0;
	return a->state == DISK_FOLLOWS ? 'b' : 'a';
}

/* Letter of the side whose copy of one disk is newer, 0: neither's, or -ESTALE and err. */
static int newer_disk(unsigned i, const struct disk_meta_identity *a,
		      const struct disk_meta_identity *b, struct err *err)
{
	static const char *const why[] = {
		[DISK_NEWER_SPLIT] =
			"both copies were written alone, each while the other was away",
		[DISK_NEWER_BROKEN] = "both copies are in the middle of being synchronised",
		[DISK_NEWER_FOREIGN] = "the copies belong to different disks",
		[DISK_NEWER_SIZE] = "the copies have different lengths",
	};
	struct disk_relation r = disk_meta_relation(a, b);

	switch (r.newer) {
	case DISK_NEWER_NEITHER:
		return newer_of_same(a, b);
	case DISK_NEWER_MINE:
		return 'a';
	case DISK_NEWER_THEIRS:
		return 'b';
	case DISK_NEWER_UNKNOWN:
		return 0;
	default:
		return err_set(
			err, ESTALE,
			"disk %u: %s (a: %s, generation %llu; b: %s, generation %llu). "
			"--newer a or --newer b says whose content counts; the other's is lost",
			i, why[r.newer], disk_meta_state_name(a->state),
			(unsigned long long)a->generation, disk_meta_state_name(b->state),
			(unsigned long long)b->generation);
	}
}

int pair_disks_newer(const struct machine_opts *a, const struct machine_opts *b, char newer,
		     char *letter, struct err *err)
{
	char found = 0;

	for (unsigned i = 0; i < a->ndisks && !newer; i++) {
		struct disk_meta_identity x = { 0 }, y = { 0 };
		int has_a = disk_keep_peek(&a->disk[i], &x, err);
		int has_b = has_a < 0 ? 0 : disk_keep_peek(&b->disk[i], &y, err);
		int which;

		if (has_a < 0 || has_b < 0)
			return has_a < 0 ? has_a : has_b;
		if (!has_a || !has_b) /* a disk without metadata is new */
			which = has_a ? 'a' : has_b ? 'b' : 0;
		else
			which = newer_disk(i, &x, &y, err);
		if (which < 0)
			return which;
		if (which && found && which != found)
			return err_set(err, ESTALE,
				       "disk %u is newer on %c, and a disk before it on %c. "
				       "--newer a or --newer b says whose content counts",
				       i, which, found);
		found = which ? (char)which : found;
	}
	*letter = newer ? newer : found ? found : 'a';
	return 0;
}
