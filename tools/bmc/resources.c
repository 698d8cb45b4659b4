#include "resources.h"

const char *const resource_reset_text[MACHINE_RESET_COUNT] = {
	[MACHINE_ON] = "On",
	[MACHINE_FORCE_OFF] = "ForceOff",
	[MACHINE_GRACEFUL_SHUTDOWN] = "GracefulShutdown",
	[MACHINE_FORCE_RESTART] = "ForceRestart",
	[MACHINE_POWER_CYCLE] = "PowerCycle",
};
const char *const resource_target_text[BOOT_TARGET_COUNT] = {
	[BOOT_NONE] = "None",
	[BOOT_PXE] = "Pxe",
	[BOOT_HDD] = "Hdd",
	[BOOT_CD] = "Cd",
};
const char *const resource_enabled_text[BOOT_ENABLED_COUNT] = {
	[BOOT_DISABLED] = "Disabled",
	[BOOT_ONCE] = "Once",
	[BOOT_CONTINUOUS] = "Continuous",
};
const char *const resource_mode_text[2] = {
	[FIRMWARE_BIOS] = "Legacy",
	[FIRMWARE_UEFI] = "UEFI",
};

static json_t *link_to(const char *path)
{
	return json_pack("{s:s}", "@odata.id", path);
}

/* What every resource begins with. */
static json_t *make(const char *path, const char *type, const char *id, const char *name)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "@odata.id", path, "@odata.type", type, "Id", id,
			 "Name", name);
}

static json_t *healthy(void)
{
	return json_pack("{s:s, s:s}", "State", "Enabled", "Health", "OK");
}

json_t *resource_root(void)
{
	json_t *r = make(ROOT "/", "#ServiceRoot.v1_9_0.ServiceRoot", "RootService", "Inox BMC");

	json_object_set_new(r, "RedfishVersion", json_string("1.15.0"));
	json_object_set_new(r, "Vendor", json_string("Inox"));
	json_object_set_new(r, "Systems", link_to(SYSTEMS));
	json_object_set_new(r, "Managers", link_to(ROOT "/Managers"));
	json_object_set_new(r, "Chassis", link_to(ROOT "/Chassis"));
	json_object_set_new(r, "SessionService", link_to(ROOT "/SessionService"));
	json_object_set_new(
		r, "Links",
		json_pack("{s:o}", "Sessions", link_to(ROOT "/SessionService/Sessions")));
	return r;
}

json_t *resource_session_service(unsigned timeout_s)
{
	json_t *r = make(ROOT "/SessionService", "#SessionService.v1_1_8.SessionService",
			 "SessionService", "Sessions");

	json_object_set_new(r, "ServiceEnabled", json_true());
	json_object_set_new(r, "SessionTimeout", json_integer(timeout_s));
	json_object_set_new(r, "Sessions", link_to(ROOT "/SessionService/Sessions"));
	return r;
}

json_t *resource_session(const char *id, const char *username)
{
	g_autofree char *path = g_strconcat(ROOT "/SessionService/Sessions/", id, NULL);
	json_t *r = make(path, "#Session.v1_4_0.Session", id, "Session");

	json_object_set_new(r, "UserName", username ? json_string(username) : json_null());
	return r;
}

json_t *resource_manager(bool alone)
{
	json_t *r = make(ROOT "/Managers/1", "#Manager.v1_10_0.Manager", "1", "inox-bmc");

	json_object_set_new(r, "ManagerType", json_string("BMC"));
	json_object_set_new(r, "FirmwareVersion", json_string(INOX_VERSION));
	/* Older BMCs have virtual media here: with one machine it is clear whose they are. */
	if (alone)
		json_object_set_new(r, "VirtualMedia", link_to(SYSTEMS "/1/VirtualMedia"));
	json_object_set_new(r, "Status", healthy());
	return r;
}

json_t *resource_chassis(void)
{
	json_t *r = make(ROOT "/Chassis/1", "#Chassis.v1_14_0.Chassis", "1", "Chassis");

	json_object_set_new(r, "ChassisType", json_string("RackMount"));
	json_object_set_new(r, "Manufacturer", json_string("Inox"));
	json_object_set_new(r, "Status", healthy());
	return r;
}

json_t *resource_collection(const char *path, const char *type, const char *const *ids,
			    unsigned count)
{
	json_t *members = json_array();

	for (unsigned i = 0; i < count; i++) {
		g_autofree char *member = g_strconcat(path, "/", ids[i], NULL);

		json_array_append_new(members, link_to(member));
	}
	return json_pack("{s:s, s:s, s:s, s:i, s:o}", "@odata.id", path, "@odata.type", type,
			 "Name", "Collection", "Members@odata.count", (int)count, "Members",
			 members);
}

static json_t *texts(const char *const *list, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *make_boot(const struct machine *m)
{
	const struct boot_override *b = machine_peek_boot(m);
	bool uefi = machine_has_firmware(m, FIRMWARE_UEFI);

	return json_pack(
		"{s:s, s:o, s:s, s:o, s:s, s:o}", "BootSourceOverrideEnabled",
		resource_enabled_text[b->enabled],
		"BootSourceOverrideEnabled@Redfish.AllowableValues",
		texts(resource_enabled_text, BOOT_ENABLED_COUNT), "BootSourceOverrideTarget",
		resource_target_text[b->target], "BootSourceOverrideTarget@Redfish.AllowableValues",
		texts(resource_target_text, BOOT_TARGET_COUNT), "BootSourceOverrideMode",
		resource_mode_text[b->mode], "BootSourceOverrideMode@Redfish.AllowableValues",
		texts(resource_mode_text, uefi ? 2 : 1));
}

char *resource_etag(const struct machine *m)
{
	return g_strdup_printf("W/\"%u\"", machine_version(m));
}

json_t *resource_system(const struct machine *m, const char *id)
{
	const struct machine_spec *s = machine_peek_spec(m);
	g_autofree char *path = g_strconcat(SYSTEMS "/", id, NULL);
	g_autofree char *nics = g_strconcat(path, "/EthernetInterfaces", NULL);
	g_autofree char *media = g_strconcat(path, "/VirtualMedia", NULL);
	g_autofree char *reset = g_strconcat(path, "/Actions/ComputerSystem.Reset", NULL);
	g_autofree char *etag = resource_etag(m);
	json_t *r = make(path, "#ComputerSystem.v1_13_0.ComputerSystem", id, s->name);

	json_object_set_new(r, "@odata.etag", json_string(etag));
	json_object_set_new(r, "SystemType", json_string("Virtual"));
	json_object_set_new(r, "Manufacturer", json_string(s->manufacturer));
	json_object_set_new(r, "Model", json_string(s->model));
	json_object_set_new(r, "SerialNumber", json_string(s->serial));
	json_object_set_new(r, "UUID", json_string(s->uuid.s));
	json_object_set_new(r, "PowerState", json_string(machine_power_text(m)));
	json_object_set_new(r, "Status", healthy());
	json_object_set_new(r, "ProcessorSummary", json_pack("{s:i}", "Count", s->cpus));
	json_object_set_new(r, "MemorySummary",
			    json_pack("{s:f}", "TotalSystemMemoryGiB", s->memory_mib / 1024.0));
	json_object_set_new(r, "Boot", make_boot(m));
	json_object_set_new(r, "EthernetInterfaces", link_to(nics));
	json_object_set_new(r, "VirtualMedia", link_to(media));
	json_object_set_new(r, "Links",
			    json_pack("{s:[o], s:[o]}", "ManagedBy", link_to(ROOT "/Managers/1"),
				      "Chassis", link_to(ROOT "/Chassis/1")));
	json_object_set_new(r, "Actions",
			    json_pack("{s:{s:s, s:o}}", "#ComputerSystem.Reset", "target", reset,
				      "ResetType@Redfish.AllowableValues",
				      texts(resource_reset_text, MACHINE_RESET_COUNT)));
	return r;
}

json_t *resource_media(const struct machine *m, const char *system_id)
{
	g_autofree char *path =
		g_strconcat(SYSTEMS "/", system_id, "/VirtualMedia/" MEDIA_ID, NULL);
	g_autofree char *insert = g_strconcat(path, "/Actions/VirtualMedia.InsertMedia", NULL);
	g_autofree char *eject = g_strconcat(path, "/Actions/VirtualMedia.EjectMedia", NULL);
	const char *url = machine_peek_media(m);
	json_t *r = make(path, "#VirtualMedia.v1_3_0.VirtualMedia", MEDIA_ID, "Virtual CD");

	json_object_set_new(r, "MediaTypes", json_pack("[s, s]", "CD", "DVD"));
	json_object_set_new(r, "Inserted", json_boolean(url != NULL));
	json_object_set_new(r, "Image", url ? json_string(url) : json_null());
	json_object_set_new(r, "ConnectedVia", json_string(url ? "URI" : "NotConnected"));
	json_object_set_new(r, "WriteProtected", json_true());
	json_object_set_new(r, "Actions",
			    json_pack("{s:{s:s}, s:{s:s}}", "#VirtualMedia.InsertMedia", "target",
				      insert, "#VirtualMedia.EjectMedia", "target", eject));
	return r;
}

json_t *resource_nic(const struct machine *m, const char *system_id, unsigned nic)
{
	char mac[MAC_TEXT], id[16];

	g_snprintf(id, sizeof(id), "%u", nic + 1);
	g_autofree char *path =
		g_strconcat(SYSTEMS "/", system_id, "/EthernetInterfaces/", id, NULL);
	json_t *r =
		make(path, "#EthernetInterface.v1_6_0.EthernetInterface", id, "Ethernet interface");

	mac_print(machine_peek_spec(m)->macs[nic], mac);
	json_object_set_new(r, "MACAddress", json_string(mac));
	json_object_set_new(r, "PermanentMACAddress", json_string(mac));
	json_object_set_new(r, "Status", healthy());
	return r;
}
