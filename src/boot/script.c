#include "script.h"

#include <inttypes.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "plain.h"

#define LETTERS              "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS               "0123456789"
#define NAME_SET             "abcdefghijklmnopqrstuvwxyz" DIGITS "._-"
#define VALUE_SET            LETTERS DIGITS "._:,/=+@%~^[]-"
#define SECRET_SET           LETTERS DIGITS "_-"

#define ARGUMENTS_JSON_LIMIT 4096

/* Of a whole script: it may hold the token, and is not to be copied while it grows. */
#define SCRIPT_TEXT_ROOM 8192

/* A name or a value is shown in errors up to here. */
#define SHOWN 64

/* Arguments that the template sets: a caller's value for one of them would make two. */
static const char *const reserved[] = {"inox-node", "inox-epoch", "inox-transport",  "ipa-api-url",
				       "initrd",    "bootif",     "ipa-agent-token", "inox-token",
				       "ir_pub_id", "boot_method"};

static bool consists_of(const char *text, const char *set)
{
	return text[strspn(text, set)] == '\0';
}

bool script_secret_path_is_valid(const char *path)
{
	size_t length = strlen(path);

	return length >= 22 && length <= 64 && consists_of(path, SECRET_SET);
}

static bool append_argument(GString *line, const char *name, const json_t *value, GError **error)
{
	const char *text = json_string_value(value);

	if (!*name || !consists_of(name, NAME_SET))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "kernel argument '%.*s': a name has the characters a-z, 0-9, "
				      "'.', '_' and '-' only",
				      SHOWN, name);
	for (unsigned i = 0; i < G_N_ELEMENTS(reserved); i++)
		if (strcmp(name, reserved[i]) == 0)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"kernel argument '%s' is set by the boot script itself", name);
	if (!text)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "kernel argument '%s' must be a string, not a %s", name,
				      json_type_text(value));
	if (!consists_of(text, VALUE_SET))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "kernel argument '%s': a value has letters, digits and "
				      "._:,/=+@%%~^[]- only, no blanks, quotes or '$'",
				      name);
	g_string_append_printf(line, *text ? " %s=%s" : " %s", name, text);
	return true;
}

static bool append_arguments(GString *line, const char *json, GError **error)
{
	g_autoptr(json_t) object = json_parse_limited(json, strlen(json), ARGUMENTS_JSON_LIMIT,
						      "kernel arguments", error);
	const char *name;
	json_t *value;

	if (!object)
		return false;
	if (!json_is_object(object))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "kernel arguments must be a JSON object, not a %s",
				      json_type_text(object));
	json_object_foreach(object, name, value)
		if (!append_argument(line, name, value, error))
			return false;
	return true;
}

static void append_token(GString *line, const struct secret *token)
{
	if (token)
		g_string_append_printf(line, " ipa-agent-token=%s", secret_peek(token));
}

static bool append_api_url(GString *line, const char *url, GError **error)
{
	if (!*url)
		return true;
	if (!plain_is_url(url))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the API's URL for agents is not a plain http:// or https:// "
				      "URL");
	g_string_append_printf(line, " ipa-api-url=%s", url);
	return true;
}

char *script_arguments(const struct script_boot *boot, GError **error)
{
	/* Grown never: a reallocation would leave a copy of the token behind. */
	GString *line = g_string_sized_new(ARGUMENTS_JSON_LIMIT * 2);
	const size_t room = strlen(" initrd=token.img initrd=initrd BOOTIF=01-00-00-00-00-00-00");

	g_string_append_printf(line, "inox-node=%s inox-epoch=%" PRIu64 " inox-transport=%s",
			       boot->node->s, boot->epoch, agent_transport_text(boot->transport));
	append_token(line, boot->token);
	if (boot->by_contact)
		g_string_append(line, " inox-token=contact");
	bool good = append_api_url(line, boot->api_url, error) &&
		    (!*boot->arguments || append_arguments(line, boot->arguments, error));

	if (good && line->len + room >= SCRIPT_ARGUMENTS_MAX)
		good = inox_error_set(
			error, INOX_ERROR_LIMIT,
			"the kernel arguments are %zu bytes long, and the kernel reads %zu",
			line->len, SCRIPT_ARGUMENTS_MAX - 1 - room);
	char *text = g_string_free(line, FALSE);

	if (!good)
		secret_wipe_text(g_steal_pointer(&text));
	return text;
}

/* A path lies on the boot host. */
static char *full_url(const struct script_site *site, const char *text)
{
	return plain_is_url(text) ? g_strdup(text) : g_strdup_printf("%s/%s", site->http_url, text);
}

static void append_again(GString *s, const struct script_site *site)
{
	g_string_append_printf(s,
			       ":again\n"
			       "imgfree\n"
			       "sleep 3\n"
			       "chain --replace %s/boot.ipxe || goto again\n",
			       site->http_url);
}

char *script_print_chain(const struct script_site *site, const char *path, struct mac interface)
{
	char text[MAC_TEXT];
	GString *s = g_string_new("#!ipxe\n");

	mac_print(interface, text);
	g_strdelimit(text, ":", '-');
	g_string_append_printf(s, "chain --replace %s/once/%s/%s.ipxe || goto again\n",
			       site->http_url, path, text);
	append_again(s, site);
	return g_string_free(s, FALSE);
}

/* The token's archive comes first: uncompressed archives in front of a compressed one are what every
 * kernel takes (it is how microcode travels).  An UEFI kernel finds the files by initrd=, a BIOS kernel
 * gets them joined by iPXE in the order they were loaded.  After a failure the machine starts again from
 * boot.ipxe, and so sees at once when its boot was withdrawn or replaced. */
char *script_print(const struct script_site *site, const struct script_boot *boot,
		   const char *arguments, struct mac interface)
{
	char text[MAC_TEXT];
	GString *s = g_string_sized_new(SCRIPT_TEXT_ROOM);
	g_autofree char *kernel = full_url(site, site->kernel);
	g_autofree char *ramdisk = full_url(site, site->ramdisk);

	g_string_append(s, "#!ipxe\n");

	mac_print(interface, text);
	g_strdelimit(text, ":", '-');
	g_string_append_printf(s, "# node %s, boot %" PRIu64 "\n", boot->node->s, boot->epoch);
	g_string_append_printf(s, "kernel --name vmlinuz %s%s initrd=initrd %s BOOTIF=01-%s",
			       kernel, *boot->path ? " initrd=token.img" : "", arguments, text);
	g_string_append(s, " || goto again\n");
	if (*boot->path)
		g_string_append_printf(
			s, "initrd --name token.img %s/once/%s/token.img || goto again\n",
			site->http_url, boot->path);
	g_string_append_printf(s, "initrd --name initrd %s || goto again\n", ramdisk);
	g_string_append(s, "boot || goto again\n");
	append_again(s, site);
	return g_string_free(s, FALSE);
}
