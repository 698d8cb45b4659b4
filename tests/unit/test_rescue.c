#include <crypt.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "command_table.h"
#include "errors.h"
#include "limit.h"
#include "rescue_hash.h"

#define SHA256_TEXT \
	"$5$abcdefgh$ijtOJ//yvc/9bq1g0llFn9dB688BwBDRD90DlKKSKE1" /* of "pw", as all here */
#define BCRYPT_TEXT   "$2b$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q"
#define YESCRYPT_TEXT "$y$j9T$abcdefgh$UGYCVcUwcoG0k8SZZ.Uz3i0RYQNy1YmYj4I4poBPer2"
#define SHA512_TEXT                                                                    \
	"$6$abcdefgh$KQeXafAQAaOoKTevphVU215RvJdgzyfASRasIOuh12hO8u0r1bGW92ZnTmC9Ijsi" \
	"Q8VPiTXBiZF49dFL1U4wX/"
#define SHA256_HASH "ijtOJ//yvc/9bq1g0llFn9dB688BwBDRD90DlKKSKE1"

static void test_known_kinds(void)
{
	static const char *const good[] = {
		SHA256_TEXT,
		SHA512_TEXT,
		BCRYPT_TEXT,
		YESCRYPT_TEXT,
		("$5$rounds=5000$abcdefgh$" SHA256_HASH),
	};
	struct crypt_data work = {.initialized = 0};

	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_assert_true(rescue_hash_check(good[i], NULL));
		/* The C library agrees that each of them is of "pw". */
		g_assert_cmpstr(crypt_r("pw", good[i], &work), ==, good[i]);
	}
}

static void test_bad_hashes(void)
{
	static const char *const bad[] = {
		"",
		"pw",
		"*",
		"!",
		"x",
		"$",
		"$5",
		"$5$",
		"$5$$" SHA256_HASH,
		"$5$abcdefghijklmnopq$" SHA256_HASH, /* a salt of 17 */
		"$5$abcdefgh$" SHA256_HASH "1",
		"$5$abcdefgh$ijtOJ//yvc/9bq1g0llFn9dB688BwBDRD90DlKKSKE",
		"$5$abcdefgh$" SHA256_HASH "\n",
		"$5$abc:efgh$" SHA256_HASH,
		"$5$abc\nroot::0:0$" SHA256_HASH,
		"$5$rounds=999$abcdefgh$" SHA256_HASH,
		"$5$rounds=1000000000$abcdefgh$" SHA256_HASH,
		"$5$rounds=$abcdefgh$" SHA256_HASH,
		"$5$rounds=5000",
		"$6$abcdefgh$" SHA256_HASH,
		"$1$abcdefgh$0123456789012345678901", /* MD5 */
		"$2b$03$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q",
		"$2b$32$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q",
		"$2b$5$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q",
		"$2b$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9",
		"$y$j9T$abcdefgh",
		"$y$$abcdefgh$UGYCVcUwcoG0k8SZZ.Uz3i0RYQNy1YmYj4I4poBPer2",
		"$gy$j9T$abcdefgh$UGYCVcUwcoG0k8SZZ.Uz3i0RYQNy1YmYj4I4poBPer2",
		"abJnggxhB/yWI", /* DES */
	};
	g_autofree char *large = g_strnfill(LIMIT_RESCUE_PASSWORD + 1, '$');

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_test_message("%s", bad[i]);
		g_assert_false(rescue_hash_check(bad[i], &error));
		g_assert_error(error, INOX_ERROR, INOX_ERROR_INVALID);
		/* Never with the text: it ends up in logs. */
		g_assert_true(strlen(bad[i]) < 5 || !strstr(error->message, bad[i]));
	}
	g_autoptr(GError) error = NULL;

	g_assert_false(rescue_hash_check(large, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
}

static void test_hashing(void)
{
	struct crypt_data work = {.initialized = 0};
	char *hash = rescue_hash_make("correct horse \xc3\xa4", NULL);
	char *other = rescue_hash_make("correct horse \xc3\xa4", NULL);
	g_autofree char *large = g_strnfill(LIMIT_RESCUE_PASSWORD, 'a');
	g_autoptr(GError) error = NULL;

	g_assert_true(rescue_hash_check(hash, NULL));
	g_assert_true(g_str_has_prefix(hash, "$5$"));
	g_assert_cmpstr(hash, !=, other);
	g_assert_cmpstr(crypt_r("correct horse \xc3\xa4", hash, &work), ==, hash);
	g_assert_null(rescue_hash_make("", NULL));
	g_assert_null(rescue_hash_make("a\nb", NULL));
	g_assert_null(rescue_hash_make(large, &error));
	g_assert_error(error, INOX_ERROR, INOX_ERROR_LIMIT);
	large[LIMIT_RESCUE_PASSWORD - 1] = '\0';
	char *longest = rescue_hash_make(large, NULL);

	g_assert_nonnull(longest);
	g_free(hash);
	g_free(other);
	g_free(longest);
}

/* ---- the command */

#define TOKEN "0123456789abcdefghijABCDEFGHIJ0123456789abc"

struct lab {
	struct agent a;
	struct command_context *context;
	char *root, *etc, *folder, *password, *mark, *token;
};

static void lab_setup(struct lab *lab, bool with_folder)
{
	g_autoptr(secret) token = secret_new(TOKEN);

	lab->root = g_dir_make_tmp("inox-rescue-XXXXXX", NULL);
	lab->etc = g_build_filename(lab->root, "etc", NULL);
	lab->folder = g_build_filename(lab->etc, "ipa-rescue-config", NULL);
	lab->password = g_build_filename(lab->folder, "ipa-rescue-password", NULL);
	lab->mark = g_build_filename(lab->root, AGENT_RESCUED_MARK, NULL);
	lab->token = g_build_filename(lab->root, "token", NULL);
	g_assert_cmpint(g_mkdir_with_parents(with_folder ? lab->folder : lab->etc, 0700), ==, 0);
	g_assert_true(g_file_set_contents(lab->token, TOKEN, -1, NULL));
	lab->a = (struct agent){.l = NULL};
	lab->a.options.root = g_strdup(lab->root);
	lab->a.options.token_file = g_strdup(lab->token);
	agent_set_token(&lab->a, token);
	lab->context = command_context_new(lab->root);
}

static void lab_clear(struct lab *lab)
{
	g_unlink(lab->password);
	g_unlink(lab->mark);
	g_unlink(lab->token);
	g_rmdir(lab->folder);
	g_rmdir(lab->etc);
	g_assert_cmpint(g_rmdir(lab->root), ==, 0); /* nothing else was left */
	secret_free(lab->a.token);
	agent_options_clear(&lab->a.options);
	command_context_free(lab->context);
	g_free(lab->root);
	g_free(lab->etc);
	g_free(lab->folder);
	g_free(lab->password);
	g_free(lab->mark);
	g_free(lab->token);
}

/* True if the command succeeded; takes the parameters. */
static bool finalize(struct lab *lab, json_t *params, struct agent_error *error)
{
	json_t *result = command_finalize_rescue(&lab->a, lab->context, params, error);

	g_assert_true(params != NULL);
	json_decref(params);
	json_decref(result);
	return result != NULL;
}

static void assert_untouched(const struct lab *lab)
{
	g_assert_false(g_file_test(lab->password, G_FILE_TEST_EXISTS));
	g_assert_false(g_file_test(lab->mark, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_test(lab->token, G_FILE_TEST_EXISTS));
	g_assert_cmpint(lab->a.power, ==, AGENT_STAYS);
	g_assert_true(agent_is_authorized(&lab->a, TOKEN, NULL));
}

static void test_finalize(void)
{
	struct lab lab;
	struct agent_error error = {.type = NULL};
	g_autofree char *text = NULL;
	struct stat st;

	lab_setup(&lab, true);
	g_assert_true(finalize(&lab,
			       json_pack("{s:s, s:b}", "rescue_password", SHA512_TEXT, "hashed", 1),
			       &error));
	g_assert_true(g_file_get_contents(lab.password, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, SHA512_TEXT);
	g_assert_cmpint(stat(lab.password, &st), ==, 0);
	g_assert_cmpint(st.st_mode & 0777, ==, 0600);
	g_assert_true(g_file_test(lab.mark, G_FILE_TEST_EXISTS));
	g_assert_cmpint(lab.a.power, ==, AGENT_RETIRES);
	g_assert_false(agent_is_authorized(&lab.a, TOKEN, NULL));
	g_assert_false(agent_is_authorized(&lab.a, NULL, "identity"));
	g_assert_false(g_file_test(lab.token, G_FILE_TEST_EXISTS));
	lab_clear(&lab);
}

static void test_finalize_plain(void)
{
	struct lab lab;
	struct agent_error error = {.type = NULL};
	struct crypt_data work = {.initialized = 0};
	g_autofree char *text = NULL;

	lab_setup(&lab, true);
	g_assert_true(finalize(&lab, json_pack("{s:s}", "rescue_password", "open sesame"), &error));
	g_assert_true(g_file_get_contents(lab.password, &text, NULL, NULL));
	g_assert_cmpstr(crypt_r("open sesame", text, &work), ==, text);
	lab_clear(&lab);
}

static void test_finalize_refusals(void)
{
	const struct {
		json_t *params;
		const char *part;
	} cases[] = {
		{json_object(), "empty"},
		{json_pack("{s:s}", "rescue_password", ""), "empty"},
		{json_pack("{s:i}", "rescue_password", 7), "is a text"},
		{json_pack("{s:n}", "rescue_password"), "is a text"},
		{json_pack("{s:s, s:s}", "rescue_password", SHA256_TEXT, "hashed", "yes"),
		 "is a text"},
		{json_pack("{s:s, s:b}", "rescue_password", "open sesame", "hashed", 1),
		 "known kind"},
		{json_pack("{s:s, s:b}", "rescue_password", "$6$short", "hashed", 1), "$6$"},
	};
	struct lab lab;

	lab_setup(&lab, true);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(agent_error) error = {.type = NULL};

		g_assert_false(finalize(&lab, cases[i].params, &error));
		g_assert_cmpint(error.code, ==, 400);
		g_assert_nonnull(strstr(error.details, cases[i].part));
		g_assert_null(strstr(error.details, "sesame"));
		assert_untouched(&lab);
	}
	lab_clear(&lab);
}

static void test_finalize_without_login(void)
{
	struct lab lab;
	g_auto(agent_error) error = {.type = NULL};

	lab_setup(&lab, false);
	g_assert_false(
		finalize(&lab, json_pack("{s:s, s:b}", "rescue_password", SHA256_TEXT, "hashed", 1),
			 &error));
	g_assert_cmpint(error.code, ==, 500);
	g_assert_nonnull(strstr(error.details, "no rescue login"));
	assert_untouched(&lab);
	lab_clear(&lab);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rescue/hash/the four kinds are taken", test_known_kinds);
	g_test_add_func("/rescue/hash/what no login could check is refused", test_bad_hashes);
	g_test_add_func("/rescue/hash/a plain password gets a hash of its own", test_hashing);
	g_test_add_func("/rescue/command/the hash is stored and the token is dead", test_finalize);
	g_test_add_func("/rescue/command/a plain password is hashed", test_finalize_plain);
	g_test_add_func("/rescue/command/a bad value changes nothing", test_finalize_refusals);
	g_test_add_func("/rescue/command/a ramdisk without the login says so",
			test_finalize_without_login);
	return g_test_run();
}
