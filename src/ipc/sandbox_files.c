#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"
#include "sandbox_part.h"

/* The kernel's interface beyond what the headers of the oldest supported distribution have
 * (landlock(7), ABI 4: TCP ports, 5: ioctl() on devices, 6: scopes). */
struct ruleset {
	uint64_t fs, net, scoped;
};

struct port_rule {
	uint64_t allowed, port;
};

#define RULE_PORT                  2
#define FS_TRUNCATE                (1ull << 14)
#define FS_IOCTL_DEVICE            (1ull << 15)
#define NET_BIND                   (1ull << 0)
#define NET_CONNECT                (1ull << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0)
#define SCOPE_SIGNAL               (1ull << 1)

#define FILE_RIGHTS                                                                   \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | \
	 FS_IOCTL_DEVICE)

static int create_ruleset(const struct ruleset *attr, size_t size, unsigned flags)
{
	return (int)syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

/* All that the kernel's version of Landlock knows: what is not handled would stay allowed. */
static struct ruleset known_rights(int version, enum role role, size_t *ret_size)
{
	struct ruleset r = {.fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};

	if (version >= 2)
		r.fs |= 1ull << 13; /* link and rename into other folders */
	if (version >= 3)
		r.fs |= FS_TRUNCATE;
	if (version >= 4)
		r.net = NET_BIND | (role == ROLE_CONNECTOR ? 0 : NET_CONNECT);
	if (version >= 5)
		r.fs |= FS_IOCTL_DEVICE;
	if (version >= 6)
		r.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	*ret_size = version >= 6   ? sizeof(r)
		    : version >= 4 ? sizeof(r.fs) + sizeof(r.net)
				   : sizeof(r.fs);
	return r;
}

static bool add_path(int ruleset, const struct sandbox_path *p, uint64_t known, GError **error)
{
	uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	struct landlock_path_beneath_attr rule = {.allowed_access = p->write ? known : reading};
	struct stat st;

	rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
	rule.parent_fd = open(p->path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0 && errno == ENOENT)
		/* cppcheck-suppress memleak ; nothing was opened */
		return true;
	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &st) < 0) {
		inox_error_set_errno(error, errno, "open %s for the sandbox", p->path);
		if (rule.parent_fd >= 0)
			close(rule.parent_fd);
		return false;
	}
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= FILE_RIGHTS;
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

static bool add_ports(int ruleset, const struct sandbox_options *o, uint64_t known, GError **error)
{
	for (unsigned i = 0; (known & NET_CONNECT) && i < o->connect_port_count; i++) {
		struct port_rule rule = {.allowed = NET_CONNECT, .port = o->connect_ports[i]};

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) < 0)
			return inox_error_set_errno(error, errno, "allow port %u in the sandbox",
						    o->connect_ports[i]);
	}
	return true;
}

bool sandbox_restrict_files(const struct sandbox_options *o, bool *ret_landlock, GError **error)
{
	int version = create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t size;

	*ret_landlock = version >= 1;
	if (version < 1)
		return true;
	struct ruleset known = known_rights(version, o->role, &size);
	int fd = create_ruleset(&known, size, 0);

	if (fd < 0)
		return inox_error_set_errno(error, errno, "make a Landlock rule set");
	bool ok = add_paths(fd, o, known.fs, error) && add_ports(fd, o, known.net, error);

	if (ok && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		ok = inox_error_set_errno(error, errno, "enter Landlock");
	close(fd);
	return ok;
}
