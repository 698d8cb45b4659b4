/* share.h: "NAME=10%,NAME=0.5%": how a fleet is divided. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Parts of all are counted in hundredths of a percent. */
#define SHARE_ALL 10000u

/* "10%", "0.25%": in parts of SHARE_ALL.  INVALID. */
bool share_parse(const char *text, unsigned *ret_share, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One NAME=SHARE; false (INVALID) ends the reading. */
typedef bool (*share_fn)(void *ctx, const char *name, unsigned share, GError **error);
bool share_parse_list(const char *text, share_fn fn, void *ctx,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
