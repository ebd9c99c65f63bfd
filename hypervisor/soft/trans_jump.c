/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host code of jumps.
 *
 * A jump inside its page is a host jump, patched in once both blocks are translated. One whose
 * distance is known and that leaves the page is too, behind a gate and a check: the ITLB has to
 * hold the target's page, with the physical page that the target was linked in. Any other looks its
 * target up in the jump cache. An entry whose key is cpu->jump_key is enough: the ITLB still has
 * all that it had when the entry was looked through the last time, in the mode that runs.
 */
#include "hypervisor/soft/integer.h"
#include "hypervisor/soft/trans_op.h"

_Static_assert(sizeof(struct jump_entry) == 32 && sizeof(struct itlb_entry) == 16, "shifts");

#define ENTRY_LIN HOST_MEM(H_S1, offsetof(struct jump_entry, lin))
#define ENTRY_RUN HOST_MEM(H_S1, offsetof(struct jump_entry, run))
#define ENTRY_KEY HOST_MEM(H_S1, offsetof(struct jump_entry, key))

/* Linear address of an offset from the start of the page to H_S0. */
static void page_address(struct tr *tr, int64_t off)
{
	emit_load(tr->e, H_S0, CPU_FIELD(page_lin));
	emit_rm(tr->e, 3, 0x8d, H_S0, HOST_MEM(H_S0, (int32_t)off));
}

void trans_jump_entry(struct emit *e, unsigned to)
{
	emit_move(e, 3, to, H_S0);
	emit_rr(e, 3, 0xc1, 5, to); /* SHR */
	emit8(e, JUMP_BITS);
	emit_rr(e, 3, 0x31, H_S0, to);
	emit_alu_imm(e, ALU_AND, 2, to, JUMP_SIZE - 1);
	emit_rr(e, 2, 0xc1, 4, to); /* SHL */
	emit8(e, 5);
	emit_rm(e, 3, 0x03, to, CPU_FIELD(blocks));
}

/*
 * The jump cache's entry of the address in H_S0, with the code of its block, to H_S1; to cold code
 * when there is none at hand. H_S0 is lost.
 */
static void look_up(struct tr *tr)
{
	struct emit *e = tr->e;
	struct cold *other, *stale;

	trans_jump_entry(e, H_S1);
	emit_rm(e, 3, 0x3b, H_S0, ENTRY_LIN);
	other = trans_cold(tr, emit_jcc(e, 5), COLD_FIND);
	emit_load(e, H_S0, CPU_FIELD(jump_key));
	emit_rm(e, 3, 0x3b, H_S0, ENTRY_KEY);
	stale = trans_cold(tr, emit_jcc(e, 5), COLD_FIND_AGAIN);
	other->back = stale->back = e->at;
}

/* Goes on with the entry in H_S1. */
static void jump_found(struct tr *tr)
{
	emit_load(tr->e, H_S0, ENTRY_LIN);
	emit_alu_imm(tr->e, ALU_AND, 3, H_S0, -(int32_t)PAGE_SIZE);
	emit_store(tr->e, H_S0, CPU_FIELD(page_lin));
	emit_rm(tr->e, 2, 0xff, 4, ENTRY_RUN); /* JMP */
}

static int64_t page_offset(const struct tr *tr, uint64_t from_start)
{
	return (int64_t)((tr->b->gpa & ~PAGE_MASK) + from_start);
}

static bool is_near(int64_t off)
{
	return off >= 0 && off < (int64_t)PAGE_SIZE;
}

/*
 * A jump that is taken when the ITLB does not have the linear page in H_S0 at this physical page;
 * the physical page's number stands at `at` in the code. Changes H_S1.
 */
static uint8_t *compare_page(struct tr *tr, uint64_t gpa, uint32_t *at)
{
	struct emit *e = tr->e;
	bool user = tr->b->mode & MODE_USER;
	struct host_mem entry = { H_CPU, H_S1, 0,
				  (int32_t)offsetof(struct cpu, itlb[user][0].tag) };
	uint8_t *other;

	emit_move(e, 2, H_S1, H_S0);
	emit_rr(e, 2, 0xc1, 5, H_S1); /* SHR */
	emit8(e, PAGE_SHIFT - 4);
	emit_alu_imm(e, ALU_AND, 2, H_S1, (TLB_SIZE - 1) << 4);
	emit_rm(e, 3, 0x3b, H_S0, entry);
	other = emit_jcc(e, 5);
	entry.disp = (int32_t)offsetof(struct cpu, itlb[user][0].gpa);
	emit_load(e, H_S1, entry);
	emit_rr(e, 3, 0xc1, 5, H_S1);
	emit8(e, PAGE_SHIFT);
	emit_rr(e, 2, 0x81, ALU_CMP, H_S1);
	*at = trans_offset_of(tr, e->at);
	emit32(e, (uint32_t)(gpa >> PAGE_SHIFT));
	emit_aim(other, e->at); /* to a jump that is taken then too */
	return emit_jcc(e, 5);
}

void trans_check_cross(struct tr *tr)
{
	uint32_t at;

	page_address(tr, (int64_t)PAGE_SIZE);
	trans_cold(tr, compare_page(tr, tr->b->gpa2, &at), COLD_RESUME);
}

/* ---- known distances ---- */
static void jump_cold(struct tr *tr, uint8_t *site, enum cold_kind kind, enum block_way way,
		      int64_t off)
{
	struct cold *c = trans_cold(tr, site, kind);

	c->way = (int8_t)way;
	c->target = off;
}

/*
 * Emits the gate, and the check of the ITLB, in front of a jump to another page. Leaves the
 * target's linear page in H_S0. A miss goes to cold code of that kind.
 */
static void far_check(struct tr *tr, enum block_way way, int64_t off, enum cold_kind miss)
{
	uint32_t page;

	tr->b->t.gate[way] = trans_offset_of(tr, tr->e->at);
	jump_cold(tr, emit_jmp(tr->e), COLD_LINK, way, off);
	page_address(tr, off & (int64_t)PAGE_MASK);
	jump_cold(tr, compare_page(tr, 0, &page), miss, way, off);
	tr->b->t.page[way] = page;
}

/* A jump that way is at `site`. */
static void jump_way(struct tr *tr, uint8_t *site, enum block_way way, uint64_t from_start)
{
	int64_t off = page_offset(tr, from_start);

	if (is_near(off)) {
		tr->b->t.site[way] = trans_offset_of(tr, site);
		tr->b->t.target[way] = (uint16_t)off;
		jump_cold(tr, site, COLD_RESUME, way, off);
	} else if (off == (int32_t)off) {
		jump_cold(tr, site, COLD_FAR, way, off);
	} else {
		trans_cold(tr, site, COLD_RESUME);
	}
}

void trans_jcc(struct tr *tr)
{
	trans_need_host(tr, tr->op->reads);
	jump_way(tr, emit_jcc(tr->e, tr->op->sub), BLOCK_TAKEN, tr->op->imm);
	jump_way(tr, emit_jmp(tr->e), BLOCK_ON, tr->b->bytes);
}

void trans_jmp(struct tr *tr)
{
	jump_way(tr, emit_jmp(tr->e), BLOCK_TAKEN, tr->op->imm);
}

void trans_jump_on(struct tr *tr)
{
	jump_way(tr, emit_jmp(tr->e), BLOCK_ON, tr->b->bytes);
}

/* The return address is pushed. */
static void push_next(struct tr *tr)
{
	struct host_mem m = trans_probe(tr, trans_stack_at(R_RSP, -8), 8, 1, true, COLD_RESUME);

	page_address(tr, page_offset(tr, tr->b->bytes));
	emit_store(tr->e, H_S0, m);
	trans_move_stack(tr, R_RSP, -8);
}

/* The target is in H_S0. */
static void call_found(struct tr *tr)
{
	look_up(tr);
	emit_load(tr->e, H_S0, ENTRY_RUN);
	emit_store(tr->e, H_S0, HOST_STACK_SLOT(0));
	emit_load(tr->e, H_S0, ENTRY_LIN);
	emit_alu_imm(tr->e, ALU_AND, 3, H_S0, -(int32_t)PAGE_SIZE);
	emit_store(tr->e, H_S0, HOST_STACK_SLOT(1));
	push_next(tr);
	emit_load(tr->e, H_S0, HOST_STACK_SLOT(1));
	emit_store(tr->e, H_S0, CPU_FIELD(page_lin));
	emit_rm(tr->e, 2, 0xff, 4, HOST_STACK_SLOT(0));
}

static void call_far(struct tr *tr, int64_t off)
{
	far_check(tr, BLOCK_TAKEN, off, COLD_FAR_CALL);
	push_next(tr);
	emit_alu_imm_mem(tr->e, ALU_ADD, 3, CPU_FIELD(page_lin),
			 (int32_t)(off & (int64_t)PAGE_MASK));
	tr->b->t.site[BLOCK_TAKEN] = trans_offset_of(tr, emit_jmp(tr->e));
}

void trans_near_call(struct tr *tr)
{
	int64_t off = page_offset(tr, tr->op->imm);
	uint8_t *gate;

	if (is_near(off)) {
		gate = emit_jmp(tr->e);
		trans_cold(tr, gate, COLD_RESUME);
		tr->b->t.gate[BLOCK_TAKEN] = trans_offset_of(tr, gate - 1);
		push_next(tr);
		jump_way(tr, emit_jmp(tr->e), BLOCK_TAKEN, tr->op->imm);
	} else if (off == (int32_t)off) {
		call_far(tr, off);
	} else {
		trans_cold(tr, emit_jmp(tr->e), COLD_RESUME);
	}
}

/* ---- others ---- */
/* The target to H_S0. */
static void load_target(struct tr *tr)
{
	unsigned from;

	if (tr->op->form == FORM_RM) {
		emit_load(tr->e, H_S0,
			  trans_probe(tr, trans_operand(tr), 8, 1, false, COLD_RESUME));
		return;
	}
	from = use(tr, tr->op->r0, H_S0);
	if (from != H_S0)
		emit_move(tr->e, 3, H_S0, from);
}

void trans_jmp_to(struct tr *tr)
{
	load_target(tr);
	look_up(tr);
	jump_found(tr);
}

void trans_near_call_to(struct tr *tr)
{
	load_target(tr);
	call_found(tr);
}

void trans_near_ret(struct tr *tr)
{
	emit_load(tr->e, H_S0, trans_probe(tr, trans_stack_at(R_RSP, 0), 8, 1, false, COLD_RESUME));
	look_up(tr);
	trans_move_stack(tr, R_RSP, 8);
	jump_found(tr);
}

/* ---- cold code ---- */
static void cold_far(struct tr *tr, const struct cold *c)
{
	enum block_way way = (enum block_way)c->way;

	far_check(tr, way, c->target, COLD_FAR_MISS);
	emit_store(tr->e, H_S0, CPU_FIELD(page_lin));
	tr->b->t.site[way] = trans_offset_of(tr, emit_jmp(tr->e));
}

static void cold_find(struct tr *tr, const struct cold *c)
{
	trans_shared_call(tr, tr->t->shared.lookup[!!(tr->b->mode & MODE_USER)]);
	emit_rr(tr->e, 3, 0x85, H_S1, H_S1); /* TEST */
	trans_cold(tr, emit_jcc(tr->e, 4), COLD_RESUME);
	emit_aim(emit_jmp(tr->e), c->back);
}

void trans_cold_jump(struct tr *tr, const struct cold *c)
{
	switch ((enum cold_kind)c->kind) {
	case COLD_FAR:
		cold_far(tr, c);
		break;
	case COLD_FAR_MISS:
		page_address(tr, c->target);
		look_up(tr);
		jump_found(tr);
		break;
	case COLD_FAR_CALL:
		page_address(tr, c->target);
		call_found(tr);
		break;
	case COLD_LINK:
		tr->b->t.stub[c->way] = trans_offset_of(tr, tr->e->at);
		trans_name_op(tr, c->op | (unsigned)c->way << 8);
		trans_shared_jump(tr, tr->t->shared.link);
		break;
	case COLD_FIND_AGAIN:
		emit_load(tr->e, H_S0, ENTRY_LIN);
		cold_find(tr, c);
		break;
	case COLD_FIND:
		cold_find(tr, c);
		break;
	case COLD_CALL:
	case COLD_RESUME:
	case COLD_HOLD:
	case COLD_WORN:
		break;
	}
}
