/* attr_row.h: one line of a .def list as a row of its descriptor table.  For node.c and port.c only. */
#pragma once

#include "attr.h"

#define SQLTYPE_TEXT       "TEXT"
#define SQLTYPE_UUID       "TEXT"
#define SQLTYPE_BOOL       "INTEGER"
#define SQLTYPE_TRI        "INTEGER"
#define SQLTYPE_ENUM       "TEXT"
#define SQLTYPE_INT        "INTEGER"
#define SQLTYPE_TIME       "INTEGER" /* microseconds since 1970 */
#define SQLTYPE_JSON       "TEXT"
#define SQLTYPE_LIST       "TEXT"
#define SQLTYPE_MAC        "TEXT"

#define TEXT_OF_TEXT(name) NULL, NULL
#define TEXT_OF_UUID(name) NULL, NULL
#define TEXT_OF_BOOL(name) NULL, NULL
#define TEXT_OF_TRI(name)  NULL, NULL
#define TEXT_OF_ENUM(name) ENUM_TEXT_##name, ENUM_PARSE_##name
#define TEXT_OF_INT(name)  NULL, NULL
#define TEXT_OF_TIME(name) NULL, NULL
#define TEXT_OF_JSON(name) NULL, NULL
#define TEXT_OF_LIST(name) NULL, NULL
#define TEXT_OF_MAC(name)  NULL, NULL

#define ATTR_ROW(type, name, kind, flags, since, limit, doc)                                 \
	{                                                                                    \
#		name, SQLTYPE_##kind, doc, ATTR_##kind, flags, since, offsetof(type, name), \
			limit, TEXT_OF_##kind(name)                                          \
	}
