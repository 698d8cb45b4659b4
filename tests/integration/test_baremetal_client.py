"""Debian's own `baremetal` client, unmodified, does what operators do with a node."""
import json
import os
import shutil
import subprocess

import pytest

from api_support import Api, module_folder, start_inoxd  # noqa: F401: fixtures

CLIENT = shutil.which("baremetal", path="/usr/bin:" + os.environ.get("PATH", ""))
pytestmark = pytest.mark.skipif(CLIENT is None, reason="python3-ironicclient is not installed")


class Client:
    def __init__(self, api):
        self.api = api
        self.environment = {**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": api.url}

    def __call__(self, *words, fails=False):
        done = subprocess.run([CLIENT, *words], env=self.environment, capture_output=True, text=True, timeout=90)
        assert (done.returncode != 0) == fails, f"{words}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def json(self, *words):
        return json.loads(self(*words, "-f", "json"))


@pytest.fixture(scope="module")
def api(start_inoxd):
    return Api(start_inoxd())


@pytest.fixture(scope="module")
def client(api):
    return Client(api)


def test_create_list_show_set_unset_delete(client):
    created = client.json("node", "create", "--driver", "redfish", "--name", "metal3~host-0",
                          "--driver-info", "redfish_address=https://10.0.0.5",
                          "--driver-info", "redfish_password=hunter2", "--property", "cpu_arch=x86_64",
                          "--resource-class", "baremetal", "--extra", "rack=7")
    assert created["provision_state"] == "enroll"
    assert created["driver_info"]["redfish_password"] == "******"
    listed = client.json("node", "list")
    assert [n["UUID"] for n in listed] == [created["uuid"]]
    assert "Properties" in client("node", "list", "--long")
    assert client.json("node", "list", "--fields", "name", "driver") == [
        {"Name": "metal3~host-0", "Driver": "redfish"}]
    client("node", "set", "metal3~host-0", "--name", "host-1", "--property", "cpus=4", "--description", "a b",
           "--driver-info", "redfish_username=admin")
    shown = client.json("node", "show", "host-1")
    assert shown["uuid"] == created["uuid"]
    assert shown["properties"] == {"cpu_arch": "x86_64", "cpus": 4}
    assert shown["driver_info"]["redfish_password"] == "******"
    client("node", "unset", "host-1", "--property", "cpus", "--description", "--extra", "rack")
    shown = client.json("node", "show", "host-1")
    assert (shown["properties"], shown["description"], shown["extra"]) == ({"cpu_arch": "x86_64"}, None, {})
    assert "already exists" in client("node", "create", "--driver", "redfish", "--name", "host-1", fails=True)
    client("node", "delete", "host-1")
    assert client.json("node", "list") == []
    assert "could not be found" in client("node", "show", "host-1", fails=True)


def test_ports(client):
    node = client.json("node", "create", "--driver", "fake-hardware", "--name", "with-ports")["uuid"]
    port = client.json("port", "create", "52:54:00:00:01:01", "--node", node, "--physical-network", "physnet1")
    assert port["node_uuid"] == node
    assert [p["UUID"] for p in client.json("port", "list", "--node", "with-ports")] == [port["uuid"]]
    assert client.json("port", "show", "--address", "52:54:00:00:01:01")["uuid"] == port["uuid"]
    client("port", "set", port["uuid"], "--address", "52:54:00:00:01:02", "--extra", "a=b")
    client("port", "unset", port["uuid"], "--physical-network", "--extra", "a")
    shown = client.json("port", "show", port["uuid"])
    assert (shown["address"], shown["physical_network"], shown["extra"]) == ("52:54:00:00:01:02", None, {})
    client("port", "delete", port["uuid"])
    client("node", "delete", node)


def test_maintenance_validate_traits_vifs(client):
    client("node", "create", "--driver", "fake-hardware", "--name", "various")
    client("node", "maintenance", "set", "various", "--reason", "fan")
    assert client.json("node", "show", "various", "--fields", "maintenance_reason") == {"maintenance_reason": "fan"}
    client("node", "maintenance", "unset", "various")
    assert client.json("node", "show", "various", "--fields", "maintenance") == {"maintenance": False}
    checks = {row["Interface"]: row["Result"] for row in client.json("node", "validate", "various")}
    assert checks["power"] is True and {"deploy", "boot", "management"} <= set(checks)
    client("node", "add", "trait", "various", "CUSTOM_GOLD", "CUSTOM_FAST")
    assert sorted(row["Traits"] for row in client.json("node", "trait", "list", "various")) == \
        ["CUSTOM_FAST", "CUSTOM_GOLD"]
    client("node", "remove", "trait", "various", "--all")
    assert client.json("node", "vif", "list", "various") == []
    assert client.json("node", "boot", "device", "show", "various", "--supported")["supported_boot_devices"]
    assert client.json("node", "history", "list", "various") == []
    assert client.json("node", "bios", "setting", "list", "various") == []
    client("node", "delete", "various")


def test_what_describes_the_server(client):
    names = [row["Supported driver(s)"] for row in client.json("driver", "list")]
    assert sorted(names) == ["fake-hardware", "redfish"]
    assert client.json("driver", "show", "redfish")["default_power_interface"] == "redfish"
    properties = [row["Property"] for row in client.json("driver", "property", "list", "redfish")]
    assert "redfish_address" in properties
    host = client.json("conductor", "list")[0]["Hostname"]
    assert client.json("conductor", "show", host)["alive"] is True
    for words in (["chassis", "list"], ["port", "group", "list"], ["allocation", "list"],
                  ["deploy", "template", "list"], ["volume", "connector", "list"], ["volume", "target", "list"]):
        assert client.json(*words) == []
    assert "does not offer" in client("allocation", "create", "--resource-class", "a", fails=True)


def test_from_enrolment_to_available_and_back(client):
    client("node", "create", "--driver", "fake-hardware", "--name", "walker")
    client("node", "manage", "walker", "--wait", "30")
    assert client.json("node", "show", "walker", "--fields", "provision_state")["provision_state"] == "manageable"
    client("node", "provide", "walker", "--wait", "30")
    shown = client.json("node", "show", "walker")
    assert shown["provision_state"] == "available"
    assert shown["power_state"] is not None
    client("node", "power", "on", "walker", "--power-timeout", "30")
    client.api.wait_state("walker", "available")
    assert client.json("node", "show", "walker", "--fields", "power_state")["power_state"] == "power on"
    client("node", "manage", "walker", "--wait", "30")
    client("node", "delete", "walker")


def test_openstacksdk_does_the_same(api):
    openstack = pytest.importorskip("openstack")
    cloud = openstack.connect(auth_type="none", endpoint=api.url, baremetal_endpoint_override=api.url).baremetal
    node = cloud.create_node(driver="fake-hardware", name="sdk", properties={"cpus": 4})
    assert cloud.get_node("sdk").provision_state == "available"
    port = cloud.create_port(node_id=node.id, address="52:54:00:11:22:33")
    assert [p.address for p in cloud.ports(details=True, node=node.id)] == ["52:54:00:11:22:33"]
    node = cloud.update_node(node, extra={"a": 1})
    assert cloud.patch_node(node, [{"op": "replace", "path": "/extra/a", "value": 2}]).extra == {"a": 2}
    cloud.set_node_maintenance(node, "fan")
    assert cloud.get_node(node.id).is_maintenance is True
    cloud.unset_node_maintenance(node)
    cloud.add_node_trait(node, "CUSTOM_X")
    assert cloud.get_node(node.id).traits == ["CUSTOM_X"]
    with pytest.raises(openstack.exceptions.BadRequestException, match="image_source"):
        cloud.set_node_provision_state(node, "active")
    cloud.delete_port(port)
    cloud.delete_node(node)
    assert "sdk" not in [n.name for n in cloud.nodes()]
