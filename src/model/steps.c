#include "steps.h"

#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "jsons.h"
#include "limit.h"

#define NAME_MAX_BYTES 255
#define PRIORITY_MAX   100000
#define WRITE_PRIORITY 80
#define WAIT_MOST_S    86400

/* Of steps with the same priority, the interface that stands first here goes first. */
static const char *const interfaces[] = {"vendor", "power", "management", "firmware",
					 "deploy", "bios",  "raid"};

struct step {
	const char *interface, *name; /* borrowed from the agent's answer or the operator's list */
	int64_t priority;
	unsigned rank, order;
	bool abortable, reboots;
	const json_t *args; /* NULL: none */
};

static int interface_rank(const char *interface)
{
	for (size_t i = 0; i < G_N_ELEMENTS(interfaces); i++)
		if (strcmp(interfaces[i], interface) == 0)
			return (int)i;
	return -1;
}

static bool is_name(const char *text)
{
	if (!text || !*text || strlen(text) > NAME_MAX_BYTES)
		return false;
	for (const char *p = text; *p; p++)
		if (!g_ascii_isalnum(*p) && !strchr("_-.:", *p))
			return false;
	return true;
}

/* An integer, or digits in a string. */
static bool parse_priority(const json_t *value, int64_t *ret_priority)
{
	gint64 number = json_integer_value(value);

	if (json_is_string(value)) {
		guint64 digits;

		if (!g_ascii_string_to_unsigned(json_string_value(value), 10, 0, PRIORITY_MAX,
						&digits, NULL))
			return false;
		number = (gint64)digits;
	} else if (!json_is_integer(value)) {
		return false;
	}
	*ret_priority = number;
	return number >= 0 && number <= PRIORITY_MAX;
}

static bool parse_step(const json_t *value, struct step *ret_step)
{
	const char *interface = json_peek_string(value, "interface");
	const char *name = json_peek_string(value, "step");
	int rank = interface ? interface_rank(interface) : -1;
	struct step s = {.interface = interface,
			 .name = name,
			 .rank = (unsigned)rank,
			 .abortable = json_is_true(json_object_get(value, "abortable")),
			 .reboots = json_is_true(json_object_get(value, "reboot_requested"))};

	if (rank < 0 || !is_name(name) ||
	    !parse_priority(json_object_get(value, "priority"), &s.priority))
		return false;
	*ret_step = s;
	return true;
}

static struct step *find_step(GArray *list, const char *interface, const char *name)
{
	for (guint i = 0; i < list->len; i++) {
		struct step *s = &g_array_index(list, struct step, i);

		if (strcmp(s->interface, interface) == 0 && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

/* Of steps that several managers offer, the one with the highest priority counts. */
static bool add_offered(GArray *list, const json_t *value, GError **error)
{
	struct step s;

	if (!parse_step(value, &s))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the agent lists a step without a proper interface, name "
				      "and priority");
	struct step *known = find_step(list, s.interface, s.name);

	if (known) {
		known->priority = MAX(known->priority, s.priority);
		return true;
	}
	if (list->len >= LIMIT_STEPS)
		return inox_error_set(error, INOX_ERROR_LIMIT, "the agent lists more than %d steps",
				      LIMIT_STEPS);
	s.order = list->len;
	g_array_append_val(list, s);
	return true;
}

static bool read_offered(const json_t *outcome, const char *key, GArray *list, GError **error)
{
	json_t *managers = json_peek_object(outcome, key);
	const char *manager;
	json_t *steps;

	if (!managers || !json_peek_object(outcome, "hardware_manager_version"))
		return inox_error_set(error, INOX_ERROR_PEER,
				      "the agent's answer lacks %s or hardware_manager_version",
				      key);
	json_object_foreach(managers, manager, steps) {
		size_t i;
		json_t *value;

		if (!json_is_array(steps))
			return inox_error_set(error, INOX_ERROR_PEER,
					      "the agent's %s hold something else than lists", key);
		json_array_foreach(steps, i, value) {
			if (!add_offered(list, value, error))
				return false;
		}
	}
	return true;
}

static bool raise_write(GArray *list, GError **error)
{
	struct step *write = find_step(list, "deploy", "write_image");

	if (!write)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "the agent does not offer the step deploy.write_image");
	write->priority = MAX(write->priority, WRITE_PRIORITY);
	return true;
}

static bool apply_wanted(GArray *list, const json_t *wanted, GError **error)
{
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		struct step s;

		if (!parse_step(json_array_get(wanted, i), &s))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "deploy_steps[%zu] needs a proper interface, step "
					      "and priority",
					      i);
		struct step *known = find_step(list, s.interface, s.name);

		if (!known)
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "the agent does not offer the deploy step %s.%s",
					      s.interface, s.name);
		known->priority = s.priority;
		known->args = json_peek_object(json_array_get(wanted, i), "args");
	}
	return true;
}

static int compare_steps(const void *a, const void *b)
{
	const struct step *one = a, *other = b;

	if (one->priority != other->priority)
		return one->priority > other->priority ? -1 : 1;
	if (one->rank != other->rank)
		return one->rank < other->rank ? -1 : 1;
	return one->order < other->order ? -1 : one->order > other->order;
}

static json_t *print_step(const struct step *s)
{
	json_t *step = json_pack("{s:s, s:s, s:I}", "interface", s->interface, "step", s->name,
				 "priority", (json_int_t)s->priority);

	if (s->args)
		json_object_set_new(step, "args", json_deep_copy(s->args));
	if (s->reboots)
		json_object_set_new(step, "reboot_requested", json_true());
	return step;
}

static json_t *print_steps(const GArray *list)
{
	json_t *steps = json_array();

	for (guint i = 0; i < list->len; i++) {
		const struct step *s = &g_array_index(list, struct step, i);

		if (s->priority == 0)
			continue;
		json_array_append_new(steps, print_step(s));
	}
	return steps;
}

/* The map goes back to the agent with every step: texts only. */
static json_t *read_versions(const json_t *outcome)
{
	json_t *versions = json_object();
	const char *name;
	json_t *version;

	json_object_foreach(json_peek_object(outcome, "hardware_manager_version"), name, version) {
		if (json_is_string(version) && json_object_size(versions) < LIMIT_STEPS)
			json_object_set(versions, name, version);
	}
	return versions;
}

bool steps_merge(const json_t *outcome, const json_t *wanted, json_t **ret_steps,
		 json_t **ret_versions, GError **error)
{
	g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(struct step));

	if (!read_offered(outcome, "deploy_steps", list, error) || !raise_write(list, error) ||
	    !apply_wanted(list, wanted, error))
		return false;
	g_array_sort(list, compare_steps);
	*ret_steps = print_steps(list);
	*ret_versions = read_versions(outcome);
	return true;
}

/* ---- cleaning */

static json_t *print_clean_step(const struct step *s)
{
	json_t *step = print_step(s);

	json_object_set_new(step, "abortable", json_boolean(s->abortable));
	return step;
}

static json_t *print_automatic(GArray *list)
{
	json_t *steps = json_array();

	g_array_sort(list, compare_steps);
	for (guint i = 0; i < list->len; i++)
		if (g_array_index(list, struct step, i).priority > 0)
			json_array_append_new(
				steps, print_clean_step(&g_array_index(list, struct step, i)));
	return steps;
}

struct place {
	json_int_t order;
	size_t index; /* in the operator's list */
};

static int compare_places(const void *a, const void *b)
{
	const struct place *one = a, *other = b;

	if (one->order != other->order)
		return one->order < other->order ? -1 : 1;
	return one->index < other->index ? -1 : one->index > other->index;
}

enum step_own steps_own(const json_t *step)
{
	static const char *const names[] = {
		[OWN_HOLD] = "hold",           [OWN_WAIT] = "wait",     [OWN_POWER_ON] = "power_on",
		[OWN_POWER_OFF] = "power_off", [OWN_REBOOT] = "reboot",
	};
	const char *name = json_peek_string(step, "step");

	for (unsigned i = OWN_NONE + 1; name && i < G_N_ELEMENTS(names); i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return OWN_NONE;
}

unsigned steps_own_seconds(const json_t *step)
{
	const json_t *value = json_object_get(json_object_get(step, "args"), "seconds");
	json_int_t seconds = json_integer_value(value);

	return seconds >= 1 && seconds <= WAIT_MOST_S ? (unsigned)seconds : 0;
}

/* As the agent would list it, if it knew it.  False: it is the agent's matter. */
static bool make_own(const json_t *step, struct step *ret_step)
{
	const char *interface = json_peek_string(step, "interface");

	if (steps_own(step) == OWN_NONE || !interface)
		return false;
	*ret_step = (struct step){
		.interface = interface, .name = json_peek_string(step, "step"), .abortable = true};
	return true;
}

/* What an agent calls like one of the conductor's own is never asked for. */
static void drop_own(GArray *list)
{
	for (guint i = list->len; i-- > 0;) {
		g_autoptr(json_t) step = print_step(&g_array_index(list, struct step, i));

		if (steps_own(step) != OWN_NONE)
			g_array_remove_index(list, i);
	}
}

static json_t *print_wanted(GArray *list, const json_t *wanted, GError **error)
{
	g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(struct place));
	g_autoptr(json_t) steps = json_array();

	for (size_t i = 0; i < json_array_size(wanted); i++) {
		const json_t *value = json_array_get(wanted, i);
		struct place place = {json_integer_value(json_object_get(value, "order")), i};

		g_array_append_val(places, place);
	}
	g_array_sort(places, compare_places);
	for (guint i = 0; i < places->len; i++) {
		const json_t *value =
			json_array_get(wanted, g_array_index(places, struct place, i).index);
		const char *interface = json_peek_string(value, "interface");
		const char *name = json_peek_string(value, "step");
		struct step own;
		const struct step *known = make_own(value, &own) ? &own
					   : interface && name   ? find_step(list, interface, name)
								 : NULL;

		if (!known) {
			inox_error_set(error, INOX_ERROR_INVALID,
				       "the agent does not offer the clean step %s.%s",
				       interface ? interface : "?", name ? name : "?");
			return NULL;
		}
		struct step one = *known;

		one.args = json_peek_object(value, "args");
		json_array_append_new(steps, print_clean_step(&one));
	}
	return g_steal_pointer(&steps);
}

static void apply_priorities(GArray *list, const json_t *priorities)
{
	for (guint i = 0; i < list->len; i++) {
		struct step *s = &g_array_index(list, struct step, i);
		g_autofree char *name = g_strdup_printf("%s.%s", s->interface, s->name);
		const json_t *priority = json_object_get(priorities, name);

		if (json_is_integer(priority))
			s->priority = json_integer_value(priority);
	}
}

bool steps_plan_cleaning(const json_t *outcome, const json_t *wanted, const json_t *priorities,
			 json_t **ret_steps, json_t **ret_versions, GError **error)
{
	g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(struct step));

	if (!read_offered(outcome, "clean_steps", list, error))
		return false;
	drop_own(list);
	apply_priorities(list, priorities);
	json_t *steps = wanted ? print_wanted(list, wanted, error) : print_automatic(list);

	if (!steps)
		return false;
	*ret_steps = steps;
	*ret_versions = read_versions(outcome);
	return true;
}

json_t *steps_plan_bare(const json_t *wanted, GError **error)
{
	g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(struct step));

	return print_wanted(none, wanted, error);
}

static bool check_own(const json_t *step, bool bare, GError **error)
{
	json_t *args = json_peek_object(step, "args");
	enum step_own own = steps_own(step);
	const char *name = json_peek_string(step, "step");

	if (own == OWN_NONE)
		return !bare || inox_error_set(error, INOX_ERROR_INVALID,
					       "The clean step %s.%s needs the ramdisk, and "
					       "disable_ramdisk is true: only power_on, power_off, "
					       "reboot, hold and wait can do without",
					       json_peek_string(step, "interface"), name);
	if (json_object_size(args) > (own == OWN_WAIT && json_object_get(args, "seconds")))
		return inox_error_set(error, INOX_ERROR_INVALID, "The clean step '%s' takes %s",
				      name, own == OWN_WAIT ? "args.seconds alone" : "no args");
	if (json_object_get(args, "seconds") && !steps_own_seconds(step))
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "args.seconds of the clean step 'wait' must be an integer "
				      "from 1 to %d",
				      WAIT_MOST_S);
	if (bare && own == OWN_WAIT && !steps_own_seconds(step))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"The clean step 'wait' needs args.seconds where no ramdisk is "
			"there to be heard again");
	return true;
}

bool steps_check_cleaning(const json_t *wanted, bool bare, GError **error)
{
	if (json_array_size(wanted) == 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "\"clean_steps\" is required when setting target provision "
				      "state to clean");
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		const json_t *step = json_array_get(wanted, i);

		if (!is_name(json_peek_string(step, "step")))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "Invalid clean_steps: step %zu has no proper name",
					      i);
		if (json_is_true(json_object_get(step, "execute_on_child_nodes")))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "execute_on_child_nodes is not supported by this "
					      "release of Inox");
		if (!check_own(step, bare, error))
			return false;
	}
	return true;
}
