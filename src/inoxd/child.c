#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "crash_point.h"
#include "errors.h"

/* What a process is made of. */
struct child_parts {
	char *const *argv, *const *envp;
	enum role role;
	const struct users *users;
	const int *fds;
	unsigned count;
	pid_t parent;
};

/* Runs between fork() and exec(): system calls only. */
static void run_child(const struct child_parts *c)
{
	const int *fds = c->fds;
	unsigned count = c->count;
	int moved[CHILD_FD_MOST];
	sigset_t none;

	/* A change of the user takes the parent's end as a signal away, so it comes first. */
	if (!users_enter(c->users, c->role) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    getppid() != c->parent)
		_exit(1);
	/* First out of the way of 3, 4, ..., then into place; dup2() clears close-on-exec. */
	for (unsigned i = 0; i < count; i++) {
		moved[i] = fcntl(fds[i], F_DUPFD, CHILD_FD_FIRST + CHILD_FD_MOST);
		if (moved[i] < 0)
			_exit(1);
	}
	for (unsigned i = 0; i < count; i++)
		if (dup2(moved[i], CHILD_FD_FIRST + (int)i) < 0)
			_exit(1);
	if (close_range(CHILD_FD_FIRST + count, ~0u, 0) < 0)
		_exit(1);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve("/proc/self/exe", c->argv, c->envp);
	_exit(1);
}

pid_t child_spawn(enum role role, const struct users *users, const int *fds, unsigned count,
		  GError **error)
{
	g_autofree char *name = g_strdup(role_text[role]);
	char program[] = "inoxd", option[] = "--worker";
	char *argv[] = {program, option, name, NULL};
	g_auto(GStrv) envp = g_get_environ();
	pid_t parent = getpid();

	g_assert(count <= CHILD_FD_MOST);
	/* Children do not speak to the service manager. */
	envp = g_environ_unsetenv(envp, "NOTIFY_SOCKET");
	envp = g_environ_unsetenv(envp, "WATCHDOG_USEC");
	envp = g_environ_unsetenv(envp, "WATCHDOG_PID");
	envp = crash_point_environment(envp, role_text[role]);
	pid_t pid = fork();

	if (pid < 0) {
		inox_error_set_errno(error, errno, "start process %s", name);
		return -1;
	}
	if (pid == 0)
		run_child(&(struct child_parts){argv, envp, role, users, fds, count, parent});
	return pid;
}

int child_file_of_text(const char *name, const char *text, GError **error)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	size_t length = strlen(text);

	if (fd < 0) {
		inox_error_set_errno(error, errno, "make an anonymous file");
		return -1;
	}
	if (write(fd, text, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) < 0) {
		inox_error_set_errno(error, errno, "write an anonymous file");
		close(fd);
		return -1;
	}
	return fd;
}
