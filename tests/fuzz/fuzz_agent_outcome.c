/* What an agent may answer: step lists, inventories and command lists. */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../unit/fold_driver.h"
#include "identity_check.h"
#include "limit.h"
#include "steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static char *folder;

static void remove_folder(void)
{
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);

	for (const char *name; (name = g_dir_read_name(dir));) {
		g_autofree char *path = g_build_filename(folder, name, NULL);

		g_unlink(path);
	}
	g_rmdir(folder);
}

static struct store *open_store(void)
{
	static struct store *s;

	if (s)
		return s;
	folder = g_dir_make_tmp("inox-fuzz-XXXXXX", NULL);
	g_autofree char *url = g_strdup_printf("sqlite://%s/fuzz.sqlite", folder);

	atexit(remove_folder);
	s = store_open(url, true, NULL);
	g_assert_nonnull(s);
	return s;
}

static void feed(const json_t *outcome, enum phase phase, enum event_kind kind)
{
	struct play p = play_new(STATE_AVAILABLE);

	g_assert_true(play_verb(&p, STATE_EVENT_DEPLOY, NULL));
	play_until(&p, phase);
	if (kind == EVENT_AGENT_LIST)
		play_step(&p);
	struct event ev = play_event(&p, kind);

	ev.outcome = outcome;
	g_assert_true(play_fold(&p, &ev, NULL));
	play_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autoptr(json_t) outcome = json_parse_limited((const char *)data, length, LIMIT_INVENTORY,
						       "the agent's answer", NULL);
	g_autoptr(json_t) wanted = json_pack("[{s:s,s:s,s:s,s:{}}]", "interface", "deploy", "step",
					     "write_image", "priority", "80", "args");
	g_autoptr(node) n = node_new();
	json_t *steps, *versions;

	if (!outcome)
		return 0;
	if (steps_merge(outcome, wanted, &steps, &versions, NULL)) {
		g_assert_cmpuint(json_array_size(steps), <=, LIMIT_STEPS);
		json_decref(steps);
		json_decref(versions);
	}
	if (steps_plan_cleaning(outcome, NULL, NULL, &steps, &versions, NULL)) {
		g_assert_cmpuint(json_array_size(steps), <=, LIMIT_STEPS);
		json_decref(steps);
		json_decref(versions);
	}
	n->uuid = uuid_new();
	(void)!identity_check(open_store(), n, outcome, NULL);
	feed(outcome, PHASE_DEPLOY_LOAD_STEPS, EVENT_AGENT_REPLY);
	feed(outcome, PHASE_DEPLOY_STEP_SEND, EVENT_AGENT_LIST);
	return 0;
}
