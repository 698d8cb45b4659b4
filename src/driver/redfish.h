/* redfish.h: the driver of BMCs that speak Redfish. */
#pragma once

#include "driver.h"

extern const struct driver redfish_driver;
