// SPDX-License-Identifier: GPL-2.0-or-later
// Known programs give known answers: one with triple redundancy masks every flip in its data, one
// with a checksum detects it, one with neither shows wrong outputs.
#include <errno.h>

#include "record/experiment.h"
#include "tests/record/log_rig.h"
#include "tests/record/tcp_frame.h"

/*
 * Real mode: 16 bytes, three times (0x2000, 0x2100, 0x2200), their sum in BH; then a while of
 * nothing; then they go out on COM1, each program in its way; then exit status 0.
 */
#define FILL                                  \
	"xorw %si, %si; xorw %bx, %bx\n"      \
	"movw $16, %cx\n"                     \
	"1: movw %si, %ax; addb $0x41, %al\n" \
	"movb %al, 0x2000(%si)\n"             \
	"movb %al, 0x2100(%si)\n"             \
	"movb %al, 0x2200(%si)\n"             \
	"addb %al, %bh; incw %si; loop 1b\n"  \
	"movw $2000, %cx\n"                   \
	"1: loop 1b\n"                        \
	"xorw %si, %si; movw $16, %cx\n"
#define SEND "movw $0x3f8, %dx; outb %al, %dx; incw %si; loop 1b\n"
#define DONE "movb $0, %al; outb %al, $0xf4; hlt\n"

__asm__(".pushsection .rodata\n.code16\n"
	"plain_code:\n" FILL "1: movb 0x2000(%si), %al\n" SEND DONE "plain_end:\n"
	"sum_code:\n" FILL "1: addb 0x2000(%si), %bl; incw %si; loop 1b\n"
	"cmpb %bl, %bh; je 2f; movb $9, %al; outb %al, $0xf4; hlt\n"
	"2: xorw %si, %si; movw $16, %cx\n"
	"1: movb 0x2000(%si), %al\n" SEND DONE "sum_end:\n"
	"triple_code:\n" FILL "1: movb 0x2000(%si), %al; movb 0x2100(%si), %bl\n"
	"movb 0x2200(%si), %dl; movb %al, %ah; andb %bl, %ah; andb %dl, %al; andb %dl, %bl\n"
	"orb %ah, %al; orb %bl, %al\n"
	"movb %al, 0x2000(%si); movb %al, 0x2100(%si); movb %al, 0x2200(%si)\n"
	"xorb %bl, %bl; xorb %ah, %ah\n" SEND DONE "triple_end:\n"
	/* Five ticks of the 8254 at 1 kHz, a dot for each, by vector 8; what comes by 15, of the
	   8259's spurious interrupts, is another character. */
	"tick_code: xorw %ax, %ax; movw %ax, %ds; movw %ax, %ss; movw $0x7000, %sp\n"
	"movw $tick_at - tick_code + 0x7c00, 0x20; movw %ax, 0x22\n"
	"movw $stray_at - tick_code + 0x7c00, 0x3c; movw %ax, 0x3e\n"
	"movb $0x11, %al; outb %al, $0x20; movb $8, %al; outb %al, $0x21\n"
	"movb $4, %al; outb %al, $0x21; movb $1, %al; outb %al, $0x21\n"
	"movb $0xfe, %al; outb %al, $0x21; movb $0x34, %al; outb %al, $0x43\n"
	"movb $0xa9, %al; outb %al, $0x40; movb $4, %al; outb %al, $0x40\n"
	"xorw %bx, %bx; sti\n"
	"1: hlt; cmpw $5, %bx; jb 1b\n" DONE
	"tick_at: incw %bx; cmpw $5, %bx; ja 1f; movb $0x2e, %al; movw $0x3f8, %dx; outb %al, %dx\n"
	"1: movb $0x20, %al; outb %al, $0x20; iret\n"
	"stray_at: movb $0x21, %al; movw $0x3f8, %dx; outb %al, %dx; iret\n"
	"tick_end:\n"
	/* A line with a number that comes in two parts, the second after as long as EBX says. */
	"cut_code: movl $2000, %ebx; movw $0x74, %si; movw $0x31, %di; movw $1500, %cx\n"
	"1: loop 1b\n"
	"movw $0x3f8, %dx; movw %si, %ax; outb %al, %dx; movb $0x3d, %al; outb %al, %dx\n"
	"movw %di, %ax; outb %al, %dx; movl %ebx, %ecx\n"
	"1: .byte 0x67; loop 1b\n" /* ECX: clang has no addr32 here */
	"movb $0x32, %al; outb %al, %dx; movb $0x20, %al; outb %al, %dx; movb $0x6d, %al\n"
	"outb %al, %dx; movb $0x73, %al; outb %al, %dx; movb $10, %al; outb %al, %dx\n"
	"1: jmp 1b\n"
	"cut_end:\n"
	/* "AAA\n" on the debug console, the same on COM1, and again both. */
	"lines_code: movw $2, %bx\n"
	"1: movw $0xe9, %dx; call say_line; movw $0x3f8, %dx; call say_line\n"
	"decw %bx; jnz 1b\n" DONE "say_line: movw $3, %cx; movb $0x41, %al\n"
	"1: outb %al, %dx; loop 1b\n"
	"movb $10, %al; outb %al, %dx; ret\n"
	"lines_end:\n"
	".code64\n.popsection\n");
extern const uint8_t tick_code[], tick_end[], cut_code[], cut_end[], lines_code[], lines_end[];
extern const uint8_t plain_code[], plain_end[], sum_code[], sum_end[], triple_code[], triple_end[];

#define WHILE 1000u /* a count in the while of nothing */

static struct rig_options options = { .digest_count = 300 };
static struct experiments *x;
static struct rig_replay rr;
static struct timeline *line;

static regex_t mask;
static size_t nmasks;

static void send_frame(const struct output *out, unsigned at, unsigned n, char c)
{
	const char text[] = { c, c, c, c };
	uint8_t frame[TCP_FRAME];
	struct output sent = *out;

	sent.kind = OUTPUT_NET_TX;
	sent.data = frame;
	sent.len = tcp_frame(frame, false, 80, 1000 + at, ACK, text, n);
	experiments_emit(&x, &sent);
}

/*
 * What the program says on COM1 goes out as TCP: four bytes for each letter. A small one (bit 5)
 * comes in two segments, the second of them twice.
 */
static void emit_segments(void *ctx, const struct output *out)
{
	unsigned at = (out->data[0] & 31u) * 4;
	char c = (char)(out->data[0] & ~32u);

	if (out->data[0] & 32) {
		send_frame(out, at, 1, c);
		send_frame(out, at + 1, 3, c);
		send_frame(out, at + 1, 3, c);
	} else {
		send_frame(out, at, 4, c);
	}
}

static bool as_segments, pruning;
static regex_t detector;
static size_t ndetectors;

static void open_program(const uint8_t *code, const uint8_t *end)
{
	static const uint8_t status[] = { 9 };
	const struct output_sink sink = { .ctx = &x,
					  .emit = as_segments ? emit_segments : experiments_emit };
	struct timeline_config tc = { .spacing = 500 };
	struct experiments_config c = { .bound = 10000,
					.detect_status = status,
					.ndetect_status = 1,
					.detector = &detector,
					.ndetectors = ndetectors,
					.prune = pruning,
					.mask = &mask,
					.nmasks = nmasks };
	struct recorder_stats stats;
	struct rig r;

	rig_code = code;
	rig_code_len = (size_t)(end - code);
	rig_open(&r, &options);
	ck_assert_msg(rig_run(&r, &stats) == 0, "%s", rig_err.text);
	ck_assert_int_eq(r.end, options.stop_count ? MACHINE_ENDED : MACHINE_EXIT);
	rr = (struct rig_replay){ 0 };
	rig_replay_open(&rr, rig_path, &options);
	machine_destroy(rr.m);
	rr.m = rig_machine(NULL, &sink, options.rounds);
	machine_digest(rr.m);
	tc.m = rr.m;
	tc.stream = &rr.stream;
	line = timeline_open(&tc, &rig_err);
	ck_assert_msg(line != NULL, "%s", rig_err.text);
	c.line = line;
	x = experiments_open(&c, rr.m, &rig_err);
	ck_assert_msg(experiments_golden(x, &rig_err) == 0, "%s", rig_err.text);
}

static void close_program(void)
{
	timeline_close(line);
	experiments_close(x);
	x = NULL;
	rig_replay_close(&rr);
	unlink(rig_path);
}

static struct experiment_result run(enum fault_place place, uint64_t index, unsigned bit)
{
	const struct fault f = { .count = WHILE, .place = place, .index = index, .bit = bit };
	struct experiment_result r;

	ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
	return r;
}

/* Every bit of the data, one at a time. */
static void all_flips(uint64_t at, enum outcome want)
{
	for (unsigned i = 0; i < 16 * 8; i++) {
		struct experiment_result r = run(FAULT_MEMORY, at + i / 8, i % 8);

		ck_assert_msg(r.outcome == want, "bit %u: %s", i, outcome_name(r.outcome));
	}
}

START_TEST(triple_redundancy_masks)
{
	open_program(triple_code, triple_end);
	all_flips(0x2000, OUTCOME_NONE);
	all_flips(0x2100, OUTCOME_NONE);
	all_flips(0x2200, OUTCOME_NONE);
	close_program();
}
END_TEST

START_TEST(a_checksum_detects)
{
	struct experiment_result r;

	open_program(sum_code, sum_end);
	all_flips(0x2000, OUTCOME_DETECTED);
	r = run(FAULT_MEMORY, 0x2003, 1);
	ck_assert_uint_eq(r.status, 9);
	ck_assert_uint_lt(r.end_count, experiments_end(x));
	/* The sum itself is data as well. */
	ck_assert_int_eq(run(FAULT_REGISTER, R_RBX, 12).outcome, OUTCOME_DETECTED);
	close_program();
}
END_TEST

START_TEST(without_either_outputs_are_wrong)
{
	open_program(plain_code, plain_end);
	all_flips(0x2000, OUTCOME_WRONG);
	all_flips(0x2100, OUTCOME_LATENT); /* nobody reads these */
	close_program();
}
END_TEST

/* What the other end of a connection reads is compared, not how it was sent. */
START_TEST(connections_are_compared)
{
	as_segments = true;
	open_program(plain_code, plain_end);
	for (unsigned i = 0; i < 16; i++) {
		struct experiment_result r = run(FAULT_MEMORY, 0x2000 + i, 5);

		ck_assert_msg(r.outcome == OUTCOME_LATENT, "%u: %s", i, outcome_name(r.outcome));
		ck_assert_uint_eq(r.first_difference, UINT64_MAX);
		r = run(FAULT_MEMORY, 0x2000 + i, 7);
		ck_assert_msg(r.outcome == OUTCOME_WRONG, "%u: %s", i, outcome_name(r.outcome));
		ck_assert_uint_gt(r.first_difference, WHILE);
	}
	close_program();
	as_segments = false;
}
END_TEST

/* Where the first difference shows, byte by byte. */
START_TEST(the_first_difference_has_a_place)
{
	uint64_t last = WHILE;

	open_program(plain_code, plain_end);
	for (unsigned i = 0; i < 16; i++) {
		struct experiment_result r = run(FAULT_MEMORY, 0x2000 + i, 5);

		ck_assert_uint_gt(r.first_difference, last);
		ck_assert_uint_le(r.first_difference, r.end_count);
		last = r.first_difference;
	}
	ck_assert_uint_eq(run(FAULT_MEMORY, 0x9000, 0).first_difference, UINT64_MAX);
	close_program();
}
END_TEST

START_TEST(registers)
{
	open_program(plain_code, plain_end);
	ck_assert_int_eq(run(FAULT_REGISTER, R_R8, 63).outcome, OUTCOME_LATENT);
	ck_assert_int_eq(run(FAULT_VECTOR, 7, 127).outcome, OUTCOME_LATENT);
	ck_assert_int_eq(run(FAULT_X87, 7, 79).outcome, OUTCOME_LATENT);
	ck_assert_int_eq(run(FAULT_REGISTER, R_RCX, 15).outcome, OUTCOME_HANG);
	ck_assert_int_eq(run(FAULT_REGISTER, R_RAX, 3).outcome, OUTCOME_NONE); /* overwritten */
	ck_assert_int_eq(run(FAULT_FLAGS, 0, 0).outcome, OUTCOME_NONE);
	ck_assert_int_ne(run(FAULT_RIP, 0, 3).outcome, OUTCOME_NONE);
	close_program();
}
END_TEST

/* The same again, in another order and from other checkpoints. */
START_TEST(experiments_repeat)
{
	struct experiment_result first[96];

	open_program(sum_code, sum_end);
	for (int i = 0; i < 96; i++)
		first[i] = run(i % 3 ? FAULT_REGISTER : FAULT_RIP, i % 3 ? (unsigned)i % 16 : 0,
			       (unsigned)i % 16);
	for (int i = 95; i >= 0; i--) {
		struct experiment_result r = run(i % 3 ? FAULT_REGISTER : FAULT_RIP,
						 i % 3 ? (unsigned)i % 16 : 0, (unsigned)i % 16);

		ck_assert_int_eq(r.outcome, first[i].outcome);
		ck_assert_uint_eq(r.end_count, first[i].end_count);
		ck_assert_uint_eq(r.first_difference, first[i].first_difference);
	}
	close_program();
}
END_TEST

START_TEST(nonsense_is_refused)
{
	struct experiment_result r;
	struct fault f = { .count = 1ull << 40, .place = FAULT_FLAGS };

	open_program(plain_code, plain_end);
	ck_assert_int_eq(run(FAULT_FLAGS, 0, 22).outcome, OUTCOME_REFUSED);
	ck_assert_int_eq(run(FAULT_REGISTER, 16, 0).outcome, OUTCOME_REFUSED);
	ck_assert_int_eq(run(FAULT_STUCK, 1ull << 40, 0).outcome, OUTCOME_REFUSED);
	ck_assert_int_eq(run(FAULT_STUCK_RAM, RIG_RAM, 0).outcome, OUTCOME_REFUSED);
	ck_assert_int_eq(run(FAULT_MEMORY, RIG_RAM, 0).outcome, OUTCOME_REFUSED);
	ck_assert_int_lt(experiments_run(x, &f, 1, &r, &rig_err), 0);
	ck_assert_int_eq(run(FAULT_MEMORY, 0x2000, 0).outcome, OUTCOME_WRONG);
	close_program();
}
END_TEST

/* Two bits that keep the sum are not noticed; more than one in a byte are an error as one is. */
START_TEST(several_bits)
{
	struct fault f = { .count = WHILE, .place = FAULT_MEMORY, .index = 0x2003, .width = 2 };
	struct experiment_result r;

	open_program(sum_code, sum_end);
	for (f.bit = 0; f.bit < 7; f.bit++) {
		ck_assert_int_eq(experiments_run(x, &f, 1, &r, &rig_err), 0);
		ck_assert_int_eq(r.outcome, OUTCOME_DETECTED);
	}
	f = (struct fault){ .count = WHILE, .place = FAULT_LINEAR, .index = 0x2003, .bit = 2 };
	ck_assert_int_eq(experiments_run(x, &f, 1, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_DETECTED);
	f.index = 0x7fffffff; /* no RAM */
	ck_assert_int_eq(experiments_run(x, &f, 1, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_REFUSED);
	close_program();
}
END_TEST

/* The while of nothing is a LOOP: without it, the program goes on at once. */
START_TEST(instructions_skipped_and_replaced)
{
	struct experiment_spread s;
	struct experiment_result r;
	struct fault f = { .count = WHILE, .place = FAULT_SKIP };

	open_program(plain_code, plain_end);
	ck_assert_int_eq(experiments_run(x, &f, 1, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_LATENT); /* the count */
	ck_assert_uint_lt(r.end_count, experiments_end(x) - 500);
	f.place = FAULT_REPLACE;
	ck_assert_int_eq(experiments_run(x, &f, 1, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_LATENT);
	ck_assert_uint_lt(r.end_count, experiments_end(x) - 500);
	ck_assert_int_eq(run(FAULT_PAGE_TABLE, 5, 0).outcome, OUTCOME_REFUSED);	 /* no paging */
	ck_assert_int_eq(run(FAULT_PACKET_LOST, 0, 0).outcome, OUTCOME_REFUSED); /* no NIC */
	/* The index that the sends go by: every byte from there on is another. */
	f = (struct fault){ .count = WHILE, .place = FAULT_REGISTER, .index = R_RCX, .bit = 3 };
	ck_assert_int_eq(experiments_spread(x, &f, 1, experiments_end(x), &s, &rig_err), 0);
	ck_assert(!s.found); /* it ends sooner or later, and writes nothing to RAM */
	close_program();
}
END_TEST

/*
 * A tick that is lost is made up for by one more, behind the end of the recording, where timers go
 * on: the outputs are the same. One that nothing has asked for shows.
 */
START_TEST(interrupts)
{
	struct fault f = { .place = FAULT_IRQ_LOST };
	struct experiment_result r;

	open_program(tick_code, tick_end);
	f.count = experiments_end(x) / 2;
	ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
	ck_assert_msg(r.outcome == OUTCOME_LATENT, "%s", outcome_name(r.outcome));
	ck_assert_uint_eq(r.status, 0);
	f.place = FAULT_IRQ_SPURIOUS;
	ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
	ck_assert_msg(r.outcome == OUTCOME_WRONG, "%s", outcome_name(r.outcome));
	ck_assert_uint_ge(r.first_difference, f.count);
	f.count = 2; /* it waits for STI */
	ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
	ck_assert_msg(r.outcome == OUTCOME_WRONG, "%s", outcome_name(r.outcome));
	ck_assert_uint_gt(r.first_difference, 30);
	close_program();
}
END_TEST

/*
 * A timer that goes on for ever wakes nobody when its interrupt is masked, or the one before it has
 * not ended: no count ends that wait, as none goes by.
 */
START_TEST(a_wait_in_vain)
{
	const struct fault masked = { .count = 17, .place = FAULT_REGISTER, .index = R_RAX };
	const struct fault not_ended = { .count = 34, .place = FAULT_SKIP };
	const struct fault *const fault[] = { &masked, &not_ended };
	struct experiment_result r;
	struct experiment_try t;
	struct buf shown = BUF_INIT;

	open_program(tick_code, tick_end);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_msg(experiments_run(x, fault[i], 1, &r, &rig_err) == 0, "%s",
			      rig_err.text);
		ck_assert_msg(r.outcome == OUTCOME_HANG, "%s", outcome_name(r.outcome));
		ck_assert_uint_lt(r.end_count, experiments_end(x));
		ck_assert_int_eq(experiments_try(x, fault[i], 1, &t, &shown, &rig_err), 0);
		ck_assert_int_eq(t.end, MACHINE_SPINNING);
		ck_assert_uint_eq(t.count, r.end_count);
	}
	buf_free(&shown);
	close_program();
}
END_TEST

/* What a mask names is not compared, wherever it comes; what stands around it is. */
START_TEST(masks)
{
	struct fault f = { .place = FAULT_IRQ_SPURIOUS };
	struct experiment_result r;

	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(regcomp(&mask, i ? "!|-" : "\\?", REG_EXTENDED | REG_NEWLINE), 0);
		nmasks = 1;
		open_program(tick_code, tick_end);
		f.count = experiments_end(x) / 2;
		ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
		ck_assert_msg(r.outcome == (i ? OUTCOME_LATENT : OUTCOME_WRONG), "%s",
			      outcome_name(r.outcome));
		ck_assert(i == (r.first_difference == UINT64_MAX));
		close_program();
		regfree(&mask);
	}
	/* Masked bytes before a difference do not move it. */
	ck_assert_int_eq(regcomp(&mask, "A|B", REG_EXTENDED | REG_NEWLINE), 0);
	open_program(plain_code, plain_end);
	ck_assert_int_eq(run(FAULT_MEMORY, 0x2001, 0).outcome, OUTCOME_WRONG); /* B became C */
	r = run(FAULT_MEMORY, 0x2003, 0);
	ck_assert_int_eq(r.outcome, OUTCOME_WRONG);
	close_program();
	nmasks = 0;
	regfree(&mask);
	open_program(plain_code, plain_end);
	ck_assert_uint_eq(run(FAULT_MEMORY, 0x2003, 0).first_difference, r.first_difference);
	close_program();
}
END_TEST

/* The end of a run in the midst of what a mask names is late, and no more than that. */
START_TEST(a_cut_in_what_is_masked)
{
	const struct fault late[] = {
		{ .count = WHILE, .place = FAULT_REGISTER, .index = R_RBX, .bit = 20 },
		{ .count = WHILE, .place = FAULT_REGISTER, .index = R_RSI, .bit = 0 },
		{ .count = WHILE, .place = FAULT_REGISTER, .index = R_RDI, .bit = 1 }
	};
	const struct fault digit[] = { late[0], late[2] };
	static const char *const text[] = { "[0-9]+ ms", "[0-9]+ ms\n", "s$", "never" };
	struct experiment_result r;

	options.stop_count = 8000;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		ck_assert_int_eq(regcomp(&mask, text[i], REG_EXTENDED | REG_NEWLINE), 0);
		nmasks = 1;
		open_program(cut_code, cut_end);
		ck_assert_uint_lt(experiments_end(x), 1 << 20);
		ck_assert_int_eq(experiments_run(x, late, 1, &r, &rig_err), 0);
		ck_assert_msg(r.outcome == OUTCOME_LATE, "%s: %s", text[i],
			      outcome_name(r.outcome));
		ck_assert_int_eq(experiments_run(x, late, 2, &r, &rig_err), 0);
		ck_assert_msg(r.outcome == OUTCOME_WRONG, "%s: %s", text[i],
			      outcome_name(r.outcome));
		ck_assert_int_eq(experiments_run(x, digit, 2, &r, &rig_err), 0);
		ck_assert_msg(r.outcome == (i < 2 ? OUTCOME_LATE : OUTCOME_WRONG), "%s: %s",
			      text[i], outcome_name(r.outcome));
		close_program();
		regfree(&mask);
	}
	nmasks = 0;
	options.stop_count = 0;
}
END_TEST

START_TEST(a_golden_run_that_does_not_repeat)
{
	const struct moment begin = { 0 };
	struct experiments_config c = { .bound = 1000 };
	struct experiments *other;
	struct err why = ERR_INIT;

	open_program(plain_code, plain_end);
	c.line = line;
	ck_assert_int_eq(timeline_seek(line, &begin, &rig_err), TIMELINE_THERE);
	ck_assert(memory_write(machine_memory(rr.m), 0x5000, "x", 1));
	other = experiments_open(&c, rr.m, &rig_err);
	ck_assert_int_eq(experiments_golden(other, &why), -EILSEQ);
	ck_assert_msg(strstr(why.text, "the golden run does not repeat"), "%s", why.text);
	ck_assert_msg(strstr(why.text, "at count"), "%s", why.text);
	experiments_close(other);
	close_program();
}
END_TEST

/* Two copies of three that are wrong in the same bit outvote the third. */
START_TEST(two_at_once)
{
	const struct fault two[] = {
		{ .count = WHILE, .place = FAULT_MEMORY, .index = 0x2003, .bit = 1 },
		{ .count = WHILE, .place = FAULT_MEMORY, .index = 0x2103, .bit = 1 },
		{ .count = WHILE, .place = FAULT_MEMORY, .index = 0x2103, .bit = 2 }
	};
	const struct fault other[] = { two[0], two[2] }, refused[] = { two[0], { .bit = 64 } };
	struct experiment_result r;

	open_program(triple_code, triple_end);
	ck_assert_int_eq(experiments_run(x, two, 1, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_NONE);
	ck_assert_int_eq(experiments_run(x, other, 2, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_NONE);
	ck_assert_int_eq(experiments_run(x, two, 2, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_WRONG);
	ck_assert_int_eq(experiments_run(x, refused, 2, &r, &rig_err), 0);
	ck_assert_int_eq(r.outcome, OUTCOME_REFUSED);
	close_program();
}
END_TEST

static enum outcome stuck(enum fault_place place, uint64_t index, unsigned bit, uint64_t amount)
{
	const struct fault f = {
		.count = WHILE, .place = place, .index = index, .bit = bit, .amount = amount
	};
	struct experiment_result r;

	ck_assert_msg(experiments_run(x, &f, 1, &r, &rig_err) == 0, "%s", rig_err.text);
	return r.outcome;
}

/* What is written over a bit that stays as it is does not mend it, unless it stays no longer. */
START_TEST(bits_that_stay)
{
	open_program(triple_code, triple_end);
	ck_assert_int_eq(stuck(FAULT_STUCK_RAM, 0x2003, 1, 1000000), OUTCOME_LATENT);
	ck_assert_int_eq(stuck(FAULT_STUCK_RAM, 0x2003, 1, 10), OUTCOME_NONE);
	close_program();
	open_program(sum_code, sum_end);
	ck_assert_int_eq(stuck(FAULT_STUCK_RAM, 0x2103, 1, 1000000), OUTCOME_LATENT);
	ck_assert_int_eq(stuck(FAULT_STUCK_RAM, 0x2003, 1, 1000000), OUTCOME_DETECTED);
	close_program();
	open_program(plain_code, plain_end);
	ck_assert_int_eq(run(FAULT_REGISTER, R_RAX, 3).outcome, OUTCOME_NONE);
	ck_assert_int_eq(stuck(FAULT_STUCK, R_RAX, 3, 1000000), OUTCOME_WRONG);
	ck_assert_int_eq(stuck(FAULT_STUCK, R_RAX, 3, 10), OUTCOME_NONE);
	close_program();
}
END_TEST

/* Pages that somebody uses: those with the program, its data, and the area of the BIOS. */
START_TEST(used_memory)
{
	struct experiment_spread s;
	const struct fault f = { .count = WHILE, .place = FAULT_USED, .index = 5 * PAGE_SIZE + 3 };

	open_program(plain_code, plain_end);
	for (unsigned page = 0; page < 8; page++)
		ck_assert_int_ne(run(FAULT_USED, page * PAGE_SIZE + 0x3f, 1).outcome,
				 OUTCOME_REFUSED);
	ck_assert_int_eq(run(FAULT_PROCESS, 0, 0).outcome, OUTCOME_REFUSED); /* no paging */
	ck_assert_int_eq(experiments_spread(x, &f, 1, experiments_end(x), &s, &rig_err), 0);
	close_program();
}
END_TEST

static uint64_t byte_of_process(uint64_t index)
{
	const struct fault f = { .place = FAULT_PROCESS, .index = index, .bit = 5 };
	struct input in[8];

	ck_assert_uint_eq(fault_inputs(&f, rr.m, in, 8), 1);
	ck_assert_uint_eq(in[0].a, CONTROL_FLIP_BIT);
	ck_assert_uint_eq(in[0].b % 8, 5);
	return in[0].b / 8;
}

/* Any byte of a page of 2 MiB, and of one of 4 KiB. */
START_TEST(large_pages)
{
	const uint64_t down[] = { 0x11007, 0x12007, 0x87 }, table = 0x13007, page = 0x14007;
	struct engine *e;
	struct cpu_state s;

	open_program(plain_code, plain_end);
	e = machine_engine(rr.m);
	e->ops->get_state(e, &s);
	s.cr0 |= CR0_PG | 1;
	s.cr4 |= CR4_PAE;
	s.efer |= EFER_LMA | EFER_LME;
	s.cr3 = 0x10000;
	ck_assert_int_eq(e->ops->set_state(e, &s, &rig_err), 0);
	for (unsigned level = 0; level < 3; level++)
		ck_assert(memory_write(machine_memory(rr.m), 0x10000 + level * PAGE_SIZE,
				       &down[level], 8));
	ck_assert_uint_eq(byte_of_process(3), 3);
	ck_assert_uint_eq(byte_of_process(0x5003), 0x5003);
	ck_assert_uint_eq(byte_of_process(0x1fffff), 0x1fffff);
	ck_assert_uint_eq(byte_of_process(0x205003), 0x5003);
	ck_assert(memory_write(machine_memory(rr.m), 0x12000, &table, 8));
	ck_assert(memory_write(machine_memory(rr.m), 0x13000, &page, 8));
	ck_assert_uint_eq(byte_of_process(0x5003), 0x14003);
	close_program();
}
END_TEST

/* Faults where something happens, at counts that follow from the program. */
static regex_t output;

static size_t moments_of(enum when kind, uint64_t address, uint64_t nth, uint64_t *first)
{
	struct experiments_config c = {
		.bound = 1000, .line = line, .when_output = &output, .when = { kind, address, nth }
	};
	const struct moment begin = { 0 };
	struct experiments *of;
	const struct experiment_moment *list;
	size_t n;

	ck_assert_int_eq(timeline_seek(line, &begin, &rig_err), TIMELINE_THERE);
	of = experiments_open(&c, rr.m, &rig_err);
	experiments_close(x); /* what comes out is this one's */
	x = of;
	ck_assert_msg(experiments_golden(of, &rig_err) == 0, "%s", rig_err.text);
	list = experiments_moments(of, &n);
	for (size_t i = 1; i < n; i++)
		ck_assert_uint_gt(list[i].count, list[i - 1].count);
	*first = n ? list[0].count : 0;
	return n;
}

/* Every other sync point brings a packet on each of two NICs: frame 4 is the third on the first. */
START_TEST(when_a_packet_comes)
{
	struct packet_pattern pattern;
	struct experiments_config c = { .bound = 1000,
					.when = { .kind = WHEN_PACKET },
					.when_packet = &pattern };
	const struct moment begin = { 0 };
	struct experiments *of;
	const struct experiment_moment *list;
	size_t all, n;
	uint64_t third;

	rig_nics = 2;
	open_program(plain_code, plain_end);
	c.line = line;
	for (unsigned i = 0; i < 4; i++) {
		static const char *const text[] = { "'frame' 20 ??", "'frame 4'", "'frame' 20 ??",
						    "'frame 5'" };

		ck_assert(packet_pattern_parse(&pattern, text[i]));
		pattern.at = i == 2 ? 13 : UINT64_MAX;
		ck_assert_int_eq(timeline_seek(line, &begin, &rig_err), TIMELINE_THERE);
		of = experiments_open(&c, rr.m, &rig_err);
		ck_assert_int_eq(experiments_golden(of, &rig_err), i == 2 ? -EINVAL : 0);
		list = experiments_moments(of, &n);
		if (i == 0) {
			all = n;
			ck_assert_uint_gt(n, 2);
			third = list[4].count;
			ck_assert_uint_eq(list[5].count, third);
		} else if (i % 2) {
			ck_assert_uint_eq(n, 1);
			ck_assert_uint_eq(list[0].count, third);
			ck_assert_uint_eq(list[0].nic, i / 2);
			ck_assert_uint_eq(list[0].packet, 1 + i / 2);
		} else { /* nowhere else in the frame */
			ck_assert_uint_eq(n, 0);
		}
		experiments_close(of);
	}
	ck_assert_uint_lt(all, 20);
	close_program();
	rig_nics = 0;
}
END_TEST

START_TEST(when_something_happens)
{
	uint64_t first, third;

	open_program(plain_code, plain_end);
	ck_assert_uint_eq(moments_of(WHEN_ACCESSED, 0x2003, 0, &first), 2); /* filled, sent */
	ck_assert_uint_lt(first, WHILE);
	ck_assert_uint_eq(moments_of(WHEN_EXECUTED, 0x7c02, 0, &first), 1);
	ck_assert_uint_eq(first, 1); /* the second instruction */
	ck_assert_uint_eq(moments_of(WHEN_ACCESSED, 0x2003, 2, &third), 1);
	ck_assert_uint_gt(third, WHILE);
	close_program();
}
END_TEST

/* The n-th line is that of all consoles, in the order in which they came. */
START_TEST(when_a_line_is_shown)
{
	uint64_t first, nth, last = 0;

	ck_assert_int_eq(regcomp(&output, "^A+$", REG_EXTENDED | REG_NOSUB), 0);
	open_program(lines_code, lines_end);
	ck_assert_uint_eq(moments_of(WHEN_OUTPUT, 0, 0, &first), 4);
	for (unsigned n = 1; n <= 4; n++) {
		ck_assert_uint_eq(moments_of(WHEN_OUTPUT, 0, n, &nth), 1);
		ck_assert_uint_gt(nth, last);
		ck_assert(n > 1 || nth == first);
		last = nth;
	}
	close_program();
	regfree(&output);
}
END_TEST

/* Flips in RAM whose fates were foreseen: the outcomes by number, of those that were pruned. */
static void all_are_as_run(const struct fault *f, size_t n, unsigned pruned[OUTCOMES])
{
	memset(pruned, 0, OUTCOMES * sizeof(*pruned));
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(experiments_expect(x, &f[i], &rig_err) == 0, "%s", rig_err.text);
	ck_assert_msg(experiments_foresee(x, &rig_err) == 0, "%s", rig_err.text);
	for (size_t i = 0; i < n; i++) {
		struct experiment_result r;

		ck_assert_msg(experiments_run(x, &f[i], 1, &r, &rig_err) == 0, "%s", rig_err.text);
		if (!r.pruned)
			continue;
		pruned[r.outcome]++;
		ck_assert_msg(experiments_verify(x, &f[i], &r, &rig_err) == 0,
			      "byte 0x%llx at %llu: %s", (unsigned long long)f[i].index,
			      (unsigned long long)f[i].count, rig_err.text);
		r.outcome = r.outcome == OUTCOME_NONE ? OUTCOME_LATENT : OUTCOME_NONE;
		ck_assert_int_eq(experiments_verify(x, &f[i], &r, &rig_err), -EILSEQ);
	}
}

/* The data and its copies, before they are filled, while, and behind; and all of the code. */
static size_t flips_in_ram(struct fault *f, const uint8_t *code, const uint8_t *end)
{
	static const uint64_t counts[] = { 2, 40, WHILE, 2110 };
	size_t n = 0;

	for (unsigned c = 0; c < 4; c++) {
		for (uint64_t i = 0; i < 3 * 18; i++)
			f[n++] = (struct fault){ .count = counts[c],
						 .place = FAULT_MEMORY,
						 .index = 0x1fff + i / 18 * 0x100 + i % 18,
						 .bit = (unsigned)i % 8,
						 .width = 1 + (unsigned)i % 3 };
		for (uint64_t i = 0; i < (uint64_t)(end - code); i += 7)
			f[n++] = (struct fault){ .count = counts[c],
						 .place = FAULT_MEMORY,
						 .index = 0x7c00 + i };
	}
	return n;
}

START_TEST(ram_that_nobody_reads_needs_no_run)
{
	static struct fault f[1000];
	unsigned pruned[OUTCOMES];
	size_t n;

	pruning = true;
	open_program(triple_code, triple_end);
	n = flips_in_ram(f, triple_code, triple_end);
	all_are_as_run(f, n, pruned);
	ck_assert_uint_gt(pruned[OUTCOME_NONE], 40);
	ck_assert_uint_gt(pruned[OUTCOME_LATENT], 10);
	close_program();
	open_program(sum_code, sum_end);
	n = flips_in_ram(f, sum_code, sum_end);
	all_are_as_run(f, n, pruned);
	ck_assert_uint_gt(pruned[OUTCOME_NONE], 40);
	ck_assert_uint_gt(pruned[OUTCOME_LATENT], 90); /* nobody reads the copies */
	ck_assert_uint_eq(pruned[OUTCOME_DETECTED], 0);
	close_program();
	/* A detector that matches in any case. */
	ck_assert_int_eq(regcomp(&detector, "ABC", REG_EXTENDED | REG_NOSUB), 0);
	ndetectors = 1;
	open_program(plain_code, plain_end);
	n = flips_in_ram(f, plain_code, plain_end);
	all_are_as_run(f, n, pruned);
	ck_assert_uint_gt(pruned[OUTCOME_DETECTED], 100);
	close_program();
	regfree(&detector);
	ndetectors = 0;
	pruning = false;
}
END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, triple_redundancy_masks);
	tcase_add_test(tc, a_checksum_detects);
	tcase_add_test(tc, without_either_outputs_are_wrong);
	tcase_add_test(tc, connections_are_compared);
	tcase_add_test(tc, the_first_difference_has_a_place);
	tcase_add_test(tc, registers);
	tcase_add_test(tc, experiments_repeat);
	tcase_add_test(tc, nonsense_is_refused);
	tcase_add_test(tc, several_bits);
	tcase_add_test(tc, instructions_skipped_and_replaced);
	tcase_add_test(tc, interrupts);
	tcase_add_test(tc, a_wait_in_vain);
	tcase_add_test(tc, masks);
	tcase_add_test(tc, a_cut_in_what_is_masked);
	tcase_add_test(tc, two_at_once);
	tcase_add_test(tc, a_golden_run_that_does_not_repeat);
	tcase_add_test(tc, bits_that_stay);
	tcase_add_test(tc, used_memory);
	tcase_add_test(tc, large_pages);
	tcase_add_test(tc, ram_that_nobody_reads_needs_no_run);
	tcase_add_test(tc, when_something_happens);
	tcase_add_test(tc, when_a_packet_comes);
	tcase_add_test(tc, when_a_line_is_shown);
}

UNIT_MAIN("experiment", add)
