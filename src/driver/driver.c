#include "driver.h"

#include <string.h>

#include "errors.h"
#include "fake.h"
#include "redfish.h"
#include "web.h"

static const struct driver *const drivers[] = {&redfish_driver, &fake_driver};

const struct driver *driver_find(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}

void driver_start(void)
{
	web_start();
}

bool driver_error_is_transient(const GError *error)
{
	return g_error_matches(error, INOX_ERROR, INOX_ERROR_UNAVAILABLE) ||
	       g_error_matches(error, INOX_ERROR, INOX_ERROR_TIMEOUT) ||
	       g_error_matches(error, INOX_ERROR, INOX_ERROR_BUSY);
}
