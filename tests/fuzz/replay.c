/* Feeds each file of a corpus folder to the target, and each of its prefixes' halves: the corpus is a
 * test even without a fuzzing engine. */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GDir) corpus = argc == 2 ? g_dir_open(argv[1], 0, &error) : NULL;
	const char *name;
	unsigned files = 0;

	if (!corpus) {
		fprintf(stderr, "usage: fuzz_X CORPUS-FOLDER (%s)\n", error ? error->message : "");
		return 2;
	}
	while ((name = g_dir_read_name(corpus))) {
		g_autofree char *path = g_build_filename(argv[1], name, NULL);
		g_autofree char *bytes = NULL;
		gsize length = 0;

		if (!g_file_get_contents(path, &bytes, &length, NULL))
			return 1;
		LLVMFuzzerTestOneInput((const uint8_t *)bytes, length);
		LLVMFuzzerTestOneInput((const uint8_t *)bytes, length / 2);
		files++;
	}
	printf("%u inputs\n", files);
	return files > 0 ? 0 : 1;
}
