/* boot_fixture.h: what the tests of boots share: a boot host that is a local folder, and a boot to publish on it. */
#pragma once

#include "config.h"
#include "delivery.h"
#include "message.h"

#define NODE        "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"
#define MAC         "52:54:00:77:02:10"
#define PATH        "1900000000-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZmdoaWp"
#define TOKEN       "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
#define HTTP_URL    "http://10.77.1.2"

#define TOKEN_FILE  "http/once/" PATH "/token.img"
#define SCRIPT_FILE "http/boot/52-54-00-77-02-10/10.77.2.10.ipxe"
#define HOST_FILE   "dhcp-hosts/52-54-00-77-02-10"

extern const struct uuid boot_node;
extern const struct script_site boot_site;

struct host {
	char *root;
	struct shelf *shelf;
};

/* A configuration with one [boot] option and http_url. */
struct config *host_config(const char *option, const char *value);
void host_start(struct host *h);
void host_end(struct host *h);

/* The bytes of a file below the host's root; NULL if it is not there. */
char *host_read(const struct host *h, const char *name);
bool host_has(const struct host *h, const char *name);
unsigned host_mode(const struct host *h, const char *name);

/* The boot with its defaults, and its end. */
struct message_boot_publish boot_publish_message(void);
struct message_boot_withdraw boot_withdraw_message(bool token_only);
bool host_publish(struct host *h);
bool host_withdraw(struct host *h, bool token_only);

/* Removes a folder with what is in it. */
void fixture_remove(const char *path);
