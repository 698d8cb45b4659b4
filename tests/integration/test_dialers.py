"""Several dialers: nodes are shared out, each process restarts alone, and no deployment minds."""
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import ProcessRack, make_image  # noqa: E402

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
