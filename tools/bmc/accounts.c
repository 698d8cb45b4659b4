#include "accounts.h"

#include <string.h>

#define CREDENTIALS_MAX 1024

struct session {
	char id[16];
	struct secret *token;
	struct mono used;
};

struct accounts {
	char *username;
	struct secret *password;
	struct span idle_limit;
	GPtrArray *sessions;
	unsigned last_id;
};

static void session_free(void *session)
{
	struct session *s = session;

	secret_free(s->token);
	g_free(s);
}

struct accounts *accounts_new(const char *username, struct secret *password, struct span idle_limit)
{
	struct accounts *a = g_new0(struct accounts, 1);

	a->username = g_strdup(username);
	a->password = password;
	a->idle_limit = idle_limit;
	a->sessions = g_ptr_array_new_with_free_func(session_free);
	return a;
}

void accounts_free(struct accounts *a)
{
	if (!a)
		return;
	g_free(a->username);
	secret_free(a->password);
	g_ptr_array_unref(a->sessions);
	g_free(a);
}

bool accounts_are_open(const struct accounts *a)
{
	return !a->username;
}

bool accounts_check(const struct accounts *a, const char *username, const char *password)
{
	if (accounts_are_open(a))
		return true;
	/* Both are compared always: a wrong name takes as long as a wrong password. */
	bool known = strcmp(a->username, username) == 0;
	bool right = secret_equal(a->password, password, strlen(password));

	return known && right;
}

bool accounts_check_header(const struct accounts *a, const char *authorization)
{
	gsize length = 0;

	if (accounts_are_open(a))
		return true;
	if (!authorization || g_ascii_strncasecmp(authorization, "Basic ", 6) != 0 ||
	    strlen(authorization) > CREDENTIALS_MAX)
		return false;
	g_autofree guchar *bytes = g_base64_decode(authorization + 6, &length);
	char *text = g_strndup((const char *)bytes, length);
	char *colon = strchr(text, ':');
	bool ok = false;

	if (colon) {
		*colon = '\0';
		ok = accounts_check(a, text, colon + 1);
		*colon = ':';
	}
	secret_wipe_text(text);
	memset(bytes, 0, length);
	return ok;
}

static void expire(struct accounts *a, struct mono now)
{
	for (unsigned i = a->sessions->len; i-- > 0;) {
		const struct session *s = g_ptr_array_index(a->sessions, i);

		if (mono_reached(mono_add(s->used, a->idle_limit), now))
			g_ptr_array_remove_index(a->sessions, i);
	}
}

const char *accounts_open_session(struct accounts *a, struct mono now, const char **ret_token)
{
	expire(a, now);
	if (a->sessions->len >= ACCOUNTS_SESSIONS_MAX)
		return NULL;
	struct session *s = g_new0(struct session, 1);

	g_snprintf(s->id, sizeof(s->id), "%u", ++a->last_id);
	s->token = secret_new_token();
	s->used = now;
	g_ptr_array_add(a->sessions, s);
	*ret_token = secret_peek(s->token);
	return s->id;
}

bool accounts_use_token(struct accounts *a, const char *token, struct mono now)
{
	expire(a, now);
	for (unsigned i = 0; token && i < a->sessions->len; i++) {
		struct session *s = g_ptr_array_index(a->sessions, i);

		if (secret_equal(s->token, token, strlen(token))) {
			s->used = now;
			return true;
		}
	}
	return false;
}

static int find(const struct accounts *a, const char *id)
{
	for (unsigned i = 0; i < a->sessions->len; i++) {
		const struct session *s = g_ptr_array_index(a->sessions, i);

		if (strcmp(s->id, id) == 0)
			return (int)i;
	}
	return -1;
}

bool accounts_close_session(struct accounts *a, const char *id)
{
	int i = find(a, id);

	if (i >= 0)
		g_ptr_array_remove_index(a->sessions, (guint)i);
	return i >= 0;
}

bool accounts_has_session(const struct accounts *a, const char *id)
{
	return find(a, id) >= 0;
}

const char *accounts_session_at(struct accounts *a, unsigned i, struct mono now)
{
	expire(a, now);
	if (i >= a->sessions->len)
		return NULL;
	return ((const struct session *)g_ptr_array_index(a->sessions, i))->id;
}
