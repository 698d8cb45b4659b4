"""network_data of a node: what the API takes, and how it reaches a machine that boots from virtual media in a rack
without DHCP, with our agent and with a stock one, whose tools look for it on the CD.
"""
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, wait_until  # noqa: E402
from rack.media_record import compose  # noqa: E402
from rack.process_rack import PLACES, ProcessRack, make_image  # noqa: E402

IMAGE = make_image()
ADDRESS = "127.69.1.50"
ISO_PATHS = {"isolinux.cfg": "isolinux/isolinux.cfg", "grub.cfg": "boot/grub/inox.cfg", "node.img": "boot/node.img",
             "agent.conf": "etc/ironic-python-agent.d/inox.conf",
             "network_data.json": "openstack/latest/network_data.json"}


def network_data(mac, **network):
    return {"links": [{"id": "enp1", "type": "phy", "ethernet_mac_address": mac.upper()}],
            "networks": [{"id": "rack", "type": "ipv4", "link": "enp1", "network_id": "rack", "ip_address": ADDRESS,
                          "netmask": "255.0.0.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0",
                                                              "gateway": "127.69.1.1"}], **network}],
            "services": [{"type": "dns", "address": "127.69.1.53"}]}


def make_real_iso(folder):
    """What inox-ramdisk --iso makes, without kernel and ramdisk."""
    tree = folder / "tree"
    for name, size in (*PLACES, ("network_data.json", 32768)):
        path = tree / ISO_PATHS[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"inox-place {name} {size}\n".encode().ljust(size, b"\n"))
    (tree / "boot/vmlinuz").write_text("a kernel\n")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "VMEDIA_BOOT_ISO", "-R", "-J", "-o", folder / "base.iso",
                    tree], check=True, capture_output=True)
    return (folder / "base.iso").read_bytes()


@pytest.fixture
def rack(build, folder, inoxd):
    made = ProcessRack(build, folder, inoxd, (69, 1))
    (made.boot_root / "http/ramdisk/boot.iso").write_bytes(make_real_iso(folder))
    yield made
    for name in ("kept.iso", "extracted"):  # copies of what lay on the boot host
        (folder / name).unlink(missing_ok=True)
    made.stop()


pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed")


def enrol(rack, data, stock=False, **driver_info):
    machine = rack.add_machine()
    rack.enrol(machine, boot_interface="redfish-virtual-media", network_data=data(machine.mac))
    rack.set_image("n1", IMAGE)
    if stock:
        state = json.loads(machine.state.read_text())
        machine.state.write_text(json.dumps({**state, "agent": str(REPOSITORY / "tests/rack/stock_agent.py")}))
        driver_info["agent_transport"] = "http"
    rack.call("PATCH", "/v1/nodes/n1",
              [{"op": "add", "path": f"/driver_info/{k}", "value": v} for k, v in driver_info.items()], want=200)
    return machine


def deploy(rack, folder):
    """The ISO that was there meanwhile."""
    kept = folder / "kept.iso"

    def look():
        for path in (rack.boot_root / "http/once").glob("*/boot.media"):
            try:
                kept.write_bytes(compose(rack.boot_root / "http", path.read_bytes()))
            except FileNotFoundError:
                pass
        node = rack.node("n1")
        assert not node["provision_state"].endswith("failed"), node["last_error"]
        return node["provision_state"] == "active"

    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(look, 90)
    return kept


def read_iso(iso, path):
    out = iso.parent / "extracted"
    out.unlink(missing_ok=True)
    subprocess.run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/" + path, out], check=True,
                   capture_output=True)
    return out.read_text()


def label(iso):
    done = subprocess.run(["xorriso", "-indev", str(iso), "-pvd_info"], check=True, capture_output=True, text=True)
    lines = [line.split(":", 1) for line in (done.stdout + done.stderr).splitlines() if ":" in line]
    found = {key.strip(): value.strip() for key, value in lines}
    return found["Volume Id"].strip("' "), found["Publisher Id"]


def deploy_fails(rack):
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 60, what="deploy failed")
    wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
    assert rack.published() == []
    return rack.node("n1")["last_error"]


def test_our_ramdisk_has_its_address_from_network_data(rack, folder):
    machine = enrol(rack, network_data)
    iso = deploy(rack, folder)
    wait_until(machine.instance_is_up, 10)
    cmdline = (machine.sysroot / "proc/cmdline").read_text()
    assert f" inox-address={ADDRESS}/8 inox-gateway=127.69.1.1 inox-nameserver=127.69.1.53" in cmdline
    assert "ir_pub_id" not in cmdline
    assert json.loads(read_iso(iso, "openstack/latest/network_data.json")) == network_data(machine.mac)
    # An instance must never take this CD for its config drive.
    assert label(iso)[0] == "VMEDIA_BOOT_ISO"
    # DHCP was not needed: no reservation was ever written, only taken back.
    assert (rack.boot_root / "dhcp-hosts" / machine.mac.replace(":", "-")).read_text().strip().endswith(",ignore")


def test_a_stock_ramdisk_finds_it_where_its_tools_look(rack, folder):
    machine = enrol(rack, network_data, stock=True)
    iso = deploy(rack, folder)
    wait_until(machine.instance_is_up, 10)
    uuid = rack.node("n1")["uuid"]
    assert label(iso) == ("config-2", uuid)
    assert f" ir_pub_id={uuid} " in (machine.sysroot / "proc/cmdline").read_text()
    token = read_iso(iso, "etc/ironic-python-agent.d/inox.conf").split("agent_token = ")[1].strip()
    assert len(token) == 43
    # The peer reads the CD as the agent does.
    seen = json.loads((machine.sysroot / "openstack/latest/network_data.json").read_text())
    assert seen == network_data(machine.mac)
    assert token in (machine.sysroot / "etc/ironic-python-agent.d/inox.conf").read_text()
    if shutil.which("blkid"):
        shown = subprocess.run(["blkid", "-p", "-o", "export", iso], capture_output=True, text=True).stdout
        assert "LABEL=config-2\n" in shown and f"PUBLISHER_ID={uuid}" in shown.replace("\\ ", " ")


def test_agent_address_chooses_among_several(rack, folder):
    def two(mac):
        data = network_data(mac)
        data["networks"].append({**data["networks"][0], "id": "second", "ip_address": "127.69.1.51"})
        return data
    machine = enrol(rack, two, agent_address="127.69.1.51")
    deploy(rack, folder)
    assert " inox-address=127.69.1.51/8 " in (machine.sysroot / "proc/cmdline").read_text()
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/agent_address", "value": "127.69.1.52"}],
              want=200)
    rack.provision("n1", "deleted", "available")
    rack.set_image("n1", IMAGE)
    assert "127.69.1.52 is none of the static addresses" in deploy_fails(rack)


def test_what_the_ramdisk_cannot_set_up_fails_before_power_on(rack):
    def bond(mac):
        data = network_data(mac, link="bond0")
        data["links"].append({"id": "bond0", "type": "bond", "bond_mode": "active-backup", "bond_links": ["enp1"],
                              "ethernet_mac_address": mac})
        return data
    machine = enrol(rack, bond)
    assert "on a bond or a VLAN, and the ramdisk makes neither" in deploy_fails(rack)
    assert "boots from" not in machine.bmc.log()
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "replace", "path": "/network_data",
                                         "value": network_data("52:54:00:00:00:01")}], want=200)
    assert "no link with the MAC address" in deploy_fails(rack)


def test_an_iso_of_before_is_named(rack):
    from rack.process_rack import make_base_iso
    (rack.boot_root / "http/ramdisk/boot.iso").write_bytes(make_base_iso())
    enrol(rack, network_data)
    assert "make it anew with inox-ramdisk --iso" in deploy_fails(rack)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "replace", "path": "/network_data", "value": {}}], want=200)
    rack.provision("n1", "active", "active", 90)


@pytest.mark.parametrize("data, sentence", [
    ({"links": []}, "'networks' is a required property"),
    ({"links": [{}], "networks": [], "services": []}, "links[0]: 'type'"),
    ({"links": [], "networks": [{"type": "ipv4", "id": "a", "link": "b", "ip_address": "1.2.3"}], "services": []},
     "networks[0]: 'ip_address'"),
    ({"links": [], "networks": [], "services": [], "more": "x" * 30000}, "there is room for"),
])
def test_the_api_refuses_what_does_not_fit(inoxd, data, sentence):
    server = inoxd()
    made = server.api("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "a"})
    assert made.status == 201
    for answer in (server.api("PATCH", "/v1/nodes/a", [{"op": "replace", "path": "/network_data", "value": data}]),
                   server.api("POST", "/v1/nodes", {"driver": "fake-hardware", "network_data": data})):
        assert answer.status == 400
        assert "Invalid network_data: " in answer.text and sentence in json.loads(answer.json["error_message"])["faultstring"]
    old = server.api("PATCH", "/v1/nodes/a", [{"op": "replace", "path": "/network_data", "value": {}}], version="1.65")
    assert old.status == 406
