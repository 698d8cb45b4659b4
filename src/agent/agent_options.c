#include "agent_options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "fetch_parse.h"
#include "limit.h"
#include "virtual_media.h"

#define TOKEN_LEAST  32
#define TOKEN_MOST   256
#define DEFAULT_PORT 9999
#define TOKEN_FILE   "etc/inox/agent-token"
#define CONFIG_GROUP "DEFAULT"
#define FILE_MOST    (64 * 1024)
#define API_PREFIX   "ipa-"
#define API_URLS     8
#define API_MINOR    999
#define ID_CHARS     G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-"

/* The texts of all options, before they are checked. */
struct raw_options {
#define AGENT_OPTION(field, kernel, key) char *field;
#include "agent_options.def"
#undef AGENT_OPTION
};

static const struct {
	const char *kernel, *key;
	size_t offset;
} declared[] = {
#define AGENT_OPTION(field, k, c) \
	{.kernel = (k), .key = (c), .offset = offsetof(struct raw_options, field)},
#include "agent_options.def"
#undef AGENT_OPTION
};

static const char *const elsewhere[] = {
#define AGENT_OPTION(field, k, c)
#define AGENT_ELSEWHERE(k) (k),
#include "agent_options.def"
#undef AGENT_OPTION
	NULL,
};

static char **slot(struct raw_options *raw, size_t i)
{
	return (char **)(void *)((char *)raw + declared[i].offset);
}

static void raw_set(struct raw_options *raw, size_t i, const char *value)
{
	secret_wipe_text(*slot(raw, i));
	*slot(raw, i) = g_strdup(value);
}

static void raw_clear(struct raw_options *raw)
{
	for (size_t i = 0; i < G_N_ELEMENTS(declared); i++)
		secret_wipe_text(*slot(raw, i));
}

typedef struct raw_options raw_options;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(raw_options, raw_clear)

/* A small file as text; the caller wipes it. */
static char *read_file(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	gsize length = 0;
	GError *reason = NULL;

	if (!g_file_get_contents(path, &text, &length, &reason)) {
		int number = errno;

		g_error_free(reason);
		inox_error_set_errno(error, number, "cannot read %s", path);
		return NULL;
	}
	if (length > FILE_MOST || strlen(text) != length) {
		inox_error_set(error, INOX_ERROR_INVALID, "%s is no text of at most %d bytes", path,
			       FILE_MOST);
		return NULL;
	}
	return g_steal_pointer(&text);
}

GHashTable *agent_options_split(const char *cmdline)
{
	GHashTable *words = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						  (GDestroyNotify)secret_wipe_text);
	g_auto(GStrv) list = g_strsplit_set(cmdline, " \t\r\n", -1);

	for (char **word = list; *word; word++) {
		const char *equals = strchr(*word, '=');

		if (equals && equals > *word)
			g_hash_table_insert(words, g_strndup(*word, (gsize)(equals - *word)),
					    g_strdup(equals + 1));
	}
	return words;
}

static bool is_declared(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(declared); i++)
		if (g_strcmp0(declared[i].kernel, name) == 0)
			return true;
	return g_strv_contains(elsewhere, name);
}

/* Arguments for the stock agent that this one has no use for, so that nobody wonders. */
static char *list_ignored(GHashTable *words)
{
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(words), (GCompareFunc)strcmp);
	g_autoptr(GString) text = g_string_new(NULL);

	for (const GList *i = names; i; i = i->next)
		if (g_str_has_prefix(i->data, API_PREFIX) && !is_declared(i->data))
			g_string_append_printf(text, "%s%s", text->len > 0 ? "," : "",
					       (const char *)i->data);
	return text->len > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

/* [DEFAULT] of a configuration file; `name` is for the sentence. */
static bool take_config(struct raw_options *raw, const char *text, size_t length, const char *name,
			GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GError) reason = NULL;

	if (!g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "cannot read %s: %s", name,
				      reason->message);
	for (size_t i = 0; i < G_N_ELEMENTS(declared); i++) {
		char *value = declared[i].key ? g_key_file_get_string(file, CONFIG_GROUP,
								      declared[i].key, NULL)
					      : NULL;

		if (value)
			raw_set(raw, i, g_strstrip(value));
		secret_wipe_text(value);
	}
	return true;
}

/* A machine without /proc/cmdline has no kernel arguments. */
static bool read_cmdline(struct raw_options *raw, const char *root, char **ret_ignored,
			 GError **error)
{
	g_autofree char *path = g_build_filename(root, "proc/cmdline", NULL);
	char *text = read_file(path, NULL);
	g_autoptr(GHashTable) words = agent_options_split(text ? text : "");

	secret_wipe_text(text);
	g_autoptr(GPtrArray) configurations = virtual_media_read(root, words, error);

	if (!configurations)
		return false;
	*ret_ignored = list_ignored(words);
	for (size_t i = 0; i < G_N_ELEMENTS(declared); i++) {
		const char *value =
			declared[i].kernel ? g_hash_table_lookup(words, declared[i].kernel) : NULL;

		if (value)
			raw_set(raw, i, value);
	}
	for (guint i = 0; i < configurations->len; i++) {
		const char *content = configurations->pdata[i];

		if (!take_config(raw, content, strlen(content), "a file of the virtual media",
				 error))
			return false;
	}
	return true;
}

static bool read_config(struct raw_options *raw, const char *path, GError **error)
{
	char *text = read_file(path, error);
	bool good = text && take_config(raw, text, strlen(text), path, error);

	secret_wipe_text(text);
	return good;
}

bool agent_options_is_token(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isgraph(text[i]))
			return false;
	return length >= TOKEN_LEAST && length <= TOKEN_MOST;
}

/* The token file wins over the kernel's argument: it is the way that only the machine can read. */
static bool read_token(struct agent_options *o, struct raw_options *raw, const char *path,
		       GError **error)
{
	g_autofree char *usual = g_build_filename(o->root, TOKEN_FILE, NULL);
	const char *file = path ? path : usual;

	if (path || g_file_test(usual, G_FILE_TEST_EXISTS)) {
		/* An archive may have made it readable for everyone. */
		(void)chmod(file, 0600);
		secret_wipe_text(raw->token);
		raw->token = read_file(file, error);
		if (!raw->token)
			return false;
		g_strstrip(raw->token);
		o->token_file = g_strdup(file);
	}
	if (!raw->token)
		return true;
	if (!agent_options_is_token(raw->token, strlen(raw->token)))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The agent token is not %d to %d visible characters.",
				      TOKEN_LEAST, TOKEN_MOST);
	o->token = secret_new(raw->token);
	return true;
}

static bool parse_bool(const char *name, const char *text, bool *ret_value, GError **error)
{
	static const char *const yes[] = {"true", "1", "on", "yes", NULL};
	static const char *const no[] = {"false", "0", "off", "no", NULL};
	g_autofree char *lower = g_ascii_strdown(text, -1);

	if (!g_strv_contains(yes, lower) && !g_strv_contains(no, lower))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s is neither true nor false.",
				      name);
	*ret_value = g_strv_contains(yes, lower);
	return true;
}

/* Truth values and numbers: what they are called and where they go. */
static const struct {
	const char *name;
	size_t from, to;
} truths[] = {
#define TRUTH(name, field, to)                                                                  \
	{                                                                                       \
		(name), offsetof(struct raw_options, field), offsetof(struct agent_options, to) \
	}
	TRUTH("ipa-debug", debug, debug),
	TRUTH("ipa-ignore-bootloader-failure", ignore_bootloader, ignore_bootloader),
	TRUTH("ipa-insecure", insecure, active.insecure),
	TRUTH("inox-allow-tokenless-get", tokenless_get, tokenless_get),
#undef TRUTH
};

static const struct {
	const char *name;
	size_t from, to;
	unsigned least, most, otherwise;
} numbers[] = {
#define NUMBER(name, field, to, least, most, otherwise)                                         \
	{                                                                                       \
		(name), offsetof(struct raw_options, field),                                    \
			offsetof(struct agent_options, active.to), (least), (most), (otherwise) \
	}
	NUMBER("ipa-http-request-timeout", request_timeout, request_timeout_s, 1, 3600, 30),
	NUMBER("ipa-lookup-timeout", lookup_timeout, lookup_timeout_s, 1, 86400, 600),
	NUMBER("ipa-lookup-interval", lookup_interval, lookup_interval_s, 1, 3600, 1),
	NUMBER("ipa-advertise-port", advertise_port, advertise_port, 1, 65535, 0),
#undef NUMBER
};

static bool parse_scalars(struct agent_options *o, const struct raw_options *raw, GError **error)
{
	bool ignored;

	for (size_t i = 0; i < G_N_ELEMENTS(truths); i++) {
		const char *text =
			*(char *const *)(const void *)((const char *)raw + truths[i].from);
		bool *to = (bool *)(void *)((char *)o + truths[i].to);

		if (text && !parse_bool(truths[i].name, text, to, error))
			return false;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		const char *text =
			*(char *const *)(const void *)((const char *)raw + numbers[i].from);
		guint64 value = numbers[i].otherwise;

		if (text && !g_ascii_string_to_unsigned(text, 10, numbers[i].least, numbers[i].most,
							&value, NULL))
			return inox_error_set(error, INOX_ERROR_INVALID, "%s is not in %u to %u.",
					      numbers[i].name, numbers[i].least, numbers[i].most);
		*(unsigned *)(void *)((char *)o + numbers[i].to) = (unsigned)value;
	}
	return !raw->token_required ||
	       parse_bool("ipa-agent-token-required", raw->token_required, &ignored, error);
}

/* One base of the API; the slashes at its end are cut off. */
static bool parse_api_url(char *text, GError **error)
{
	g_auto(fetch_url) url = {.host = NULL};

	for (size_t length = strlen(text); length > 0 && text[length - 1] == '/'; length--)
		text[length - 1] = '\0';
	if (g_str_equal(text, "mdns"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-api-url=mdns is not supported: name the API.");
	if (!fetch_url_parse(text, &url, error)) {
		g_prefix_error(error, "ipa-api-url: ");
		return false;
	}
	if (strpbrk(text, "?#"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-api-url has text behind its path.");
	return true;
}

static bool parse_api_urls(struct active_options *o, const char *text, GError **error)
{
	g_auto(GStrv) list = g_strsplit(text, ",", -1);

	if (g_strv_length(list) > API_URLS)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-api-url names more than %d addresses.", API_URLS);
	for (char **url = list; *url; url++)
		if (!parse_api_url(g_strstrip(*url), error))
			return false;
	o->urls = g_steal_pointer(&list);
	return true;
}

/* They travel in URLs, headers and certificates, so they are plain words. */
static bool take_word(const char *name, const char *text, const char *allowed, char **ret_word,
		      GError **error)
{
	if (!text)
		return true;
	if (!*text || strlen(text) > 255 || strspn(text, allowed) != strlen(text))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"%s is empty, too long, or has characters that are not allowed.", name);
	*ret_word = g_strdup(text);
	return true;
}

static bool parse_api_version(struct active_options *o, const char *text, GError **error)
{
	guint64 minor;

	if (!text)
		return true;
	if (!g_str_has_prefix(text, "1.") ||
	    !g_ascii_string_to_unsigned(text + 2, 10, 1, API_MINOR, &minor, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-ironic-api-version is not 1.1 to 1.%d.", API_MINOR);
	o->api_minor = (unsigned)minor;
	return true;
}

/* Without an API address the others of this group mean nothing, but are read all the same. */
static bool parse_active(struct active_options *o, const struct raw_options *raw, GError **error)
{
	const char *protocol = raw->advertise_protocol;

	if (protocol && !g_str_equal(protocol, "http") && !g_str_equal(protocol, "https"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-advertise-protocol is neither http nor https.");
	o->advertise_protocol = g_strdup(protocol);
	o->ca_file = g_strdup(raw->ca_file);
	return take_word("ipa-advertise-host", raw->advertise_host, ID_CHARS ".:_",
			 &o->advertise_host, error) &&
	       take_word("ipa-global-request-id", raw->request_id, ID_CHARS, &o->request_id,
			 error) &&
	       parse_api_version(o, raw->api_version, error) &&
	       (!raw->api_url || !*raw->api_url || parse_api_urls(o, raw->api_url, error));
}

static bool has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool parse_listen(struct agent_options *o, const struct raw_options *raw, const char *pair,
			 GError **error)
{
	const char *host = raw->listen_host ? raw->listen_host : has_ipv6() ? "::" : "0.0.0.0";
	guint64 port = DEFAULT_PORT;

	if (pair)
		return endpoint_parse_pair(pair, &o->listen, error);
	if (raw->listen_port &&
	    !g_ascii_string_to_unsigned(raw->listen_port, 10, 1, 65535, &port, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "ipa-listen-port is not in 1 to 65535.");
	return endpoint_parse(host, (unsigned)port, &o->listen, error);
}

static bool parse_transport(struct agent_options *o, const struct raw_options *raw, GError **error)
{
	int otherwise = o->active.urls ? TRANSPORT_PINNED : TRANSPORT_PSK;
	int transport = raw->transport ? agent_transport_parse(raw->transport) : otherwise;

	if (transport < 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "inox-transport is not psk, pinned or http.");
	if (!o->token && transport != TRANSPORT_HTTP && !o->active.urls && !o->rescued &&
	    !o->by_contact)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"There is no agent token, and inox-transport=http was not asked "
			"for.");
	o->transport = (enum agent_transport)transport;
	return true;
}

/* A token that came with the boot is worth more than one from whoever dials first. */
static bool parse_delivery(struct agent_options *o, const struct raw_options *raw, GError **error)
{
	if (!raw->delivery)
		return true;
	if (!g_str_equal(raw->delivery, "contact"))
		return inox_error_set(error, INOX_ERROR_INVALID, "inox-token is not contact.");
	if (!uuid_is_set(&o->node) || !o->has_epoch || o->active.urls)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "inox-token=contact needs inox-node and inox-epoch, and an "
				      "agent that is given no ipa-api-url.");
	if (raw->transport && g_str_equal(raw->transport, "pinned"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "inox-token=contact needs inox-transport=psk or http.");
	o->by_contact = !o->token;
	return true;
}

static bool parse_identity(struct agent_options *o, const struct raw_options *raw, GError **error)
{
	guint64 epoch = 0;

	if (raw->node && !uuid_parse(raw->node, &o->node, error)) {
		g_prefix_error(error, "inox-node: ");
		return false;
	}
	if (raw->epoch && !g_ascii_string_to_unsigned(raw->epoch, 10, 0, G_MAXINT64, &epoch, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID, "inox-epoch is not a number.");
	o->epoch = epoch;
	o->has_epoch = raw->epoch != NULL;
	return true;
}

static bool read_certificate(struct agent_options *o, const struct raw_options *raw, GError **error)
{
	if (!raw->certificate_file != !raw->key_file)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "tls_cert_file and tls_key_file belong together.");
	if (!raw->certificate_file)
		return true;
	o->certificate_pem = read_file(raw->certificate_file, error);
	o->key_pem = o->certificate_pem ? read_file(raw->key_file, error) : NULL;
	return o->key_pem != NULL;
}

/* "/" stays; every other folder loses the slash at its end. */
static char *plain_root(const char *text)
{
	char *root = g_strdup(text ? text : "/");
	size_t length = strlen(root);

	while (length > 1 && root[length - 1] == '/')
		root[--length] = '\0';
	return root;
}

static bool is_rescued(const char *root)
{
	g_autofree char *mark = g_build_filename(root, AGENT_RESCUED_MARK, NULL);

	return g_file_test(mark, G_FILE_TEST_EXISTS);
}

bool agent_options_read(struct agent_options *o, int argc, char **argv, GError **error)
{
	g_autofree char *listen = NULL, *token_file = NULL, *config = NULL, *root = NULL;
	g_auto(raw_options) raw = {.token = NULL};
	g_auto(agent_options) read = {.root = NULL};
	g_autoptr(GError) reason = NULL;
	const GOptionEntry entries[] = {
		{"listen", 0, 0, G_OPTION_ARG_STRING, &listen, "Where to listen", "ADDR:PORT"},
		{"token-file", 0, 0, G_OPTION_ARG_FILENAME, &token_file,
		 "File with the token (default: etc/inox/agent-token below the root)", "FILE"},
		{"config", 0, 0, G_OPTION_ARG_FILENAME, &config, "Configuration file", "FILE"},
		{"root", 0, 0, G_OPTION_ARG_FILENAME, &root,
		 "Read sys, proc and dev below DIR, and leave the machine alone", "DIR"},
		{.long_name = NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);

	g_option_context_set_summary(context,
				     "The deploy agent of Inox.  It dials nobody, unless it is "
				     "given the address of an API.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &reason))
		return inox_error_set(error, INOX_ERROR_INVALID, "%s", reason->message);
	if (argc > 1)
		return inox_error_set(error, INOX_ERROR_INVALID, "Unknown argument %.64s.",
				      argv[1]);
	read.root = plain_root(root);
	read.rescued = is_rescued(read.root);
	if (!read_cmdline(&raw, read.root, &read.ignored, error) ||
	    (config && !read_config(&raw, config, error)) ||
	    !read_token(&read, &raw, token_file, error) || !parse_scalars(&read, &raw, error) ||
	    !parse_active(&read.active, &raw, error) || !parse_listen(&read, &raw, listen, error) ||
	    !parse_identity(&read, &raw, error) || !parse_delivery(&read, &raw, error) ||
	    !parse_transport(&read, &raw, error) || !read_certificate(&read, &raw, error))
		return false;
	if (raw.pxe_interface)
		read.pxe_interface = g_utf8_make_valid(raw.pxe_interface, -1);
	*o = read;
	read = (struct agent_options){.root = NULL};
	return true;
}

void agent_options_clear(struct agent_options *o)
{
	secret_free(o->token);
	g_free(o->token_file);
	g_free(o->root);
	g_free(o->pxe_interface);
	g_strfreev(o->active.urls);
	g_free(o->active.request_id);
	g_free(o->active.advertise_host);
	g_free(o->active.advertise_protocol);
	g_free(o->active.ca_file);
	g_free(o->ignored);
	g_free(o->certificate_pem);
	secret_wipe_text(o->key_pem);
	*o = (struct agent_options){.root = NULL};
}
