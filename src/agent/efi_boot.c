#include "efi_boot.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "errors.h"

#define GLOBAL           "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define ORDER            "BootOrder"
#define ATTRIBUTES       4
#define ATTRIBUTES_VALUE 7 /* kept, for boot services, for the running system */
#define VARIABLE_MOST    (64 * 1024)
#define ENTRIES          0x10000
#define ACTIVE           1
#define OPTION_HEAD      6 /* attributes, length of the device path */
#define PATH_MOST        512

/* Nodes of a device path, and their subtypes */
enum { MEDIA = 4, MEDIA_PARTITION = 1, MEDIA_FILE = 4, END = 0x7f, END_ALL = 0xff };
enum { PARTITION_NODE = 42, NODE_HEAD = 4, FORMAT_MBR = 1, FORMAT_GPT = 2 };

static void add_little(GByteArray *bytes, unsigned size, uint64_t value)
{
	for (; size > 0; size--, value >>= 8)
		g_byte_array_append(bytes, &(uint8_t){(uint8_t)value}, 1);
}

static unsigned get_short(const uint8_t *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

/* With its NUL. */
static bool add_text(GByteArray *bytes, const char *text, glong most, GError **error)
{
	glong length;
	g_autofree gunichar2 *wide = g_utf8_to_utf16(text, -1, NULL, &length, NULL);

	if (!wide || length > most)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a text of a boot entry is no UTF-8, or is too long");
	for (glong i = 0; i <= length; i++)
		add_little(bytes, 2, wide[i]);
	return true;
}

static void add_node(GByteArray *bytes, uint8_t type, uint8_t subtype, unsigned length)
{
	add_little(bytes, 1, type);
	add_little(bytes, 1, subtype);
	add_little(bytes, 2, length);
}

static void add_partition(GByteArray *bytes, const struct efi_partition *p)
{
	add_node(bytes, MEDIA, MEDIA_PARTITION, PARTITION_NODE);
	add_little(bytes, 4, p->number);
	add_little(bytes, 8, p->start);
	add_little(bytes, 8, p->length);
	g_byte_array_append(bytes, p->signature, sizeof(p->signature));
	add_little(bytes, 1, p->gpt ? FORMAT_GPT : FORMAT_MBR);
	add_little(bytes, 1, p->gpt ? FORMAT_GPT : FORMAT_MBR); /* the same for the signature */
}

GByteArray *efi_entry_make(const struct efi_partition *p, const char *path, const char *label,
			   GError **error)
{
	g_autoptr(GByteArray) entry = g_byte_array_new(), device = g_byte_array_new();
	g_autoptr(GByteArray) file = g_byte_array_new();

	if (!add_text(file, path, PATH_MOST, error))
		return NULL;
	add_partition(device, p);
	add_node(device, MEDIA, MEDIA_FILE, NODE_HEAD + file->len);
	g_byte_array_append(device, file->data, file->len);
	add_node(device, END, END_ALL, NODE_HEAD);
	add_little(entry, 4, ACTIVE);
	add_little(entry, 2, device->len);
	if (!add_text(entry, label, EFI_LABEL_MOST, error))
		return NULL;
	g_byte_array_append(entry, device->data, device->len);
	return g_steal_pointer(&entry);
}

char *efi_entry_label(const uint8_t *bytes, size_t length)
{
	g_autoptr(GArray) wide = g_array_new(TRUE, FALSE, sizeof(gunichar2));

	for (size_t at = OPTION_HEAD; at + 2 <= length; at += 2) {
		gunichar2 c = (gunichar2)get_short(bytes + at);

		if (c == 0)
			return g_utf16_to_utf8((const gunichar2 *)(void *)wide->data, wide->len,
					       NULL, NULL, NULL);
		g_array_append_val(wide, c);
	}
	return NULL;
}

/* ---- variables */

static char *path_of(const char *vars, const char *name)
{
	g_autofree char *file = g_strconcat(name, GLOBAL, NULL);

	return g_build_filename(vars, file, NULL);
}

/* The value without its attributes; NULL if there is none. */
static GByteArray *read_variable(const char *vars, const char *name)
{
	g_autofree char *path = path_of(vars, name);
	g_autofree char *bytes = NULL;
	gsize length;

	if (!g_file_get_contents(path, &bytes, &length, NULL) || length < ATTRIBUTES ||
	    length > VARIABLE_MOST)
		return NULL;
	GByteArray *value = g_byte_array_new();

	g_byte_array_append(value, (const uint8_t *)bytes + ATTRIBUTES,
			    (guint)(length - ATTRIBUTES));
	return value;
}

/* The firmware takes a variable as a whole: one write. */
static bool write_variable(const char *vars, const char *name, const GByteArray *value,
			   GError **error)
{
	g_autofree char *path = path_of(vars, name);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return inox_error_set_errno(error, errno, "open the EFI variable %s", name);
	add_little(bytes, ATTRIBUTES, ATTRIBUTES_VALUE);
	g_byte_array_append(bytes, value->data, value->len);
	ssize_t written = write(fd, bytes->data, bytes->len);
	int number = written < 0 ? errno : EIO;

	close(fd);
	return written == (ssize_t)bytes->len ||
	       inox_error_set_errno(error, number, "write the EFI variable %s", name);
}

/* ---- entries */

static void entry_name(unsigned number, char name[static 9])
{
	(void)g_snprintf(name, 9, "Boot%04X", number & (ENTRIES - 1));
}

/* The number of an entry's file; -1 for another file. */
static int number_of(const char *file)
{
	guint64 number;
	g_autofree char *digits = g_strndup(file + MIN(4, strlen(file)), 4);

	if (!g_str_has_prefix(file, "Boot") || strlen(digits) != 4 ||
	    !g_str_equal(file + 8, GLOBAL) ||
	    !g_ascii_string_to_unsigned(digits, 16, 0, ENTRIES - 1, &number, NULL))
		return -1;
	return (int)number;
}

static bool has_label(const char *vars, unsigned number, const char *label)
{
	char name[9];

	entry_name(number, name);
	g_autoptr(GByteArray) value = read_variable(vars, name);
	g_autofree char *own = value ? efi_entry_label(value->data, value->len) : NULL;

	return g_strcmp0(own, label) == 0;
}

/* Numbers (unsigned) of all entries with this label, and the lowest number that none has. */
static GArray *find_entries(const char *vars, const char *label, unsigned *ret_free)
{
	GArray *found = g_array_new(FALSE, FALSE, sizeof(unsigned));
	g_autofree bool *used = g_new0(bool, ENTRIES + 1);
	g_autoptr(GDir) dir = g_dir_open(vars, 0, NULL);
	const char *file;

	while (dir && (file = g_dir_read_name(dir))) {
		int number = number_of(file);

		if (number < 0)
			continue;
		used[number] = true;
		if (has_label(vars, (unsigned)number, label))
			g_array_append_val(found, number);
	}
	*ret_free = 0;
	while (used[*ret_free])
		++*ret_free;
	return found;
}

static bool holds(const GArray *numbers, unsigned number)
{
	for (guint i = 0; i < numbers->len; i++)
		if (g_array_index(numbers, unsigned, i) == number)
			return true;
	return false;
}

/* The new one, then what there was without the old ones. */
static bool write_order(const char *vars, unsigned first, const GArray *old, GError **error)
{
	g_autoptr(GByteArray) before = read_variable(vars, ORDER), order = g_byte_array_new();

	add_little(order, 2, first);
	for (guint i = 0; before && i + 2 <= before->len; i += 2) {
		unsigned number = get_short(before->data + i);

		if (number != first && !holds(old, number))
			add_little(order, 2, number);
	}
	return write_variable(vars, ORDER, order, error);
}

bool efi_boot_install(const char *vars, const char *label, const GByteArray *entry, GError **error)
{
	unsigned number;
	g_autoptr(GArray) old = find_entries(vars, label, &number);
	char name[9];

	if (number == ENTRIES)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "the firmware has no number left for a boot entry");
	entry_name(number, name);
	if (!write_variable(vars, name, entry, error) || !write_order(vars, number, old, error))
		return false;
	for (guint i = 0; i < old->len; i++) {
		entry_name(g_array_index(old, unsigned, i), name);
		g_autofree char *path = path_of(vars, name);

		/* Out of the order it is not booted; one that stays is only in the way. */
		(void)g_unlink(path);
	}
	return true;
}
