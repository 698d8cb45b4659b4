/* The API's own handlers, called as dispatch.c calls them; what comes before them is played: no HTTP. */
#include <string.h>

#include "agents.h"
#include "nodes.h"
#include "server.h"
#include "sim.h"

#define AGENT_PORT 9999

struct http_request {
	const char *node_uuid, *addresses; /* of the query */
};

const char *http_request_query(const struct http_request *rq, const char *name)
{
	if (strcmp(name, "node_uuid") == 0)
		return rq->node_uuid;
	return strcmp(name, "addresses") == 0 ? rq->addresses : NULL;
}

const char *http_request_path(const struct http_request *rq)
{
	(void)rq;
	return "/";
}

/* The datagram that a commit is followed by may get lost: then the sweep finds the row. */
static void poke(void *ctx, const char *uuid)
{
	(void)ctx;
	if (!sim->dead && sim->conductor && !sim_chance(100))
		plane_poke(uuid);
}

struct call {
	struct api api;
	struct http_request http;
	struct request rq;
};

static const struct route agents_route = {
	.arguments = "callback_url,agent_token,agent_version,agent_verify_ca,agent_status"};

static void call_begin(struct call *c, unsigned index)
{
	const struct node *n = rows_peek(index);

	*c = (struct call){.api = {.config = sim->config, .poke = poke}};
	c->api.old_agents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	c->rq = (struct request){.api = &c->api,
				 .http = &c->http,
				 .route = &agents_route,
				 .minor = 109,
				 .base = g_strdup("http://api"),
				 .ident = g_strdup(n->uuid.s),
				 .status = 200};
	sim->in_api = true;
}

static void call_end(struct call *c)
{
	struct request *rq = &c->rq;

	g_free(rq->base);
	g_free(rq->ident);
	json_decref(rq->body);
	patch_free(rq->patch);
	node_free(rq->node);
	json_decref(rq->reply);
	g_free(rq->text);
	g_free(rq->location);
	g_free(rq->poke_node);
	g_hash_table_unref(c->api.old_agents);
	sim->in_api = false;
}

/* As run_handler() of dispatch.c; ends the call, gives the refusal. */
static char *run(struct call *c, handler_fn handler, bool needs_unlocked)
{
	struct request *rq = &c->rq;
	g_autoptr(GError) error = NULL;

	g_assert_true(store_begin(NULL, NULL));
	rq->node = store_node_get(NULL, rq->ident, &error);
	bool good = rq->node && (!needs_unlocked || request_check_unlocked(rq->node, &error)) &&
		    handler(rq, &error);

	if (!good)
		store_rollback(NULL);
	else
		g_assert_true(store_commit(NULL, NULL));
	if (good && rq->poke_node)
		poke(NULL, rq->poke_node);
	call_end(c);
	if (!good && !error)
		sim_broken("a request is refused without a reason");
	return good ? NULL : g_strdup(error ? error->message : "?");
}

static json_t *step(const char *interface, const char *name)
{
	return json_pack("{s:s, s:s}", "interface", interface, "step", name);
}

/* What the conductor does by itself. */
static json_t *own_step(void)
{
	static const char *const names[] = {"hold",     "wait",      "wait",  "reboot",
					    "power_on", "power_off", "reboot"};
	const char *name = names[sim_below(G_N_ELEMENTS(names))];
	json_t *made = step("power", name);

	if (strcmp(name, "wait") == 0)
		json_object_set_new(made, "args",
				    json_pack("{s:I}", "seconds", (json_int_t)(1 + sim_below(90))));
	return made;
}

/* Each step once at most, in any order, and at least one. */
static json_t *clean_steps(unsigned index)
{
	bool flashes = sim->machines[index].flashes && sim_coin(700), first = sim_coin(500);
	json_t *steps = json_array();

	if (flashes && first)
		json_array_append_new(steps, step("raid", "flash"));
	if (sim_coin(500))
		json_array_append_new(steps, step("deploy", "burn"));
	if (flashes && !first)
		json_array_append_new(steps, step("raid", "flash"));
	if (json_array_size(steps) == 0 || sim_coin(200))
		json_array_append_new(steps, step("deploy", "erase_devices"));
	return steps;
}

static void ask_for_steps(unsigned index, json_t *body)
{
	bool bare = sim_coin(200);
	json_t *agents = clean_steps(index), *steps = json_array(), *value;
	size_t i;

	json_array_foreach(agents, i, value) {
		while (bare || sim_coin(250)) {
			json_array_append_new(steps, own_step());
			if (bare && sim_coin(400))
				break;
		}
		if (!bare)
			json_array_append(steps, value);
	}
	json_decref(agents);
	/* With the next contact. */
	if (!bare && sim_coin(100))
		json_array_append_new(steps, step("power", "wait"));
	json_object_set_new(body, "clean_steps", steps);
	json_object_set_new(body, "disable_ramdisk", json_boolean(bare));
}

char *api_provision(unsigned index, const char *verb)
{
	struct call c;

	call_begin(&c, index);
	c.rq.body = json_pack("{s:s}", "target", verb);
	if (strcmp(verb, "clean") == 0)
		ask_for_steps(index, c.rq.body);
	if (strcmp(verb, "rescue") == 0)
		json_object_set_new(c.rq.body, "rescue_password", json_string(PASSWORD));
	return run(&c, node_provision, false);
}

char *api_power(unsigned index, const char *target)
{
	struct call c;

	call_begin(&c, index);
	c.rq.body = json_pack("{s:s}", "target", target);
	return run(&c, node_power, false);
}

char *api_patch(unsigned index, const char *text)
{
	g_autoptr(json_t) body = json_loads(text, 0, NULL);
	struct call c;

	call_begin(&c, index);
	c.rq.patch = patch_parse(body, c.rq.minor, NULL);
	g_assert_nonnull(c.rq.patch);
	return run(&c, nodes_patch, false);
}

char *api_delete(unsigned index)
{
	struct call c;

	call_begin(&c, index);
	return run(&c, nodes_delete, false);
}

char *api_maintenance(unsigned index, bool on)
{
	struct call c;

	call_begin(&c, index);
	c.rq.body = json_object();
	return run(&c, on ? node_maintenance_set : node_maintenance_clear, true);
}

/* ---- what agents call */

bool people_look_up(unsigned index, char ret_token[64])
{
	struct call c;
	char mac[MAC_TEXT];
	g_autoptr(GError) error = NULL;

	*ret_token = '\0';
	if (index >= sim->nodes || !rows_peek(index))
		return false;
	call_begin(&c, index);
	g_strlcpy(mac, sim->machines[index].mac, sizeof(mac));
	c.http.addresses = mac;
	bool good = agent_lookup(&c.rq, &error);
	const json_t *shown = json_object_get(c.rq.reply, "config");
	const char *token = json_peek_string(shown, "agent_token");

	if (good && token && strcmp(token, "******") != 0)
		g_strlcpy(ret_token, token, 64);
	sim_say("look-up for %u: %s", index,
		!good        ? error->message
		: *ret_token ? "the token goes out"
			     : "no token");
	if (*ret_token)
		check_origin(ret_token, rows_peek(index));
	call_end(&c);
	return good;
}

bool people_heartbeat(unsigned index, const char *token, const char *address)
{
	struct call c;
	g_autoptr(GError) error = NULL;
	g_autofree char *url = g_strdup_printf("https://%s:%d", address, AGENT_PORT);

	if (index >= sim->nodes || !rows_peek(index))
		return false;
	call_begin(&c, index);
	c.rq.node = store_node_get(NULL, c.rq.ident, NULL);
	c.rq.body = json_pack("{s:s, s:s, s:s}", "callback_url", url, "agent_token", token,
			      "agent_version", "1");
	bool good = agent_heartbeat(&c.rq, &error);

	sim_say("heartbeat for %u: %s", index, good ? "accepted" : error->message);
	if (good)
		check_heartbeat(index, token);
	call_end(&c);
	return good;
}
