BEGIN TRANSACTION;
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
, agent_verifier TEXT, agent_verifier_before TEXT, health TEXT, instance_name TEXT) STRICT;
INSERT INTO nodes VALUES(1,'11111111-1111-4111-8111-111111111111',1795290947438804,NULL,NULL,NULL,NULL,NULL,'{}','',0,NULL,0,NULL,'{}',NULL,'redfish','{}','{}','{}',NULL,NULL,NULL,NULL,NULL,'{}',NULL,NULL,NULL,0,NULL,NULL,NULL,'{}',NULL,NULL,NULL,NULL,NULL,'{}',0,NULL,'enroll',NULL,'{}',NULL,NULL,NULL,NULL,0,NULL,NULL,'{}',NULL,NULL,NULL,NULL,'{}','[]',NULL,NULL,NULL,1,'{}',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO nodes VALUES(2,'22222222-2222-4222-8222-222222222222',1795290947438804,1795290999000001,1,NULL,NULL,NULL,'{}','',0,NULL,0,NULL,'{}',NULL,'redfish','{"redfish_address":"https://10.0.0.5","redfish_password":"sealed:v1:AAAA"}','{}','{}',NULL,NULL,NULL,NULL,NULL,'{}','33333333-3333-4333-8333-333333333333','Büro: "quoted"',NULL,0,NULL,NULL,'rack1-u07','{}',NULL,NULL,NULL,NULL,'power on','{"cpu_arch":"x86_64"}',0,NULL,'wait call-back',NULL,'{}',NULL,NULL,NULL,NULL,0,NULL,0,'{}',NULL,NULL,NULL,'active','{}','["CUSTOM_GPU"]',NULL,NULL,NULL,17,'{"operation":"deploy","phase":"steps"}',3,'sealed:v1:BBBB','10.77.2.5',NULL,'v1:00112233445566778899aabbccddeeff:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',NULL,NULL,'web1');
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
, description TEXT, vendor TEXT, category TEXT) STRICT;
INSERT INTO ports VALUES(1,'44444444-4444-4444-8444-444444444444',1795290947438804,NULL,'52:54:00:00:00:01','{}','{}',0,'{}',NULL,'22222222-2222-4222-8222-222222222222',NULL,NULL,1,1,'uplink','Example','fast');
CREATE TABLE settings (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;
INSERT INTO settings VALUES('example','1');
CREATE INDEX nodes_in_motion ON nodes (id) WHERE flow <> '{}';
CREATE INDEX nodes_agent_address ON nodes (agent_address) WHERE agent_address IS NOT NULL;
CREATE INDEX nodes_parent_node ON nodes (parent_node) WHERE parent_node IS NOT NULL;
CREATE INDEX ports_node_uuid ON ports (node_uuid);
COMMIT;
PRAGMA user_version=3;
