#include "image_info.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"
#include "log.h"

void image_info_clear(struct image_info *info)
{
	g_free(info->id);
	g_strfreev(info->urls);
	g_free(info->checksum_url);
	g_free(info->checksum_algo);
	secret_free(info->authorization);
	g_free(info->proxy);
	*info = (struct image_info){.id = NULL};
}

static bool refuse_params(struct agent_error *error, const char *sentence)
{
	agent_error_set(error, AGENT_ERROR_INVALID_PARAMS, "%s", sentence);
	return false;
}

static bool is_url(const char *text)
{
	return g_ascii_strncasecmp(text, "http://", 7) == 0 ||
	       g_ascii_strncasecmp(text, "https://", 8) == 0;
}

static bool is_given(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return value && !json_is_null(value);
}

static bool check_text(const json_t *object, const char *key, struct agent_error *error)
{
	const char *text = json_peek_string(object, key);

	if (!is_given(object, key) || (text && *text))
		return true;
	agent_error_set(error, AGENT_ERROR_INVALID_PARAMS, "Image '%s' must be a non-empty string.",
			key);
	return false;
}

/* ---- where from */

static bool take_urls(const json_t *object, struct image_info *info, struct agent_error *error)
{
	const json_t *urls = json_object_get(object, "urls");
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

	if (!is_given(object, "urls"))
		return refuse_params(error, "Image is missing 'urls' field.");
	if (!json_is_array(urls) || json_array_size(urls) == 0)
		return refuse_params(error,
				     "Image 'urls' must be a list with at least one element.");
	for (size_t i = 0; i < MIN(json_array_size(urls), LIMIT_IMAGE_URLS); i++) {
		const char *url = json_string_value(json_array_get(urls, i));

		if (!url || !is_url(url))
			return refuse_params(error,
					     "Each of the image's 'urls' must be a http:// or "
					     "https:// URL.");
		g_ptr_array_add(list, g_strdup(url));
	}
	g_ptr_array_add(list, NULL);
	info->urls = (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
	return true;
}

/* Hosts that are reached without the proxy: names, or ends of names. */
static bool is_direct(const char *no_proxy, const char *url)
{
	g_auto(GStrv) ends = g_strsplit(no_proxy, ",", -1);
	g_autofree char *host =
		g_strndup(strstr(url, "://") + 3, strcspn(strstr(url, "://") + 3, "/:"));

	for (char **end = ends; *end; end++)
		if (*g_strstrip(*end) && (g_str_equal(*end, "*") || g_str_has_suffix(host, *end)))
			return true;
	return false;
}

static void take_proxy(const json_t *object, struct image_info *info)
{
	const char *url = info->urls[0];
	const char *scheme = g_ascii_strncasecmp(url, "https", 5) == 0 ? "https" : "http";
	const char *proxy = json_peek_string(json_peek_object(object, "proxies"), scheme);
	const char *no_proxy = json_peek_string(object, "no_proxy");

	if (proxy && *proxy && !(no_proxy && is_direct(no_proxy, url)))
		info->proxy = g_strdup(proxy);
}

static bool take_ready_authorization(const char *encoded, struct image_info *info,
				     struct agent_error *error)
{
	gsize length;
	char *value = (char *)g_base64_decode(encoded, &length);
	bool ok = length > 0 && !memchr(value, '\0', length);

	if (ok)
		info->authorization = secret_new_length(value, length);
	explicit_bzero(value, length);
	g_free(value);
	return ok ? true
		  : refuse_params(error, "Image 'image_request_authorization' must be base64 of an "
					 "Authorization header's value.");
}

static bool take_basic_authorization(const json_t *object, struct image_info *info,
				     struct agent_error *error)
{
	const char *user = json_peek_string(object, "image_server_user");
	const char *password = json_peek_string(object, "image_server_password");

	if (!user || !password) {
		agent_error_set(error, AGENT_ERROR_IMAGE_DOWNLOAD,
				"Download of image %s failed: Missing [%s] fields from HTTP(S) "
				"basic auth config",
				info->id,
				user ? "'image_server_password'"
				     : (password ? "'image_server_user'"
						 : "'image_server_user', 'image_server_password'"));
		return false;
	}

	char *plain = g_strconcat(user, ":", password, NULL);
	char *encoded = g_base64_encode((const guchar *)plain, strlen(plain));
	char *value = g_strconcat("Basic ", encoded, NULL);

	info->authorization = secret_new(value);
	secret_wipe_text(plain);
	secret_wipe_text(encoded);
	secret_wipe_text(value);
	return true;
}

static bool take_authorization(const json_t *object, struct image_info *info,
			       struct agent_error *error)
{
	const char *ready = json_peek_string(object, "image_request_authorization");
	const char *strategy = json_peek_string(object, "image_server_auth_strategy");

	if (ready && *ready)
		return take_ready_authorization(ready, info, error);
	if (g_strcmp0(strategy, "http_basic") == 0)
		return take_basic_authorization(object, info, error);
	return true;
}

/* ---- what it must be */

static bool refuse_digest(const GError *reason, struct agent_error *error)
{
	agent_error_set(error, AGENT_ERROR_REST, "The image's checksum cannot be used: %s",
			reason->message);
	return false;
}

/* `algorithm` NULL: by name or length in the text.  A URL is remembered and read later. */
static bool take_digest(struct image_info *info, const char *algorithm, const char *text,
			struct agent_error *error)
{
	g_autoptr(GError) reason = NULL;
	bool ok;

	if (is_url(text)) {
		info->checksum_url = g_strdup(text);
		info->checksum_algo = g_strdup(algorithm);
		return true;
	}
	ok = algorithm ? digest_want(algorithm, text, info->allow_weak, &info->downloaded, &reason)
		       : digest_want_text(text, info->allow_weak, &info->downloaded, &reason);
	return ok ? true : refuse_digest(reason, error);
}

static bool take_checksum(const json_t *object, struct image_info *info, struct agent_error *error)
{
	const char *checksum = json_peek_string(object, "checksum");
	const char *algorithm = json_peek_string(object, "os_hash_algo");
	const char *value = json_peek_string(object, "os_hash_value");

	if (!check_text(object, "checksum", error) || !check_text(object, "os_hash_algo", error) ||
	    !check_text(object, "os_hash_value", error))
		return false;
	if ((algorithm == NULL) != (value == NULL)) {
		agent_error_set(error, AGENT_ERROR_INVALID_PARAMS,
				"Image 'os_hash_%s' must be a non-empty string.",
				algorithm ? "value" : "algo");
		return false;
	}
	if (!algorithm && !checksum)
		return refuse_params(
			error, "Image checksum is not available, either the 'checksum' field "
			       "or the 'os_hash_algo' and 'os_hash_value' fields pair must be "
			       "set for image verification.");
	return algorithm ? take_digest(info, algorithm, value, error)
			 : take_digest(info, NULL, checksum, error);
}

static bool take_raw_hash(const json_t *object, struct image_info *info, struct agent_error *error)
{
	const char *algorithm = json_peek_string(object, "raw_hash_algo");
	const char *value = json_peek_string(object, "raw_hash_value");
	g_autoptr(GError) reason = NULL;

	if (!value)
		return true;
	return digest_want(algorithm ? algorithm : "sha256", value, info->allow_weak, &info->image,
			   &reason)
		       ? true
		       : refuse_digest(reason, error);
}

static bool check_kind(const json_t *object, struct agent_error *error)
{
	static const char *const copied[] = {"raw", "gpt", "unknown"};
	const char *type = json_peek_string(object, "image_type");
	const char *format = json_peek_string(object, "disk_format");

	if (g_strcmp0(type, "partition") == 0)
		return refuse_params(error,
				     "Partition images are not supported by this agent: use a "
				     "whole-disk image.");
	for (size_t i = 0; format && i < G_N_ELEMENTS(copied); i++)
		if (g_str_equal(format, copied[i]))
			return true;
	if (!format)
		return true;
	agent_error_set(error, AGENT_ERROR_INVALID_IMAGE,
			"The image's disk_format is %s, which is not supported: convert it to raw "
			"(it may be compressed)",
			format);
	return false;
}

bool image_info_parse(const json_t *object, bool allow_weak, struct image_info *ret_info,
		      struct agent_error *error)
{
	g_auto(image_info) info = {.allow_weak = allow_weak};
	const char *id = json_peek_string(object, "id");

	if (!json_is_object(object))
		return refuse_params(error, "The argument 'image_info' must be an object.");
	if (!id)
		return refuse_params(error, "Image is missing 'id' field.");
	info.id = log_clean_text(id, strlen(id), 255);
	if (!take_urls(object, &info, error) || !take_checksum(object, &info, error) ||
	    !take_raw_hash(object, &info, error) || !check_kind(object, error) ||
	    !take_authorization(object, &info, error))
		return false;
	take_proxy(object, &info);
	info.config_drive = json_peek_string(object, "configdrive");
	*ret_info = info;
	info = (struct image_info){.id = NULL};
	return true;
}

static char *file_name_of(const char *url)
{
	g_autofree char *path = g_strndup(url, strcspn(url, "?#"));

	return g_path_get_basename(path);
}

bool image_info_resolve(struct image_info *info, const struct fetch_options *options,
			struct agent_error *error)
{
	g_autofree char *content = NULL, *found = NULL, *name = file_name_of(info->urls[0]);
	g_autoptr(GError) reason = NULL;
	size_t length;

	if (!info->checksum_url)
		return true;
	content = fetch_text(info->checksum_url, options, LIMIT_CHECKSUM_FILE, &length, &reason);
	if (!content) {
		agent_error_set(error, AGENT_ERROR_IMAGE_DOWNLOAD,
				"Download of image %s failed: its checksum file: %s", info->id,
				reason->message);
		return false;
	}
	found = digest_find_in_file(content, name, &reason);
	if (!found)
		return refuse_digest(reason, error);
	return take_digest(info, info->checksum_algo, found, error);
}
