/* command_log.c: what somebody needs who asks later why a deployment failed: the agent's log, the kernel's, and what
 * the machine looked like.  No program is started: it is read from /proc, /sys and the kernel. */
#include <fcntl.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command_table.h"
#include "disk.h"
#include "errors.h"
#include "inventory.h"
#include "jsons.h"
#include "limit.h"
#include "log_archive.h"
#include "log_ring.h"

#define TEXT_MOST      (256 * 1024) /* of one member: its end, which is the newest */
#define TEXT_LEAST     1024
#define FILES_MOST     64
#define KLOG_READ_ALL  3 /* syslog(2) */
#define KLOG_SIZE      10
#define TOKEN_ARGUMENT "ipa-agent-token="

struct source {
	const char *name;
	char *(*collect)(const struct agent *a); /* NULL: there is none */
};

struct member {
	char *name, *text;
};

/* ---- sources */

static char *collect_journal(const struct agent *a)
{
	(void)a;
	return log_ring_text();
}

static char *collect_dmesg(const struct agent *a)
{
	int size = agent_is_machine(a) ? klogctl(KLOG_SIZE, NULL, 0) : 0;
	char *text = size > 0 ? g_malloc0((gsize)size + 1) : NULL;

	if (text && klogctl(KLOG_READ_ALL, text, size) >= 0)
		return text;
	g_free(text);
	return NULL;
}

/* The end of a text, from the beginning of a line if it has more than one. */
static const char *end_of(const char *text, size_t most)
{
	size_t length = strlen(text);

	if (length <= most)
		return text;
	const char *end = text + length - most, *line = strchr(end, '\n');

	return line && line[1] ? line + 1 : end;
}

/* The end of a file, as text; files of /proc say that they are empty, so the size is not asked for. */
static char *read_end(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return NULL;
	/* one byte more: what starts in the middle of a line is seen to be cut */
	g_autofree char *text = g_malloc0(TEXT_MOST + 2);
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	size_t length = 0;
	ssize_t n = regular ? 1 : 0;

	if (regular && st.st_size > TEXT_MOST)
		(void)lseek(fd, -(TEXT_MOST + 1), SEEK_END);
	while (n > 0 && length <= TEXT_MOST) {
		n = read(fd, text + length, TEXT_MOST + 1 - length);
		length += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return regular ? g_utf8_make_valid(end_of(text, TEXT_MOST), -1) : NULL;
}

static char *read_below(const struct agent *a, const char *relative)
{
	g_autofree char *path = g_build_filename(a->options.root, relative, NULL);

	return read_end(path);
}

static char *collect_mdstat(const struct agent *a)
{
	return read_below(a, "proc/mdstat");
}

static char *collect_mounts(const struct agent *a)
{
	return read_below(a, "proc/1/mounts");
}

static char *collect_partitions(const struct agent *a)
{
	return read_below(a, "proc/partitions");
}

static char *collect_memory(const struct agent *a)
{
	return read_below(a, "proc/meminfo");
}

static char *collect_interfaces(const struct agent *a)
{
	g_autoptr(json_t) interfaces = inventory_interfaces(a->options.root);

	return json_dumps(interfaces, JSON_INDENT(1));
}

static char *collect_disks(const struct agent *a)
{
	g_autoptr(GPtrArray) disks = disk_list(a->options.root, NULL);
	g_autoptr(json_t) list = json_array();

	for (guint i = 0; disks && i < disks->len; i++)
		json_array_append_new(list, disk_json(disks->pdata[i]));
	return json_dumps(list, JSON_INDENT(1));
}

/* One line of /proc/PID/stat each; arguments are left out, they may hold anything. */
static char *collect_processes(const struct agent *a)
{
	g_autofree char *path = g_build_filename(a->options.root, "proc", NULL);
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	g_autoptr(GString) text = g_string_new(NULL);
	const char *entry;

	while (dir && (entry = g_dir_read_name(dir)) && text->len < TEXT_MOST) {
		g_autofree char *file = g_build_filename(path, entry, "stat", NULL);
		g_autofree char *line = g_ascii_isdigit(*entry) ? read_end(file) : NULL;

		g_string_append(text, line ? line : "");
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static const struct source sources[] = {
#define LOG_SOURCE(n, function) {.name = (n), .collect = (function)},
#include "log_sources.def"
#undef LOG_SOURCE
};

/* ---- what must not leave the machine */

static void blot(char *text, size_t length)
{
	memset(text, '*', length);
}

/* The token, wherever it stands, and that of any kernel command line: the kernel logs it. */
static void hide_token(char *text, const char *token)
{
	size_t length = token ? strlen(token) : 0;

	for (char *at = text; length > 0 && (at = strstr(at, token)); at += length)
		blot(at, length);
	for (char *at = text; (at = strstr(at, TOKEN_ARGUMENT));) {
		at += strlen(TOKEN_ARGUMENT);
		blot(at, strcspn(at, " \t\r\n\""));
	}
}

/* ---- the archive */

static void member_free(void *item)
{
	struct member *m = item;

	g_free(m->name);
	g_free(m->text);
	g_free(m);
}

/* Takes the text; NULL is no member. */
static void add(GPtrArray *members, const struct agent *a, const char *name, char *text)
{
	struct member *m;

	if (!text)
		return;
	hide_token(text, secret_peek(a->token));
	m = g_new(struct member, 1);
	*m = (struct member){.name = g_strdup(name), .text = text};
	g_ptr_array_add(members, m);
}

static void add_files(GPtrArray *members, const struct agent *a)
{
	g_autofree char *folder = g_build_filename(a->options.root, "var/log", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *entry;

	for (unsigned i = 0; i < FILES_MOST && dir && (entry = g_dir_read_name(dir)); i++) {
		g_autofree char *path = g_build_filename(folder, entry, NULL);
		g_autofree char *name = g_strconcat("log/", entry, NULL);

		add(members, a, name, read_end(path));
	}
}

static GPtrArray *collect(const struct agent *a)
{
	GPtrArray *members = g_ptr_array_new_with_free_func(member_free);

	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
		add(members, a, sources[i].name, sources[i].collect(a));
	add_files(members, a);
	return members;
}

static char *pack(const GPtrArray *members, size_t most)
{
	g_autoptr(log_archive) archive = log_archive_new();

	for (guint i = 0; i < members->len; i++) {
		const struct member *m = members->pdata[i];
		const char *text = end_of(m->text, most);

		log_archive_add(archive, m->name, text, strlen(text));
	}
	return log_archive_print(archive);
}

json_t *command_collect_system_logs(struct agent *a, struct command_context *context,
				    const json_t *params, struct agent_error *error)
{
	g_autoptr(GPtrArray) members = collect(a);
	size_t most = TEXT_MOST;
	g_autofree char *text = pack(members, most);

	(void)context;
	(void)params;
	while (strlen(text) > LIMIT_AGENT_LOGS && most > TEXT_LEAST) {
		most /= 2;
		g_free(text);
		text = pack(members, most);
	}
	if (strlen(text) <= LIMIT_AGENT_LOGS)
		return json_pack("{s:s}", "system_logs", text);
	agent_error_set(error, AGENT_ERROR_EXECUTION,
			"The logs are too large, even with the last %d bytes of each only",
			TEXT_LEAST);
	return NULL;
}
