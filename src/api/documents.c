#include "documents.h"

#include <string.h>

static json_t *version_document(const struct request *rq)
{
	g_autofree char *href = g_strdup_printf("%s/v1/", rq->base);

	return json_pack("{s:s, s:[{s:s, s:s}], s:s, s:s, s:s}", "id", "v1", "links", "href", href,
			 "rel", "self", "status", "CURRENT", "min_version", API_VERSION_MIN,
			 "version", API_VERSION_MAX);
}

bool document_root(struct request *rq, GError **error)
{
	(void)error;
	rq->reply = json_pack(
		"{s:s, s:s, s:o, s:[o]}", "name", "OpenStack Ironic API", "description",
		"Ironic is an OpenStack project which enables the provision and "
		"management of baremetal machines.",
		"default_version", version_document(rq), "versions", version_document(rq));
	return true;
}

bool document_v1(struct request *rq, GError **error)
{
	static const struct {
		const char *name;
		unsigned since;
	} resources[] = {{"chassis", 1},     {"nodes", 1},
			 {"ports", 1},       {"drivers", 1},
			 {"portgroups", 23}, {"volume", 32},
			 {"lookup", 22},     {"heartbeat", 22},
			 {"conductors", 49}, {"allocations", 52},
			 {"events", 54},     {"deploy_templates", 55},
			 {"shards", 82},     {"continue_inspection", 84},
			 {"runbooks", 92},   {"inspection_rules", 96}};
	g_autofree char *self = g_strdup_printf("%s/v1/", rq->base);

	(void)error;
	rq->reply =
		json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s, s:s}], s:{s:s, s:s}}", "id", "v1",
			  "links", "href", self, "rel", "self", "href",
			  "https://docs.openstack.org//ironic/latest/contributor//webapi.html",
			  "rel", "describedby", "type", "text/html", "media_types", "base",
			  "application/json", "type", "application/vnd.openstack.ironic.v1+json");
	for (size_t i = 0; i < G_N_ELEMENTS(resources); i++) {
		g_autofree char *path = g_strdup_printf("%s/", resources[i].name);

		if (rq->minor >= resources[i].since)
			json_object_set_new(rq->reply, resources[i].name, request_links(rq, path));
	}
	json_object_set_new(rq->reply, "version", version_document(rq));
	return true;
}

bool document_health(struct request *rq, GError **error)
{
	(void)error;
	rq->text = g_strdup("OK");
	return true;
}

/* ---- what there is none of: the last word of a list's path is its key */

static const char *resource_of(const struct request *rq)
{
	static const char *const names[] = {
		"portgroups", "chassis", "allocations", "deploy_templates", "runbooks",
		"connectors", "targets", "volume",      "events",           "inspection_rules"};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (strstr(rq->route->path, names[i]))
			return names[i];
	return "resource";
}

bool absent_list(struct request *rq, GError **error)
{
	(void)error;
	rq->reply = json_pack("{s:[]}", resource_of(rq));
	return true;
}

bool absent_element(struct request *rq, GError **error)
{
	static const struct {
		const char *resource, *noun;
	} nouns[] = {{"portgroups", "Portgroup"},   {"chassis", "Chassis"},
		     {"allocations", "Allocation"}, {"deploy_templates", "Deploy template"},
		     {"runbooks", "Runbook"},       {"connectors", "Volume connector"},
		     {"targets", "Volume target"},  {"inspection_rules", "Inspection rule"}};

	for (size_t i = 0; i < G_N_ELEMENTS(nouns); i++)
		if (strcmp(nouns[i].resource, resource_of(rq)) == 0)
			return inox_error_set(error, INOX_ERROR_NOT_FOUND,
					      "%s %s could not be found.", nouns[i].noun,
					      rq->ident);
	return api_error_set(error, API_ERROR_ROUTE, "%s", "");
}

bool absent_write(struct request *rq, GError **error)
{
	return api_error_set(error, API_ERROR_NOT_OFFERED, "This server does not offer %s.",
			     resource_of(rq));
}

bool absent_volume(struct request *rq, GError **error)
{
	(void)error;
	rq->reply = json_pack("{s:o, s:o, s:o}", "links", request_links(rq, "volume"), "connectors",
			      request_links(rq, "volume/connectors"), "targets",
			      request_links(rq, "volume/targets"));
	return true;
}
