#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "ini.h"
#include "jsons.h"
#include "limit.h"
#include "option.h"
#include "rules.h"

#define DEFAULT_PATH  "/etc/inox/inox.conf"
#define PROBLEMS_MOST 50
#define PRIORITY_MOST 1000000

/* Other spellings of an option. */
static const struct alias {
	const char *group, *name;
	enum config_option option;
	bool inverse;
} alias_table[] = {
	{"api", "enable_ramdisk_endpoints", OPTION_api_disable_agent_api, true},
	{"DEFAULT", "auth_strategy", OPTION_api_auth_strategy, false},
};

struct loading {
	struct config *config;
	const char *name;
	GPtrArray *problems; /* char * */
	GPtrArray *ignored;  /* char * */
};

static struct config *config_new(void)
{
	return g_new0(struct config, 1);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		option_value_clear(&c->values[i]);
	g_free(c->name);
	g_free(c->host);
	g_free(c->warning);
	g_free(c);
}

static void set_default(struct config *c, unsigned i)
{
	g_autofree char *problem =
		option_value_set(&c->values[i], &option_table[i], option_table[i].initial);

	if (problem)
		g_error("options.def: default of %s: %s", option_table[i].name, problem);
}

static void finish(struct config *c)
{
	const struct option_value *host = &c->values[OPTION_conductor_host];

	if (host->present)
		c->host = g_strdup(*host->text ? host->text : g_get_host_name());
}

struct config *config_new_defaults(void)
{
	struct config *c = config_new();

	for (unsigned i = 0; i < OPTION_COUNT; i++)
		set_default(c, i);
	finish(c);
	return c;
}

static void add_problem(struct loading *l, unsigned line, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

static void add_problem(struct loading *l, unsigned line, const char *format, ...)
{
	va_list arguments;

	if (l->problems->len >= PROBLEMS_MOST)
		return;
	va_start(arguments, format);
	g_autofree char *sentence = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	if (line)
		g_ptr_array_add(l->problems, g_strdup_printf("%s:%u: %s", l->name, line, sentence));
	else
		g_ptr_array_add(l->problems, g_strdup_printf("%s: %s", l->name, sentence));
}

static void set_option(struct loading *l, const struct ini_line *line, int option, bool inverse)
{
	const struct option *o = &option_table[option];
	struct option_value *v = &l->config->values[option];

	if (v->line) {
		add_problem(l, line->number, "[%s]%s: is set in line %u already", line->group,
			    line->name, v->line);
		return;
	}
	g_autofree char *problem = option_value_set(v, o, line->value);

	v->line = line->number;
	if (problem) {
		add_problem(l, line->number, "[%s]%s = %.100s: %s", line->group, line->name,
			    line->value, problem);
		return;
	}
	if (inverse) {
		v->flag = !v->flag;
		g_free(v->text);
		v->text = g_strdup(v->flag ? "true" : "false");
	}
}

static void on_unknown(struct loading *l, const struct ini_line *line)
{
	int near = option_suggest(line->group, line->name);

	if (near < 0)
		add_problem(l, line->number, "[%s]%s: unknown option", line->group, line->name);
	else if (strcmp(option_table[near].group, line->group) == 0)
		add_problem(l, line->number, "[%s]%s: unknown option; did you mean %s?",
			    line->group, line->name, option_table[near].name);
	else
		add_problem(l, line->number, "[%s]%s: unknown option; did you mean [%s]%s?",
			    line->group, line->name, option_table[near].group,
			    option_table[near].name);
}

static void on_line(void *ctx, const struct ini_line *line)
{
	struct loading *l = ctx;

	if (line->problem) {
		add_problem(l, line->number, "%s", line->problem);
		return;
	}
	int option = option_find(line->group, line->name);

	if (option >= 0) {
		set_option(l, line, option, false);
		return;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(alias_table); i++)
		if (strcmp(alias_table[i].group, line->group) == 0 &&
		    strcmp(alias_table[i].name, line->name) == 0) {
			set_option(l, line, alias_table[i].option, alias_table[i].inverse);
			return;
		}
	if (!option_is_ignored(line->group, line->name))
		on_unknown(l, line);
	else if (l->ignored->len < PROBLEMS_MOST)
		g_ptr_array_add(l->ignored, g_strdup_printf("[%s]%s (line %u)", line->group,
							    line->name, line->number));
}

static void on_rule(void *ctx, enum config_option o, char *sentence)
{
	struct loading *l = ctx;

	add_problem(l, l->config->values[o].line, "[%s]%s: %s", option_table[o].group,
		    option_table[o].name, sentence);
	g_free(sentence);
}

static char *join(GPtrArray *texts, const char *separator)
{
	GString *all = g_string_new(NULL);

	for (guint i = 0; i < texts->len; i++)
		g_string_append_printf(all, "%s%s", i ? separator : "",
				       (const char *)texts->pdata[i]);
	return g_string_free(all, FALSE);
}

/* `partial`: the options of one role, from the supervisor; the others are not present then. */
static struct config *load(const char *text, size_t length, const char *name, bool partial,
			   GError **error)
{
	g_autoptr(config) c = partial ? config_new() : config_new_defaults();
	g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) ignored = g_ptr_array_new_with_free_func(g_free);
	struct loading l = {c, name, problems, ignored};

	c->name = g_strdup(name);
	ini_read(text, length, on_line, &l);
	/* Rules between values make sense only when each value does. */
	if (!partial && problems->len == 0)
		rules_check(c, on_rule, &l);
	if (problems->len > 0) {
		g_autofree char *all = join(problems, "\n");

		inox_error_set(error, INOX_ERROR_INVALID, "%s", all);
		return NULL;
	}
	if (ignored->len > 0) {
		g_autofree char *all = join(ignored, ", ");

		c->warning = g_strdup_printf("%s: these options of Ironic do nothing here: %s",
					     name, all);
	}
	g_clear_pointer(&c->host, g_free);
	finish(c);
	return g_steal_pointer(&c);
}

struct config *config_parse(const char *text, size_t length, const char *name, GError **error)
{
	return load(text, length, name, false, error);
}

/* Everything up to the end, at most LIMIT_CONFIG_FILE bytes. */
static GByteArray *read_all(int fd, const char *name, GError **error)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	uint8_t chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			inox_error_set_errno(error, errno, "read %s", name);
			return NULL;
		}
		g_byte_array_append(bytes, chunk, (guint)n);
		if (bytes->len > LIMIT_CONFIG_FILE) {
			inox_error_set(error, INOX_ERROR_INVALID, "%s: larger than %d bytes", name,
				       LIMIT_CONFIG_FILE);
			return NULL;
		}
	}
	return g_steal_pointer(&bytes);
}

struct config *config_load(const char *path, GError **error)
{
	const char *name = path ? path : DEFAULT_PATH;
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && !path && errno == ENOENT)
		return config_parse("", 0, "defaults", error);
	if (fd < 0) {
		inox_error_set_errno(error, errno, "open the configuration %s", name);
		return NULL;
	}
	g_autoptr(GByteArray) bytes = read_all(fd, name, error);

	close(fd);
	return bytes ? load((const char *)bytes->data, bytes->len, name, false, error) : NULL;
}

bool config_write_for_role(const struct config *c, unsigned role, int fd, GError **error)
{
	g_autoptr(GString) out = g_string_new(NULL);

	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (option_table[i].roles & (1u << role))
			g_string_append_printf(out, "[%s]\n%s = %s\n", option_table[i].group,
					       option_table[i].name, c->values[i].text);
	for (size_t done = 0; done < out->len;) {
		ssize_t n = write(fd, out->str + done, out->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return inox_error_set_errno(error, errno,
						    "hand the configuration to a process");
		done += (size_t)n;
	}
	return true;
}

struct config *config_read_fd(int fd, GError **error)
{
	g_autoptr(GByteArray) bytes = read_all(fd, "the configuration of the supervisor", error);

	return bytes ? load((const char *)bytes->data, bytes->len, "supervisor", true, error)
		     : NULL;
}

const char *config_peek_warning(const struct config *c)
{
	return c->warning;
}

static const struct option_value *get(const struct config *c, enum config_option o, unsigned kinds)
{
	g_assert(o < OPTION_COUNT);
	if (!(kinds & (1u << option_table[o].kind)))
		g_error("[%s]%s is read as another kind", option_table[o].group,
			option_table[o].name);
	if (!c->values[o].present)
		g_error("[%s]%s is not an option of this process", option_table[o].group,
			option_table[o].name);
	return &c->values[o];
}

const char *config_text(const struct config *c, enum config_option o)
{
	return get(c, o, 1u << OPTION_KIND_TEXT | 1u << OPTION_KIND_PATH | 1u << OPTION_KIND_ENUM)
		->text;
}

bool config_bool(const struct config *c, enum config_option o)
{
	return get(c, o, 1u << OPTION_KIND_BOOL)->flag;
}

int64_t config_int(const struct config *c, enum config_option o)
{
	return get(c, o, 1u << OPTION_KIND_INT)->number;
}

struct span config_span(const struct config *c, enum config_option o)
{
	return SPAN_SECONDS(get(c, o, 1u << OPTION_KIND_SPAN)->number);
}

const char *const *config_list(const struct config *c, enum config_option o)
{
	return (const char *const *)get(c, o, 1u << OPTION_KIND_LIST)->list;
}

const struct network *config_networks(const struct config *c, enum config_option o,
				      unsigned *ret_count)
{
	const struct option_value *v = get(c, o, 1u << OPTION_KIND_NETWORKS);

	*ret_count = v->network_count;
	return v->networks;
}

unsigned config_patience(const struct config *c, enum config_option o)
{
	int64_t us = config_span(c, o).us;

	return us == 0 ? G_MAXUINT : (unsigned)(us / 1000000);
}

static bool add_override(json_t *priorities, const char *word, GError **error)
{
	const char *dot = strchr(word, '.'), *colon = strrchr(word, ':');
	gint64 number;

	if (!dot || dot == word || !colon || colon <= dot + 1 ||
	    !g_ascii_string_to_signed(colon + 1, 10, 0, PRIORITY_MOST, &number, NULL))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"`%s` is not INTERFACE.STEP:PRIORITY with a priority from 0 to "
			"%d",
			word, PRIORITY_MOST);
	g_autofree char *step = g_strndup(word, (gsize)(colon - word));

	json_object_set_new(priorities, step, json_integer(number));
	return true;
}

json_t *config_clean_priorities(const struct config *c, GError **error)
{
	static const struct {
		enum config_option option;
		const char *step;
	} rows[] = {
		{OPTION_deploy_erase_devices_priority, "deploy.erase_devices"},
		{OPTION_deploy_erase_devices_metadata_priority, "deploy.erase_devices_metadata"},
		{OPTION_deploy_delete_configuration_priority, "raid.delete_configuration"},
		{OPTION_deploy_create_configuration_priority, "raid.create_configuration"},
	};
	const char *const *words = config_list(c, OPTION_conductor_clean_step_priority_override);
	g_autoptr(json_t) priorities = json_object();

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		const struct option_value *v = get(c, rows[i].option, 1u << OPTION_KIND_INT);

		if (v->text && *v->text)
			json_object_set_new(priorities, rows[i].step, json_integer(v->number));
	}
	for (; *words; words++)
		if (!add_override(priorities, *words, error))
			return NULL;
	return g_steal_pointer(&priorities);
}

struct span config_poll_interval(const struct config *c)
{
	struct span interval = config_span(c, OPTION_agent_poll_interval);

	return interval.us ? interval : config_span(c, OPTION_api_ramdisk_heartbeat_timeout);
}

const char *config_host(const struct config *c)
{
	if (!c->host)
		g_error("[conductor]host is not an option of this process");
	return c->host;
}

char *config_agent_api_url(const struct config *c)
{
	const char *url = config_text(c, OPTION_service_catalog_endpoint_override);

	if (!*url)
		url = config_text(c, OPTION_api_public_endpoint);
	size_t length = strlen(url);

	while (length > 0 && url[length - 1] == '/')
		length--;
	return length > 0 ? g_strndup(url, length) : NULL;
}

char *config_database(const struct config *c)
{
	const char *connection = config_text(c, OPTION_database_connection);

	if (*connection)
		return g_strdup(connection);
	return g_strdup_printf("sqlite://%s/inox.sqlite",
			       config_text(c, OPTION_DEFAULT_state_path));
}

char *config_media_key_file(const struct config *c)
{
	const char *own = config_text(c, OPTION_boot_media_key_file);

	return *own ? g_strdup(own)
		    : g_build_filename(config_text(c, OPTION_DEFAULT_state_path), "media.key",
				       NULL);
}
