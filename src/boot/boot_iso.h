/* boot_iso.h: the ISO of one boot is the one that inox-ramdisk made, with its places filled in.  Pure
 * functions.
 *
 * A place is a file of the ISO that begins with the line "inox-place NAME SIZE" and is filled up to SIZE
 * with line feeds.  Files of an ISO begin at a sector, so a place is found by looking at the sectors: no
 * file system has to be understood, and nothing else on the ISO is ever changed.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "media_record.h"
#include "secret.h"

/* Constant, name, size: as in tools/ramdisk/inox-ramdisk. */
#define BOOT_ISO_PLACE_LIST(X)                                             \
	X(PLACE_ISOLINUX, "isolinux.cfg", 4096)      /* BIOS */            \
	X(PLACE_GRUB, "grub.cfg", 4096)              /* UEFI */            \
	X(PLACE_NODE, "node.img", 4096)              /* our agent */       \
	X(PLACE_AGENT, "agent.conf", 2048)           /* the stock agent */ \
	X(PLACE_NETWORK, "network_data.json", 32768) /* cloud tools; older ISOs lack it */

enum boot_iso_place {
#define BOOT_ISO_CONSTANT(constant, name, size) constant,
	BOOT_ISO_PLACE_LIST(BOOT_ISO_CONSTANT)
#undef BOOT_ISO_CONSTANT
		BOOT_ISO_PLACES
};

#define BOOT_ISO_SECTOR 2048

/* The descriptors of the volume that hold its label (ECMA-119 8.4, and Joliet's). */
#define BOOT_ISO_DESCRIPTORS 2
#define BOOT_ISO_PIECES      (BOOT_ISO_PLACES + BOOT_ISO_DESCRIPTORS)

/* What has to be known of an ISO to fill its places in. */
struct boot_iso_base {
	uint64_t size;
	uint8_t digest[MEDIA_DIGEST_BYTES];
	uint64_t offsets[BOOT_ISO_PLACES]; /* 0: it lacks the place */
	unsigned descriptor_count;
	struct {
		uint64_t offset;
		uint8_t sector[BOOT_ISO_SECTOR];
	} descriptors[BOOT_ISO_DESCRIPTORS];
};

/* What goes where, in the order of the offsets; holds the token, so that it is wiped when it is cleared. */
struct boot_iso_fill {
	unsigned count;
	struct {
		uint64_t offset;
		size_t length;
		char *bytes;
	} pieces[BOOT_ISO_PIECES];
};

/* How the machine gets its address. */
struct boot_iso_network {
	const char *address; /* NULL: it asks DHCP */
	unsigned prefix;
	const char *gateway;    /* "": none */
	const char *nameserver; /* "" or NULL: none */
};

/* The kernel arguments of an ISO: `arguments` as made by script_arguments(), where the machine finds its
 * media, interface and address, and, if not NULL, the `publisher` of its volume.  They may hold the token: secret_wipe_text() frees them.  LIMIT if the kernel would cut the line. */
char *boot_iso_arguments(const char *arguments, struct mac interface,
			 const struct boot_iso_network *network, const char *publisher,
			 GError **error);

/* What one boot's ISO is to hold. */
struct boot_iso_boot {
	const char *arguments;      /* of the kernel */
	const struct secret *token; /* NULL: the agent gets it in another way */
	bool stock;                 /* the agent may be one that is not ours */
	const char *network_data;   /* JSON; "" or NULL: none */
	const char *publisher;      /* of the volume, with network_data for a stock ramdisk */
};

/* Finds the places.  INVALID if it is no ISO with these places. */
bool boot_iso_survey(const uint8_t *iso, size_t length, struct boot_iso_base *ret,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Makes what goes into the places.  Fills *ret on success only; the caller clears it.  Errors: LIMIT, INVALID.
 *
 * A stock ramdisk reads network_data.json of a volume labelled "config-2" whose publisher is what the kernel
 * argument ir_pub_id names (agent-protocol 5.5), so the label and publisher of such an ISO are changed. */
bool boot_iso_fill(const struct boot_iso_base *base, const struct boot_iso_boot *boot,
		   struct boot_iso_fill *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void boot_iso_fill_clear(struct boot_iso_fill *f);

typedef struct boot_iso_fill boot_iso_fill_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(boot_iso_fill_t, boot_iso_fill_clear)
