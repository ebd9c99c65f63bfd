/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option ROM of --boot cdrom: starts the boot image of the first disk that has an El Torito boot
 * record, and shows that disk as drive E0h with the sectors of a CD, 2048 bytes, as a loader
 * expects it of a BIOS that has started it without emulation ("El Torito" Bootable CD-ROM Format
 * Specification 1.0; Enhanced Disk Drive Specification 3.0). SeaBIOS itself reads El Torito from
 * nothing but CD-ROM drives, and reads the disks for this ROM.
 *
 * What stays while the loader runs is in the topmost KiB of base memory, taken from what INT 12h
 * reports, for a ROM cannot be written. eltorito.c sets length and checksums.
 */
	.code16
	.text

	BUFFER = 0x8000		/* of 2048 bytes, until the boot image is loaded */
	BASE_MEMORY = 0x413	/* word in the BIOS data area: KiB */
	VECTOR_13 = 0x13 * 4
	HARD_DISKS = 0x80	/* the first drive number, and how many are looked at */
	HARD_DISK_COUNT = 16
	CD = 0xe0
	BOOT_RECORD = 17	/* this and the next two: in sectors of a CD */
	CD_SECTOR = 2048
	CD_SHIFT = 2		/* a sector of a CD is four of a disk */
	CHUNK = 64		/* sectors of a disk in one read: 32 KiB */
	LOAD_SEGMENT = 0x7c0	/* where the catalogue names none */
	CARRY = 1

	.globl _start
_start:
	.byte 0x55, 0xaa, 0	/* length in 512 bytes */
	jmp init
	.org 0x1a
	.word header
	.org 0x20
header:				/* Plug and Play BIOS Specification 1.0a, 3.2 */
	.ascii "$PnP"
	.byte 1, 2		/* revision, length in 16 bytes */
	.word 0
	.byte 0, 0		/* reserved, checksum */
	.long 0
	.word 0, product
	.byte 0, 0, 0, 0
	.word 0, 0, boot, 0, 0	/* BCV, disconnect, BEV, reserved, resources */

product:
	.asciz "CD-ROM"

init:
	mov	$0x20, %ax	/* there is something to boot from */
	lret

/* The bootstrap entry vector: comes back by INT 18h if there is nothing. */
boot:
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	mov	$HARD_DISKS, %dl
1:
	mov	$BOOT_RECORD << CD_SHIFT, %eax
	call	read_buffer
	jc	2f
	mov	$BUFFER, %si
	push	%cs
	pop	%es
	mov	$record, %di
	mov	$record_end - record, %cx
	repe	cmpsb
	je	catalogue
2:
	inc	%dl
	cmp	$HARD_DISKS + HARD_DISK_COUNT, %dl
	jb	1b
	mov	$no_record, %si
fail:
	lodsb	%cs:(%si), %al
	test	%al, %al
	jz	1f
	mov	$0x0e, %ah
	mov	$7, %bx
	int	$0x10
	jmp	fail
1:
	int	$0x18

/* The validation entry of the boot catalogue, and the initial one behind it. */
catalogue:
	mov	BUFFER + 0x47, %eax
	mov	$bad_catalogue, %si
	cmp	$0x40000000, %eax
	jae	fail
	shl	$CD_SHIFT, %eax
	call	read_buffer
	jc	fail
	cmpw	$1, BUFFER	/* ID 1, platform 0: x86 */
	jne	fail
	cmpw	$0xaa55, BUFFER + 0x1e
	jne	fail
	cmpb	$0x88, BUFFER + 0x20
	jne	fail
	mov	$emulated, %si
	testb	$0xf, BUFFER + 0x21
	jnz	fail

/* Takes a KiB, and puts there what stays. */
	decw	BASE_MEMORY
	mov	BASE_MEMORY, %ax
	shl	$6, %ax
	mov	%ax, %es
	xor	%di, %di
	mov	$stays, %si
	mov	$stays_end - stays, %cx
	rep	movsb	%cs:(%si), %es:(%di)
	mov	%dl, %es:(disk - stays)
	mov	BUFFER + 0x22, %bx
	test	%bx, %bx
	jnz	1f
	mov	$LOAD_SEGMENT, %bx
1:
	mov	BUFFER + 0x26, %cx
	mov	BUFFER + 0x28, %eax
	mov	%bx, %es:(spec_segment - stays)
	mov	%cx, %es:(spec_count - stays)
	mov	%eax, %es:(spec_sector - stays)

/* Loads CX sectors of a disk from sector EAX of a CD on to segment BX. */
	mov	$bad_image, %si
	movzwl	%cx, %edi
	shl	$5, %edi
	movzwl	%bx, %ebp
	add	%ebp, %edi
	mov	%es, %bp	/* the high half is 0 */
	cmp	%ebp, %edi
	ja	fail
	test	%cx, %cx
	jz	fail
	cmp	$0x40000000, %eax
	jae	fail
	shl	$CD_SHIFT, %eax
	push	%bx
1:
	mov	%cx, %di
	cmp	$CHUNK, %cx
	jbe	2f
	mov	$CHUNK, %cx
2:
	call	read
	jc	fail
	movzwl	%cx, %ebp
	add	%ebp, %eax
	sub	%cx, %di
	shl	$5, %cx
	add	%cx, %bx
	mov	%di, %cx
	test	%cx, %cx
	jnz	1b

	cli
	mov	VECTOR_13, %eax
	mov	%eax, %es:(next - stays)
	movw	$0, VECTOR_13	/* stays begins with the handler */
	mov	%es, VECTOR_13 + 2
	sti
	pop	%bx		/* entered with an offset, as SeaBIOS does */
	mov	%bx, %ax
	and	$0xf000, %bx
	shl	$4, %ax
	push	%bx
	push	%ax
	xor	%ax, %ax
	mov	%ax, %es
	mov	$CD, %dl
	lret

/* Sectors of disk DL to a segment, or a sector of a CD to BUFFER: all registers stay but flags. */
read_buffer:
	push	%bx
	push	%cx
	mov	$BUFFER >> 4, %bx
	mov	$1 << CD_SHIFT, %cx
	call	read
	pop	%cx
	pop	%bx
	ret

/* CX sectors of disk DL, from EAX on, to BX:0. */
read:
	pushal
	push	%ds
	pushl	$0
	push	%eax
	push	%bx
	pushw	$0
	push	%cx
	pushw	$16
	mov	%sp, %si
	push	%ss
	pop	%ds
	mov	$0x42, %ah
	int	$0x13
	lea	16(%si), %sp
	pop	%ds
	popal
	ret

record:
	.byte 0
	.ascii "CD001\1EL TORITO SPECIFICATION"
record_end:
no_record:
	.asciz "no disk has an El Torito boot record\r\n"
bad_catalogue:
	.asciz "El Torito: damaged boot catalogue\r\n"
emulated:
	.asciz "El Torito: the image wants an emulated disk\r\n"
bad_image:
	.asciz "El Torito: the boot image cannot be loaded\r\n"

/* ---- what stays: INT 13h, from offset 0 of its segment on ---- */

stays:
	cmp	$CD, %dl
	je	1f
	ljmp	*%cs:(next - stays)
1:
	cmp	$0x42, %ah
	je	cd_read
	cmp	$0x41, %ah
	je	cd_extensions
	cmp	$0x48, %ah
	je	cd_parameters
	cmp	$0x4b, %ah
	je	cd_status
	test	%ah, %ah	/* reset */
	je	cd_done
	cmp	$0x44, %ah	/* verify */
	je	cd_done
	cmp	$0x47, %ah	/* seek */
	je	cd_done
cd_refuse:
	mov	$1, %ah
cd_fail:
	push	%bp
	mov	%sp, %bp
	orb	$CARRY, 6(%bp)	/* of the flags that IRET takes */
	pop	%bp
	iret
cd_done:
	xor	%ah, %ah
cd_return:
	push	%bp
	mov	%sp, %bp
	andb	$~CARRY, 6(%bp)
	pop	%bp
	iret

cd_extensions:
	cmp	$0x55aa, %bx
	jne	cd_refuse
	mov	$0xaa55, %bx
	mov	$5, %cx		/* packets, and EDD */
	mov	$0x30, %ah
	jmp	cd_return

cd_read:
	cmpb	$16, (%si)
	jb	cd_refuse
	cmpl	$0, 12(%si)
	jne	cd_refuse
	cmpl	$0x40000000, 8(%si)
	jae	cd_refuse
	cmpw	$0x4000, 2(%si)
	jae	cd_refuse
	pushal
	mov	8(%si), %eax
	mov	2(%si), %cx
	shl	$CD_SHIFT, %eax
	shl	$CD_SHIFT, %cx
	mov	4(%si), %ebx
	push	%ds
	push	%si
	pushl	$0
	push	%eax
	push	%ebx
	push	%cx
	pushw	$16
	mov	%sp, %si
	push	%ss
	pop	%ds
	mov	$0x42, %ah
	mov	%cs:(disk - stays), %dl
	pushf
	lcall	*%cs:(next - stays)
	mov	2(%si), %cx	/* so many have been read */
	lea	16(%si), %sp
	pop	%si
	pop	%ds
	mov	%sp, %bp
	mov	%ah, 29(%bp)	/* that of the EAX on the stack */
	jc	1f
	popal
	jmp	cd_done
1:
	shr	$CD_SHIFT, %cx
	mov	%cx, 2(%si)
	popal
	jmp	cd_fail

cd_parameters:
	cmpw	$26, (%si)
	jb	cd_refuse
	movw	$26, (%si)
	movw	$0x74, 2(%si)	/* removable, can be locked, no geometry */
	movl	$-1, 4(%si)
	movl	$-1, 8(%si)
	movl	$-1, 12(%si)
	movl	$-1, 16(%si)	/* how many sectors: not told */
	movl	$-1, 20(%si)
	movw	$CD_SECTOR, 24(%si)
	jmp	cd_done

/* AL = 1: the specification packet; 0: likewise, and there is no emulation to end. */
cd_status:
	cmp	$1, %al
	ja	cd_refuse
	pusha
	push	%ds
	push	%es
	push	%ds
	pop	%es
	mov	%si, %di
	push	%cs
	pop	%ds
	mov	$spec - stays, %si
	mov	$spec_end - spec, %cx
	cld
	rep	movsb
	pop	%es
	pop	%ds
	popa
	jmp	cd_done

next:
	.long 0			/* INT 13h as it was */
disk:
	.byte 0
spec:
	.byte spec_end - spec, 0, CD, 0
spec_sector:
	.long 0
	.word 0, 0
spec_segment:
	.word 0
spec_count:
	.word 0
	.byte 0, 0, 0
spec_end:
stays_end:
