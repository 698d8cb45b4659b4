#include "steps.h"

#include "write_image.h"

/* One row more than steps.def holds, so that the table is never empty. */
static const struct step steps[] = {
#define AGENT_STEP(i, n, p, r, a, fn) \
	{.interface = (i),            \
	 .name = (n),                 \
	 .priority = (p),             \
	 .reboot_requested = (r),     \
	 .abortable = (a),            \
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

const struct step *step_find(const char *name)
{
	const struct step *s;

	for (unsigned i = 0; (s = step_at(i)); i++)
		if (g_str_equal(s->name, name))
			return s;
	return NULL;
}
