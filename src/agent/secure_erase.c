#include "secure_erase.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "errors.h"

#define MINUTE_MS 60000U

int secure_erase_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

/* ---- NVMe */

#define NVME_IDENTIFY       0x06
#define NVME_FORMAT         0x80
#define NVME_PAGE           4096
#define NVME_THIS_NAMESPACE 0 /* what Identify is about */
#define NVME_CONTROLLER     1
#define NVME_FORMAT_TIME    (12 * 60 * MINUTE_MS)
#define NVME_IDENTIFY_TIME  MINUTE_MS
/* Offsets in the controller's page, and bits there */
#define NVME_OACS         256
#define NVME_OACS_FORMAT  0x02
#define NVME_FNA          524
#define NVME_FNA_EVERYONE 0x03 /* formats, or erases, all namespaces */
#define NVME_FNA_CRYPTO   0x04
/* Offsets in the namespace's page, and bits there */
#define NVME_FLBAS 26
#define NVME_DPS   29
/* Secure Erase Settings */
#define NVME_ERASE_USER_DATA 1U
#define NVME_ERASE_CRYPTO    2U

static bool nvme_identify(const struct secure_disk *d, unsigned namespace, unsigned what,
			  uint8_t page[static NVME_PAGE], GError **error)
{
	struct nvme_admin_cmd command = {
		.opcode = NVME_IDENTIFY,
		.nsid = namespace,
		.addr = (uint64_t)(uintptr_t)page,
		.data_len = NVME_PAGE,
		.cdw10 = what,
		.timeout_ms = NVME_IDENTIFY_TIME,
	};
	int status = d->call(d->fd, NVME_IOCTL_ADMIN_CMD, &command);

	if (status < 0)
		return inox_error_set_errno(error, errno, "ask %s what it can", d->name);
	return status == 0 ||
	       inox_error_set(error, INOX_ERROR_IO, "%s does not say what it can: NVMe status 0x%x",
			      d->name, (unsigned)status);
}

/* The namespace's format as it is: block size, place of the metadata, protection. */
static unsigned nvme_same_format(const uint8_t page[static NVME_PAGE])
{
	unsigned format = page[NVME_FLBAS] & 0x0f, extended = page[NVME_FLBAS] >> 4 & 1;
	unsigned upper = page[NVME_FLBAS] >> 5 & 3, protection = page[NVME_DPS] & 7;

	return format | extended << 4 | protection << 5 | (page[NVME_DPS] >> 3 & 1U) << 8 |
	       upper << 12;
}

static bool nvme_format(const struct secure_disk *d, unsigned namespace, unsigned settings,
			GError **error)
{
	struct nvme_admin_cmd command = {
		.opcode = NVME_FORMAT,
		.nsid = namespace,
		.cdw10 = settings,
		.timeout_ms = NVME_FORMAT_TIME,
	};
	int status = d->call(d->fd, NVME_IOCTL_ADMIN_CMD, &command);

	if (status < 0)
		return inox_error_set_errno(error, errno, "format %s", d->name);
	return status == 0 ||
	       inox_error_set(error, INOX_ERROR_IO, "%s could not be formatted: NVMe status 0x%x",
			      d->name, (unsigned)status);
}

bool secure_erase_nvme(const struct secure_disk *d, GError **error)
{
	uint8_t controller[NVME_PAGE] = {0}, own[NVME_PAGE] = {0};
	int namespace = d->call(d->fd, NVME_IOCTL_ID, NULL);

	if (namespace <= 0)
		return inox_error_set_errno(error, namespace < 0 ? errno : EIO,
					    "ask %s for its namespace", d->name);
	if (!nvme_identify(d, 0, NVME_CONTROLLER, controller, error) ||
	    !nvme_identify(d, (unsigned)namespace, NVME_THIS_NAMESPACE, own, error))
		return false;
	if (!(controller[NVME_OACS] & NVME_OACS_FORMAT))
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "%s cannot be formatted: its controller has no such command",
				      d->name);
	if ((controller[NVME_FNA] & NVME_FNA_EVERYONE) && !d->alone)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED,
				      "%s is not formatted: its controller would erase its other "
				      "namespaces, too",
				      d->name);
	unsigned erase =
		controller[NVME_FNA] & NVME_FNA_CRYPTO ? NVME_ERASE_CRYPTO : NVME_ERASE_USER_DATA;

	return nvme_format(d, (unsigned)namespace, nvme_same_format(own) | erase << 9, error);
}

/* ---- ATA */

#define ATA_SECTOR           512
#define ATA_PASS_THROUGH     0x85
#define ATA_IDENTIFY         0xec
#define ATA_SET_PASSWORD     0xf1
#define ATA_UNLOCK           0xf2
#define ATA_ERASE_PREPARE    0xf3
#define ATA_ERASE_UNIT       0xf4
#define ATA_DISABLE_PASSWORD 0xf6
#define ATA_COMMAND_TIME     MINUTE_MS
/* Words of IDENTIFY DEVICE, and bits there */
#define ATA_WORD_ERASE_TIME    89
#define ATA_WORD_ENHANCED_TIME 90
#define ATA_WORD_SECURITY      128
#define ATA_SUPPORTED          0x01
#define ATA_ENABLED            0x02
#define ATA_LOCKED             0x04
#define ATA_FROZEN             0x08
#define ATA_COUNT_EXPIRED      0x10
#define ATA_ENHANCED           0x20
/* The second word of ERASE UNIT's sector */
#define ATA_ERASE_ENHANCED 0x02

enum ata_direction { ATA_NO_DATA, ATA_TO_HOST, ATA_TO_DRIVE };

/* Protocol and flags of the pass-through, and sg's word for the direction */
static const struct {
	uint8_t protocol, flags;
	int direction;
} ata_ways[] = {
	[ATA_NO_DATA] = {3 << 1, 0x00, SG_DXFER_NONE},
	[ATA_TO_HOST] = {4 << 1, 0x0e, SG_DXFER_FROM_DEV},
	[ATA_TO_DRIVE] = {5 << 1, 0x06, SG_DXFER_TO_DEV},
};

/* One command, with one sector or none.  False if the drive or a layer before it refused. */
static bool ata_command(const struct secure_disk *d, uint8_t command, enum ata_direction way,
			uint8_t *sector, unsigned timeout_ms)
{
	uint8_t cdb[16] = {ATA_PASS_THROUGH, ata_ways[way].protocol, ata_ways[way].flags};
	uint8_t sense[32] = {0};
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = ata_ways[way].direction,
		.cmd_len = sizeof(cdb),
		.mx_sb_len = sizeof(sense),
		.dxfer_len = way == ATA_NO_DATA ? 0 : ATA_SECTOR,
		.dxferp = way == ATA_NO_DATA ? NULL : sector,
		.cmdp = cdb,
		.sbp = sense,
		.timeout = timeout_ms,
	};

	cdb[6] = way == ATA_NO_DATA ? 0 : 1; /* sectors */
	cdb[14] = command;
	return d->call(d->fd, SG_IO, &io) == 0 && io.status == 0 && io.host_status == 0 &&
	       io.driver_status == 0;
}

struct ata_state {
	unsigned security;
	unsigned erase_minutes[2]; /* normal, enhanced; 0: the drive does not say */
};

static unsigned ata_word(const uint8_t *sector, unsigned i)
{
	return sector[2 * i] | (unsigned)sector[2 * i + 1] << 8;
}

/* Units of two minutes, in 8 bits, or in 15 when the highest bit is set. */
static unsigned ata_minutes(unsigned word)
{
	return 2 * (word & 0x8000 ? word & 0x7fff : word & 0xff);
}

static bool ata_identify(const struct secure_disk *d, struct ata_state *s)
{
	uint8_t sector[ATA_SECTOR] = {0};

	if (!ata_command(d, ATA_IDENTIFY, ATA_TO_HOST, sector, ATA_COMMAND_TIME))
		return false;
	s->security = ata_word(sector, ATA_WORD_SECURITY);
	s->erase_minutes[0] = ata_minutes(ata_word(sector, ATA_WORD_ERASE_TIME));
	s->erase_minutes[1] = ata_minutes(ata_word(sector, ATA_WORD_ENHANCED_TIME));
	return true;
}

/* A command that shows the password.  It is all zeros, as that of every tool that erases: a drive that is left
 * locked by a power cut can be opened again. */
static bool ata_with_password(const struct secure_disk *d, uint8_t command, uint8_t flags,
			      unsigned timeout_ms)
{
	uint8_t sector[ATA_SECTOR] = {flags};

	return ata_command(d, command, ATA_TO_DRIVE, sector, timeout_ms);
}

/* A password of an erase that was cut off is taken away; that of somebody else stays. */
static bool ata_open(const struct secure_disk *d, struct ata_state *s, GError **error)
{
	if (s->security & (ATA_FROZEN | ATA_COUNT_EXPIRED))
		return inox_error_set(error, INOX_ERROR_BUSY,
				      "%s cannot erase itself: its security is frozen until the "
				      "next power cycle",
				      d->name);
	if (!(s->security & ATA_ENABLED))
		return true;
	if (s->security & ATA_LOCKED)
		(void)ata_with_password(d, ATA_UNLOCK, 0, ATA_COMMAND_TIME);
	(void)ata_with_password(d, ATA_DISABLE_PASSWORD, 0, ATA_COMMAND_TIME);
	if (ata_identify(d, s) && !(s->security & ATA_ENABLED))
		return true;
	return inox_error_set(error, INOX_ERROR_DENIED,
			      "%s cannot erase itself: it is locked with a password", d->name);
}

static bool ata_erase(const struct secure_disk *d, const struct ata_state *s)
{
	bool enhanced = (s->security & ATA_ENHANCED) != 0;
	unsigned minutes = s->erase_minutes[enhanced];

	/* What the drive says, with as much again; without a word 24 hours. */
	minutes = minutes > 0 ? 2 * minutes + 30 : 24 * 60;
	return ata_command(d, ATA_ERASE_PREPARE, ATA_NO_DATA, NULL, ATA_COMMAND_TIME) &&
	       ata_with_password(d, ATA_ERASE_UNIT, enhanced ? ATA_ERASE_ENHANCED : 0,
				 minutes * MINUTE_MS);
}

bool secure_erase_ata(const struct secure_disk *d, bool *ret_done, GError **error)
{
	struct ata_state s = {.security = 0};

	if (!ata_identify(d, &s) || !(s.security & ATA_SUPPORTED)) {
		*ret_done = false;
		return true;
	}
	if (!ata_open(d, &s, error))
		return false;
	if (!ata_with_password(d, ATA_SET_PASSWORD, 0, ATA_COMMAND_TIME))
		return inox_error_set(error, INOX_ERROR_IO,
				      "%s did not take the password that its erase needs", d->name);
	bool erased = ata_erase(d, &s);

	/* The end of the erase takes the password away; a failed one leaves it. */
	if (!ata_identify(d, &s) || (s.security & ATA_ENABLED))
		(void)ata_with_password(d, ATA_DISABLE_PASSWORD, 0, ATA_COMMAND_TIME);
	if (!erased || (s.security & ATA_ENABLED))
		return inox_error_set(error, INOX_ERROR_IO, "%s did not erase itself", d->name);
	*ret_done = true;
	return true;
}
