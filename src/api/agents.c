/* Look-up and heartbeat (bare-metal-api, section 5).
 *
 * Whoever can reach the API may call these, so: a node that is not in active mode answers as one that is
 * not there; a request that is refused writes nothing and takes no lock; and the token is compared with a check
 * value, since this process cannot open it.  What is to be written is checked a second time inside
 * the transaction.
 */
#include "agents.h"

#include <string.h>

#include "agent_words.h"
#include "attributes.h"
#include "deployment.h"
#include "flow.h"
#include "verifier.h"

#define MASK "******"
/* Three times the longest pause between two heartbeats at its default. */
#define OLD_AGENT_SHOWN SPAN_SECONDS(900)

static bool not_found(GError **error)
{
	return inox_error_set(error, INOX_ERROR_NOT_FOUND, "Resource could not be found.");
}

bool agents_check_open(const struct request *rq, GError **error)
{
	return !config_bool(rq->api->config, OPTION_api_disable_agent_api) ||
	       inox_error_set(error, INOX_ERROR_DENIED,
			      "Access was denied to the following resource: %s",
			      http_request_path(rq->http));
}

bool agent_refuse_inspection(struct request *rq, GError **error)
{
	(void)rq;
	return not_found(error);
}

struct agent_defaults agents_defaults(const struct config *c, char **ret_url)
{
	const char *delivery = config_text(c, OPTION_agent_token_delivery);

	*ret_url = config_agent_api_url(c);
	return (struct agent_defaults){.active = !config_bool(c, OPTION_agent_poll_only),
				       .by_lookup = strcmp(delivery, "lookup") == 0,
				       .by_contact = strcmp(delivery, "contact") == 0,
				       .allow_contact =
					       config_bool(c, OPTION_agent_allow_first_contact),
				       .transport = config_text(c, OPTION_agent_transport),
				       .api_url = *ret_url,
				       .closed = config_bool(c, OPTION_api_disable_agent_api)};
}

bool agents_node_is_active(const struct request *rq, const struct node *n)
{
	struct flow_boot boot;
	bool polled;

	flow_peek_boot(n, &boot);
	if (boot.begun)
		return boot.active;
	return deployment_flag(n, "agent_poll_only",
			       config_bool(rq->api->config, OPTION_agent_poll_only), &polled,
			       NULL) &&
	       !polled;
}

static struct event event_of(const struct request *rq, enum event_kind kind)
{
	const struct config *c = rq->api->config;

	return (struct event){
		.kind = kind,
		.now = wall_now(),
		.host = config_host(c),
		.epoch = (uint64_t)rq->node->boot_epoch,
		.limits = {
			.callback_s = config_patience(c, OPTION_conductor_deploy_callback_timeout),
			.clean_callback_s =
				config_patience(c, OPTION_conductor_clean_callback_timeout),
			.rescue_callback_s =
				config_patience(c, OPTION_conductor_rescue_callback_timeout),
			.power_s =
				config_patience(c, OPTION_conductor_power_state_change_timeout)}};
}

/* The request's node again, behind the lock. */
static bool begin_again(struct request *rq, GError **error)
{
	g_autofree char *uuid = g_strdup(rq->node->uuid.s);

	if (!store_begin(rq->api->store, error))
		return false;
	g_clear_pointer(&rq->node, node_free);
	rq->node = store_node_get(rq->api->store, uuid, error);
	return rq->node != NULL;
}

/* Ends the transaction of begin_again(). */
static bool fold_and_commit(struct request *rq, const struct event *ev, GError **error)
{
	struct store *s = rq->api->store;
	attr_set changed = {0};

	if (!node_fold(rq->node, ev, changed, error) ||
	    !store_node_update(s, rq->node, changed, error)) {
		store_rollback(s);
		return false;
	}
	if (!store_commit(s, error))
		return false;
	if (changed[0] || changed[1])
		rq->api->poke(rq->api->poke_ctx, rq->node->uuid.s);
	return true;
}

/* Folds into the row as it was read.  Mostly nothing is to be written, and no lock is taken.  CONFLICT: the row
 * has moved meanwhile, and nothing was written. */
static bool fold_and_write(struct request *rq, const struct event *ev, GError **error)
{
	struct store *s = rq->api->store;
	attr_set changed = {0};

	if (!node_fold(rq->node, ev, changed, error))
		return false;
	if (!changed[0] && !changed[1])
		return true;
	if (!store_begin(s, error))
		return false;
	if (!store_node_update(s, rq->node, changed, error)) {
		store_rollback(s);
		return false;
	}
	if (!store_commit(s, error))
		return false;
	rq->api->poke(rq->api->poke_ctx, rq->node->uuid.s);
	return true;
}

/* ---- look-up */

static const enum provision_state lookup_states[] = {
	STATE_DEPLOYING,  STATE_DEPLOY_WAIT, STATE_CLEANING,
	STATE_CLEAN_WAIT, STATE_INSPECTING,  STATE_INSPECT_WAIT,
	STATE_RESCUING,   STATE_RESCUE_WAIT, STATE_SERVICE_WAIT};

/* The node with a port of one of the addresses; NULL without error: none, or several nodes.  Addresses
 * that are none are passed over, as an agent's machine may have odd interfaces. */
static char *find_by_addresses(const struct request *rq, char **addresses, GError **error)
{
	g_autofree char *found = NULL;

	for (char **a = addresses; *a; a++) {
		g_autoptr(GError) reason = NULL;
		struct mac mac;

		if (!mac_parse(*a, &mac, NULL))
			continue;
		g_autoptr(port) p = store_port_get_by_mac(rq->api->store, mac, &reason);

		if (!p && !g_error_matches(reason, INOX_ERROR, INOX_ERROR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&reason));
			return NULL;
		}
		if (p && found && strcmp(found, p->node_uuid.s) != 0)
			return NULL;
		if (p && !found)
			found = g_strdup(p->node_uuid.s);
	}
	return g_steal_pointer(&found);
}

static bool has_address(char **addresses)
{
	struct mac mac;

	for (char **a = addresses; *a; a++)
		if (mac_parse(*a, &mac, NULL))
			return true;
	return false;
}

/* Loads the node.  *ret_by_mac: one of the addresses is a port of it. */
static bool find_node(struct request *rq, bool *ret_by_mac, GError **error)
{
	const char *text = request_argument(rq, "node_uuid");
	const char *list = request_argument(rq, "addresses");
	g_auto(GStrv) addresses = request_parse_names(list ? list : "");
	g_autoptr(GError) reason = NULL;
	struct uuid wanted = {""};

	if (!text && !has_address(addresses))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"At least one of 'addresses' and 'node_uuid' parameters is required");
	if (text && !uuid_parse(text, &wanted, NULL))
		return inox_error_set(error, INOX_ERROR_INVALID, "Expected UUID for node_uuid: %s",
				      text);
	g_autofree char *owner = find_by_addresses(rq, addresses, &reason);

	if (!reason && (text || owner))
		rq->node = store_node_get(rq->api->store, text ? wanted.s : owner, &reason);
	if (reason && !g_error_matches(reason, INOX_ERROR, INOX_ERROR_NOT_FOUND)) {
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	*ret_by_mac = rq->node && g_strcmp0(owner, rq->node->uuid.s) == 0;
	return rq->node || not_found(error);
}

static bool may_look_up(const struct request *rq, GError **error)
{
	bool restricted = config_bool(rq->api->config, OPTION_api_restrict_lookup);
	bool fits = !restricted;

	for (size_t i = 0; i < G_N_ELEMENTS(lookup_states); i++)
		fits |= rq->node->provision_state == (int)lookup_states[i];
	struct flow_boot boot;

	flow_peek_boot(rq->node, &boot);
	fits |= boot.kept;
	return (fits && agents_node_is_active(rq, rq->node)) || not_found(error);
}

enum token_answer { TOKEN_NONE, TOKEN_KEPT, TOKEN_FRESH };

/* What this look-up is told of the token.  BUSY while the boot is being prepared: who asks then is not of
 * this boot, or very early. */
static bool decide_token(const struct request *rq, bool by_mac, enum token_answer *ret_answer,
			 GError **error)
{
	const struct node *n = rq->node;
	struct flow_boot boot;

	flow_peek_boot(n, &boot);
	*ret_answer = n->agent_token ? TOKEN_KEPT : TOKEN_NONE;
	if (rq->minor < 62)
		*ret_answer = TOKEN_NONE;
	if (rq->minor < 62 || n->agent_token)
		return true;
	if (!boot.begun || !boot.powered)
		return request_check_unlocked(n, error);
	/* Knowing a UUID is not enough for the one token there is. */
	if (boot.by_lookup && !by_mac)
		return not_found(error);
	if (boot.by_lookup)
		*ret_answer = TOKEN_FRESH;
	return true;
}

/* Makes the token of this boot, unless another request was faster: *ret_token is NULL then. */
static bool issue_token(struct request *rq, bool by_mac, struct secret **ret_token, GError **error)
{
	g_autoptr(secret) token = secret_new_token();
	enum token_answer answer = TOKEN_NONE;

	bool good = begin_again(rq, error) && may_look_up(rq, error) &&
		    decide_token(rq, by_mac, &answer, error);

	if (!good || answer != TOKEN_FRESH) {
		store_rollback(rq->api->store);
		return good;
	}
	g_autofree char *sealed = seal_text(rq->api->seal, rq->node->uuid.s, secret_peek(token));
	g_autofree char *verifier = verifier_new(secret_peek(token));
	struct event ev = event_of(rq, EVENT_AGENT_LOOKUP);

	ev.fresh_token = sealed;
	ev.fresh_verifier = verifier;
	if (!fold_and_commit(rq, &ev, error))
		return false;
	*ret_token = g_steal_pointer(&token);
	return true;
}

static json_t *node_document(const struct request *rq)
{
	static const char *const fields[] = {"uuid", "properties", "instance_info",
					     "driver_internal_info", NULL};
	g_autofree char *path = g_strdup_printf("nodes/%s", rq->node->uuid.s);
	json_t *node_shown = attrs_to_json(&node_attrs, rq->node, A_READ, rq->minor, fields);

	if (rq->node->agent_token)
		json_object_set_new(json_object_get(node_shown, "driver_internal_info"),
				    "agent_secret_token", json_string(MASK));
	json_object_set_new(node_shown, "links", request_links(rq, path));
	return node_shown;
}

/* What Ironic's options would say that Inox does not have, at their defaults. */
static json_t *config_document(const struct request *rq, const char *token)
{
	const struct config *c = rq->api->config;
	json_int_t timeout = config_span(c, OPTION_api_ramdisk_heartbeat_timeout).us / 1000000;
	bool redfish = g_strcmp0(rq->node->management_interface, "redfish") == 0;

	return json_pack(
		"{s:{s:s, s:b, s:b, s:b, s:n}, s:{s:s, s:i}, s:I, "
		"s:{s:b, s:[], s:s, s:s, s:[], s:[ss]}, "
		"s:s?, s:b, s:b, s:b, s:[ssss], s:b, s:b, s:s, s:n}",
		"metrics", "backend", "noop", "prepend_host", 0, "prepend_uuid", 0,
		"prepend_host_reverse", 1, "global_prefix", "metrics_statsd", "statsd_host",
		"localhost", "statsd_port", 8125, "heartbeat_timeout", timeout, "agent_containers",
		"allow_arbitrary_containers", 0, "allowed_containers", "container_steps_file",
		"/etc/ironic-python-agent.d/mysteps.yaml", "runner", "podman", "pull_options",
		"run_options", "--rm", "--network=host", "agent_token", token,
		"agent_token_required", 1, "agent_md5_checksum_enable", 1,
		"disable_deep_image_inspection", 0, "permitted_image_formats", "raw", "gpt",
		"qcow2", "iso", "agent_skip_bmc_detect", redfish, "enable_bios_bootloader_install",
		0, "tls_min_version", "1.3", "tls_cipher_suites");
}

bool agent_lookup(struct request *rq, GError **error)
{
	g_autoptr(secret) token = NULL;
	enum token_answer answer;
	bool by_mac;

	if (!find_node(rq, &by_mac, error) || !may_look_up(rq, error) ||
	    !decide_token(rq, by_mac, &answer, error))
		return false;
	if (answer == TOKEN_FRESH && !issue_token(rq, by_mac, &token, error))
		return false;
	const char *shown = token ? secret_peek(token) : answer == TOKEN_NONE ? NULL : MASK;

	rq->api->agent_calls[token ? AGENT_CALL_TOKEN_GIVEN : AGENT_CALL_LOOKUP]++;
	rq->reply = json_pack("{s:o, s:o}", "node", node_document(rq), "config",
			      config_document(rq, shown));
	return true;
}

/* ---- heartbeat */

/* As for a node that is not there. */
static bool check_active(const struct request *rq, GError **error)
{
	return agents_node_is_active(rq, rq->node) ||
	       inox_error_set(error, INOX_ERROR_NOT_FOUND, "Node %s could not be found.",
			      rq->ident);
}

/* The agent is dialled at the address of its boot and the port of all agents, and nowhere else. */
static bool check_callback(const struct request *rq, const struct heartbeat *h, GError **error)
{
	const struct config *c = rq->api->config;
	const struct node *n = rq->node;
	const char *known = json_peek_string(n->driver_internal_info, "agent_url");
	g_autofree char *url = callback_print(&h->callback);
	unsigned count, port_wanted = (unsigned)config_int(c, OPTION_agent_port);
	const struct network *list = config_networks(c, OPTION_agent_allowed_networks, &count);
	char is[ENDPOINT_TEXT], should[ENDPOINT_TEXT] = "?";
	struct endpoint own;

	if (known && strcmp(known, url) != 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Detected change in ramdisk provided \"callback_url\"");
	if (n->agent_address && endpoint_parse(n->agent_address, port_wanted, &own, NULL))
		endpoint_print(&own, should);
	endpoint_print(&h->callback.at, is);
	if (strcmp(is, should) == 0 && network_list_allows(list, count, &h->callback.at))
		return true;
	return inox_error_set(error, INOX_ERROR_INVALID,
			      "An issue with the supplied \"callback_url\" has been detected. The "
			      "agent of this node is at %s, within [agent]allowed_networks.",
			      should);
}

static bool check_transport(const struct request *rq, const struct heartbeat *h, GError **error)
{
	enum agent_transport transport;
	const char *otherwise = config_text(rq->api->config, OPTION_agent_transport);

	if (!deployment_transport(rq->node, otherwise, &transport, error))
		return false;
	if (!h->callback.tls && transport != TRANSPORT_HTTP)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "TLS is required by configuration");
	return h->callback.tls == (transport != TRANSPORT_HTTP) ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      "The agent serves TLS, and this node is to be dialled without "
			      "(agent_transport is http)");
}

/* A certificate belongs to a boot: the first one that came with the token stays. */
static bool check_certificate(const struct request *rq, const struct heartbeat *h, GError **error)
{
	const char *declared = json_peek_string(rq->node->driver_info, "agent_certificate_sha256");
	struct flow_boot boot;

	flow_peek_boot(rq->node, &boot);
	const char *known = declared ? declared : boot.pin;

	return !*h->pin || !*known || g_ascii_strcasecmp(known, h->pin) == 0 ||
	       inox_error_set(error, INOX_ERROR_INVALID,
			      "Detected change in ramdisk provided \"agent_verify_ca\"");
}

static bool check_heartbeat(const struct request *rq, const struct heartbeat *h, GError **error)
{
	if (!check_active(rq, error))
		return false;
	if (!verifier_matches(rq->node->agent_verifier, h->token))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "Invalid or missing agent token received.");
	return check_callback(rq, h, error) && check_transport(rq, h, error) &&
	       check_certificate(rq, h, error);
}

/* An agent of a boot that is over still runs: that is for the operator, in the node's flow; where none is under
 * way there is no row to write it to, and the last time is remembered here.  If the row moves
 * meanwhile, its next heartbeat is noted. */
static void note_old_token(struct request *rq)
{
	g_autoptr(GError) ignored = NULL;
	const struct event ev = event_of(rq, EVENT_AGENT_OLD_TOKEN);

	rq->api->agent_calls[AGENT_CALL_OLD_TOKEN]++;
	g_hash_table_insert(rq->api->old_agents, g_strdup(rq->node->uuid.s),
			    g_memdup2(&ev.now, sizeof(ev.now)));
	(void)!fold_and_write(rq, &ev, &ignored);
}

void agents_show_old(struct request *rq)
{
	const struct wall *at = g_hash_table_lookup(rq->api->old_agents, rq->node->uuid.s);
	char text[WALL_TEXT];

	if (!at || wall_reached(wall_add(*at, OLD_AGENT_SHOWN), wall_now()))
		return;
	wall_print(*at, text);
	json_object_set_new(rq->reply, "old_agent_at", json_string(text));
	if (json_object_get(rq->reply, "why"))
		return;
	g_autofree char *why = g_strdup_printf(
		"Nothing is under way; but an agent of an earlier boot still runs: its heartbeat "
		"of %s was refused, as its token is dead. Look whether the machine was switched "
		"off, or whether another one has its address.",
		text);

	json_object_set_new(rq->reply, "why", json_string(why));
}

static bool fold_heartbeat_again(struct request *rq, const struct heartbeat *h, struct event *ev,
				 GError **error)
{
	if (begin_again(rq, error) && check_heartbeat(rq, h, error)) {
		ev->epoch = (uint64_t)rq->node->boot_epoch;
		return fold_and_commit(rq, ev, error);
	}
	store_rollback(rq->api->store);
	return false;
}

static bool take_heartbeat(struct request *rq, const struct heartbeat *h, GError **error)
{
	g_autofree char *url = callback_print(&h->callback);
	g_autoptr(GError) reason = NULL;
	struct event ev = event_of(rq, EVENT_AGENT_HEARTBEAT);

	ev.version = h->version;
	ev.agent_url = url;
	ev.pin = *h->pin ? h->pin : NULL;
	if (fold_and_write(rq, &ev, &reason))
		return true;
	if (g_error_matches(reason, INOX_ERROR, INOX_ERROR_CONFLICT))
		return fold_heartbeat_again(rq, h, &ev, error);
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

bool agent_heartbeat(struct request *rq, GError **error)
{
	struct heartbeat h;

	if (!check_active(rq, error) || !heartbeat_parse(rq, &h, error)) {
		rq->api->agent_calls[AGENT_CALL_REFUSED]++;
		return false;
	}
	if (!check_heartbeat(rq, &h, error) || !take_heartbeat(rq, &h, error)) {
		if (rq->node && verifier_matches(rq->node->agent_verifier_before, h.token))
			note_old_token(rq);
		else
			rq->api->agent_calls[AGENT_CALL_REFUSED]++;
		return false;
	}
	rq->api->agent_calls[AGENT_CALL_HEARTBEAT]++;
	rq->status = 202;
	return true;
}
