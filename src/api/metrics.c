/* Counts: GET /metrics in Prometheus' text format, GET /v1/shards. */
#include "documents.h"

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

static void print_agent_calls(const struct api *a, GString *out)
{
	static const char lookups[] = "# HELP inox_api_lookups_total Look-ups of agents.\n"
				      "# TYPE inox_api_lookups_total counter\n";
	static const char heartbeats[] = "# HELP inox_api_heartbeats_total Heartbeats of agents.\n"
					 "# TYPE inox_api_heartbeats_total counter\n";
	static const struct {
		const char *before, *line;
	} lines[AGENT_CALL_COUNT] = {
		[AGENT_CALL_LOOKUP] = {lookups, "inox_api_lookups_total{token=\"kept\"}"},
		[AGENT_CALL_TOKEN_GIVEN] = {"", "inox_api_lookups_total{token=\"given\"}"},
		[AGENT_CALL_HEARTBEAT] = {heartbeats,
					  "inox_api_heartbeats_total{result=\"accepted\"}"},
		[AGENT_CALL_REFUSED] = {"", "inox_api_heartbeats_total{result=\"refused\"}"},
		[AGENT_CALL_OLD_TOKEN] = {"", "inox_api_heartbeats_total{result=\"old token\"}"},
	};

	for (unsigned i = 0; i < AGENT_CALL_COUNT; i++)
		g_string_append_printf(out, "%s%s %u\n", lines[i].before, lines[i].line,
				       a->agent_calls[i]);
}

bool document_metrics(struct request *rq, GError **error)
{
	g_autoptr(GHashTable) counts =
		store_node_counts(rq->api->store, NODE_ATTR_provision_state, error);

	if (!counts)
		return false;
	GString *out = g_string_new(NULL);

	print_requests(rq->api, out);
	print_agent_calls(rq->api, out);
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

/* Nodes without a shard are counted under the name "None", as clients expect. */
bool shards_list(struct request *rq, GError **error)
{
	g_autoptr(GHashTable) counts = store_node_counts(rq->api->store, NODE_ATTR_shard, error);
	GHashTableIter iter;
	gpointer name, count;

	if (!counts)
		return false;
	json_t *list = json_array();

	g_hash_table_iter_init(&iter, counts);
	while (g_hash_table_iter_next(&iter, &name, &count)) {
		const char *shard = *(const char *)name ? name : "None";

		json_array_append_new(list, json_pack("{s:s, s:i}", "name", shard, "count",
						      (int)GPOINTER_TO_UINT(count)));
	}
	rq->reply = json_pack("{s:o}", "shards", list);
	return true;
}
