/* notify.h: tells the service manager the truth (sd_notify(3) protocol). */
#pragma once

#include "clocks.h"

/* Sends one message, for instance "READY=1".  Does nothing without NOTIFY_SOCKET; a lost message is
 * not an error. */
void notify_send(const char *message);

/* Half of WATCHDOG_USEC, the time between two WATCHDOG=1; 0: nobody asks. */
struct span notify_watchdog_interval(void);
