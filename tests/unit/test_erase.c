#include "erase.h"
#include "image_fixture.h"
#include "jsons.h"

#define DISK_SIZE (16 * MIB)

static char *disk_path(const char *root, const char *name)
{
	return g_build_filename(root, "dev", name, NULL);
}

/* A disk full of old bytes, with a GPT of one partition that ends 4 MiB before the disk does. */
static void add_disk(const char *root, const char *name, bool read_only)
{
	g_autofree char *size = g_strdup_printf("sys/block/%s/size", name);
	g_autofree char *ro = g_strdup_printf("sys/block/%s/ro", name);
	g_autofree char *serial = g_strdup_printf("sys/block/%s/serial", name);
	g_autofree char *device = g_strdup_printf("dev/%s", name);
	g_autofree char *sectors = g_strdup_printf("%d\n", DISK_SIZE / 512);
	g_autofree uint8_t *bytes = g_malloc(DISK_SIZE);

	memset(bytes, 0xaa, DISK_SIZE);
	memset(bytes, 0, MIB);
	fixture_gpt(bytes, DISK_SIZE - 3 * MIB, 512);
	fixture_write(root, device, bytes, DISK_SIZE);
	fixture_text(root, size, sectors);
	fixture_text(root, ro, read_only ? "1\n" : "0\n");
	fixture_text(root, serial, name);
}

static bool is_zero(const uint8_t *bytes, size_t start, size_t end)
{
	for (size_t i = start; i < end; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Which MiB of the disk hold only zeros: '0', the others '#'. */
static char *disk_map(const char *root, const char *name)
{
	g_autofree char *path = disk_path(root, name);
	size_t size;
	g_autofree uint8_t *bytes = fixture_read(path, &size);
	GString *map = g_string_new(NULL);

	g_assert_cmpuint(size, ==, DISK_SIZE);
	for (size_t at = 0; at < size; at += MIB)
		g_string_append_c(map, is_zero(bytes, at, at + MIB) ? '0' : '#');
	return g_string_free(map, FALSE);
}

static void assert_map(const char *root, const char *name, const char *expected)
{
	g_autofree char *map = disk_map(root, name);

	g_assert_cmpstr(map, ==, expected);
}

#define UNTOUCHED "################"
#define METADATA  "00#########0###0" /* head, first and last MiB of the partition, tail */
#define ERASED    "0000000000000000"

typedef json_t *(*erase_fn)(struct command_context *, const json_t *, const json_t *,
			    struct agent_error *);

/* The step's result as text, or "type: details". */
static char *erase(erase_fn fn, const char *root, const char *node_text)
{
	g_autoptr(command_context) context = command_context_new(root);
	g_autoptr(json_t) args = json_object();
	g_autoptr(json_t) node =
		json_parse_limited(node_text, strlen(node_text), 65536, "node", NULL);
	g_auto(agent_error) error = {.type = NULL};

	g_assert_nonnull(node);
	g_autoptr(json_t) result = fn(context, args, node, &error);

	g_assert_true(!result == !!error.type);
	if (error.type)
		return g_strdup_printf("%s: %s", error.type, error.details);
	return json_dumps(result, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void assert_erased(erase_fn fn, const char *root, const char *node, const char *expected)
{
	char *result = erase(fn, root, node);

	g_assert_cmpstr(result, ==, expected);
	free(result);
}

static void test_metadata(void)
{
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", false);
	add_disk(root, "vdb", true);
	assert_erased(step_erase_devices_metadata, root, "{}", "null");
	assert_map(root, "vda", METADATA);
	/* Nothing could be written there anyway. */
	g_autofree char *map = disk_map(root, "vdb");

	g_assert_cmpstr(map, !=, METADATA);
	fixture_remove(root);
}

static void test_known_partitions(void)
{
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", false);
	fixture_text(root, "sys/block/vda/vda5/partition", "5\n");
	fixture_text(root, "sys/block/vda/vda5/start", "10240\n");
	fixture_text(root, "sys/block/vda/vda5/size", "4096\n");
	fixture_text(root, "sys/block/vda/vda6/partition", "6\n");
	fixture_text(root, "sys/block/vda/vda6/start", "999999999\n");
	fixture_text(root, "sys/block/vda/vda6/size", "8\n");
	assert_erased(step_erase_devices_metadata, root, "{}", "null");
	assert_map(root, "vda", "00###00####0###0");
	fixture_remove(root);
}

static void test_whole(void)
{
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", false);
	add_disk(root, "vdb", false);
	assert_erased(step_erase_devices, root, "{}", "{\"/dev/vda\":null,\"/dev/vdb\":null}");
	assert_map(root, "vda", ERASED);
	assert_map(root, "vdb", ERASED);
	fixture_remove(root);
}

static void test_progress(void)
{
	g_autofree char *root = fixture_folder();
	g_autoptr(command_context) context = command_context_new(root);
	g_autoptr(json_t) nothing = json_object();
	g_auto(agent_error) error = {.type = NULL};
	const char *phase;
	uint64_t done, total;

	add_disk(root, "vda", false);
	g_autoptr(json_t) result = step_erase_devices(context, nothing, nothing, &error);

	g_assert_nonnull(result);
	command_context_read_progress(context, &phase, &done, &total);
	g_assert_cmpstr(phase, ==, "erase");
	/* a pass with random bytes and one with zeros */
	g_assert_cmpuint(done, ==, 2 * DISK_SIZE);
	g_assert_cmpuint(total, ==, 2 * DISK_SIZE);
	fixture_remove(root);
}

#define RANDOM     "0##############0" /* the edges are zeros all the same */
#define NODE(more) "{\"driver_internal_info\": {" more "}}"

static void test_random_only(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *path = disk_path(root, "vda");

	add_disk(root, "vda", false);
	assert_erased(step_erase_devices, root,
		      NODE("\"agent_erase_devices_iterations\": 2, "
			   "\"agent_erase_devices_zeroize\": false"),
		      "{\"/dev/vda\":null}");
	assert_map(root, "vda", RANDOM);
	g_autofree uint8_t *bytes = fixture_read(path, &(size_t){0});

	for (size_t at = MIB; at < DISK_SIZE - MIB; at += MIB / 2)
		g_assert_true(memcmp(bytes + at, "\xaa\xaa\xaa\xaa", 4) != 0 &&
			      memcmp(bytes + at, bytes + at + 64, 64) != 0);
	fixture_remove(root);
}

/* A file cannot format itself, as a broken NVMe disk. */
static void test_secure_erase_fails(void)
{
	g_autofree char *root = fixture_folder();

	add_disk(root, "nvme0n1", false);
	char *result = erase(step_erase_devices, root, "{}");

	g_assert_true(g_str_has_prefix(result, "BlockDeviceEraseError: "));
	g_assert_nonnull(strstr(result, "/dev/nvme0n1"));
	g_free(result);
	assert_erased(step_erase_devices, root,
		      NODE("\"agent_continue_if_secure_erase_failed\": true"),
		      "{\"/dev/nvme0n1\":null}");
	assert_map(root, "nvme0n1", ERASED);
	assert_erased(step_erase_devices, root, NODE("\"agent_enable_nvme_secure_erase\": false"),
		      "{\"/dev/nvme0n1\":null}");
	result = erase(step_erase_devices, root, NODE("\"agent_erase_devices_zeroize\": 7"));
	g_assert_true(g_str_has_prefix(result, "InvalidCommandParamsError: "));
	g_free(result);
	fixture_remove(root);
}

static void test_skip_list(void)
{
	static const char node[] =
		"{\"properties\": {\"skip_block_devices\": [{\"serial\": \"vdb\"}]}}";
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", false);
	add_disk(root, "vdb", false);
	g_autofree char *before = disk_map(root, "vdb");

	assert_erased(step_erase_devices, root, node, "{\"/dev/vda\":null}");
	assert_erased(step_erase_devices_metadata, root, node, "null");
	assert_map(root, "vdb", before);
	fixture_remove(root);
}

/* A list that cannot be read may be the only thing between a shared disk and its end. */
static void test_bad_skip_list(void)
{
	static const char *const nodes[] = {
		"{\"properties\": {\"skip_block_devices\": \"all\"}}",
		"{\"properties\": {\"skip_block_devices\": [{\"sreial\": \"vdb\"}]}}",
		"{\"properties\": {\"skip_block_devices\": [7]}}",
	};
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", false);
	g_autofree char *before = disk_map(root, "vda");

	for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
		g_autofree char *result = erase(step_erase_devices_metadata, root, nodes[i]);

		g_assert_true(g_str_has_prefix(result, "InvalidCommandParamsError: "));
		g_assert_nonnull(strstr(result, "skip_block_devices"));
	}
	assert_map(root, "vda", before);
	fixture_remove(root);
}

static void test_read_only(void)
{
	g_autofree char *root = fixture_folder();

	add_disk(root, "vda", true);
	add_disk(root, "vdb", false);
	assert_erased(step_erase_devices, root, "{}",
		      "BlockDeviceEraseError: the disk /dev/vda is read-only");
	/* The others are erased all the same. */
	assert_map(root, "vdb", ERASED);
	assert_erased(step_erase_devices, root,
		      "{\"driver_internal_info\": {\"agent_erase_skip_read_only\": true}}",
		      "{\"/dev/vdb\":null}");
	fixture_remove(root);
}

static void test_failing_disk(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *gone = disk_path(root, "vda");

	add_disk(root, "vda", false);
	add_disk(root, "vdb", false);
	g_unlink(gone);
	char *result = erase(step_erase_devices_metadata, root, "{}");

	g_assert_true(g_str_has_prefix(result, "BlockDeviceEraseError: "));
	g_assert_nonnull(strstr(result, "/dev/vda"));
	g_assert_null(strstr(result, "/dev/vdb"));
	assert_map(root, "vdb", METADATA);
	free(result);
	fixture_remove(root);
}

static void test_no_disk(void)
{
	g_autofree char *root = fixture_folder();

	fixture_text(root, "sys/block/ram0/size", "8\n");
	assert_erased(step_erase_devices, root, "{}",
		      "DeviceNotFound: the machine has no disk to erase");
	fixture_remove(root);
}

static void test_virtual_floppy(void)
{
	g_autofree char *root = fixture_folder();
	g_autofree char *folder = g_build_filename(root, "dev/disk/by-label", NULL);
	g_autofree char *link = g_build_filename(folder, "ir-vfd-dev", NULL);

	add_disk(root, "vda", false);
	add_disk(root, "vdb", false);
	g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
	g_assert_cmpint(symlink("../../vdb", link), ==, 0);
	assert_erased(step_erase_devices, root, "{}", "{\"/dev/vda\":null}");
	fixture_remove(root);
}

static void test_cancelled(void)
{
	g_autofree char *root = fixture_folder();
	g_autoptr(command_context) context = command_context_new(root);
	g_autoptr(json_t) nothing = json_object();
	g_auto(agent_error) error = {.type = NULL};

	add_disk(root, "vda", false);
	command_context_cancel(context);
	g_assert_null(step_erase_devices(context, nothing, nothing, &error));
	g_assert_cmpstr(error.type, ==, "BlockDeviceEraseError");
	fixture_remove(root);
}

#define CASE(name, fn) g_test_add_func("/erase/" name, fn)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	CASE("metadata: both ends of disk and partitions become zeros", test_metadata);
	CASE("metadata: partitions that only the kernel knows are wiped, too",
	     test_known_partitions);
	CASE("every byte of every disk reads as zero", test_whole);
	CASE("progress ends at the size of the disks", test_progress);
	CASE("random passes without zeros leave nothing that boots", test_random_only);
	CASE("a disk that cannot erase itself is overwritten if that was asked for",
	     test_secure_erase_fails);
	CASE("disks of the skip list are left alone", test_skip_list);
	CASE("a skip list that cannot be read wipes nothing", test_bad_skip_list);
	CASE("a read-only disk is an error, unless it may be skipped", test_read_only);
	CASE("a disk that fails is named, and the others are wiped", test_failing_disk);
	CASE("a machine without disks is no success", test_no_disk);
	CASE("the virtual floppy of the BMC is left alone", test_virtual_floppy);
	CASE("an agent that ends gives up", test_cancelled);
	return g_test_run();
}
