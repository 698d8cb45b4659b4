#include "boot_iso.h"

#include <openssl/evp.h>
#include <string.h>

#include "cpio.h"
#include "errors.h"
#include "script.h"

#define SECTOR             BOOT_ISO_SECTOR
#define MARK               "inox-place "

#define DESCRIPTOR_PRIMARY 1
#define DESCRIPTOR_JOLIET  2
#define DESCRIPTOR_LAST    255
#define LABEL_AT           40
#define LABEL_SIZE         32
#define PUBLISHER_AT       318
#define PUBLISHER_SIZE     128
#define CONFIG_LABEL       "config-2"

static const struct {
	const char *name;
	size_t size;
} places[BOOT_ISO_PLACES] = {
#define BOOT_ISO_ROW(constant, name, size) [constant] = {(name), (size)},
	BOOT_ISO_PLACE_LIST(BOOT_ISO_ROW)
#undef BOOT_ISO_ROW
};

struct filling {
	const struct boot_iso_base *base;
	struct boot_iso_fill fill;
};

char *boot_iso_arguments(const char *arguments, struct mac interface,
			 const struct boot_iso_network *network, const char *publisher,
			 GError **error)
{
	GString *line = g_string_sized_new(2 * SCRIPT_ARGUMENTS_MAX);
	char mac[MAC_TEXT];

	g_string_append(line, arguments);
	mac_print(interface, mac);
	g_strdelimit(mac, ":", '-');
	g_string_append_printf(line, " boot_method=vmedia BOOTIF=01-%s", mac);
	if (publisher)
		g_string_append_printf(line, " ir_pub_id=%s", publisher);
	if (network->address)
		g_string_append_printf(line, " inox-address=%s/%u", network->address,
				       network->prefix);
	if (network->address && *network->gateway)
		g_string_append_printf(line, " inox-gateway=%s", network->gateway);
	if (network->address && network->nameserver && *network->nameserver)
		g_string_append_printf(line, " inox-nameserver=%s", network->nameserver);
	if (line->len >= SCRIPT_ARGUMENTS_MAX) {
		inox_error_set(error, INOX_ERROR_LIMIT,
			       "the kernel arguments are %zu bytes long, and the kernel reads %d",
			       line->len, SCRIPT_ARGUMENTS_MAX - 1);
		secret_wipe_text(g_string_free(line, FALSE));
		return NULL;
	}
	return g_string_free(line, FALSE);
}

/* Empty as inox-ramdisk left it: the mark, and line feeds behind it. */
static bool is_place(const uint8_t *at, size_t length, enum boot_iso_place p)
{
	g_autofree char *mark = g_strdup_printf(MARK "%s %zu\n", places[p].name, places[p].size);
	size_t used = strlen(mark);

	if (length < places[p].size || memcmp(at, mark, used) != 0)
		return false;
	for (size_t i = used; i < places[p].size; i++)
		if (at[i] != '\n')
			return false;
	return true;
}

static bool find_places(const uint8_t *iso, size_t length, uint64_t offsets[BOOT_ISO_PLACES],
			GError **error)
{
	unsigned found[BOOT_ISO_PLACES] = {0};

	for (size_t at = 0; at + SECTOR <= length; at += SECTOR) {
		if (memcmp(iso + at, MARK, strlen(MARK)) != 0)
			continue;
		for (unsigned p = 0; p < BOOT_ISO_PLACES; p++)
			if (is_place(iso + at, length - at, (enum boot_iso_place)p)) {
				offsets[p] = at;
				found[p]++;
			}
	}
	for (unsigned p = 0; p < BOOT_ISO_PLACES; p++)
		if (found[p] != 1 && (p != PLACE_NETWORK || found[p] > 1))
			return inox_error_set(error, INOX_ERROR_INVALID,
					      "the ramdisk's ISO has the place '%s' %u times "
					      "instead of once: was it made by inox-ramdisk --iso?",
					      places[p].name, found[p]);
	return true;
}

static char *print_loader(enum boot_iso_place p, const char *arguments)
{
	if (p == PLACE_ISOLINUX)
		return g_strdup_printf("default inox\nprompt 0\ntimeout 1\nlabel inox\n"
				       "kernel /boot/vmlinuz\n"
				       "initrd /boot/node.img,/boot/initrd\nappend %s\n",
				       arguments);
	return g_strdup_printf("linux /boot/vmlinuz %s\ninitrd /boot/node.img /boot/initrd\nboot\n",
			       arguments);
}

static void add_piece(struct boot_iso_fill *f, uint64_t offset, char *bytes, size_t length)
{
	unsigned at = f->count++;

	for (; at > 0 && f->pieces[at - 1].offset > offset; at--)
		f->pieces[at] = f->pieces[at - 1];
	f->pieces[at].offset = offset;
	f->pieces[at].length = length;
	f->pieces[at].bytes = bytes;
}

/* As large as the place: a reader that comes by the file's size reads no rest of the mark. */
static bool set_place(struct filling *f, enum boot_iso_place p, const char *bytes, size_t length,
		      char fill, GError **error)
{
	size_t size = places[p].size;

	if (length > size)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%zu bytes do not fit into the place '%s' of the ISO", length,
				      places[p].name);
	char *content = g_malloc(size);

	memset(content, fill, size);
	memcpy(content, bytes, length);
	add_piece(&f->fill, f->base->offsets[p], content, size);
	return true;
}

static bool set_loader(struct filling *f, enum boot_iso_place p, const char *arguments,
		       GError **error)
{
	char *text = print_loader(p, arguments);
	bool good = set_place(f, p, text, strlen(text), '\n', error);

	secret_wipe_text(text);
	return good;
}

/* The kernel passes over zeroes between two archives, and where one could be. */
static bool set_node(struct filling *f, const struct boot_iso_boot *boot, GError **error)
{
	if (!boot->token)
		return set_place(f, PLACE_NODE, "", 0, '\0', error);
	GByteArray *archive = cpio_of_token(boot->token, boot->stock);
	bool good =
		set_place(f, PLACE_NODE, (const char *)archive->data, archive->len, '\0', error);

	cpio_wipe_free(archive);
	return good;
}

static bool set_agent(struct filling *f, const struct secret *token, GError **error)
{
	char *text = token ? cpio_print_conf(token) : g_strdup("");
	bool good = set_place(f, PLACE_AGENT, text, strlen(text), '\n', error);

	secret_wipe_text(text);
	return good;
}

static bool set_network(struct filling *f, const char *json, GError **error)
{
	const char *text = json && *json ? json : "{}";
	/* Before sector 16 there is no file. */
	bool there = f->base->offsets[PLACE_NETWORK] > 0;

	if (!there && text == json)
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the node has network_data, and the ramdisk's ISO has no place "
			"for them: make it anew with inox-ramdisk --iso");
	return !there || set_place(f, PLACE_NETWORK, text, strlen(text), '\n', error);
}

/* A descriptor with another label and publisher; in Joliet's they are big-endian UCS-2. */
static char *print_descriptor(const uint8_t sector[static SECTOR], const char *publisher)
{
	const struct {
		size_t at, size;
		const char *text;
	} fields[] = {{LABEL_AT, LABEL_SIZE, CONFIG_LABEL},
		      {PUBLISHER_AT, PUBLISHER_SIZE, publisher}};
	unsigned wide = sector[0] == DESCRIPTOR_JOLIET ? 2 : 1;
	char *bytes = g_memdup2(sector, SECTOR);

	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
		for (size_t c = 0; c < fields[i].size / wide; c++) {
			char *to = bytes + fields[i].at + c * wide;

			if (wide == 2)
				*to++ = '\0';
			*to = c < strlen(fields[i].text) ? fields[i].text[c] : ' ';
		}
	return bytes;
}

/* Sector 16 is the first descriptor of an ISO 9660 volume; what has none is nothing that was checked to be
 * one, and keeps its label. */
static void find_descriptors(const uint8_t *iso, size_t length, struct boot_iso_base *b)
{
	for (size_t at = 16 * SECTOR;
	     at + SECTOR <= length && b->descriptor_count < BOOT_ISO_DESCRIPTORS; at += SECTOR) {
		uint8_t type = iso[at];

		if (memcmp(iso + at + 1, "CD001", 5) != 0 || type == DESCRIPTOR_LAST)
			return;
		if (type != DESCRIPTOR_PRIMARY && type != DESCRIPTOR_JOLIET)
			continue;
		b->descriptors[b->descriptor_count].offset = at;
		memcpy(b->descriptors[b->descriptor_count++].sector, iso + at, SECTOR);
	}
}

bool boot_iso_survey(const uint8_t *iso, size_t length, struct boot_iso_base *ret, GError **error)
{
	struct boot_iso_base b = {.size = length};

	if (!find_places(iso, length, b.offsets, error))
		return false;
	find_descriptors(iso, length, &b);
	if (EVP_Digest(iso, length, b.digest, NULL, EVP_sha256(), NULL) != 1)
		return inox_error_set(error, INOX_ERROR_UNSUPPORTED, "SHA-256 is not available");
	*ret = b;
	return true;
}

bool boot_iso_fill(const struct boot_iso_base *base, const struct boot_iso_boot *boot,
		   struct boot_iso_fill *ret, GError **error)
{
	struct filling f = {.base = base};

	if (!set_loader(&f, PLACE_ISOLINUX, boot->arguments, error) ||
	    !set_loader(&f, PLACE_GRUB, boot->arguments, error) || !set_node(&f, boot, error) ||
	    !set_agent(&f, boot->token, error) || !set_network(&f, boot->network_data, error)) {
		boot_iso_fill_clear(&f.fill);
		return false;
	}
	for (unsigned i = 0; boot->publisher && i < base->descriptor_count; i++)
		add_piece(&f.fill, base->descriptors[i].offset,
			  print_descriptor(base->descriptors[i].sector, boot->publisher), SECTOR);
	*ret = f.fill;
	return true;
}

void boot_iso_fill_clear(struct boot_iso_fill *f)
{
	for (unsigned p = 0; p < f->count; p++) {
		explicit_bzero(f->pieces[p].bytes, f->pieces[p].length);
		g_free(f->pieces[p].bytes);
	}
	f->count = 0;
}
