/* Counts: GET /metrics in Prometheus' text format, GET /v1/shards. */
#include "dialer_metrics.h"
#include "documents.h"
#include "limit.h"

#include <string.h>

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

void api_take_refusals(struct api *a, const char *role, const char *call, bool killed,
		       uint64_t count)
{
	g_hash_table_replace(a->refusals,
			     g_strdup_printf("role=\"%s\",call=\"%s\",answer=\"%s\"", role, call,
					     killed ? "killed" : "refused"),
			     g_memdup2(&count, sizeof(count)));
}

static void print_refusals(const struct api *a, GString *out)
{
	g_autoptr(GList) keys = g_hash_table_get_keys(a->refusals);

	g_string_append(out,
			"# HELP inox_sandbox_refusals_total System calls that a process's role "
			"does not need.\n"
			"# TYPE inox_sandbox_refusals_total counter\n");
	keys = g_list_sort(keys, (GCompareFunc)(void (*)(void))strcmp);
	for (const GList *k = keys; k; k = k->next) {
		const uint64_t *count = g_hash_table_lookup(a->refusals, k->data);

		g_string_append_printf(out,
				       "inox_sandbox_refusals_total{%s} %" G_GUINT64_FORMAT "\n",
				       (const char *)k->data, (guint64)*count);
	}
}

/* Older figures are those of a process that is gone, or stuck. */
#define FIGURES_AGE_MOST_S 60

/* NULL if the dialer has none. */
static struct dialer_metrics *read_figures(const struct api *a, unsigned index, GError **error)
{
	g_autofree char *name = g_strdup_printf(DIALER_METRICS_SETTING, index);
	g_autofree char *value = NULL;
	struct dialer_metrics m;
	char *figures = NULL;

	if (!store_setting_get(a->store, name, &value, error) || !value)
		return NULL;
	gint64 age = wall_now().us / 1000000 - g_ascii_strtoll(value, &figures, 10);

	if (age > FIGURES_AGE_MOST_S || *figures != ' ' ||
	    !dialer_metrics_decode(figures + 1, &m, NULL))
		return NULL;
	return g_memdup2(&m, sizeof(m));
}

static bool print_dialers(const struct api *a, GString *out, GError **error)
{
	struct dialer_metrics *list[LIMIT_DIALERS] = {NULL};
	unsigned count = (unsigned)config_int(a->config, OPTION_agent_dialers);
	g_autoptr(GError) problem = NULL;

	for (unsigned i = 0; i < count && !problem; i++)
		list[i] = read_figures(a, i, &problem);
	if (!problem)
		dialer_metrics_print(out, list, count);
	for (unsigned i = 0; i < count; i++)
		g_free(list[i]);
	if (!problem)
		return true;
	g_propagate_error(error, g_steal_pointer(&problem));
	return false;
}

bool document_metrics(struct request *rq, GError **error)
{
	g_autoptr(GHashTable) counts =
		store_node_counts(rq->api->store, NODE_ATTR_provision_state, error);

	if (!counts)
		return false;
	g_autoptr(GString) out = g_string_new(NULL);

	if (!print_dialers(rq->api, out, error))
		return false;
	print_requests(rq->api, out);
	print_agent_calls(rq->api, out);
	print_refusals(rq->api, out);
	g_string_append(out, "# HELP inox_nodes Nodes by provisioning state.\n"
			     "# TYPE inox_nodes gauge\n");
	for (unsigned state = STATE_NONE + 1; state < STATE_COUNT; state++) {
		const char *text = provision_state_text(state);

		g_string_append_printf(out, "inox_nodes{provision_state=\"%s\"} %u\n", text,
				       GPOINTER_TO_UINT(g_hash_table_lookup(counts, text)));
	}
	rq->text = g_string_free(g_steal_pointer(&out), FALSE);
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
