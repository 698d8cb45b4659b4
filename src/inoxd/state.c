#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"
#include "store.h"

#define LISTEN_BACKLOG 512

char *state_poke_path(const char *folder)
{
	return g_build_filename(folder, "poke.sock", NULL);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void state_free(struct state *s)
{
	if (!s)
		return;
	if (s->poke_fd >= 0) {
		g_autofree char *path = state_poke_path(s->folder);

		unlink(path);
	}
	close_fd(s->poke_fd);
	close_fd(s->listen_fd);
	close_fd(s->lock_fd);
	seal_key_free(s->key);
	users_clear(&s->users);
	g_free(s->key_path);
	g_free(s->folder);
	g_free(s);
}

static bool make_folder(const char *folder, const struct user *u, GError **error)
{
	struct stat st;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return inox_error_set_errno(error, errno, "create the state folder %s", folder);
	if (stat(folder, &st) < 0)
		return inox_error_set_errno(error, errno, "look at the state folder %s", folder);
	if (!S_ISDIR(st.st_mode))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the state folder %s is not a folder", folder);
	if (st.st_mode & 022)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the state folder %s can be written by others (mode %03o); it "
			"must be 0700",
			folder, st.st_mode & 0777u);
	if (u->name && st.st_uid != u->uid && chown(folder, u->uid, u->gid) < 0)
		return inox_error_set_errno(error, errno, "give the state folder %s to user %s",
					    folder, u->name);
	if (!u->name && access(folder, W_OK | X_OK) < 0)
		return inox_error_set_errno(error, errno, "write into the state folder %s", folder);
	return true;
}

/* One byte of the lock file per role, so that `--role api` and `--role conductor` may share a folder and
 * two of a kind may not. */
static bool take_lock(struct state *s, bool with_api, bool with_conductor, const struct user *u,
		      GError **error)
{
	g_autofree char *path = g_build_filename(s->folder, "lock", NULL);
	struct flock range = {.l_type = F_WRLCK,
			      .l_whence = SEEK_SET,
			      .l_start = with_api ? 0 : 1,
			      .l_len = with_api && with_conductor ? 2 : 1};

	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return inox_error_set_errno(error, errno, "open the lock %s", path);
	if (u->name && fchown(s->lock_fd, u->uid, u->gid) < 0)
		return inox_error_set_errno(error, errno, "give the lock %s to user %s", path,
					    u->name);
	if (fcntl(s->lock_fd, F_OFD_SETLK, &range) == 0)
		return true;
	if (errno != EAGAIN && errno != EACCES)
		return inox_error_set_errno(error, errno, "lock %s", path);
	return inox_error_set(error, INOX_ERROR_BUSY,
			      "another inoxd uses the state folder %s: stop it first, or give this "
			      "one a folder of its own ([DEFAULT]state_path)",
			      s->folder);
}

static bool open_api_socket(struct state *s, const struct config *c, GError **error)
{
	const char *host = config_text(c, OPTION_api_host_ip);
	unsigned number = (unsigned)config_int(c, OPTION_api_port);
	struct endpoint at;
	int on = 1;

	/* Port 0 is no endpoint, but a wish that bind() understands. */
	if (!endpoint_parse(host, number ? number : 1, &at, error))
		return false;
	if (number == 0 && at.address.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&at.address)->sin_port = 0;
	else if (number == 0)
		((struct sockaddr_in6 *)(void *)&at.address)->sin6_port = 0;
	s->listen_fd = socket(at.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return inox_error_set_errno(error, errno, "open a socket for the API");
	if (setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return inox_error_set_errno(error, errno, "prepare the API's socket");
	if (bind(s->listen_fd, (struct sockaddr *)&at.address, at.length) == 0 &&
	    listen(s->listen_fd, LISTEN_BACKLOG) == 0)
		return true;
	if (errno == EADDRINUSE)
		return inox_error_set(error, INOX_ERROR_BUSY,
				      "address %s port %u is taken by another program: stop it, or "
				      "choose another [api]host_ip or [api]port",
				      host, number);
	if (errno == EADDRNOTAVAIL)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "address %s is not an address of this host: change "
				      "[api]host_ip",
				      host);
	return inox_error_set_errno(error, errno, "listen on address %s port %u", host, number);
}

static bool open_poke_socket(struct state *s, GError **error)
{
	g_autofree char *path = state_poke_path(s->folder);
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the path of the state folder %s is too long for a socket in "
				      "it: at most %zu bytes",
				      s->folder, sizeof(sa.sun_path) - strlen("/poke.sock") - 1);
	memcpy(sa.sun_path, path, strlen(path));
	s->poke_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->poke_fd < 0)
		return inox_error_set_errno(error, errno, "open a socket for pokes");
	/* We hold the lock: whatever is there was left by a dead process. */
	if (unlink(path) < 0 && errno != ENOENT)
		return inox_error_set_errno(error, errno, "remove the old socket %s", path);
	mode_t before = umask(0177);
	int result = bind(s->poke_fd, (struct sockaddr *)&sa, sizeof(sa));
	int saved = errno;

	umask(before);
	return result == 0 || inox_error_set_errno(error, saved, "open the socket %s", path);
}

static bool prepare_schema(const struct config *c, GError **error)
{
	g_autofree char *connection = config_database(c);
	g_autoptr(store) opened = store_open(connection, true, error);

	if (opened)
		return true;
	g_prefix_error(error, "database %s: ", connection);
	return false;
}

static bool prepare_as_user(struct state *s, const struct config *c, bool with_conductor,
			    GError **error)
{
	s->key_path = g_build_filename(s->folder, "sealing.key", NULL);
	s->key = seal_key_load_or_create(s->key_path, error);
	return s->key && prepare_schema(c, error) &&
	       (!with_conductor || open_poke_socket(s, error));
}

struct state *state_prepare(const struct config *c, bool with_api, bool with_conductor,
			    GError **error)
{
	g_autoptr(state) s = g_new0(struct state, 1);

	s->lock_fd = s->listen_fd = s->poke_fd = -1;
	s->folder = g_strdup(config_text(c, OPTION_DEFAULT_state_path));
	umask(0077);
	if (!users_find(c, with_conductor, &s->users, error))
		return NULL;
	const struct user *u = &s->users.own;
	bool ok = make_folder(s->folder, u, error) &&
		  take_lock(s, with_api, with_conductor, u, error) &&
		  (!with_api || open_api_socket(s, c, error)) && users_become(&s->users, error) &&
		  prepare_as_user(s, c, with_conductor, error);

	if (ok && with_conductor)
		users_log(&s->users);
	return ok ? g_steal_pointer(&s) : NULL;
}
