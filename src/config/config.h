/* config.h: the configuration: an immutable snapshot, read whole or refused whole.
 *
 * Options are declared in options.def.  The supervisor reads the file; every other process gets the
 * options of its role only, through a descriptor (config_write_for_role, config_read_fd).
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "clocks.h"
#include "identity.h"

struct config;

enum config_option {
#define OPTION(group, name, kind, initial, roles, limits, doc) OPTION_##group##_##name,
#include "options.def"
#undef OPTION
	OPTION_COUNT
};

/* `path` NULL: /etc/inox/inox.conf if it is there, else all defaults.  Errors (INVALID) name the file,
 * the line, the option and the allowed values; several problems are several lines. */
struct config *config_load(const char *path, GError **error);
/* The same for a text; `name` stands for the file in sentences. */
struct config *config_parse(const char *text, size_t length, const char *name, GError **error);
struct config *config_new_defaults(void);
/* One sentence that names the options that were accepted and ignored, NULL if there are none. */
const char *config_peek_warning(const struct config *c);
void config_free(struct config *c);

/* Copies only what `role` (enum role) may know. */
bool config_write_for_role(const struct config *c, unsigned role, int fd,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
struct config *config_read_fd(int fd, GError **error);

/* Reading an option with the getter of another kind, or one that this process's role does not get
 * (options.def), is a bug and aborts. */
const char *config_text(const struct config *c,
			enum config_option o); /* TEXT, PATH, ENUM; never NULL */
bool config_bool(const struct config *c, enum config_option o);
int64_t config_int(const struct config *c, enum config_option o);
struct span config_span(const struct config *c, enum config_option o);
const char *const *config_list(const struct config *c, enum config_option o);
const struct network *config_networks(const struct config *c, enum config_option o,
				      unsigned *ret_count);

/* Values that follow from several options. */
struct span config_poll_interval(const struct config *c);
/* {"deploy.erase_devices": 10}: the clean steps whose priority is configured; [conductor]
 * clean_step_priority_override goes before [deploy].  A new reference; NULL with INVALID names the word
 * that is not INTERFACE.STEP:PRIORITY. */
json_t *config_clean_priorities(const struct config *c, GError **error);
/* A SPAN that says how long to be patient, in seconds; G_MAXUINT for 0, which means for ever. */
unsigned config_patience(const struct config *c, enum config_option o);
const char *config_host(const struct config *c);
/* The URL that agents of active nodes get, without a slash at its end; NULL: none is configured.  The
 * caller frees it. */
char *config_agent_api_url(const struct config *c);
char *
config_database(const struct config *c); /* connection with its default filled in; caller frees */
/* [boot]media_url_lifetime, unless it is 0: a BMC may take two minutes and a half to insert the ISO, and as long may go by
 * before. */
#define CONFIG_MEDIA_LIFETIME_LEAST 300
/* [boot]media_key_file with its default filled in; the caller frees it. */
char *config_media_key_file(const struct config *c);

/* Writes the sample file: every option with its default and its text, commented out. */
void config_print_sample(GString *out);

typedef struct config config;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(config, config_free)
