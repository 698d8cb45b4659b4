#include "schema.h"

#include "errors.h"

static bool refuse_newer(const struct db *d, unsigned version, GError **error)
{
	return inox_error_set(error, INOX_ERROR_LIMIT,
			      "Database %s has schema version %u, this program knows versions up "
			      "to %u: use the newer program that wrote it.",
			      db_peek_path(d), version, schema_step_count);
}

bool schema_check(struct db *d, GError **error)
{
	unsigned version;

	if (!db_get_version(d, &version, error))
		return false;
	if (version > schema_step_count)
		return refuse_newer(d, version, error);
	if (version < schema_step_count)
		return inox_error_set(error, INOX_ERROR_UNAVAILABLE,
				      "Database %s has schema version %u and has not been brought "
				      "to version %u.",
				      db_peek_path(d), version, schema_step_count);
	return true;
}

static bool run_steps(struct db *d, unsigned version, GError **error)
{
	for (unsigned i = version; i < schema_step_count; i++) {
		if (!db_run_script(d, schema_steps[i].sql, error)) {
			g_prefix_error(error, "Migration %s: ", schema_steps[i].name);
			return false;
		}
	}
	return db_set_version(d, schema_step_count, error);
}

bool schema_migrate(struct db *d, GError **error)
{
	unsigned version;

	/* The version is read behind the lock: two programs that start at once migrate once. */
	if (!db_begin(d, error))
		return false;
	bool ok = db_get_version(d, &version, error);

	if (ok && version > schema_step_count)
		ok = refuse_newer(d, version, error);
	else if (ok && version < schema_step_count)
		ok = run_steps(d, version, error);
	if (!ok) {
		db_rollback(d);
		return false;
	}
	return db_commit(d, error);
}
