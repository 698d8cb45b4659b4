/* event.h: what happens to a node.  node_fold() (flow.h) is the only reader. */
#pragma once

#include <glib.h>
#include <jansson.h>

#include "clocks.h"
#include "states.h"
#include "vocabulary.h"

enum event_kind {
	EVENT_VERB,            /* the API: PUT states/provision */
	EVENT_POWER_REQUEST,   /* the API: PUT states/power */
	EVENT_TAKEN,           /* the conductor takes up what the API has accepted */
	EVENT_BMC,             /* the bmc worker answered */
	EVENT_BOOT,            /* the boot publisher answered */
	EVENT_AGENT_ALIVE,     /* first authenticated contact of an epoch, or back again */
	EVENT_AGENT_HEARTBEAT, /* the API: the agent of an active node called, with its token */
	EVENT_AGENT_LOOKUP,    /* the API: the token of this boot goes out */
	EVENT_AGENT_OLD_TOKEN, /* the API: it refused a heartbeat with the token of an earlier boot */
	EVENT_AGENT_MILESTONE,
	EVENT_AGENT_GONE,
	EVENT_AGENT_REPLY,   /* answer to a command that the flow had sent */
	EVENT_AGENT_LIST,    /* the agent's command list, asked for because an answer was lost */
	EVENT_AGENT_COMMAND, /* state of the flow's running command */
	EVENT_DEADLINE,      /* the conductor's clock passed the flow's deadline */
	EVENT_UNABLE,        /* the conductor cannot do what the phase needs; `reason` says why */
	EVENT_MEDIA_OVER, /* the time of the boot's ISO is over, and no machine has booted from it yet */
	EVENT_SENDING, /* recorded before a command is sent ("about to send") */
	EVENT_COUNT
};

#define FLOW_FOREVER G_MAXUINT /* instead of seconds: no deadline */

/* How long the phases may take; from the configuration. */
struct flow_limits {
	unsigned callback_s; /* silence of an agent */
	unsigned power_s;    /* until a BMC reports the wanted power state */
	/* The silence of an agent in these operations; 0: callback_s. */
	unsigned clean_callback_s, rescue_callback_s;
};

/* What holds for nodes whose driver_info says nothing else; from the configuration. */
struct agent_defaults {
	bool active;           /* not [agent]poll_only */
	bool by_lookup;        /* [agent]token_delivery */
	bool by_contact;       /* the same */
	bool allow_contact;    /* [agent]allow_first_contact */
	const char *transport; /* [agent]transport */
	bool closed;           /* [api]disable_agent_api */
	const char *api_url;   /* for agents; NULL: none */
};

struct event {
	enum event_kind kind;
	struct wall now;
	const char *host; /* conductor's name, for the reservation */
	uint64_t epoch;   /* boot epoch it belongs to; 0 for API events */
	/* EVENT_BMC, EVENT_BOOT, EVENT_AGENT_REPLY, EVENT_AGENT_LIST, EVENT_SENDING, EVENT_DEADLINE,
	 * EVENT_UNABLE, EVENT_MEDIA_OVER: the
	 * flow's turn for which the request was made. */
	uint64_t turn;
	struct flow_limits limits; /* zero in the API's events */
	/* Of the conductor's events and of verbs: the server's default, and how long an agent that was kept may
	 * be silent.  Without them no agent is kept. */
	bool fast_track;
	unsigned fast_track_s; /* FLOW_FOREVER: no limit */
	bool automated_clean;  /* the server's default */
	const json_t *
		clean_priorities; /* {"deploy.erase_devices": 10}: before the agent's; NULL: none */

	/* EVENT_VERB */
	enum state_event verb;
	const char *word; /* as the client wrote it, for sentences; NULL: its canonical word */
	const char *config_drive;    /* NULL: none given */
	bool disable_ramdisk;        /* of manual cleaning */
	const json_t *steps;         /* deploy_steps or clean_steps; NULL: none given */
	const char *rescue_password; /* sealed for this node; NULL: none given */
	struct agent_defaults agents;

	/* EVENT_POWER_REQUEST */
	enum power_target power_target;
	unsigned timeout_s;

	/* EVENT_BMC, EVENT_BOOT, EVENT_AGENT_REPLY, EVENT_AGENT_COMMAND, EVENT_AGENT_GONE */
	bool ok;
	bool retry;         /* the failure may pass */
	bool unclear;       /* the command may have been carried out */
	bool refused;       /* nothing listens at the agent's port, and the machine lives */
	const char *reason; /* sentence, cleaned */
	enum power_state power;
	enum boot_mode boot_mode;
	const char *command; /* agent command id */
	enum command_status status;
	const json_t *outcome;
	uint64_t done, total;
	unsigned silent_s; /* EVENT_AGENT_GONE */
	enum milestone milestone;
	const char *version;
	const char *agent_url;
	uint64_t started_ms; /* when the agent says it started */
	bool own_agent, restarted;
	const char *
		pin; /* EVENT_AGENT_HEARTBEAT: SHA-256 of the agent's certificate, hex; NULL: none */

	/* What a pure function cannot make by itself; given when flow_begins_boot() says so: a fresh token,
	 * sealed for this node, and its check value (EVENT_AGENT_LOOKUP carries these, too; a boot whose
	 * token is given by_lookup begins without); an unguessable path; the address to use, or NULL and
	 * why there is none in `reason`. */
	const char *fresh_token;
	const char *fresh_verifier;
	bool active, by_lookup, by_contact; /* the mode of this boot: see flow.def */
	const char *fresh_path;
	const char *assigned_address;
	const json_t *boot_macs; /* of the ports as they are now */
};
