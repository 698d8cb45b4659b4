/* port.c: inox port ... */
#include <stdio.h>

#include "command.h"
#include "jsons.h"
#include "output.h"

static const char *const columns[] = {"uuid", "address", "node_uuid", "pxe_enabled", NULL};

/* The UUID of a node given by name or UUID; the caller frees it. */
static char *uuid_of(struct client *c, const char *ident, GError **error)
{
	g_autofree char *escaped = client_escape(ident);
	g_autofree char *path = g_strdup_printf("/v1/nodes/%s?fields=uuid", escaped);
	g_autoptr(json_t) found = client_call(c, "GET", path, NULL, error);

	return found ? g_strdup(json_peek_string(found, "uuid")) : NULL;
}

int command_port_create(struct invocation *in, GError **error)
{
	int status;

	if (!command_parse(in, "port create", "NODE MAC", NULL, 2, 2, &status, error))
		return status;
	g_autofree char *uuid = uuid_of(in->client, in->argv[0], error);

	if (!uuid)
		return 1;
	g_autoptr(json_t) body = json_pack("{s:s,s:s}", "node_uuid", uuid, "address", in->argv[1]);
	g_autoptr(json_t) made = client_call(in->client, "POST", "/v1/ports", body, error);

	if (!made)
		return 1;
	if (in->as_json)
		output_json(made);
	else
		puts(json_peek_string(made, "uuid"));
	return 0;
}

int command_port_list(struct invocation *in, GError **error)
{
	int status;

	if (!command_parse(in, "port list", "[NODE]", NULL, 0, 1, &status, error))
		return status;
	g_autofree char *escaped = in->argc > 0 ? client_escape(in->argv[0]) : NULL;
	g_autofree char *path =
		g_strconcat("/v1/ports/detail", escaped ? "?node=" : "", escaped, NULL);
	g_autoptr(json_t) page = client_call(in->client, "GET", path, NULL, error);

	if (!page)
		return 1;
	output_list(in->as_json, json_peek_array(page, "ports"), columns);
	return 0;
}

int command_port_delete(struct invocation *in, GError **error)
{
	return command_delete(in, "port delete", "PORT...", "/v1/ports/", error);
}
