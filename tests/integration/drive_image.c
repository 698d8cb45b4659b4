/* drive_image: runs the step write_image alone, as the agent's command thread does.
 *
 * Reads {"root", "args", "node"} on stdin and prints one JSON object: {"result", "partitions", "progress"}
 * or {"error"}.  With --twice the step runs a second time with "again" in place of "args": an agent that
 * failed must be usable at once.
 */
#include <stdio.h>
#include <string.h>

#include "jsons.h"
#include "limit.h"
#include "write_image.h"

static json_t *read_request(void)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	char piece[65536];
	size_t got;

	while ((got = fread(piece, 1, sizeof(piece), stdin)) > 0)
		g_string_append_len(text, piece, (gssize)got);
	json_t *request = json_parse_limited(text->str, text->len, LIMIT_AGENT_REQUEST,
					     "the request", &error);

	if (!request)
		fprintf(stderr, "drive_image: %s\n", error->message);
	return request;
}

static void print_line(json_t *line)
{
	g_autofree char *text = json_print_compact(line);

	puts(text);
	fflush(stdout);
	json_decref(line);
}

/* Not getrusage(): its peak includes what the parent had before it executed this program. */
static json_int_t peak_kib(void)
{
	g_autofree char *text = NULL;
	const char *line = NULL;

	if (g_file_get_contents("/proc/self/status", &text, NULL, NULL))
		line = strstr(text, "VmHWM:");
	return line ? (json_int_t)g_ascii_strtoull(line + strlen("VmHWM:"), NULL, 10) : -1;
}

static bool run(struct command_context *context, const json_t *request, const char *key)
{
	struct agent_error error = {.type = NULL};
	const char *phase;
	uint64_t done, total;
	json_t *result = step_write_image(context, json_object_get(request, key),
					  json_object_get(request, "node"), &error);

	command_context_read_progress(context, &phase, &done, &total);
	if (result)
		print_line(json_pack("{s:o, s:o, s:[s?, I, I], s:I}", "result", result,
				     "partitions", command_context_partitions(context), "progress",
				     phase, (json_int_t)done, (json_int_t)total, "peak_kib",
				     peak_kib()));
	else
		print_line(json_pack("{s:o, s:I}", "error", agent_error_json(&error), "peak_kib",
				     peak_kib()));
	agent_error_clear(&error);
	return result != NULL;
}

int main(int argc, char **argv)
{
	g_autoptr(json_t) request = read_request();
	const char *root = request ? json_peek_string(request, "root") : NULL;

	if (!root)
		return 2;
	g_autoptr(command_context) context = command_context_new(root);
	bool ok = run(context, request, "args");

	if (argc > 1 && strcmp(argv[1], "--twice") == 0)
		ok = run(context, request, "again");
	return ok ? 0 : 1;
}
