/* shelf-backend.h: what a kind of shelf has to do (see shelf.h). */
#pragma once

#include "shelf.h"

struct shelf_backend {
	bool (*put)(const struct shelf *s, const char *name, const char *what, const char *bytes,
		    size_t length, GError **error);
	GBytes *(*load)(const struct shelf *s, const char *name, const char *what, size_t limit,
			GError **error);
	bool (*put_filled)(const struct shelf *s, const char *name, const char *what,
			   const char *base, GBytes *bytes, const struct boot_iso_fill *fill,
			   GError **error);
	bool (*remove_folder)(const struct shelf *s, const char *name, const char *what,
			      GError **error);
};

struct shelf {
	const struct shelf_backend *backend;         /* NULL: there is no boot host */
	int root_fd;                                 /* local */
	char *url;                                   /* DAV; without a slash at its end */
	char *ca_file, *certificate_file, *key_file; /* NULL: none */
};

extern const struct shelf_backend shelf_local, shelf_dav;

bool shelf_local_open(struct shelf *s, const char *root, GError **error);
