/* rules.h: what holds between options.  For the files of src/config only. */
#pragma once

#include "option.h"

/* Says a problem of one option: file, line and the option's name are put in front of `sentence`, which
 * is taken over. */
typedef void (*rules_report_fn)(void *ctx, enum config_option o, char *sentence);

void rules_check(const struct config *c, rules_report_fn report, void *ctx);
