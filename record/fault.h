/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults of a machine that follows a recording. Every fault is made of inputs, so that a machine
 * with a fault can be recorded as any other. Faults of hardware are flips of bits
 * (CONTROL_FLIP_*), at places that are looked up in the machine's state. Faults of the environment
 * are changed inputs of the record, and some more inputs.
 */
#ifndef RECORD_FAULT_H
#define RECORD_FAULT_H

#include "hypervisor/machine.h"

enum fault_place {
	FAULT_REGISTER, /* index: enum gpr */
	FAULT_FLAGS,	/* RFLAGS */
	FAULT_RIP,
	FAULT_VECTOR,	  /* index: XMM register */
	FAULT_X87,	  /* index: ST register */
	FAULT_MEMORY,	  /* index: byte of RAM, by offset in the memfd */
	FAULT_LINEAR,	  /* index: byte of RAM, by the linear address that it has there */
	FAULT_PAGE_TABLE, /* index: any number, which chooses among the entries in use */
	FAULT_TLB,	  /* ... a translation that the TLB holds; a bit of its page frame */
	FAULT_USED,	  /* ... a byte of a page of RAM that is not all zero */
	FAULT_PROCESS,	  /* ... a byte of a page that the running process has */
	FAULT_STUCK,	  /* index: enum gpr; flips, and stays so for `amount` instructions */
	FAULT_STUCK_RAM,  /* index: byte of RAM */
	FAULT_SKIP,	  /* the next instruction is not executed */
	FAULT_REPLACE,	  /* its bytes become NOPs, for good */
	/* The environment; index: number of the NIC or disk. */
	FAULT_PACKET_LOST, /* the next one that arrives */
	FAULT_PACKET_TWICE,
	FAULT_PACKET_LATE,    /* by `amount` instructions */
	FAULT_PACKET_SWAPPED, /* with the one behind it */
	FAULT_PACKET_CORRUPT, /* index: NIC; bit: modulo its length */
	FAULT_LINK_DOWN,      /* for `amount` instructions */
	FAULT_CLOCK_JUMP,     /* forward, by `amount` ns */
	FAULT_CLOCK_FAST,     /* by `amount` parts in a million from there on */
	FAULT_CLOCK_SLOW,     /* by `amount` parts in a million */
	FAULT_CLOCK_STOP,     /* for `amount` ns, then it jumps to where it would be */
	FAULT_DISK_ERROR,     /* of the next request that is under way; amount: errno */
	FAULT_DISK_SLOW,      /* what it is asked next takes `amount` ns more */
	FAULT_DISK_FULL,      /* every write fails for `amount` instructions */
	FAULT_DISK_LOST,      /* the next write: it is not done, and the guest is told it was */
	FAULT_DISK_TORN,      /* ... half done */
	FAULT_DISK_ASTRAY,    /* ... done behind its place */
	FAULT_DISK_ROT,	      /* index: byte of the first disk; a bit of what is stored */
	FAULT_RESET,	      /* the machine starts again, by its firmware; or ends */
	FAULT_NMI,	      /* a non-maskable interrupt without a cause */
	FAULT_IRQ_LOST,	      /* the next interrupt */
	FAULT_IRQ_SPURIOUS,   /* as soon as the CPU takes one */
	FAULT_PRESSURE,	      /* the balloon asks for `amount` pages */
	/* A pair of two live replicas; nothing of a recording. */
	FAULT_PRIMARY_KILLED,
	FAULT_BACKUP_KILLED,
	FAULT_PRIMARY_STOPPED, /* for `amount` ms */
	FAULT_BACKUP_STOPPED,
	FAULT_PAIR_CUT,	       /* nothing arrives for `amount` ms, and then all of it */
	FAULT_PRIMARY_DIFFERS, /* index: byte of its RAM */
	FAULT_BACKUP_DIFFERS,
	/* Of a recording again. */
	FAULT_POWER, /* disks have caches for `amount` instructions; then the power fails. index:
			seed */
	FAULT_PLACES
};

struct fault {
	uint64_t count; /* done at this boundary, before the next instruction */
	enum fault_place place;
	uint64_t index;
	unsigned bit;	 /* from 0, below fault_bits(): the first that flips */
	unsigned width;	 /* number of adjacent bits that flip; 0 means 1 */
	uint64_t amount; /* its meaning depends on the place */
	/*
	 * Of a packet's: done to this one alone of those that the record has at the count behind
	 * `count`, by number from 1; 0: to the next one that arrives on the NIC.
	 */
	unsigned packet;
};

/* Bits of one register or byte of a place; 1 where there is nothing to flip. */
unsigned fault_bits(enum fault_place place);
const char *fault_place_name(enum fault_place place);
/* The highest index of a place in a machine of so many bytes, NICs and disks; false: none. */
bool fault_last(enum fault_place place, const struct machine_config *c, uint64_t *last);
/* The default amount; 0: faults of this place have none. */
uint64_t fault_amount(enum fault_place place);
/* True: the fault flips bits, as faults of hardware do. */
bool fault_is_hardware(enum fault_place place);
bool fault_is_packet(enum fault_place place);
bool fault_is_of_pair(enum fault_place place);
/* Number of adjacent bits that flip. */
unsigned fault_width(const struct fault *f);
/* "register 3, bit 17", in words for a person. */
void fault_say(const struct fault *f, char *text, size_t n);
/*
 * A fault that stays: its bits before it is done; and later the inputs that flip them again
 * whenever they have the old value.
 */
bool fault_stays(enum fault_place place);
uint64_t fault_bits_now(const struct fault *f, struct machine *m);
size_t fault_renew(const struct fault *f, struct machine *m, uint64_t before, struct input *in,
		   size_t max);
/* The input that ends the fault, `amount` instructions later; false: no input does. */
bool fault_ends(const struct fault *f, struct input *in);
/*
 * The inputs that make the fault in the machine's present state; 0: the fault is impossible. A
 * fault of the environment may have no input of its own, because it changes inputs that the record
 * brings later.
 */
size_t fault_inputs(const struct fault *f, struct machine *m, struct input *in, size_t max);
/* True: the fault has no inputs of its own in this machine, but changes inputs of the record. */
bool fault_waits(const struct fault *f, const struct machine *m);

#endif
