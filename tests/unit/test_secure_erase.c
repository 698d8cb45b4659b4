/* Pretended drives: what they are told is written down, one letter per command. */
#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "erase_options.h"
#include "errors.h"
#include "jsons.h"
#include "secure_erase.h"

static struct drive {
	GString *heard;
	/* NVMe */
	uint8_t oacs, fna, flbas, dps;
	int format_status;
	unsigned format; /* what the format command asked for */
	/* ATA */
	bool none, enabled, locked, frozen, supported, enhanced;
	bool foreign; /* the password is somebody's */
	bool fails;   /* the erase ends with an error */
	bool lies;    /* it ends well, and the password is still there */
	bool prepared;
	uint8_t erase_flags;
	unsigned erase_timeout;
} drive;

static void start_drive(void)
{
	if (drive.heard)
		g_string_free(drive.heard, TRUE);
	drive = (struct drive){.heard = g_string_new(NULL), .oacs = 2, .supported = true};
}

static int hear_nvme(struct nvme_admin_cmd *c)
{
	uint8_t *page = (uint8_t *)(uintptr_t)c->addr;

	if (c->opcode == 0x80) {
		g_string_append_c(drive.heard, 'F');
		g_assert_cmpuint(c->nsid, ==, 7);
		drive.format = c->cdw10;
		return drive.format_status;
	}
	g_assert_cmpuint(c->opcode, ==, 0x06);
	g_assert_cmpuint(c->data_len, ==, 4096);
	g_string_append_c(drive.heard, c->cdw10 == 1 ? 'C' : 'N');
	if (c->cdw10 == 1) {
		page[256] = drive.oacs;
		page[524] = drive.fna;
	} else {
		g_assert_cmpuint(c->nsid, ==, 7);
		page[26] = drive.flbas;
		page[29] = drive.dps;
	}
	return 0;
}

static void put_word(uint8_t *sector, unsigned i, unsigned value)
{
	sector[2 * i] = (uint8_t)value;
	sector[2 * i + 1] = (uint8_t)(value >> 8);
}

static void identify(uint8_t *sector)
{
	put_word(sector, 89, 10);
	put_word(sector, 90, 0x8000 | 600);
	put_word(sector, 128,
		 drive.supported | (unsigned)drive.enabled << 1 | (unsigned)drive.locked << 2 |
			 (unsigned)drive.frozen << 3 | (unsigned)drive.enhanced << 5);
}

/* True if the drive takes the command. */
static bool hear_ata(uint8_t command, uint8_t *sector, unsigned timeout)
{
	for (unsigned i = 1; sector && command != 0xec && i < 512; i++)
		g_assert_cmpuint(sector[i], ==, 0);
	switch (command) {
	case 0xec:
		g_string_append_c(drive.heard, 'I');
		identify(sector);
		return true;
	case 0xf1:
		g_string_append_c(drive.heard, 'P');
		drive.enabled = true;
		return true;
	case 0xf2:
		g_string_append_c(drive.heard, 'U');
		drive.locked = drive.foreign;
		return !drive.foreign;
	case 0xf3:
		g_string_append_c(drive.heard, 'p');
		drive.prepared = true;
		return true;
	case 0xf4:
		g_string_append_c(drive.heard, 'E');
		g_assert_true(drive.prepared && drive.enabled);
		drive.erase_flags = sector[0];
		drive.erase_timeout = timeout;
		drive.enabled = drive.fails || drive.lies;
		return !drive.fails;
	case 0xf6:
		g_string_append_c(drive.heard, 'D');
		drive.enabled = drive.foreign || drive.lies;
		return !drive.enabled;
	default: g_assert_not_reached();
	}
}

static int hear_sg(unsigned long request, struct sg_io_hdr *io)
{
	g_assert_true(request == SG_IO);
	g_assert_cmpuint(io->cmdp[0], ==, 0x85);
	if (drive.none) {
		errno = ENOTTY;
		return -1;
	}
	io->status = hear_ata(io->cmdp[14], io->dxferp, io->timeout) ? 0 : 2;
	return 0;
}

static int hear(int fd, unsigned long request, void *argument)
{
	g_assert_cmpint(fd, ==, 42);
	if (request == (unsigned long)NVME_IOCTL_ID)
		return 7;
	if (request == (unsigned long)NVME_IOCTL_ADMIN_CMD)
		return hear_nvme(argument);
	return hear_sg(request, argument);
}

static const struct secure_disk disk = {.fd = 42, .name = "/dev/d", .alone = true, .call = hear};
static const struct secure_disk shared = {.fd = 42, .name = "/dev/d", .call = hear};

/* ---- NVMe */

static void test_nvme(void)
{
	start_drive();
	g_assert_true(secure_erase_nvme(&disk, NULL));
	g_assert_cmpstr(drive.heard->str, ==, "CNF");
	g_assert_cmphex(drive.format, ==, 1 << 9);
	/* Cryptographic where it can be had, with the format that the disk has. */
	start_drive();
	drive.fna = 0x04;
	drive.flbas = 0x13;
	drive.dps = 0x0a;
	g_assert_true(secure_erase_nvme(&disk, NULL));
	g_assert_cmphex(drive.format, ==, 2 << 9 | 1 << 8 | 2 << 5 | 1 << 4 | 3);
}

static void assert_nvme_refused(const struct secure_disk *d, enum inox_error code,
				const char *heard)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(secure_erase_nvme(d, &error));
	g_assert_error(error, INOX_ERROR, (int)code);
	g_assert_nonnull(strstr(error->message, "/dev/d"));
	g_assert_cmpstr(drive.heard->str, ==, heard);
}

static void test_nvme_refusals(void)
{
	start_drive();
	drive.oacs = 0;
	assert_nvme_refused(&disk, INOX_ERROR_UNSUPPORTED, "CN");
	start_drive();
	drive.format_status = 0x2002;
	assert_nvme_refused(&disk, INOX_ERROR_IO, "CNF");
	/* The other namespaces may be somebody's. */
	start_drive();
	drive.fna = 0x02;
	assert_nvme_refused(&shared, INOX_ERROR_UNSUPPORTED, "CN");
	g_assert_true(secure_erase_nvme(&disk, NULL));
}

/* ---- ATA */

static bool erase_ata(const char *heard)
{
	bool done = false;

	g_assert_true(secure_erase_ata(&disk, &done, NULL));
	g_assert_cmpstr(drive.heard->str, ==, heard);
	return done;
}

static void test_ata(void)
{
	start_drive();
	g_assert_true(erase_ata("IPpEI"));
	g_assert_cmpuint(drive.erase_flags, ==, 0);
	g_assert_cmpuint(drive.erase_timeout, ==, (2 * 20 + 30) * 60000);
	start_drive();
	drive.enhanced = true;
	g_assert_true(erase_ata("IPpEI"));
	g_assert_cmpuint(drive.erase_flags, ==, 2);
	g_assert_cmpuint(drive.erase_timeout, ==, (2 * 1200 + 30) * 60000);
}

static void test_ata_absent(void)
{
	start_drive();
	drive.supported = false;
	g_assert_false(erase_ata("I"));
	start_drive();
	drive.none = true;
	g_assert_false(erase_ata(""));
}

/* An erase that a power cut ended leaves its password, which is known. */
static void test_ata_again(void)
{
	start_drive();
	drive.enabled = drive.locked = true;
	g_assert_true(erase_ata("IUDIPpEI"));
}

static void assert_ata_refused(enum inox_error code, const char *heard)
{
	g_autoptr(GError) error = NULL;
	bool done = false;

	g_assert_false(secure_erase_ata(&disk, &done, &error));
	g_assert_error(error, INOX_ERROR, (int)code);
	g_assert_cmpstr(drive.heard->str, ==, heard);
	g_assert_false(done);
}

static void test_ata_refusals(void)
{
	start_drive();
	drive.frozen = true;
	assert_ata_refused(INOX_ERROR_BUSY, "I");
	start_drive();
	drive.enabled = drive.locked = drive.foreign = true;
	assert_ata_refused(INOX_ERROR_DENIED, "IUDI");
	/* The password of a failed erase is taken away: nobody is locked out. */
	start_drive();
	drive.fails = true;
	assert_ata_refused(INOX_ERROR_IO, "IPpEID");
	g_assert_false(drive.enabled);
	start_drive();
	drive.lies = true;
	assert_ata_refused(INOX_ERROR_IO, "IPpEID");
}

/* ---- options */

static bool read_options(const char *text, struct erase_options *o, GError **error)
{
	g_autofree char *node = g_strdup_printf("{\"driver_internal_info\": %s}", text);
	g_autoptr(json_t) json = json_parse_limited(node, strlen(node), 4096, "node", NULL);

	return erase_options_read(json, o, error);
}

static void test_options(void)
{
	static const char *const bad[] = {
		"{\"agent_erase_devices_iterations\": -1}",
		"{\"agent_erase_devices_iterations\": 65}",
		"{\"agent_erase_devices_iterations\": \"1\"}",
		"{\"agent_erase_devices_zeroize\": 1}",
		"{\"agent_erase_devices_iterations\": 0, \"agent_erase_devices_zeroize\": false}",
	};
	struct erase_options o;

	g_assert_true(read_options("null", &o, NULL));
	g_assert_true(o.iterations == 1 && o.zeroize && o.nvme && o.ata && !o.go_on &&
		      !o.skip_read_only);
	g_assert_true(read_options("{\"agent_erase_devices_iterations\": 3, "
				   "\"agent_erase_devices_zeroize\": false, "
				   "\"agent_enable_nvme_secure_erase\": false, "
				   "\"agent_enable_ata_secure_erase\": false, "
				   "\"agent_continue_if_ata_erase_failed\": true, "
				   "\"agent_erase_skip_read_only\": true}",
				   &o, NULL));
	g_assert_true(o.iterations == 3 && !o.zeroize && !o.nvme && !o.ata && o.go_on &&
		      o.skip_read_only);
	g_assert_true(read_options("{\"agent_continue_if_secure_erase_failed\": false, "
				   "\"agent_continue_if_ata_erase_failed\": true}",
				   &o, NULL));
	g_assert_false(o.go_on);
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(read_options(bad[i], &o, &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

#define CASE(name, fn) g_test_add_func("/secure-erase/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("nvme: a namespace is formatted as it is", test_nvme);
	CASE("nvme: what the controller cannot, or would do to others, is refused",
	     test_nvme_refusals);
	CASE("ata: password, prepare, erase, and the password is gone", test_ata);
	CASE("ata: a drive without the command is left alone", test_ata_absent);
	CASE("ata: an erase that was cut off can be done again", test_ata_again);
	CASE("ata: a frozen, locked or failing drive is named, and not left locked",
	     test_ata_refusals);
	CASE("options: the stock agent's defaults, and no wrong types", test_options);
	int status = g_test_run();

	if (drive.heard)
		g_string_free(drive.heard, TRUE);
	return status;
}
