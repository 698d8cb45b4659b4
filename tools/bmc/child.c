#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"

struct child {
	pid_t pid;
	int pidfd;
	struct loop_watch *watch;
	child_exit_fn on_exit;
	void *ctx;
	bool ended;
};

/* In the child: only calls that are safe after fork(). */
static bool prepare(const struct child_spec *spec, pid_t parent, int output)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return false;
	/* The parent may have ended before the line above. */
	if (getppid() != parent)
		_exit(127);
	int null = open("/dev/null", O_RDONLY);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return false;
	if (output >= 0 && (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0))
		return false;
	return close_range(CHILD_FD, ~0u, CLOSE_RANGE_CLOEXEC) == 0 &&
	       (spec->fd < 0 || dup2(spec->fd, CHILD_FD) == CHILD_FD);
}

static void run_child(const struct child_spec *spec, pid_t parent, int output, int report)
{
	/* Above what CHILD_FD may overwrite; closed by a successful exec. */
	int high = fcntl(report, F_DUPFD_CLOEXEC, CHILD_FD + 1);

	if (prepare(spec, parent, output))
		execvpe(spec->argv[0], spec->argv, spec->envp ? spec->envp : environ);
	int saved = errno;
	ssize_t n = write(high, &saved, sizeof(saved));

	(void)n;
	_exit(127);
}

static void on_pidfd(void *ctx, bool readable, bool writable)
{
	struct child *c = ctx;
	int status = 0;

	(void)readable;
	(void)writable;
	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return;
	c->ended = true;
	loop_watch_set(c->watch, false, false);
	/* What it left behind in its group ends with it, as power that goes away. */
	kill(-c->pid, SIGKILL);
	c->on_exit(c->ctx, status);
}

/* The errno of a failed exec, 0 when the program runs. */
static int await_exec(int fd)
{
	int failure = 0;
	ssize_t n;

	do
		n = read(fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	return n == sizeof(failure) ? failure : 0;
}

static pid_t fork_child(const struct child_spec *spec, int output, GError **error)
{
	pid_t parent = getpid();
	int report[2];

	if (pipe2(report, O_CLOEXEC) < 0) {
		inox_error_set_errno(error, errno, "create a pipe");
		return -1;
	}
	pid_t pid = fork();
	int saved = errno;

	if (pid == 0)
		run_child(spec, parent, output, report[1]);
	close(report[1]);
	int failure = pid < 0 ? saved : await_exec(report[0]);

	close(report[0]);
	if (failure == 0)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	inox_error_set_errno(error, failure, "run %s", spec->argv[0]);
	return -1;
}

struct child *child_start(struct loop *l, const struct child_spec *spec, child_exit_fn on_exit,
			  void *ctx, GError **error)
{
	int output = -1;

	if (spec->output) {
		output = open(spec->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (output < 0) {
			inox_error_set_errno(error, errno, "open %s", spec->output);
			return NULL;
		}
	}
	pid_t pid = fork_child(spec, output, error);

	if (output >= 0)
		close(output);
	if (pid < 0)
		return NULL;
	struct child *c = g_new0(struct child, 1);

	c->pid = pid;
	c->on_exit = on_exit;
	c->ctx = ctx;
	c->pidfd = pidfd_open(pid, 0);
	if (c->pidfd < 0)
		g_error("no pidfd: %s", g_strerror(errno));
	c->watch = loop_watch_new(l, c->pidfd, on_pidfd, c);
	return c;
}

void child_signal(struct child *c, int signal)
{
	if (!c->ended)
		kill(-c->pid, signal);
}

void child_end(struct child *c, struct span grace)
{
	if (!c)
		return;
	if (!c->ended) {
		struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

		kill(-c->pid, SIGTERM);
		(void)poll(&p, 1, (int)(grace.us / 1000));
		kill(-c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	loop_watch_free(c->watch);
	close(c->pidfd);
	g_free(c);
}
