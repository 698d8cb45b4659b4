#include "image_fixture.h"

#include "disk.h"
#include "errors.h"
#include "hints.h"
#include "jsons.h"

#define GIB (1ULL << 30)

static struct disk example(void)
{
	return (struct disk){
		.name = (char *)(uintptr_t) "/dev/sda",
		.kernel = (char *)(uintptr_t) "sda",
		.size = 100 * GIB,
		.rotational = true,
		.model = (char *)(uintptr_t) "Samsung SSD 860",
		.vendor = (char *)(uintptr_t) "ATA",
		.serial = (char *)(uintptr_t) "S3Z9NB0K",
		.serial_long = (char *)(uintptr_t) "Samsung_SSD_860_S3Z9NB0K",
		.wwn = (char *)(uintptr_t) "0x5002538e40a1b2c3",
		.hctl = (char *)(uintptr_t) "0:0:0:0",
		.by_path = (char *)(uintptr_t) "/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0",
		.tran = (char *)(uintptr_t) "sata",
	};
}

static json_t *parse(const char *text)
{
	g_autoptr(GError) error = NULL;
	json_t *value = json_parse_limited(text, strlen(text), 10000, "hints", &error);

	g_assert_no_error(error);
	return value;
}

static const struct {
	const char *hints;
	bool matches;
} table[] = {
	{"{'size': 100}", true},
	{"{'size': 99}", false},
	{"{'size': '100'}", true},
	{"{'size': '== 100'}", true},
	{"{'size': '!= 100'}", false},
	{"{'size': '>= 100'}", true},
	{"{'size': '>=100'}", true},
	{"{'size': '= 50'}", true},
	{"{'size': '= 101'}", false},
	{"{'size': '> 100'}", false},
	{"{'size': '< 101'}", true},
	{"{'size': '<= 99'}", false},
	{"{'size': '<or> 50 <or> 100'}", true},
	{"{'size': '<or> 50 <or> 60'}", false},
	{"{'model': 'samsung ssd 860'}", true},
	{"{'model': '  SAMSUNG SSD 860 '}", true},
	{"{'model': 'samsung'}", false},
	{"{'model': '<in> ssd 8'}", true},
	{"{'model': '<in> ssd8'}", false},
	{"{'model': '<all-in> samsung 860'}", true},
	{"{'model': '<all-in> samsung 870'}", false},
	{"{'model': 's== samsung ssd 860'}", true},
	{"{'model': 's!= samsung ssd 860'}", false},
	{"{'model': 's> samsung ssd 85'}", true},
	{"{'model': 's< samsung ssd 85'}", false},
	{"{'vendor': 'ata'}", true},
	{"{'name': '/dev/sda'}", true},
	{"{'name': '<or> /dev/sdb <or> /dev/sda'}", true},
	{"{'name': '<or> /dev/sdb <or> /dev/sdc'}", false},
	{"{'name': 's== /dev/sdb'}", false},
	{"{'serial': 's3z9nb0k'}", true},
	{"{'serial': 'samsung_ssd_860_s3z9nb0k'}", true},
	{"{'serial': 'other'}", false},
	{"{'wwn': '0x5002538E40A1B2C3'}", true},
	{"{'wwn_with_extension': '0x5002538e40a1b2c3'}", false},
	{"{'wwn_with_extension': 'none'}", true},
	{"{'hctl': '0:0:0:0'}", true},
	{"{'hctl': '<in> :0:0'}", true},
	{"{'by_path': '/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0'}", true},
	{"{'tran': 'nvme'}", false},
	{"{'rotational': true}", true},
	{"{'rotational': 'yes'}", true},
	{"{'rotational': 'false'}", false},
	{"{'rotational': 0}", false},
	{"{'size': '>= 50', 'vendor': 'ata'}", true},
	{"{'size': '>= 50', 'vendor': 'dell'}", false},
};

static void test_table(void)
{
	struct disk d = example();

	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autofree char *text = g_strdelimit(g_strdup(table[i].hints), "'", '"');
		g_autoptr(json_t) hints = parse(text);
		g_autoptr(GError) error = NULL;

		if (!hints_check(hints, &error))
			g_error("%s: %s", table[i].hints, error->message);
		if (hints_match(hints, &d) != table[i].matches)
			g_error("%s gives %d", table[i].hints, !table[i].matches);
	}
}

static void test_invalid(void)
{
	static const char *const bad[] = {"{\"colour\": \"red\"}",  "{\"size\": 0}",
					  "{\"size\": \"ten\"}",    "{\"size\": -5}",
					  "{\"size\": \">= 1.5\"}", "{\"model\": 5}",
					  "{\"model\": \"\"}",      "{\"rotational\": \"maybe\"}",
					  "{\"size\": true}",       "[]"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(json_t) hints = parse(bad[i]);
		g_autoptr(GError) error = NULL;

		if (hints_check(hints, &error))
			g_error("%s was accepted", bad[i]);
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
	}
}

/* ---- disks from a folder that plays /sys */

static void add_disk(const char *root, const char *name, uint64_t size)
{
	g_autofree char *sectors = g_strdup_printf("%" G_GUINT64_FORMAT "\n", size / 512);
	g_autofree char *file = g_strdup_printf("sys/block/%s/size", name);

	fixture_text(root, file, sectors);
}

static void test_choice(void)
{
	g_autofree char *root = fixture_folder();
	g_autoptr(GError) error = NULL;

	add_disk(root, "sdb", 100 * GIB);
	add_disk(root, "sda", 200 * GIB);
	add_disk(root, "sdc", 3 * GIB);
	add_disk(root, "sdd", 50 * GIB);
	fixture_text(root, "sys/block/sdd/removable", "1\n");
	add_disk(root, "sde", 40 * GIB);
	fixture_text(root, "sys/block/sde/ro", "1\n");
	add_disk(root, "zram0", 10 * GIB);
	add_disk(root, "sr0", 10 * GIB);
	add_disk(root, "sdf", 0);
	add_disk(root, "dm-0", 10 * GIB);

	g_autoptr(GPtrArray) disks = disk_list(root, &error);

	g_assert_no_error(error);
	g_assert_cmpuint(disks->len, ==, 5);
	g_assert_cmpstr(((struct disk *)disks->pdata[0])->name, ==, "/dev/sda");
	g_assert_cmpstr(hints_choose(NULL, disks, NULL)->name, ==, "/dev/sdb");
	g_autoptr(json_t) large = parse("{\"size\": \">= 100\"}");
	g_assert_cmpstr(hints_choose(large, disks, NULL)->name, ==, "/dev/sda");
	g_autoptr(json_t) stick = parse("{\"size\": 50}");
	g_assert_cmpstr(hints_choose(stick, disks, NULL)->name, ==, "/dev/sdd");
	g_autoptr(json_t) locked = parse("{\"size\": 40}");
	g_assert_null(hints_choose(locked, disks, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	g_assert_nonnull(strstr(error->message, "{\"size\": 40}"));
	g_assert_nonnull(strstr(error->message, "/dev/sda (214.7 GB), /dev/sdb (107.4 GB)"));
	fixture_remove(root);
}

static void test_identity(void)
{
	static const char pg80[] = "\x00\x80\x00\x0a  WD-1234  ";
	const char *device = "sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0";
	g_autofree char *root = fixture_folder();
	const struct {
		const char *name, *text;
	} files[] = {
		{"block/sda/size", "8388608\n"},
		{"block/sda/dev", "8:0\n"},
		{"block/sda/queue/rotational", "1\n"},
		{"block/sda/queue/logical_block_size", "4096\n"},
		{"model", "WDC WD40EFRX-68N\n"},
		{"vendor", "ATA     \n"},
		{"wwid", "naa.600508b1001c16b4e0e1d5a3f1c0ffee\n"},
		{"scsi_device/2:0:0:0/x", ""},
		{"../../../ata_port/ata3/port_no", "1\n"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *name = g_build_filename(device, files[i].name, NULL);

		fixture_text(root, name, files[i].text);
	}
	g_autofree char *page = g_build_filename(device, "vpd_pg80", NULL);
	g_autofree char *links = g_strdup_printf(
		"cd '%s' && mkdir -p sys/block sys/bus && cd sys/block && "
		"ln -s ../devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda . && "
		"cd sda/ && ln -s ../.. device && cd -P device && ln -s ../x/scsi subsystem && "
		"cd ../../../.. && ln -s ../x/pci subsystem",
		root);
	const char *const argv[] = {"sh", "-c", links, NULL};
	int status;

	fixture_write(root, page, pg80, sizeof(pg80) - 1);
	g_assert_true(g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
				   NULL, NULL, NULL, &status, NULL));
	g_assert_cmpint(status, ==, 0);

	g_autoptr(GPtrArray) disks = disk_list(root, NULL);
	g_assert_cmpuint(disks->len, ==, 1);
	const struct disk *d = disks->pdata[0];

	g_assert_cmpstr(d->serial, ==, "WD-1234");
	g_assert_cmpstr(d->model, ==, "WDC WD40EFRX-68N");
	g_assert_cmpstr(d->vendor, ==, "ATA");
	g_assert_cmpstr(d->wwn, ==, "0x600508b1001c16b4");
	g_assert_cmpstr(d->wwn_vendor_extension, ==, "0xe0e1d5a3f1c0ffee");
	g_assert_cmpstr(d->wwn_with_extension, ==, "0x600508b1001c16b4e0e1d5a3f1c0ffee");
	g_assert_cmpstr(d->hctl, ==, "2:0:0:0");
	g_assert_cmpstr(d->tran, ==, "sata");
	g_assert_cmpstr(d->by_path, ==, "/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0");
	g_assert_cmpuint(d->logical_sector, ==, 4096);
	g_assert_true(d->rotational);

	fixture_text(root, "run/udev/data/b8:0",
		     "S:disk/by-path/pci-x\nE:ID_SERIAL_SHORT=SHORT\nE:ID_SERIAL=LONG_SHORT\n");
	g_autoptr(GPtrArray) again = disk_list(root, NULL);
	d = again->pdata[0];
	g_assert_cmpstr(d->serial, ==, "SHORT");
	g_assert_cmpstr(d->serial_long, ==, "LONG_SHORT");
	g_assert_cmpstr(d->by_path, ==, "/dev/disk/by-path/pci-x");
	g_autoptr(json_t) shown = disk_json(d);
	g_assert_cmpstr(json_peek_string(shown, "name"), ==, "/dev/sda");
	g_assert_cmpint(json_peek_integer(shown, "size", 0), ==, 4294967296);
	fixture_remove(root);
}

static void test_node(void)
{
	g_autoptr(json_t) node = parse("{\"instance_info\": {\"root_device\": {\"size\": 1}},"
				       " \"properties\": {\"root_device\": {\"size\": 2}}}");
	g_autoptr(json_t) other = parse("{\"instance_info\": {}, \"properties\": {}}");

	g_assert_cmpint(json_peek_integer(hints_of_node(node), "size", 0), ==, 1);
	g_assert_null(hints_of_node(other));
	g_assert_null(hints_of_node(NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hints/each operator on each kind of hint", test_table);
	g_test_add_func("/hints/what is no hint is refused", test_invalid);
	g_test_add_func("/hints/without hints the smallest fixed disk of 4 GiB is chosen",
			test_choice);
	g_test_add_func("/hints/the instance's hints win over the node's", test_node);
	g_test_add_func("/disk/serial, names and path come from sysfs, or from udev",
			test_identity);
	return g_test_run();
}
