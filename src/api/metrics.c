/* Counts: GET /metrics in Prometheus' text format, GET /v1/shards. */
#include <string.h>

#include "documents.h"

/* Nodes per text of one attribute ("None" for null), or NULL with an error. */
static GHashTable *count_nodes(const struct request *rq, unsigned attr, GError **error)
{
	g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	const struct store_query q = {.sort_attr = -1, .attrs = &attr, .attr_count = 1};
	g_autoptr(GPtrArray) nodes = store_node_list(rq->api->store, &q, error);

	if (!nodes)
		return NULL;
	for (unsigned i = 0; i < nodes->len; i++) {
		g_autoptr(json_t) value = attr_to_json(&node_attrs, nodes->pdata[i], attr);
		const char *text = json_is_null(value) ? "None" : json_string_value(value);
		unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, text));

		g_hash_table_insert(counts, g_strdup(text), GUINT_TO_POINTER(count + 1));
	}
	return g_steal_pointer(&counts);
}

static void print_requests(const struct api *a, GString *out)
{
	GHashTableIter iter;
	gpointer status, count;

	g_string_append(out, "# HELP inox_api_requests_total Answers of the API by status.\n"
			     "# TYPE inox_api_requests_total counter\n");
	g_hash_table_iter_init(&iter, a->answered);
	while (g_hash_table_iter_next(&iter, &status, &count))
		g_string_append_printf(out, "inox_api_requests_total{status=\"%d\"} %u\n",
				       GPOINTER_TO_INT(status), GPOINTER_TO_UINT(count));
}

bool document_metrics(struct request *rq, GError **error)
{
	g_autoptr(GHashTable) counts = count_nodes(rq, NODE_ATTR_provision_state, error);

	if (!counts)
		return false;
	GString *out = g_string_new(NULL);

	print_requests(rq->api, out);
	g_string_append(out, "# HELP inox_nodes Nodes by provisioning state.\n"
			     "# TYPE inox_nodes gauge\n");
	for (unsigned state = STATE_NONE + 1; state < STATE_COUNT; state++) {
		const char *text = provision_state_text(state);

		g_string_append_printf(out, "inox_nodes{provision_state=\"%s\"} %u\n", text,
				       GPOINTER_TO_UINT(g_hash_table_lookup(counts, text)));
	}
	rq->text = g_string_free(out, FALSE);
	return true;
}

bool shards_list(struct request *rq, GError **error)
{
	g_autoptr(GHashTable) counts = count_nodes(rq, NODE_ATTR_shard, error);
	json_t *list = json_array();
	GHashTableIter iter;
	gpointer name, count;

	if (!counts) {
		json_decref(list);
		return false;
	}
	g_hash_table_iter_init(&iter, counts);
	while (g_hash_table_iter_next(&iter, &name, &count))
		json_array_append_new(list, json_pack("{s:s, s:i}", "name", name, "count",
						      (int)GPOINTER_TO_UINT(count)));
	rq->reply = json_pack("{s:o}", "shards", list);
	return true;
}
