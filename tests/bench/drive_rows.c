/* drive_rows STATE-FOLDER ENROLMENT [STEPS]: rows for the agents in a file that inox-fleet wrote, all in the middle of a deploy
 * step, as after a crash of the control plane, the first of STEPS (1).  Makes database and sealing key in the folder, if need be. */
#include <stdio.h>
#include <string.h>

#include "flow_record.h"
#include "limit.h"
#include "seal.h"
#include "store.h"

#define PER_COMMIT 5000

struct line {
	char node[64], address[64], transport[16], token[64], pin[80];
	unsigned long long epoch;
	unsigned port;
};

static void must(bool ok, const GError *error)
{
	if (!ok)
		g_error("%s", error ? error->message : "a line of the enrolment does not fit");
}

static json_t *make_flow(void)
{
	struct uuid command = uuid_new();
	struct wall now = wall_now();
	struct flow f = {.phase = PHASE_DEPLOY_STEP_WAIT,
			 .turn = 5,
			 .started = now,
			 .since = now,
			 .until = wall_add(now, SPAN_SECONDS(86400)),
			 .contact_at = now,
			 .own_agent = true,
			 .runs = 1,
			 .command = command.s};

	return flow_print(&f);
}

static json_t *make_steps(unsigned count)
{
	json_t *steps = json_array();

	for (unsigned i = 0; i < count; i++) {
		g_autofree char *name = g_strdup_printf("step_%u", i);

		json_array_append_new(steps, json_pack("{s:s, s:s, s:i, s:{}}", "interface",
						       "deploy", "step", i ? name : "write_image",
						       "priority", 80, "args"));
	}
	return steps;
}

static void insert(struct store *s, const struct seal_key *key, const struct line *l,
		   unsigned steps)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(node) n = node_new();

	must(uuid_parse(l->node, &n->uuid, &error), error);
	g_free(n->driver);
	n->driver = g_strdup("fake-hardware");
	n->provision_state = STATE_DEPLOY_WAIT;
	n->target_provision_state = STATE_ACTIVE;
	n->power_state = g_strdup("power on");
	n->boot_epoch = (int64_t)l->epoch;
	n->agent_token = seal_text(key, n->uuid.s, l->token);
	n->agent_address = g_strdup(l->address);
	json_object_set_new(n->driver_info, "agent_transport", json_string(l->transport));
	if (strcmp(l->pin, "-") != 0)
		json_object_set_new(n->driver_info, "agent_certificate_sha256",
				    json_string(l->pin));
	json_object_set_new(n->driver_internal_info, "deploy_steps", make_steps(steps));
	json_decref(n->flow);
	n->flow = make_flow();
	must(store_node_insert(s, n, &error), error);
}

/* The n-th port is the n-th node's. */
static void insert_port(struct store *s, const struct line *l, unsigned n)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(port) p = port_new();

	char text[MAC_TEXT];

	p->uuid = uuid_new();
	must(uuid_parse(l->node, &p->node_uuid, &error), error);
	g_snprintf(text, sizeof(text), "02:00:%02x:%02x:%02x:%02x", n >> 24, n >> 16 & 0xff,
		   n >> 8 & 0xff, n & 0xff);
	must(mac_parse(text, &p->address, &error), error);
	must(store_port_insert(s, p, &error), error);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	struct line l;
	unsigned count = 0;
	guint64 steps = 1;

	if (argc < 3 || argc > 4 ||
	    (argc == 4 && !g_ascii_string_to_unsigned(argv[3], 10, 1, LIMIT_STEPS, &steps, NULL))) {
		fputs("usage: drive_rows STATE-FOLDER ENROLMENT [STEPS]\n", stderr);
		return 2;
	}
	g_autofree char *key_path = g_build_filename(argv[1], "sealing.key", NULL);
	g_autofree char *connection = g_strdup_printf("sqlite://%s/inox.sqlite", argv[1]);
	FILE *in = fopen(argv[2], "r");
	g_autoptr(seal_key) key = seal_key_load_or_create(key_path, &error);

	must(in && key, error);
	g_autoptr(store) s = store_open(connection, true, &error);

	must(s && fscanf(in, "%*[^\n]") == 0 && store_begin(s, &error), error);
	while (fscanf(in, "%63s %llu %63s %u %15s %63s %79s", l.node, &l.epoch, l.address, &l.port,
		      l.transport, l.token, l.pin) == 7) {
		insert(s, key, &l, (unsigned)steps);
		insert_port(s, &l, count);
		if (++count % PER_COMMIT == 0)
			must(store_commit(s, &error) && store_begin(s, &error), error);
	}
	must(store_commit(s, &error), error);
	fclose(in);
	printf("%u\n", count);
	return 0;
}
