/* log.h: one line of key=value per event on stderr.
 *
 *     log_notice(node->uuid.s, "deploy failed", F_STR("step", name), F_ERR(error));
 *
 * The message is a constant, data are fields, and the object (a node's UUID or NULL) comes first.
 * Values are escaped: nothing from a machine can forge a line.  There is no field for a secret.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

struct log_field {
	const char *key; /* NULL ends the list */
	const char *text;
	int64_t number;
};

#define F_STR(k, v) ((struct log_field){.key = (k), .text = (v) ? (v) : "-"})
#define F_INT(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v)})
#define F_ERR(e)    ((struct log_field){.key = "reason", .text = (e) ? (e)->message : "-"})

void log_write(enum log_level level, const char *object, const char *message,
	       const struct log_field *fields);

#define LOG_AT(level, object, message, ...)  \
	log_write(level, object, "" message, \
		  (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})
#define log_error(object, message, ...) \
	LOG_AT(LOG_LEVEL_ERROR, object, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(object, message, ...) \
	LOG_AT(LOG_LEVEL_WARN, object, message __VA_OPT__(, ) __VA_ARGS__)
#define log_notice(object, message, ...) \
	LOG_AT(LOG_LEVEL_NOTICE, object, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(object, message, ...) \
	LOG_AT(LOG_LEVEL_INFO, object, message __VA_OPT__(, ) __VA_ARGS__)
#define log_debug(object, message, ...) \
	LOG_AT(LOG_LEVEL_DEBUG, object, message __VA_OPT__(, ) __VA_ARGS__)

/* The process's name in each line, and the highest level that is written (default: info). */
void log_setup(const char *program, enum log_level most);

/* Each line that is written goes to `keep` too, with its line feed; from any thread, so it locks what it needs.  NULL:
 * nowhere else. */
void log_also_to(void (*keep)(const char *line, size_t length));

/* Copies at most `limit` bytes of `text`, with control characters, invalid UTF-8 and DEL replaced by
 * '?': for text from a machine that a person will see.  The caller frees the result. */
char *log_clean_text(const char *text, size_t length, size_t limit);
