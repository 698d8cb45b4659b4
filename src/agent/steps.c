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

const struct step *step_at(unsigned i)
{
	return i + 1 < G_N_ELEMENTS(steps) ? &steps[i] : NULL;
}

const struct step *step_find(const char *name)
{
	for (const struct step *s = steps; s->name; s++)
		if (g_str_equal(s->name, name))
			return s;
	return NULL;
}
