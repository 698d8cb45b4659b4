"""Whole deployments in active mode: the real agent looks up its node, sends heartbeats, and is then driven as
in passive mode, by the real control plane."""
import json
import pathlib
import sqlite3
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, log_of, make_image  # noqa: E402

IMAGE = make_image()


@pytest.fixture
def rack(build, folder, inoxd):
    port = free_port()
    made = ProcessRack(build, folder, inoxd, (62, 2), {
        "agent": {"poll_only": False}, "api": {"port": port},
        "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}})
    yield made
    made.stop()


def metric(rack, name):
    for line in rack.call("GET", "/metrics", want=200).text.splitlines():
        if line.startswith(name + " "):
            return int(line.rsplit(" ", 1)[1])
    raise AssertionError(name)


def enrol(rack, **driver_info):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.call("PATCH", "/v1/nodes/n1",
              [{"op": "add", "path": f"/driver_info/{k}", "value": v} for k, v in driver_info.items()], want=200)
    rack.set_image("n1", IMAGE)
    return machine


def written(rack, machine):
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    wait_until(machine.instance_is_up, 10)
    return rack.published() == []


@pytest.mark.parametrize("transport, delivery", [("psk", "boot"), ("psk", "lookup"), ("pinned", "boot"),
                                                 ("pinned", "lookup"), ("http", "lookup")])
def test_a_machine_is_deployed(rack, transport, delivery):
    machine = enrol(rack, agent_transport=transport, agent_delivery=delivery)
    node = rack.provision("n1", "active", "active", 90)
    assert node["last_error"] is None and node["power_state"] == "power on"
    assert written(rack, machine)
    assert metric(rack, 'inox_api_heartbeats_total{result="accepted"}') > 0
    assert metric(rack, 'inox_api_lookups_total{token="given"}') == (delivery == "lookup")
    assert node["driver_internal_info"]["agent_last_heartbeat"]
    with sqlite3.connect(rack.inoxd.state / "inox.sqlite") as database:
        token, verifier, flow = database.execute("SELECT agent_token, agent_verifier, flow FROM nodes").fetchone()
    assert (token, verifier, json.loads(flow)) == (None, None, {})
    assert "ipa-api-url" in (machine.sysroot / "proc/cmdline").read_text()


def test_the_way_back_and_again_and_passive(rack):
    machine = enrol(rack)
    rack.provision("n1", "active", "active", 90)
    assert written(rack, machine)
    beats = metric(rack, 'inox_api_heartbeats_total{result="accepted"}')
    rack.provision("n1", "deleted", "available")
    # Node by node into the passive mode: the agent of the next boot calls nobody.
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/agent_poll_only", "value": True}], want=200)
    rack.set_image("n1", IMAGE)
    (machine.sysroot / "instance-booted").unlink()
    rack.provision("n1", "active", "active", 90)
    assert written(rack, machine)
    assert "ipa-api-url" not in (machine.sysroot / "proc/cmdline").read_text()
    assert metric(rack, 'inox_api_heartbeats_total{result="accepted"}') == beats


def test_no_token_in_any_log(rack):
    machine = enrol(rack, agent_delivery="lookup", agent_transport="http")
    rack.provision("n1", "active", "active", 90)
    assert written(rack, machine)
    kept = [p.read_text() for p in machine.sysroot.rglob("*token*") if p.is_file()]
    tokens = {text.strip() for text in kept if len(text.strip()) == 43}
    assert tokens, "the agent keeps the token of its look-up"
    everything = log_of(rack) + rack.call("GET", "/v1/nodes/n1").text + rack.call("GET", "/v1/nodes/n1/flow").text
    for token in tokens:
        assert token not in everything
