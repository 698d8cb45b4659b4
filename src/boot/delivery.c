#include "delivery.h"

#include <arpa/inet.h>
#include <string.h>

#include "boot_iso.h"
#include "cpio.h"
#include "errors.h"
#include "media_ticket.h"
#include "plain.h"

struct interfaces {
	struct mac mac[DELIVERY_MACS_MAX];
	unsigned count;
};

/* Of a message that was made, not decoded, a text may be NULL. */
static const char *text_of(const char *text)
{
	return text ? text : "";
}

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

/* The ISO is what cloud tools of a stock ramdisk take their network from. */
static bool is_config(const struct message_boot_publish *m)
{
	return may_be_stock(m) && *text_of(m->network_data);
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

/* With the token among its arguments the script lies where the token's file does, and goes with it. */
static bool put_secret_script(const struct shelf *s, const char *path, const char *text,
			      struct mac mac, GError **error)
{
	g_autofree char *folder = g_strconcat("http/once/", path, NULL);
	g_autofree char *base = name_of_mac(folder, mac);
	g_autofree char *name = g_strconcat(base, ".ipxe", NULL);

	return shelf_put(s, name, "the boot script with the token", text, strlen(text), error);
}

static bool put_script(const struct shelf *s, const struct script_site *site,
		       const struct script_boot *boot, const char *arguments, struct mac mac,
		       const char *address, GError **error)
{
	g_autofree char *folder = script_folder(mac);
	g_autofree char *name = g_strdup_printf("%s/%s.ipxe", folder, address ? address : "any");
	char *text = script_print(site, boot, arguments, mac);
	bool good = !boot->token || put_secret_script(s, boot->path, text, mac, error);

	if (boot->token) {
		secret_wipe_text(text);
		text = script_print_chain(site, boot->path, mac);
	}
	good = good && shelf_put(s, name, "the boot script", text, strlen(text), error);
	g_free(text);
	return good;
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

/* What inox-media makes the ISO from. */
static bool put_record(const struct shelf *s, const struct script_site *site,
		       const struct message_boot_publish *m, const struct boot_iso_base *base,
		       const struct boot_iso_fill *fill, GError **error)
{
	g_autofree char *name = g_strdup_printf("http/once/%s/" MEDIA_RECORD_FILE, m->path);
	struct media_record r = {.node = m->node, .size = base->size, .count = fill->count};
	size_t length = 0;

	if (g_strlcpy(r.base, site->iso, sizeof(r.base)) >= sizeof(r.base))
		return inox_error_set(error, INOX_ERROR_LIMIT,
				      "the name of the ramdisk's ISO is longer than %d bytes",
				      LIMIT_MEDIA_NAME);
	memcpy(r.digest, base->digest, sizeof(r.digest));
	for (unsigned i = 0; i < fill->count; i++)
		r.patches[i] = (struct media_patch){fill->pieces[i].offset, fill->pieces[i].length,
						    (const uint8_t *)fill->pieces[i].bytes};
	char *bytes = (char *)media_record_print(&r, &length, error);

	if (!bytes) {
		g_prefix_error(error, "the boot's ISO: ");
		return false;
	}
	bool good = shelf_put(s, name, "the boot's ISO", bytes, length, error);

	explicit_bzero(bytes, length);
	g_free(bytes);
	return good;
}

/* The ISO; and a reservation, unless the address is written into it. */
static bool publish_media(const struct shelf *s, const struct script_site *site,
			  const struct message_boot_publish *m, const struct boot_iso_boot *boot,
			  const struct interfaces *interfaces, const char *address, bool fixed,
			  GError **error)
{
	g_autofree char *name = g_strconcat("http/", site->iso, NULL);
	g_auto(boot_iso_fill_t) fill = {0};
	struct boot_iso_base base;

	return shelf_survey(s, name, "the ramdisk's ISO", &base, error) &&
	       boot_iso_fill(&base, boot, &fill, error) &&
	       put_record(s, site, m, &base, &fill, error) &&
	       (fixed || publish_reservations(s, interfaces, address, error));
}

static bool prepare_media(const struct shelf *s, const struct script_site *site,
			  const struct message_boot_publish *m, const char *arguments,
			  const struct interfaces *interfaces, const char *address, GError **error)
{
	bool fixed = address && site->prefix > 0;
	const struct boot_iso_network network = {.address = fixed ? address : NULL,
						 .prefix = site->prefix,
						 .gateway = site->gateway,
						 .nameserver = text_of(m->nameserver)};
	if (fixed && !strchr(address, ':') && site->prefix > 32)
		return inox_error_set(error, INOX_ERROR_INVALID,
				      "[boot]media_prefix %u is none of an IPv4 address",
				      site->prefix);
	char *line = boot_iso_arguments(arguments, interfaces->mac[0], &network,
					is_config(m) ? m->node.s : NULL, error);
	const struct boot_iso_boot boot = {.arguments = line,
					   .token = m->token,
					   .stock = may_be_stock(m),
					   .network_data = m->network_data,
					   .publisher = is_config(m) ? m->node.s : NULL};
	bool good = line && publish_media(s, site, m, &boot, interfaces, address, fixed, error);

	secret_wipe_text(line);
	return good;
}

/* A network boot. */
static bool publish_network(const struct shelf *s, const struct script_site *site,
			    const struct message_boot_publish *m, const struct script_boot *boot,
			    const char *arguments, const struct interfaces *interfaces,
			    const char *address, GError **error)
{
	return (!m->token || put_token(s, m, error)) &&
	       publish_scripts(s, site, boot, arguments, interfaces, address, error) &&
	       publish_reservations(s, interfaces, address, error);
}

/* The site, with what this node has of its own. */
static bool choose_site(const struct script_site *site, const struct message_boot_publish *m,
			struct script_site *ret, GError **error)
{
	struct script_site at = *site;
	const struct {
		const char *text, *name;
		const char **place;
		bool or_url;
	} own[] = {{text_of(m->kernel), "kernel", &at.kernel, true},
		   {text_of(m->ramdisk), "ramdisk", &at.ramdisk, true},
		   {text_of(m->iso), "ISO", &at.iso, false}};

	for (unsigned i = 0; i < G_N_ELEMENTS(own); i++) {
		if (!*own[i].text)
			continue;
		if (!plain_is_path(own[i].text) && !(own[i].or_url && plain_is_url(own[i].text)))
			return inox_error_set(
				error, INOX_ERROR_INVALID,
				"the node's %s '%.64s' is not a plain relative path%s", own[i].name,
				own[i].text, own[i].or_url ? " or URL" : "");
		*own[i].place = own[i].text;
	}
	if (m->prefix > 0) {
		at.prefix = m->prefix;
		at.gateway = text_of(m->gateway);
	}
	*ret = at;
	return true;
}

static bool check_publish(const struct message_boot_publish *m, GError **error)
{
	if (m->transport > TRANSPORT_HTTP)
		return inox_error_set(error, INOX_ERROR_INVALID, "%u is no agent transport",
				      m->transport);
	if (m->media && !media_path_is_valid(m->path))
		return inox_error_set(
			error, INOX_ERROR_INVALID,
			"the path of a boot from virtual media has no time until which "
			"it counts: it was made by an older version; begin again");
	return !m->token || check_path(m->path, error);
}

bool delivery_publish(const struct shelf *s, const struct script_site *site,
		      const struct message_boot_publish *m, GError **error)
{
	struct interfaces interfaces;
	struct script_site at;
	g_autofree char *address = NULL;
	const struct script_boot boot = {.node = &m->node,
					 .epoch = m->epoch,
					 .transport = (enum agent_transport)m->transport,
					 .arguments = m->arguments,
					 .api_url = m->api_url,
					 .path = m->token ? m->path : "",
					 .token = m->on_command_line ? m->token : NULL,
					 .by_contact = m->by_contact};

	if (!check_publish(m, error) || !parse_macs(m->macs, &interfaces, error) ||
	    !choose_site(site, m, &at, error) ||
	    (*m->address && !(address = canonical_address(m->address, error))))
		return false;
	char *arguments = script_arguments(&boot, error);
	bool good = arguments &&
		    (m->media ? prepare_media(s, &at, m, arguments, &interfaces, address, error)
			      : publish_network(s, &at, m, &boot, arguments, &interfaces, address,
						error));

	secret_wipe_text(arguments);
	return good;
}

/* Where the next of several steps puts its error: the first one is kept. */
static GError **unless_set(GError **first)
{
	return *first ? NULL : first;
}

static bool withdraw_interface(const struct shelf *s, const char *text, bool keep_address,
			       GError **first)
{
	struct mac mac;
	bool good = true;

	if (!mac_parse(text, &mac, unless_set(first)))
		return false;
	g_autofree char *scripts = script_folder(mac);

	if (!keep_address)
		good &= put_reservation(s, mac, "ignore", unless_set(first));
	return good & shelf_remove_folder(s, scripts, "the boot script", unless_set(first));
}

/* Of any number of interfaces: none, when the node's ports went to another node meanwhile; or those of before and those of
 * now. */
bool delivery_withdraw(const struct shelf *s, const struct message_boot_withdraw *m, GError **error)
{
	g_auto(GStrv) macs = g_strsplit(m->token_only ? "" : text_of(m->macs), ",", -1);
	GError *first = NULL;
	bool good = true;

	if (!shelf_is_there(s))
		return true; /* nothing was ever put anywhere */
	if (*m->path && !check_path(m->path, error))
		return false;
	for (unsigned i = 0; macs[i]; i++)
		good &= withdraw_interface(s, macs[i], m->keep_address, &first);
	if (*m->path) {
		g_autofree char *folder = g_strconcat("http/once/", m->path, NULL);

		good &= shelf_remove_folder(s, folder, "the token's file", unless_set(&first));
	}
	if (first)
		g_propagate_error(error, first);
	return good;
}
