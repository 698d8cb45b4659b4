/* fake.h: the driver of machines that are not there: everything succeeds at once, the power state is
 * kept in the process and is "power off" for a node that was never switched. */
#pragma once

#include "driver.h"

extern const struct driver fake_driver;
