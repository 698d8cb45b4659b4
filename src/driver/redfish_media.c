#include "redfish_media.h"

#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "redfish_slot.h"

/* Looks at a drive after a change; the pause between them doubles. */
#define LOOKS          6
#define FIRST_PAUSE_US 250000

/* The optical drives of a BMC: links and what they were when they were found. */
struct drives {
	unsigned count;
	char *links[REDFISH_MEMBERS_MAX];
	struct redfish_slot slots[REDFISH_MEMBERS_MAX];
};

typedef struct drives drives;

static void drives_clear(struct drives *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		g_free(d->links[i]);
		redfish_slot_clear(&d->slots[i]);
	}
	d->count = 0;
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(drives, drives_clear)

static bool read_slot(struct redfish_client *c, const char *link, struct redfish_slot *ret,
		      GError **error)
{
	g_auto(web_reply) reply = {0};

	return redfish_client_get(c, link, &reply, error) &&
	       redfish_parse_slot(reply.body, reply.length, ret, error);
}

/* Adds the optical drives of a collection. */
static bool read_collection(struct redfish_client *c, const char *link, struct drives *d,
			    GError **error)
{
	g_auto(web_reply) reply = {0};
	g_auto(redfish_collection) list = {0};

	if (!redfish_client_get(c, link, &reply, error) ||
	    !redfish_parse_collection(reply.body, reply.length, &list, error))
		return false;
	for (unsigned i = 0; list.members[i] && d->count < REDFISH_MEMBERS_MAX; i++) {
		g_auto(redfish_slot) slot = {0};

		if (!read_slot(c, list.members[i], &slot, error))
			return false;
		if (!slot.optical)
			continue;
		d->links[d->count] = g_strdup(list.members[i]);
		d->slots[d->count++] = slot;
		slot = (struct redfish_slot){0};
	}
	return true;
}

/* Newer BMCs have the collection below the system, older ones below its manager. */
static bool find_drives(struct redfish_client *c, const struct redfish_system *system,
			struct drives *ret, GError **error)
{
	g_auto(web_reply) reply = {0};
	g_autofree char *link = NULL;
	g_auto(drives) d = {0};

	if (system->media && !read_collection(c, system->media, &d, error))
		return false;
	if (d.count == 0 && system->manager) {
		if (!redfish_client_get(c, system->manager, &reply, error) ||
		    !redfish_parse_media_link(reply.body, reply.length, &link, error) ||
		    (link && !read_collection(c, link, &d, error)))
			return false;
	}
	*ret = d;
	d.count = 0;
	return true;
}

/* Waits until the drive is as it should be: some BMCs carry a request out after they have answered. */
static bool await(struct redfish_client *c, const char *link, const char *url, GError **error)
{
	g_auto(redfish_slot) slot = {0};
	gulong pause = FIRST_PAUSE_US;

	for (unsigned i = 0; i < LOOKS; i++, pause *= 2) {
		redfish_slot_clear(&slot);
		if (!read_slot(c, link, &slot, error))
			return false;
		if (url ? redfish_slot_holds(&slot, url) : !slot.inserted)
			return true;
		if (i + 1 < LOOKS)
			g_usleep(pause);
	}
	return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
			      !url            ? "%s: the BMC took the request to eject, and "
						"reports a medium still"
			      : slot.inserted ? "%s: the BMC took the medium, and reports another "
						"one afterwards"
					      : "%s: the BMC took the medium, and reports an "
						"empty drive afterwards",
			      link);
}

static bool eject_one(struct redfish_client *c, const char *link, const struct redfish_slot *slot,
		      GError **error)
{
	g_autoptr(GError) reason = NULL;
	g_auto(redfish_slot) after = {0};
	g_autoptr(json_t) body = slot->eject ? json_object() : redfish_make_inserted(NULL);
	bool taken = slot->eject ? redfish_client_post(c, slot->eject, body, &reason)
				 : redfish_client_patch(c, link, body, slot->etag, &reason);

	if (taken)
		return await(c, link, NULL, error);
	/* Somebody else, or the machine itself, may have been faster. */
	if (read_slot(c, link, &after, NULL) && !after.inserted)
		return true;
	g_propagate_error(error, g_steal_pointer(&reason));
	return false;
}

static bool eject_all(struct redfish_client *c, const struct drives *d, GError **error)
{
	for (unsigned i = 0; i < d->count; i++)
		if (d->slots[i].inserted && !eject_one(c, d->links[i], &d->slots[i], error))
			return false;
	return true;
}

/* A request that the BMC understood and does not like: another form of it, or another drive, may do. */
static bool is_refusal(const GError *error)
{
	return g_error_matches(error, INOX_ERROR, INOX_ERROR_INVALID) ||
	       g_error_matches(error, INOX_ERROR, INOX_ERROR_UNSUPPORTED);
}

static bool post_insert(struct redfish_client *c, const char *target, const char *url,
			GError **error)
{
	g_autoptr(GError) first = NULL;

	for (unsigned detail = SLOT_MINIMUM; detail < SLOT_DETAIL_COUNT; detail++) {
		g_autoptr(json_t) body = redfish_make_insert(url, (enum slot_detail)detail);
		g_autoptr(GError) reason = NULL;

		if (redfish_client_post(c, target, body, &reason))
			return true;
		bool refused = g_error_matches(reason, INOX_ERROR, INOX_ERROR_INVALID);

		/* The refusal of the plain request tells most. */
		if (!first || !refused) {
			g_clear_error(&first);
			first = g_steal_pointer(&reason);
		}
		if (!refused)
			break;
	}
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}

static bool insert_one(struct redfish_client *c, const char *link, const struct redfish_slot *slot,
		       const char *url, GError **error)
{
	g_autoptr(json_t) body = redfish_make_inserted(url);
	bool taken = slot->insert ? post_insert(c, slot->insert, url, error)
				  : redfish_client_patch(c, link, body, slot->etag, error);

	return taken && await(c, link, url, error);
}

static bool insert(struct redfish_client *c, const struct redfish_system *system, const char *url,
		   GError **error)
{
	g_auto(drives) d = {0};
	g_autoptr(GError) last = NULL;

	if (!find_drives(c, system, &d, error) || !eject_all(c, &d, error))
		return false;
	if (d.count == 0)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "the BMC offers no virtual CD or DVD drive");
	for (unsigned i = 0; i < d.count; i++) {
		g_clear_error(&last);
		if (insert_one(c, d.links[i], &d.slots[i], url, &last))
			return true;
		if (!is_refusal(last))
			break;
	}
	g_propagate_error(error, g_steal_pointer(&last));
	return false;
}

bool redfish_media_insert(struct redfish_client *c, const struct redfish_system *system,
			  const char *url, GError **error)
{
	g_autoptr(GError) reason = NULL;

	if (insert(c, system, url, &reason))
		return true;
	g_autofree char *sentence = redfish_hide_url(reason->message, url);

	g_set_error_literal(error, reason->domain, reason->code, sentence);
	return false;
}

bool redfish_media_eject(struct redfish_client *c, const struct redfish_system *system,
			 GError **error)
{
	g_auto(drives) d = {0};

	return find_drives(c, system, &d, error) && eject_all(c, &d, error);
}
