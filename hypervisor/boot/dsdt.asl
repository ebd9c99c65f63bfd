// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What ACPI says of machine version 2: one PCI bus whose links are I/O APIC inputs 16 to 19 (or,
 * before an OS says that it uses APICs, the 8259 inputs that the ISA bridge names), the ISA devices,
 * soft off.
 * The numbers are those of hypervisor/devices/pci.h and acpi_pm.h; tests/boot/test_acpi.c compares.
 */
DefinitionBlock ("", "DSDT", 2, "TWINST", "TWINST02", 1)
{
    Name (\_S5, Package (4) { 0, 0, 0, 0 })     // SLP_TYP of soft off

    Name (PICM, 0)
    Method (\_PIC, 1) { PICM = Arg0 }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0xff, 0, 0x100)
                IO (Decode16, 0xcf8, 0xcf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0, 0xcf7, 0, 0xcf8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0xd00, 0xffff, 0, 0xf300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xc0000000, 0xfebfffff, 0, 0x3ec00000)
            })

            // Pin A of slot n is link n % 4; no device has another pin. The compiler has no loops: a method
            // makes the table, once. Each step goes through all of it, so rows that nothing needs are dear;
            // and it has to stay short, because a BIOS has little room for it.
            Name (ROUT, Package (32) {})
            Name (MADE, 0xff)
            Method (_PRT, 0, Serialized)
            {
                If (MADE != PICM)
                {
                    Local0 = 0
                    While (Local0 < 32)
                    {
                        Local1 = Local0 & 3
                        If (PICM) { Local2 = Local1 + 16 } Else { Local2 = ^ISA.INPT (Local1) }
                        Local3 = Package (4) { 0, 0, 0, 0 }
                        Local3 [0] = (Local0 << 16) | 0xffff
                        Local3 [3] = Local2
                        ROUT [Local0] = Local3
                        Local0++
                    }
                    MADE = PICM
                }
                Return (ROUT)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)

                // Where the links go, for who uses the 8259: link 0 is the PIIX3's D.
                OperationRegion (PIRQ, PCI_Config, 0x60, 4)
                Field (PIRQ, ByteAcc, NoLock, Preserve) { PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8 }
                Method (INPT, 1, Serialized)
                {
                    Switch (ToInteger (Arg0))
                    {
                        Case (0) { Return (PRQD & 15) }
                        Case (1) { Return (PRQA & 15) }
                        Case (2) { Return (PRQB & 15) }
                        Default { Return (PRQC & 15) }
                    }
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x70, 0x70, 1, 2)
                        IRQNoFlags () {8}
                    })
                }
                Device (PIT)
                {
                    Name (_HID, EisaId ("PNP0100"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x40, 0x40, 1, 4)
                        IRQNoFlags () {0}
                    })
                }
                // Where Linux says that it has panicked: hypervisor/devices/pvpanic.h
                Device (PEVT)
                {
                    Name (_HID, "QEMU0001")
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x505, 0x505, 1, 1)
                    })
                }
                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Name (_STA, 0x0f)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x3f8, 0x3f8, 1, 8)
                        IRQNoFlags () {4}
                    })
                }
            }
        }
    }
}
