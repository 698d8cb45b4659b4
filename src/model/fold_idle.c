/* Fast track: the agent of a cleaning stays up, and the next operation begins with it: in the same boot, with the
 * same epoch and the same token.
 *
 * It is an operation of its own behind a state that says nothing of it.  Whatever makes the agent doubtful ends the boot:
 * its token is dead, and the machine boots anew, or is switched off.  An operator's power request ends it, too, and then the
 * machine's power is the operator's matter alone.
 */
#include <string.h>

#include "deployment.h"
#include "fold.h"
#include "jsons.h"

char *fold_boot_basis(const struct node *n)
{
	g_autoptr(json_t) info = json_copy(n->driver_info);

	json_object_del(info, "fast_track");
	g_autofree char *text = json_print_compact(info);
	g_autofree char *all = g_strdup_printf("%s %s %s", n->driver,
					       n->boot_interface ? n->boot_interface : "-", text);

	return g_compute_checksum_for_string(G_CHECKSUM_SHA256, all, -1);
}

/* A node in maintenance is in somebody's hands, and a retired one has no next operation. */
static bool is_wanted(const struct fold *x)
{
	bool on;

	return deployment_flag(x->n, "fast_track", x->ev->fast_track, &on, NULL) && on &&
	       !x->n->maintenance && !x->n->retired;
}

static bool is_as_booted(const struct fold *x)
{
	g_autofree char *basis = fold_boot_basis(x->n);

	return g_strcmp0(basis, x->f.basis) == 0;
}

static bool is_silent(const struct fold *x)
{
	unsigned most = x->ev->fast_track_s;

	return most != FLOW_FOREVER &&
	       wall_reached(wall_add(x->f.contact_at, SPAN_SECONDS(most)), x->ev->now);
}

static bool has_same_mode(const struct fold *x)
{
	struct deployment_mode mode;

	return deployment_mode(x->n, &x->ev->agents, &mode, NULL) && mode.active == x->f.active &&
	       mode.by_lookup == x->f.by_lookup && mode.by_contact == x->f.by_contact;
}

bool fold_may_stay(const struct fold *x)
{
	return flow_operation(&x->f) == OPERATION_CLEAN && !x->f.aborting && !x->f.gone &&
	       x->n->agent_token && is_wanted(x) && is_as_booted(x);
}

static bool may_begin(const struct fold *x)
{
	const struct node *n = x->n;

	return flow_action(&x->f) == ACTION_IDLE && x->f.kept && !x->f.gone && !is_silent(x) &&
	       n->agent_token && n->agent_verifier && n->agent_address &&
	       g_strcmp0(n->power_state, power_state_text(POWER_ON)) == 0 && is_wanted(x) &&
	       is_as_booted(x) && has_same_mode(x);
}

/* What is known of the boot goes on; what is known of the operation does not. */
static void renew(struct fold *x, enum operation op)
{
	struct flow old = x->f;

	x->f = (struct flow){
		.phase = operation_info[op].first,
		.turn = MAX(old.turn, x->ev->now.us),
		.started = x->ev->now,
		.contact_at = old.contact_at,
		.active = old.active,
		.by_lookup = old.by_lookup,
		.by_contact = old.by_contact,
		.called = old.called,
		.kept = true,
		.pin = g_steal_pointer(&old.pin),
		.basis = g_steal_pointer(&old.basis),
		.older = g_strdup(old.previous ? old.previous : old.older),
		.agent_started = old.agent_started,
		.own_agent = old.own_agent,
		.gone = old.gone,
		.milestone = MILESTONE_TOKEN,
	};
	flow_clear(&old);
	x->dirty = true;
}

void fold_idle(struct fold *x)
{
	renew(x, OPERATION_IDLE);
	fold_enter(x, operation_info[OPERATION_IDLE].first);
}

bool fold_is_idle(const struct fold *x)
{
	enum operation op = flow_operation(&x->f);

	return op == OPERATION_IDLE || op == OPERATION_RELEASE;
}

void fold_begin_boot(struct fold *x, enum operation op)
{
	if (!may_begin(x)) {
		fold_end_token(x);
		fold_set_info(x, "agent_url", NULL);
		fold_start(x, op);
		return;
	}
	renew(x, op);
	x->f.fast = true;
	fold_enter(x, fold_phase_with(x, ACTION_IDENTIFY));
}

void fold_end_kept(struct fold *x)
{
	if (!fold_is_idle(x))
		return;
	fold_end_token(x);
	fold_set_info(x, "agent_url", NULL);
}

/* Nothing failed: there is no last_error. */
static void end_idle(struct fold *x)
{
	fold_end_kept(x);
	fold_start(x, x->n->maintenance ? OPERATION_RELEASE : OPERATION_CLEAN_UP);
}

/* The new turn makes the conductor renew the watch, and the dialer say again that the agent is there. */
void fold_idle_deadline(struct fold *x)
{
	struct flow *f = &x->f;

	if (is_silent(x) || !is_wanted(x) || !is_as_booted(x)) {
		end_idle(x);
		return;
	}
	f->until = fold_deadline(x);
	f->turn++;
	x->dirty = true;
}

static void boot_anew(struct fold *x)
{
	fold_end_token(x);
	fold_set_info(x, "agent_url", NULL);
	fold_start(x, flow_operation(&x->f));
}

bool fold_give_up_kept(struct fold *x)
{
	bool idle = flow_action(&x->f) == ACTION_IDLE;

	if (flow_action(&x->f) == ACTION_KEEP_AGENT)
		x->f.stays = false;
	if (idle)
		end_idle(x);
	else if (x->f.fast)
		boot_anew(x);
	else
		return false;
	return true;
}
