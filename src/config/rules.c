#include "rules.h"

#include <string.h>

#include "jsons.h"

struct checker {
	const struct config *config;
	rules_report_fn report;
	void *ctx;
};

static void say(struct checker *k, enum config_option o, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

static void say(struct checker *k, enum config_option o, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	k->report(k->ctx, o, g_strdup_vprintf(format, arguments));
	va_end(arguments);
}

static const char *text_of(struct checker *k, enum config_option o)
{
	return config_text(k->config, o);
}

static bool is_loopback(const struct endpoint *e)
{
	struct network v4, v6;

	return (network_parse("127.0.0.0/8", &v4, NULL) && network_contains(&v4, e)) ||
	       (network_parse("::1/128", &v6, NULL) && network_contains(&v6, e));
}

static void check_noauth_is_local(struct checker *k)
{
	struct endpoint e;

	if (!endpoint_parse(text_of(k, OPTION_api_host_ip), 1, &e, NULL)) {
		say(k, OPTION_api_host_ip, "allowed is a numeric IPv4 or IPv6 address");
		return;
	}
	if (is_loopback(&e) || config_bool(k->config, OPTION_api_allow_unauthenticated) ||
	    strcmp(text_of(k, OPTION_api_auth_strategy), "noauth") != 0)
		return;
	say(k, OPTION_api_host_ip,
	    "with [api]auth_strategy = noauth everybody who reaches this address may do everything; "
	    "use 127.0.0.1, or set [api]allow_unauthenticated = true if that is wanted");
}

static void check_url(struct checker *k, enum config_option o, const char *const *schemes)
{
	const char *text = text_of(k, o);
	g_autofree char *list = g_strjoinv(" or ", (char **)(uintptr_t)schemes);

	if (!*text)
		return;
	for (const char *const *s = schemes; *s; s++)
		if (g_str_has_prefix(text, *s) && text[strlen(*s)] && text[strlen(*s)] != '/' &&
		    !strpbrk(text, " \t\"'<>@?#"))
			return;
	say(k, o, "allowed is a URL that starts with %s, without user, query and fragment", list);
}

static void check_urls(struct checker *k)
{
	static const char *const http[] = {"http://", "https://", NULL};
	static const char *const https[] = {"https://", NULL};

	check_url(k, OPTION_api_public_endpoint, http);
	check_url(k, OPTION_service_catalog_endpoint_override, http);
	check_url(k, OPTION_boot_http_url, http);
	check_url(k, OPTION_boot_push_url, https);
}

static void check_boot_host(struct checker *k)
{
	bool root = *text_of(k, OPTION_boot_root), push = *text_of(k, OPTION_boot_push_url);

	if (root && push)
		say(k, OPTION_boot_push_url,
		    "[boot]root and [boot]push_url exclude each other: the boot host is a local folder "
		    "or a remote one");
	if ((root || push) && !*text_of(k, OPTION_boot_http_url))
		say(k, OPTION_boot_http_url,
		    "must be set when there is a boot host ([boot]root or [boot]push_url): nodes load "
		    "their ramdisk from it");
	if (!*text_of(k, OPTION_boot_push_certificate_file) !=
	    !*text_of(k, OPTION_boot_push_key_file))
		say(k, OPTION_boot_push_certificate_file,
		    "[boot]push_certificate_file and [boot]push_key_file belong together: set both or "
		    "none");
}

static void check_media(struct checker *k)
{
	int64_t lifetime = config_span(k->config, OPTION_boot_media_url_lifetime).us;

	if (lifetime > 0 && lifetime < SPAN_SECONDS(CONFIG_MEDIA_LIFETIME_LEAST).us)
		say(k, OPTION_boot_media_url_lifetime,
		    "no machine boots in so short a time: allowed are 0 and at least %d seconds",
		    CONFIG_MEDIA_LIFETIME_LEAST);
}

static int compare_addresses(const struct endpoint *a, const struct endpoint *b)
{
	if (a->address.ss_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)(const void *)&a->address)->sin_addr,
			      &((const struct sockaddr_in *)(const void *)&b->address)->sin_addr,
			      4);
	return memcmp(&((const struct sockaddr_in6 *)(const void *)&a->address)->sin6_addr,
		      &((const struct sockaddr_in6 *)(const void *)&b->address)->sin6_addr, 16);
}

static bool is_allowed(struct checker *k, const struct endpoint *e)
{
	unsigned count;
	const struct network *n = config_networks(k->config, OPTION_agent_allowed_networks, &count);

	for (unsigned i = 0; i < count; i++)
		if (network_contains(&n[i], e))
			return true;
	return false;
}

static void check_address_pool(struct checker *k)
{
	const char *text = text_of(k, OPTION_boot_address_pool);
	g_auto(GStrv) ends = g_strsplit(text, "-", 2);
	struct endpoint first, last;

	if (!*text)
		return;
	if (g_strv_length(ends) != 2 || !endpoint_parse(g_strstrip(ends[0]), 1, &first, NULL) ||
	    !endpoint_parse(g_strstrip(ends[1]), 1, &last, NULL) ||
	    first.address.ss_family != last.address.ss_family ||
	    compare_addresses(&first, &last) > 0) {
		say(k, OPTION_boot_address_pool,
		    "allowed is FIRST-LAST: two numeric addresses of one family, the lower one first");
		return;
	}
	if (!is_allowed(k, &first) || !is_allowed(k, &last))
		say(k, OPTION_boot_address_pool,
		    "the pool is outside [agent]allowed_networks: its nodes could never be dialled");
}

static void check_database(struct checker *k)
{
	const char *text = text_of(k, OPTION_database_connection);

	if (!*text || (g_str_has_prefix(text, "sqlite:///") && text[strlen("sqlite:///")]))
		return;
	say(k, OPTION_database_connection, "allowed is sqlite:///absolute/path");
}

static void check_hardware_types(struct checker *k)
{
	static const char *const known[] = {"redfish", "fake-hardware", NULL};
	const char *const *types = config_list(k->config, OPTION_DEFAULT_enabled_hardware_types);

	if (!types[0])
		say(k, OPTION_DEFAULT_enabled_hardware_types, "at least one driver must be named");
	for (; *types; types++)
		if (!g_strv_contains(known, *types))
			say(k, OPTION_DEFAULT_enabled_hardware_types,
			    "there is no driver `%s`: allowed are redfish, fake-hardware", *types);
}

/* The publisher checks arguments again; here a wrong one is found before a node boots. */
static void check_kernel_arguments(struct checker *k)
{
	const char *text = text_of(k, OPTION_agent_kernel_append_params);

	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f ||
		    strchr("\"'\\`$;", *c)) {
			say(k, OPTION_agent_kernel_append_params,
			    "allowed are name or name=value, blank separated, of printable ASCII "
			    "without quotes, backslash, backtick, $ and ;");
			return;
		}
	if (config_bool(k->config, OPTION_agent_poll_only) && strstr(text, "ipa-api-url"))
		say(k, OPTION_agent_kernel_append_params,
		    "ipa-api-url contradicts [agent]poll_only = true: no agent is told an API address");
}

static void check_priorities(struct checker *k)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(json_t) priorities = config_clean_priorities(k->config, &error);

	if (!priorities)
		say(k, OPTION_conductor_clean_step_priority_override, "%s", error->message);
}

void rules_check(const struct config *c, rules_report_fn report, void *ctx)
{
	struct checker k = {c, report, ctx};

	check_noauth_is_local(&k);
	check_urls(&k);
	check_boot_host(&k);
	check_media(&k);
	check_address_pool(&k);
	check_database(&k);
	check_hardware_types(&k);
	check_kernel_arguments(&k);
	check_priorities(&k);
}
