"""Fast track with every real program and machines made of processes: the agent of a cleaning stays up, and the next
operation begins with it; and every way in which that ends."""
import base64
import http.client
import json
import os
import pathlib
import signal
import sqlite3
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import free_port, is_running, wait_until  # noqa: E402
from rack.process_rack import MIB, ProcessRack, agents_running, make_image  # noqa: E402

IMAGE = make_image(4 * MIB)
METADATA = {"interface": "deploy", "step": "erase_devices_metadata"}
SILENCE_S = 12


def make_rack(build, folder, inoxd, mode, number, **deploy):
    port = free_port()
    return ProcessRack(build, folder, inoxd, (69, number), {
        "agent": {"poll_only": mode != "active", "poll_interval": 2}, "api": {"port": port},
        "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"},
        "deploy": {"fast_track": True, "fast_track_timeout": SILENCE_S, **deploy}})


@pytest.fixture
def rack(build, folder, inoxd):
    made = make_rack(build, folder, inoxd, "passive", 1)
    yield made
    made.stop()


def manageable(rack, **more):
    machine = rack.add_machine()
    made = rack.call("POST", "/v1/nodes", {
        "driver": "redfish", "name": "n1", "automated_clean": True,
        "driver_info": {"redfish_address": f"http://127.0.0.1:{machine.port}", "redfish_username": "admin",
                        "redfish_password": "correct horse"}, **more}, want=201).json
    rack.call("POST", "/v1/ports", {"node_uuid": made["uuid"], "address": machine.mac}, want=201)
    rack.provision("n1", "manage", "manageable")
    return machine


def stored(rack):
    with sqlite3.connect(rack.inoxd.state / "inox.sqlite") as database:
        return database.execute("SELECT boot_epoch, agent_token, agent_verifier, agent_address FROM nodes").fetchone()


def boots(machine):
    return machine.bmc.log().count(f"{machine.mac} boots from pxe") + \
        machine.bmc.log().count(f"{machine.mac} boots from cdrom")


def reset(machine, kind):
    """As somebody at the BMC does it, behind the back of the control plane."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    connection.request("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", json.dumps({"ResetType": kind}), {
        "Authorization": "Basic " + base64.b64encode(b"admin:correct horse").decode(),
        "Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def reservation(rack, machine):
    return (rack.boot_root / "dhcp-hosts" / machine.mac.replace(":", "-")).read_text().strip().split(",")[1]


def cleaned(rack, **more):
    """A node that was cleaned, and whose agent stays."""
    machine = manageable(rack, **more)
    node = rack.provision("n1", "provide", "available")
    assert node["power_state"] == "power on" and node["last_error"] is None and node["reservation"] is None
    assert node["driver_internal_info"]["agent_url"]
    assert rack.published() == []
    flow = rack.flow("n1")
    assert flow["operation"] == "fast track"
    assert "The agent of epoch 1 stays up" in flow["why"]
    assert len(agents_running(rack.build, machine)) == 1 and boots(machine) == 1
    return machine


def deploy(rack, machine):
    rack.set_image("n1", IMAGE)
    node = rack.provision("n1", "active", "active")
    assert node["last_error"] is None and node["power_state"] == "power on"
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    wait_until(machine.instance_is_up, 10)
    assert rack.published() == [] and rack.flow("n1") == {}
    assert stored(rack)[1:] == (None, None, None)
    return node


def wait_rest(rack, seconds=60):
    wait_until(lambda: rack.flow("n1") == {}, seconds, what="nothing is under way")
    node = rack.node("n1")
    assert node["provision_state"] == "available" and node["last_error"] is None
    assert stored(rack)[1:] == (None, None, None)
    assert "agent_url" not in node["driver_internal_info"]
    return node


@pytest.mark.parametrize("mode, media", [("passive", False), ("active", False), ("passive", True)])
def test_a_deployment_begins_with_the_agent_that_runs(build, folder, inoxd, mode, media):
    rack = make_rack(build, folder, inoxd, mode, 2)
    try:
        machine = cleaned(rack, **({"boot_interface": "redfish-virtual-media"} if media else {}))
        address = stored(rack)[3]
        assert media or reservation(rack, machine) == address
        deploy(rack, machine)
        # One power cycle: off behind the deployment, and on for the instance.
        assert boots(machine) == 1 and stored(rack)[0] == 1
        assert media or reservation(rack, machine) == "ignore"
    finally:
        rack.stop()


def test_manual_cleaning_goes_on_with_it_as_often_as_wanted(rack):
    machine = cleaned(rack)
    rack.provision("n1", "manage", "manageable")
    for _ in range(2):
        with open(machine.disk, "r+b") as disk:
            disk.write(b"\xaa" * MIB)
        node = rack.provision("n1", "clean", "manageable", clean_steps=[METADATA])
        assert node["power_state"] == "power on" and node["last_error"] is None
        assert machine.disk_head(MIB) == bytes(MIB)
    rack.provision("n1", "provide", "available")
    deploy(rack, machine)
    assert boots(machine) == 1 and stored(rack)[0] == 1


def test_the_nodes_wish_goes_before_the_servers(rack):
    machine = manageable(rack)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/fast_track", "value": "false"}], want=200)
    node = rack.provision("n1", "provide", "available")
    assert node["power_state"] == "power off" and rack.flow("n1") == {}
    deploy(rack, machine)
    assert boots(machine) == 2 and stored(rack)[0] == 2


def end_agent(rack, machine, for_good):
    """Its machine stays on; and starts it again, as a ramdisk does, if it is not for good."""
    (agent,) = agents_running(rack.build, machine)
    parent = int(pathlib.Path(f"/proc/{agent}/stat").read_text().rsplit(")", 1)[1].split()[1])
    if for_good:
        os.kill(parent, signal.SIGSTOP)
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: agent not in agents_running(rack.build, machine), 10)


def test_an_agent_that_died_is_booted_anew(rack):
    machine = cleaned(rack)
    end_agent(rack, machine, for_good=True)
    deploy(rack, machine)
    assert boots(machine) == 2 and stored(rack)[0] == 2


def test_an_agent_may_start_again(rack):
    machine = cleaned(rack)
    end_agent(rack, machine, for_good=False)
    wait_until(lambda: len(agents_running(rack.build, machine)) == 1, 10, what="the agent runs again")
    deploy(rack, machine)
    assert stored(rack)[0] == boots(machine) == 1


def test_a_machine_that_somebody_switched_off_is_booted_anew(rack):
    machine = cleaned(rack)
    assert reset(machine, "ForceOff") < 300
    deploy(rack, machine)
    assert boots(machine) == 2 and stored(rack)[0] == 2


def test_a_machine_whose_agent_is_silent_is_switched_off(build, folder, inoxd):
    rack = make_rack(build, folder, inoxd, "passive", 3, fast_track_timeout=3)
    try:
        machine = cleaned(rack)
        end_agent(rack, machine, for_good=True)
        assert wait_rest(rack)["power_state"] == "power off"
        assert reservation(rack, machine) == "ignore"
        deploy(rack, machine)
        assert boots(machine) == 2
    finally:
        rack.stop()


def test_it_stays_longer_than_its_silence_may_last(build, folder, inoxd):
    rack = make_rack(build, folder, inoxd, "passive", 4, fast_track_timeout=12)
    try:
        machine = cleaned(rack)
        heard = rack.node("n1")["driver_internal_info"]["agent_last_heartbeat"]
        wait_until(lambda: rack.node("n1")["driver_internal_info"]["agent_last_heartbeat"] > heard, 40,
                   what="it is heard again")
        assert rack.flow("n1")["operation"] == "fast track"
        deploy(rack, machine)
        assert boots(machine) == 1
    finally:
        rack.stop()


@pytest.mark.parametrize("target, state", [("power off", "power off"), ("rebooting", "power on"), ("power on", "power on")])
def test_an_operators_power_request_ends_it(rack, target, state):
    machine = cleaned(rack)
    rack.call("PUT", "/v1/nodes/n1/states/power", {"target": target}, want=202)
    assert stored(rack)[1:3] == (None, None)
    assert wait_rest(rack)["power_state"] == state
    assert reservation(rack, machine) == "ignore"
    deploy(rack, machine)
    assert stored(rack)[0] == 2


def test_a_change_of_what_the_boot_depends_on_boots_anew(rack):
    machine = cleaned(rack)
    rack.call("PATCH", "/v1/nodes/n1",
              [{"op": "replace", "path": "/boot_interface", "value": "redfish-virtual-media"}], want=200)
    deploy(rack, machine)
    assert boots(machine) == 2 and stored(rack)[0] == 2


def test_it_is_deleted_when_it_is_switched_off(rack):
    machine = cleaned(rack)
    answer = rack.inoxd.api("DELETE", "/v1/nodes/n1")
    assert answer.status == 409 and "switch the machine off first" in answer.text
    rack.call("PUT", "/v1/nodes/n1/states/power", {"target": "power off"}, want=202)
    wait_rest(rack)
    rack.call("DELETE", "/v1/nodes/n1", want=204)
    assert reservation(rack, machine) == "ignore"


@pytest.mark.parametrize("mode, role", [("passive", "conductor"), ("active", "conductor"), ("passive", "dialer-0")])
def test_whoever_is_killed_meanwhile_watches_on(build, folder, inoxd, mode, role):
    rack = make_rack(build, folder, inoxd, mode, 5)
    try:
        machine = cleaned(rack)
        heard = rack.node("n1")["driver_internal_info"]["agent_last_heartbeat"]
        names = rack.inoxd.children()
        pid = names[role] if role in names else names["dialer"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), 10)
        wait_until(lambda: rack.node("n1")["driver_internal_info"]["agent_last_heartbeat"] > heard, 40,
                   what="it is heard again")
        deploy(rack, machine)
        assert boots(machine) == 1 and stored(rack)[0] == 1
    finally:
        rack.stop()


# ---- ports that change while the machine keeps its address

def reserved(rack):
    """{MAC: address} of what the boot host gives away."""
    lines = [path.read_text().strip().split(",") for path in (rack.boot_root / "dhcp-hosts").iterdir()]
    return {mac: address for mac, address in lines if address != "ignore"}


def only_port(rack):
    (port,) = rack.call("GET", "/v1/nodes/n1/ports", want=200).json["ports"]
    return port["uuid"]


def change_mac(rack, mac):
    rack.call("PATCH", f"/v1/ports/{only_port(rack)}", [{"op": "replace", "path": "/address", "value": mac}], want=200)


def delete_port(rack, _):
    rack.call("DELETE", f"/v1/ports/{only_port(rack)}", want=204)


def give_away(rack, _):
    other = rack.call("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n2"}, want=201).json
    rack.call("PATCH", f"/v1/ports/{only_port(rack)}", [
        {"op": "replace", "path": "/node_uuid", "value": other["uuid"]}], want=200)


@pytest.mark.parametrize("change", [change_mac, delete_port, give_away])
def test_the_reservation_ends_with_the_agent_although_the_port_has_changed(build, folder, inoxd, change):
    rack = make_rack(build, folder, inoxd, "passive", 4, fast_track_timeout=3)
    try:
        machine = cleaned(rack)
        assert reserved(rack) == {machine.mac: stored(rack)[3]}
        change(rack, "52:54:00:77:ee:01")
        end_agent(rack, machine, for_good=True)
        node = wait_rest(rack)
        assert reserved(rack) == {} and stored(rack)[3] is None
        assert "boot_macs" not in node["driver_internal_info"]
    finally:
        rack.stop()


def test_a_new_boot_by_another_port_leaves_the_old_one_no_address(rack):
    machine = cleaned(rack)
    old = machine.mac
    change_mac(rack, "52:54:00:77:ee:02")
    rack.set_image("n1", IMAGE)
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    # The agent that runs shows no MAC of the node: the machine boots anew, by the new port.
    wait_until(lambda: "52:54:00:77:ee:02" in reserved(rack), 60, what="the new port is published")
    assert old not in reserved(rack)
    assert rack.node("n1")["driver_internal_info"]["boot_macs"] == ["52:54:00:77:ee:02"]
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "abort"}, want=202)
    wait_until(lambda: rack.flow("n1") == {}, 60, what="nothing is under way")
    assert reserved(rack) == {}
