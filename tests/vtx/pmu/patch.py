#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives an unpacked source of Bochs 3.0 a performance monitoring unit. usage: patch.py SOURCE

Each edit names a place by text around it and must fit exactly once; else the source is another version and nothing is
written."""
import pathlib
import shutil
import sys

INCLUDE = ('#define LOG_THIS BX_CPU_THIS_PTR\n', '#include "bochs-pmu.h"\n')

# file: (text before the insertion, insertion)
AFTER = {
    "cpu/cpu.cc": [
        (INCLUDE[0], INCLUDE[1] + '#include "apic.h"\nstruct bochs_pmu bochs_pmu;\n'),
    ],
    "cpu/msr.cc": [
        INCLUDE,
        ("BX_CPU_C::rdmsr(Bit32u index, Bit64u *msr)\n{\n", "  if (bochs_pmu.rdmsr(index, msr)) return true;\n"),
        ("BX_CPU_C::wrmsr(Bit32u index, Bit64u val_64)\n{\n", "  if (bochs_pmu.wrmsr(index, val_64)) return true;\n"),
    ],
    "cpu/proc_ctrl.cc": [
        INCLUDE,
        ("    if (SVM_INTERCEPT(SVM_INTERCEPT0_RDPMC)) Svm_Vmexit(SVM_VMEXIT_RDPMC);\n  }\n#endif\n",
         "  Bit64u pmc;\n  if (bochs_pmu.rdpmc(ECX, &pmc)) {\n    RAX = (Bit32u) pmc;\n    RDX = pmc >> 32;\n"
         "    BX_NEXT_INSTR(i);\n  }\n"),
    ],
    "cpu/apic.h": [
        ("class BOCHSAPI bx_local_apic_c : public logfunctions\n{\n", "public:\n  void deliver_pmi(void);\nprivate:\n"),
    ],
}

# What VM entry and VM exit load: text after the insertion, control, field.
VMX = [
    ("  // modify EFER.LMA / EFER.LME before setting CR4\n\n  // It is recommended", "vm->vmentry_ctrls", "GUEST"),
    ("  bool x86_64_host = vm->vmexit_ctrls1.X86_64_HOST();\n#if BX_SUPPORT_X86_64\n  if (x86_64_host)\n", "vm->vmexit_ctrls1", "HOST"),
]

# The main loop, one instruction after the other; the same text in the loop of a multiprocessor is left alone.
LOOP = ("      BX_CPU_CALL_METHOD(i->execute1, (i)); // might iterate repeat instruction\n"
        "      BX_CPU_THIS_PTR prev_rip = RIP; // commit new RIP\n"
        "      BX_INSTR_AFTER_EXECUTION(BX_CPU_ID, i);\n"
        "      BX_CPU_THIS_PTR icount++;\n\n"
        "      BX_SYNC_TIME_IF_SINGLE_PROCESSOR(0);\n")
# An interrupted REP instruction has not retired: RIP is where it was.
HOOKED = ("      bool pmu_counts = bochs_pmu.on;\n"
          "      BX_CPU_CALL_METHOD(i->execute1, (i)); // might iterate repeat instruction\n"
          "      if (bochs_pmu.watch && bochs_pmu.retired(pmu_counts && !(i->repUsedL() && RIP == BX_CPU_THIS_PTR prev_rip), CPL))\n"
          "        BX_CPU_THIS_PTR lapic->deliver_pmi();\n") + LOOP.split("\n", 1)[1]

APIC = """
// The overflow interrupt of the performance counters; its entry masks itself.
void bx_local_apic_c::deliver_pmi(void)
{
  Bit32u entry = lvt[APIC_LVT_PERFMON];

  if (entry & 0x10000) return;
  lvt[APIC_LVT_PERFMON] |= 0x10000;
  if ((entry >> 8 & 7) == APIC_DM_NMI)
    cpu->deliver_NMI();
  else
    trigger_irq(entry & 0xff, apic_id, APIC_EDGE_TRIGGERED);
}
"""


def once(text, name, at):
    if text.count(at) != 1:
        sys.exit(f"{name}: {text.count(at)} places look like: {at!r}")


def main():
    source = pathlib.Path(sys.argv[1])
    texts = {}

    def get(name):
        return texts.setdefault(name, (source / name).read_text())

    for name, edits in AFTER.items():
        for at, insertion in edits:
            once(get(name), name, at)
            texts[name] = get(name).replace(at, at + insertion)
    once(get("cpu/cpu.cc"), "cpu/cpu.cc", LOOP)
    texts["cpu/cpu.cc"] = get("cpu/cpu.cc").replace(LOOP, HOOKED)
    vmx = get("cpu/vmx.cc")
    once(vmx, "cpu/vmx.cc", INCLUDE[0])
    vmx = vmx.replace(INCLUDE[0], INCLUDE[0] + INCLUDE[1])
    for at, control, field in VMX:
        once(vmx, "cpu/vmx.cc", at)
        vmx = vmx.replace(at, f"  if ({control}.LOAD_PERF_GLOBAL_CTRL_MSR())\n"
                          f"    bochs_pmu.wrmsr(0x38f, VMread64(VMCS_64BIT_{field}_IA32_PERF_GLOBAL_CTRL));\n" + at)
    texts["cpu/vmx.cc"] = vmx
    i = get("cpu/apic.cc").rindex("#endif")
    texts["cpu/apic.cc"] = get("cpu/apic.cc")[:i] + APIC.lstrip() + "\n" + get("cpu/apic.cc")[i:]
    for name, text in texts.items():
        (source / name).write_text(text)
    shutil.copy(pathlib.Path(__file__).parent / "pmu.h", source / "cpu" / "bochs-pmu.h")


if __name__ == "__main__":
    main()
