/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint files: a whole machine at one landmark (docs/checkpoint-format.md). A full checkpoint
 * stands alone; a checkpoint of changes holds the pages written since another one and is restored
 * on top of it.
 *
 * A file appears under its name only when it is complete and on the disk. Reading trusts nothing:
 * every byte is covered by a checksum, memory use is bounded whatever the file says, and an error
 * names the file, the offset and what was expected there.
 *
 * A checkpoint is taken at a sync point with INPUT_FLUSH_TLB and INPUT_DIGEST, before the machine
 * goes on: only then does a restored machine, which starts with empty TLBs and no dirty pages,
 * continue exactly as this one.
 */
#ifndef RECORD_CHECKPOINT_H
#define RECORD_CHECKPOINT_H

#include "base/err.h"
#include "hypervisor/machine.h"

#define CHECKPOINT_VERSION	 3 /* files that contain disks' content */
#define CHECKPOINT_VERSION_PLAIN 2 /* files that do not, which older programs read as well */
#define CHECKPOINT_BLOCK	 65536u

/* Contents of a checkpoint's header. */
struct checkpoint_info {
	struct machine_config config;
	char engine[16], counter[16]; /* engine that ran the machine, and the unit of its count */
	uint64_t base;	    /* id of the checkpoint that this one changes; 0: stands alone */
	uint64_t count, ns; /* retired instructions and virtual time */
	uint64_t record;    /* number of the last sync point applied; 0: not recorded */
	bool contents;	    /* disks' contents are in it, not only changes to their images */
	/* From the end of the file; 0 in what checkpoint_read_info_fd() gives. */
	uint64_t id; /* of this checkpoint: depends on every byte of it */
	uint64_t pages;
	uint64_t bytes; /* length of the file */
};

struct checkpoint_write_options {
	bool force;		/* replace an existing file */
	uint64_t record;	/* for checkpoint_info.record */
	uint64_t base;		/* with `changed`: id of the checkpoint below */
	const uint8_t *changed; /* one byte a page, non-zero: written since `base`. NULL: full */
	/*
	 * Appends disk i's changes (disk_overlay_export). NULL: disks are not in the checkpoint. 0
	 * or -errno.
	 */
	int (*disk_export)(void *ctx, unsigned i, struct buf *out, struct err *err);
	void *disk_ctx;
};

struct checkpoint_restore_options {
	/* id of the checkpoint that the machine has been restored from already; 0: none */
	uint64_t base;
	/*
	 * Disk i's changes, for disk_overlay_import. NULL: a checkpoint with disk changes is
	 * refused. 0 or -errno.
	 */
	int (*disk_import)(void *ctx, unsigned i, const uint8_t *data, size_t len, struct err *err);
	/*
	 * Takes `len` bytes of disk i's content; data NULL: zeros. Offsets rise from call to call,
	 * and for a checkpoint that stands alone the calls cover the whole disk. NULL: a checkpoint
	 * with such content is refused.
	 */
	int (*disk_content)(void *ctx, unsigned i, uint64_t offset, const uint8_t *data,
			    uint64_t len, struct err *err);
	void *disk_ctx;
	/*
	 * Another checkpoint is to be restored on top: memory and disks are restored now, the
	 * machine's state is not.
	 */
	bool below;
};

/* Callbacks for the parts of a file, in its order; each returns 0, or -errno and has set err. */
struct checkpoint_visitor {
	void *ctx;
	int (*state)(void *ctx, const struct checkpoint_info *info, const struct buf *state);
	int (*page)(void *ctx, uint64_t number, const uint8_t *data);
	int (*changes)(void *ctx, unsigned disk, const struct buf *changes);
	int (*content)(void *ctx, unsigned disk); /* blocks of it follow */
	int (*block)(void *ctx, unsigned disk, uint64_t block, const uint8_t *data);
};

/*
 * Writes m into an open, empty file. name: for messages; info: what was written, may be NULL. 0:
 * the checkpoint is on stable storage; -EBUSY and err: pages are dirty, because no digest was taken
 * at this point; another -errno and err: writing failed.
 */
int checkpoint_write_fd(int fd, const char *name, struct machine *m,
			const struct checkpoint_write_options *o, struct checkpoint_info *info,
			struct err *err);

/*
 * ---- a checkpoint piece by piece ----
 *
 * For who has the parts of a machine's state, and not a machine that stands still: pages, then
 * disks, numbers rising in each. All but begin return 0, or -errno and the err that begin() got.
 */
struct checkpoint_out;

/* Describes m at its landmark; without disks' contents. */
struct checkpoint_info checkpoint_describe(struct machine *m, uint64_t record, uint64_t base);
/* fd, name, info: as above. state: what machine_save() gave. NULL and err on failure. */
struct checkpoint_out *checkpoint_out_begin(int fd, const char *name,
					    const struct checkpoint_info *info,
					    const struct buf *state, struct err *err);
/*
 * Adds a page; data NULL: the page is all zeros. A checkpoint that stands alone may leave out such
 * pages.
 */
int checkpoint_out_page(struct checkpoint_out *w, uint64_t number, const uint8_t *data);
/* Writes the changes of a disk, as disk_overlay_export() gave them. */
int checkpoint_out_changes(struct checkpoint_out *w, unsigned disk, const struct buf *changes);
/*
 * The content of a disk follows (info.contents), block by block of CHECKPOINT_BLOCK bytes; data
 * NULL: zeros, which need not be in a checkpoint that stands alone.
 */
int checkpoint_out_content(struct checkpoint_out *w, unsigned disk);
int checkpoint_out_block(struct checkpoint_out *w, uint64_t block, const uint8_t *data);
/* Completes the checkpoint. info: what was written, may be NULL. */
int checkpoint_out_end(struct checkpoint_out *w, struct checkpoint_info *info);
/* Puts the completed checkpoint on stable storage. */
int checkpoint_out_sync(struct checkpoint_out *w);
void checkpoint_out_free(struct checkpoint_out *w);

/*
 * Creates a temporary file beside path, open for writing, with its name in *tmp. It then gets the
 * name `path` (publish) or is removed (drop); both free tmp. -EEXIST: there is a file at path, and
 * force is false.
 */
int checkpoint_file_create(const char *path, bool force, char **tmp, struct err *err);
int checkpoint_file_publish(const char *path, char *tmp, bool force, struct err *err);
void checkpoint_file_drop(char *tmp);

/*
 * Opens a regular file for reading. Returns its descriptor, for the functions below; -errno and
 * err.
 */
int checkpoint_open(const char *path, struct err *err);
/*
 * Reads the header only, which tells what machine to make. path: for messages. 0; -EBADMSG and err:
 * not a checkpoint, another version, or damaged.
 */
int checkpoint_read_info_fd(int fd, const char *path, struct checkpoint_info *info,
			    struct err *err);

/*
 * Restores m, a machine of the same configuration, from an open file. m NULL: only reads the whole
 * file and checks every checksum. path: for messages. 0; -EINVAL and err: the file is of another
 * machine, or on top of another checkpoint; -EBADMSG and err: it is damaged. After an error behind
 * the header, m can only be destroyed.
 */
int checkpoint_restore_fd(int fd, const char *path, struct machine *m,
			  const struct checkpoint_restore_options *o, struct checkpoint_info *info,
			  struct err *err);
/*
 * Reads and checks the whole file, as checkpoint_restore_fd() with m NULL, and calls v for its
 * parts.
 */
int checkpoint_visit_fd(int fd, const char *path, const struct checkpoint_visitor *v,
			struct checkpoint_info *info, struct err *err);

#endif
