/* bmc_address.c: asks the machine's BMC for its address, through the kernel's IPMI device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/ipmi.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "inventory.h"

/* IPMI 2.0, section 23.2: Get LAN Configuration Parameters, parameter 3 (IP address). */
#define NETFN_TRANSPORT   0x0c
#define GET_LAN_PARAMETER 0x02
#define PARAMETER_ADDRESS 3
#define LAST_CHANNEL      11
#define REPLY_WAIT_MS     2000
#define ADDRESS_AT        2 /* completion code, revision, then four bytes */

static bool send_request(int fd, unsigned channel)
{
	unsigned char data[] = {(unsigned char)channel, PARAMETER_ADDRESS, 0, 0};
	struct ipmi_system_interface_addr bmc = {.addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE,
						 .channel = IPMI_BMC_CHANNEL};
	struct ipmi_req request = {
		.addr = (unsigned char *)&bmc,
		.addr_len = sizeof(bmc),
		.msgid = channel,
		.msg = {.netfn = NETFN_TRANSPORT,
			.cmd = GET_LAN_PARAMETER,
			.data = data,
			.data_len = sizeof(data)},
	};

	return ioctl(fd, IPMICTL_SEND_COMMAND, &request) == 0;
}

/* The address of one channel; NULL if it has none. */
static char *ask(int fd, unsigned channel)
{
	unsigned char data[IPMI_MAX_MSG_LENGTH];
	struct ipmi_addr from;
	struct ipmi_recv reply = {.addr = (unsigned char *)&from,
				  .addr_len = sizeof(from),
				  .msg = {.data = data, .data_len = sizeof(data)}};
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	static const unsigned char none[4];

	if (!send_request(fd, channel) || poll(&readable, 1, REPLY_WAIT_MS) != 1 ||
	    ioctl(fd, IPMICTL_RECEIVE_MSG_TRUNC, &reply) != 0)
		return NULL;
	const unsigned char *a = data + ADDRESS_AT;

	if (reply.msgid != channel || reply.msg.data_len < ADDRESS_AT + 4 || data[0] != 0 ||
	    memcmp(a, none, sizeof(none)) == 0)
		return NULL;
	return g_strdup_printf("%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
}

char *inventory_bmc_address(const char *root)
{
	g_autofree char *device = g_build_filename(root, "dev/ipmi0", NULL);
	int fd = open(device, O_RDWR | O_CLOEXEC);
	char *address = NULL;

	if (fd < 0)
		return NULL;
	for (unsigned channel = 1; channel <= LAST_CHANNEL && !address; channel++)
		address = ask(fd, channel);
	close(fd);
	return address ? address : g_strdup("0.0.0.0");
}
