#include "steps.h"

#include "erase.h"
#include "write_image.h"

/* One row more than steps.def holds, so that the table is never empty. */
static const struct step steps[] = {
#define AGENT_STEP(k, i, n, p, r, a, fn) \
	{.kind = (k),                    \
	 .interface = (i),               \
	 .name = (n),                    \
	 .priority = (p),                \
	 .reboot_requested = (r),        \
	 .abortable = (a),               \
	 .run = (fn)},
#include "steps.def"
#undef AGENT_STEP
	{.name = NULL},
};

static const struct step *extra_steps;

void steps_use_extra(const struct step *table)
{
	extra_steps = table;
}

const struct step *step_at(unsigned i)
{
	const unsigned own = G_N_ELEMENTS(steps) - 1;

	if (i < own)
		return &steps[i];
	const struct step *s = extra_steps;

	for (unsigned skip = i - own; s && s->name && skip > 0; skip--)
		s++;
	return s && s->name ? s : NULL;
}

bool step_is(const struct step *s, enum step_kind kind)
{
	return s->kind == STEP_ANY || s->kind == kind;
}

const struct step *step_find(enum step_kind kind, const char *name)
{
	const struct step *s;

	for (unsigned i = 0; (s = step_at(i)); i++)
		if (step_is(s, kind) && g_str_equal(s->name, name))
			return s;
	return NULL;
}
