/* The boot worker and the boot host behind it: scripts by MAC, tokens and ISOs by path. */
#include <string.h>

#include "errors.h"
#include "sim.h"

struct boot_job {
	struct message m;
	uint64_t generation;
};

struct boot_image *boot_host_script(const char *uuid)
{
	for (guint i = sim->published->len; i-- > 0;) {
		struct boot_image *b = sim->published->pdata[i];

		if (b->script && strcmp(b->node, uuid) == 0)
			return b;
	}
	return NULL;
}

struct boot_image *boot_host_path(const char *path)
{
	for (guint i = 0; i < sim->published->len; i++) {
		struct boot_image *b = sim->published->pdata[i];

		if (strcmp(b->path, path) == 0)
			return b;
	}
	return NULL;
}

static void drop_empty(struct boot_image *b)
{
	if (!b->script && !b->token_there)
		g_ptr_array_remove(sim->published, b);
}

static void publish(const struct message_boot_publish *p)
{
	struct boot_image *b = boot_host_path(p->path), *old;

	/* The script of a MAC is one file: the new one takes the place of the old one. */
	while (!p->media && (old = boot_host_script(p->node.s)) && old != b) {
		old->script = false;
		drop_empty(old);
	}
	if (!b) {
		b = g_new0(struct boot_image, 1);
		g_ptr_array_add(sim->published, b);
	}
	g_strlcpy(b->node, p->node.s, sizeof(b->node));
	g_strlcpy(b->path, p->path, sizeof(b->path));
	g_strlcpy(b->address, p->address, sizeof(b->address));
	g_strlcpy(b->token, p->token ? secret_peek(p->token) : "", sizeof(b->token));
	b->epoch = p->epoch;
	b->active = p->api_url && *p->api_url;
	b->media = p->media;
	b->script = !p->media;
	b->token_there = true;
}

static void withdraw(const struct message_boot_withdraw *w)
{
	struct boot_image *b = w->path ? boot_host_path(w->path) : NULL, *script;

	if (b) {
		b->token_there = false;
		if (!w->token_only)
			b->script = false;
		drop_empty(b);
	}
	while (!w->token_only && (script = boot_host_script(w->node.s))) {
		script->script = false;
		drop_empty(script);
	}
}

/* Half of what a publication is may be there when it fails. */
static void carry_out(const struct message *m)
{
	if (m->type == MESSAGE_boot_publish) {
		publish(&m->boot_publish);
		sim_say("boot host: published for epoch %d", (int)m->boot_publish.epoch);
	} else {
		withdraw(&m->boot_withdraw);
		sim_say("boot host: %s withdrawn",
			m->boot_withdraw.token_only ? "token" : "everything");
	}
}

static void fail(struct message_boot_reply *reply, enum inox_error code, bool retry,
		 const char *reason)
{
	reply->result = (uint32_t)code + 1;
	reply->retry = retry;
	reply->reason = g_strdup(reason);
	sim_say("boot host: %s", reason);
}

static void on_job(void *data)
{
	struct boot_job *j = data;
	struct message out = {.type = MESSAGE_boot_reply};
	struct message_boot_reply *reply = &out.boot_reply;
	bool publishes = j->m.type == MESSAGE_boot_publish;

	reply->request = publishes ? j->m.boot_publish.request : j->m.boot_withdraw.request;
	reply->node = publishes ? j->m.boot_publish.node : j->m.boot_withdraw.node;
	reply->epoch = publishes ? j->m.boot_publish.epoch : j->m.boot_withdraw.epoch;
	if (!plane_carries_out(ROLE_BOOT, j->generation))
		return;
	if (sim->now < sim->boot_host_down_until)
		fail(reply, INOX_ERROR_UNAVAILABLE, true, "the boot host does not answer");
	else if (sim_chance(sim->loss / 4))
		fail(reply, INOX_ERROR_DENIED, false, "the boot host refuses this for good");
	else {
		carry_out(&j->m);
		if (sim_chance(sim->loss))
			fail(reply, INOX_ERROR_TIMEOUT, true, "no answer within the time limit");
	}
	plane_reply(ROLE_BOOT, j->generation, 1000, &out);
}

static void job_free(gpointer data)
{
	struct boot_job *j = data;

	message_clear(&j->m);
	g_free(j);
}

static void copy(const struct message *m, struct message *ret)
{
	ret->type = m->type;
	if (m->type == MESSAGE_boot_publish) {
		const struct message_boot_publish *p = &m->boot_publish;

		ret->boot_publish = (struct message_boot_publish){
			.request = p->request,
			.node = p->node,
			.epoch = p->epoch,
			.address = g_strdup(p->address),
			.token = secret_dup(p->token),
			.api_url = g_strdup(p->api_url),
			.path = g_strdup(p->path),
			.media = p->media,
		};
	} else {
		ret->boot_withdraw = m->boot_withdraw;
		ret->boot_withdraw.macs = NULL;
		ret->boot_withdraw.path = g_strdup(m->boot_withdraw.path);
	}
}

void boot_host_take(const struct message *m)
{
	struct boot_job *j = g_new0(struct boot_job, 1);
	int64_t takes = 10000 + (int64_t)sim_below(sim_chance(50) ? 20 * SECOND : 500000);
	int i = rows_find(m->type == MESSAGE_boot_publish ? m->boot_publish.node.s
							  : m->boot_withdraw.node.s);

	copy(m, &j->m);
	j->generation = sim->workers[ROLE_BOOT];
	if (m->type == MESSAGE_boot_publish && m->boot_publish.token && i >= 0)
		check_origin(secret_peek(m->boot_publish.token), rows_peek((unsigned)i));
	sim_after(takes, on_job, j, job_free);
}
