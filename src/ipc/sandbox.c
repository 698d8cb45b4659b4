#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"

#if defined(__SANITIZE_ADDRESS__)
#	define SANITIZED 1
#elif defined(__has_feature)
#	if __has_feature(address_sanitizer)
#		define SANITIZED 1
#	endif
#endif
#ifndef SANITIZED
#	define SANITIZED 0
#endif

#define ANY_ROLE ((1u << ROLE_DIALER) | (1u << ROLE_BMC))
#define BMC_ONLY (1u << ROLE_BMC)

/* clang-format off */
/* What the loop, OpenSSL and malloc need.  Calls with conditions on their arguments are in
 * allow_conditional(). */
static const struct allowed {
	int number;
	unsigned roles;
} allowed_table[] = {
	{SCMP_SYS(read), ANY_ROLE}, {SCMP_SYS(write), ANY_ROLE},
	{SCMP_SYS(readv), ANY_ROLE}, {SCMP_SYS(writev), ANY_ROLE},
	{SCMP_SYS(recvfrom), ANY_ROLE}, {SCMP_SYS(sendto), ANY_ROLE},
	{SCMP_SYS(recvmsg), ANY_ROLE}, {SCMP_SYS(sendmsg), ANY_ROLE},
	{SCMP_SYS(connect), ANY_ROLE}, {SCMP_SYS(shutdown), ANY_ROLE},
	{SCMP_SYS(getsockopt), ANY_ROLE}, {SCMP_SYS(setsockopt), ANY_ROLE},
	{SCMP_SYS(getsockname), ANY_ROLE}, {SCMP_SYS(getpeername), ANY_ROLE},
	{SCMP_SYS(close), ANY_ROLE}, {SCMP_SYS(fcntl), ANY_ROLE},
	{SCMP_SYS(epoll_create1), ANY_ROLE}, {SCMP_SYS(epoll_ctl), ANY_ROLE},
	{SCMP_SYS(epoll_wait), ANY_ROLE}, {SCMP_SYS(epoll_pwait), ANY_ROLE},
	{SCMP_SYS(epoll_pwait2), ANY_ROLE}, {SCMP_SYS(poll), ANY_ROLE},
	{SCMP_SYS(eventfd2), ANY_ROLE}, {SCMP_SYS(pipe2), ANY_ROLE},
	{SCMP_SYS(timerfd_settime), ANY_ROLE}, {SCMP_SYS(fstat), ANY_ROLE},
	{SCMP_SYS(munmap), ANY_ROLE}, {SCMP_SYS(mremap), ANY_ROLE},
	{SCMP_SYS(madvise), ANY_ROLE}, {SCMP_SYS(brk), ANY_ROLE},
	{SCMP_SYS(futex), ANY_ROLE}, {SCMP_SYS(getrandom), ANY_ROLE},
	{SCMP_SYS(clock_gettime), ANY_ROLE}, {SCMP_SYS(gettimeofday), ANY_ROLE},
	{SCMP_SYS(clock_nanosleep), ANY_ROLE}, {SCMP_SYS(nanosleep), ANY_ROLE},
	{SCMP_SYS(restart_syscall), ANY_ROLE}, {SCMP_SYS(sched_yield), ANY_ROLE},
	{SCMP_SYS(rt_sigaction), ANY_ROLE}, {SCMP_SYS(rt_sigprocmask), ANY_ROLE},
	{SCMP_SYS(rt_sigreturn), ANY_ROLE}, {SCMP_SYS(getpid), ANY_ROLE},
	{SCMP_SYS(getppid), ANY_ROLE},
	{SCMP_SYS(gettid), ANY_ROLE}, {SCMP_SYS(tgkill), ANY_ROLE},
	{SCMP_SYS(exit), ANY_ROLE}, {SCMP_SYS(exit_group), ANY_ROLE},
	/* Its drivers block, so it has threads; it reads the system's certificates (Landlock says
	 * which files). */
	{SCMP_SYS(set_robust_list), BMC_ONLY}, {SCMP_SYS(rseq), BMC_ONLY},
	{SCMP_SYS(sched_getaffinity), BMC_ONLY}, {SCMP_SYS(sigaltstack), BMC_ONLY},
	{SCMP_SYS(socketpair), BMC_ONLY}, {SCMP_SYS(prctl), BMC_ONLY},
	{SCMP_SYS(openat), BMC_ONLY}, {SCMP_SYS(newfstatat), BMC_ONLY},
	{SCMP_SYS(access), BMC_ONLY}, {SCMP_SYS(lseek), BMC_ONLY},
	{SCMP_SYS(getdents64), BMC_ONLY}, {SCMP_SYS(uname), BMC_ONLY},
	{SCMP_SYS(getuid), BMC_ONLY}, {SCMP_SYS(geteuid), BMC_ONLY},
	{SCMP_SYS(getgid), BMC_ONLY}, {SCMP_SYS(getegid), BMC_ONLY},
	{SCMP_SYS(sysinfo), BMC_ONLY}, {SCMP_SYS(bind), BMC_ONLY},
	{SCMP_SYS(sched_getattr), BMC_ONLY}, {SCMP_SYS(sched_setattr), BMC_ONLY},
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
	SCMP_SYS(pipe), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(uname), SCMP_SYS(socketpair),
	SCMP_SYS(ioctl), SCMP_SYS(msync),
};

/* Libraries look for files, names and terminals on the way; a refusal is an answer they know. */
static const int refused_table[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat),
	SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(socket), SCMP_SYS(ioctl),
};
/* clang-format on */

/* ---- Landlock */

static int landlock_create(const struct landlock_ruleset_attr *attr, size_t size, unsigned flags)
{
	return (int)syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

#define FILE_READ  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE)
#define FILE_WRITE LANDLOCK_ACCESS_FS_WRITE_FILE

/* All rights that the kernel's version of Landlock knows: what is not handled would stay allowed. */
static uint64_t known_rights(int version)
{
	uint64_t rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

#ifdef LANDLOCK_ACCESS_FS_REFER
	if (version >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
#endif
#ifdef LANDLOCK_ACCESS_FS_TRUNCATE
	if (version >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
#endif
	return version >= 1 ? rights : 0;
}

static bool add_path(int ruleset, const struct sandbox_path *p, uint64_t known, GError **error)
{
	uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	uint64_t for_files = FILE_READ | FILE_WRITE;
	struct landlock_path_beneath_attr rule = {.allowed_access = p->write ? known : reading};
	struct stat st;

#ifdef LANDLOCK_ACCESS_FS_TRUNCATE
	for_files |= LANDLOCK_ACCESS_FS_TRUNCATE;
#endif
	rule.allowed_access &= ~LANDLOCK_ACCESS_FS_EXECUTE;
	rule.parent_fd = open(p->path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0 && errno == ENOENT)
		return true;
	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &st) < 0) {
		inox_error_set_errno(error, errno, "open %s for the sandbox", p->path);
		if (rule.parent_fd >= 0)
			close(rule.parent_fd);
		return false;
	}
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= for_files;
	long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int saved = errno;

	close(rule.parent_fd);
	return result == 0 ||
	       inox_error_set_errno(error, saved, "allow %s in the sandbox", p->path);
}

static bool add_paths(int ruleset, const struct sandbox_options *o, uint64_t known, GError **error)
{
	/* The leak check looks at the process's own memory map. */
	static const struct sandbox_path proc = {"/proc", false};

	if (SANITIZED && !add_path(ruleset, &proc, known, error))
		return false;
	for (unsigned i = 0; i < o->path_count; i++)
		if (!add_path(ruleset, &o->paths[i], known, error))
			return false;
	return true;
}

static bool restrict_files(const struct sandbox_options *o, bool *ret_landlock, GError **error)
{
	int version = landlock_create(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = {.handled_access_fs = known_rights(version)};

	*ret_landlock = version >= 1;
	if (version < 1)
		return true;
	int ruleset = landlock_create(&attr, sizeof(attr), 0);

	if (ruleset < 0)
		return inox_error_set_errno(error, errno, "make a Landlock rule set");
	bool ok = add_paths(ruleset, o, attr.handled_access_fs, error);

	if (ok && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		ok = inox_error_set_errno(error, errno, "enter Landlock");
	close(ruleset);
	return ok;
}

/* ---- seccomp */

/* No new code: memory is never made executable.  Connections to the Internet families only. */
static int allow_conditional(scmp_filter_ctx filter, enum role role)
{
	static const int families[] = {AF_INET, AF_INET6};
	int r = 0;

	r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
		r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			      SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	if (role != ROLE_BMC)
		return r;
	r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			      SCMP_A1(SCMP_CMP_EQ, FIONBIO));
	/* Threads, not processes.  clone3() has its flags in memory, where no filter sees them; with
	 * ENOSYS the C library uses clone(). */
	r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return r;
}

static bool is_allowed(enum role role, int number)
{
	for (size_t i = 0; i < G_N_ELEMENTS(allowed_table); i++)
		if (allowed_table[i].number == number && (allowed_table[i].roles & (1u << role)))
			return true;
	for (size_t i = 0; SANITIZED && i < G_N_ELEMENTS(sanitizer_table); i++)
		if (sanitizer_table[i] == number)
			return true;
	return false;
}

static int allow_plain(scmp_filter_ctx filter, enum role role)
{
	int r = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(allowed_table); i++)
		if (allowed_table[i].roles & (1u << role))
			r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_table[i].number, 0);
	for (size_t i = 0; SANITIZED && i < G_N_ELEMENTS(sanitizer_table); i++)
		r |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, sanitizer_table[i], 0);
	return r;
}

/* socket() and ioctl() have conditions above, so refusing some of the rest needs conditions, too. */
static int refuse(scmp_filter_ctx filter, enum role role)
{
	static const scmp_datum_t families[] = {AF_UNIX, AF_NETLINK};
	int r = 0;

	for (size_t i = 0; i < G_N_ELEMENTS(refused_table); i++) {
		int number = refused_table[i];

		if (is_allowed(role, number))
			continue;
		if (number == SCMP_SYS(socket))
			for (size_t f = 0; f < G_N_ELEMENTS(families); f++)
				r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), number, 1,
						      SCMP_A0(SCMP_CMP_EQ, families[f]));
		else if (number == SCMP_SYS(ioctl))
			r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), number, 1,
					      SCMP_A1(SCMP_CMP_EQ, TCGETS));
		else
			r |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), number, 0);
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

static bool restrict_calls(const struct sandbox_options *o, GError **error)
{
	struct sigaction explain = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
	scmp_filter_ctx filter = seccomp_init(o->explain ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);

	if (!filter)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED, "libseccomp does not work");
	if (o->explain)
		sigaction(SIGSYS, &explain, NULL);
	int r = allow_plain(filter, o->role) | allow_conditional(filter, o->role) |
		refuse(filter, o->role);

	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == 0 || inox_error_set(error, INOX_ERROR_UNSUPPORTED,
					"the system-call filter cannot be entered: the kernel "
					"needs seccomp filters (CONFIG_SECCOMP_FILTER)");
}

bool sandbox_enter(const struct sandbox_options *o, bool *ret_landlock, GError **error)
{
	static const struct rlimit none = {0, 0};
	bool landlock = false;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return inox_error_set_errno(error, errno, "give up privileges");
	/* The leak check attaches to its own process, which an undumpable one refuses. */
	if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return inox_error_set_errno(error, errno, "refuse debuggers");
	if (!restrict_files(o, &landlock, error))
		return false;
	if ((ANY_ROLE & (1u << o->role)) && !restrict_calls(o, error))
		return false;
	*ret_landlock = landlock;
	return true;
}
