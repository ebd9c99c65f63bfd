/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of a log that no machine has made, each after `seq` records of 1000 instructions: for
 * tests of how logs are written and read.
 */
#ifndef TESTS_RECORD_LOG_FRAMES_H
#define TESTS_RECORD_LOG_FRAMES_H

#include "base/buf.h"
#include "hypervisor/machine.h"
#include "record/logfile.h"
#include "tests/unit.h"

/* A checkpoint of a machine without pages. */
static inline void put_checkpoint(struct log_writer *w, uint64_t seq)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	buf_put_varint(&b, seq);
	buf_put_varint(&b, seq * 1000);
	buf_put_varint(&b, seq * 1000);
	log_writer_mark(w, seq, seq * 1000, seq * 1000);
	ck_assert_int_eq(log_writer_frame(w, LOG_STATE, seq * 1000, b.data, b.len, &err), 0);
	ck_assert_int_eq(log_writer_frame(w, LOG_PAGES, seq * 1000, "", 0, &err), 0);
	buf_free(&b);
}

/* The source has ended the machine, whose digest is 4711. */
static inline void put_end(struct log_writer *w, uint64_t seq)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;

	buf_put_u8(&b, MACHINE_ENDED);
	buf_put_u8(&b, 0);
	buf_put_varint(&b, seq);
	buf_put_varint(&b, seq * 1000);
	buf_put_u8(&b, 0);
	buf_put_u64(&b, seq);
	buf_put_varint(&b, 0);
	buf_put_u64(&b, 4711);
	ck_assert_int_eq(log_writer_frame(w, LOG_END, seq * 1000, b.data, b.len, &err), 0);
	buf_free(&b);
}

#endif
