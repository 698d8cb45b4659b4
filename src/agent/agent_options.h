/* agent_options.h: what the agent is told when it starts, declared once in agent_options.def. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "secret.h"
#include "vocabulary.h"

/* Below the root: while this file is there, the machine stays with the person it was handed to, and no agent
 * serves, however often it is started. */
#define AGENT_RESCUED_MARK "etc/.rescued"

/* The agent's own calls to an API, the classic way. */
struct active_options {
	GStrv urls;               /* bases without a slash at their end; NULL: it never dials */
	unsigned api_minor;       /* of version 1.X; 0: the API is asked */
	char *request_id;         /* NULL: none */
	char *advertise_host;     /* NULL: the address that the API is reached from */
	unsigned advertise_port;  /* 0: the one listened on */
	char *advertise_protocol; /* NULL: what the transport is */
	char *ca_file;            /* NULL: the system's */
	unsigned request_timeout_s, lookup_timeout_s, lookup_interval_s;
	bool insecure;
};

struct agent_options {
	struct endpoint listen;
	char *root;           /* "/" or a folder without a slash at its end */
	struct secret *token; /* NULL: none */
	char *token_file;     /* that it was read from; NULL: from elsewhere */
	enum agent_transport transport;
	struct uuid node; /* "" : any */
	uint64_t epoch;
	bool has_epoch;
	bool by_contact; /* there is no token: the first who shows one for the node gives it */
	bool debug;
	bool rescued;           /* there is the mark: the token may be gone */
	bool ignore_bootloader; /* a boot entry that cannot be made is no failure */
	bool tokenless_get; /* commands may be read without a token, and never with a wrong one */
	struct active_options active;
	char *ignored;       /* names of ipa- arguments that mean nothing here; NULL: none */
	char *pxe_interface; /* BOOTIF as it was given, NULL: none */
	char *certificate_pem, *key_pem; /* NULL: the agent makes its own */
};

/* Reads the program's arguments, <root>/proc/cmdline, the configuration file and the token file.
 * Errors: INVALID with a sentence that names the option and never the token; NOT_FOUND, DENIED, IO for
 * files that were asked for. */
bool agent_options_read(struct agent_options *o, int argc, char **argv,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
void agent_options_clear(struct agent_options *o);

/* The words of a kernel command line: name -> value, the last of each name; words without "=" are
 * ignored.  The caller unrefs it. */
GHashTable *agent_options_split(const char *cmdline);
/* What may be used as a token: 32 to 256 visible ASCII characters. */
bool agent_options_is_token(const char *text, size_t length);

typedef struct agent_options agent_options;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(agent_options, agent_options_clear)
