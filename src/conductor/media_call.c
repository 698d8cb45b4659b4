#include "media_call.h"

#include <string.h>

#include "errors.h"
#include "media_ticket.h"

#define DAY SPAN_SECONDS(24 * 3600)
/* A boot is published, its ISO is inserted, and its agent is waited for: each within a callback timeout. */
#define TIMEOUTS 3

static struct span lifetime(const struct config *c)
{
	static const enum config_option timeouts[] = {OPTION_conductor_deploy_callback_timeout,
						      OPTION_conductor_clean_callback_timeout,
						      OPTION_conductor_rescue_callback_timeout};
	struct span longest = {0}, own = config_span(c, OPTION_boot_media_url_lifetime);

	if (own.us > 0)
		return own;
	for (unsigned i = 0; i < G_N_ELEMENTS(timeouts); i++) {
		struct span each = config_span(c, timeouts[i]);

		if (each.us == 0)
			return DAY;
		longest.us = MAX(longest.us, each.us);
	}
	return (struct span){TIMEOUTS * longest.us};
}

char *media_call_path(const struct config *c)
{
	return media_path_new(wall_add(wall_now(), lifetime(c)));
}

/* Read each time: it is seldom, and a new key counts at once. */
static char *sign(const struct config *c, const char *path, GError **error)
{
	g_auto(media_key) key = {{0}};
	g_autofree char *file = config_media_key_file(c);

	if (!media_key_load(file, &key, error)) {
		g_prefix_error(
			error,
			"virtual media need the key of the boot host ([boot]media_key_file): ");
		return NULL;
	}
	return media_ticket_print(&key, path, error);
}

char *media_call_url(const struct config *c, const char *path, GError **error)
{
	const char *own = config_text(c, OPTION_boot_media_url);
	g_autofree char *base = g_strdup(*own ? own : config_text(c, OPTION_boot_http_url));

	while (g_str_has_suffix(base, "/"))
		base[strlen(base) - 1] = '\0';
	if (!*base || !path) {
		inox_error_set(error, INOX_ERROR_INVALID,
			       "virtual media need [boot]media_url or [boot]http_url");
		return NULL;
	}
	g_autofree char *ticket = sign(c, path, error);

	return ticket ? g_strconcat(base, "/", ticket, NULL) : NULL;
}
