/* inventory_net.c: network interfaces. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "identity.h"
#include "inventory.h"

/* InfiniBand: the DHCP client identifier is this prefix and the port's GUID. */
#define INFINIBAND_PREFIX "ff:00:00:00:00:00:02:00:00:02:c9:00:"
#define INFINIBAND_BYTES  20
#define GUID_TEXT         23 /* eight bytes with colons */
#define MAC_BYTES         6

static bool ends_with_vlan(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1);
}

static bool exists(const char *root, const char *name, const char *entry)
{
	g_autofree char *path = g_build_filename(root, "sys/class/net", name, entry, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* Hardware, bonds and VLANs; no loopback, bridges, or what containers make. */
static bool is_listed(const char *root, const char *name)
{
	return exists(root, name, "device") || exists(root, name, "bonding") ||
	       ends_with_vlan(name);
}

/* The address the card was made with; a bond's member shows another one. */
static bool permanent_mac(const char *name, struct mac *ret_mac)
{
	union {
		struct ethtool_perm_addr request;
		char bytes[sizeof(struct ethtool_perm_addr) + MAX_ADDR_LEN];
	} u = {.request = {.cmd = ETHTOOL_GPERMADDR, .size = MAX_ADDR_LEN}};
	struct ifreq ifr = {.ifr_data = (char *)&u};
	static const uint8_t zero[MAC_BYTES];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	g_strlcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
	bool good = fd >= 0 && ioctl(fd, SIOCETHTOOL, &ifr) == 0 && u.request.size == MAC_BYTES &&
		    memcmp(u.request.data, zero, MAC_BYTES) != 0;

	if (fd >= 0)
		close(fd);
	if (good)
		memcpy(ret_mac->b, u.request.data, MAC_BYTES);
	return good;
}

/* The first address of the family; NULL if there is none.  Only of the machine: sysfs does not know. */
static char *address_of(const struct ifaddrs *all, const char *name, int family)
{
	char text[INET6_ADDRSTRLEN];

	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != family ||
		    !g_str_equal(i->ifa_name, name))
			continue;
		if (family == AF_INET) {
			const struct sockaddr_in *v4 = (const void *)i->ifa_addr;

			return g_strdup(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)));
		}
		const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;

		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		return IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) ? g_strdup_printf("%s%%%s", text, name)
							     : g_strdup(text);
	}
	return NULL;
}

static bool is_pci_address(const char *text)
{
	return g_regex_match_simple("^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]$", text, 0, 0);
}

/* The nearest folder above the device that is a PCI function (a virtio device sits below one). */
static char *pci_address(const char *root, const char *name)
{
	g_autofree char *link = g_build_filename(root, "sys/class/net", name, "device", NULL);
	char *real = realpath(link, NULL);
	char *found = NULL;

	while (real && !found) {
		char *slash = strrchr(real, '/');

		if (!slash || slash == real)
			break;
		if (is_pci_address(slash + 1))
			found = g_strdup(slash + 1);
		*slash = '\0';
	}
	free(real);
	return found;
}

static char *link_name(const char *root, const char *name, const char *entry)
{
	g_autofree char *path = g_build_filename(root, "sys/class/net", name, entry, NULL);
	g_autofree char *target = g_file_read_link(path, NULL);

	return target ? g_path_get_basename(target) : NULL;
}

/* -1 (no link) and 4294967295 (unknown) are no speeds. */
static json_t *speed(const char *root, const char *name)
{
	g_autofree char *text = inventory_read(root, "sys/class/net/%s/speed", name);
	guint64 mbps = 0;

	if (!text || !g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &mbps, NULL))
		return json_null();
	return json_integer((json_int_t)mbps);
}

/* An InfiniBand port's GUID is the end of its address; the MAC leaves out the GUID's two middle bytes. */
static char *infiniband_guid(const char *address)
{
	if (strlen(address) != INFINIBAND_BYTES * 3 - 1)
		return NULL;
	return g_strdup(address + strlen(address) - GUID_TEXT);
}

static char *mac_of(const char *root, const char *name, const char *address, const char *guid)
{
	struct mac m;
	char text[MAC_TEXT];

	if (guid)
		return g_strdup_printf("%.9s%s", guid, guid + 15);
	if (g_str_equal(root, "/") && permanent_mac(name, &m)) {
		mac_print(m, text);
		return g_strdup(text);
	}
	return g_ascii_strdown(address, -1);
}

static json_t *interface_json(const char *root, const char *name, const struct ifaddrs *all)
{
	g_autofree char *address = inventory_read(root, "sys/class/net/%s/address", name);
	g_autofree char *carrier = inventory_read(root, "sys/class/net/%s/carrier", name);
	g_autofree char *guid = infiniband_guid(address ? address : "");
	char *client = guid ? g_strconcat(INFINIBAND_PREFIX, guid, NULL) : NULL;

	return json_pack(
		"{s:s, s:o, s:o, s:o, s:b, s:n, s:o, s:o, s:o, s:n, s:o, s:o, s:o}", "name", name,
		"mac_address", inventory_text(mac_of(root, name, address ? address : "", guid)),
		"ipv4_address", inventory_text(address_of(all, name, AF_INET)), "ipv6_address",
		inventory_text(address_of(all, name, AF_INET6)), "has_carrier",
		carrier && g_str_equal(carrier, "1"), "lldp", "vendor",
		inventory_text(inventory_read(root, "sys/class/net/%s/device/vendor", name)),
		"product",
		inventory_text(inventory_read(root, "sys/class/net/%s/device/device", name)),
		"client_id", inventory_text(client), "biosdevname", "speed_mbps", speed(root, name),
		"pci_address", inventory_text(pci_address(root, name)), "driver",
		inventory_text(link_name(root, name, "device/driver")));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

json_t *inventory_interfaces(const char *root)
{
	g_autofree char *folder = g_build_filename(root, "sys/class/net", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	struct ifaddrs *all = NULL;
	json_t *array = json_array();
	const char *name;

	while (dir && (name = g_dir_read_name(dir)))
		if (is_listed(root, name))
			g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, by_name);
	if (g_str_equal(root, "/") && getifaddrs(&all) != 0)
		all = NULL;
	for (guint i = 0; i < names->len; i++)
		json_array_append_new(array,
				      interface_json(root, g_ptr_array_index(names, i), all));
	if (all)
		freeifaddrs(all);
	return array;
}
