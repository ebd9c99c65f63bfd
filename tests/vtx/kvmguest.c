// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The other hypervisor on the host: a VM of KVM's whose guest counts on a port. usage: kvmguest
 * FILE Runs until SIGTERM and keeps the number of exits in FILE; exit status 0 when the guest never
 * miscounted, 3 when KVM refuses to make a VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY	4096
#define REFUSED 3

/* 16-bit: xor %ax, %ax; 1: inc %ax; out %ax, $0x10; jmp 1b */
static const uint8_t code[] = { 0x31, 0xc0, 0x40, 0xe7, 0x10, 0xeb, 0xfb };

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	stop = sig;
}

static int complain(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return REFUSED;
}

static int set_registers(int vcpu)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

static int count_exits(int vcpu, const struct kvm_run *run, int out)
{
	for (uint64_t n = 1; !stop; n++) {
		char text[32];
		uint16_t seen;

		if (ioctl(vcpu, KVM_RUN, 0) < 0)
			return errno == EINTR ? 0 : complain("KVM_RUN");
		memcpy(&seen, (const uint8_t *)run + run->io.data_offset, sizeof(seen));
		if (run->exit_reason != KVM_EXIT_IO || seen != (uint16_t)n) {
			printf("exit %llu: reason %u, the guest says %u\n", (unsigned long long)n,
			       run->exit_reason, seen);
			return 1;
		}
		if (n % 64 == 0) {
			snprintf(text, sizeof(text), "%12llu\n", (unsigned long long)n);
			if (pwrite(out, text, strlen(text), 0) < 0)
				return complain("FILE");
		}
	}
	return 0;
}

static int run_vm(int vm, int out, int run_size)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	uint8_t *memory =
		mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_run *run;
	int vcpu;

	if (memory == MAP_FAILED)
		return complain("memory");
	memcpy(memory, code, sizeof(code));
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return complain("KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || set_registers(vcpu) < 0)
		return complain("KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return complain("the run page");
	return count_exits(vcpu, run, out);
}

int main(int argc, char **argv)
{
	const struct sigaction term = { .sa_handler = on_term };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, out;

	sigaction(SIGTERM, &term, NULL);
	if (argc != 2 || kvm < 0)
		return complain(argc == 2 ? "/dev/kvm" : "usage: kvmguest FILE");
	out = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	vm = out < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return complain("KVM_CREATE_VM");
	return run_vm(vm, out, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
}
