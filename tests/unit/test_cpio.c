#include <glib.h>

#include "cpio.h"

static void test_archive(void)
{
	GByteArray *a = cpio_new();
	static const char expected[] = "070701"
				       "00000000"
				       "000041ED"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000004"
				       "00000000"
				       "etc\0\0\0"
				       "070701"
				       "00000000"
				       "00008180"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000005"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000006"
				       "00000000"
				       "etc/t\0"
				       "hello\0\0\0"
				       "070701"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "0000000B"
				       "00000000"
				       "TRAILER!!!";

	cpio_add_folder(a, "etc", 0755);
	cpio_add_file(a, "etc/t", 0600, "hello", 5);
	cpio_finish(a);
	g_assert_cmpuint(a->len, ==, 512);
	g_assert_cmpmem(a->data, sizeof(expected), expected, sizeof(expected));
	for (guint i = sizeof(expected); i < a->len; i++)
		g_assert_cmpuint(a->data[i], ==, 0);
	cpio_wipe_free(a);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/cpio/an archive is the same bytes as the format says", test_archive);
	return g_test_run();
}
