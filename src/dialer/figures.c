/* What the dialer counts (dialer_metrics.def), and how the conductor gets it. */
#include "dialer_part.h"
#include "errors.h"

#define REPORT_EVERY SPAN_SECONDS(10)
#define ANY          (-1)

/* The first row that fits; -1 fits everything. */
static const struct {
	int code, reached, sent;
	size_t counter;
} outcomes[] = {
#define TO(field) offsetof(struct dialer_metrics, field)
	{INOX_ERROR_LIMIT, ANY, ANY, TO(polls_limit)},
	{INOX_ERROR_BUSY, ANY, ANY, TO(polls_no_room)},
	{INOX_ERROR_TIMEOUT, ANY, true, TO(polls_late_answer)},
	{INOX_ERROR_TIMEOUT, MILESTONE_PORT, false, TO(polls_late_secure)},
	{INOX_ERROR_TIMEOUT, ANY, false, TO(polls_late_connect)},
	{INOX_ERROR_UNAVAILABLE, MILESTONE_ADDRESS, ANY, TO(polls_refused)},
	{INOX_ERROR_UNAVAILABLE, ANY, ANY, TO(polls_unreachable)},
	{INOX_ERROR_PEER, ANY, false, TO(polls_untrusted)},
	{INOX_ERROR_PEER, ANY, true, TO(polls_broken)},
	{ANY, ANY, ANY, TO(polls_other)},
#undef TO
};

static size_t counter_of(enum slot slot, const struct http_outcome *o)
{
	if (!o->error)
		return o->status == 200 ? offsetof(struct dialer_metrics, polls_ok)
					: offsetof(struct dialer_metrics, polls_status);
	bool waited = slot == SLOT_LONG && o->sent &&
		      g_error_matches(o->error, INOX_ERROR, INOX_ERROR_TIMEOUT);
	size_t i = 0;

	if (waited)
		return offsetof(struct dialer_metrics, polls_waited);
	while ((outcomes[i].code != ANY && outcomes[i].code != o->error->code) ||
	       (outcomes[i].reached != ANY && outcomes[i].reached != (int)o->reached) ||
	       (outcomes[i].sent != ANY && outcomes[i].sent != o->sent))
		i++;
	return outcomes[i].counter;
}

void figures_count(struct dialer *d, enum slot slot, const struct http_outcome *o)
{
	struct dialer_metrics *m = &d->metrics;

	++*(uint64_t *)(void *)((char *)m + counter_of(slot, o));
	m->bytes_in += o->bytes_in;
	m->bytes_out += o->bytes_out;
	if (o->handshake.us > 0)
		histogram_add(&m->handshake, BOUNDS_SHORT, o->handshake);
}

void figures_send(void *ctx)
{
	struct dialer *d = ctx;
	struct message m = {.type = MESSAGE_dialer_metrics};

	d->metrics.watched_contact = d->watched[WATCH_FIRST_CONTACT];
	d->metrics.watched_working = d->watched[WATCH_WORKING];
	d->metrics.watched_idle = d->watched[WATCH_IDLE];
	d->metrics.backlog = channel_queued_bytes(d->channel);
	d->metrics.large_answers = http_client_large(d->client);
	slots_fill(d->slots, &d->metrics);
	g_autofree char *text = dialer_metrics_encode(&d->metrics);

	m.dialer_metrics.figures = text;
	dialer_send(d, &m);
	loop_timer_arm(d->report, REPORT_EVERY);
}
