"""Several dialers: nodes are shared out, each process restarts alone, and no deployment minds."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import ProcessRack, make_image  # noqa: E402
from test_pressure import Storms, nothing  # noqa: E402

MACHINES = 4


@pytest.fixture
def rack(build, folder, inoxd):
    made = ProcessRack(build, folder, inoxd, (77, 2), {"agent": {"dialers": 2}})
    yield made
    made.stop()


def dialers(inoxd):
    """Ids of the dialer processes that run now."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(stat[1]) == inoxd.pid and stat[0] != "Z" and argv[1:3] == [b"--worker", b"dialer"]:
            found.add(int(entry))
    return found


def test_two_dialers_share_the_nodes_and_restart_alone(rack):
    names = [f"n{i + 1}" for i in range(MACHINES)]
    for name in names:
        rack.enrol(rack.add_machine(), name)
        rack.set_image(name, make_image())
    first = dialers(rack.inoxd)
    others = {role: pid for role, pid in rack.inoxd.children().items() if role != "dialer"}
    assert len(first) == 2
    for name in names:
        rack.provision(name, "active")
    wait_until(lambda: any(rack.flow(n).get("phase") == "first contact" for n in names), 30, what="a first contact")
    for victim in sorted(first):
        before = dialers(rack.inoxd)
        os.kill(victim, signal.SIGKILL)
        now = wait_until(lambda: victim not in dialers(rack.inoxd) and len(dialers(rack.inoxd)) == 2
                         and dialers(rack.inoxd), 20, what="a new dialer")
        assert before - {victim} <= now
    for name in names:
        rack.wait_state(name, "active", 90)
    assert {role: pid for role, pid in rack.inoxd.children().items() if role != "dialer"} == others


def test_the_figures_of_every_dialer_are_printed(inoxd):
    process = inoxd({"agent": {"dialers": 2}})

    def labels():
        text = process.api("GET", "/metrics").text
        assert "# TYPE inox_dialer_lateness_seconds histogram" in text
        return {line.split('dialer="')[1][0] for line in text.splitlines() if line.startswith("inox_dialer_watched{")}
    wait_until(lambda: labels() == {"0", "1"}, 10, what="figures of two dialers")
    # A dialer that is gone has none, and the conductor that starts anew knows none.
    os.kill(process.children()["conductor"], signal.SIGKILL)
    wait_until(lambda: labels() == set(), 10, what="no figures")
    wait_until(lambda: labels() == {"0", "1"}, 20, what="figures of two dialers")


def test_an_agent_is_dialled_by_ipv6(build, folder, inoxd):
    rack = ProcessRack(build, folder, inoxd, (77, 3), {
        "agent": {"allowed_networks": "::1/128"}, "boot": {"address_pool": ""}})
    try:
        rack.enrol(rack.add_machine())
        rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/agent_address", "value": "::1"}],
                  want=200)
        rack.set_image("n1", make_image())
        # No other address is allowed, so this is how it went.
        rack.provision("n1", "active", "active")
    finally:
        rack.stop()


def metric(process, name, labels):
    """{dialer: value} of a figure."""
    text = process.api("GET", "/metrics").text
    return {m[1]: int(m[2]) for m in re.finditer(rf'^{name}{{dialer="(\d+)",{labels}}} (\d+)$', text, re.M)}


def test_each_node_is_watched_by_one_dialer(build, folder, inoxd):
    """Also when a dialer was killed and its nodes are handed to its successor."""
    storms = Storms(build, folder, inoxd, agents=60, steps=2, dialers=3)
    try:
        def watched():
            return metric(storms.inoxd, "inox_dialer_watched", 'phase="working"')
        wait_until(lambda: sum(watched().values()) >= 60, 30, lambda: f"60 watched nodes instead of {watched()}")
        shares = watched()
        assert len(shares) == 3 and min(shares.values()) > 5 and sum(shares.values()) == 60, shares
        victim = min(dialers(storms.inoxd))
        storms.fleet.wait_log("every healthy agent was looked at")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in dialers(storms.inoxd) and len(dialers(storms.inoxd)) == 3, 20, "a new dialer")
        # The end of each command is news that only its own dialer can bring.
        storms.storm(0, nothing)
        wait_until(lambda: watched() == shares, 30, lambda: f"the same shares, {shares}, instead of {watched()}")
        storms.storm(1, nothing)
        assert "message of the wrong kind dropped" not in storms.inoxd.log()
        agents, _ = storms.stop()
        assert agents["double_polls"] == 0 and agents["commands_ended"] == 120
    finally:
        storms.fleet.kill()


def test_agents_that_cannot_be_reached_are_counted_by_why(inoxd, folder):
    """Nobody is reached at the broadcast address of a network; and a listener that takes no more connections lets one
    wait for ever."""
    with socket.socket() as full, contextlib.ExitStack() as clients:
        full.bind(("127.77.4.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(4):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        root = folder / "boot"
        for name in ("http/boot", "http/once", "http/ramdisk", "dhcp-hosts"):
            (root / name).mkdir(parents=True)
        process = inoxd({
            "agent": {"poll_only": True, "transport": "http", "allowed_networks": "127.0.0.0/8", "port": port},
            "boot": {"root": root, "http_url": "http://192.0.2.1"}})

        def call(method, path, body, want):
            answer = process.api(method, path, body)
            assert answer.status == want, answer.text

        for number, address in enumerate(("127.255.255.255", "127.77.4.1")):
            name = f"n{number}"
            call("POST", "/v1/nodes", {
                "driver": "fake-hardware", "name": name, "driver_info": {"agent_address": address}, "instance_info": {
                    "image_source": "http://192.0.2.1/i", "image_disk_format": "raw",
                    "image_os_hash_algo": "sha256", "image_os_hash_value": "0" * 64}}, 201)
            uuid = process.api("GET", f"/v1/nodes/{name}").json["uuid"]
            call("POST", "/v1/ports", {"node_uuid": uuid, "address": f"52:54:00:77:04:0{number}"}, 201)
            for verb, state in (("manage", "manageable"), ("provide", "available"), ("active", "wait call-back")):
                call("PUT", f"/v1/nodes/{name}/states/provision", {"target": verb}, 202)
                wait_until(lambda: process.api("GET", f"/v1/nodes/{name}").json["provision_state"] == state, 20, state)

        def polls():
            return {why: metric(process, "inox_dialer_polls_total", f'outcome="{why}"').get("0", 0)
                    for why in ("unreachable", "no connection in time", "connection refused", "other")}
        wait_until(lambda: polls()["unreachable"] and polls()["no connection in time"], 40,
                   lambda: f"both kinds are counted: {polls()}")
        assert polls()["connection refused"] == polls()["other"] == 0
