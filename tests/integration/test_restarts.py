"""What restarts under a deployment or a cleaning, goes away, or comes twice: machines, agents, the conductor,
operators' requests.  Every scenario ends in a state that says what happened, with nothing left behind, and
from which a new deployment works.  Real programs, machines made of processes (tests/rack)."""
import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, free_port, is_running, wait_until  # noqa: E402
from rack.process_rack import AGENT_PORT, BMC_PASSWORD, MIB, ProcessRack, agents_running, make_image  # noqa: E402

IMAGE = make_image(4 * MIB)
CALLBACK_S = 10
METADATA = {"interface": "deploy", "step": "erase_devices_metadata"}
MODES = ["passive", "active", "media"]
CALLS_OR_NOT = ["passive", "active"]


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

    def __init__(self, build, folder, inoxd, mode, patience=CALLBACK_S):
        port = free_port()
        self.mode = mode
        self.rack = ProcessRack(build, folder, inoxd, (67, 1 + MODES.index(mode)), {
            "agent": {"poll_only": mode != "active"}, "api": {"port": port},
            "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"},
            "conductor": {"sweep_interval": 1, "sync_power_state_interval": 1, "deploy_callback_timeout": patience,
                          "clean_callback_timeout": patience}})

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
    reset(machine, "ForceOff")
    wait_until(lambda: redfish_power(machine) == "Off", 10)
    reset(machine, "On")


def is_agent_of(machine, pid):
    try:
        return str(machine.sysroot) in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def agent_of(scene, machine):
    """Process id of the machine's agent."""
    def found():
        return next((pid for pid in agents_running(scene.rack.build) if is_agent_of(machine, pid)), None)
    return wait_until(found, 20, what="the machine's agent runs")


@pytest.fixture
def make_scene(build, folder, inoxd):
    made = []

    def make(mode, **options):
        made.append(Scene(build, folder, inoxd, mode, **options))
        return made[-1]
    yield make
    for scene in made:
        scene.rack.stop()


# ---- agents

@pytest.mark.parametrize("mode", MODES)
def test_an_agent_that_restarts_within_a_boot_keeps_its_token_and_the_deployment_goes_on(make_scene, mode):
    scene = make_scene(mode)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    assert image.asked.wait(30)
    os.kill(agent_of(scene, machine), signal.SIGKILL)
    image.go.set()
    scene.check_active(machine)
    assert scene.boots(machine) == 1


def test_an_agent_that_restarts_again_and_again_is_given_up(make_scene):
    scene = make_scene("passive")
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    for _ in range(2):
        assert image.asked.wait(40)
        image.asked.clear()
        os.kill(agent_of(scene, machine), signal.SIGKILL)
    image.go.set()
    scene.check_failed("deploy failed", "The agent restarted while it ran deploy step deploy.write_image, again")
    scene.check_deploys(machine)


def test_an_agent_that_restarts_while_it_looks_its_node_up_again_is_the_same(make_scene):
    """The token of a look-up is kept for the boot: who asks again gets none, and needs none."""
    scene = make_scene("active")
    machine = scene.add(agent_delivery="lookup")
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    assert image.asked.wait(30)
    os.kill(agent_of(scene, machine), signal.SIGKILL)
    image.go.set()
    scene.check_active(machine)
    assert 'inox_api_lookups_total{token="given"} 1\n' in scene.rack.call("GET", "/metrics", want=200).text


def test_a_second_look_up_gets_no_token(make_scene):
    scene = make_scene("active")
    machine = scene.add(agent_delivery="lookup")
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    scene.wait_phase("withdraw token", "identify", "claim", "load steps", "start step", "step")
    # Locked or waiting: who asks after the agent is told that there is a token, and not which.
    while not image.asked.is_set():
        answer = scene.rack.inoxd.api("GET", f"/v1/lookup?addresses={machine.mac}")
        assert answer.status == 200 and answer.json["config"]["agent_token"] == "******", answer.text
    late = scene.rack.inoxd.api("GET", f"/v1/lookup?addresses={machine.mac}")
    assert late.status == 200 and late.json["config"]["agent_token"] == "******"
    image.go.set()
    scene.check_active(machine)


@pytest.mark.parametrize("mode", CALLS_OR_NOT)
def test_an_agent_of_an_older_boot_that_still_answers_is_not_talked_to(make_scene, mode):
    """It holds the address, so that the agent of this boot cannot have it; once it is gone, the deployment goes on."""
    scene = make_scene(mode, patience=60)
    machine = scene.add(agent_address=f"{scene.rack.prefix}.7")
    old = machine.folder / "old"
    shutil.copytree(machine.sysroot, old, ignore=shutil.ignore_patterns("vda"))
    (old / "proc/cmdline").write_text("inox-node=00000000-0000-4000-8000-000000000000 inox-epoch=1\n")
    (old / "etc/inox").mkdir(parents=True, exist_ok=True)
    (old / "etc/inox/agent-token").write_text("x" * 43 + "\n")
    (old / "etc/inox/agent-token").chmod(0o600)
    with open(machine.folder / "old.log", "wb") as log:
        agent = subprocess.Popen([scene.rack.build / "src/agent/inox-agent", "--listen",
                                  f"{scene.rack.prefix}.7:{AGENT_PORT}", "--root", old], stdout=log, stderr=log)
    try:
        wait_until(lambda: b"listen" in (machine.folder / "old.log").read_bytes(), 20)
        scene.deploy()
        scene.wait_phase("first contact")
        # It was met, and found to be another one.
        if mode != "active":
            wait_until(lambda: "port" in scene.rack.flow("n1")["milestone"] or "channel" in scene.rack.flow("n1")["why"],
                       30, what="the old agent was met")
        assert b"execute" not in (machine.folder / "old.log").read_bytes()
    finally:
        agent.kill()
        agent.wait()
    scene.check_active(machine)


def test_two_machines_that_claim_one_address(make_scene):
    """The second boot is refused before it begins."""
    scene = make_scene("passive")
    address = f"{scene.rack.prefix}.7"
    first, second = scene.add("n1", agent_address=address), scene.add("n2", agent_address=address)
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy("n1")
    assert image.asked.wait(30)
    scene.deploy("n2")
    node = scene.wait_rest("n2")
    assert node["provision_state"] == "deploy failed"
    assert address in node["last_error"], node["last_error"]
    image.go.set()
    scene.check_active(first, "n1")
    scene.check_deploys(second, "n2")


# ---- machines

def phases_of(operation):
    text = (REPOSITORY / "src/model/phases.def").read_text()
    return re.findall(r'^PHASE\( *' + operation + r', *\w+, *"([^"]+)"', text, re.M)


def in_each_phase(scene, phases, begin, disturb):
    """A node for each phase, all at the same time; gives them with their machines."""
    nodes = [(f"n{i + 1}", scene.add(f"n{i + 1}"), phase) for i, phase in enumerate(phases)]

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


# Each with its number of machines: those whose boot can be met, and the ends.
DEPLOY_PHASES = ["power off", "publish", "power on", "first contact", "identify", "step", "sync", "confirm power off",
                 "boot instance"]
CLEAN_PHASES = ["power off", "publish", "power on", "first contact", "identify", "step", "confirm power off"]


@pytest.mark.parametrize("mode", CALLS_OR_NOT)
def test_a_machine_that_is_power_cycled_in_any_phase_of_a_deployment(make_scene, mode):
    scene = make_scene(mode)

    def disturb(name, machine):
        power_cycle(machine)

    for name, machine, phase in in_each_phase(scene, DEPLOY_PHASES, scene.deploy, disturb):
        node = scene.rack.node(name)
        if node["provision_state"] == "active":
            assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:], phase
            continue
        assert node["provision_state"] == "deploy failed", phase
        assert node["last_error"].startswith(("Failed to ", "The agent ", "Deploy step ")), node["last_error"]
        scene.check_deploys(machine, name)
    assert scene.rack.published() == []


@pytest.mark.parametrize("mode", ["media"])
def test_a_machine_that_is_power_cycled_in_any_phase_of_a_cleaning(make_scene, mode):
    scene = make_scene(mode)

    def disturb(name, machine):
        power_cycle(machine)

    for name, machine, phase in in_each_phase(scene, CLEAN_PHASES, scene.clean, disturb):
        node = scene.rack.node(name)
        if node["provision_state"] == "manageable":
            continue
        assert node["provision_state"] == "clean failed" and node["maintenance"], phase
        assert node["last_error"].startswith(("Failed to ", "The agent ", "Clean step ")), node["last_error"]
        scene.check_deploys(machine, name)
    assert scene.rack.published() == []


@pytest.mark.parametrize("mode", ["passive"])
def test_a_machine_that_loses_power_in_the_image_fails_with_a_sentence(make_scene, mode):
    scene = make_scene(mode)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    assert image.asked.wait(30)
    reset(machine, "ForceOff")
    image.go.set()
    scene.check_failed("deploy failed", "Failed to finish the deploy step")
    scene.check_deploys(machine)


def test_a_machine_that_is_found_off_is_what_was_wanted(make_scene):
    """Undeployment, deployment and power off of a machine that somebody switched off before."""
    scene = make_scene("passive")
    machine = scene.add()
    scene.deploy()
    scene.check_active(machine)
    reset(machine, "ForceOff")
    wait_until(lambda: scene.rack.node("n1")["power_state"] == "power off", 20, what="the power sync has seen it")
    assert scene.power("power off").status == 202
    assert scene.wait_rest()["last_error"] is None
    reset(machine, "On")
    wait_until(machine.instance_is_up, 20)
    reset(machine, "ForceOff")
    # At once, while the row may still say "on".
    scene.rack.provision("n1", "deleted", "available")
    assert scene.rack.node("n1")["power_state"] == "power off"
    scene.check_deploys(machine)


# ---- operators

@pytest.mark.parametrize("mode", CALLS_OR_NOT)
def test_power_requests_are_refused_while_a_deployment_owns_the_machine(make_scene, mode):
    scene = make_scene(mode)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    assert image.asked.wait(30)
    for target in ("power off", "rebooting", "soft power off", "power on"):
        answer = scene.power(target)
        assert answer.status == 409 and "locked" in answer.text, answer.text
    image.go.set()
    scene.check_active(machine)
    machine.sysroot.joinpath("instance-booted").unlink()
    for target, power in (("rebooting", "power on"), ("power off", "power off"), ("power on", "power on")):
        assert scene.power(target).status == 202
        node = scene.wait_rest()
        assert node["power_state"] == power and node["last_error"] is None
        assert node["provision_state"] == "active"
    wait_until(machine.instance_is_up, 20)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait", ["first contact", "step"])
def test_a_deployment_is_aborted_in_each_wait(make_scene, mode, wait):
    scene = make_scene(mode, patience=60)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    if wait == "first contact":
        hold_boot(scene, machine)
    scene.deploy()
    if wait == "step":
        assert image.asked.wait(30)
    scene.wait_phase(wait)
    assert scene.ask("abort").status == 202
    image.go.set()
    scene.check_failed("deploy failed", "The deployment was aborted by request.")
    assert scene.rack.published() == []
    scene.check_deploys(machine)


def hold_boot(scene, machine):
    """The machine gets no further than its firmware; its ISO is read, and it stays dark."""
    description = json.loads(machine.state.read_text())
    description.update(boot_root=str(machine.folder / "nothing"), agent="/bin/sleep-for-ever")
    machine.state.write_text(json.dumps(description))


@pytest.mark.parametrize("mode", CALLS_OR_NOT)
def test_cleaning_is_aborted_in_its_wait(make_scene, mode):
    scene = make_scene(mode, patience=60)
    machine = scene.add()
    hold_boot(scene, machine)
    scene.clean()
    scene.wait_phase("first contact")
    assert scene.ask("abort").status == 202
    node = scene.check_failed("clean failed", "By request, the clean operation was aborted")
    assert not node["maintenance"] and scene.rack.published() == []
    scene.check_deploys(machine)


@pytest.mark.parametrize("mode", ["passive"])
def test_cleaning_whose_agent_never_comes_times_out(make_scene, mode):
    scene = make_scene(mode)
    machine = scene.add()
    hold_boot(scene, machine)
    scene.clean()
    node = scene.check_failed("clean failed", "Failed to get an answer from the agent")
    assert node["maintenance"] and node["fault"] == "clean failure" and scene.rack.published() == []
    scene.check_deploys(machine)


@pytest.mark.parametrize("mode", MODES)
def test_a_boot_that_is_tried_again_overtakes_the_first_one(make_scene, mode):
    """The first boot is still under way when the second one begins."""
    scene = make_scene(mode, patience=60)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    for _ in range(3):
        scene.deploy()
        scene.wait_phase("first contact", "eject media", "withdraw token", "identify", "claim", "load steps",
                         "start step", "step")
        wait_until(lambda: scene.ask("abort").status == 202, 30, what="it is aborted")
    image.go.set()
    scene.deploy()
    scene.check_active(machine)
    assert not [pid for pid in agents_running(scene.rack.build) if is_agent_of(machine, pid)]
    assert scene.rack.published() == []


# ---- the conductor

@pytest.mark.parametrize("mode, role", [("passive", "conductor"), ("active", "dialer")])
def test_a_machine_that_dies_while_no_one_watches_is_missed(make_scene, mode, role):
    """The dialer that is started anew never had this agent, and so cannot lose it."""
    scene = make_scene(mode)
    machine = scene.add()
    image = HeldImage(scene.rack, "/image.raw")
    scene.deploy()
    assert image.asked.wait(30)
    scene.wait_phase("step")
    pid = scene.rack.inoxd.children()[role]
    os.kill(pid, signal.SIGKILL)
    reset(machine, "ForceOff")
    image.go.set()
    scene.check_failed("deploy failed", "Failed to finish the deploy step")
    scene.check_deploys(machine)


def test_an_iso_that_was_built_before_the_conductor_restarted_is_booted(make_scene):
    scene = make_scene("media", patience=60)
    machine = scene.add()
    scene.deploy()
    scene.wait_phase("insert media", "boot media", "power on", "first contact")
    scene.kill("conductor")
    scene.check_active(machine)
    assert scene.boots(machine) == 1
    isos = {path for path in scene.rack.files.requests if path.endswith("/boot.iso")}
    assert len(isos) == 1, isos
    assert scene.rack.published() == []


@pytest.mark.parametrize("mode", ["active"])
def test_the_conductor_is_killed_again_and_again(make_scene, mode):
    scene = make_scene(mode, patience=60)
    machine = scene.add()
    scene.deploy()
    for _ in range(2):
        time.sleep(0.3)
        if scene.rack.flow("n1") != {}:
            scene.kill("conductor")
    scene.check_active(machine)
    assert scene.rack.published() == []
