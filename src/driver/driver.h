/* driver.h: what a BMC driver does.  Linked into the bmc worker only; calls block, one thread each. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "identity.h"
#include "secret.h"
#include "vocabulary.h"

struct bmc_target {
	const char *node;    /* UUID: the fake driver's memory */
	const char *address; /* redfish: "https://10.0.0.5", numeric host */
	const char *system;  /* redfish: "/redfish/v1/Systems/1", "" to find the only one */
	const char *username;
	const struct secret *password;
	bool verify;
	enum bmc_auth auth;
	const struct network *allowed; /* checked again before each connection */
	unsigned allowed_count;
	unsigned timeout_s;
};

struct driver {
	const char *name;
	/* True when the BMC answered and took the request; it does not wait for the power to change.
	 * Errors: DENIED (credentials), UNAVAILABLE and TIMEOUT (may pass), PEER (nonsense), INVALID. */
	bool (*get_power)(const struct bmc_target *t, enum power_state *ret_power,
			  enum boot_mode *ret_mode, GError **error);
	/* Nothing is sent when the state is reached already. */
	bool (*set_power)(const struct bmc_target *t, enum power_target target, GError **error);
	bool (*set_boot)(const struct bmc_target *t, enum boot_device device, bool persistent,
			 enum boot_mode mode, GError **error);
	/* Into the optical drive, in place of what is in it; true when the BMC reports it there.  The URL
	 * is a secret: no error has it. */
	bool (*insert_media)(const struct bmc_target *t, const char *url, GError **error);
	bool (*eject_media)(const struct bmc_target *t, GError **error); /* true if it is empty */
};

const struct driver *driver_find(const char *name); /* NULL if there is none */

/* Starts the libraries that the drivers use: once, before the threads that call drivers. */
void driver_start(void);

/* True if the same call may succeed later: nobody answered, the BMC is busy or overloaded. */
bool driver_error_is_transient(const GError *error);
