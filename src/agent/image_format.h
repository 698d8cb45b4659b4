/* image_format.h: which kind of disk image some bytes are, by their content. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes that image_format_detect() wants to see, if there are as many. */
#define IMAGE_FORMAT_BYTES 1024

/* "qcow2", "vmdk", "vhd", "vhdx", "vdi", "qed", "luks", "html"; NULL: none of these, so raw. */
const char *image_format_detect(const uint8_t *bytes, size_t length);
