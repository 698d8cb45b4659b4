#include "sandbox.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "sandbox_part.h"

#define GIB (1024ull * 1024 * 1024)

/* Above what a role needs at its largest: a million watched nodes are 600 MB in the dialer, twice that while
 * a table grows. */
static const struct {
	rlim_t files, memory;
} limits[ROLE_PROGRAM_COUNT] = {
	[ROLE_API] = {65536, RLIM_INFINITY}, [ROLE_CONDUCTOR] = {4096, RLIM_INFINITY},
	[ROLE_DIALER] = {65536, 4 * GIB},    [ROLE_BMC] = {1024, 4 * GIB},
	[ROLE_BOOT] = {1024, 4 * GIB},       [ROLE_CONNECTOR] = {16384, GIB},
	[ROLE_MEDIA] = {1024, GIB},
};

static bool set_limit(int resource, rlim_t most, GError **error)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
		return inox_error_set_errno(error, errno, "read a resource limit");
	most = MIN(most, now.rlim_max);
	struct rlimit limit = {most, most};

	return setrlimit((__rlimit_resource_t)resource, &limit) == 0 ||
	       inox_error_set_errno(error, errno, "limit a resource");
}

static bool set_limits(enum role role, GError **error)
{
	bool stranger = STRANGERS & (1u << role);
	struct stat st;
	/* The log may be a file, which has to grow. */
	bool logs_to_file = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);

	if (!set_limit(RLIMIT_CORE, 0, error) ||
	    !set_limit(RLIMIT_NOFILE, limits[role].files, error))
		return false;
	/* AddressSanitizer maps terabytes, and its leak check starts a thread. */
	if (!SANITIZED && !set_limit(RLIMIT_DATA, limits[role].memory, error))
		return false;
	if (!SANITIZED && stranger && role != ROLE_BMC && !set_limit(RLIMIT_NPROC, 0, error))
		return false;
	if (stranger && !logs_to_file && !set_limit(RLIMIT_FSIZE, 0, error))
		return false;
	return !stranger ||
	       (set_limit(RLIMIT_MEMLOCK, 0, error) && set_limit(RLIMIT_MSGQUEUE, 0, error));
}

bool sandbox_enter(const struct sandbox_options *o, bool *ret_landlock, GError **error)
{
	bool landlock = false;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return inox_error_set_errno(error, errno, "give up privileges");
	/* The leak check attaches to its own process, which an undumpable one refuses. */
	if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return inox_error_set_errno(error, errno, "refuse debuggers");
	if (!set_limits(o->role, error) || !sandbox_restrict_files(o, &landlock, error) ||
	    !sandbox_restrict_calls(o, error))
		return false;
	*ret_landlock = landlock;
	return true;
}
