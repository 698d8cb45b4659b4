#include "vocabulary.h"

#include <glib.h>
#include <string.h>

#define VOCABULARY_TEXT(constant, text) text,
#define VOCABULARY_DEFINE(name, LIST)                                                  \
	static const char *const name##_texts[] = {LIST(VOCABULARY_TEXT)};             \
	const char *name##_text(unsigned value)                                        \
	{                                                                              \
		return value < G_N_ELEMENTS(name##_texts) ? name##_texts[value] : "?"; \
	}                                                                              \
	int name##_parse(const char *text)                                             \
	{                                                                              \
		for (size_t i = 0; i < G_N_ELEMENTS(name##_texts); i++)                \
			if (strcmp(name##_texts[i], text) == 0)                        \
				return (int)i;                                         \
		return -1;                                                             \
	}
VOCABULARY(VOCABULARY_DEFINE)
