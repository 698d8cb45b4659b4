-- Nodes and ports, in the order of node.def and port.def.
-- Times are microseconds since 1970, JSON is text, booleans are 0 and 1.  `id` is the order of creation.
CREATE TABLE nodes (
	id INTEGER PRIMARY KEY,
	uuid TEXT NOT NULL UNIQUE,
	created_at INTEGER,
	updated_at INTEGER,
	automated_clean INTEGER,
	bios_interface TEXT,
	boot_interface TEXT,
	boot_mode TEXT,
	clean_step TEXT NOT NULL,
	conductor_group TEXT NOT NULL,
	console_enabled INTEGER NOT NULL,
	console_interface TEXT,
	disable_power_off INTEGER NOT NULL,
	deploy_interface TEXT,
	deploy_step TEXT NOT NULL,
	description TEXT,
	driver TEXT NOT NULL,
	driver_info TEXT NOT NULL,
	driver_internal_info TEXT NOT NULL,
	extra TEXT NOT NULL,
	fault TEXT,
	firmware_interface TEXT,
	inspection_finished_at INTEGER,
	inspection_started_at INTEGER,
	inspect_interface TEXT,
	instance_info TEXT NOT NULL,
	instance_uuid TEXT UNIQUE,
	last_error TEXT,
	lessee TEXT,
	maintenance INTEGER NOT NULL,
	maintenance_reason TEXT,
	management_interface TEXT,
	name TEXT UNIQUE,
	network_data TEXT NOT NULL,
	network_interface TEXT,
	owner TEXT,
	parent_node TEXT,
	power_interface TEXT,
	power_state TEXT,
	properties TEXT NOT NULL,
	protected INTEGER NOT NULL,
	protected_reason TEXT,
	provision_state TEXT NOT NULL,
	provision_updated_at INTEGER,
	raid_config TEXT NOT NULL,
	raid_interface TEXT,
	rescue_interface TEXT,
	reservation TEXT,
	resource_class TEXT,
	retired INTEGER NOT NULL,
	retired_reason TEXT,
	secure_boot INTEGER,
	service_step TEXT NOT NULL,
	shard TEXT,
	storage_interface TEXT,
	target_power_state TEXT,
	target_provision_state TEXT,
	target_raid_config TEXT NOT NULL,
	traits TEXT NOT NULL,
	vendor_interface TEXT,
	chassis_uuid TEXT,
	allocation_uuid TEXT,
	revision INTEGER NOT NULL,
	flow TEXT NOT NULL,
	boot_epoch INTEGER NOT NULL,
	agent_token TEXT,
	agent_address TEXT,
	config_drive TEXT
) STRICT;

-- Few nodes are in motion at a time; the sweep and a restart look for them.
CREATE INDEX nodes_in_motion ON nodes (id) WHERE flow <> '{}';
CREATE INDEX nodes_agent_address ON nodes (agent_address) WHERE agent_address IS NOT NULL;
CREATE INDEX nodes_parent_node ON nodes (parent_node) WHERE parent_node IS NOT NULL;

CREATE TABLE ports (
	id INTEGER PRIMARY KEY,
	uuid TEXT NOT NULL UNIQUE,
	created_at INTEGER,
	updated_at INTEGER,
	address TEXT NOT NULL UNIQUE,
	extra TEXT NOT NULL,
	internal_info TEXT NOT NULL,
	is_smartnic INTEGER NOT NULL,
	local_link_connection TEXT NOT NULL,
	name TEXT UNIQUE,
	node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	physical_network TEXT,
	portgroup_uuid TEXT,
	pxe_enabled INTEGER NOT NULL,
	revision INTEGER NOT NULL
) STRICT;

CREATE INDEX ports_node_uuid ON ports (node_uuid);

-- What the service itself remembers, by name.
CREATE TABLE settings (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;
