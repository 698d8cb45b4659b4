/* users.h: the users of the processes.
 *
 * dialer, bmc and connector have users of their own when inoxd may give them: when it is started by root, or with
 * CAP_SETUID, CAP_SETGID and CAP_KILL (capabilities(7)).  The supervisor then keeps these three, and only these: two to
 * start a worker as its user, one to signal it, also by PR_SET_PDEATHSIG, for which the kernel asks the dying
 * parent's rights.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "config.h"
#include "role.h"

struct user {
	uid_t uid;
	gid_t gid;
	char *name;
};

struct users {
	struct user own; /* of the supervisor and all without one; no name: the caller's */
	struct user roles[ROLE_COUNT];
	bool may_change; /* the caller may start processes as other users */
	bool separate;   /* a role has a user that is not `own` */
};

/* From [DEFAULT]user, dialer_user, bmc_user and connector_user: names, or numbers of users that need no name.  The
 * last three count only `with_strangers`: when those roles will run.  Errors: INVALID, with the option: there is no such
 * user, or it is root. */
bool users_find(const struct config *c, bool with_strangers, struct users *ret_users,
		GError **error);
void users_clear(struct users *u);

/* The calling process becomes `own`, for good, and keeps what users_enter() needs if it is `separate`, else nothing.
 * When root stays root, it stays as it is.  Errors: IO. */
bool users_become(const struct users *u, GError **error);

/* Between fork() and exec(): the calling process becomes the user of `role`, without capabilities, groups or a way back.
 * System calls only.  False on failure: it must end then. */
bool users_enter(const struct users *u, enum role role);

/* One line that says which users run. */
void users_log(const struct users *u);
