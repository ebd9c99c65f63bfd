/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A performance monitoring unit for Bochs, put into its source by patch.py: architectural version 3
 * as CPUID of the emulated processor claims it. Fixed counter 0 counts retired instructions; the
 * other counters only keep what is written to them. The overflow interrupt comes a random number of
 * instructions late, as on real processors. Environment:
 *
 *   BOCHS_PMU_SKID   the most instructions that it is late (40)
 *   BOCHS_PMU_LOSE   every so many interrupts one is lost (0: none)
 */
#ifndef TWINSTEP_BOCHS_PMU_H
#define TWINSTEP_BOCHS_PMU_H

#include <stdlib.h>

#define PMU_GP	       4
#define PMU_FIXED      3
#define PMU_MASK       ((1ull << 48) - 1)
#define PMU_FIXED0_BIT (1ull << 32)

struct bochs_pmu {
	unsigned long long sel[PMU_GP], gp[PMU_GP], fixed[PMU_FIXED], fixed_ctrl, global_ctrl,
		status;
	bool on;	     /* fixed counter 0 counts something */
	bool watch;	     /* `on`, or an interrupt is under way */
	unsigned late;	     /* instructions until it comes, plus one; 0: none */
	unsigned interrupts; /* so far */
	unsigned random;

	void update()
	{
		on = (global_ctrl & PMU_FIXED0_BIT) && (fixed_ctrl & 3);
		watch = on || late;
	}

	static unsigned option(const char *name, unsigned otherwise)
	{
		const char *value = getenv(name);

		return value ? (unsigned)atoi(value) : otherwise;
	}

	/* The interrupt gets under way. */
	void overflow()
	{
		static const unsigned skid = option("BOCHS_PMU_SKID", 40),
				      lose = option("BOCHS_PMU_LOSE", 0);

		status |= PMU_FIXED0_BIT;
		if (!(fixed_ctrl & 8) || late)
			return;
		if (lose && ++interrupts % lose == 0)
			return;
		random = random * 1103515245u + 12345u;
		late = 1 + (random >> 8) % (skid + 1);
		watch = true;
	}

	/*
	 * An instruction has retired; counted: the counter was on before it and is on now. True:
	 * interrupt now.
	 */
	bool retired(bool counted, unsigned cpl)
	{
		if (counted && on && (fixed_ctrl & (cpl ? 2 : 1))) {
			fixed[0] = (fixed[0] + 1) & PMU_MASK;
			if (!fixed[0])
				overflow();
		}
		if (!late || --late)
			return false;
		update();
		return true;
	}

	unsigned long long *slot(unsigned index)
	{
		if (index >= 0xc1 && index < 0xc1 + PMU_GP)
			return &gp[index - 0xc1];
		if (index >= 0x186 && index < 0x186 + PMU_GP)
			return &sel[index - 0x186];
		if (index >= 0x309 && index < 0x309 + PMU_FIXED)
			return &fixed[index - 0x309];
		return index == 0x38d	? &fixed_ctrl
		       : index == 0x38e ? &status
		       : index == 0x38f ? &global_ctrl
					: NULL;
	}

	template <typename T> bool rdmsr(unsigned index, T *value)
	{
		unsigned long long *s = slot(index);

		if (!s && index != 0x390)
			return false;
		*value = s ? *s : 0;
		return true;
	}

	bool wrmsr(unsigned index, unsigned long long value)
	{
		unsigned long long *s = slot(index);

		if (!s && index != 0x390)
			return false;
		if (index == 0x390)
			status &= ~value;
		else if (index >= 0xc1 && index < 0xc1 + PMU_GP)
			*s = (unsigned long long)(long long)(int)value & PMU_MASK;
		else if (index != 0x38e)
			*s = index >= 0x309 && index < 0x309 + PMU_FIXED ? value & PMU_MASK : value;
		update();
		return true;
	}

	template <typename T> bool rdpmc(unsigned index, T *value)
	{
		bool is_fixed = index >> 30 & 1;

		index &= ~(1u << 30);
		if (index >= (is_fixed ? PMU_FIXED : PMU_GP))
			return false;
		*value = is_fixed ? fixed[index] : gp[index];
		return true;
	}
};

extern struct bochs_pmu bochs_pmu;

#endif
