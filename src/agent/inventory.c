#include "inventory.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "disk.h"
#include "errors.h"

#define TEXT_MOST        (1024 * 1024) /* /proc/cpuinfo of a large machine */
#define DIMMS_MOST       256
#define DMI_MEMORY       17 /* SMBIOS structure type: memory device */
#define DMI_SIZE         0x0c
#define DMI_EXTENDED     0x1c
#define DMI_USE_EXTENDED 0x7fff
#define DMI_UNKNOWN      0xffff
#define DMI_IN_KIB       0x8000

/* Files of sysfs and procfs have no size to go by, so they are read up to a limit. */
static char *read_text(const char *path, size_t *ret_length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	GByteArray *bytes = g_byte_array_new();
	guint8 block[4096];
	ssize_t n = -1;

	while (fd >= 0 && bytes->len < TEXT_MOST && (n = read(fd, block, sizeof(block))) > 0)
		g_byte_array_append(bytes, block, (guint)n);
	if (fd >= 0)
		close(fd);
	if (n < 0 && bytes->len == 0) {
		g_byte_array_unref(bytes);
		return NULL;
	}
	if (ret_length)
		*ret_length = bytes->len;
	g_byte_array_append(bytes, (const guint8 *)"", 1);
	return (char *)g_byte_array_free(bytes, FALSE);
}

char *inventory_read(const char *root, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_autofree char *name = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_autofree char *path = g_build_filename(root, name, NULL);
	g_autofree char *text = read_text(path, NULL);

	/* Firmware fills such texts with whatever it likes. */
	return text ? g_utf8_make_valid(g_strstrip(text), -1) : NULL;
}

json_t *inventory_text(char *text)
{
	json_t *value = text ? json_string(text) : json_null();

	g_free(text);
	return value;
}

/* ---- processor */

struct cpus {
	int64_t count;
	GHashTable *sockets;
	char *model, *flags, *mhz;
};

static void take_once(char **slot, const char *value)
{
	if (!*slot)
		*slot = g_strdup(value);
}

/* One line "key<tab>: value" of /proc/cpuinfo; x86 says "flags", ARM "Features". */
static void take_cpu_line(struct cpus *c, const char *line)
{
	const char *colon = strchr(line, ':');

	if (!colon)
		return;
	g_autofree char *key = g_strndup(line, (gsize)(colon - line));
	g_autofree char *value = g_strstrip(g_strdup(colon + 1));

	g_strstrip(key);
	if (g_str_equal(key, "processor"))
		c->count++;
	else if (g_str_equal(key, "physical id"))
		g_hash_table_add(c->sockets, g_strdup(value));
	else if (g_str_equal(key, "model name"))
		take_once(&c->model, value);
	else if (g_str_equal(key, "flags") || g_str_equal(key, "Features"))
		take_once(&c->flags, value);
	else if (g_str_equal(key, "cpu MHz"))
		take_once(&c->mhz, value);
}

/* In MHz with four digits behind the point; "" if unknown. */
static char *cpu_frequency(const char *root, const char *mhz)
{
	g_autofree char *khz =
		inventory_read(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
	double value = khz ? g_ascii_strtod(khz, NULL) / 1000 : mhz ? g_ascii_strtod(mhz, NULL) : 0;
	char text[G_ASCII_DTOSTR_BUF_SIZE];

	return g_strdup(value > 0 ? g_ascii_formatd(text, sizeof(text), "%.4f", value) : "");
}

static json_t *cpu_flags(const char *text)
{
	json_t *flags = json_array();
	g_auto(GStrv) words = g_strsplit(text ? text : "", " ", -1);

	for (char **w = words; *w; w++)
		if (**w)
			json_array_append_new(flags, json_string(*w));
	return flags;
}

json_t *inventory_cpu(const char *root)
{
	g_autofree char *text = inventory_read(root, "proc/cpuinfo");
	g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
	struct cpus c = {.sockets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
	struct utsname machine;

	for (char **line = lines; *line; line++)
		take_cpu_line(&c, *line);
	g_autofree char *frequency = cpu_frequency(root, c.mhz);
	json_t *cpu =
		json_pack("{s:s, s:s, s:I, s:s, s:o, s:i}", "model_name", c.model ? c.model : "",
			  "frequency", frequency, "count", (json_int_t)c.count, "architecture",
			  uname(&machine) == 0 ? machine.machine : "", "flags", cpu_flags(c.flags),
			  "socket_count", (int)MAX(g_hash_table_size(c.sockets), 1U));

	g_hash_table_unref(c.sockets);
	g_free(c.model);
	g_free(c.flags);
	g_free(c.mhz);
	return cpu;
}

/* ---- memory */

static uint16_t le16(const char *p)
{
	const guint8 *b = (const guint8 *)p;

	return (uint16_t)(b[0] | b[1] << 8);
}

/* MiB of one memory device (SMBIOS 3.6, section 7.18); 0 for an empty slot. */
static uint64_t dimm_mib(const char *structure, size_t length)
{
	if (length < DMI_SIZE + 2)
		return 0;
	uint16_t size = le16(structure + DMI_SIZE);

	if (size == DMI_USE_EXTENDED && length >= DMI_EXTENDED + 4)
		return (uint64_t)(le16(structure + DMI_EXTENDED) |
				  (uint32_t)(le16(structure + DMI_EXTENDED + 2) & 0x7fff) << 16);
	if (size == DMI_UNKNOWN)
		return 0;
	return size & DMI_IN_KIB ? (size & ~DMI_IN_KIB) / 1024U : size;
}

/* 0 without DMI tables, or without the right to read them. */
static uint64_t installed_mib(const char *root)
{
	uint64_t sum = 0;

	for (int i = 0; i < DIMMS_MOST; i++) {
		g_autofree char *path = g_strdup_printf("%s/sys/firmware/dmi/entries/%d-%d/raw",
							root, DMI_MEMORY, i);
		size_t length = 0;
		g_autofree char *structure = read_text(path, &length);

		if (!structure)
			break;
		sum += dimm_mib(structure, length);
	}
	return sum;
}

json_t *inventory_memory(const char *root)
{
	g_autofree char *text = inventory_read(root, "proc/meminfo");
	unsigned long long total_kib = 0;
	uint64_t installed = installed_mib(root);

	if (text && sscanf(text, "MemTotal: %llu kB", &total_kib) != 1)
		total_kib = 0;
	return json_pack("{s:I, s:o}", "total", (json_int_t)total_kib * 1024, "physical_mb",
			 installed ? json_integer((json_int_t)installed) : json_null());
}

/* ---- the rest */

static char *dmi(const char *root, const char *name)
{
	char *text = inventory_read(root, "sys/class/dmi/id/%s", name);

	return text ? text : g_strdup("");
}

json_t *inventory_system_vendor(const char *root)
{
	g_autofree char *product = dmi(root, "product_name"), *sku = dmi(root, "product_sku");
	g_autofree char *serial = dmi(root, "product_serial"), *vendor = dmi(root, "sys_vendor");
	g_autofree char *bios = dmi(root, "bios_vendor"), *version = dmi(root, "bios_version");
	g_autofree char *date = dmi(root, "bios_date");
	bool has_sku = *sku && !g_str_equal(sku, "Not Specified");
	g_autofree char *name =
		has_sku ? g_strdup_printf("%s (%s)", product, sku) : g_strdup(product);

	return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s}}", "product_name", name,
			 "serial_number", serial, "manufacturer", vendor, "firmware", "vendor",
			 bios, "version", version, "build_date", date);
}

static json_t *boot(const char *root, const char *pxe_interface)
{
	g_autofree char *efi = g_build_filename(root, "sys/firmware/efi", NULL);
	bool uefi = g_file_test(efi, G_FILE_TEST_IS_DIR);

	return json_pack("{s:s, s:o}", "current_boot_mode", uefi ? "uefi" : "bios", "pxe_interface",
			 inventory_text(g_strdup(pxe_interface)));
}

static json_t *disks(const char *root, GError **error)
{
	g_autoptr(GPtrArray) list = disk_list(root, error);

	if (!list)
		return NULL;
	json_t *array = json_array();

	for (guint i = 0; i < list->len; i++)
		json_array_append_new(array, disk_json(g_ptr_array_index(list, i)));
	return array;
}

json_t *inventory_collect(const char *root, const char *pxe_interface, GError **error)
{
	json_t *all_disks = disks(root, error);

	if (!all_disks)
		return NULL;
	char *hostname = inventory_read(root, "proc/sys/kernel/hostname");

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "interfaces",
			 inventory_interfaces(root), "cpu", inventory_cpu(root), "disks", all_disks,
			 "memory", inventory_memory(root), "bmc_address",
			 inventory_text(inventory_bmc_address(root)), "bmc_v6address", json_null(),
			 "system_vendor", inventory_system_vendor(root), "boot",
			 boot(root, pxe_interface), "hostname",
			 inventory_text(hostname ? hostname : g_strdup("")));
}
