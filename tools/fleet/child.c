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
#define FD_COUNT     3
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
static void run_inoxd(const char *inoxd, const int fds[static FD_COUNT], pid_t parent)
{
	char program[] = "inoxd", option[] = "--worker", role[] = "dialer";
	char *argv[] = {program, option, role, NULL};
	int moved[FD_COUNT];

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (int i = 0; i < FD_COUNT; i++) {
		moved[i] = fcntl(fds[i], F_DUPFD, FD_ASIDE);
		if (moved[i] < 0)
			_exit(1);
	}
	for (int i = 0; i < FD_COUNT; i++)
		if (dup2(moved[i], FD_FIRST + i) < 0)
			_exit(1);
	if (close_range(FD_FIRST + FD_COUNT, ~0u, 0) < 0)
		_exit(1);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	execv(inoxd, argv);
	_exit(127);
}

static int write_configuration(const char *text, GError **error)
{
	g_autoptr(config) c = config_parse(text, strlen(text), "inox-fleet", error);

	if (!c)
		return -1;
	int fd = memfd_create("inox-fleet", MFD_CLOEXEC);

	if (fd < 0) {
		inox_error_set_errno(error, errno, "make an anonymous file");
		return -1;
	}
	if (!config_write_for_role(c, ROLE_DIALER, fd, error)) {
		close(fd);
		return -1;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

bool child_start_dialer(const char *inoxd, const char *configuration,
			struct dialer_child *ret_child, GError **error)
{
	int supervisor[2], conductor[2];
	pid_t parent = getpid();

	if (access(inoxd, X_OK) != 0)
		return inox_error_set_errno(error, errno, "start %s", inoxd);
	int file = write_configuration(configuration, error);

	if (file < 0 || !channel_pair(supervisor, error) || !channel_pair(conductor, error))
		return false;
	const int fds[FD_COUNT] = {file, supervisor[1], conductor[1]};
	pid_t pid = fork();

	if (pid == 0)
		run_inoxd(inoxd, fds, parent);
	int saved = errno;

	close(file);
	close(supervisor[1]);
	close(conductor[1]);
	if (pid < 0) {
		close(supervisor[0]);
		close(conductor[0]);
		return inox_error_set_errno(error, saved, "start a process");
	}
	*ret_child = (struct dialer_child){pid, supervisor[0], conductor[0]};
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
