#include "media_call.h"

#include <string.h>

#include "errors.h"
#include "flow_record.h"
#include "media_ticket.h"

#define DAY SPAN_SECONDS(24 * 3600)

/* From the publication of a boot to the first word of its agent, with each attempt that a phase has. */
static int64_t longest_boot(enum operation op, unsigned callback_s, unsigned power_s)
{
	int64_t seconds = 0;

	for (enum phase p = operation_info[op].first; p != PHASE_NONE; p = flow_phase_after(p)) {
		const struct phase_info *info = &phase_info[p];
		bool begins = info->action == ACTION_PUBLISH;

		if ((seconds == 0 && !begins) || info->flags & P_NETWORK)
			continue;
		seconds += info->limit == LIMIT_POWER
				   ? (int64_t)info->attempts * (power_s + FLOW_BACK_OFF_MAX)
				   : callback_s;
		if (info->action == ACTION_CONTACT)
			break;
	}
	return seconds;
}

static struct span lifetime(const struct config *c)
{
	static const struct {
		enum operation operation;
		enum config_option callback;
	} boots[] = {{OPERATION_DEPLOY, OPTION_conductor_deploy_callback_timeout},
		     {OPERATION_CLEAN, OPTION_conductor_clean_callback_timeout},
		     {OPERATION_RESCUE, OPTION_conductor_rescue_callback_timeout}};
	struct span own = config_span(c, OPTION_boot_media_url_lifetime);
	unsigned power_s = config_patience(c, OPTION_conductor_power_state_change_timeout);
	int64_t longest = CONFIG_MEDIA_LIFETIME_LEAST;

	if (own.us > 0)
		return own;
	for (unsigned i = 0; i < G_N_ELEMENTS(boots); i++) {
		unsigned callback_s = config_patience(c, boots[i].callback);
		int64_t each = longest_boot(boots[i].operation, callback_s, power_s);

		if (callback_s == G_MAXUINT)
			return DAY;
		longest = MAX(longest, each);
	}
	return SPAN_SECONDS(longest);
}

char *media_call_path(const struct config *c)
{
	return media_path_new(wall_add(wall_now(), lifetime(c)));
}

bool media_call_is_over(const char *path)
{
	return path &&
	       media_path_is_over(path, wall_add(wall_now(), SPAN_SECONDS(MEDIA_CALL_SECONDS)));
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
