#define LIBISOFS_WITHOUT_LIBBURN
#include "config_drive.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include <libisofs/libisofs.h> /* wants stdint.h before it */

#include "errors.h"
#include "jsons.h"

#define SECTOR        2048
#define WRITER_BUFFER 64 /* sectors between libisofs's writer thread and us */

typedef struct builder builder;

struct builder {
	IsoImage *image;
	size_t bytes;
	unsigned files;
};

static bool iso_failed(int code, const char *what, GError **error)
{
	return inox_error_set(error, INOX_ERROR_IO, "make a config drive: %s: %s", what,
			      iso_error_to_msg(code));
}

static bool builder_start(struct builder *b, GError **error)
{
	static gsize initialised;

	if (g_once_init_enter(&initialised))
		g_once_init_leave(&initialised, iso_init() < 0 ? 2 : 1);
	memset(b, 0, sizeof(*b));
	int r = initialised == 1 ? iso_image_new("config-2", &b->image) : -1;

	return r >= 0 || iso_failed(r, "start", error);
}

static void builder_end(struct builder *b)
{
	if (b->image)
		iso_image_unref(b->image);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(builder, builder_end)

/* The sub-folder of that name, made when it is not there. */
static IsoDir *folder_in(IsoDir *parent, const char *name, GError **error)
{
	IsoNode *found = NULL;
	IsoDir *made = NULL;

	if (iso_dir_get_node(parent, name, &found) == 1)
		return (IsoDir *)found;
	int r = iso_tree_add_new_dir(parent, name, &made);

	if (r < 0) {
		iso_failed(r, name, error);
		return NULL;
	}
	return made;
}

/* Takes a copy of the bytes. */
static bool add_file(struct builder *b, IsoDir *folder, const char *name, const char *bytes,
		     size_t length, GError **error)
{
	IsoStream *stream = NULL;
	unsigned char *copy;

	b->bytes += length;
	if (b->bytes > CONFIG_DRIVE_LIMIT || ++b->files > CONFIG_DRIVE_FILE_LIMIT)
		return inox_error_set(
			error, INOX_ERROR_LIMIT,
			"The config drive is larger than %d MiB or has more than %d files.",
			CONFIG_DRIVE_LIMIT >> 20, CONFIG_DRIVE_FILE_LIMIT);
	/* libisofs frees the copy, with free(); a stream of no bytes still needs a buffer. */
	copy = g_malloc(length + 1);
	memcpy(copy, bytes, length);
	int r = iso_memory_stream_new(copy, length, &stream);

	if (r < 0) {
		g_free(copy);
		return iso_failed(r, name, error);
	}
	r = iso_tree_add_new_file(folder, name, stream, NULL);
	if (r < 0) {
		iso_stream_unref(stream);
		return iso_failed(r, name, error);
	}
	return true;
}

static bool write_options(IsoWriteOpts **ret_options, GError **error)
{
	IsoWriteOpts *options = NULL;
	int r = iso_write_opts_new(&options, 0);

	if (r < 0)
		return iso_failed(r, "options", error);
	iso_write_opts_set_iso_level(options, 3);
	iso_write_opts_set_rockridge(options, 1);
	iso_write_opts_set_joliet(options, 1);
	iso_write_opts_set_joliet_long_names(options, 1);
	iso_write_opts_set_allow_lowercase(options, 1);
	iso_write_opts_set_relaxed_vol_atts(options,
					    1); /* "config-2" is no strict volume identifier */
	iso_write_opts_set_fifo_size(options, WRITER_BUFFER);
	*ret_options = options;
	return true;
}

/* Inflated size has to stay under the agents' limit: counted here, before anybody is bothered. */
static bool deflate_source(struct burn_source *source, GByteArray *out, GError **error)
{
	unsigned char sector[SECTOR], packed[2 * SECTOR];
	z_stream z = {.next_in = NULL};
	size_t total = 0;
	int n;

	/* 15 + 16: a gzip header; the default one has no time stamp. */
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		g_error("zlib does not start");
	do {
		n = source->read_xt(source, sector, SECTOR);
		total += n > 0 ? (size_t)n : 0;
		z.next_in = sector;
		z.avail_in = n > 0 ? (uInt)n : 0;
		do {
			z.next_out = packed;
			z.avail_out = sizeof(packed);
			deflate(&z, n > 0 ? Z_NO_FLUSH : Z_FINISH);
			g_byte_array_append(out, packed, (guint)(sizeof(packed) - z.avail_out));
		} while (z.avail_out == 0);
	} while (n > 0 && total <= CONFIG_DRIVE_LIMIT);
	deflateEnd(&z);
	if (n < 0)
		return inox_error_set(error, INOX_ERROR_IO,
				      "make a config drive: reading back failed");
	if (n > 0)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "The config drive is larger than %d MiB.",
				      CONFIG_DRIVE_LIMIT >> 20);
	return true;
}

static char *builder_finish(struct builder *b, GError **error)
{
	IsoWriteOpts *options = NULL;
	struct burn_source *source = NULL;
	g_autoptr(GByteArray) packed = g_byte_array_new();

	if (!write_options(&options, error))
		return NULL;
	iso_image_set_publisher_id(b->image, "Inox");
	int r = iso_image_create_burn_source(b->image, options, &source);

	iso_write_opts_free(options);
	if (r < 0) {
		iso_failed(r, "write", error);
		return NULL;
	}
	bool ok = deflate_source(source, packed, error);

	if (!ok && source->cancel)
		source->cancel(source);
	source->free_data(source);
	g_free(source);
	return ok ? g_base64_encode(packed->data, packed->len) : NULL;
}

/* ---- from an object */

static const struct part {
	const char *key, *file;
	bool any_type; /* user_data: a text is taken as it is, another value is printed as JSON */
} parts[] = {
	{"meta_data", "meta_data.json", false},
	{"network_data", "network_data.json", false},
	{"vendor_data", "vendor_data2.json", false},
	{"user_data", "user_data", true},
};

static bool check_keys(const json_t *object, GError **error)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		const struct part *found = NULL;

		for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
			if (strcmp(parts[i].key, key) == 0)
				found = &parts[i];
		if (!found)
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"Invalid configdrive format: Additional properties are not allowed ('%.64s' was unexpected)",
				key);
		if (!found->any_type && !json_is_object(value) && !json_is_null(value))
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"Invalid configdrive format: %s is not of type 'object'", key);
	}
	return true;
}

static json_t *meta_data_of(const json_t *object, const char *node_uuid, const char *node_name)
{
	const json_t *given = json_object_get(object, "meta_data");
	json_t *meta = json_is_object(given) ? json_deep_copy(given) : json_object();

	if (!json_object_get(meta, "uuid"))
		json_object_set_new(meta, "uuid", json_string(node_uuid));
	if (node_name && !json_object_get(meta, "name"))
		json_object_set_new(meta, "name", json_string(node_name));
	return meta;
}

static bool add_part(struct builder *b, IsoDir *const folders[static 2], const struct part *part,
		     const json_t *value, GError **error)
{
	if (!value || json_is_null(value))
		return true;
	bool as_is = part->any_type && json_is_string(value);
	g_autofree char *text =
		as_is ? g_strdup(json_string_value(value)) : json_print_python(value);

	for (unsigned i = 0; i < 2; i++)
		if (!add_file(b, folders[i], part->file, text, strlen(text), error))
			return false;
	return true;
}

char *config_drive_from_object(const json_t *object, const char *node_uuid, const char *node_name,
			       GError **error)
{
	g_auto(builder) b = {.image = NULL};
	IsoDir *folders[2] = {NULL, NULL};
	static const char *const versions[2] = {"2012-08-10", "latest"};

	if (!check_keys(object, error) || !builder_start(&b, error))
		return NULL;
	g_autoptr(json_t) meta = meta_data_of(object, node_uuid, node_name);
	IsoDir *openstack = folder_in(iso_image_get_root(b.image), "openstack", error);

	for (unsigned i = 0; i < 2; i++)
		if (!openstack || !(folders[i] = folder_in(openstack, versions[i], error)))
			return NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		if (!add_part(&b, folders, &parts[i],
			      i == 0 ? meta : json_object_get(object, parts[i].key), error))
			return NULL;
	return builder_finish(&b, error);
}

/* ---- from a folder */

#define FOLDER_DEPTH 8

static bool add_folder(struct builder *b, IsoDir *into, const char *path, unsigned depth,
		       GError **error);

static bool add_entry(struct builder *b, IsoDir *into, const char *path, const char *name,
		      unsigned depth, GError **error)
{
	struct stat st;
	g_autofree char *bytes = NULL;
	gsize length = 0;

	if (lstat(path, &st) < 0)
		return inox_error_set_errno(error, errno, "look at '%s'", path);
	if (S_ISDIR(st.st_mode)) {
		IsoDir *folder = folder_in(into, name, error);

		return folder && add_folder(b, folder, path, depth + 1, error);
	}
	if (!S_ISREG(st.st_mode))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "'%s' is neither a regular file nor a folder.", path);
	if (st.st_size > CONFIG_DRIVE_LIMIT)
		return inox_error_set(error, INOX_ERROR_LIMIT, "'%s' is larger than %d MiB.", path,
				      CONFIG_DRIVE_LIMIT >> 20);
	if (!g_file_get_contents(path, &bytes, &length, error))
		return false;
	return add_file(b, into, name, bytes, length, error);
}

static bool add_folder(struct builder *b, IsoDir *into, const char *path, unsigned depth,
		       GError **error)
{
	g_autoptr(GDir) folder = NULL;
	const char *name;

	if (depth > FOLDER_DEPTH)
		return inox_error_set(error, INOX_ERROR_LIMIT, "'%s' is more than %d folders deep.",
				      path, FOLDER_DEPTH);
	folder = g_dir_open(path, 0, error);
	if (!folder)
		return false;
	while ((name = g_dir_read_name(folder))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (!add_entry(b, into, child, name, depth, error))
			return false;
	}
	return true;
}

char *config_drive_from_folder(const char *path, GError **error)
{
	g_auto(builder) b = {.image = NULL};

	if (!builder_start(&b, error) ||
	    !add_folder(&b, iso_image_get_root(b.image), path, 0, error))
		return NULL;
	return builder_finish(&b, error);
}
