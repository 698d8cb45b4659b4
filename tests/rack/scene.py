"""A rack in one of the modes, and what the tests of restarts do to its machines, agents and conductor."""
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import signal
import threading
import time
import zlib

import pytest

from conftest import free_port, is_running, wait_until
from rack.process_rack import BMC_PASSWORD, MIB, ProcessRack, agents_running, make_image

IMAGE = make_image(4 * MIB)
CALLBACK_S = 10
METADATA = {"interface": "deploy", "step": "erase_devices_metadata"}
MODES = ["passive", "active", "media"]
CALLS_OR_NOT = ["passive", "active"]
LONG = os.environ.get("INOX_RESTARTS") == "long"


def in_modes(modes):
    """A test in each of these modes; in the short form in one of them, chosen by the test's name."""
    def decorate(test):
        chosen = modes if LONG else [modes[zlib.crc32(test.__name__.encode()) % len(modes)]]
        return pytest.mark.parametrize("mode", chosen)(test)
    return decorate


class HeldImage:
    """An image whose second half is served when the test says so."""

    def __init__(self, rack, path):
        self.asked, self.go = threading.Event(), threading.Event()
        rack.images.behave[path] = self.serve

    def serve(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(IMAGE)))
        handler.end_headers()
        half = len(IMAGE) // 2
        try:
            handler.wfile.write(IMAGE[:half])
            self.asked.set()
            self.go.wait(60)
            handler.wfile.write(IMAGE[half:])
        except OSError:
            pass  # the agent was ended


class Scene:
    """A rack in one of the modes, and what the tests do to its nodes."""

    def __init__(self, build, folder, inoxd, mode, patience=CALLBACK_S, network=67):
        port = free_port()
        self.mode = mode
        self.rack = ProcessRack(build, folder, inoxd, (network, 1 + MODES.index(mode)), {
            "agent": {"poll_only": mode != "active"}, "api": {"port": port},
            "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"},
            "conductor": {"sweep_interval": 1, "sync_power_state_interval": 1, "deploy_callback_timeout": patience,
                          "clean_callback_timeout": patience, "rescue_callback_timeout": patience}})

    def add(self, name="n1", **driver_info):
        machine = self.rack.add_machine()
        more = {"boot_interface": "redfish-virtual-media"} if self.mode == "media" else {}
        self.rack.enrol(machine, name, **more)
        for key, value in driver_info.items():
            self.patch(name, f"/driver_info/{key}", value)
        self.image(name)
        return machine

    def patch(self, name, path, value):
        self.rack.call("PATCH", f"/v1/nodes/{name}", [{"op": "add", "path": path, "value": value}], want=200)

    def image(self, name="n1", path="/image.raw"):
        self.rack.set_image(name, IMAGE, path)

    def ask(self, verb, name="n1", **more):
        """An operator's request that is not repeated."""
        return self.rack.inoxd.api("PUT", f"/v1/nodes/{name}/states/provision", {"target": verb, **more})

    def power(self, target, name="n1"):
        return self.rack.inoxd.api("PUT", f"/v1/nodes/{name}/states/power", {"target": target})

    def deploy(self, name="n1"):
        self.rack.provision(name, "active")

    def clean(self, name="n1", steps=(METADATA,)):
        self.rack.provision(name, "manage", "manageable")
        self.rack.provision(name, "clean", clean_steps=list(steps))

    def wait_phase(self, *phases, name="n1", seconds=40):
        def there():
            return self.rack.flow(name).get("phase") in phases
        wait_until(there, seconds, what=f"{name} is in {phases} (it is in {self.rack.flow(name).get('phase')})")

    def wait_rest(self, name="n1", seconds=60):
        """The node once nothing is under way, whatever it came to."""
        end = time.monotonic() + seconds
        while self.rack.flow(name) != {} or self.rack.node(name)["reservation"]:
            assert time.monotonic() < end, f"{name} is not at rest: {self.rack.flow(name).get('why')}"
            time.sleep(0.1)
        return self.rack.node(name)

    def check_failed(self, state, sentence, name="n1"):
        node = self.wait_rest(name)
        assert node["provision_state"] == state, node["last_error"]
        assert sentence in node["last_error"], node["last_error"]
        assert node["power_state"] == "power off"
        return node

    def check_deploys(self, machine, name="n1"):
        """A new deployment works, and nothing of a boot is left behind."""
        state = self.rack.node(name)["provision_state"]
        self.rack.call("DELETE", f"/v1/nodes/{name}/maintenance", want=202)
        if state == "clean failed":
            self.rack.provision(name, "manage", "manageable")
        if state in ("clean failed", "manageable"):
            self.rack.provision(name, "provide", "available")
        machine.sysroot.joinpath("instance-booted").unlink(missing_ok=True)
        machine.plug_in(True)
        self.image(name, "/again.raw")
        self.rack.provision(name, "active", "active", 60)
        self.check_active(machine, name)
        assert self.rack.published() == []

    def check_active(self, machine, name="n1"):
        node = self.rack.wait_state(name, "active", 60)
        assert node["last_error"] is None and node["power_state"] == "power on"
        assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
        wait_until(machine.instance_is_up, 20)

    def kill(self, role):
        """SIGKILL; the supervisor starts another one."""
        pid = self.rack.inoxd.children()[role]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), 10)
        wait_until(lambda: role in self.rack.inoxd.children(), 20, what=f"{role} runs again")

    def boots(self, machine):
        """How often the machine was booted into a ramdisk."""
        return machine.bmc.log().count(f"{machine.mac} boots from pxe") + \
            machine.bmc.log().count(f"{machine.mac} boots from cdrom")


def reset(machine, kind):
    """As somebody at the BMC does it, behind the back of the control plane."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    connection.request("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", json.dumps({"ResetType": kind}), {
        "Authorization": "Basic " + base64.b64encode(f"admin:{BMC_PASSWORD}".encode()).decode(),
        "Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def redfish_power(machine):
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    connection.request("GET", "/redfish/v1/Systems/1", headers={
        "Authorization": "Basic " + base64.b64encode(f"admin:{BMC_PASSWORD}".encode()).decode()})
    shown = json.loads(connection.getresponse().read())
    connection.close()
    return shown["PowerState"]


def power_cycle(machine):
    """The control plane may switch it on in between: then it was off, whether that is seen here or not."""
    reset(machine, "ForceOff")
    end = time.monotonic() + 5
    while redfish_power(machine) != "Off" and time.monotonic() < end:
        time.sleep(0.02)
    reset(machine, "On")


def is_agent_of(machine, pid):
    try:
        return str(machine.sysroot) in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def agent_of(scene, machine):
    """Process id of the machine's agent."""
    def found():
        return next(iter(agents_running(scene.rack.build, machine)), None)
    return wait_until(found, 20, what="the machine's agent runs")


def hold_boot(scene, machine):
    """The machine gets no further than its firmware; its ISO is read, and it stays dark."""
    description = json.loads(machine.state.read_text())
    description.update(boot_root=str(machine.folder / "nothing"), agent="/bin/sleep-for-ever")
    machine.state.write_text(json.dumps(description))


def in_each_phase(scene, phases, begin, disturb, prepare=None):
    """A node for each phase, all at the same time; gives them with their machines."""
    nodes = [(f"n{i + 1}", scene.add(f"n{i + 1}"), phase) for i, phase in enumerate(phases)]
    if prepare:
        prepare([(name, machine) for name, machine, _ in nodes])

    def play(name, machine, phase):
        order = phases.index(phase)
        begin(name)

        def reached():
            now = scene.rack.flow(name).get("phase")
            return now is None or now in phases and phases.index(now) >= order
        wait_until(reached, 40, what=f"{name} is in {phase}")
        disturb(name, machine)
        scene.wait_rest(name)

    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as threads:
        for done in [threads.submit(play, *node) for node in nodes]:
            done.result()
    return nodes


@pytest.fixture
def make_scene(build, folder, inoxd):
    """Import it by name into the tests that ask for it."""
    made = []

    def make(mode, **options):
        made.append(Scene(build, folder, inoxd, mode, **options))
        return made[-1]
    yield make
    for scene in made:
        scene.rack.stop()
