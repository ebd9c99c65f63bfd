// SPDX-License-Identifier: GPL-2.0-only
/* The device node: one open file is one VM. docs/vmx-module.md describes the interface. */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "vcpu.h"

static int twvmx_open(struct inode *inode, struct file *file)
{
	struct vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);

	if (!vm)
		return -ENOMEM;
	mutex_init(&vm->lock);
	spin_lock_init(&vm->unmapped_lock);
	INIT_LIST_HEAD(&vm->ept_pages);
	file->private_data = vm;
	return 0;
}

/* Everything but the file itself. */
static void vm_free(struct vm *vm)
{
	pmu_free(vm);
	ept_free(vm);
	vmcs_free(vm);
	if (vm->run_page)
		__free_page(vm->run_page);
	vm->run_page = NULL;
	kfree(vm->cpuid);
	vm->cpuid = NULL;
}

/*
 * The process has gone, or executes another program, or its file is being closed. The file may live
 * on in another process; the VM does not: what it has pinned was the limit of this process's.
 */
static void process_ends(struct mmu_notifier *end, struct mm_struct *mm)
{
	struct vm *vm = container_of(end, struct vm, end);

	mutex_lock(&vm->lock);
	if (vm->created) {
		vm->created = false;
		vm_free(vm);
		vmx_put();
	}
	mutex_unlock(&vm->lock);
}

/* Nothing of the guest's is to be given back: its pages are pinned. But they may have failed. */
static int process_unmaps(struct mmu_notifier *end, const struct mmu_notifier_range *range)
{
	if (range->event == MMU_NOTIFY_CLEAR)
		ept_note_unmapped(container_of(end, struct vm, end), range->start, range->end);
	return 0;
}

static const struct mmu_notifier_ops end_ops = {
	.release = process_ends,
	.invalidate_range_start = process_unmaps,
};

static int twvmx_release(struct inode *inode, struct file *file)
{
	struct vm *vm = file->private_data;

	if (vm->mm) {
		mmu_notifier_unregister(
			&vm->end, vm->mm); /* calls process_ends() unless it has been called */
		mmdrop(vm->mm);
	}
	kfree(vm);
	return 0;
}

static int vm_make(struct vm *vm)
{
	int ret;

	vm->run_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vm->run_page)
		return -ENOMEM;
	ret = vmcs_alloc(vm);
	if (ret)
		return ret;
	ret = ept_init(vm);
	if (ret)
		return ret;
	vm->end.ops = &end_ops;
	return mmu_notifier_register(&vm->end, current->mm);
}

static int vm_create(struct vm *vm, unsigned long version)
{
	int ret;

	if (version != TWVMX_VERSION)
		return -EINVAL;
	if (vm->mm)
		return -EEXIST;
	ret = vmx_get();
	if (ret)
		return ret;
	ret = vm_make(vm);
	if (ret) {
		vm_free(vm);
		vmx_put();
		return ret;
	}
	mmgrab(current->mm);
	vm->mm = current->mm;
	vm->run = page_address(vm->run_page);
	vm->run->version = TWVMX_VERSION;
	vm->created = true;
	return 0;
}

static long get_info(void __user *arg)
{
	struct twvmx_info info;

	vmx_fill_info(&info);
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long set_slot(struct vm *vm, const void __user *arg)
{
	struct twvmx_slot s;

	if (copy_from_user(&s, arg, sizeof(s)))
		return -EFAULT;
	return ept_set_slot(vm, &s);
}

static long fetch_dirty(struct vm *vm, const void __user *arg)
{
	struct twvmx_dirty d;

	if (copy_from_user(&d, arg, sizeof(d)))
		return -EFAULT;
	return ept_fetch_dirty(vm, &d);
}

static long get_stats(const struct vm *vm, void __user *arg)
{
	struct twvmx_stats stats;

	ept_fill_stats(vm, &stats);
	return copy_to_user(arg, &stats, sizeof(stats)) ? -EFAULT : 0;
}

static long look_at_host(struct vm *vm, void __user *arg)
{
	struct twvmx_host h;
	int ret;

	if (copy_from_user(&h, arg, sizeof(h)))
		return -EFAULT;
	ret = audit_host(vm, &h);
	if (ret)
		return ret;
	return copy_to_user(arg, &h, sizeof(h)) ? -EFAULT : 0;
}

static long set_cpuid(struct vm *vm, const void __user *arg)
{
	struct twvmx_cpuid c;

	if (copy_from_user(&c, arg, sizeof(c)))
		return -EFAULT;
	return serve_set_cpuid(vm, &c);
}

/*
 * Calls on one VM exclude one another; a second thread that calls while the guest runs is told so.
 */
static long vm_ioctl(struct vm *vm, unsigned int cmd, unsigned long arg)
{
	if (cmd == TWVMX_IOC_CREATE)
		return vm_create(vm, arg);
	if (!vm->created)
		return -ENXIO;
	if (vm->mm != current->mm)
		return -EPERM;
	switch (cmd) {
	case TWVMX_IOC_SLOT:
		return set_slot(vm, (void __user *)arg);
	case TWVMX_IOC_RUN:
		return vcpu_run(vm);
	case TWVMX_IOC_DIRTY:
		return fetch_dirty(vm, (void __user *)arg);
	case TWVMX_IOC_STATS:
		return get_stats(vm, (void __user *)arg);
	case TWVMX_IOC_HOST:
		return look_at_host(vm, (void __user *)arg);
	case TWVMX_IOC_CPUID:
		return set_cpuid(vm, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static long twvmx_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vm *vm = file->private_data;
	long ret;

	if (cmd == TWVMX_IOC_INFO)
		return get_info((void __user *)arg);
	if (!mutex_trylock(&vm->lock))
		return -EBUSY;
	ret = vm_ioctl(vm, cmd, arg);
	mutex_unlock(&vm->lock);
	return ret;
}

/*
 * The run page. It outlives the file while it is mapped: the mapping holds a reference to the page.
 */
static int twvmx_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vm *vm = file->private_data;
	int ret = -ENXIO;

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	if (!mutex_trylock(&vm->lock))
		return -EBUSY;
	if (vm->created && vm->mm == current->mm) {
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
		vma->vm_flags |= VM_DONTCOPY | VM_DONTDUMP;
#else
		vm_flags_set(vma, VM_DONTCOPY | VM_DONTDUMP);
#endif
		ret = vm_insert_page(vma, vma->vm_start, vm->run_page);
	}
	mutex_unlock(&vm->lock);
	return ret;
}

static const struct file_operations twvmx_fops = {
	.owner = THIS_MODULE,
	.open = twvmx_open,
	.release = twvmx_release,
	.unlocked_ioctl = twvmx_ioctl,
	.mmap = twvmx_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice twvmx_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "twinstep-vmx",
	.fops = &twvmx_fops,
	.mode = 0660,
};

/* Loads on every host, so that `twinstep qualify` can ask why VT-x cannot be used. */
static int __init twvmx_module_init(void)
{
	int ret = vmx_init();

	if (ret)
		return ret;
	ret = misc_register(&twvmx_device);
	if (ret)
		vmx_exit();
	return ret;
}

static void __exit twvmx_module_exit(void)
{
	misc_deregister(&twvmx_device);
	vmx_exit();
}

module_init(twvmx_module_init);
module_exit(twvmx_module_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VT-x for the Twinstep hypervisor");
