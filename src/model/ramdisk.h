/* ramdisk.h: what a node says about the ramdisk that it boots: another kernel, further kernel arguments, the
 * way its agent gets the token. */
#pragma once

#include "node.h"

#define RAMDISK_PATH_MAX 255

/* Peeked from the node; "" where it says nothing. */
struct ramdisk {
	const char *kernel; /* path below the boot host's http root, or URL */
	const char *initrd;
	const char *iso;      /* path; for virtual media */
	bool on_command_line; /* the token is a kernel argument */
};

enum ramdisk_use {
	RAMDISK_DEPLOY, /* driver_info.deploy_kernel with deploy_ramdisk, deploy_iso */
	RAMDISK_RESCUE /* the same that begin with rescue_; where none is set, what deploys rescues, too */
};

/* Those keys, and agent_delivery (`otherwise`: [agent]token_delivery).  INVALID with a sentence that names the
 * key that is bad or missing. */
bool ramdisk_read(const struct node *n, enum ramdisk_use use, const char *otherwise,
		  struct ramdisk *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* "name name=value ..." as a JSON object of strings, which the caller frees; the boot publisher checks the
 * characters.  `what` is for the error. */
char *ramdisk_parse_arguments(const char *text, const char *what, GError **error);
/* Further kernel arguments as that object: kernel_append_params of instance_info, else of driver_info,
 * in which %default% stands for `otherwise`, else `otherwise`. */
char *ramdisk_arguments(const struct node *n, const char *otherwise, GError **error);
