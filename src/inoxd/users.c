#include "users.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "errors.h"
#include "log.h"

#define DEFAULT_USER "inox"
#define KEPT         (1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL)
#define UID_MOST     4294967294u /* (uid_t)-1 is nobody */

/* The roles that meet strangers, and the connector that has their connections. */
static const struct role_user {
	enum role role;
	enum config_option option;
	const char *option_name, *user_name;
} role_users[] = {
	{ROLE_DIALER, OPTION_DEFAULT_dialer_user, "dialer_user", "inox-dialer"},
	{ROLE_BMC, OPTION_DEFAULT_bmc_user, "bmc_user", "inox-bmc"},
	{ROLE_CONNECTOR, OPTION_DEFAULT_connector_user, "connector_user", "inox-connector"},
};

/* ---- capabilities: of this thread, and inoxd's supervisor has no other */

static bool get_permitted(uint32_t *ret_mask)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	*ret_mask = data[0].permitted;
	return true;
}

/* The kernel takes what is no longer permitted and inheritable out of the ambient set, too. */
static bool keep_capabilities(uint32_t mask)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = mask, .permitted = mask}};

	return syscall(SYS_capset, &header, data) == 0;
}

/* Only root can: what started inoxd with few capabilities has to bound them itself. */
static bool bound_capabilities(uint32_t mask)
{
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if ((i > 31 || !(mask & (1u << i))) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return errno == EPERM;
	return true;
}

/* ---- finding */

static bool find_number(const char *text, struct user *ret_user)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, 0, UID_MOST, &number, NULL))
		return false;
	const struct passwd *p = getpwuid((uid_t)number);

	*ret_user = (struct user){(uid_t)number, p ? p->pw_gid : (gid_t)number, g_strdup(text)};
	return true;
}

/* False: there is none.  A user may have a name of digits; it comes first. */
static bool find_user(const char *name, struct user *ret_user)
{
	const struct passwd *p = getpwnam(name);

	if (!p)
		return find_number(name, ret_user);
	*ret_user = (struct user){p->pw_uid, p->pw_gid, g_strdup(name)};
	return true;
}

static bool find_option(const struct config *c, enum config_option option, const char *option_name,
			const char *user_name, struct user *ret_user, GError **error)
{
	const char *wanted = config_text(c, option);

	return find_user(*wanted ? wanted : user_name, ret_user) || !*wanted ||
	       inox_error_set(error, INOX_ERROR_INVALID, "[DEFAULT]%s = %s: there is no such user",
			      option_name, wanted);
}

static bool refuse_root(const char *option_name, const struct user *found, GError **error)
{
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "[DEFAULT]%s = %s: must not be root, whose processes nothing keeps "
			      "apart",
			      option_name, found->name);
}

/* Without the option and without a user inox it is who started inoxd, and users_log() warns of root. */
static bool find_own_user(const struct config *c, struct user *ret_user, GError **error)
{
	return find_option(c, OPTION_DEFAULT_user, "user", DEFAULT_USER, ret_user, error) &&
	       (!ret_user->name || ret_user->uid != 0 || refuse_root("user", ret_user, error));
}

static bool find_role_user(const struct config *c, const struct role_user *r, struct users *u,
			   GError **error)
{
	struct user *found = &u->roles[r->role];

	if (!find_option(c, r->option, r->option_name, r->user_name, found, error))
		return false;
	if (!found->name)
		*found = (struct user){u->own.uid, u->own.gid, NULL};
	if (found->name && found->uid == 0)
		return refuse_root(r->option_name, found, error);
	u->separate = u->separate || found->uid != u->own.uid;
	return true;
}

bool users_find(const struct config *c, bool with_strangers, struct users *ret_users,
		GError **error)
{
	struct users u = {.own = {geteuid(), getegid(), NULL}};
	uint32_t permitted = 0;
	bool ok = get_permitted(&permitted) ||
		  inox_error_set_errno(error, errno, "read the capabilities");

	u.may_change = (permitted & KEPT) == KEPT;
	ok = ok && (u.own.uid != 0 || find_own_user(c, &u.own, error));
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		u.roles[i] = (struct user){u.own.uid, u.own.gid, NULL};
	for (size_t i = 0; ok && with_strangers && u.may_change && i < G_N_ELEMENTS(role_users);
	     i++)
		ok = find_role_user(c, &role_users[i], &u, error);
	if (!ok)
		users_clear(&u);
	else
		*ret_users = u;
	return ok;
}

void users_clear(struct users *u)
{
	g_clear_pointer(&u->own.name, g_free);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		g_clear_pointer(&u->roles[i].name, g_free);
}

/* ---- becoming */

static bool change_own_user(const struct user *own, uint32_t keep)
{
	const struct passwd *p = getpwuid(own->uid);

	return bound_capabilities(keep) && prctl(PR_SET_KEEPCAPS, keep != 0, 0, 0, 0) == 0 &&
	       (p ? initgroups(p->pw_name, own->gid) : setgroups(0, NULL)) == 0 &&
	       setresgid(own->gid, own->gid, own->gid) == 0 &&
	       setresuid(own->uid, own->uid, own->uid) == 0 &&
	       prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0;
}

bool users_become(const struct users *u, GError **error)
{
	uint32_t keep = u->separate ? KEPT : 0;

	if (u->own.uid == 0)
		return true;
	if (u->own.name && !change_own_user(&u->own, keep))
		return inox_error_set_errno(error, errno, "become user %s", u->own.name);
	if (!keep_capabilities(keep))
		return inox_error_set_errno(error, errno, "give up capabilities");
	/* Nothing gives root back. */
	g_assert(u->separate || setuid(0) < 0);
	return true;
}

bool users_enter(const struct users *u, enum role role)
{
	const struct user *to = &u->roles[role];
	bool change = to->uid != u->own.uid;

	if (change && (setgroups(0, NULL) < 0 || setresgid(to->gid, to->gid, to->gid) < 0 ||
		       setresuid(to->uid, to->uid, to->uid) < 0))
		return false;
	if (to->uid == 0)
		return true;
	/* From one user to another, neither of them root, capabilities stay. */
	return keep_capabilities(0) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       (!change || setuid(u->own.uid) < 0);
}

void users_log(const struct users *u)
{
	if (u->own.uid == 0)
		log_warn(NULL, "processes run as root: make a user 'inox' or set [DEFAULT]user");
	if (u->separate)
		log_notice(NULL, "workers that meet strangers have users of their own",
			   F_INT("uid", u->own.uid), F_INT("dialer", u->roles[ROLE_DIALER].uid),
			   F_INT("bmc", u->roles[ROLE_BMC].uid),
			   F_INT("connector", u->roles[ROLE_CONNECTOR].uid));
	else
		log_notice(NULL, "all processes run as one user",
			   F_STR("why", u->may_change ? "no other is configured or exists"
						      : "inoxd was not started by root"));
}
