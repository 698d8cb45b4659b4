#include "qemu.h"

#include <jansson.h>
#include <string.h>

#include "jsons.h"

/* bootindex of the first NIC; the disk is before or behind all of them. */
#define NIC_INDEX 10
/* Of the optical drive: in front of everything, or behind it; an empty drive is passed over. */
#define CD_FIRST_INDEX  1
#define CD_LAST_INDEX   (NIC_INDEX + MACHINE_MACS_MAX + 1)
#define DISK_SERIAL_MAX 20

int qemu_disk_index(bool disk_first)
{
	return disk_first ? NIC_INDEX - 1 : NIC_INDEX + MACHINE_MACS_MAX;
}

int qemu_cd_index(bool cd_first)
{
	return cd_first ? CD_FIRST_INDEX : CD_LAST_INDEX;
}

static void add(GPtrArray *argv, const char *option, char *value)
{
	g_ptr_array_add(argv, g_strdup(option));
	if (value)
		g_ptr_array_add(argv, value);
}

/* `value` is taken. */
static void add_json(GPtrArray *argv, const char *option, json_t *value)
{
	add(argv, option, json_print_compact(value));
	json_decref(value);
}

/* A comma inside a value of QEMU's own syntax is written twice. */
static char *escape(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	return g_strjoinv(",,", parts);
}

static json_t *file_node(const char *name, const char *driver, const char *path, bool read_only)
{
	return json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "driver", driver, "node-name", name,
			 "read-only", read_only, "file", "driver", "file", "filename", path);
}

static void add_machine(GPtrArray *argv, const struct machine_spec *s,
			enum machine_firmware firmware)
{
	char memory[16], cpus[16];

	g_snprintf(memory, sizeof(memory), "%d", s->memory_mib);
	g_snprintf(cpus, sizeof(cpus), "%d", s->cpus);
	add(argv, "-name", g_strdup(s->name));
	add(argv, "-accel", g_strdup("tcg,thread=multi"));
	/* Without graphics SeaBIOS writes to the serial line. */
	add(argv, "-machine",
	    g_strdup(firmware == FIRMWARE_UEFI ? "q35,graphics=off,pflash0=code,pflash1=vars"
					       : "q35,graphics=off"));
	add(argv, "-cpu", g_strdup("max"));
	add(argv, "-smp", g_strdup(cpus));
	add(argv, "-m", g_strdup(memory));
	add(argv, "-nodefaults", NULL);
	add(argv, "-no-user-config", NULL);
	add(argv, "-display", g_strdup("none"));
	add(argv, "-uuid", g_strdup(s->uuid.s));
	add(argv, "-smbios",
	    g_strdup_printf("type=1,manufacturer=%s,product=%s,serial=%s,uuid=%s", s->manufacturer,
			    s->model, s->serial, s->uuid.s));
	if (firmware == FIRMWARE_UEFI) {
		add_json(argv, "-blockdev", file_node("code", "raw", s->ovmf_code, true));
		add_json(argv, "-blockdev", file_node("vars", "raw", s->vars, false));
	}
}

static void add_serial(GPtrArray *argv, const struct machine_spec *s)
{
	g_autofree char *path = s->serial_socket ? escape(s->serial_socket) : NULL;
	g_autofree char *log = s->serial_log ? escape(s->serial_log) : NULL;

	if (!path && !log)
		return;
	if (!path)
		add(argv, "-chardev", g_strdup_printf("file,id=serial0,path=%s,append=on", log));
	else
		add(argv, "-chardev",
		    g_strdup_printf("socket,id=serial0,path=%s,server=on,wait=off%s%s%s", path,
				    log ? ",logfile=" : "", log ? log : "",
				    log ? ",logappend=on" : ""));
	add(argv, "-serial", g_strdup("chardev:serial0"));
}

static void add_disk(GPtrArray *argv, const struct machine_spec *s, bool disk_first)
{
	static const struct {
		const char *driver, *controller, *bus;
	} buses[] = {
		[BUS_VIRTIO] = {"virtio-blk-pci", NULL, NULL},
		[BUS_NVME] = {"nvme", NULL, NULL},
		[BUS_AHCI] = {"ide-hd", NULL, "ide.0"},
		[BUS_SCSI] = {"scsi-hd", "virtio-scsi-pci,id=scsi0", "scsi0.0"},
	};

	if (!s->disk)
		return;
	json_t *node = file_node("image0", s->disk_format, s->disk, false);
	g_autofree char *serial = g_strndup(s->serial, DISK_SERIAL_MAX);

	json_object_set_new(node, "discard", json_string("unmap"));
	json_object_set_new(json_object_get(node, "file"), "discard", json_string("unmap"));
	add_json(argv, "-blockdev", node);
	if (buses[s->disk_bus].controller)
		add(argv, "-device", g_strdup(buses[s->disk_bus].controller));
	json_t *device = json_pack("{s:s, s:s, s:s, s:i, s:s}", "driver", buses[s->disk_bus].driver,
				   "id", "disk0", "drive", "image0", "bootindex",
				   qemu_disk_index(disk_first), "serial", serial);
	if (buses[s->disk_bus].bus)
		json_object_set_new(device, "bus", json_string(buses[s->disk_bus].bus));
	add_json(argv, "-device", device);
}

/* On a bus that the firmwares boot from and that the smallest kernels have a driver for. */
static void add_cd(GPtrArray *argv, const struct machine_spec *s, bool cd_first, bool has_media)
{
	json_t *device = json_pack("{s:s, s:s, s:s, s:i}", "driver", "scsi-cd", "id", QEMU_CD_ID,
				   "bus", "cdbus.0", "bootindex", qemu_cd_index(cd_first));

	add(argv, "-device", g_strdup("virtio-scsi-pci,id=cdbus"));
	if (has_media) {
		add_json(argv, "-blockdev", file_node("media0", "raw", s->media, true));
		json_object_set_new(device, "drive", json_string("media0"));
	}
	add_json(argv, "-device", device);
}

static void add_nic(GPtrArray *argv, const struct machine_spec *s, unsigned i, const char *backend)
{
	g_autofree char *id = g_strdup_printf("nic%u", i);
	g_autofree char *net = g_strdup_printf("net%u", i);
	char mac[MAC_TEXT];

	mac_print(s->macs[i], mac);
	json_t *device = json_pack("{s:s, s:s, s:s, s:i}", "driver", s->nic_model, "id", id, "mac",
				   mac, "bootindex", NIC_INDEX + (int)i);
	if (s->romfile)
		json_object_set_new(device, "romfile", json_string(s->romfile));
	if (backend) {
		json_object_set_new(device, "netdev", json_string(net));
		add(argv, "-netdev", g_strdup_printf("%s,id=%s", backend, net));
	}
	add_json(argv, "-device", device);
}

static void add_nics(GPtrArray *argv, const struct machine_spec *s)
{
	unsigned taps = s->taps ? g_strv_length(s->taps) : 0;

	for (unsigned i = 0; i < s->mac_count; i++) {
		g_autofree char *backend = NULL;

		if (i < taps)
			backend = g_strdup_printf("tap,ifname=%s,script=no,downscript=no",
						  s->taps[i]);
		else if (i == taps && s->netdev)
			backend = g_strdup(s->netdev);
		add_nic(argv, s, i, backend);
	}
}

char **qemu_make_argv(const struct machine_spec *s, enum machine_firmware firmware,
		      struct qemu_order order, bool has_media, int fd)
{
	GPtrArray *argv = g_ptr_array_new();

	for (char **word = s->launcher; word && *word; word++)
		add(argv, *word, NULL);
	add(argv, s->qemu, NULL);
	add_machine(argv, s, firmware);
	add(argv, "-chardev", g_strdup_printf("socket,id=qmp0,fd=%d", fd));
	add(argv, "-mon", g_strdup("chardev=qmp0,mode=control"));
	add_serial(argv, s);
	add_disk(argv, s, order.disk_first);
	add_cd(argv, s, order.cd_first, has_media);
	add_nics(argv, s);
	for (char **word = s->extra; word && *word; word++)
		add(argv, *word, NULL);
	g_ptr_array_add(argv, NULL);
	return (char **)g_ptr_array_free(argv, FALSE);
}
