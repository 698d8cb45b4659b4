#include "listing.h"

#include <string.h>

struct listing {
	struct request *rq;
	const struct collection *c;
	GArray *filters;                  /* struct store_filter */
	GPtrArray *values;                /* json_t *: what the filters point to */
	GArray *columns;                  /* unsigned */
	GString *arguments;               /* what "next" repeats */
	char **fields;                    /* NULL without the argument */
	struct uuid marker;               /* not set: from the beginning */
	const struct filter_rule *either; /* the one filter that the store cannot express */
	const char *either_text;
	int sort_attr;
	unsigned limit;
	bool descending, detail, nothing;
};

static void value_free(void *data)
{
	json_decref(data);
}

static void listing_init(struct listing *l, struct request *rq, const struct collection *c)
{
	*l = (struct listing){.rq = rq, .c = c, .sort_attr = -1};
	l->filters = g_array_new(FALSE, FALSE, sizeof(struct store_filter));
	l->values = g_ptr_array_new_with_free_func(value_free);
	l->columns = g_array_new(FALSE, FALSE, sizeof(unsigned));
	l->arguments = g_string_new(NULL);
}

static void listing_clear(struct listing *l)
{
	g_array_unref(l->filters);
	g_ptr_array_unref(l->values);
	g_array_unref(l->columns);
	g_string_free(l->arguments, TRUE);
	g_strfreev(l->fields);
}

typedef struct listing listing;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(listing, listing_clear)

static void repeat(struct listing *l, const char *name, const char *value)
{
	g_autofree char *escaped = g_uri_escape_string(value, ",:", FALSE);

	g_string_append_printf(l->arguments, "&%s=%s", name, escaped);
}

/* Takes the value. */
static void add_filter(struct listing *l, unsigned attr, json_t *value, enum store_match match)
{
	struct store_filter f = {.attr = attr, .value = value, .match = match};

	if (value)
		g_ptr_array_add(l->values, value);
	g_array_append_val(l->filters, f);
}

static void add_column(struct listing *l, unsigned attr)
{
	for (unsigned i = 0; i < l->columns->len; i++)
		if (g_array_index(l->columns, unsigned, i) == attr)
			return;
	g_array_append_val(l->columns, attr);
}

static void add_words(struct listing *l, const struct filter_rule *rule, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	json_t *list = json_array();

	for (size_t i = 0; words[i]; i++)
		json_array_append_new(list, json_string(words[i]));
	add_filter(l, rule->attr, list, STORE_ANY_OF);
}

/* There is one conductor, and its group, the default one, has the empty name. */
static bool names_default_group(const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	bool found = *text == '\0';

	for (size_t i = 0; words[i]; i++)
		found |= *g_strstrip(words[i]) == '\0';
	return found;
}

static void add_either(struct listing *l, const struct filter_rule *rule, const char *text)
{
	l->either = rule;
	l->either_text = text;
	add_column(l, rule->attr);
	add_column(l, rule->other);
}

static bool add_state(struct listing *l, const struct filter_rule *rule, const char *text,
		      GError **error)
{
	if (provision_state_parse(text) < 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Provision state \"%s\" is not valid", text);
	add_filter(l, rule->attr, json_string(text), STORE_EQUAL);
	return true;
}

static bool add_fault(struct listing *l, const struct filter_rule *rule, const char *text,
		      GError **error)
{
	static const char faults[] =
		"power failure,clean failure,rescue abort failure,service failure";

	if (!word_in_list(faults, text))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Unrecognized fault \"%s\" is specified, allowed faults are "
				      "('power failure', 'clean failure', 'rescue abort failure', "
				      "'service failure')",
				      text);
	add_filter(l, rule->attr, json_string(text), STORE_EQUAL);
	return true;
}

static bool add_uuid(struct listing *l, const struct filter_rule *rule, const char *text,
		     GError **error)
{
	struct uuid u;

	if (!uuid_parse(text, &u, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID, "Expected UUID for %s: %s",
				      rule->argument, text);
	add_filter(l, rule->attr, json_string(u.s), STORE_EQUAL);
	return true;
}

static bool add_mac(struct listing *l, const struct filter_rule *rule, const char *text,
		    GError **error)
{
	struct mac m;
	char canonical[MAC_TEXT];

	if (strchr(text, '-') || !mac_parse(text, &m, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected valid MAC address for %s: %s", rule->argument,
				      text);
	mac_print(m, canonical);
	add_filter(l, rule->attr, json_string(canonical), STORE_EQUAL);
	return true;
}

static bool add_node(struct listing *l, const struct filter_rule *rule, const char *text,
		     GError **error)
{
	g_autoptr(node) n = store_node_get(l->rq->api->store, text, error);

	if (!n)
		return false;
	add_filter(l, rule->attr, json_string(n->uuid.s), STORE_EQUAL);
	return true;
}

static bool add_truth(struct listing *l, const struct filter_rule *rule, const char *text,
		      GError **error)
{
	bool truth;

	if (!request_parse_bool(rule->argument, text, &truth, error))
		return false;
	const struct store_filter is_set = {.attr = rule->attr, .negate = truth};

	if (rule->kind == FILTER_IS_SET)
		g_array_append_val(l->filters, is_set);
	else
		add_filter(l, rule->attr, json_boolean(truth), STORE_EQUAL);
	return true;
}

static bool refuse_filter(const struct filter_rule *rule, GError **error)
{
	if (rule->too_old)
		return api_error_set(error, API_ERROR_NOT_ACCEPTABLE, "%s", rule->too_old);
	return api_error_set(
		error, API_ERROR_NOT_ACCEPTABLE,
		"Request not acceptable. The minimal required API version should be 1.%u",
		rule->since);
}

static bool parse_filter(struct listing *l, const struct filter_rule *rule, const char *text,
			 GError **error)
{
	if (rule->since > l->rq->minor)
		return refuse_filter(rule, error);
	repeat(l, rule->argument, text);
	switch (rule->kind) {
	case FILTER_TEXT: add_filter(l, rule->attr, json_string(text), STORE_EQUAL); return true;
	case FILTER_UUID: return add_uuid(l, rule, text, error);
	case FILTER_MAC: return add_mac(l, rule, text, error);
	case FILTER_BOOL:
	case FILTER_IS_SET: return add_truth(l, rule, text, error);
	case FILTER_STATE: return add_state(l, rule, text, error);
	case FILTER_FAULT: return add_fault(l, rule, text, error);
	case FILTER_NODE: return add_node(l, rule, text, error);
	case FILTER_GROUP: l->nothing |= !names_default_group(text); return true;
	case FILTER_HOST:
		l->nothing |= strcmp(text, config_host(l->rq->api->config)) != 0;
		return true;
	case FILTER_CONTAINS:
		add_filter(l, rule->attr, json_string(text), STORE_CONTAINS);
		return true;
	case FILTER_ANY_OF: add_words(l, rule, text); return true;
	case FILTER_EITHER: break;
	}
	add_either(l, rule, text);
	return true;
}

static bool parse_limit(struct listing *l, GError **error)
{
	unsigned most = (unsigned)config_int(l->rq->api->config, OPTION_api_max_limit);
	const char *text = request_argument(l->rq, "limit");
	gint64 limit;

	l->limit = most;
	if (!text)
		return true;
	if (!g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &limit, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Expected an integer for limit: %s", text);
	if (limit <= 0)
		return inox_error_set(error, INOX_ERROR_INVALID, "Limit must be positive");
	l->limit = (unsigned)MIN(limit, (gint64)most);
	return true;
}

static bool parse_sorting(struct listing *l, GError **error)
{
	const char *key = request_argument(l->rq, "sort_key");
	const char *direction = request_argument(l->rq, "sort_dir");

	if (direction && strcmp(direction, "asc") != 0 && strcmp(direction, "desc") != 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid sort direction: %s. Acceptable values are 'asc' or "
				      "'desc'",
				      direction);
	l->descending = direction && strcmp(direction, "desc") == 0;
	if (!key || strcmp(key, "id") == 0)
		return true;
	l->sort_attr = attrs_find(l->c->table, key);
	const struct attr *a = l->sort_attr < 0 ? NULL : &l->c->table->attrs[l->sort_attr];

	if (!a || !(a->flags & A_READ))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The sort_key value \"%s\" is an invalid field for sorting",
				      key);
	if (a->kind == ATTR_JSON || a->kind == ATTR_LIST)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "The sort_key value %s is an invalid field for sorting", key);
	return a->since <= l->rq->minor || api_error_set_too_old(error);
}

bool listing_parse_fields(const struct request *rq, const struct collection *c, char ***ret_fields,
			  GError **error)
{
	const char *text = request_argument(rq, "fields");

	*ret_fields = NULL;
	if (!text)
		return true;
	if (rq->minor < 8)
		return api_error_set_too_old(error);
	g_auto(GStrv) fields = request_parse_names(text);

	if (!attributes_check_fields(c->table, rq->minor, fields, c->further_fields, error))
		return false;
	*ret_fields = g_steal_pointer(&fields);
	return true;
}

static bool parse_view(struct listing *l, bool detail, GError **error)
{
	const char *text = request_argument(l->rq, "detail");

	l->detail = detail;
	if (text && l->rq->minor < 43)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid query parameter ?detail=%s received.", text);
	if (text && !request_parse_bool("detail", text, &l->detail, error))
		return false;
	if (l->detail && request_argument(l->rq, "fields"))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Can not specify ?detail=True and fields in the same "
				      "request.");
	if (text && l->detail)
		repeat(l, "detail", "True");
	return listing_parse_fields(l->rq, l->c, &l->fields, error);
}

static bool parse_marker(struct listing *l, GError **error)
{
	const char *text = request_argument(l->rq, "marker");

	if (!text || uuid_parse(text, &l->marker, NULL))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID, "Expected UUID for marker: %s", text);
}

static bool parse_all(struct listing *l, bool detail, GError **error)
{
	for (unsigned i = 0; i < l->c->filter_count; i++) {
		const char *text = request_argument(l->rq, l->c->filters[i].argument);

		if (text && !parse_filter(l, &l->c->filters[i], text, error))
			return false;
	}
	return parse_limit(l, error) && parse_marker(l, error) && parse_sorting(l, error) &&
	       parse_view(l, detail, error);
}

/* The columns that the view needs: a page must not read a thousand config drives. */
static void choose_columns(struct listing *l)
{
	unsigned flags = l->detail ? A_READ : A_READ | A_BRIEF;

	add_column(l, l->c->uuid_attr);
	if (l->sort_attr >= 0)
		add_column(l, (unsigned)l->sort_attr);
	for (unsigned i = 0; i < l->c->table->count; i++) {
		const struct attr *a = &l->c->table->attrs[i];
		bool wanted = l->fields ? g_strv_contains((const char *const *)l->fields, a->name)
					: (a->flags & flags) == flags;

		if (wanted)
			add_column(l, i);
	}
}

static bool text_equals(const struct listing *l, const void *row, unsigned attr, const char *text)
{
	g_autoptr(json_t) value = attr_to_json(l->c->table, row, attr);

	return g_strcmp0(json_string_value(value), text) == 0;
}

static bool row_matches(const struct listing *l, const void *row)
{
	return !l->either || text_equals(l, row, l->either->attr, l->either_text) ||
	       text_equals(l, row, l->either->other, l->either_text);
}

static const char *row_uuid(const struct listing *l, const void *row)
{
	return ((const struct uuid *)(const void *)((const char *)row +
						    l->c->table->attrs[l->c->uuid_attr].offset))
		->s;
}

/* Reads page after page from the store until the answer has `limit` rows. */
static bool collect(struct listing *l, json_t *list, char **ret_last, GError **error)
{
	g_autofree char *marker = uuid_is_set(&l->marker) ? g_strdup(l->marker.s) : NULL;
	struct store_query q = {.filters = (const struct store_filter *)(void *)l->filters->data,
				.filter_count = l->filters->len,
				.sort_attr = l->sort_attr,
				.descending = l->descending,
				.limit = l->limit,
				.attrs = (const unsigned *)(void *)l->columns->data,
				.attr_count = l->columns->len};
	bool more = !l->nothing;

	while (more && json_array_size(list) < l->limit) {
		q.marker = marker;
		g_autoptr(GPtrArray) rows = l->c->list(l->rq->api->store, &q, error);

		if (!rows)
			return false;
		for (unsigned i = 0; i < rows->len && json_array_size(list) < l->limit; i++) {
			const void *row = g_ptr_array_index(rows, i);

			g_free(marker);
			marker = g_strdup(row_uuid(l, row));
			if (row_matches(l, row))
				json_array_append_new(
					list, l->c->render(l->rq, row,
							   l->detail ? A_READ : A_READ | A_BRIEF,
							   l->fields));
		}
		more = rows->len == l->limit;
	}
	*ret_last = g_steal_pointer(&marker);
	return true;
}

static char *next_link(const struct listing *l, const char *path, const char *last)
{
	g_autofree char *fields = l->fields ? g_strjoinv(",", l->fields) : NULL;

	return g_strdup_printf("%s/v1/%s?sort_key=%s&sort_dir=%s%s%s%s&limit=%u&marker=%s",
			       l->rq->base, path,
			       l->sort_attr < 0 ? "id" : l->c->table->attrs[l->sort_attr].name,
			       l->descending ? "desc" : "asc", l->arguments->str,
			       fields ? "&fields=" : "", fields ? fields : "", l->limit, last);
}

bool listing_reply(struct request *rq, const struct collection *c, const char *path,
		   const struct store_filter *fixed, unsigned fixed_count, bool detail,
		   GError **error)
{
	g_auto(listing) l = {0};
	g_autoptr(json_t) list = json_array();
	g_autofree char *last = NULL;

	listing_init(&l, rq, c);
	for (unsigned i = 0; i < fixed_count; i++)
		g_array_append_val(l.filters, fixed[i]);
	if (!parse_all(&l, detail, error))
		return false;
	choose_columns(&l);
	if (!collect(&l, list, &last, error))
		return false;
	rq->reply = json_object();
	json_object_set(rq->reply, c->plural, list);
	if (json_array_size(list) == l.limit && !request_argument(rq, "instance_uuid")) {
		g_autofree char *next = next_link(&l, path, last);

		json_object_set_new(rq->reply, "next", json_string(next));
	}
	return true;
}
