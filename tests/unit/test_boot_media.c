/* Virtual media: the ISO of a boot. */
#include <glib/gstdio.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot_fixture.h"
#include "boot_iso.h"
#include "errors.h"
#include "limit.h"
#include "media_record.h"
#include "shelf-backend.h"

/* A base ISO in small: a sector of something else before, between and behind the places. */
static GByteArray *make_base(void)
{
	static const struct {
		const char *name;
		guint size;
	} all[] = {
#define ROW(constant, name, size) {(name), (size)},
		BOOT_ISO_PLACE_LIST(ROW)
#undef ROW
	};
	GByteArray *iso = g_byte_array_new();

	g_byte_array_set_size(iso, 2048);
	memset(iso->data, 'x', 2048);
	for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autofree char *mark =
			g_strdup_printf("inox-place %s %u\n", all[i].name, all[i].size);
		guint at = iso->len;

		g_byte_array_set_size(iso, at + all[i].size + 2048);
		memset(iso->data + at, '\n', all[i].size);
		memcpy(iso->data + at, mark, strlen(mark));
		memset(iso->data + at + all[i].size, 'y', 2048);
	}
	return iso;
}

static void put_base(const struct host *h)
{
	g_autoptr(GByteArray) base = make_base();
	g_autofree char *folder = g_build_filename(h->root, "http", "ramdisk", NULL);
	g_autofree char *path = g_build_filename(folder, "boot.iso", NULL);

	g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
}

static const struct script_site media_site = {
	HTTP_URL, "ramdisk/vmlinuz", "ramdisk/initrd", "ramdisk/boot.iso", 24, "10.77.2.1"};

static bool publish_media(struct host *h, const struct script_site *at, GError **error)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};

	m.boot_publish.media = true;
	return delivery_publish(h->shelf, at, &m.boot_publish, error);
}

#define RECORD "http/once/" PATH "/boot.media"

/* The ISO that inox-media makes from the record and the base. */
static char *compose(const struct host *h, gsize *ret_length)
{
	g_autofree char *record = g_build_filename(h->root, RECORD, NULL), *text = NULL;
	g_auto(media_record) r = {.count = 0};
	char *base = NULL;
	gsize length = 0;
	uint8_t digest[MEDIA_DIGEST_BYTES];

	g_assert_true(g_file_get_contents(record, &text, &length, NULL));
	g_assert_cmpuint(length, <, 64 * 1024);
	g_assert_true(media_record_parse((const uint8_t *)text, length, &r, NULL));
	g_assert_cmpstr(r.node.s, ==, NODE);
	g_autofree char *path = g_build_filename(h->root, "http", r.base, NULL);

	g_assert_true(g_file_get_contents(path, &base, ret_length, NULL));
	g_assert_cmpuint(r.size, ==, *ret_length);
	g_assert_true(EVP_Digest(base, *ret_length, digest, NULL, EVP_sha256(), NULL) == 1);
	g_assert_cmpmem(digest, sizeof(digest), r.digest, sizeof(r.digest));
	media_record_apply(&r, 0, (uint8_t *)base, *ret_length);
	return base;
}

static void test_media(void)
{
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	g_autoptr(GByteArray) base = make_base();

	for (unsigned i = 0; i < 2; i++)
		g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_cmpuint(length, ==, base->len);
	g_assert_cmpuint(host_mode(&h, RECORD), ==, 0640);
	/* Nothing but the places has changed. */
	g_assert_cmpmem(bytes, 2048, base->data, 2048);
	g_assert_cmpint(bytes[2048 + 4096], ==, 'y');
	g_assert_cmpint(bytes[length - 1], ==, 'y');
	g_assert_null(memmem(bytes, length, "inox-place", strlen("inox-place")));
	static const char line[] =
		"append inox-node=" NODE " inox-epoch=7 inox-transport=psk quiet "
		"boot_method=vmedia BOOTIF=01-52-54-00-77-02-10 "
		"inox-address=10.77.2.10/24 inox-gateway=10.77.2.1\n";

	g_assert_nonnull(memmem(bytes, length, line, strlen(line)));
	g_assert_nonnull(memmem(bytes, length, "070701", 6));
	g_assert_nonnull(memmem(bytes, length, "agent_token = " TOKEN "\n", 14 + strlen(TOKEN)));
	/* The address is in the ISO: DHCP has nothing to do, and there is no network boot. */
	g_assert_false(host_has(&h, "dhcp-hosts/52-54-00-77-02-10"));
	g_assert_false(host_has(&h, "http/boot/52-54-00-77-02-10"));
	g_assert_false(host_has(&h, "http/once/" PATH "/token.img"));
	g_assert_true(host_withdraw(&h, true));
	g_assert_false(host_has(&h, "http/once/" PATH));
	host_end(&h);
}

static void refuse_base(struct host *h, int wanted, const char *sentence)
{
	g_autoptr(GError) error = NULL;

	g_assert_false(publish_media(h, &media_site, &error));
	g_test_message("%s", error->message);
	g_assert_error(error, INOX_ERROR, wanted);
	g_assert_nonnull(strstr(error->message, sentence));
	g_assert_false(host_has(h, "http/once"));
}

/* None of them would be another one at the next attempt. */
static void test_what_is_no_base(void)
{
	struct host h;

	host_start(&h);
	put_base(&h);
	g_autofree char *path = g_build_filename(h.root, "http/ramdisk/boot.iso", NULL);

	g_assert_cmpint(truncate(path, (off_t)LIMIT_MEDIA_ISO + 1), ==, 0);
	refuse_base(&h, INOX_ERROR_LIMIT, "536870913 bytes");
	g_unlink(path);
	g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
	refuse_base(&h, INOX_ERROR_INVALID, "no regular file");
	g_rmdir(path);
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	refuse_base(&h, INOX_ERROR_INVALID, "no regular file");
	g_unlink(path);
	refuse_base(&h, INOX_ERROR_NOT_FOUND, "the ramdisk's ISO");
	host_end(&h);
}

#define NETWORK_BYTES_PER_SECOND (100 * 1000 * 1000 / 8)
#define CONDUCTOR_SECONDS        120 /* after which it takes the request for lost */

static void test_time_for_a_pushed_base(void)
{
	g_assert_cmpuint(shelf_dav_seconds(LIMIT_MEDIA_ISO), >,
			 LIMIT_MEDIA_ISO / NETWORK_BYTES_PER_SECOND * 3 / 2);
	g_assert_cmpuint(shelf_dav_seconds(LIMIT_MEDIA_ISO), <, CONDUCTOR_SECONDS - 20);
	g_assert_cmpuint(shelf_dav_seconds(65536), ==, 20);
}

static void test_media_without_token(void)
{
	g_auto(message) m = {.type = MESSAGE_boot_publish, .boot_publish = boot_publish_message()};
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	secret_free(m.boot_publish.token);
	m.boot_publish.token = NULL;
	m.boot_publish.media = true;
	g_assert_true(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_null(memmem(bytes, length, "inox-place", strlen("inox-place")));
	g_assert_null(memmem(bytes, length, "agent_token", strlen("agent_token")));
	g_assert_null(memmem(bytes, length, "070701", 6));
	/* The ISO has a path of its own all the same. */
	g_free(m.boot_publish.path);
	m.boot_publish.path = g_strdup("../x");
	g_assert_false(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	/* One of a version whose paths had no time in them. */
	g_free(m.boot_publish.path);
	m.boot_publish.path = g_strdup("Zm9vYmFyYmF6cXV4MTIzNDU2");
	g_assert_false(delivery_publish(h.shelf, &media_site, &m.boot_publish, NULL));
	host_end(&h);
}

/* What was found out about the base is kept, until it is another one. */
static void test_media_with_a_new_base(void)
{
	struct host h;
	gsize length = 0;

	host_start(&h);
	put_base(&h);
	g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *path = g_build_filename(h.root, "http/ramdisk/boot.iso", NULL);
	g_autoptr(GByteArray) base = make_base();

	base->data[0] = 'n';
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_true(publish_media(&h, &media_site, NULL));
	g_autofree char *bytes = compose(&h, &length);

	g_assert_cmpint(bytes[0], ==, 'n');
	g_unlink(path);
	g_assert_false(publish_media(&h, &media_site, NULL));
	host_end(&h);
}

static void test_media_with_dhcp(void)
{
	struct script_site dhcp = media_site;
	struct host h;

	dhcp.prefix = 0;
	host_start(&h);
	put_base(&h);
	g_assert_true(publish_media(&h, &dhcp, NULL));
	g_autofree char *iso = host_read(&h, "dhcp-hosts/52-54-00-77-02-10");
	g_autofree char *other = host_read(&h, "dhcp-hosts/52-54-00-77-02-11");

	g_assert_cmpstr(iso, ==, "52:54:00:77:02:10,10.77.2.10\n");
	g_assert_cmpstr(other, ==, "52:54:00:77:02:11,ignore\n");
	host_end(&h);
}

static void test_media_without_base(void)
{
	g_autoptr(GError) missing = NULL, damaged = NULL, prefix = NULL, twice = NULL;
	struct script_site wrong = media_site;
	struct host h;

	host_start(&h);
	g_assert_false(publish_media(&h, &media_site, &missing));
	g_assert_error(missing, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	put_base(&h);
	wrong.prefix = 33;
	g_assert_false(publish_media(&h, &wrong, &prefix));
	g_assert_error(prefix, INOX_ERROR, INOX_ERROR_INVALID);
	g_autofree char *path = g_build_filename(h.root, "http/ramdisk/boot.iso", NULL);
	g_autoptr(GByteArray) base = make_base();

	/* A place that is in use, and one that is there twice. */
	base->data[2048 + 100] = 'z';
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_false(publish_media(&h, &media_site, &damaged));
	g_assert_error(damaged, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_nonnull(strstr(damaged->message, "'isolinux.cfg' 0 times"));
	base->data[2048 + 100] = '\n';
	g_byte_array_append(base, base->data + 2048, 4096);
	g_assert_true(g_file_set_contents(path, (const char *)base->data, base->len, NULL));
	g_assert_false(publish_media(&h, &media_site, &twice));
	g_assert_nonnull(strstr(twice->message, "'isolinux.cfg' 2 times"));
	g_assert_false(host_has(&h, "http/once"));
	host_end(&h);
}

static void test_media_arguments(void)
{
	const struct boot_iso_network v6 = {.address = "fd77::10", .prefix = 64, .gateway = ""};
	g_autofree char *full = g_strnfill(SCRIPT_ARGUMENTS_MAX - 20, 'a');
	g_autoptr(GError) error = NULL;
	struct mac mac;

	g_assert_true(mac_parse(MAC, &mac, NULL));
	g_autofree char *line = boot_iso_arguments("a", mac, &v6, NULL, NULL);

	g_assert_cmpstr(line, ==,
			"a boot_method=vmedia BOOTIF=01-52-54-00-77-02-10 "
			"inox-address=fd77::10/64");
	g_assert_null(boot_iso_arguments(full, mac, &v6, NULL, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/media/the ISO of a boot is the base with its places filled", test_media);
	g_test_add_func("/media/what is no ISO is named, and is not asked for again",
			test_what_is_no_base);
	g_test_add_func("/media/a pushed ISO has the time that its size takes",
			test_time_for_a_pushed_base);
	g_test_add_func("/media/a boot without a token has an ISO without one",
			test_media_without_token);
	g_test_add_func("/media/a base that was replaced counts for the next boot",
			test_media_with_a_new_base);
	g_test_add_func("/media/without a prefix the machine asks DHCP", test_media_with_dhcp);
	g_test_add_func("/media/a base that is missing or damaged is named",
			test_media_without_base);
	g_test_add_func("/media/arguments have interface and address", test_media_arguments);
	return g_test_run();
}
