#include <fcntl.h>
#include <glib/gstdio.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "media_base.h"
#include "media_range.h"
#include "media_record.h"
#include "media_ticket.h"

#define NODE   "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"
#define DIGEST "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define UNTIL  ((struct wall){G_GINT64_CONSTANT(1800000000) * G_USEC_PER_SEC})

/* ---- ticket */

static const struct media_key key = {"0123456789abcdef0123456789abcde"};
static const struct media_key other_key = {"0123456789abcdef0123456789abcdX"};

static char *print_target(const char *path)
{
	g_autofree char *ticket = media_ticket_print(&key, path, NULL);

	g_assert_nonnull(ticket);
	return g_strconcat("/", ticket, NULL);
}

static void check_ticket(const struct media_key *k, const char *target, int64_t seconds, int wanted)
{
	char path[MEDIA_PATH_LENGTH + 1] = "untouched";
	g_autoptr(GError) error = NULL;
	struct wall now = {seconds * G_USEC_PER_SEC};

	if (wanted < 0) {
		g_assert_true(media_ticket_check(k, target, now, path, &error));
		g_assert_true(media_path_is_valid(path));
		return;
	}
	g_assert_false(media_ticket_check(k, target, now, path, &error));
	g_assert_error(error, INOX_ERROR, wanted);
	g_assert_cmpstr(path, ==, "untouched");
	/* Neither the random part nor the signature is in the sentence. */
	for (size_t i = 0; strlen(target) > 60 && i + 12 < strlen(target); i++) {
		g_autofree char *part = g_strndup(target + i, 12);

		g_assert_null(strstr(error->message, part));
	}
}

static void test_ticket(void)
{
	g_autofree char *path = media_path_new(UNTIL), *again = media_path_new(UNTIL);
	g_autofree char *target = print_target(path);

	g_assert_cmpuint(strlen(path), ==, MEDIA_PATH_LENGTH);
	g_assert_cmpstr(path, !=, again);
	g_assert_true(g_str_has_prefix(path, "1800000000-"));
	g_assert_true(g_str_has_prefix(target, "/media/1800000000-"));
	g_assert_true(g_str_has_suffix(target, "/boot.iso"));
	g_assert_null(strchr(target, '?'));
	g_assert_false(media_path_is_over(path, (struct wall){UNTIL.us - 1}));
	g_assert_true(media_path_is_over(path, UNTIL));
	g_assert_false(media_path_is_over("0000000001", UNTIL));
	check_ticket(&key, target, 1799999999, -1);
	check_ticket(&key, target, 1800000000, INOX_ERROR_TIMEOUT);
	check_ticket(&other_key, target, 1799999999, INOX_ERROR_DENIED);
	/* Who has no key learns nothing of its time. */
	check_ticket(&other_key, target, 1900000000, INOX_ERROR_DENIED);
}

static void test_forged_tickets(void)
{
	g_autofree char *path = media_path_new(UNTIL), *target = print_target(path);
	size_t length = strlen(target);

	/* Each character counts: a later time, another boot, another signature, another name. */
	for (size_t i = 0; i < length; i++) {
		g_autofree char *forged = g_strdup(target),
				*longer = g_strdup_printf("%sx", target);
		g_autofree char *shorter = g_strndup(target, i);
		bool signed_part = i >= 7 && i < length - strlen("/boot.iso");

		forged[i] = forged[i] == '9' ? '8' : '9';
		check_ticket(&key, forged, 1,
			     signed_part && i != 17 && i != 7 + MEDIA_PATH_LENGTH
				     ? INOX_ERROR_DENIED
				     : INOX_ERROR_NOT_FOUND);
		check_ticket(&key, shorter, 1, INOX_ERROR_NOT_FOUND);
		check_ticket(&key, longer, 1, INOX_ERROR_NOT_FOUND);
	}
	check_ticket(&key, "", 1, INOX_ERROR_NOT_FOUND);
	check_ticket(&key, "/media/", 1, INOX_ERROR_NOT_FOUND);
}

static void test_known_signature(void)
{
	static const char path[] = "1800000000-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	g_autofree char *ticket = media_ticket_print(&key, path, NULL);
	g_autoptr(GError) error = NULL;

	/* printf 'inox media 1 1800000000-AAA...' | openssl dgst -sha256 -mac HMAC -macopt hexkey:3031...6500 */
	g_assert_cmpstr(ticket, ==,
			"media/1800000000-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-"
			"FE-GfwjcLzKjKvb6zpujjq_880cBYnB5/boot.iso");
	g_assert_null(
		media_ticket_print(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
}

static void test_key_file(void)
{
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("inox-media-XXXXXX", &path, NULL);
	g_autoptr(GError) readable = NULL, small = NULL, missing = NULL;
	struct media_key k;

	g_assert_cmpint(write(fd, key.bytes, 31), ==, 31);
	g_assert_false(media_key_load(path, &k, &small));
	g_assert_error(small, INOX_ERROR, INOX_ERROR_INVALID);
	g_assert_cmpint(write(fd, key.bytes + 31, 1), ==, 1);
	g_assert_true(media_key_load(path, &k, NULL));
	g_assert_cmpmem(k.bytes, 32, key.bytes, 32);
	g_assert_cmpint(fchmod(fd, 0640), ==, 0);
	g_assert_false(media_key_load(path, &k, &readable));
	g_assert_nonnull(strstr(readable->message, "can be read by others"));
	close(fd);
	g_unlink(path);
	g_assert_false(media_key_load(path, &k, &missing));
	g_assert_error(missing, INOX_ERROR, INOX_ERROR_NOT_FOUND);
}

/* ---- record */

#define HEAD "inox-media 1\nnode " NODE "\nbase ramdisk/boot.iso\nsize 100\nsha256 " DIGEST "\n"

static bool parse(const char *text, struct media_record *r, GError **error)
{
	return media_record_parse((const uint8_t *)text, strlen(text), r, error);
}

static void test_record(void)
{
	g_auto(media_record) r = {.count = 0};
	size_t length;
	uint8_t buffer[100];

	g_assert_true(parse(HEAD "patch 10 3\npatch 13 1\npatch 98 2\n\nabcdef", &r, NULL));
	g_assert_cmpstr(r.node.s, ==, NODE);
	g_assert_cmpstr(r.base, ==, "ramdisk/boot.iso");
	g_assert_cmpuint(r.size, ==, 100);
	g_assert_cmpuint(r.digest[31], ==, 31);
	memset(buffer, '.', sizeof(buffer));
	media_record_apply(&r, 0, buffer, sizeof(buffer));
	g_assert_cmpmem(buffer + 9, 6, ".abcd.", 6);
	g_assert_cmpmem(buffer + 97, 3, ".ef", 3);
	uint8_t *again = media_record_print(&r, &length, NULL);

	g_assert_cmpmem(again, (int)length, HEAD "patch 10 3\npatch 13 1\npatch 98 2\n\nabcdef",
			(int)sizeof(HEAD "patch 10 3\npatch 13 1\npatch 98 2\n\nabcdef") - 1);
	g_free(again);
}

/* Each piece of the whole is the same bytes, however it is cut. */
static void test_record_in_pieces(void)
{
	g_auto(media_record) r = {.count = 0};
	uint8_t whole[100];

	g_assert_true(
		parse(HEAD "patch 0 2\npatch 10 3\npatch 13 1\npatch 98 2\n\nxyabcdef", &r, NULL));
	memset(whole, '.', sizeof(whole));
	media_record_apply(&r, 0, whole, sizeof(whole));
	for (size_t at = 0; at < sizeof(whole); at++)
		for (size_t length = 0; length <= sizeof(whole) - at; length++) {
			uint8_t piece[100];

			memset(piece, '.', sizeof(piece));
			media_record_apply(&r, at, piece, length);
			g_assert_cmpint(memcmp(piece, whole + at, length), ==, 0);
			for (size_t i = length; i < sizeof(piece); i++)
				g_assert_cmpint(piece[i], ==, '.');
		}
}

static void test_bad_records(void)
{
	static const struct {
		const char *text, *wanted;
	} table[] = {
		{"", "line 1"},
		{"inox-media 2\n", "line 1"},
		{"inox-media 1\nnode x\n", "line 2"},
		{"inox-media 1\nnode 5F2A7C1E-90b4-4c0e-8a55-0d6b1f7e2c33\n", "line 2"},
		{"inox-media 1\nnode " NODE "\nbase ../x\n", "line 3"},
		{"inox-media 1\nnode " NODE "\nbase /etc/passwd\n", "line 3"},
		{"inox-media 1\nnode " NODE "\nbase a\nsize 09\n", "line 4"},
		{"inox-media 1\nnode " NODE "\nbase a\nsize 536870913\n", "line 4"},
		{"inox-media 1\nnode " NODE "\nbase a\nsize 9\nsha256 00\n", "line 5"},
		{"inox-media 1\nnode " NODE "\nbase a\nsize 0\nsha256 " DIGEST "\n\n", "1 to"},
		{HEAD, "line 6"},
		{HEAD "patch 1\n\na", "line 6"},
		{HEAD "patch 1 1 \n\na", "line 6"},
		{HEAD "patch -1 1\n\na", "line 6"},
		{HEAD "patch 99999999999999999999 1\n\na", "line 6"},
		{HEAD "patch 1 0\n\n", "patch 1"},
		{HEAD "patch 99 2\n\nab", "reaches over the end"},
		{HEAD "patch 5 2\npatch 6 1\n\nabc", "patch 2 begins before"},
		{HEAD "patch 5 2\n\na", "ends too early"},
		{HEAD "patch 5 2\n\nabc", "1 bytes are behind"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		g_auto(media_record) r = {.count = 0};
		g_autoptr(GError) error = NULL;

		g_assert_false(parse(table[i].text, &r, &error));
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, table[i].wanted));
	}
}

static void test_limits_of_records(void)
{
	g_autoptr(GString) many = g_string_new(HEAD);
	g_autofree uint8_t *large = g_malloc0(LIMIT_MEDIA_RECORD + 1);
	struct media_record r = {
		.node = {NODE}, .base = "a", .size = LIMIT_MEDIA_RECORD, .count = 1};
	g_autoptr(GError) count = NULL, length = NULL, whole = NULL;
	size_t printed;

	for (unsigned i = 0; i <= LIMIT_MEDIA_PATCHES; i++)
		g_string_append_printf(many, "patch %u 1\n", i);
	g_string_append(many, "\n0123456789abcdefg");
	g_assert_false(parse(many->str, &r, &count));
	g_assert_error(count, INOX_ERROR, INOX_ERROR_LIMIT);
	g_assert_false(media_record_parse(large, LIMIT_MEDIA_RECORD + 1, &r, &length));
	g_assert_error(length, INOX_ERROR, INOX_ERROR_LIMIT);
	r.patches[0] = (struct media_patch){0, LIMIT_MEDIA_RECORD, large};
	g_assert_null(media_record_print(&r, &printed, &whole));
	g_assert_error(whole, INOX_ERROR, INOX_ERROR_LIMIT);
}

/* ---- range */

static void test_ranges(void)
{
	static const struct {
		const char *range, *if_range;
		enum media_range_kind kind;
		uint64_t offset, length;
	} table[] = {
		{NULL, NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=0-0", NULL, MEDIA_RANGE_SOME, 0, 1},
		{"bytes=0-999", NULL, MEDIA_RANGE_SOME, 0, 1000},
		{"bytes=5-9", NULL, MEDIA_RANGE_SOME, 5, 5},
		{"Bytes=5-9", NULL, MEDIA_RANGE_SOME, 5, 5},
		{"bytes=990-2000", NULL, MEDIA_RANGE_SOME, 990, 10},
		{"bytes=990-99999999999999999999999", NULL, MEDIA_RANGE_SOME, 990, 10},
		{"bytes=999-", NULL, MEDIA_RANGE_SOME, 999, 1},
		{"bytes=-1", NULL, MEDIA_RANGE_SOME, 999, 1},
		{"bytes=-1000", NULL, MEDIA_RANGE_SOME, 0, 1000},
		{"bytes=-5000", NULL, MEDIA_RANGE_SOME, 0, 1000},
		{"bytes=1000-", NULL, MEDIA_RANGE_UNSATISFIABLE, 0, 1000},
		{"bytes=99999999999999999999-", NULL, MEDIA_RANGE_UNSATISFIABLE, 0, 1000},
		{"bytes=-0", NULL, MEDIA_RANGE_UNSATISFIABLE, 0, 1000},
		/* Not understood, or several: all of it. */
		{"bytes=9-5", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=-", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=1-2,4-5", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=1-2x", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=--1", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"sectors=1-2", NULL, MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=5-9", "\"tag\"", MEDIA_RANGE_SOME, 5, 5},
		{"bytes=5-9", "\"old\"", MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=5-9", "W/\"tag\"", MEDIA_RANGE_NONE, 0, 1000},
		{"bytes=5-9", "Sat, 21 Nov 2026 00:00:00 GMT", MEDIA_RANGE_NONE, 0, 1000},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		struct media_range r;

		g_test_message("%s", table[i].range);
		g_assert_cmpint(
			media_range_read(table[i].range, table[i].if_range, "\"tag\"", 1000, &r),
			==, table[i].kind);
		g_assert_cmpuint(r.offset, ==, table[i].offset);
		g_assert_cmpuint(r.length, ==, table[i].length);
	}
}

/* ---- base */

struct tree {
	char *folder, *file;
	int fd;
	struct media_bases *bases;
};

static void tree_start(struct tree *t)
{
	t->folder = g_dir_make_tmp("inox-media-XXXXXX", NULL);
	t->file = g_build_filename(t->folder, "base", NULL);
	t->fd = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->bases = media_bases_new(t->fd);
	g_assert_true(g_file_set_contents(t->file, "0123456789", 10, NULL));
}

static void tree_end(struct tree *t)
{
	media_bases_free(t->bases);
	close(t->fd);
	g_unlink(t->file);
	g_rmdir(t->folder);
	g_free(t->file);
	g_free(t->folder);
}

static struct media_record record_of(const char *content)
{
	struct media_record r = {.base = "base", .size = strlen(content)};

	g_assert_true(EVP_Digest(content, strlen(content), r.digest, NULL, EVP_sha256(), NULL) ==
		      1);
	return r;
}

static void test_base(void)
{
	const struct media_record r = record_of("0123456789"), longer = record_of("0123456789a"),
				  other = record_of("012345678x");
	g_autoptr(GError) size = NULL, content = NULL, gone = NULL;
	struct media_base base;
	uint8_t buffer[4];
	struct tree t;

	tree_start(&t);
	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(media_bases_open(t.bases, &r, &base, NULL));
		g_assert_true(media_base_read(&base, 6, buffer, 4, NULL));
		g_assert_cmpmem(buffer, 4, "6789", 4);
		g_assert_false(media_base_read(&base, 7, buffer, 4, NULL));
		media_base_close(&base);
	}
	g_assert_false(media_bases_open(t.bases, &longer, &base, &size));
	g_assert_error(size, INOX_ERROR, INOX_ERROR_CONFLICT);
	g_assert_false(media_bases_open(t.bases, &other, &base, &content));
	g_assert_error(content, INOX_ERROR, INOX_ERROR_CONFLICT);
	g_unlink(t.file);
	g_assert_false(media_bases_open(t.bases, &r, &base, &gone));
	g_assert_error(gone, INOX_ERROR, INOX_ERROR_NOT_FOUND);
	tree_end(&t);
}

static void test_changed_base(void)
{
	const struct media_record r = record_of("0123456789");
	g_autoptr(GError) written = NULL, other = NULL;
	struct media_base base;
	uint8_t buffer[4];
	struct tree t;

	tree_start(&t);
	g_assert_true(media_bases_open(t.bases, &r, &base, NULL));
	/* Another file in its place: who reads the old one gets all of the old one. */
	g_unlink(t.file);
	g_assert_true(g_file_set_contents(t.file, "abcdefghij", 10, NULL));
	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(media_base_read(&base, 0, buffer, 4, NULL));
		g_assert_cmpmem(buffer, 4, "0123", 4);
	}
	media_base_close(&base);
	g_assert_false(media_bases_open(t.bases, &r, &base, &other));
	g_assert_error(other, INOX_ERROR, INOX_ERROR_CONFLICT);
	/* The same file, written over while it is read. */
	const struct media_record second = record_of("abcdefghij");

	g_assert_true(media_bases_open(t.bases, &second, &base, NULL));
	int fd = open(t.file, O_WRONLY | O_CLOEXEC);
	const struct timespec times[] = {{1, 0}, {1, 0}};

	g_assert_cmpint(pwrite(fd, "X", 1, 9), ==, 1);
	g_assert_cmpint(futimens(fd, times), ==, 0);
	close(fd);
	g_assert_false(media_base_read(&base, 0, buffer, 4, &written));
	g_assert_error(written, INOX_ERROR, INOX_ERROR_CONFLICT);
	media_base_close(&base);
	tree_end(&t);
}

#define BIG (1024 * 1024)

/* Bytes that this process has read so far. */
static uint64_t count_read(void)
{
	g_autofree char *text = NULL;

	g_assert_true(g_file_get_contents("/proc/self/io", &text, NULL, NULL));
	g_assert_true(g_str_has_prefix(text, "rchar: "));
	return g_ascii_strtoull(text + strlen("rchar: "), NULL, 10);
}

/* True if the base was read whole to be opened. */
static bool is_looked_at(struct tree *t, const struct media_record *r)
{
	uint64_t before = count_read();
	struct media_base base;

	g_assert_true(media_bases_open(t->bases, r, &base, NULL));
	media_base_close(&base);
	return count_read() - before >= BIG;
}

static struct media_record add_big(struct tree *t, char **ret_file)
{
	g_autofree char *content = g_strnfill(BIG, 'x');
	struct media_record r = record_of(content);

	*ret_file = g_build_filename(t->folder, "big", NULL);
	g_strlcpy(r.base, "big", sizeof(r.base));
	g_assert_true(g_file_set_contents(*ret_file, content, BIG, NULL));
	return r;
}

/* Each time it is another file, as far as its times say. */
static void open_others(struct tree *t, const struct media_record *r, unsigned count)
{
	static unsigned second = 1;
	struct media_base base;

	for (unsigned i = 0; i < count; i++) {
		const struct timespec times[] = {{++second, 0}, {second, 0}};

		g_assert_cmpint(utimensat(AT_FDCWD, t->file, times, 0), ==, 0);
		g_assert_true(media_bases_open(t->bases, r, &base, NULL));
		media_base_close(&base);
	}
}

static void test_remembered_bases(void)
{
	const struct media_record small = record_of("0123456789");
	g_autofree char *file = NULL;
	struct tree t;

	tree_start(&t);
	const struct media_record big = add_big(&t, &file);

	g_assert_true(is_looked_at(&t, &big));
	for (unsigned i = 0; i < 3; i++) {
		open_others(&t, &small, 3000);
		g_assert_false(is_looked_at(&t, &big));
	}
	/* What nobody asked for goes first. */
	open_others(&t, &small, 5000);
	g_assert_true(is_looked_at(&t, &big));
	g_unlink(file);
	tree_end(&t);
}

/* A new one is put in its place with mv: all who read the old one go on, and it is looked at once. */
static void test_many_readers_of_a_base_that_lost_its_name(void)
{
	g_autofree char *file = NULL;
	struct media_base readers[8];
	uint8_t buffer[4];
	struct tree t;

	tree_start(&t);
	const struct media_record big = add_big(&t, &file);

	for (unsigned i = 0; i < G_N_ELEMENTS(readers); i++)
		g_assert_true(media_bases_open(t.bases, &big, &readers[i], NULL));
	g_unlink(file);
	uint64_t before = count_read();

	for (unsigned i = 0; i < G_N_ELEMENTS(readers); i++) {
		g_assert_true(media_base_read(&readers[i], BIG - 4, buffer, 4, NULL));
		g_assert_cmpmem(buffer, 4, "xxxx", 4);
		media_base_close(&readers[i]);
	}
	uint64_t wanted = count_read() - before;

	g_assert_cmpuint(wanted, >=, BIG);
	g_assert_cmpuint(wanted, <, 2 * BIG);
	tree_end(&t);
}

static void test_links(void)
{
	const struct media_record r = record_of("0123456789");
	g_autoptr(GError) error = NULL;
	struct media_base base;
	struct tree t;

	tree_start(&t);
	g_autofree char *real = g_build_filename(t.folder, "real", NULL);

	g_assert_cmpint(g_rename(t.file, real), ==, 0);
	g_assert_cmpint(symlink(real, t.file), ==, 0);
	g_assert_false(media_bases_open(t.bases, &r, &base, &error));
	g_unlink(t.file);
	g_assert_cmpint(mkfifo(t.file, 0600), ==, 0);
	g_assert_false(media_bases_open(t.bases, &r, &base, NULL));
	g_unlink(real);
	tree_end(&t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ticket/a path counts with its key until its time is over", test_ticket);
	g_test_add_func("/ticket/each changed character is refused", test_forged_tickets);
	g_test_add_func("/ticket/the signature is HMAC-SHA256", test_known_signature);
	g_test_add_func("/ticket/a key that others can read is refused", test_key_file);
	g_test_add_func("/record/what is printed is parsed", test_record);
	g_test_add_func("/record/a piece of the whole has the patches in it",
			test_record_in_pieces);
	g_test_add_func("/record/what is wrong is named", test_bad_records);
	g_test_add_func("/record/too many patches and too many bytes are refused",
			test_limits_of_records);
	g_test_add_func("/range/as in RFC 9110", test_ranges);
	g_test_add_func("/base/it has to be the one that the publisher saw", test_base);
	g_test_add_func("/base/a change while it is read is seen", test_changed_base);
	g_test_add_func("/base/thousands are remembered, and the least used goes first",
			test_remembered_bases);
	g_test_add_func("/base/one that lost its name is looked at once for all who read it",
			test_many_readers_of_a_base_that_lost_its_name);
	g_test_add_func("/base/links and pipes are not opened", test_links);
	return g_test_run();
}
