/* schema.h: numbered migrations.  The version of a database is the number of steps it has been through. */
#pragma once

#include "db.h"

struct schema_step {
	const char *name; /* of the file in migrations/ */
	const char *sql;
};

/* Made from migrations/ by embed.py; step i leads from version i to i + 1. */
extern const struct schema_step schema_steps[];
extern const unsigned schema_step_count;

/* Brings the schema up to date in one transaction.  LIMIT if the database is newer than this program. */
bool schema_migrate(struct db *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same check without changing anything; UNAVAILABLE if the database is older. */
bool schema_check(struct db *d, GError **error) G_GNUC_WARN_UNUSED_RESULT;
