/* hints.c: the grammar of one hint is an operator and its values:
 *
 *     "100"   "== 100"   ">= 100"   "<in> samsung"   "<or> sda <or> sdb"   "s== text"   "s!= text"
 *
 * Texts are compared stripped, in lower case and percent-encoded, so that a space inside a value is part of
 * it.  Numbers compare as floating point.  A single "=" means ">=".
 */
#include "hints.h"

#include <math.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"

enum hint_type { HINT_TEXT, HINT_SIZE, HINT_BOOL };

static const struct {
	const char *name;
	enum hint_type type;
} known_hints[] = {
	{"size", HINT_SIZE},
	{"model", HINT_TEXT},
	{"vendor", HINT_TEXT},
	{"serial", HINT_TEXT},
	{"wwn", HINT_TEXT},
	{"wwn_with_extension", HINT_TEXT},
	{"wwn_vendor_extension", HINT_TEXT},
	{"rotational", HINT_BOOL},
	{"name", HINT_TEXT},
	{"hctl", HINT_TEXT},
	{"by_path", HINT_TEXT},
	{"tran", HINT_TEXT},
};

enum operator_kind { OP_NUMBER, OP_TEXT, OP_IN, OP_ALL_IN, OP_OR };

#define LESS    1
#define EQUAL   2
#define GREATER 4

/* Longer texts first, so that the first that fits is the one meant. */
static const struct hint_operator {
	const char *text;
	enum operator_kind kind;
	int accept; /* results of a comparison */
} operators[] = {
	{"<all-in>", OP_ALL_IN, 0},
	{"<or>", OP_OR, 0},
	{"<in>", OP_IN, 0},
	{"s==", OP_TEXT, EQUAL},
	{"s!=", OP_TEXT, LESS | GREATER},
	{"s<=", OP_TEXT, LESS | EQUAL},
	{"s>=", OP_TEXT, GREATER | EQUAL},
	{"s<", OP_TEXT, LESS},
	{"s>", OP_TEXT, GREATER},
	{"==", OP_NUMBER, EQUAL},
	{"!=", OP_NUMBER, LESS | GREATER},
	{"<=", OP_NUMBER, LESS | EQUAL},
	{">=", OP_NUMBER, GREATER | EQUAL},
	{"<", OP_NUMBER, LESS},
	{">", OP_NUMBER, GREATER},
	{"=", OP_NUMBER, GREATER | EQUAL},
};

static const struct hint_operator default_text = {"", OP_TEXT, EQUAL};
static const struct hint_operator default_number = {"", OP_NUMBER, EQUAL};

/* An operator counts only when a space or the end follows it. */
static const struct hint_operator *
read_operator(const char *hint, const struct hint_operator *otherwise, const char **ret_rest)
{
	while (g_ascii_isspace(*hint))
		hint++;
	for (size_t i = 0; i < G_N_ELEMENTS(operators); i++) {
		size_t length = strlen(operators[i].text);

		if (strncmp(hint, operators[i].text, length) == 0 &&
		    (g_ascii_isspace(hint[length]) || hint[length] == '\0' ||
		     (operators[i].kind == OP_NUMBER && g_ascii_isdigit(hint[length])))) {
			*ret_rest = hint + length;
			return &operators[i];
		}
	}
	*ret_rest = hint;
	return otherwise;
}

static char *normalise(const char *text)
{
	g_autofree char *lower = g_ascii_strdown(text, -1);

	return g_uri_escape_string(g_strstrip(lower), "/", FALSE);
}

static int outcome(double difference)
{
	return difference < 0 ? LESS : difference > 0 ? GREATER : EQUAL;
}

static bool parse_number(const char *text, double *ret_value)
{
	g_autofree char *stripped = g_strstrip(g_strdup(text));
	char *end;

	*ret_value = g_ascii_strtod(stripped, &end);
	return end != stripped && *end == '\0' && isfinite(*ret_value);
}

/* ---- one text hint against one value */

static bool match_words(const char *rest, const char *value, const char *separator, bool all)
{
	g_auto(GStrv) words = g_strsplit(rest, separator, -1);
	bool any = false;

	for (char **word = words; *word; word++) {
		g_autofree char *plain = normalise(*word);

		if (!*plain)
			continue;
		bool here = all ? strstr(value, plain) != NULL : g_str_equal(value, plain);

		if (all && !here)
			return false;
		any = any || here;
	}
	return any;
}

static bool match_number(const struct hint_operator *op, const char *rest, const char *value)
{
	double wanted, is;

	return parse_number(rest, &wanted) && parse_number(value, &is) &&
	       (op->accept & outcome(is - wanted)) != 0;
}

static bool match_text(const char *hint, const char *raw)
{
	const char *rest;
	const struct hint_operator *op = read_operator(hint, &default_text, &rest);
	g_autofree char *value = normalise(raw ? raw : "none");
	g_autofree char *plain = normalise(rest);

	if (!*value)
		return false;
	switch (op->kind) {
	case OP_NUMBER: return match_number(op, rest, raw ? raw : "");
	case OP_TEXT: return (op->accept & outcome((double)strcmp(value, plain))) != 0;
	case OP_IN: return strstr(value, plain) != NULL;
	case OP_ALL_IN: return match_words(rest, value, " ", true);
	case OP_OR: return match_words(rest, value, "<or>", false);
	}
	return false;
}

/* Any of the known values of a disk is enough; unknown ones never match. */
static bool match_either(const char *hint, const char *a, const char *b)
{
	return (a && match_text(hint, a)) || (b && match_text(hint, b));
}

static bool match_size(const json_t *hint, uint64_t bytes)
{
	double size = (double)bytes / (double)(1ULL << 30), wanted;
	const char *rest;

	if (json_is_integer(hint))
		return size == (double)json_integer_value(hint);

	const struct hint_operator *op =
		read_operator(json_string_value(hint), &default_number, &rest);

	if (op->kind == OP_OR) {
		/* The stock agent compares texts here, which never match; numbers are what was meant. */
		g_auto(GStrv) words = g_strsplit(rest, "<or>", -1);

		for (char **word = words; *word; word++)
			if (parse_number(*word, &wanted) && size == wanted)
				return true;
		return false;
	}
	return parse_number(rest, &wanted) && (op->accept & outcome(size - wanted)) != 0;
}

static bool parse_bool(const json_t *hint, bool *ret_value)
{
	static const char *const words[] = {"0", "1", "f",  "t",   "false", "true",
					    "n", "y", "no", "yes", "off",   "on"};
	g_autofree char *plain = NULL;

	if (json_is_boolean(hint)) {
		*ret_value = json_is_true(hint);
		return true;
	}
	if (json_is_integer(hint))
		plain = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(hint));
	else if (json_is_string(hint))
		plain = normalise(json_string_value(hint));
	for (size_t i = 0; plain && i < G_N_ELEMENTS(words); i++) {
		if (g_str_equal(words[i], plain)) {
			*ret_value = i % 2 == 1;
			return true;
		}
	}
	return false;
}

/* ---- all hints */

static bool match_hint(const char *name, const json_t *hint, const struct disk *d)
{
	const char *text = json_string_value(hint);
	const struct {
		const char *name, *value;
	} table[] = {
		{"model", d->model},
		{"vendor", d->vendor},
		{"name", d->name},
		{"hctl", d->hctl},
		{"by_path", d->by_path},
		{"tran", d->tran},
		{"wwn_with_extension", d->wwn_with_extension},
		{"wwn_vendor_extension", d->wwn_vendor_extension},
	};
	bool wanted;

	if (g_str_equal(name, "size"))
		return match_size(hint, d->size);
	if (g_str_equal(name, "rotational"))
		return parse_bool(hint, &wanted) && wanted == d->rotational;
	if (g_str_equal(name, "serial"))
		return match_either(text, d->serial, d->serial_long);
	if (g_str_equal(name, "wwn"))
		return match_either(text, d->wwn, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (g_str_equal(table[i].name, name))
			return match_text(text, table[i].value);
	return false;
}

bool hints_match(const json_t *hints, const struct disk *d)
{
	void *cursor = json_object_iter((json_t *)(uintptr_t)hints);

	for (; cursor; cursor = json_object_iter_next((json_t *)(uintptr_t)hints, cursor))
		if (!match_hint(json_object_iter_key(cursor), json_object_iter_value(cursor), d))
			return false;
	return true;
}

static bool check_size(const json_t *value, GError **error)
{
	const char *text = json_string_value(value), *rest;
	double number;

	if (json_is_integer(value) && json_integer_value(value) > 0)
		return true;
	if (text) {
		const struct hint_operator *op = read_operator(text, &default_number, &rest);

		if (op->kind == OP_OR && *rest)
			return true;
		if (op->kind == OP_NUMBER && parse_number(rest, &number) && number > 0 &&
		    number < 1e9 && number == (double)(int64_t)number)
			return true;
	}
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "root device hint 'size' must be a positive integer (GiB), with a "
			      "comparison operator in front or without");
}

static bool check_hint(const char *name, const json_t *value, enum hint_type type, GError **error)
{
	bool ignored;

	switch (type) {
	case HINT_SIZE: return check_size(value, error);
	case HINT_BOOL:
		return parse_bool(value, &ignored)
			       ? true
			       : inox_error_set(error, INOX_ERROR_INVALID,
						"root device hint '%s' must be true or false",
						name);
	case HINT_TEXT: break;
	}
	if (!json_is_string(value) || json_string_length(value) == 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "root device hint '%s' must be a text that is not empty",
				      name);
	return true;
}

bool hints_check(const json_t *hints, GError **error)
{
	json_t *object = (json_t *)(uintptr_t)hints;

	if (!json_is_object(hints))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the root device hints must be an object, not a %s",
				      json_type_text(hints));
	for (void *c = json_object_iter(object); c; c = json_object_iter_next(object, c)) {
		const char *name = json_object_iter_key(c);
		size_t i = 0;

		while (i < G_N_ELEMENTS(known_hints) && !g_str_equal(known_hints[i].name, name))
			i++;
		if (i == G_N_ELEMENTS(known_hints))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "there is no root device hint named '%s'", name);
		if (!check_hint(name, json_object_iter_value(c), known_hints[i].type, error))
			return false;
	}
	return true;
}

const json_t *hints_of_node(const json_t *node)
{
	static const char *const places[] = {"instance_info", "properties"};

	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		const json_t *hints =
			json_object_get(json_object_get(node, places[i]), "root_device");

		if (json_object_size(hints) > 0 ||
		    (hints && !json_is_object(hints) && !json_is_null(hints)))
			return hints;
	}
	return NULL;
}

static const struct disk *choose_smallest(const GPtrArray *disks)
{
	const struct disk *best = NULL;

	for (unsigned i = 0; i < disks->len; i++) {
		const struct disk *d = disks->pdata[i];

		if (d->read_only || d->removable || d->size < HINTS_DEFAULT_MIN)
			continue;
		if (!best || d->size < best->size ||
		    (d->size == best->size && strcmp(d->name, best->name) < 0))
			best = d;
	}
	return best;
}

const struct disk *hints_choose(const json_t *hints, const GPtrArray *disks, GError **error)
{
	g_autofree char *present = disk_list_text(disks);

	if (!hints || json_object_size(hints) == 0) {
		const struct disk *best = choose_smallest(disks);

		if (!best)
			inox_error_set(error, INOX_ERROR_NOT_FOUND,
				       "No disk of at least 4 GiB that is neither removable nor "
				       "read-only was found. The disks present are: %s",
				       present);
		return best;
	}
	if (!hints_check(hints, error))
		return NULL;
	for (unsigned i = 0; i < disks->len; i++) {
		const struct disk *d = disks->pdata[i];

		if (!d->read_only && hints_match(hints, d))
			return d;
	}

	g_autofree char *shown = json_print_python(hints);

	inox_error_set(error, INOX_ERROR_NOT_FOUND,
		       "No disk matches the root device hints %s. The disks present are: %s", shown,
		       present);
	return NULL;
}
