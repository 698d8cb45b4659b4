#include "delivery.h"

#include <arpa/inet.h>
#include <string.h>

#include "boot_iso.h"
#include "cpio.h"
#include "errors.h"

struct interfaces {
	struct mac mac[DELIVERY_MACS_MAX];
	unsigned count;
};

static bool parse_macs(const char *text, struct interfaces *ret, GError **error)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	unsigned count = g_strv_length(words);
	struct interfaces found = {.count = count};

	if (count == 0)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "a network boot needs the MAC address of a port");
	if (count > DELIVERY_MACS_MAX)
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "%u MAC addresses for one boot: %d are taken", count,
				      DELIVERY_MACS_MAX);
	for (unsigned i = 0; i < count; i++)
		if (!mac_parse(words[i], &found.mac[i], error))
			return false;
	*ret = found;
	return true;
}

static bool check_path(const char *path, GError **error)
{
	return script_secret_path_is_valid(path) ||
	       inox_error_set(
		       error, INOX_ERROR_INVALID,
		       "the path of a token's file must be 22 to 64 of A-Z, a-z, 0-9, '_' and "
		       "'-'");
}

/* Printed anew: one form, the one nginx has for the other end of a connection too; no zone. */
static char *canonical_address(const char *text, GError **error)
{
	char printed[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		return g_strdup(inet_ntop(AF_INET, bytes, printed, sizeof(printed)));
	if (inet_pton(AF_INET6, text, bytes) == 1)
		return g_strdup(inet_ntop(AF_INET6, bytes, printed, sizeof(printed)));
	inox_error_set(error, INOX_ERROR_INVALID, "'%.64s' is not a numeric address", text);
	return NULL;
}

static char *name_of_mac(const char *folder, struct mac mac)
{
	char text[MAC_TEXT];

	mac_print(mac, text);
	g_strdelimit(text, ":", '-');
	return g_strconcat(folder, "/", text, NULL);
}

/* The transport psk is our agent's own. */
static bool may_be_stock(const struct message_boot_publish *m)
{
	return m->transport != TRANSPORT_PSK;
}

static bool put_token(const struct shelf *s, const struct message_boot_publish *m, GError **error)
{
	g_autofree char *name = g_strdup_printf("http/once/%s/token.img", m->path);
	GByteArray *archive = cpio_of_token(m->token, may_be_stock(m));
	bool good = shelf_put(s, name, "the token's file", (const char *)archive->data,
			      archive->len, error);

	cpio_wipe_free(archive);
	return good;
}

/* An interface's scripts are a folder: nginx gives a machine the one that is named after its own address,
 * or "any" when the address is assigned elsewhere. */
static char *script_folder(struct mac mac)
{
	return name_of_mac("http/boot", mac);
}

/* A record for a MAC replaces dnsmasq's earlier one as soon as its file is written; deleting the file
 * would change nothing, so that "ignore" is how a reservation ends. */
static bool put_reservation(const struct shelf *s, struct mac mac, const char *address,
			    GError **error)
{
	g_autofree char *name = name_of_mac("dhcp-hosts", mac);
	char text[MAC_TEXT];

	mac_print(mac, text);
	g_autofree char *line =
		g_strdup_printf(strchr(address, ':') ? "%s,[%s]\n" : "%s,%s\n", text, address);

	return shelf_put(s, name, "the address reservation", line, strlen(line), error);
}

static bool put_script(const struct shelf *s, const struct script_site *site,
		       const struct script_boot *boot, const char *arguments, struct mac mac,
		       const char *address, GError **error)
{
	g_autofree char *folder = script_folder(mac);
	g_autofree char *name = g_strdup_printf("%s/%s.ipxe", folder, address ? address : "any");
	g_autofree char *text = script_print(site, boot, arguments, mac);

	return shelf_put(s, name, "the boot script", text, strlen(text), error);
}

/* A network boot's data: who asks for what is decided by MAC and address. */
static bool publish_scripts(const struct shelf *s, const struct script_site *site,
			    const struct script_boot *boot, const char *arguments,
			    const struct interfaces *interfaces, const char *address,
			    GError **error)
{
	for (unsigned i = 0; i < interfaces->count; i++)
		if ((i == 0 || !address) &&
		    !put_script(s, site, boot, arguments, interfaces->mac[i], address, error))
			return false;
	return true;
}

/* One address has one interface: the others must not answer to an older record. */
static bool publish_reservations(const struct shelf *s, const struct interfaces *interfaces,
				 const char *address, GError **error)
{
	for (unsigned i = 1; address && i < interfaces->count; i++)
		if (!put_reservation(s, interfaces->mac[i], "ignore", error))
			return false;
	return !address || put_reservation(s, interfaces->mac[0], address, error);
}

/* The ISO; and a reservation, unless the address is written into it. */
static bool publish_media(const struct shelf *s, const struct script_site *site,
			  const struct message_boot_publish *m, const char *arguments,
			  const struct interfaces *interfaces, const char *address, GError **error)
{
	bool fixed = address && site->prefix > 0;
	const struct boot_iso_network network = {.address = fixed ? address : NULL,
						 .prefix = site->prefix,
						 .gateway = site->gateway};
	g_autofree char *line = boot_iso_arguments(arguments, interfaces->mac[0], &network, error);
	g_autofree char *base = g_strconcat("http/", site->iso, NULL);
	g_autofree char *name = g_strdup_printf("http/once/%s/boot.iso", m->path);
	const struct boot_iso_boot boot = {
		.arguments = line, .token = m->token, .stock = may_be_stock(m)};
	g_auto(boot_iso_fill_t) fill = {0};

	if (!line)
		return false;
	if (fixed && !strchr(address, ':') && site->prefix > 32)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]media_prefix %u is none of an IPv4 address",
				      site->prefix);
	g_autoptr(GBytes) iso = shelf_load(s, base, "the ramdisk's ISO", BOOT_ISO_LIMIT, error);

	if (!iso)
		return false;
	gsize length;
	const uint8_t *bytes = g_bytes_get_data(iso, &length);

	return boot_iso_fill(bytes, length, &boot, &fill, error) &&
	       shelf_put_filled(s, name, "the boot's ISO", iso, &fill, error) &&
	       (fixed || publish_reservations(s, interfaces, address, error));
}

bool delivery_publish(const struct shelf *s, const struct script_site *site,
		      const struct message_boot_publish *m, GError **error)
{
	struct interfaces interfaces;
	g_autofree char *address = NULL;
	const struct script_boot boot = {.node = &m->node,
					 .epoch = m->epoch,
					 .transport = (enum agent_transport)m->transport,
					 .arguments = m->arguments,
					 .api_url = m->api_url,
					 .path = m->token ? m->path : ""};

	if (m->transport > TRANSPORT_HTTP)
		return inox_error_set(error, INOX_ERROR_INVALID, "%u is no agent transport",
				      m->transport);
	if (!parse_macs(m->macs, &interfaces, error) ||
	    ((m->token || m->media) && !check_path(m->path, error)))
		return false;
	if (*m->address && !(address = canonical_address(m->address, error)))
		return false;
	g_autofree char *arguments = script_arguments(&boot, error);

	if (!arguments)
		return false;
	if (m->media)
		return publish_media(s, site, m, arguments, &interfaces, address, error);
	return (!m->token || put_token(s, m, error)) &&
	       publish_scripts(s, site, &boot, arguments, &interfaces, address, error) &&
	       publish_reservations(s, &interfaces, address, error);
}

/* Where the next of several steps puts its error: the first one is kept. */
static GError **unless_set(GError **first)
{
	return *first ? NULL : first;
}

bool delivery_withdraw(const struct shelf *s, const struct message_boot_withdraw *m, GError **error)
{
	struct interfaces interfaces = {.count = 0};
	GError *first = NULL;
	bool good = true;

	if (!shelf_is_there(s))
		return true; /* nothing was ever put anywhere */
	if (!m->token_only && !parse_macs(m->macs, &interfaces, error))
		return false;
	if (*m->path && !check_path(m->path, error))
		return false;
	for (unsigned i = 0; i < interfaces.count; i++) {
		g_autofree char *scripts = script_folder(interfaces.mac[i]);

		good &= put_reservation(s, interfaces.mac[i], "ignore", unless_set(&first));
		good &= shelf_remove_folder(s, scripts, "the boot script", unless_set(&first));
	}
	if (*m->path) {
		g_autofree char *folder = g_strconcat("http/once/", m->path, NULL);

		good &= shelf_remove_folder(s, folder, "the token's file", unless_set(&first));
	}
	if (first)
		g_propagate_error(error, first);
	return good;
}
