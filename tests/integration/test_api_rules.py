"""Lists, microversions and the rules of nodes and ports, asked over HTTP."""
import sqlite3

import pytest

from conftest import API_VERSION
from api_support import Api, fault, module_folder, start_inoxd  # noqa: F401: fixtures


@pytest.fixture(scope="module")
def api(start_inoxd):
    return Api(start_inoxd({"api": {"max_limit": 5}}))


@pytest.fixture
def node(api):
    found = api.create_node()
    yield found["uuid"]
    set_row(api, found["uuid"], maintenance=1, protected=0, reservation=None)
    api("DELETE", f"/v1/nodes/{found['uuid']}")


def set_row(api, uuid, **columns):
    """What the conductor would write."""
    with sqlite3.connect(api.process.state / "inox.sqlite", timeout=10) as database:
        names = ", ".join(f"{name} = ?" for name in columns)
        database.execute(f"UPDATE nodes SET {names} WHERE uuid = ?", [*columns.values(), uuid])


def patch(api, node, *operations, version=None):
    return api("PATCH", f"/v1/nodes/{node}", [dict(zip(("op", "path", "value"), o)) for o in operations],
               version=version)


# ---- lists

@pytest.fixture(scope="module")
def fleet(api):
    nodes = [api.create_node(name=f"fleet-{i:02}", owner="fleet", resource_class="a" if i % 2 else "b",
                             description=f"Rack {i // 4}, slot {i}", shard="s1" if i < 3 else None)
             for i in range(12)]
    return [n["uuid"] for n in nodes]


def names(answer):
    return [n["name"] for n in answer.json["nodes"]]


def walk(api, path):
    """All pages, by their links."""
    rows, pages = [], 0
    while path:
        answer = api("GET", path, status=200).json
        rows += answer["nodes"]
        pages += 1
        path = answer.get("next", "").replace(api.url, "")
    return rows, pages


def test_pages_follow_each_other_and_keep_the_filters(api, fleet, node):
    rows, pages = walk(api, "/v1/nodes?owner=fleet&fields=uuid,owner")
    assert [r["uuid"] for r in rows] == fleet
    assert pages == 3
    assert all(set(r) == {"uuid", "owner", "links"} for r in rows)


@pytest.mark.parametrize("limit", [1, 4, 5, 12, 1000])
def test_a_limit_is_cut_to_the_largest_page(api, fleet, limit):
    answer = api("GET", f"/v1/nodes?owner=fleet&limit={limit}").json
    assert len(answer["nodes"]) == min(limit, 5)
    assert f"limit={min(limit, 5)}" in answer["next"]


def test_a_filter_that_the_store_does_not_have_pages_as_well(api, fleet, node):
    rows, _ = walk(api, "/v1/nodes?project=fleet&limit=2")
    assert [r["uuid"] for r in rows] == fleet


@pytest.mark.parametrize("query, count", [
    ("resource_class=a", 6), ("resource_class=c", 0), ("description_contains=rack%202", 4), ("shard=s1", 3),
    ("shard=s1,s2", 3), ("sharded=true", 3), ("sharded=no", 9), ("maintenance=off", 12), ("associated=true", 0),
    ("associated=false", 12), ("driver=redfish", 0), ("provision_state=enroll", 12), ("retired=true", 0),
    ("conductor_group=", 12), ("lessee=x", 0), ("conductor=nobody", 0), ("fault=power%20failure", 0),
    ("instance_uuid=6f1c0ae4-0000-4000-8000-0123456789ab", 0), ("include_children=true", 12),
    ("parent_node=fleet-00", 0),
])
def test_filters(api, fleet, query, count):
    rows, _ = walk(api, f"/v1/nodes?owner=fleet&{query}")
    assert len(rows) == count


def test_sorting(api, fleet):
    assert names(api("GET", "/v1/nodes?owner=fleet&sort_key=name&sort_dir=desc&limit=3")) == \
        ["fleet-11", "fleet-10", "fleet-09"]
    rows, _ = walk(api, "/v1/nodes?owner=fleet&sort_key=resource_class&limit=5")
    assert [r["name"] for r in rows] == [f"fleet-{i:02}" for i in (1, 3, 5, 7, 9, 11, 0, 2, 4, 6, 8, 10)]


def test_children_are_hidden_until_asked_for(api, node):
    child = api.create_node(parent_node=node, owner="child")["uuid"]
    assert api("GET", "/v1/nodes?owner=child").json["nodes"] == []
    assert len(api("GET", "/v1/nodes?owner=child&include_children=yes").json["nodes"]) == 1
    assert len(api("GET", f"/v1/nodes?parent_node={node}").json["nodes"]) == 1
    assert api("GET", f"/v1/nodes/{node}/children").json["children"] == [child]
    assert api("GET", f"/v1/nodes/{node}/children", version="1.82").status == 404
    api("DELETE", f"/v1/nodes/{child}", status=204)
    assert patch(api, node, ("add", "/parent_node", node)).status == 400


# ---- microversions

def test_a_full_node_has_every_attribute_of_its_version(api, node):
    def keys(version):
        return set(api("GET", f"/v1/nodes/{node}", version=version).json)
    assert "name" not in keys("1.4") and "name" in keys("1.5")
    assert "traits" not in keys("1.36") and "traits" in keys("1.37")
    assert "conductor" not in keys("1.48") and "conductor" in keys("1.49")
    assert "shard" not in keys("1.81") and "shard" in keys("1.82")
    assert "disable_power_off" not in keys("1.94") and "disable_power_off" in keys("1.95")
    assert "instance_name" not in keys("1.103") and "instance_name" in keys("1.104")
    assert "health" not in keys("1.108") and "health" in keys("1.109")
    assert {"states", "portgroups", "volume"} <= keys("1.32")
    assert not {"agent_token", "flow", "boot_epoch", "revision", "config_drive"} & keys(API_VERSION)


@pytest.mark.parametrize("version, path, status", [
    ("1.7", "/v1/nodes?fields=uuid", 406), ("1.8", "/v1/nodes?fields=uuid", 200),
    ("1.8", "/v1/nodes?provision_state=enroll", 406), ("1.9", "/v1/nodes?provision_state=enroll", 200),
    ("1.15", "/v1/nodes?driver=x", 406), ("1.49", "/v1/nodes?owner=x", 406), ("1.81", "/v1/nodes?shard=x", 406),
    ("1.42", "/v1/nodes?detail=True", 400), ("1.43", "/v1/nodes?detail=True", 200),
    ("1.49", "/v1/nodes?fields=description", 406), ("1.20", "/v1/nodes?sort_key=resource_class", 406),
    ("1.27", "/v1/nodes/{}/vifs", 404), ("1.28", "/v1/nodes/{}/vifs", 200),
    ("1.36", "/v1/nodes/{}/traits", 406), ("1.37", "/v1/nodes/{}/traits", 200),
    ("1.39", "/v1/nodes/{}/bios", 404), ("1.40", "/v1/nodes/{}/bios", 200),
    ("1.77", "/v1/nodes/{}/history", 404), ("1.85", "/v1/nodes/{}/firmware", 404), ("1.86", "/v1/nodes/{}/firmware", 200),
    ("1.80", "/v1/nodes/{}/inventory", 404), ("1.92", "/v1/nodes/{}/vmedia", 404),
    ("1.22", "/v1/portgroups", 404), ("1.23", "/v1/portgroups", 200), ("1.31", "/v1/volume", 404),
    ("1.48", "/v1/conductors", 404), ("1.49", "/v1/conductors", 200), ("1.51", "/v1/allocations", 404),
    ("1.54", "/v1/deploy_templates", 404), ("1.81", "/v1/shards", 404), ("1.82", "/v1/shards", 200),
    ("1.91", "/v1/runbooks", 404), ("1.92", "/v1/runbooks", 200),
    ("1.95", "/v1/inspection_rules", 404), ("1.96", "/v1/inspection_rules", 200),
    ("1.96", "/v1/ports?description_contains=x", 406), ("1.97", "/v1/ports?description_contains=x", 200),
    ("1.96", "/v1/ports?fields=description", 406), ("1.97", "/v1/ports?fields=description", 200),
    ("1.98", "/v1/ports?conductor_groups=x", 406), ("1.99", "/v1/ports?conductor_groups=x", 200),
    ("1.99", "/v1/ports?sort_key=vendor", 406), ("1.100", "/v1/ports?sort_key=vendor", 200),
    ("1.100", "/v1/ports?fields=category", 406), ("1.101", "/v1/ports?fields=category", 200),
    ("1.103", "/v1/nodes?instance_name=x", 406), ("1.104", "/v1/nodes?instance_name=x", 200),
    ("1.108", "/v1/nodes?fields=health", 406), ("1.109", "/v1/nodes?fields=health", 200), ("1.11", "/v1/drivers/redfish/raid/logical_disk_properties",
                                                                  406),
])
def test_gates(api, node, version, path, status):
    assert api("GET", path.format(node), version=version).status == status


def test_old_clients_get_old_answers(api, node):
    old = api("POST", "/v1/nodes", {"driver": "fake-hardware"}, version="1.1", status=201).json
    assert old["provision_state"] is None
    assert api("GET", f"/v1/nodes/{old['uuid']}", version="1.2").json["provision_state"] == "available"
    set_row(api, old["uuid"], provision_state="inspect wait")
    assert api("GET", f"/v1/nodes/{old['uuid']}", version="1.38").json["provision_state"] == "inspecting"
    assert api("GET", f"/v1/nodes/{old['uuid']}", version="1.39").json["provision_state"] == "inspect wait"
    set_row(api, old["uuid"], provision_state="available")
    for word, version, status in (("manage", "1.3", 406), ("inspect", "1.5", 406), ("clean", "1.14", 406),
                                  ("deploy", "1.72", 406), ("undeploy", "1.72", 406)):
        answer = api("PUT", f"/v1/nodes/{old['uuid']}/states/provision", {"target": word}, version=version)
        assert answer.status == status
    assert api("PUT", f"/v1/nodes/{node}/states/power", {"target": "soft power off"}, version="1.26").status == 406
    api("DELETE", f"/v1/nodes/{old['uuid']}", status=204)


def test_the_json_ending_is_cut_before_1_91(api, node):
    assert api("GET", f"/v1/nodes/{node}.json", version="1.90").status == 200
    assert api("GET", f"/v1/nodes/{node}.json", version="1.91").status == 404


# ---- rules of nodes

def test_a_locked_node_is_409(api, node):
    port = api("POST", "/v1/ports", {"address": "52:54:00:77:00:01", "node_uuid": node}, status=201).json["uuid"]
    set_row(api, node, reservation="other-host")
    sentence = f"Node {node} is locked by host other-host, please retry after the current operation is completed."
    for method, path, body in (
            ("PATCH", "", [{"op": "add", "path": "/extra/a", "value": 1}]), ("DELETE", "", None),
            ("PUT", "/maintenance", {}), ("DELETE", "/maintenance", None), ("PUT", "/traits/CUSTOM_A", None),
            ("PUT", "/states/power", {"target": "power on"}), ("PUT", "/states/provision", {"target": "manage"}),
            ("PUT", "/states/provision", {"target": "provide"})):
        answer = api(method, f"/v1/nodes/{node}{path}", body)
        assert (answer.status, fault(answer)) == (409, sentence), (method, path)
    assert api("DELETE", f"/v1/ports/{port}").status == 409
    assert api("PATCH", f"/v1/ports/{port}", [{"op": "add", "path": "/extra/a", "value": 1}]).status == 409
    assert api("GET", f"/v1/nodes/{node}").json["extra"] == {}


@pytest.mark.parametrize("state, path, value, status", [
    ("deploying", "/extra/a", 1, 409), ("wait call-back", "/extra/a", 1, 409), ("active", "/extra/a", 1, 200),
    ("deploy failed", "/extra/a", 1, 200), ("active", "/bios_interface", "no-bios", 409),
    ("manageable", "/bios_interface", "no-bios", 200), ("active", "/resource_class", "x", 409),
    ("active", "/protected", True, 200), ("available", "/protected", True, 409), ("available", "/retired", True, 409),
    ("active", "/retired", True, 200), ("active", "/protected_reason", "x", 400), ("active", "/retired_reason", "x", 400),
    ("inspecting", "/extra/a", 1, 409), ("inspect wait", "/extra/a", 1, 200),
])
def test_what_a_state_lets_change(api, node, state, path, value, status):
    target = {"deploying": "active", "wait call-back": "active", "deploy failed": "active", "inspecting": "manageable",
              "inspect wait": "manageable"}.get(state)
    set_row(api, node, provision_state=state, target_provision_state=target)
    answer = patch(api, node, ("add", path, value))
    assert answer.status == status, answer.text
    set_row(api, node, provision_state="enroll", target_provision_state=None)


@pytest.mark.parametrize("operations, status, sentence", [
    ([], 200, None),
    ([("remove", "/driver")], 400, "Schema error for patch: 'driver' is a required property"),
    ([("add", "/driver", "ilo")], 400, "which supports driver ilo"),
    ([("add", "/conductor_group", "rack1")], 400, 'for conductor group "rack1"'),
    ([("add", "/conductor_group", "a b")], 400, "Expected a conductor group but received a b."),
    ([("add", "/name", "a b")], 400, "invalid name 'a b'"),
    ([("add", "/name", "detail")], 400, 'The word "detail" is reserved'),
    ([("add", "/power_interface", "redfish")], 400, "is not supported by hardware type fake-hardware."),
    ([("add", "/power_interface", "nope")], 400, "Could not find the following interface"),
    ([("add", "/chassis_uuid", "6f1c0ae4-0000-4000-8000-0123456789ab")], 400, "Chassis"),
    ([("add", "/network_data", {"links": []})], 400, "Invalid network_data: 'networks' is a required property"),
    ([("add", "/traits", ["CUSTOM_A"])], 400, "Cannot patch /traits"),
    ([("replace", "/properties", "str")], 400, "Schema error for patch: 'str' is not of type 'object', 'null'"),
    ([("replace", "/extra/nope", 1)], 400, "can't replace a non-existent object 'nope'"),
    ([("add", "/extra/a", 1), ("remove", "/extra/nope")], 400, "can't remove a non-existent object 'nope'"),
])
def test_patches(api, node, operations, status, sentence):
    answer = patch(api, node, *operations)
    assert answer.status == status
    if sentence:
        assert sentence in fault(answer)
    assert api("GET", f"/v1/nodes/{node}").json["extra"] == {}


def test_removing_an_interface_gives_its_default_back(api, node):
    assert patch(api, node, ("add", "/bios_interface", "no-bios")).json["bios_interface"] == "no-bios"
    assert patch(api, node, ("remove", "/bios_interface")).json["bios_interface"] == "fake"


def test_interfaces_follow_a_new_driver_when_asked_to(api, node):
    change = [{"op": "add", "path": "/driver", "value": "redfish"}]
    assert api("PATCH", f"/v1/nodes/{node}", change).status == 400
    answer = api("PATCH", f"/v1/nodes/{node}?reset_interfaces=true", change, status=200)
    assert answer.json["power_interface"] == "redfish"
    answer = api("PATCH", f"/v1/nodes/{node}?reset_interfaces=true", [{"op": "remove", "path": "/extra"}])
    assert answer.status == 400


def test_a_patch_of_a_password_keeps_the_others(api, node):
    patch(api, node, ("add", "/driver_info", {"a_password": "one", "b_password": "two", "c": 3}))
    with sqlite3.connect(api.process.state / "inox.sqlite") as database:
        def row():
            return database.execute("SELECT driver_info FROM nodes WHERE uuid = ?", [node]).fetchone()[0]
        before = row()
        assert before.count("sealed:v1:") == 2
        patch(api, node, ("add", "/driver_info/c", 4))
        assert row() == before.replace('"c":3', '"c":4')


def test_instances(api, node):
    instance, other = "6f1c0ae4-0000-4000-8000-0000000000aa", "6f1c0ae4-0000-4000-8000-0000000000bb"
    assert patch(api, node, ("add", "/instance_uuid", instance)).status == 200
    assert "is associated with instance" in fault(patch(api, node, ("add", "/instance_uuid", other)))
    answer = api("POST", "/v1/nodes", {"driver": "fake-hardware", "instance_uuid": instance})
    assert answer.status == 409
    assert "is already associated with a node" in fault(answer)
    assert api("DELETE", f"/v1/nodes/{node}").status == 409
    assert patch(api, node, ("remove", "/instance_uuid")).status == 200


def test_instance_names(api, node):
    def shown():
        return api("GET", f"/v1/nodes/{node}").json["instance_name"]

    assert patch(api, node, ("add", "/instance_name", "x"), version="1.103").status == 406
    assert api("POST", "/v1/nodes", {"driver": "fake-hardware", "instance_name": "x"}, version="1.103").status == 406
    assert fault(api("GET", "/v1/nodes?instance_name=x", version="1.103")) == (
        "instance_name is not acceptable in this API version")
    assert patch(api, node, ("add", "/instance_name", "")).status == 400
    assert patch(api, node, ("add", "/instance_name", "x" * 256)).status == 400
    assert patch(api, node, ("add", "/instance_name", "x" * 255)).status == 200
    assert patch(api, node, ("add", "/instance_info/display_name", "web1")).json["instance_name"] == "x" * 255
    assert patch(api, node, ("remove", "/instance_name")).json["instance_name"] is None
    assert patch(api, node, ("add", "/instance_info/display_name", "web2"), version="1.61").status == 200
    assert shown() == "web2"
    assert names(api("GET", "/v1/nodes?fields=name,uuid,instance_name&instance_name=web2")) == [None]
    assert api("GET", "/v1/nodes?instance_name=web1").json["nodes"] == []
    both = patch(api, node, ("remove", "/instance_name"), ("add", "/instance_info/display_name", "web3"))
    assert both.json["instance_name"] is None
    made = api.create_node(instance_info={"display_name": "db1"})
    assert made["instance_name"] == "db1"
    api("DELETE", f"/v1/nodes/{made['uuid']}", status=204)
    for odd in ("", 5, None, "x" * 256, {"a": 1}):
        made = api.create_node(instance_info={"display_name": odd})
        assert made["instance_name"] is None
        api("DELETE", f"/v1/nodes/{made['uuid']}", status=204)


def test_keys_with_slashes_are_escaped_from_1_98_on(api, node):
    add = ("add", "/extra/a~1b~0c", 1)
    assert "does not match" in fault(patch(api, node, add, version="1.97"))
    assert patch(api, node, add, version="1.98").json["extra"] == {"a/b~c": 1}
    assert patch(api, node, ("add", "/extra/a~01", 2)).json["extra"] == {"a/b~c": 1, "a~1": 2}
    assert patch(api, node, ("remove", "/extra/a~1b~0c")).json["extra"] == {"a~1": 2}
    for path in ("/extra/a~2", "/extra/a~", "/extra/~", "/na~0me", "/~1extra"):
        assert patch(api, node, ("add", path, 1)).status == 400


def test_gates_of_the_verbs(api, node):
    """Refused as too old below the version, and for another reason from it on."""
    def ask(version, **body):
        return api("PUT", f"/v1/nodes/{node}/states/provision", body, version=version).status

    for state, version in (("wait call-back", 110), ("inspect wait", 41), ("rescue wait", 38), ("service wait", 87)):
        set_row(api, node, provision_state=state, reservation="held")
        assert ask(f"1.{version - 1}", target="abort") == 406
        assert ask(f"1.{version}", target="abort") == 409
    set_row(api, node, provision_state="active", reservation="held")
    steps = [{"interface": "deploy", "step": "x"}]
    assert ask("1.107", target="service", service_steps=steps, disable_ramdisk=True) == 406
    assert ask("1.108", target="service", service_steps=steps, disable_ramdisk=True) == 409
    set_row(api, node, provision_state="manageable")
    assert ask("1.69", target="clean", clean_steps=steps, disable_ramdisk=True) == 406
    assert ask("1.70", target="clean", clean_steps=steps, disable_ramdisk=True) == 409
    set_row(api, node, provision_state="enroll", reservation=None)


def test_what_may_be_deleted(api, node):
    for state, status in (("active", 409), ("deploying", 409), ("clean failed", 409)):
        set_row(api, node, provision_state=state)
        assert api("DELETE", f"/v1/nodes/{node}").status == status
    set_row(api, node, provision_state="active", protected=1, maintenance=1)
    assert api("DELETE", f"/v1/nodes/{node}").status == 403
    set_row(api, node, protected=0)
    assert api("DELETE", f"/v1/nodes/{node}").status == 204
    assert api("GET", f"/v1/nodes/{node}").status == 404


def test_maintenance(api, node):
    api("PUT", f"/v1/nodes/{node}/maintenance", {"reason": "fan"}, status=202)
    shown = api("GET", f"/v1/nodes/{node}").json
    assert (shown["maintenance"], shown["maintenance_reason"]) == (True, "fan")
    set_row(api, node, fault="power failure")
    assert patch(api, node, ("replace", "/maintenance", False)).json["fault"] is None
    api("PUT", f"/v1/nodes/{node}/maintenance", None, status=202)
    api("DELETE", f"/v1/nodes/{node}/maintenance", status=202)
    api("DELETE", f"/v1/nodes/{node}/maintenance", status=202)
    shown = api("GET", f"/v1/nodes/{node}").json
    assert (shown["maintenance"], shown["maintenance_reason"], shown["fault"]) == (False, None, None)


def test_a_node_is_found_by_its_uuid_in_capitals(api, fleet, node):
    capitals = node.upper()
    assert capitals != node
    assert api("GET", f"/v1/nodes/{capitals}", status=200).json["uuid"] == node
    patch(api, capitals, ("add", "/description", "found"))
    assert api("GET", f"/v1/nodes/{node}/states", status=200).json
    assert api("GET", f"/v1/nodes/{node}").json["description"] == "found"
    port = api("POST", "/v1/ports", {"address": "52:54:00:aa:0c:01", "node_uuid": capitals}, status=201).json
    assert port["node_uuid"] == node
    assert api("GET", f"/v1/ports/{port['uuid'].upper()}", status=200).json["uuid"] == port["uuid"]
    assert [p["uuid"] for p in api("GET", f"/v1/nodes/{capitals}/ports", status=200).json["ports"]] == [port["uuid"]]
    page = "/v1/nodes?owner=fleet&sort_key=name&limit=2&marker={}"
    assert names(api("GET", page.format(fleet[3].upper()), status=200)) == names(api("GET", page.format(fleet[3])))


def test_a_uuid_without_its_dashes_finds_nothing(api, node):
    bare = node.replace("-", "")
    assert fault(api("GET", f"/v1/nodes/{bare}", status=404)) == f"Node {bare} could not be found."


def test_traits(api, node):
    api("PUT", f"/v1/nodes/{node}/traits", {"traits": ["CUSTOM_A", "CUSTOM_A", "HW_CPU_X86_VMX"]}, status=204)
    answer = api("PUT", f"/v1/nodes/{node}/traits/CUSTOM_B", status=204)
    assert answer.headers["Location"].endswith(f"/v1/nodes/{node}/traits/CUSTOM_B")
    api("DELETE", f"/v1/nodes/{node}/traits/CUSTOM_A", status=204)
    assert sorted(api("GET", f"/v1/nodes/{node}/traits").json["traits"]) == ["CUSTOM_B", "HW_CPU_X86_VMX"]
    api("DELETE", f"/v1/nodes/{node}/traits", status=204)
    assert api("GET", f"/v1/nodes/{node}/traits").json == {"traits": []}


# ---- ports

def test_ports(api, node):
    port = api("POST", "/v1/ports", {"address": "52:54:00:AA:00:01", "node_ident": node, "name": "p1"}, status=201).json
    assert port["address"] == "52:54:00:aa:00:01"
    assert api("GET", "/v1/ports/p1", status=200).json["uuid"] == port["uuid"]
    assert fault(api("DELETE", "/v1/ports/p1")) == "Expected UUID for port_uuid: p1"
    for query in (f"node={node}", "address=52:54:00:AA:00:01", f"node_uuid={node}"):
        assert [p["uuid"] for p in api("GET", f"/v1/ports?{query}").json["ports"]] == [port["uuid"]]
    assert api("GET", "/v1/ports/detail?address=52:54:00:aa:00:02").json == {"ports": []}
    assert fault(api("GET", "/v1/ports?address=zz")) == "Expected valid MAC address for address: zz"
    assert fault(api("GET", "/v1/ports?node=nope")) == "Node nope could not be found."
    answer = api("PATCH", f"/v1/ports/{port['uuid']}", [{"op": "replace", "path": "/address", "value": "52:54:00:aa:00:02"}])
    assert answer.json["address"] == "52:54:00:aa:00:02"
    set_row(api, node, provision_state="active")
    answer = api("PATCH", f"/v1/ports/{port['uuid']}", [{"op": "replace", "path": "/pxe_enabled", "value": False}])
    assert answer.status == 409 and "The current state is active." in fault(answer)
    answer = api("PATCH", f"/v1/ports/{port['uuid']}", [{"op": "replace", "path": "/address", "value": "52:54:00:aa:00:03"}])
    assert answer.status == 409
    set_row(api, node, provision_state="enroll")
    api("DELETE", f"/v1/ports/{port['uuid']}", status=204)
    assert api("GET", f"/v1/ports/{port['uuid']}").status == 404


def test_ports_have_words_for_people(api, node):
    body = {"address": "52:54:00:AA:00:11", "node_uuid": node}
    for field, version, length in (("description", 97, 255), ("vendor", 100, 32), ("category", 101, 80)):
        older, newer = f"1.{version - 1}", f"1.{version}"
        assert api("POST", "/v1/ports", {**body, field: "x"}, version=older).status == 406
        answer = api("POST", "/v1/ports", {**body, field: "x" * (length + 1)}, version=newer)
        assert answer.status == 400 and field in fault(answer)
        port = api("POST", "/v1/ports", {**body, field: "x" * length}, version=newer, status=201).json
        path = f"/v1/ports/{port['uuid']}"
        assert port[field] == "x" * length and field not in api("GET", path, version=older).json
        change = [{"op": "add", "path": f"/{field}", "value": "y"}]
        assert api("PATCH", path, change, version=older).status == 406
        assert api("PATCH", path, change, version=newer, status=200).json[field] == "y"
        assert api("PATCH", path, [{"op": "remove", "path": f"/{field}"}], status=200).json[field] is None
        api("DELETE", path, status=204)


def test_ports_are_found_by_description_and_group(api, node):
    ports = [api("POST", "/v1/ports", {"address": f"52:54:00:AA:01:0{i}", "node_uuid": node, "description": word},
                 status=201).json["uuid"] for i, word in enumerate(("uplink 1", "uplink 2", "50% storage"))]

    def found(query):
        return [p["uuid"] for p in api("GET", f"/v1/ports?node={node}&{query}", status=200).json["ports"]]

    assert found("description_contains=uplink") == ports[:2]
    assert found("description_contains=%25") == ports[2:]
    assert found("conductor_groups=") == found("conductor_groups=rack1,") == ports
    assert found("conductor_groups=rack1,rack2") == []
    for port in ports:
        api("DELETE", f"/v1/ports/{port}", status=204)


@pytest.mark.parametrize("version, link, status", [
    ("1.89", "vtep", 400), ("1.90", "vtep", 201), ("1.104", "vtep", 201), ("1.105", "vtep", 400), ("1.90", "half", 400),
    ("1.105", "half", 400), ("1.90", "alone", 400), ("1.105", "with a switch", 400), ("1.105", "switch", 201),
])
def test_a_vtep_is_a_link_from_1_90_to_1_104(api, node, version, link, status):
    pair = {"vtep-logical-switch": "l", "vtep-physical-switch": "p"}
    switch = {"port_id": "1", "switch_id": "52:54:00:00:00:01"}
    links = {"vtep": {**pair, "port_id": "1"}, "half": {"vtep-logical-switch": "l", "port_id": "1"}, "alone": pair,
             "with a switch": {**pair, **switch}, "switch": switch}
    body = {"address": "52:54:00:AA:02:01", "node_uuid": node, "local_link_connection": links[link]}
    answer = api("POST", "/v1/ports", body, version=version, status=status)
    if status == 400:
        assert "Schema error for local_link_connection" in fault(answer)
        return
    path = f"/v1/ports/{answer.json['uuid']}"
    # What was taken then does not stand in the way of another change now.
    api("PATCH", path, [{"op": "add", "path": "/extra/a", "value": 1}], status=200)
    changed = api("PATCH", path, [{"op": "add", "path": "/local_link_connection", "value": links["vtep"]}])
    assert changed.status == (200 if link == "vtep" else 400)
    api("DELETE", path, status=204)


# ---- own routes, and those for agents

def test_shards_are_counted(api, fleet):
    counts = {row["name"]: row["count"] for row in api("GET", "/v1/shards", status=200).json["shards"]}
    assert counts["s1"] == 3
    assert counts["None"] >= 9


def test_flow_and_metrics(api, node):
    assert api("GET", f"/v1/nodes/{node}/flow", version="1.1", status=200).json == {}
    text = api("GET", "/metrics", status=200).text
    count = int(text.split('inox_nodes{provision_state="enroll"} ')[1].split()[0])
    api.create_node(name="one-more")
    text = api("GET", "/metrics", status=200).text
    assert f'inox_nodes{{provision_state="enroll"}} {count + 1}\n' in text
    api("DELETE", "/v1/nodes/one-more", status=204)
    assert 'inox_api_requests_total{status="200"}' in text
    assert api("GET", "/healthcheck", status=200).text == "OK"


@pytest.mark.parametrize("config", [{"api": {"disable_agent_api": True}}, {"api": {"enable_ramdisk_endpoints": False}}])
def test_agents_are_turned_away_whoever_asks(start_inoxd, config):
    closed = Api(start_inoxd(config))
    uuid = closed.create_node()["uuid"]
    for method, path, body in (("GET", "/v1/lookup", None), ("GET", f"/v1/lookup?node_uuid={uuid}", None),
                               ("GET", "/v1/lookup?bogus=%20", None), ("POST", f"/v1/heartbeat/{uuid}", {}),
                               ("POST", "/v1/heartbeat/x", "not json"), ("POST", "/v1/continue_inspection", {})):
        for version in ("1.1", API_VERSION):
            answer = closed(method, path, body, version=version)
            assert answer.status == 403
            assert fault(answer) == f"Access was denied to the following resource: {path.partition('?')[0]}"


def test_inspection_rules_are_gated(api):
    path = "/v1/inspection_rules"
    one = f"{path}/6f1c0ae4-0000-4000-8000-0123456789ab"
    assert fault(api("GET", path, version="1.95", status=404)) == "The API version does not allow inspection rules"
    api("GET", one, version="1.95", status=404)
    for method, which in (("POST", path), ("PATCH", one), ("DELETE", one)):
        api(method, which, [] if method == "PATCH" else None, version="1.95", status=405)
    assert fault(api("DELETE", one, status=404)) == f"Inspection rule {one.rpartition('/')[2]} could not be found."
    assert "inspection_rules" in api("GET", "/v1").json
    assert "inspection_rules" not in api("GET", "/v1", version="1.95").json


def test_what_this_server_has_none_of(api):
    for path in ("chassis", "portgroups", "allocations", "deploy_templates", "runbooks", "inspection_rules", "volume/connectors"):
        assert api("GET", f"/v1/{path}", status=200).json == {path.rsplit("/")[-1]: []}
        answer = api("POST", f"/v1/{path}", {"name": "x"})
        assert answer.status == 501
        assert "does not offer" in fault(answer)
        assert api("GET", f"/v1/{path}/6f1c0ae4-0000-4000-8000-0123456789ab").status == 404


def test_an_old_config_drive_is_not_lost(api, node):
    """instance_info.configdrive goes into the column that deployments use."""
    shown = patch(api, node, ("add", "/instance_info/configdrive", "QUJD")).json
    assert shown["instance_info"]["configdrive"] == "******"
    with sqlite3.connect(api.process.state / "inox.sqlite") as database:
        def row():
            return database.execute("SELECT config_drive, instance_info FROM nodes WHERE uuid = ?", [node]).fetchone()
        assert row() == ("QUJD", '{"configdrive":"******"}')
        patch(api, node, ("add", "/instance_info/image_source", "http://a/b"))
        assert row()[0] == "QUJD"
        patch(api, node, ("remove", "/instance_info/configdrive"))
        assert row()[0] is None
