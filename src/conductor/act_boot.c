/* Actions that publish and take back what the machine boots from. */
#include "act.h"
#include "boot_call.h"
#include "deployment.h"
#include "errors.h"
#include "jsons.h"

#define BOOT_TIMEOUT_S 120

/* Comma separated; NULL passes an error on. */
static char *list_macs(const json_t *macs)
{
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < json_array_size(macs); i++)
		g_string_append_printf(text, "%s%s", i ? "," : "",
				       json_string_value(json_array_get(macs, i)));
	return g_string_free(text, !macs);
}

/* The port that gets the address first. */
static char *list_own_macs(struct act *a, GError **error)
{
	g_autoptr(json_t) macs = boot_call_own_macs(a->c->store, a->n, error);

	if (macs && json_array_size(macs) == 0) {
		inox_error_set(error, INOX_ERROR_INVALID, "the node has no port to boot from");
		return NULL;
	}
	return list_macs(macs);
}

static char *list_published_macs(struct act *a, GError **error)
{
	g_autoptr(json_t) macs = boot_call_published_macs(a->c->store, a->n, error);

	return list_macs(macs);
}

bool act_publish(struct act *a, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish};
	struct message_boot_publish *p = &m.boot_publish;
	enum agent_transport transport;

	if (act_is_under_way(a, ROLE_BOOT))
		return true;
	p->request = a->c->next_request;
	p->node = a->n->uuid;
	p->epoch = (uint64_t)a->n->boot_epoch;
	p->address = g_strdup(a->n->agent_address);
	p->path = g_strdup(a->f.path);
	p->api_url = a->f.active ? config_agent_api_url(a->c->config) : NULL;
	if (!act_read_transport(a, &transport, error))
		return false;
	p->transport = (uint32_t)transport;
	p->media = deployment_uses_media(a->n);
	p->macs = list_own_macs(a, error);
	if (!p->macs || !boot_call_fill(a->c->config, a->n, p, error) ||
	    (!a->f.by_lookup && !a->f.by_contact && !(p->token = act_open_token(a, error))))
		return false;
	p->by_contact = a->f.by_contact;
	return act_ask(a, ROLE_BOOT, false, &m, BOOT_TIMEOUT_S, error);
}

enum withdrawal { WITHDRAW_ALL, WITHDRAW_ALL_BUT_ADDRESS, WITHDRAW_TOKEN_ONLY };

static bool send_withdraw(struct act *a, enum withdrawal what, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_withdraw};
	struct message_boot_withdraw *w = &m.boot_withdraw;

	if (act_is_under_way(a, ROLE_BOOT))
		return true;
	w->request = a->c->next_request;
	w->node = a->n->uuid;
	w->epoch = (uint64_t)a->n->boot_epoch;
	w->path = g_strdup(a->f.path);
	w->token_only = what == WITHDRAW_TOKEN_ONLY;
	w->keep_address = what == WITHDRAW_ALL_BUT_ADDRESS;
	w->macs = list_published_macs(a, error);
	return w->macs && act_ask(a, ROLE_BOOT, false, &m, BOOT_TIMEOUT_S, error);
}

bool act_withdraw_token(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_TOKEN_ONLY, error);
}

bool act_withdraw(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_ALL, error);
}

bool act_withdraw_boot(struct act *a, GError **error)
{
	return send_withdraw(a, WITHDRAW_ALL_BUT_ADDRESS, error);
}
