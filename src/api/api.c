#include "api.h"

#include "hardware.h"
#include "limit.h"
#include "request.h"

struct api *api_new(struct loop *l, const struct config *c, struct store *s,
		    const struct seal_key *public_half, api_poke_fn poke, void *ctx, GError **error)
{
	if (!hardware_check_config(c, error))
		return NULL;
	struct api *a = g_new0(struct api, 1);
	const struct http_server_options options = {.body_limit = LIMIT_API_CONFIG_DRIVE,
						    .connection_limit = LIMIT_API_CONNECTIONS,
						    .on_head = request_check_head};

	*a = (struct api){
		.loop = l,
		.config = c,
		.store = s,
		.seal = public_half,
		.poke = poke,
		.poke_ctx = ctx,
		.started = wall_now(),
		.answered = g_hash_table_new(NULL, NULL),
		.refusals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
		.old_agents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
	a->server = http_server_new(l, &options, request_dispatch, a);
	return a;
}

bool api_accept_on(struct api *a, int listen_fd, GError **error)
{
	return http_server_accept_on(a->server, listen_fd, error);
}

void api_free(struct api *a)
{
	if (!a)
		return;
	http_server_free(a->server);
	g_hash_table_unref(a->answered);
	g_hash_table_unref(a->refusals);
	g_hash_table_unref(a->old_agents);
	g_free(a);
}
