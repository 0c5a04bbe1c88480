"""Which system calls a contained program may make, by group, and why.

Data alone; `sandbox.profile.seccomp` makes rules of it.  The kernel checks rights by itself:
namespaces, capabilities and file modes hold with or without a filter.  What is refused here is
refused because it reaches kernel code that is young, large, not namespaced or rarely asked for,
so that a fault in it is out of reach.  Every call that Linux up to 6.18 has on x86-64 or aarch64 stands
in exactly one group; the calls whose arguments matter stand in `sandbox.profile.seccomp`.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What programs are made of.  Everything in here acts on what the program already holds.
BASIC = _words(
    # Files by descriptor, and by path: what may be opened is the mount namespace's matter.
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range open openat"
    " openat2 creat dup dup2 dup3 fcntl flock fsync fdatasync sync syncfs sync_file_range truncate ftruncate fallocate"
    " fadvise64 readahead sendfile splice tee copy_file_range stat fstat lstat newfstatat statx statfs fstatfs access"
    " faccessat faccessat2 getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link"
    " linkat symlink symlinkat readlink readlinkat unlink unlinkat chmod fchmod fchmodat fchmodat2 chown fchown lchown"
    " fchownat umask utime utimes utimensat futimesat file_getattr file_setattr"
    # For pipes and sockets; the kernel makes no device node in a user namespace.
    " mknod mknodat"
    " setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr getxattrat"
    " listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat"
    # Waiting for descriptors.
    " poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2"
    " pipe pipe2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime"
    " inotify_init inotify_init1 inotify_add_watch inotify_rm_watch memfd_create"
    # Memory of one's own.
    " brk mmap munmap mprotect mremap madvise mincore msync mlock mlock2 munlock mlockall munlockall membarrier"
    " pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack remap_file_pages"
    # Processes and threads.
    " fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill getpid getppid gettid"
    " getpgid setpgid getpgrp getsid setsid set_tid_address set_robust_list get_robust_list rseq rseq_slice_yield"
    " futex futex_waitv futex_wait futex_wake futex_requeue"
    " pidfd_open pidfd_send_signal prctl arch_prctl getcpu"
    " sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler"
    " sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min"
    " sched_rr_get_interval getpriority setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times"
    # uretprobe and uprobe are made by code that the kernel puts into a traced process, not by the process:
    # refused, every process that an administrator probes would die of it.
    " uretprobe uprobe"
    # Identity.  Ids that are not mapped cannot be had, and capabilities can only shrink.
    " getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid"
    " setgroups setfsuid setfsgid capget capset"
    # Signals and time.
    " rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo"
    " rt_tgsigqueueinfo sigaltstack pause restart_syscall alarm getitimer setitimer nanosleep clock_nanosleep"
    " clock_gettime clock_getres gettimeofday time timer_create timer_settime timer_gettime timer_getoverrun"
    " timer_delete"
    # Sockets, of the families that `seccomp` lets through.
    " bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt shutdown"
    " sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg"
    # System V shared memory, semaphores and queues, of the sandbox's own namespace: fakeroot, PostgreSQL.
    " shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl"
    # Facts about the system, randomness.
    " uname sysinfo getrandom"
    # Giving up rights.
    " seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"
)

# Wanted by debuggers, databases, numeric libraries and time services; code that nobody trusts has to do without.
WORKSHOP = _words(
    # Debuggers.  The kernel lets a process trace only those of its own user namespace; since 4.8 a
    # tracer cannot change a call behind the filter's back.
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease"
    # Asynchronous input and output of databases.
    " io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents vmsplice"
    # Where memory lies: NUMA libraries, OpenMP, the JVM.
    " mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages move_pages"
    # POSIX message queues, of the own IPC namespace.
    " mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"
    # Reads the clock's state; to set it takes a capability in the first user namespace.
    " adjtimex clock_adjtime"
    # Handles without the right to open them; the page cache's state; memory that the kernel cannot read.
    " name_to_handle_at cachestat memfd_secret"
    # What is mounted, and which security modules there are: as /proc tells it.
    " statmount listmount lsm_get_self_attr lsm_list_modules listns"
)

# A new view of the system: what another sandbox inside this one is built from.
NESTED = _words(
    "mount umount umount2 pivot_root chroot setns sethostname setdomainname"
    " fsopen fsconfig fsmount fspick open_tree open_tree_attr move_mount mount_setattr"
)

# Refused with EPERM, as the kernel itself would refuse most of them to a user without rights.
REFUSED = _words(
    # Large, young, and the way into many a kernel; everything else can be had without them.  io_uring also goes
    # past this filter, since its operations are no system calls.
    "io_uring_setup io_uring_enter io_uring_register bpf userfaultfd perf_event_open"
    # Keyrings belong to the user, not to a namespace: the keys of the whole login session are in them.
    " add_key request_key keyctl"
    # Opens by inode number, past every mount (the "shocker" escape); watches whole file systems.
    " open_by_handle_at fanotify_init fanotify_mark"
    # The machine's own business.
    " kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct"
    " quotactl quotactl_fd settimeofday clock_settime iopl ioperm syslog vhangup lsm_set_self_attr"
)

# Refused with ENOSYS, which is what a kernel built without them, or of another age, would answer.
ABSENT = _words(
    # Its flags lie in memory, where no filter sees them; libc then takes clone(2).
    "clone3"
    # Segments for 16-bit programs; a source of kernel faults, and most kernels outside x86 lack it.
    " modify_ldt"
    # Gone, never there, or never used.
    " _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area getpmsg"
    " lookup_dcookie nfsservctl putpmsg query_module security set_thread_area sysfs tuxcall uselib ustat vserver"
)

# A capability that a profile grants is of no use while the calls that ask for it are refused.
WITH_CAPABILITY: dict[str, tuple[str, ...]] = {
    "CAP_BPF": _words("bpf"),
    "CAP_DAC_READ_SEARCH": _words("open_by_handle_at name_to_handle_at"),
    "CAP_PERFMON": _words("perf_event_open"),
    "CAP_SYSLOG": _words("syslog"),
    "CAP_SYS_ADMIN": (*NESTED, *_words("fanotify_init fanotify_mark quotactl quotactl_fd lsm_set_self_attr")),
    "CAP_SYS_BOOT": _words("reboot kexec_load kexec_file_load"),
    "CAP_SYS_CHROOT": _words("chroot"),
    "CAP_SYS_MODULE": _words("init_module finit_module delete_module"),
    "CAP_SYS_NICE": _words("mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages move_pages"),
    "CAP_SYS_PACCT": _words("acct"),
    "CAP_SYS_PTRACE": _words(
        "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease"
    ),
    "CAP_SYS_RAWIO": _words("iopl ioperm"),
    "CAP_SYS_TIME": _words("settimeofday clock_settime adjtimex clock_adjtime"),
    "CAP_SYS_TTY_CONFIG": _words("vhangup"),
}
