#include "image_format.h"

#include <glib.h>
#include <string.h>

static const struct {
	const char *name;
	size_t at, length;
	const char *magic;
} formats[] = {
	{"qcow2", 0, 4, "QFI\xfb"},
	{"vmdk", 0, 4, "KDMV"},
	{"vmdk", 0, 4, "COWD"},
	{"vmdk", 0, 21, "# Disk DescriptorFile"},
	{"vhdx", 0, 8, "vhdxfile"},
	{"vhd", 0, 8, "conectix"},
	{"vdi", 64, 4, "\x7f\x10\xda\xbe"},
	{"qed", 0, 4, "QED\0"},
	{"luks", 0, 6, "LUKS\xba\xbe"},
	{"zip", 0, 4, "PK\x03\x04"},
	{"7z", 0, 6, "7z\xbc\xaf\x27\x1c"},
	{"tar", 257, 5, "ustar"},
	{"html", 0, 9, "<!DOCTYPE"},
	{"html", 0, 9, "<!doctype"},
	{"html", 0, 5, "<html"},
	{"html", 0, 5, "<HTML"},
};

const char *image_format_detect(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
		if (length >= formats[i].at + formats[i].length &&
		    memcmp(bytes + formats[i].at, formats[i].magic, formats[i].length) == 0)
			return formats[i].name;
	return NULL;
}
