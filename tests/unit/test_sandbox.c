/* Each test does the forbidden thing in a child process that entered the sandbox first. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

/* With AddressSanitizer the lists are wider: it reads files, makes threads and maps its shadow. */
#ifdef __SANITIZE_ADDRESS__
#	define STRICT false
#else
#	define STRICT true
#endif

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
		struct sandbox_options o = {role, paths, path_count, explain};
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
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return fd < 0 || memory == MAP_FAILED;
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
	return socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 ? 1 : errno == EACCES ? 0 : 2;
}

static int new_process(void)
{
	return fork() < 0 ? 2 : 1;
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
	}
	g_assert_cmpint(do_inside(ROLE_DIALER, false, unix_socket), ==, 0);
}

static void test_bmc(void)
{
	g_assert_cmpint(do_inside(ROLE_BMC, false, nothing), ==, 0);
	assert_killed(do_inside(ROLE_BMC, false, execute));
	if (STRICT) {
		assert_killed(do_inside(ROLE_BMC, false, make_code));
		assert_killed(do_inside(ROLE_BMC, false, new_process));
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
	g_test_add_func("/sandbox/the dialer can connect, but not open, execute or fork",
			test_dialer);
	g_test_add_func("/sandbox/the bmc worker can connect, but not execute or fork", test_bmc);
	g_test_add_func("/sandbox/a forbidden call can be named before the end", test_explain);
	g_test_add_func("/sandbox/files outside the named folders cannot be opened", test_files);
	return g_test_run();
}
