#include "shelf.h"

#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "shelf-backend.h"

static char *text_or_null(const struct config *c, enum config_option o)
{
	const char *text = config_text(c, o);

	return *text ? g_strdup(text) : NULL;
}

struct shelf *shelf_new(const struct config *c, GError **error)
{
	g_autoptr(shelf) s = g_new0(struct shelf, 1);
	const char *root = config_text(c, OPTION_boot_root);

	s->root_fd = -1;
	s->surveys = surveys_new();
	if (*root && !shelf_local_open(s, root, error))
		return NULL;
	if (*root || !*config_text(c, OPTION_boot_push_url))
		return g_steal_pointer(&s);
	s->backend = &shelf_dav;
	s->url = g_strdup(config_text(c, OPTION_boot_push_url));
	while (g_str_has_suffix(s->url, "/"))
		s->url[strlen(s->url) - 1] = '\0';
	s->ca_file = text_or_null(c, OPTION_boot_push_ca_file);
	s->certificate_file = text_or_null(c, OPTION_boot_push_certificate_file);
	s->key_file = text_or_null(c, OPTION_boot_push_key_file);
	return g_steal_pointer(&s);
}

void shelf_free(struct shelf *s)
{
	if (!s)
		return;
	if (s->root_fd >= 0)
		close(s->root_fd);
	g_free(s->url);
	g_free(s->ca_file);
	g_free(s->certificate_file);
	g_free(s->key_file);
	surveys_free(s->surveys);
	g_free(s);
}

bool shelf_is_there(const struct shelf *s)
{
	return s->backend != NULL;
}

bool shelf_check_there(const struct shelf *s, GError **error)
{
	return s->backend ||
	       inox_error_set(error, INOX_ERROR_UNSUPPORTED,
			      "there is no boot host: set [boot]root or [boot]push_url");
}

bool shelf_put(const struct shelf *s, const char *name, const char *what, const char *bytes,
	       size_t length, GError **error)
{
	return shelf_check_there(s, error) && s->backend->put(s, name, what, bytes, length, error);
}

bool shelf_remove_folder(const struct shelf *s, const char *name, const char *what, GError **error)
{
	return shelf_check_there(s, error) && s->backend->remove_folder(s, name, what, error);
}
