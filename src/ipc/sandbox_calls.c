#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "errors.h"
#include "sandbox_part.h"

#define R_API       (1u << ROLE_API)
#define R_CONDUCTOR (1u << ROLE_CONDUCTOR)
#define R_DIALER    (1u << ROLE_DIALER)
#define R_BMC       (1u << ROLE_BMC)
#define R_BOOT      (1u << ROLE_BOOT)
#define R_CONNECTOR (1u << ROLE_CONNECTOR)
#define R_MEDIA     (1u << ROLE_MEDIA)
#define R_ALL       (R_API | R_CONDUCTOR | R_DIALER | R_BMC | R_BOOT | R_CONNECTOR | R_MEDIA)
#define R_STORE     (R_API | R_CONDUCTOR)
#define R_FILES     (R_STORE | R_BOOT)
#define R_THREADS   (R_API | R_BMC | R_BOOT)

struct call {
	int number;
	unsigned roles;
};

/* clang-format off */
/* What the loop, OpenSSL, malloc and the log need, and what a role does besides.  Calls with conditions on
 * their arguments are in the next table. */
static const struct call plain_table[] = {
	{SCMP_SYS(read), R_ALL}, {SCMP_SYS(write), R_ALL},
	{SCMP_SYS(readv), R_ALL}, {SCMP_SYS(writev), R_ALL},
	{SCMP_SYS(recvfrom), R_ALL}, {SCMP_SYS(recvmsg), R_ALL},
	{SCMP_SYS(shutdown), R_ALL}, {SCMP_SYS(getsockopt), R_ALL},
	{SCMP_SYS(getsockname), R_ALL}, {SCMP_SYS(getpeername), R_ALL},
	{SCMP_SYS(close), R_ALL}, {SCMP_SYS(fstat), R_ALL},
	{SCMP_SYS(epoll_create1), R_ALL}, {SCMP_SYS(epoll_ctl), R_ALL},
	{SCMP_SYS(epoll_wait), R_ALL}, {SCMP_SYS(epoll_pwait), R_ALL},
	{SCMP_SYS(epoll_pwait2), R_ALL}, {SCMP_SYS(poll), R_ALL},
	{SCMP_SYS(eventfd2), R_ALL}, {SCMP_SYS(pipe2), R_ALL},
	{SCMP_SYS(timerfd_settime), R_ALL},
	{SCMP_SYS(munmap), R_ALL}, {SCMP_SYS(mremap), R_ALL},
	{SCMP_SYS(madvise), R_ALL}, {SCMP_SYS(brk), R_ALL},
	{SCMP_SYS(futex), R_ALL}, {SCMP_SYS(getrandom), R_ALL},
	{SCMP_SYS(clock_gettime), R_ALL}, {SCMP_SYS(gettimeofday), R_ALL},
	{SCMP_SYS(clock_nanosleep), R_ALL}, {SCMP_SYS(nanosleep), R_ALL},
	{SCMP_SYS(restart_syscall), R_ALL}, {SCMP_SYS(sched_yield), R_ALL},
	{SCMP_SYS(rt_sigaction), R_ALL}, {SCMP_SYS(rt_sigprocmask), R_ALL},
	{SCMP_SYS(rt_sigreturn), R_ALL}, {SCMP_SYS(getpid), R_ALL},
	{SCMP_SYS(getppid), R_ALL}, {SCMP_SYS(gettid), R_ALL},
	{SCMP_SYS(exit), R_ALL}, {SCMP_SYS(exit_group), R_ALL},
	/* Threads. */
	{SCMP_SYS(set_robust_list), R_THREADS}, {SCMP_SYS(rseq), R_THREADS},
	{SCMP_SYS(sched_getaffinity), R_THREADS}, {SCMP_SYS(sigaltstack), R_THREADS},
	/* libcurl wakes itself up by a pair. */
	{SCMP_SYS(socketpair), R_THREADS}, {SCMP_SYS(pipe), R_THREADS},
	/* Who opens connections. */
	{SCMP_SYS(connect), R_CONNECTOR | R_BOOT},
	/* The boot host may have a name: DNS. */
	{SCMP_SYS(bind), R_BOOT}, {SCMP_SYS(sendmmsg), R_BOOT}, {SCMP_SYS(recvmmsg), R_BOOT},
	{SCMP_SYS(uname), R_BOOT}, {SCMP_SYS(sysinfo), R_BOOT}, {SCMP_SYS(dup), R_BOOT},
	/* Servers. */
	{SCMP_SYS(accept4), R_API | R_MEDIA}, {SCMP_SYS(accept), R_API | R_MEDIA},
	/* Database, boot folder, media: which files, Landlock says. */
	{SCMP_SYS(openat), R_FILES | R_MEDIA}, {SCMP_SYS(open), R_FILES}, {SCMP_SYS(newfstatat), R_FILES | R_MEDIA},
	{SCMP_SYS(stat), R_FILES}, {SCMP_SYS(lstat), R_FILES}, {SCMP_SYS(statx), R_FILES},
	{SCMP_SYS(access), R_FILES}, {SCMP_SYS(faccessat), R_FILES}, {SCMP_SYS(faccessat2), R_FILES},
	{SCMP_SYS(readlink), R_FILES}, {SCMP_SYS(readlinkat), R_FILES}, {SCMP_SYS(getcwd), R_FILES},
	{SCMP_SYS(getdents64), R_FILES}, {SCMP_SYS(lseek), R_FILES}, {SCMP_SYS(statfs), R_FILES},
	{SCMP_SYS(fstatfs), R_FILES}, {SCMP_SYS(fadvise64), R_FILES}, {SCMP_SYS(umask), R_FILES},
	{SCMP_SYS(pread64), R_FILES | R_MEDIA}, {SCMP_SYS(pwrite64), R_FILES}, {SCMP_SYS(pwritev), R_FILES},
	{SCMP_SYS(ftruncate), R_FILES}, {SCMP_SYS(fallocate), R_FILES}, {SCMP_SYS(fsync), R_FILES},
	{SCMP_SYS(fdatasync), R_FILES}, {SCMP_SYS(msync), R_FILES}, {SCMP_SYS(flock), R_FILES},
	{SCMP_SYS(unlink), R_FILES}, {SCMP_SYS(unlinkat), R_FILES}, {SCMP_SYS(rename), R_FILES},
	{SCMP_SYS(renameat), R_FILES}, {SCMP_SYS(renameat2), R_FILES}, {SCMP_SYS(mkdir), R_FILES},
	{SCMP_SYS(mkdirat), R_FILES}, {SCMP_SYS(rmdir), R_FILES}, {SCMP_SYS(link), R_FILES},
	{SCMP_SYS(linkat), R_FILES}, {SCMP_SYS(fchmod), R_FILES}, {SCMP_SYS(fchmodat), R_FILES},
	{SCMP_SYS(chmod), R_FILES}, {SCMP_SYS(fchown), R_FILES}, {SCMP_SYS(utimensat), R_FILES},
	{SCMP_SYS(sendfile), R_FILES},
	{SCMP_SYS(getuid), R_FILES}, {SCMP_SYS(geteuid), R_FILES},
	{SCMP_SYS(getgid), R_FILES}, {SCMP_SYS(getegid), R_FILES},
	{SCMP_SYS(prlimit64), R_FILES},
};

#define WITH(i, is, value) SCMP_CMP64(i, SCMP_CMP_##is, (scmp_datum_t)(value), 0)
/* None of the bits. */
#define WITHOUT(i, bits)   SCMP_CMP64(i, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), 0)
#define ALL_BITS(i, bits)  SCMP_CMP64(i, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(bits), (scmp_datum_t)(bits))

/* A call with conditions on up to two arguments, which must all hold; rows add up. */
static const struct conditional {
	int number;
	unsigned roles;
	unsigned count;
	struct scmp_arg_cmp when[2];
} conditional_table[] = {
	/* No new code: memory is never made executable.  (The boot publisher's resolver loads plug-ins.) */
	{SCMP_SYS(mmap), R_ALL & ~R_BOOT, 1, {WITHOUT(2, PROT_EXEC)}},
	{SCMP_SYS(mprotect), R_ALL & ~R_BOOT, 1, {WITHOUT(2, PROT_EXEC)}},
	{SCMP_SYS(mmap), R_BOOT, 0, {{0}}},
	{SCMP_SYS(mprotect), R_BOOT, 0, {{0}}},
	/* Sent to whom the socket is connected to.  MSG_FASTOPEN is a connect(). */
	{SCMP_SYS(sendto), R_DIALER | R_BMC | R_CONNECTOR | R_MEDIA, 2, {WITHOUT(3, MSG_FASTOPEN), WITH(4, EQ, 0)}},
	{SCMP_SYS(sendto), R_FILES, 1, {WITHOUT(3, MSG_FASTOPEN)}},
	{SCMP_SYS(sendmsg), R_ALL, 1, {WITHOUT(2, MSG_FASTOPEN)}},
	{SCMP_SYS(setsockopt), R_ALL & ~R_DIALER, 2, {WITH(1, EQ, IPPROTO_TCP), WITH(2, EQ, TCP_NODELAY)}},
	{SCMP_SYS(setsockopt), R_CONNECTOR, 2, {WITH(1, EQ, IPPROTO_TCP), WITH(2, EQ, TCP_QUICKACK)}},
	{SCMP_SYS(setsockopt), R_API | R_BOOT, 1, {WITH(1, EQ, SOL_SOCKET)}},
	{SCMP_SYS(setsockopt), R_BOOT, 1, {WITH(1, EQ, IPPROTO_TCP)}},
	{SCMP_SYS(setsockopt), R_BOOT, 1, {WITH(1, EQ, IPPROTO_IP)}},
	{SCMP_SYS(setsockopt), R_BOOT, 1, {WITH(1, EQ, IPPROTO_IPV6)}},
	{SCMP_SYS(socket), R_CONNECTOR | R_BOOT, 2,
		{WITH(0, EQ, AF_INET), WITH(1, EQ, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)}},
	{SCMP_SYS(socket), R_CONNECTOR | R_BOOT, 2,
		{WITH(0, EQ, AF_INET6), WITH(1, EQ, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)}},
	{SCMP_SYS(socket), R_BOOT, 1, {WITH(0, EQ, AF_INET)}},
	{SCMP_SYS(socket), R_BOOT, 1, {WITH(0, EQ, AF_INET6)}},
	{SCMP_SYS(socket), R_BOOT, 1, {WITH(0, EQ, AF_UNIX)}},
	{SCMP_SYS(socket), R_BOOT, 1, {WITH(0, EQ, AF_NETLINK)}},
	/* Not F_SETOWN and F_SETSIG, which send signals. */
	{SCMP_SYS(fcntl), R_ALL, 1, {WITH(1, EQ, F_GETFD)}},
	{SCMP_SYS(fcntl), R_ALL, 1, {WITH(1, EQ, F_SETFD)}},
	{SCMP_SYS(fcntl), R_ALL, 1, {WITH(1, EQ, F_GETFL)}},
	{SCMP_SYS(fcntl), R_ALL, 1, {WITH(1, EQ, F_SETFL)}},
	{SCMP_SYS(fcntl), R_ALL, 1, {WITH(1, EQ, F_DUPFD_CLOEXEC)}},
	{SCMP_SYS(fcntl), R_FILES, 1, {WITH(1, EQ, F_GETLK)}},
	{SCMP_SYS(fcntl), R_FILES, 1, {WITH(1, EQ, F_SETLK)}},
	{SCMP_SYS(fcntl), R_FILES, 1, {WITH(1, EQ, F_SETLKW)}},
	{SCMP_SYS(fcntl), R_FILES, 1, {WITH(1, EQ, F_OFD_SETLK)}},
	{SCMP_SYS(ioctl), R_ALL, 1, {WITH(1, EQ, FIONREAD)}},
	{SCMP_SYS(ioctl), R_THREADS, 1, {WITH(1, EQ, FIONBIO)}},
	{SCMP_SYS(prctl), R_THREADS, 1, {WITH(0, EQ, PR_SET_NAME)}},
	/* Threads, not processes.  clone3() has its flags in memory, where no filter sees them; it fails with
	 * ENOSYS (below), and the C library uses clone(). */
	{SCMP_SYS(clone), R_THREADS, 1, {ALL_BITS(0, CLONE_VM | CLONE_THREAD)}},
};

/* AddressSanitizer's own calls, at start, in reports and in the leak check. */
static const int sanitizer_table[] = {
	SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(readlink), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(newfstatat), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(lseek),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl),
	SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(sched_getaffinity), SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq), SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64),
	SCMP_SYS(personality), SCMP_SYS(process_vm_readv), SCMP_SYS(getppid), SCMP_SYS(kill),
	SCMP_SYS(tgkill),
	SCMP_SYS(pipe), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(uname), SCMP_SYS(socketpair),
	SCMP_SYS(ioctl), SCMP_SYS(msync), SCMP_SYS(fcntl), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
};

/* Libraries look for files, names and terminals on the way; a refusal is an answer they know. */
static const int tried_table[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat),
	SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(uname), SCMP_SYS(sysinfo),
};
/* clang-format on */

static bool is_tried(int call)
{
	for (size_t i = 0; i < G_N_ELEMENTS(tried_table); i++)
		if (tried_table[i] == call)
			return true;
	return false;
}

enum sandbox_answer sandbox_answer(enum role role, int call, int *ret_errno)
{
	*ret_errno = is_tried(call) ? EACCES : EPERM;
	return is_tried(call) || !(STRANGERS & (1u << role)) ? SANDBOX_REFUSE : SANDBOX_KILL;
}

static bool is_sanitizers(int call)
{
	for (size_t i = 0; SANITIZED && i < G_N_ELEMENTS(sanitizer_table); i++)
		if (sanitizer_table[i] == call)
			return true;
	return false;
}

static int allow(scmp_filter_ctx filter, unsigned role)
{
	int r = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(plain_table); i++)
		if ((plain_table[i].roles & role) && !is_sanitizers(plain_table[i].number))
			r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_table[i].number, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(conditional_table); i++) {
		const struct conditional *c = &conditional_table[i];

		if ((c->roles & role) && !is_sanitizers(c->number))
			r |= seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, c->number, c->count,
						    c->when);
	}
	for (size_t i = 0; SANITIZED && i < G_N_ELEMENTS(sanitizer_table); i++)
		r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, sanitizer_table[i], 0);
	return r;
}

/* What depends on the process. */
static int allow_own(scmp_filter_ctx filter, unsigned role)
{
	int r = 0;

	if (!SANITIZED) /* abort() and raise() */
		r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				      WITH(0, EQ, getpid()));
#ifdef INOX_CRASH_POINTS
	if (!SANITIZED)
		r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
				      WITH(0, EQ, getpid()));
#endif
	if (!SANITIZED && (role & R_THREADS))
		r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* libcurl connects what it was given connected already (7.88 even when it is told); the call is not made,
	 * and libcurl looks whether there is a connection. */
	if (role & R_BMC)
		r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINPROGRESS), SCMP_SYS(connect), 0);
	/* "Is this a terminal?" */
	if (!SANITIZED)
		r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1,
				      WITH(1, EQ, TCGETS));
	return r;
}

/* Without anybody who answers: refused where a process with somebody would go on. */
static int refuse(scmp_filter_ctx filter, const struct sandbox_options *o)
{
	int r = 0, number;

	for (size_t i = 0; !o->ret_report_fd && i < G_N_ELEMENTS(tried_table); i++) {
		bool allowed = is_sanitizers(tried_table[i]);

		for (size_t k = 0; k < G_N_ELEMENTS(plain_table); k++)
			allowed |= plain_table[k].number == tried_table[i] &&
				   (plain_table[k].roles & (1u << o->role));
		(void)sandbox_answer(o->role, tried_table[i], &number);
		if (!allowed)
			r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)number),
					      tried_table[i], 0);
	}
	return r;
}

static void on_forbidden(int number, siginfo_t *info, void *context)
{
	char line[100];
	int length = snprintf(line, sizeof(line), "sandbox: forbidden system call %d\n",
			      info->si_syscall);

	(void)number;
	(void)context;
	ssize_t written = write(STDERR_FILENO, line, (size_t)length);
	(void)written;
	_exit(159); /* 128 + SIGSYS, as a shell shows a process that was killed */
}

static uint32_t default_action(const struct sandbox_options *o)
{
	if (o->ret_report_fd)
		return SCMP_ACT_NOTIFY;
	if (!(STRANGERS & (1u << o->role)))
		return SCMP_ACT_ERRNO(EPERM);
	return o->explain ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
}

bool sandbox_restrict_calls(const struct sandbox_options *o, GError **error)
{
	struct sigaction explain = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
	scmp_filter_ctx filter = seccomp_init(default_action(o));

	if (!filter)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED, "libseccomp does not work");
	if (o->explain)
		sigaction(SIGSYS, &explain, NULL);
	/* The other system-call tables of the machine (i386, x32) would be ways around. */
	int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) |
		allow(filter, 1u << o->role) | allow_own(filter, 1u << o->role) | refuse(filter, o);

	if (r == 0)
		r = seccomp_load(filter);
	if (r == 0 && o->ret_report_fd)
		*o->ret_report_fd = seccomp_notify_fd(filter);
	seccomp_release(filter);
	return r == 0 || inox_error_set(error, INOX_ERROR_UNSUPPORTED,
					"the system-call filter cannot be entered: the kernel "
					"needs seccomp filters with notifications "
					"(CONFIG_SECCOMP_FILTER, Linux 5.5)");
}
