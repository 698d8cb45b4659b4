#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "config.h"
#include "errors.h"
#include "role.h"

#define FD_FIRST     3
#define FD_MOST      (2 + CHILD_EXTRA_MOST)
#define FD_ASIDE     64
#define STOP_LOOK_US 2000

pid_t child_fork(int (*fn)(const void *ctx), const void *ctx, GError **error)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		inox_error_set_errno(error, errno, "start a process");
		return -1;
	}
	if (pid > 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	exit(fn(ctx));
}

/* Between fork() and exec(): system calls only. */
static void run_inoxd(const char *inoxd, char *const *argv, const int *fds, unsigned count,
		      pid_t parent)
{
	int moved[FD_MOST];

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (unsigned i = 0; i < count; i++) {
		moved[i] = fcntl(fds[i], F_DUPFD, FD_ASIDE);
		if (moved[i] < 0)
			_exit(1);
	}
	for (unsigned i = 0; i < count; i++)
		if (dup2(moved[i], FD_FIRST + (int)i) < 0)
			_exit(1);
	if (close_range(FD_FIRST + count, ~0u, 0) < 0)
		_exit(1);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	execv(inoxd, argv);
	_exit(127);
}

static int write_configuration(enum role role, const char *text, GError **error)
{
	g_autoptr(config) c = config_parse(text, strlen(text), "inox-fleet", error);

	if (!c)
		return -1;
	int fd = memfd_create("inox-fleet", MFD_CLOEXEC);

	if (fd < 0) {
		inox_error_set_errno(error, errno, "make an anonymous file");
		return -1;
	}
	if (!config_write_for_role(c, role, fd, error)) {
		close(fd);
		return -1;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

bool child_start_worker(const char *inoxd, enum role role, const char *configuration,
			const int *extra, unsigned count, struct worker_child *ret_child,
			GError **error)
{
	char program[] = "inoxd", option[] = "--worker";
	g_autofree char *name = g_strdup(role_text[role]);
	char *argv[] = {program, option, name, NULL};
	int supervisor[2], fds[FD_MOST];
	pid_t parent = getpid();

	g_assert(count <= CHILD_EXTRA_MOST);
	if (access(inoxd, X_OK) != 0)
		return inox_error_set_errno(error, errno, "start %s", inoxd);
	fds[0] = write_configuration(role, configuration, error);
	if (fds[0] < 0 || !channel_pair(supervisor, error))
		return false;
	fds[1] = supervisor[1];
	for (unsigned i = 0; i < count; i++)
		fds[2 + i] = extra[i];
	pid_t pid = fork();

	if (pid == 0)
		run_inoxd(inoxd, argv, fds, 2 + count, parent);
	int saved = errno;

	close(fds[0]);
	close(supervisor[1]);
	if (pid < 0) {
		close(supervisor[0]);
		return inox_error_set_errno(error, saved, "start a process");
	}
	*ret_child = (struct worker_child){pid, supervisor[0]};
	return true;
}

int child_stop(pid_t pid, unsigned patience_ms)
{
	int status = 0;

	kill(pid, SIGTERM);
	for (unsigned waited_us = 0; waited_us < patience_ms * 1000; waited_us += STOP_LOOK_US) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			return status;
		usleep(STOP_LOOK_US);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return status;
}

static bool read_numbers(pid_t pid, const char *file, unsigned long long *first,
			 unsigned long long *second)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, file);
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) &&
	       sscanf(text, "%llu %llu", first, second) == 2;
}

uint64_t child_cpu_ns(pid_t pid)
{
	unsigned long long on_cpu = 0, waiting = 0;

	/* Of the first thread; none of these processes has another one. */
	return read_numbers(pid, "schedstat", &on_cpu, &waiting) ? on_cpu : 0;
}

uint64_t child_resident_bytes(pid_t pid)
{
	unsigned long long all = 0, resident = 0;

	return read_numbers(pid, "statm", &all, &resident)
		       ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
		       : 0;
}
