/* The bmc worker and the BMCs behind it. */
#include <string.h>

#include "errors.h"
#include "media_ticket.h"
#include "sim.h"
#include "vocabulary.h"

struct bmc_job {
	struct message_bmc_request rq; /* numbers only */
	unsigned machine;
	uint64_t generation;
	char path[64]; /* of the ISO */
};

static void insert(struct machine *m, const char *path)
{
	/* Most BMCs read the medium at once, and say so if it is not there. */
	g_strlcpy(m->media, path, sizeof(m->media));
}

static void switch_power(struct machine *m, enum power_target target)
{
	/* What runs on the machine may not listen. */
	if (target == TARGET_SOFT_POWER_OFF && m->os != OS_INSTANCE && m->os != OS_AGENT &&
	    m->os != OS_OFF)
		return;
	if (target == TARGET_SOFT_POWER_OFF && sim_chance(200))
		return;
	m->touched = false;
	m->lied = false;
	machine_set_power(m, target == TARGET_POWER_ON);
}

static void carry_out(struct machine *m, const struct bmc_job *j)
{
	bool lies = sim->now < m->bmc_lies_until;

	if (lies && j->rq.operation != BMC_GET_POWER) {
		sim_say("bmc %u: %s, and does nothing", m->index,
			bmc_operation_text(j->rq.operation));
		m->lied = true;
		return;
	}
	switch ((enum bmc_operation)j->rq.operation) {
	case BMC_GET_POWER: break;
	case BMC_SET_POWER: switch_power(m, (enum power_target)j->rq.power); break;
	case BMC_SET_BOOT:
		if (j->rq.persistent)
			m->persistent = (enum boot_device)j->rq.device;
		m->once = j->rq.persistent ? BOOT_DEVICE_NONE : (enum boot_device)j->rq.device;
		break;
	case BMC_INSERT_MEDIA: insert(m, j->path); break;
	case BMC_EJECT_MEDIA: m->media[0] = '\0'; break;
	}
}

/* What a BMC that lies shows: what it was told last, or the opposite. */
static enum power_state shown_power(struct machine *m, const struct bmc_job *j)
{
	if (sim->now < m->bmc_lies_until && j->rq.operation == BMC_SET_POWER)
		return j->rq.power == TARGET_POWER_ON ? POWER_ON : POWER_OFF;
	if (sim->now < m->bmc_lies_until && sim_coin(300)) {
		m->lied = true;
		return m->power ? POWER_OFF : POWER_ON;
	}
	return m->power ? POWER_ON : POWER_OFF;
}

static void fail(struct message *out, enum inox_error code, bool retry, const char *reason)
{
	out->bmc_reply.result = (uint32_t)code + 1;
	out->bmc_reply.retry = retry;
	out->bmc_reply.reason = g_strdup(reason);
}

static void on_job(void *data)
{
	struct bmc_job *j = data;
	struct machine *m = &sim->machines[j->machine];
	struct message out = {.type = MESSAGE_bmc_reply};
	bool orphan = sim->workers[ROLE_BMC] != j->generation;

	if (!plane_carries_out(ROLE_BMC, j->generation))
		return;
	out.bmc_reply.request = j->rq.request;
	out.bmc_reply.node = j->rq.node;
	if (sim->now < m->bmc_down_until) {
		fail(&out, INOX_ERROR_UNAVAILABLE, true, "the BMC does not answer");
	} else if (sim_chance(sim->loss / 4)) {
		fail(&out, INOX_ERROR_INVALID, false, "the BMC refuses this for good");
	} else if (sim_chance(sim->loss)) {
		fail(&out, INOX_ERROR_BUSY, true, "the BMC is busy");
	} else {
		carry_out(m, j);
		out.bmc_reply.power = shown_power(m, j);
		out.bmc_reply.boot_mode = BOOT_MODE_UEFI;
		if (sim_chance(sim->loss)) {
			out.bmc_reply.power = POWER_UNKNOWN;
			fail(&out, INOX_ERROR_TIMEOUT, true, "no answer within the time limit");
		}
	}
	sim_say("bmc %u: %s %s%s: %s", m->index, bmc_operation_text(j->rq.operation),
		j->rq.operation == BMC_SET_POWER  ? power_target_text(j->rq.power)
		: j->rq.operation == BMC_SET_BOOT ? boot_device_text(j->rq.device)
						  : "",
		orphan ? " (of a dead worker)" : "",
		out.bmc_reply.reason ? out.bmc_reply.reason
				     : power_state_text(out.bmc_reply.power));
	plane_reply(ROLE_BMC, j->generation, 1000, &out);
}

void bmc_take(const struct message_bmc_request *rq)
{
	int i = rows_find(rq->node.s);

	if (i < 0)
		return;
	struct machine *m = &sim->machines[i];
	struct bmc_job *j = g_new0(struct bmc_job, 1);
	int64_t takes = 20000 + (int64_t)sim_below(800000);
	const char *path = rq->media_url ? strstr(rq->media_url, "/media/") : NULL;

	if (strcmp(secret_peek(rq->password) ? secret_peek(rq->password) : "", PASSWORD) != 0)
		sim_broken("a BMC is asked with another password than the node's");
	j->rq = *rq;
	j->rq.driver = j->rq.address = j->rq.system = j->rq.username = j->rq.media_url = NULL;
	j->rq.password = NULL;
	j->machine = (unsigned)i;
	j->generation = sim->workers[ROLE_BMC];
	if (path)
		g_strlcpy(j->path, path + strlen("/media/"), MEDIA_PATH_LENGTH + 1);
	if (sim->now < m->bmc_slow_until || sim_chance(10))
		takes += (int64_t)sim_below(25 * SECOND);
	m->bmc_free_at = MAX(m->bmc_free_at, sim->now) + takes;
	sim_after(m->bmc_free_at - sim->now, on_job, j, NULL);
}
