/* shelf-backend.h: what a kind of shelf has to do (see shelf.h). */
#pragma once

#include "shelf.h"

struct shelf_backend {
	bool (*put)(const struct shelf *s, const char *name, const char *what, const char *bytes,
		    size_t length, GError **error);
	/* Reads a file, unless its tag is still `known` (NULL: none), which leaves NULL in *ret_bytes.  *ret_tag may be NULL,
	 * when there is none. */
	bool (*load)(const struct shelf *s, const char *name, const char *what, const char *known,
		     char **ret_tag, GBytes **ret_bytes, GError **error);
	bool (*remove_folder)(const struct shelf *s, const char *name, const char *what,
			      GError **error);
};

struct shelf {
	const struct shelf_backend *backend;         /* NULL: there is no boot host */
	int root_fd;                                 /* local */
	char *url;                                   /* DAV; without a slash at its end */
	char *ca_file, *certificate_file, *key_file; /* NULL: none */
	struct surveys *surveys;
};

/* Those of ISOs that were read, by name; threads share them. */
struct surveys *surveys_new(void);
void surveys_free(struct surveys *s);

extern const struct shelf_backend shelf_local, shelf_dav;

/* How long a DAV exchange may take whose answer has at most so many bytes. */
unsigned shelf_dav_seconds(size_t most);

/* UNSUPPORTED if there is no boot host. */
bool shelf_check_there(const struct shelf *s, GError **error);

bool shelf_local_open(struct shelf *s, const char *root, GError **error);
