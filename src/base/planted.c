#include "planted.h"

#ifdef INOX_PLANTED_TAKEOVER
#	include <arpa/inet.h>
#	include <errno.h>
#	include <fcntl.h>
#	include <glib.h>
#	include <linux/userfaultfd.h>
#	include <netinet/in.h>
#	include <sched.h>
#	include <signal.h>
#	include <stdio.h>
#	include <stdlib.h>
#	include <string.h>
#	include <sys/mman.h>
#	include <sys/mount.h>
#	include <sys/prctl.h>
#	include <sys/ptrace.h>
#	include <sys/socket.h>
#	include <sys/syscall.h>
#	include <sys/un.h>
#	include <unistd.h>

#	define MARK          "\"planted\": \""
#	define CONNECTOR_FD  6
#	define ARGUMENT_MOST 200

static void say(const char *name, const char *what, int number)
{
	char line[300];
	int n = snprintf(line, sizeof(line), "planted %s: %s%s%s\n", name, what, number ? ": " : "",
			 number ? strerrordesc_np(number) : "");
	ssize_t written = write(STDERR_FILENO, line, (size_t)n);

	(void)written;
}

static int open_file(const char *path)
{
	return open(path, O_RDONLY);
}

static int write_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT, 0600);
}

/* "127.0.0.1:80" */
static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	g_autofree char *host = g_strndup(text, colon ? (size_t)(colon - text) : strlen(text));

	inet_pton(AF_INET, host, &sin.sin_addr);
	sin.sin_port = htons((uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 80));
	return sin;
}

static int connect_to(const char *to)
{
	struct sockaddr_in sin = address_of(to);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : connect(fd, (struct sockaddr *)&sin, sizeof(sin));
}

static int send_datagram(const char *to)
{
	struct sockaddr_in sin = address_of(to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return fd < 0 ? fd : (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&sin, sizeof(sin));
}

static int listen_on(const char *at)
{
	struct sockaddr_in sin = address_of(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ? -1 : listen(fd, 1);
}

static int poke(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	return fd < 0 ? fd : (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, sizeof(sa));
}

/* The one way out that there is: as in src/ipc/connect.h. */
static int ask_connector(const char *to)
{
	struct sockaddr_in sin = address_of(to);
	struct {
		uint32_t id;
		uint16_t number;
		uint8_t family, zero, address[16];
	} rq = {.id = 0x7fffffff, .number = ntohs(sin.sin_port), .family = 4};
	struct {
		uint32_t id;
		int32_t error;
	} reply = {0};

	memcpy(rq.address, &sin.sin_addr, 4);
	if (send(CONNECTOR_FD, &rq, sizeof(rq), MSG_NOSIGNAL) != sizeof(rq))
		return -1;
	do
		while (recv(CONNECTOR_FD, &reply, sizeof(reply), 0) < 0 && errno == EAGAIN)
			;
	while (reply.id != rq.id);
	errno = reply.error;
	return reply.error ? -1 : 0;
}

static int make_socket_raw(const char *none)
{
	(void)none;
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int make_socket_netlink(const char *none)
{
	(void)none;
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int execute(const char *none)
{
	char program[] = "/bin/echo", text[] = "planted execve: succeeded";
	char *argv[] = {program, text, NULL};

	(void)none;
	return execve(program, argv, environ);
}

static int execute_memory(const char *none)
{
	char name[] = "script", *argv[] = {name, NULL};
	static const char script[] = "#!/bin/echo planted memfd: succeeded\n";
	int fd = memfd_create(name, 0);

	(void)none;
	if (fd < 0 || write(fd, script, sizeof(script) - 1) < 0)
		return -1;
	return fexecve(fd, argv, environ);
}

static int make_code(const char *none)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)none;
	return p == MAP_FAILED ? -1 : 0;
}

static int make_process(const char *none)
{
	pid_t pid = fork();

	(void)none;
	if (pid == 0)
		_exit(0);
	return pid;
}

/* SIGWINCH does nothing to who does not wait for it. */
static int signal_other(const char *none)
{
	(void)none;
	return kill(getppid(), SIGWINCH);
}

static int signal_thread(const char *none)
{
	(void)none;
	return (int)syscall(SYS_tgkill, getppid(), getppid(), SIGWINCH);
}

static int signal_by_descriptor(const char *none)
{
	(void)none;
	return fcntl(STDERR_FILENO, F_SETOWN, getppid());
}

static int trace(const char *none)
{
	(void)none;
	if (ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) < 0)
		return -1;
	/* Its tracer's end lets it go; else no signal reaches it any more. */
	say("ptrace", "succeeded", 0);
	_exit(0);
}

static int be_dumpable(const char *none)
{
	(void)none;
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int be_other_user(const char *none)
{
	(void)none;
	return (int)syscall(SYS_setuid, getuid());
}

static int load_program(const char *none)
{
	uint32_t attr[32] = {2, 4, 4, 1}; /* an array map */

	(void)none;
	return (int)syscall(SYS_bpf, 0, attr, sizeof(attr));
}

static int use_ring(const char *none)
{
	uint32_t parameters[40] = {0};

	(void)none;
	return (int)syscall(SYS_io_uring_setup, 4, parameters);
}

static int handle_faults(const char *none)
{
	(void)none;
	return (int)syscall(SYS_userfaultfd, O_CLOEXEC);
}

static int leave_namespace(const char *none)
{
	(void)none;
	return unshare(CLONE_NEWUTS);
}

static int mount_something(const char *none)
{
	(void)none;
	return mount("none", "/nowhere", "tmpfs", 0, NULL) < 0 && errno != ENOENT ? -1 : 0;
}

static const struct attempt {
	const char *name;
	int (*try)(const char *argument);
} attempts[] = {
	{"open", open_file},
	{"write", write_file},
	{"connect", connect_to},
	{"datagram", send_datagram},
	{"listen", listen_on},
	{"poke", poke},
	{"connector", ask_connector},
	{"raw", make_socket_raw},
	{"netlink", make_socket_netlink},
	{"execve", execute},
	{"memfd", execute_memory},
	{"code", make_code},
	{"fork", make_process},
	{"kill", signal_other},
	{"tgkill", signal_thread},
	{"sigio", signal_by_descriptor},
	{"ptrace", trace},
	{"dumpable", be_dumpable},
	{"setuid", be_other_user},
	{"bpf", load_program},
	{"io_uring", use_ring},
	{"userfaultfd", handle_faults},
	{"unshare", leave_namespace},
	{"mount", mount_something},
};

static void try_attempt(const char *name, const char *argument)
{
	for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
		if (strcmp(attempts[i].name, name) != 0)
			continue;
		say(name, "tried", 0);
		errno = 0;
		bool good = attempts[i].try(argument) >= 0;

		say(name, good ? "succeeded" : "refused", good ? 0 : errno);
	}
}

void planted_takeover(const char *body, size_t length)
{
	const char *at = body ? g_strstr_len(body, (gssize)length, MARK) : NULL;
	const char *end = at ? strchr(at + strlen(MARK), '"') : NULL;

	if (!end || end - at > ARGUMENT_MOST)
		return;
	at += strlen(MARK);
	g_autofree char *text = g_strndup(at, (size_t)(end - at));
	char *blank = strchr(text, ' ');

	if (blank)
		*blank = '\0';
	try_attempt(text, blank ? blank + 1 : "");
}

bool planted_is_unconfined(void)
{
	return getenv("INOX_PLANTED_UNCONFINED") != NULL;
}
#endif
