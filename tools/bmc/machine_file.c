#include "machine_file.h"

#include <stddef.h>
#include <string.h>

#include "errors.h"

#define GROUP         "machine"
#define OVMF_FOLDER   "/usr/share/OVMF/"
#define WORD_MAX      63
#define LIST_MAX      64
#define MEMORY_MAX    (1024 * 1024)
#define INTERFACE_MAX 15 /* IFNAMSIZ - 1 */

enum key_type {
	KEY_WORD,   /* [A-Za-z0-9._-] and blanks: goes into QEMU's comma-separated lists */
	KEY_TEXT,   /* any */
	KEY_PATH,   /* relative ones start at the file's folder; "" is none */
	KEY_NUMBER, /* least to most */
	KEY_CHOICE, /* one of `choices`, as its index */
	KEY_LIST,   /* ';' between the items */
	KEY_MACS,
	KEY_TAPS,
	KEY_UUID,
};

static const char *const kinds[] = {"qemu", "process", NULL};
static const char *const firmwares[] = {"bios", "uefi", NULL};
static const char *const buses[] = {"virtio", "nvme", "ahci", "scsi", NULL};
static const char *const formats[] = {"raw", "qcow2", NULL};
static const char *const nics[] = {"virtio-net-pci", "e1000", "e1000e", NULL};

#define AT(member) offsetof(struct machine_spec, member)

static const struct key {
	const char *name;
	enum key_type type;
	size_t offset;
	const char *const *choices; /* KEY_CHOICE; of a KEY_WORD: the allowed words */
	int least, most;
} keys[] = {
	{"kind", KEY_CHOICE, AT(kind), kinds, 0, 0},
	{"name", KEY_WORD, AT(name), NULL, 0, 0},
	{"uuid", KEY_UUID, AT(uuid), NULL, 0, 0},
	{"mac", KEY_MACS, AT(macs), NULL, 0, 0},
	{"manufacturer", KEY_WORD, AT(manufacturer), NULL, 0, 0},
	{"model", KEY_WORD, AT(model), NULL, 0, 0},
	{"serial", KEY_WORD, AT(serial), NULL, 0, 0},
	{"firmware", KEY_CHOICE, AT(firmware), firmwares, 0, 0},
	{"memory", KEY_NUMBER, AT(memory_mib), NULL, 16, MEMORY_MAX},
	{"cpus", KEY_NUMBER, AT(cpus), NULL, 1, 64},
	{"disk", KEY_PATH, AT(disk), NULL, 0, 0},
	{"disk_format", KEY_WORD, AT(disk_format), formats, 0, 0},
	{"disk_bus", KEY_CHOICE, AT(disk_bus), buses, 0, 0},
	{"tap", KEY_TAPS, AT(taps), NULL, 0, 0},
	{"netdev", KEY_TEXT, AT(netdev), NULL, 0, 0},
	{"nic_model", KEY_WORD, AT(nic_model), nics, 0, 0},
	{"romfile", KEY_TEXT, AT(romfile), NULL, 0, 0},
	{"ovmf_code", KEY_PATH, AT(ovmf_code), NULL, 0, 0},
	{"ovmf_vars", KEY_PATH, AT(ovmf_vars), NULL, 0, 0},
	{"vars", KEY_PATH, AT(vars), NULL, 0, 0},
	{"media", KEY_PATH, AT(media), NULL, 0, 0},
	{"serial_log", KEY_PATH, AT(serial_log), NULL, 0, 0},
	{"serial_socket", KEY_PATH, AT(serial_socket), NULL, 0, 0},
	{"qemu", KEY_TEXT, AT(qemu), NULL, 0, 0},
	{"extra", KEY_LIST, AT(extra), NULL, 0, 0},
	{"launcher", KEY_LIST, AT(launcher), NULL, 0, 0},
	{"command", KEY_LIST, AT(command), NULL, 0, 0},
};

struct reading {
	GKeyFile *file;
	const char *path;
	char *folder;
	struct machine_spec *spec;
};

static bool is_word(const char *text, const char *also, size_t most)
{
	size_t length = strlen(text);

	if (length == 0 || length > most)
		return false;
	for (const char *c = text; *c; c++)
		if (!g_ascii_isalnum(*c) && !strchr(also, *c))
			return false;
	return true;
}

static void replace_text(void *field, char *text)
{
	char **at = field;

	g_free(*at);
	*at = text;
}

static bool set_choice_error(const struct key *k, GError **error)
{
	g_autoptr(GString) list = g_string_new(NULL);

	for (unsigned i = 0; k->choices[i]; i++)
		g_string_append_printf(list, "%s%s", i ? ", " : "", k->choices[i]);
	return inox_error_set(error, INOX_ERROR_INVALID, "expected one of %s", list->str);
}

static bool read_word(const struct key *k, const char *value, void *field, GError **error)
{
	if (k->choices && !g_strv_contains(k->choices, value))
		return set_choice_error(k, error);
	if (!is_word(value, "._- ", WORD_MAX))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "expected 1 to %d letters, digits, '.', '_', '-', blanks",
				      WORD_MAX);
	replace_text(field, g_strdup(value));
	return true;
}

static bool read_choice(const struct key *k, const char *value, void *field, GError **error)
{
	for (int i = 0; k->choices[i]; i++)
		if (strcmp(k->choices[i], value) == 0) {
			*(int *)field = i;
			return true;
		}
	return set_choice_error(k, error);
}

static bool read_number(const struct key *k, const char *value, void *field, GError **error)
{
	gint64 number;

	if (!g_ascii_string_to_signed(value, 10, k->least, k->most, &number, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID, "expected a number from %d to %d",
				      k->least, k->most);
	*(int *)field = (int)number;
	return true;
}

static bool read_list(const struct reading *r, const struct key *k, void *field, GError **error)
{
	gsize n = 0;
	char **list = g_key_file_get_string_list(r->file, GROUP, k->name, &n, NULL);

	if (!list || n == 0 || n > LIST_MAX) {
		g_strfreev(list);
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "expected 1 to %d words with ';' between them", LIST_MAX);
	}
	g_strfreev(*(char ***)field);
	*(char ***)field = list;
	return true;
}

static bool read_macs(struct machine_spec *s, const char *value, GError **error)
{
	g_auto(GStrv) texts = g_strsplit(value, ",", MACHINE_MACS_MAX + 1);
	unsigned n = g_strv_length(texts);

	if (n == 0 || n > MACHINE_MACS_MAX)
		return inox_error_set(error, INOX_ERROR_INVALID, "expected 1 to %d addresses",
				      MACHINE_MACS_MAX);
	for (unsigned i = 0; i < n; i++)
		if (!mac_parse(g_strstrip(texts[i]), &s->macs[i], error))
			return false;
	s->mac_count = n;
	return true;
}

static bool read_taps(struct machine_spec *s, const char *value, GError **error)
{
	g_auto(GStrv) texts = g_strsplit(value, ",", MACHINE_MACS_MAX + 1);

	for (unsigned i = 0; texts[i]; i++)
		if (!is_word(g_strstrip(texts[i]), "._-", INTERFACE_MAX))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "expected interface names with ',' between them");
	g_strfreev(s->taps);
	s->taps = g_steal_pointer(&texts);
	return true;
}

static char *resolve(const struct reading *r, const char *value)
{
	if (!*value)
		return NULL;
	return g_path_is_absolute(value) ? g_strdup(value)
					 : g_build_filename(r->folder, value, NULL);
}

static bool read_value(struct reading *r, const struct key *k, const char *value, GError **error)
{
	void *field = (char *)r->spec + k->offset;

	switch (k->type) {
	case KEY_WORD: return read_word(k, value, field, error);
	case KEY_CHOICE: return read_choice(k, value, field, error);
	case KEY_NUMBER: return read_number(k, value, field, error);
	case KEY_LIST: return read_list(r, k, field, error);
	case KEY_MACS: return read_macs(r->spec, value, error);
	case KEY_TAPS: return read_taps(r->spec, value, error);
	case KEY_UUID: return uuid_parse(value, field, error);
	case KEY_TEXT: replace_text(field, g_strdup(value)); return true;
	case KEY_PATH: replace_text(field, resolve(r, value)); return true;
	}
	return false;
}

static bool read_keys(struct reading *r, GError **error)
{
	g_auto(GStrv) names = g_key_file_get_keys(r->file, GROUP, NULL, NULL);

	if (!names)
		return inox_error_set(error, INOX_ERROR_INVALID, "there is no group [%s]", GROUP);
	for (unsigned i = 0; names[i]; i++) {
		const struct key *k = NULL;

		for (unsigned j = 0; j < G_N_ELEMENTS(keys); j++)
			if (strcmp(keys[j].name, names[i]) == 0)
				k = &keys[j];
		if (!k)
			return inox_error_set(error, INOX_ERROR_INVALID, "there is no key %.64s",
					      names[i]);
		g_autoptr(GError) reason = NULL;
		g_autofree char *raw = g_key_file_get_value(r->file, GROUP, names[i], NULL);

		if (raw && g_str_has_suffix(raw, "\\"))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "%s: a backslash at the end of the line", k->name);
		/* For a bad escape sequence there can be both a value and an error. */
		g_autofree char *value = g_key_file_get_string(r->file, GROUP, names[i], &reason);

		if (reason || !read_value(r, k, g_strstrip(value), &reason))
			return inox_error_set(error, INOX_ERROR_INVALID, "%s: %s", k->name,
					      reason->message);
	}
	return true;
}

/* Stable: the same machine has the same UUID after each start. */
static struct uuid make_uuid(const struct machine_spec *s)
{
	char mac[MAC_TEXT];
	struct uuid u;

	mac_print(s->macs[0], mac);
	g_autofree char *seed = g_strconcat("inox-bmc ", s->name, " ", mac, NULL);
	g_autofree char *hex = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);

	/* Version 8 (RFC 9562 section 5.8), variant 10. */
	g_snprintf(u.s, sizeof(u.s), "%.8s-%.4s-8%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12,
		   hex + 15, hex + 18);
	return u;
}

/* Rules across keys, and what depends on other keys. */
static bool complete(struct reading *r, GError **error)
{
	struct machine_spec *s = r->spec;

	if (!s->name)
		return inox_error_set(error, INOX_ERROR_INVALID, "name is missing");
	if (s->mac_count == 0)
		return inox_error_set(error, INOX_ERROR_INVALID, "mac is missing");
	if (s->kind == MACHINE_PROCESS && !s->command)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "command is missing: kind is process");
	if (s->kind == MACHINE_QEMU && s->command)
		return inox_error_set(error, INOX_ERROR_INVALID, "command is for kind = process");
	if (s->taps && g_strv_length(s->taps) > s->mac_count)
		return inox_error_set(error, INOX_ERROR_INVALID, "tap: more names than addresses");
	if (!uuid_is_set(&s->uuid))
		s->uuid = make_uuid(s);
	if (!s->serial)
		s->serial = g_strdup(s->name);
	if (!s->vars) {
		g_autofree char *file = g_strconcat(s->name, ".vars.fd", NULL);

		s->vars = g_build_filename(r->folder, file, NULL);
	}
	if (!s->media) {
		g_autofree char *file = g_strconcat(s->name, ".media.iso", NULL);

		s->media = g_build_filename(r->folder, file, NULL);
	}
	return true;
}

static struct machine_spec *spec_new(void)
{
	struct machine_spec *s = g_new0(struct machine_spec, 1);

	s->manufacturer = g_strdup("Inox");
	s->model = g_strdup("Virtual machine");
	s->memory_mib = 512;
	s->cpus = 1;
	s->disk_format = g_strdup("raw");
	s->nic_model = g_strdup("virtio-net-pci");
	s->ovmf_code = g_strdup(OVMF_FOLDER "OVMF_CODE_4M.fd");
	s->ovmf_vars = g_strdup(OVMF_FOLDER "OVMF_VARS_4M.fd");
	s->qemu = g_strdup("qemu-system-x86_64");
	return s;
}

static bool only_our_group(GKeyFile *file, GError **error)
{
	g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);

	for (unsigned i = 0; groups[i]; i++)
		if (strcmp(groups[i], GROUP) != 0)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "there is no group [%.64s]", groups[i]);
	return true;
}

struct machine_spec *machine_spec_parse(const char *text, size_t length, const char *path,
					GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(machine_spec) spec = spec_new();
	g_autofree char *folder = g_path_get_dirname(path);
	g_autoptr(GError) reason = NULL;
	struct reading r = {.file = file, .path = path, .folder = folder, .spec = spec};

	if (length > MACHINE_FILE_LIMIT)
		inox_error_set(&reason, INOX_ERROR_LIMIT, "larger than %d bytes",
			       MACHINE_FILE_LIMIT);
	else if (length == 0)
		inox_error_set(&reason, INOX_ERROR_INVALID, "empty");
	else if (g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, &reason) &&
		 only_our_group(file, &reason) && read_keys(&r, &reason) && complete(&r, &reason))
		return g_steal_pointer(&spec);
	inox_error_set(error, INOX_ERROR_INVALID, "machine file %s: %s", path,
		       reason ? reason->message : "cannot be read");
	return NULL;
}

struct machine_spec *machine_spec_load(const char *path, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) reason = NULL;
	gsize length = 0;

	if (!g_file_get_contents(path, &text, &length, &reason)) {
		inox_error_set(error, INOX_ERROR_INVALID, "machine file: %s", reason->message);
		return NULL;
	}
	return machine_spec_parse(text, length, path, error);
}

void machine_spec_free(struct machine_spec *s)
{
	if (!s)
		return;
	char **texts[] = {&s->name,       &s->manufacturer,  &s->model,     &s->serial,
			  &s->disk,       &s->disk_format,   &s->netdev,    &s->nic_model,
			  &s->romfile,    &s->ovmf_code,     &s->ovmf_vars, &s->vars,
			  &s->serial_log, &s->serial_socket, &s->qemu,      &s->media};

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(*texts[i]);
	g_strfreev(s->taps);
	g_strfreev(s->extra);
	g_strfreev(s->launcher);
	g_strfreev(s->command);
	g_free(s);
}
