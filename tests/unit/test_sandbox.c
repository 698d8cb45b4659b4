/* Each test does the forbidden thing in a child process that entered the sandbox first. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "sandbox.h"
#include "sanitized.h"

/* With AddressSanitizer the lists are wider: it reads files, makes threads and maps its shadow. */
#define STRICT      (!SANITIZED)

#define LANDLOCKED  2 /* exit status: refused, and the kernel has Landlock */
#define NO_LANDLOCK 3

typedef int (*deed_fn)(void);

static struct sandbox_path paths[2];
static unsigned path_count;

/* Wait status of a child that enters the role's sandbox and does the deed. */
static int do_inside(enum role role, bool explain, deed_fn deed)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct sandbox_options o = {
			.role = role, .paths = paths, .path_count = path_count, .explain = explain};
		bool landlock = false;

		g_autoptr(GError) error = NULL;

		if (!sandbox_enter(&o, &landlock, &error)) {
			fprintf(stderr, "%s\n", error->message);
			_exit(99);
		}
		_exit(deed());
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 99);
	return status;
}

static int nothing(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED;
}

static int tcp_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) < 0;
}

static int udp_socket(void)
{
	socket(AF_INET, SOCK_DGRAM, 0);
	return 1;
}

static int open_passwd(void)
{
	return open("/etc/passwd", O_RDONLY) >= 0 ? 1 : errno == EACCES ? 0 : 2;
}

static int execute(void)
{
	char program[] = "/bin/true";
	char *argv[] = {program, NULL};

	execve(program, argv, NULL);
	return 1;
}

static int make_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 1;
}

static int unix_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 ? 1 : 0;
}

static int new_process(void)
{
	return fork() < 0 ? 2 : 1;
}

static int signal_parent(void)
{
	kill(getppid(), 0);
	return 1;
}

/* MSG_FASTOPEN connects. */
static int connect_by_sending(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};

	sendto(STDERR_FILENO, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to));
	return 1;
}

/* Whoever owns a descriptor may be sent a signal of choice when it is ready. */
static int own_a_descriptor(void)
{
	fcntl(STDERR_FILENO, F_SETOWN, getppid());
	return 1;
}

static int refused_execution(void)
{
	char program[] = "/bin/true";
	char *argv[] = {program, NULL};

	return execve(program, argv, NULL) == 0 || errno != EPERM;
}

static int refused_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL) == 0 || errno != EPERM;
}

static int receive_fd(int from)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct pollfd p = {.fd = from, .events = POLLIN};
	int fd;

	g_assert_cmpint(poll(&p, 1, 20000), ==, 1);
	g_assert_cmpint(recvmsg(from, &msg, 0), ==, 1);
	g_assert_nonnull(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void assert_killed(int status)
{
	g_assert_true(WIFSIGNALED(status));
	g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
}

static void test_dialer(void)
{
	g_assert_cmpint(do_inside(ROLE_DIALER, false, nothing), ==, 0);
	assert_killed(do_inside(ROLE_DIALER, false, execute));
	if (STRICT) {
		g_assert_cmpint(do_inside(ROLE_DIALER, false, open_passwd), ==, 0);
		assert_killed(do_inside(ROLE_DIALER, false, make_code));
		assert_killed(do_inside(ROLE_DIALER, false, new_process));
		assert_killed(do_inside(ROLE_DIALER, false, signal_parent));
		assert_killed(do_inside(ROLE_DIALER, false, own_a_descriptor));
	}
	assert_killed(do_inside(ROLE_DIALER, false, unix_socket));
	assert_killed(do_inside(ROLE_DIALER, false, tcp_socket));
	assert_killed(do_inside(ROLE_DIALER, false, connect_by_sending));
}

static void test_connector(void)
{
	g_assert_cmpint(do_inside(ROLE_CONNECTOR, false, tcp_socket), ==, 0);
	assert_killed(do_inside(ROLE_CONNECTOR, false, udp_socket));
	assert_killed(do_inside(ROLE_CONNECTOR, false, unix_socket));
	assert_killed(do_inside(ROLE_CONNECTOR, false, execute));
}

/* What is trusted gets an errno. */
static void test_trusted(void)
{
	static const enum role roles[] = {ROLE_API, ROLE_CONDUCTOR, ROLE_BOOT};

	for (size_t i = 0; i < G_N_ELEMENTS(roles); i++) {
		g_assert_cmpint(do_inside(roles[i], false, nothing), ==, 0);
		g_assert_cmpint(do_inside(roles[i], false, refused_execution), ==, 0);
		g_assert_cmpint(do_inside(roles[i], false, refused_mount), ==, 0);
	}
	g_assert_cmpint(WEXITSTATUS(do_inside(ROLE_API, false, tcp_socket)), ==, 1);
	g_assert_cmpint(WEXITSTATUS(do_inside(ROLE_CONDUCTOR, false, tcp_socket)), ==, 1);
	g_assert_cmpint(do_inside(ROLE_BOOT, false, tcp_socket), ==, 0);
}

/* The end of the pipe gets no answer: the call waits, and its caller is killed. */
static void test_report(void)
{
	int pair[2], fd = -1, status;
	struct seccomp_notif *asked;
	struct seccomp_notif_resp *answer;
	struct message m = {.type = MESSAGE_sandboxed};

	g_assert_true(channel_pair(pair, NULL));
	pid_t pid = fork();

	if (pid == 0) {
		g_autoptr(loop) l = loop_new();
		struct channel *c = channel_new(l, pair[0], NULL, NULL, NULL);
		struct sandbox_options o = {.role = ROLE_DIALER, .ret_report_fd = &fd};
		bool landlock;

		if (!sandbox_enter(&o, &landlock, NULL) || !channel_send_fd(c, &m, fd, NULL))
			_exit(99);
		close(fd);
		_exit(execute());
	}
	close(pair[0]);
	fd = receive_fd(pair[1]);
	g_assert_cmpint(seccomp_notify_alloc(&asked, &answer), ==, 0);
	g_assert_cmpint(seccomp_notify_receive(fd, asked), ==, 0);
	g_assert_cmpint(asked->data.nr, ==, SCMP_SYS(execve));
	g_assert_cmpint((int)asked->pid, ==, pid);
	kill(pid, SIGKILL);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status));
	seccomp_notify_free(asked, answer);
	close(fd);
	close(pair[1]);
}

static void test_answers(void)
{
	int number = 0;

	g_assert_cmpint(sandbox_answer(ROLE_DIALER, SCMP_SYS(execve), &number), ==, SANDBOX_KILL);
	g_assert_cmpint(sandbox_answer(ROLE_DIALER, SCMP_SYS(openat), &number), ==, SANDBOX_REFUSE);
	g_assert_cmpint(number, ==, EACCES);
	g_assert_cmpint(sandbox_answer(ROLE_API, SCMP_SYS(execve), &number), ==, SANDBOX_REFUSE);
	g_assert_cmpint(number, ==, EPERM);
}

static void test_bmc(void)
{
	g_assert_cmpint(do_inside(ROLE_BMC, false, nothing), ==, 0);
	assert_killed(do_inside(ROLE_BMC, false, execute));
	assert_killed(do_inside(ROLE_BMC, false, tcp_socket));
	if (STRICT) {
		assert_killed(do_inside(ROLE_BMC, false, make_code));
		assert_killed(do_inside(ROLE_BMC, false, new_process));
		g_assert_cmpint(do_inside(ROLE_BMC, false, open_passwd), ==, 0);
	}
}

static void test_explain(void)
{
	int status = do_inside(ROLE_DIALER, true, execute);

	g_assert_true(WIFEXITED(status));
	g_assert_cmpint(WEXITSTATUS(status), ==, 159);
}

static char *allowed_file, *forbidden_file;

static int open_files(void)
{
	int fd = open(allowed_file, O_RDWR | O_CREAT, 0600);

	if (fd < 0 || write(fd, "x", 1) != 1 || unlink(allowed_file) < 0)
		return 1;
	return open(forbidden_file, O_RDONLY) < 0 ? LANDLOCKED : NO_LANDLOCK;
}

static void test_files(void)
{
	g_autofree char *folder = g_dir_make_tmp("inox-test-XXXXXX", NULL);
	g_autofree char *state = g_build_filename(folder, "state", NULL);

	g_assert_cmpint(mkdir(state, 0700), ==, 0);
	allowed_file = g_build_filename(state, "allowed", NULL);
	forbidden_file = g_build_filename(folder, "forbidden", NULL);
	g_assert_true(g_file_set_contents(forbidden_file, "x", 1, NULL));
	paths[0] = (struct sandbox_path){state, true};
	path_count = 1;
	int status = do_inside(ROLE_CONDUCTOR, false, open_files);

	path_count = 0;
	unlink(forbidden_file);
	rmdir(state);
	rmdir(folder);
	g_free(allowed_file);
	g_free(forbidden_file);
	g_assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_LANDLOCK) {
		g_test_skip("the kernel has no Landlock");
		return;
	}
	g_assert_cmpint(WEXITSTATUS(status), ==, LANDLOCKED);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sandbox/the dialer cannot connect, open, execute, fork or signal",
			test_dialer);
	g_test_add_func("/sandbox/the bmc worker cannot connect, execute or fork", test_bmc);
	g_test_add_func("/sandbox/the connector can open TCP connections only", test_connector);
	g_test_add_func(
		"/sandbox/api, conductor and boot get an error for what is not on their list",
		test_trusted);
	g_test_add_func("/sandbox/a forbidden call is seen by another process before it happens",
			test_report);
	g_test_add_func("/sandbox/strangers' workers end at a call that libraries do not try",
			test_answers);
	g_test_add_func("/sandbox/a forbidden call can be named before the end", test_explain);
	g_test_add_func("/sandbox/files outside the named folders cannot be opened", test_files);
	return g_test_run();
}
