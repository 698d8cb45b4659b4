/* Changes of the node. */
#include "deployment.h"
#include "fold.h"
#include "jsons.h"

void fold_set_text(struct fold *x, enum node_attr attr, char **field, const char *value)
{
	if (g_strcmp0(*field, value) == 0)
		return;
	g_free(*field);
	*field = g_strdup(value);
	attr_set_add(x->changed, attr);
}

void fold_set_json(struct fold *x, enum node_attr attr, json_t **field, json_t *value)
{
	if (json_equal(*field, value)) {
		json_decref(value);
		return;
	}
	json_decref(*field);
	*field = value;
	attr_set_add(x->changed, attr);
}

void fold_set_info(struct fold *x, const char *key, json_t *value)
{
	json_t *info = x->n->driver_internal_info;
	const json_t *old = json_object_get(info, key);

	if (!value ? !old : old && json_equal(old, value)) {
		json_decref(value);
		return;
	}
	if (value)
		json_object_set_new(info, key, value);
	else
		json_object_del(info, key);
	attr_set_add(x->changed, NODE_ATTR_driver_internal_info);
}

static void set_target(struct fold *x, enum provision_state target)
{
	if (x->n->target_provision_state == (int)target)
		return;
	x->n->target_provision_state = (int)target;
	attr_set_add(x->changed, NODE_ATTR_target_provision_state);
}

/* Cleaning that an operator asked for by steps leads back to where it started. */
static enum provision_state target_of(const struct node *n, enum provision_state s)
{
	enum provision_state to = provision_state_target(s);
	bool manual = json_object_get(n->driver_internal_info, clean_words.wanted);

	return to == STATE_AVAILABLE && manual ? STATE_MANAGEABLE : to;
}

void fold_set_state(struct fold *x, enum provision_state s)
{
	struct node *n = x->n;
	bool working = provision_state_flags(s) & S_WORKING;

	if (n->provision_state != (int)s) {
		n->provision_state = (int)s;
		n->provision_updated_at = x->ev->now;
		attr_set_add(x->changed, NODE_ATTR_provision_state);
		attr_set_add(x->changed, NODE_ATTR_provision_updated_at);
	}
	set_target(x, target_of(x->n, s));
	FOLD_TEXT(x, reservation, working ? x->ev->host : NULL);
}

void fold_end_token(struct fold *x)
{
	if (x->n->agent_verifier)
		FOLD_TEXT(x, agent_verifier_before, x->n->agent_verifier);
	FOLD_TEXT(x, agent_verifier, NULL);
	FOLD_TEXT(x, agent_token, NULL);
}

void fold_note(struct fold *x, const char *reason)
{
	g_free(x->f.reason);
	x->f.reason = g_strdup(reason && *reason ? reason : NULL);
	x->dirty = true;
}
