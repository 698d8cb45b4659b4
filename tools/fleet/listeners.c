#include "listeners.h"

#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "errors.h"

#define BACKLOG 4096
#define DEVICE  "lo"
/* Where the dialled address is in a packet, seen from its IP header (RFC 791). */
#define IPV4_DESTINATION (uint32_t)(SKF_NET_OFF + 16)

static bool set_number(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* The device is read back: a kernel that ignores the wish would let strangers in. */
static bool keep_on_loopback(int fd, GError **error)
{
	char device[IFNAMSIZ] = "";
	socklen_t length = sizeof(device);

	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, DEVICE, sizeof(DEVICE)) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) != 0)
		return inox_error_set_errno(error, errno, "keep a socket on the loopback device");
	if (strcmp(device, DEVICE) != 0)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "the system does not keep sockets on the loopback device");
	return true;
}

static bool bind_any(int fd, int family, unsigned port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
				  .sin6_port = htons((uint16_t)port),
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	if (family == AF_INET)
		return bind(fd, (const struct sockaddr *)&v4, sizeof(v4)) == 0;
	return bind(fd, (const struct sockaddr *)&v6, sizeof(v6)) == 0;
}

static int open_socket(int family, unsigned port, GError **error)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		inox_error_set_errno(error, errno, "make a socket");
		return -1;
	}
	/* Deferred: a connection is handed over with its first bytes, which saves a round of epoll. */
	if (keep_on_loopback(fd, error)) {
		if (set_number(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
		    set_number(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
		    set_number(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1) && bind_any(fd, family, port))
			return fd;
		inox_error_set_errno(error, errno, "bind port %u of the loopback device", port);
	}
	close(fd);
	return -1;
}

/* ---- what the kernel decides (classic BPF, socket(7)) */

/* The process is the address modulo their number. */
static bool divide_by_address(int fd, unsigned processes)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IPV4_DESTINATION),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, processes),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

/* Packets to these addresses are thrown away unanswered, the first one included. */
static bool drop_range(int fd, uint32_t first, uint32_t count)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IPV4_DESTINATION),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, first),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, count, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}

/* ---- the set */

static bool start_listening(struct listener *l, GError **error)
{
	if (listen(l->fd, BACKLOG) != 0)
		return inox_error_set_errno(error, errno, "listen at port %u", l->port);
	l->open = true;
	return true;
}

static bool add(struct listeners *set, struct fleet *f, struct listener l, int family,
		unsigned processes, GError **error)
{
	uint32_t first, count;

	fleet_fault_range(f, FAULT_BLACK_HOLE, &first, &count);
	l.fd = open_socket(family, l.port, error);
	if (l.fd < 0)
		return false;
	set->all = g_renew(struct listener, set->all, set->count + 1);
	set->all[set->count++] = l;
	if (family == AF_INET && count > 0 && l.kind == LISTENER_AGENTS &&
	    !drop_range(l.fd, FLEET_ADDRESS_FIRST + first, count))
		return inox_error_set_errno(error, errno, "make black holes");
	if (l.wave == 0 && !start_listening(&set->all[set->count - 1], error))
		return false;
	/* Holds for all sockets of the port; they count in the order in which they began to listen. */
	if (family == AF_INET && processes > 1 && l.process == 0 &&
	    !divide_by_address(l.fd, processes))
		return inox_error_set_errno(error, errno, "divide the agents among processes");
	return true;
}

static bool add_port(struct listeners *set, struct fleet *f, unsigned wave, unsigned processes,
		     GError **error)
{
	unsigned first = fleet_plan(f)->port;

	for (unsigned p = 0; p < processes; p++) {
		struct listener l = {.kind = LISTENER_AGENTS,
				     .port = wave ? first + 1 + wave : first,
				     .wave = wave,
				     .process = p};

		if (!add(set, f, l, AF_INET, processes, error))
			return false;
	}
	return true;
}

bool listeners_open(struct listeners *set, struct fleet *f, unsigned processes, unsigned trap_port,
		    GError **error)
{
	const struct fleet_plan *plan = fleet_plan(f);
	unsigned last = script_last_boot(plan->script);

	*set = (struct listeners){.all = NULL};
	if (!add_port(set, f, 0, processes, error))
		return false;
	for (unsigned wave = 1; wave <= last; wave++)
		if (!add_port(set, f, wave, processes, error))
			return false;
	struct listener v6 = {.kind = LISTENER_AGENTS, .port = plan->port};
	struct listener trap = {.kind = LISTENER_TRAP, .port = trap_port};

	return (!plan->ipv6 || add(set, f, v6, AF_INET6, 1, error)) &&
	       (!trap_port || add(set, f, trap, AF_INET, 1, error));
}

bool listeners_boot(struct listeners *set, unsigned second, GError **error)
{
	for (unsigned i = 0; i < set->count; i++)
		if (!set->all[i].open && set->all[i].wave <= second &&
		    !start_listening(&set->all[i], error))
			return false;
	return true;
}

void listeners_close(struct listeners *set)
{
	for (unsigned i = 0; i < set->count; i++)
		close(set->all[i].fd);
	g_clear_pointer(&set->all, g_free);
	set->count = 0;
}
