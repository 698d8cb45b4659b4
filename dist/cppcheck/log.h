/* Stands for src/base/log.h when cppcheck reads the sources: its preprocessor does not know __VA_OPT__ and
 * would give up the file.  For it, logging is one function with any arguments. */
#pragma once

void log_anything(const char *object, const char *message, ...);

#define log_error          log_anything
#define log_warn           log_anything
#define log_notice         log_anything
#define log_info           log_anything
#define log_debug          log_anything
#define F_STR(name, value) value
#define F_INT(name, value) value
#define F_ERR(error)       error
