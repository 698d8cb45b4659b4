/* steps_schema.h: the shape of deploy, clean and service steps in a request. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Checks "deploy_steps", "clean_steps" and "service_steps" of a body, where they are there.  INVALID:
 * "Invalid clean_steps: ...". */
bool steps_check(const json_t *body, GError **error) G_GNUC_WARN_UNUSED_RESULT;
