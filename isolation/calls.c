// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lists. A thread of the C library needs some calls of its own; each role adds what its work
 * is. One call may have several rows, for different roles and reasons. tests/e2e/jail.sh compares
 * them with what the threads really do.
 */
#include "isolation/seccomp.h"

#define MAIN	 (1u << THREAD_MAIN)
#define VCPU	 (1u << THREAD_VCPU)
#define POLLER	 (1u << THREAD_POLLER)
#define DISK	 (1u << THREAD_DISK)
#define LOG	 (1u << THREAD_LOG)
#define SENDER	 (1u << THREAD_SENDER)
#define RECEIVER (1u << THREAD_RECEIVER)
#define ACCEPTOR (1u << THREAD_ACCEPTOR)
#define SPY	 (1u << THREAD_SPY)
#define CONTROL	 (1u << THREAD_CONTROL)
#define CONSOLE	 (1u << THREAD_CONSOLE)
#define FABRIC	 (1u << THREAD_FABRIC) /* a test needs RDMA to see it: all of its calls are rare */
#define SNAPSHOT (1u << THREAD_SNAPSHOT) /* likewise: a pair whose backup takes one */
#define KEEPER	 (1u << THREAD_KEEPER)
#define COURIER	 (1u << THREAD_COURIER)

#define THREADS                                                                                \
	(VCPU | POLLER | DISK | LOG | SENDER | RECEIVER | ACCEPTOR | SPY | CONTROL | CONSOLE | \
	 FABRIC | SNAPSHOT)
#define ALL   (THREADS | MAIN | KEEPER)
#define HEAP  (VCPU | DISK | LOG | SENDER | RECEIVER | ACCEPTOR | CONTROL | FABRIC | SNAPSHOT)
#define PEER  (SENDER | RECEIVER | ACCEPTOR)
#define VERBS (VCPU | PEER | FABRIC)

const struct seccomp_call seccomp_calls[] = {
	/* every thread */
	{ "futex", THREADS, POLLER | LOG | SPY | CONTROL | CONSOLE | FABRIC | SNAPSHOT, CALL_ANY,
	  "locks and conditions" },
	{ "rt_sigprocmask", THREADS, ACCEPTOR | FABRIC | SNAPSHOT, CALL_ANY,
	  "the C library blocks signals while a thread ends" },
	{ "madvise", THREADS, ACCEPTOR | FABRIC | SNAPSHOT, CALL_ADVICE,
	  "the C library gives back the stack of a thread that ends" },
	{ "exit", THREADS, ACCEPTOR | FABRIC | SNAPSHOT, CALL_ANY, "end of a thread" },
	{ "exit_group", ALL, THREADS, CALL_ANY, "end of the process" },
	{ "write", ALL, DISK | LOG | SPY | CONTROL | KEEPER | FABRIC | SNAPSHOT, CALL_ANY,
	  "wake-ups, messages on standard error" },
	{ "tgkill", THREADS, THREADS, CALL_OWN_PROCESS, "abort() when an internal check fails" },
	{ "gettid", THREADS, THREADS, CALL_ANY, "abort()" },
	{ "getpid", THREADS, THREADS, CALL_ANY, "abort()" },
	{ "rt_sigaction", THREADS, THREADS, CALL_ABORT, "abort()" },
	{ "rt_sigreturn", ALL, ALL & ~MAIN, CALL_ANY, "return from a signal handler" },
	{ "restart_syscall", ALL, ALL, CALL_ANY, "a wait goes on after the process was stopped" },
	{ "clock_gettime", ALL, ALL, CALL_ANY, "time, on hosts where it takes a system call" },

	/*
	 * heap: which of these malloc() needs in a run is chance, so a test need not see any of
	 * them
	 */
	{ "mmap", HEAP | MAIN, HEAP | MAIN, CALL_HEAP, "heap" },
	{ "mprotect", HEAP | MAIN, HEAP | MAIN, CALL_NO_EXEC, "heap" },
	{ "munmap", HEAP | MAIN, HEAP | MAIN, CALL_ANY, "heap" },
	{ "brk", HEAP | MAIN, HEAP | MAIN, CALL_ANY, "heap" },
	{ "mremap", HEAP | MAIN, HEAP | MAIN, CALL_ANY, "buffers that grow" },

	/* waiting */
	{ "poll", VCPU | LOG | PEER | SPY | CONTROL | CONSOLE | FABRIC, FABRIC, CALL_ANY,
	  "waits for descriptors" },
	{ "ppoll", VCPU, 0, CALL_ANY, "HLT: waits for an input or the next timer" },
	{ "poll", DISK, DISK, CALL_ANY, "waits for an NBD server" },
	{ "epoll_wait", POLLER, 0, CALL_ANY, "waits for NICs and consoles" },
	{ "read", POLLER, POLLER, CALL_ANY, "it was woken for a NIC's new address" },
	{ "epoll_ctl", VCPU, 0, CALL_ANY, "watches a NIC or console again after reading it" },
	{ "epoll_create1", VCPU, 0, CALL_ANY, "a backup that goes live makes its poller" },
	{ "eventfd2", VCPU | ACCEPTOR, 0, CALL_ANY,
	  "a backup that goes live, a session: their wake-ups" },
	{ "clock_nanosleep", VCPU | PEER | CONTROL, PEER | CONTROL, CALL_ANY,
	  "pace of replay and of a primary that is ahead; full queues; a vCPU that must show that "
	  "it runs" },

	/* data */
	{ "read", VCPU | LOG | PEER | SPY | CONSOLE | FABRIC, SPY | FABRIC, CALL_ANY,
	  "wake-ups; tap, console, log, peer (TLS), terminal" },
	{ "pread64", VCPU | DISK, 0, CALL_ANY, "disk image, and log of a replay" },
	{ "pwrite64", VCPU | DISK | LOG, 0, CALL_ANY, "disk image, snapshot; log of a recording" },
	{ "fallocate", VCPU | DISK, VCPU | DISK, CALL_ANY, "discarded and zeroed sectors" },
	{ "fdatasync", VCPU | DISK, VCPU, CALL_ANY, "the guest's flush of its disk" },
	{ "fsync", VCPU, 0, CALL_ANY, "a snapshot is on the disk when it is said to be" },
	{ "ftruncate", VCPU | DISK, VCPU | DISK, CALL_ANY, "a disk grows" },
	{ "fsync", DISK, DISK, CALL_ANY, "its image's new length is on the disk" },
	{ "fstat", DISK, DISK, CALL_ANY, "length of an image that is to grow" },
	{ "newfstatat", DISK, DISK, CALL_FSTAT, "the same" },
	{ "ioctl", DISK, DISK, CALL_SIZE, "the same, of a block device" },
	{ "lseek", VCPU | SENDER, 0, CALL_ANY,
	  "a snapshot, or a joining backup, leaves out pages that were never used" },
	{ "ftruncate", LOG, LOG, CALL_ANY, "after a full disk, a log without half a frame" },
	{ "newfstatat", VCPU, 0, CALL_FSTAT, "kind of a log and of standard output" },
	{ "newfstatat", CONTROL, 0, CALL_FSTAT, "whether a snapshot's descriptor is a file" },
	{ "fstat", VCPU | CONTROL | KEEPER, VCPU | CONTROL | KEEPER, CALL_ANY,
	  "the same, in other C libraries" },
	{ "ioctl", VCPU, 0, CALL_IS_TTY, "whether progress of a replay may be shown" },

	{ "ioctl", VCPU, VCPU, CALL_VMX,
	  "runs the guest on VT-x, maps its memory, asks for dirty pages" },

	/*
	 * RDMA: the fabric's thread makes queue pairs; threads that send or receive ring doorbells
	 * and register windows for pages. The devices and their completion channels were opened
	 * before. Calls that have no ioctl() yet are made by write(), which all threads may call.
	 */
	{ "ioctl", VERBS, VERBS, CALL_VERBS,
	  "RDMA: queue pairs and their queues, registered memory, state of a port, doorbells" },
	{ "mmap", FABRIC, FABRIC, CALL_QUEUE, "RDMA: queues that a device and its driver share" },
	{ "munmap", VERBS, VERBS, CALL_ANY, "RDMA: queues of a queue pair that is gone" },
	{ "close", VERBS, VERBS, CALL_ANY, "RDMA: wake-ups of a peer that is gone" },
	{ "eventfd2", VERBS, VERBS, CALL_ANY, "RDMA: wake-ups of a peer's threads" },
	{ "getrandom", VERBS, VERBS, CALL_ANY, "RDMA: first packet number of a queue pair" },

	/* a snapshot of what a backup replays, into a file that came as a descriptor */
	{ "pwrite64", SNAPSHOT, SNAPSHOT, CALL_ANY, "memory and disks on their way to a snapshot" },
	{ "pread64", SNAPSHOT, SNAPSHOT, CALL_ANY, "the same, when the snapshot is made of them" },
	{ "lseek", SNAPSHOT, SNAPSHOT, CALL_ANY, "a snapshot leaves out pages never used" },
	{ "ftruncate", SNAPSHOT, SNAPSHOT, CALL_ANY, "what served to make a snapshot is cut off" },
	{ "fsync", SNAPSHOT, SNAPSHOT, CALL_ANY, "it is on the disk when it is said to be" },
	{ "newfstatat", SNAPSHOT, SNAPSHOT, CALL_FSTAT, "whether its file still has a name" },
	{ "fstat", SNAPSHOT, SNAPSHOT, CALL_ANY, "the same, in other C libraries" },
	{ "clock_nanosleep", SNAPSHOT, SNAPSHOT, CALL_ANY, "waits for the vCPU's thread" },
	{ "close", SNAPSHOT, SNAPSHOT, CALL_ANY, "the file, when it is complete" },

	/* sockets that exist */
	{ "sendto", VCPU | PEER | CONTROL | FABRIC, SENDER | FABRIC, CALL_SEND,
	  "frames (pcap), console, peer, answers, keeper" },
	{ "recvfrom", VCPU | PEER | FABRIC, SENDER | FABRIC, CALL_ANY, "console, peer, keeper" },
	{ "sendto", DISK, DISK, CALL_SEND, "requests to an NBD server" },
	{ "recvfrom", DISK, DISK, CALL_ANY, "an NBD server's answers" },
	{ "recvmsg", CONTROL, 0, CALL_ANY, "requests, with a descriptor for a snapshot" },
	{ "sendmsg", CONTROL, 0, CALL_SEND_MESSAGE, "asks the keeper whose a client is" },
	{ "recvfrom", CONTROL, 0, CALL_ANY, "the keeper's answer" },
	{ "sendto", POLLER, POLLER, CALL_SEND,
	  "asks the keeper about a NIC that is gone or has a new address" },
	{ "recvfrom", POLLER, POLLER, CALL_ANY, "the keeper's answer" },
	{ "accept4", VCPU | ACCEPTOR | CONTROL, 0, CALL_ANY,
	  "clients of a console socket, backups, requests" },
	{ "shutdown", VCPU | PEER | CONTROL, SENDER | CONTROL, CALL_ANY,
	  "end of a session with the other replica; a backup is told to leave" },
	{ "close", VCPU | ACCEPTOR | CONTROL, 0, CALL_ANY, "clients and sessions that are over" },
	{ "close", DISK, DISK, CALL_ANY, "the connection to an NBD server has failed" },
	{ "setsockopt", ACCEPTOR, 0, CALL_NO_DELAY,
	  "a backup's connection sends at once, and again soon" },
	{ "fcntl", ACCEPTOR, 0, CALL_FLAGS, "a backup's connection does not block" },
	{ "getsockopt", VCPU | SPY, VCPU | SPY, CALL_ERROR,
	  "why a capture fails: its interface is down" },
	{ "getsockname", VCPU | SPY, VCPU | SPY, CALL_ANY, "libpcap: which interface that was" },
	{ "ioctl", VCPU | SPY, VCPU | SPY, CALL_LOOK, "libpcap: whether that interface is gone" },
	{ "getrandom", VCPU | PEER | FABRIC, SENDER | RECEIVER | FABRIC, CALL_ANY,
	  "TLS; seed of the guest's generator at failover" },
	{ "getpid", VCPU | PEER | CONTROL | FABRIC, SENDER | RECEIVER | CONTROL | VCPU | FABRIC,
	  CALL_ANY, "OpenSSL looks for forks" },

	/*
	 * the main thread, beside what all others have: starts threads, joins a primary, cleans up
	 */
	{ "clone", MAIN, 0, CALL_THREAD, "starts threads, for everybody" },
	{ "clone3", MAIN, 0, CALL_ABSENT,
	  "its flags cannot be looked at; the C library then uses clone()" },
	{ "set_robust_list", MAIN, 0, CALL_ANY, "start of a thread" },
	{ "rseq", MAIN, 0, CALL_ANY, "start of a thread" },
	{ "prctl", MAIN, 0, CALL_NAME, "a thread's name is its role" },
	{ "seccomp", MAIN, 0, CALL_FILTER, "a new thread narrows its filter" },
	{ "rt_sigaction", MAIN, 0, CALL_ANY,
	  "signals end the process again when the machine has ended" },
	{ "ftruncate", MAIN, 0, CALL_ANY,
	  "the size of the guest's memory, once the machine is known" },
	{ "fcntl", MAIN, 0, CALL_SEAL, "which is its size for good" },
	{ "mmap", MAIN, 0, CALL_NO_EXEC, "the guest's memory" },
	{ "setsockopt", MAIN, 0, CALL_PACKETS, "pcap: a guest's address is learnt; its end" },
	{ "prlimit64", MAIN, 0, CALL_OWN_LIMIT,
	  "a backup limits its memory once it knows the machine" },
	{ "wait4", MAIN, 0, CALL_ANY, "for the keeper's end" },
	{ "ioctl", MAIN, 0, CALL_SET_TTY, "puts the terminal's mode back" },

	/*
	 * fail with an error and do not end the process: libraries try to open files that are not
	 * needed
	 */
	{ "openat", ALL & ~KEEPER, 0, CALL_REFUSED,
	  "malloc() and OpenSSL look at settings; nothing can be opened" },
	{ "sysinfo", ALL & ~KEEPER, 0, CALL_ABSENT, "qsort() asks how much memory there is" },

	/* the keeper, a process of its own: names in one directory */
	{ "recvmsg", KEEPER, 0, CALL_ANY, "requests, with a client to be looked at" },
	{ "getsockopt", KEEPER, 0, CALL_PEER, "whose a client is" },
	{ "sendto", KEEPER, 0, CALL_SEND, "answers" },
	{ "openat", KEEPER, 0, CALL_ANY, "generations, in the arbiter's directory" },
	{ "read", KEEPER, 0, CALL_ANY, "who owns a generation" },
	{ "fsync", KEEPER, 0, CALL_ANY,
	  "a claim and the directory are on the disk before it counts" },
	{ "getsockname", KEEPER, KEEPER, CALL_ANY, "whether a capture's interface was deleted" },
	{ "ioctl", KEEPER, KEEPER, CALL_LOOK, "looks for an interface that was deleted" },
	{ "ioctl", KEEPER, KEEPER, CALL_JOIN, "the tap interface that takes its place" },
	{ "bind", KEEPER, KEEPER, CALL_ANY, "the interface that takes a capture's place" },
	{ "setsockopt", KEEPER, KEEPER, CALL_ADD_MEMBER, "which is in promiscuous mode too" },
	{ "setsockopt", KEEPER, KEEPER, CALL_SET_CAPTURE,
	  "what is captured, after the guest has changed its address" },
	{ "flock", KEEPER, 0, CALL_ANY, "the host file, while a backup asks for its memory" },
	{ "rename", KEEPER, 0, CALL_ANY, "a new host file takes the place of the old one" },
	{ "clock_nanosleep", KEEPER, KEEPER, CALL_ANY, "somebody else has the host file" },
	{ "linkat", KEEPER, 0, CALL_ANY, "takes a generation, if nobody has it" },
	{ "unlinkat", KEEPER, 0, CALL_ANY, "a claim that has served" },
	{ "unlink", KEEPER, 0, CALL_ANY, "sockets that were named beforehand" },
	{ "getdents64", KEEPER, 0, CALL_ANY, "the last generation" },
	{ "newfstatat", KEEPER, 0, CALL_FSTAT, "kind of the arbiter's directory" },
	{ "fcntl", KEEPER, 0, CALL_FLAGS, "opendir()" },
	{ "close", KEEPER, 0, CALL_ANY, "files of the directory" },
	{ "brk", KEEPER, KEEPER, CALL_ANY, "heap" },
	{ "mmap", KEEPER, KEEPER, CALL_HEAP, "heap" },
	{ "munmap", KEEPER, KEEPER, CALL_ANY, "heap" },
	{ "getpid", KEEPER, 0, CALL_ANY, "name of a claim" },

	/* the courier, a process of its own: asks over the network, and has no files */
	{ "recvmsg", COURIER, COURIER, CALL_ANY, "requests" },
	{ "socket", COURIER, COURIER, CALL_ANY, "a connection to the arbiter, or the primary" },
	{ "connect", COURIER, COURIER, CALL_ANY, "which is made when there is something to ask" },
	{ "sendmsg", COURIER, COURIER, CALL_SEND_MESSAGE,
	  "hands a joining backup its new connection" },
	{ "sendto", COURIER, COURIER, CALL_SEND, "questions, answers" },
	{ "write", COURIER, COURIER, CALL_ANY, "questions, answers, messages on standard error" },
	{ "recvfrom", COURIER, COURIER, CALL_ANY, "answers" },
	{ "read", COURIER, COURIER, CALL_ANY, "answers" },
	{ "poll", COURIER, COURIER, CALL_ANY, "waits for answers" },
	{ "setsockopt", COURIER, COURIER, CALL_ANY, "TCP_NODELAY, keep-alive" },
	{ "getsockopt", COURIER, COURIER, CALL_ANY, "whether a connection has come about" },
	{ "getsockname", COURIER, COURIER, CALL_ANY, "libcurl: its own address" },
	{ "getpeername", COURIER, COURIER, CALL_ANY, "libcurl: the arbiter's address" },
	{ "shutdown", COURIER, COURIER, CALL_ANY, "end of a connection" },
	{ "close", COURIER, COURIER, CALL_ANY, "end of a connection" },
	{ "fcntl", COURIER, COURIER, CALL_FLAGS, "connections do not block" },
	{ "ioctl", COURIER, COURIER, CALL_NO_BLOCK, "connections do not block" },
	{ "eventfd2", COURIER, COURIER, CALL_ANY, "libcurl's wake-up" },
	{ "socketpair", COURIER, COURIER, CALL_ANY, "libcurl's wake-up" },
	{ "pipe2", COURIER, COURIER, CALL_ANY, "libcurl's wake-up" },
	{ "getrandom", COURIER, COURIER, CALL_ANY, "TLS" },
	{ "getpid", COURIER, COURIER, CALL_ANY, "OpenSSL looks for forks" },
	{ "rt_sigaction", COURIER, COURIER, CALL_ANY, "libcurl: SIGPIPE" },
	{ "rt_sigprocmask", COURIER, COURIER, CALL_ANY, "the C library" },
	{ "futex", COURIER, COURIER, CALL_ANY, "OpenSSL's locks" },
	{ "exit_group", COURIER, COURIER, CALL_ANY, "its end" },
	{ "brk", COURIER, COURIER, CALL_ANY, "heap" },
	{ "mmap", COURIER, COURIER, CALL_HEAP, "heap" },
	{ "munmap", COURIER, COURIER, CALL_ANY, "heap" },
	{ "mremap", COURIER, COURIER, CALL_ANY, "heap" },
	{ "mprotect", COURIER, COURIER, CALL_NO_EXEC, "heap" },
	{ "madvise", COURIER, COURIER, CALL_ADVICE, "heap" },
	{ "clock_gettime", COURIER, COURIER, CALL_ANY, "time" },
	{ "restart_syscall", COURIER, COURIER, CALL_ANY, "a wait goes on" },
	{ "openat", COURIER, COURIER, CALL_REFUSED, "OpenSSL and the C library look for settings" },
	{ "newfstatat", COURIER, COURIER, CALL_REFUSED, "OpenSSL looks for settings" },
	{ "access", COURIER, COURIER, CALL_REFUSED, "the C library looks for settings" },
	{ "uname", COURIER, COURIER, CALL_ANY, "the C library" },
	{ "sysinfo", COURIER, COURIER, CALL_ABSENT, "the C library asks how much memory there is" },
};

const size_t seccomp_ncalls = sizeof(seccomp_calls) / sizeof(seccomp_calls[0]);
