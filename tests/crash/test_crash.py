"""Every process of inoxd is killed with SIGKILL at every boundary of a deployment; the deployment ends `active`
without anybody's help.

The build must have crash points (-Dcrash_points=true): a process is told by its environment where to kill
itself, once.  The conductor's points are the phases of phases.def, right after the commit that enters one and
right after its action was started, and around the sending of a step.  The workers' points are the messages
they get and send, one by one, until a deployment has no further one.  The API and the supervisor are killed from
outside when a phase is seen.

INOX_CRASH=long tries all of them; the short form tries a selection that has each kind and each process.
"""

import json
import os
import pathlib
import re
import signal
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, free_port, wait_until  # noqa: E402
from rack.process_rack import MIB, ProcessRack, make_image  # noqa: E402

LONG = os.environ.get("INOX_CRASH") == "long"
IMAGE = make_image(4 * MIB)
WORKERS = ("dialer", "bmc", "boot")
MESSAGES_MOST = 40


def phases_of(operation):
    text = (REPOSITORY / "src/model/phases.def").read_text()
    return re.findall(r'^PHASE\( *' + operation + r', *\w+, *"([^"]+)"', text, re.M)


PHASES = phases_of("DEPLOY")
CLEAN_PHASES = phases_of("CLEAN")
# By a node that boots from the network and was not deployed before.
PASSED_OVER = ("clear", "insert media", "boot media", "eject media")
# The API's own commit enters the first phase: the kills of API and supervisor meet that boundary.
CONDUCTOR_POINTS = [f"deploy/{phase}{suffix}" for phase in PHASES[1:] for suffix in ("", "/acted")]
CONDUCTOR_POINTS += ["step/sending", "step/sent"]
CONDUCTOR_SHORT = ["deploy/publish", "deploy/power on/acted", "deploy/first contact", "deploy/claim/acted", "step/sending",
                   "step/sent", "deploy/step/acted", "deploy/withdraw", "deploy/boot instance/acted"]


def serve_slowly(handler):
    """The image in eight pieces, so that the step lasts long enough to be met."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(IMAGE)))
    handler.end_headers()
    piece = len(IMAGE) // 8
    try:
        for at in range(0, len(IMAGE), piece):
            handler.wfile.write(IMAGE[at : at + piece])
            time.sleep(0.05)
    except OSError:
        pass  # the agent was ended


class CrashRack:
    """A rack whose inoxd is started anew, with another point, for each deployment."""

    def __init__(self, build, folder, inoxd, network=(63, 1), mode="passive"):
        port = free_port()
        self.rack = ProcessRack(build, folder, inoxd, network, {
            "agent": {"poll_only": mode != "active"}, "api": {"port": port},
            "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}})
        self.machine = self.rack.add_machine()
        self.rack.enrol(self.machine, **({"boot_interface": "redfish-virtual-media"} if mode == "media" else {}))
        self.rack.images.behave["/image.raw"] = serve_slowly

    def restart(self, point=None):
        """Starts inoxd again."""
        if self.rack.inoxd.popen.poll() is None:
            self.rack.inoxd.stop()
        self.rack.restart_inoxd({"INOX_CRASH_AT": point or ""})

    def was_killed(self, role):
        """What the supervisor says of it; the conductor's end takes the workers along, by end of file."""
        return re.search(f'ended by a signal" role={role} .*Killed', self.rack.inoxd.log()) is not None

    def begin(self):
        self.machine.sysroot.joinpath("instance-booted").unlink(missing_ok=True)
        self.rack.set_image("n1", IMAGE)
        self.rack.provision("n1", "active")

    def end(self, seconds=120):
        """The deployment ends well, and leaves what one without a crash leaves."""
        node = self.rack.wait_state("n1", "active", seconds)
        assert node["last_error"] is None and node["power_state"] == "power on"
        assert self.machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
        wait_until(self.machine.instance_is_up, 20)
        assert self.rack.published() == []
        self.rack.provision("n1", "deleted", "available")

    def clean(self, steps=("erase_devices_metadata",)):
        """Manual cleaning that ends well, and leaves what one without a crash leaves."""
        self.rack.provision("n1", "manage", "manageable")
        with open(self.machine.disk, "r+b") as disk:
            disk.write(b"\xaa" * MIB)
        node = self.rack.provision("n1", "clean", "manageable", 120, clean_steps=[
            {"interface": "deploy", "step": step} for step in steps])
        assert node["last_error"] is None and node["clean_step"] == {} and not node["maintenance"]
        assert node["power_state"] == "power off" and self.rack.published() == []
        assert self.machine.disk_head(MIB) == bytes(MIB)
        self.rack.provision("n1", "provide", "available")


@pytest.fixture(scope="module")
def crash_rack(build, module_folder, module_inoxd):
    made = CrashRack(build, module_folder, module_inoxd)
    yield made
    made.rack.stop()


@pytest.mark.parametrize("point", CONDUCTOR_POINTS if LONG else CONDUCTOR_SHORT)
def test_conductor_killed_at(crash_rack, point):
    crash_rack.restart(f"conductor:{point}")
    crash_rack.begin()
    crash_rack.end()
    # A phase that this deployment passes over has no boundary to be killed at.
    if point.split("/")[1] not in PASSED_OVER:
        assert crash_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"


@pytest.fixture(scope="module")
def active_rack(build, module_folder, module_inoxd):
    (module_folder / "active").mkdir()
    made = CrashRack(build, module_folder / "active", module_inoxd, (63, 5), "active")
    yield made
    made.rack.stop()


@pytest.fixture(scope="module")
def media_rack(build, module_folder, module_inoxd):
    (module_folder / "media").mkdir()
    made = CrashRack(build, module_folder / "media", module_inoxd, (63, 6), "media")
    yield made
    made.rack.stop()


ACTIVE_SHORT = ["deploy/first contact/acted", "step/sent"]
MEDIA_SHORT = ["deploy/insert media/acted", "deploy/first contact", "deploy/eject media/acted"]


@pytest.mark.parametrize("point", CONDUCTOR_POINTS if LONG else ACTIVE_SHORT)
def test_conductor_of_an_active_node_killed_at(active_rack, point):
    active_rack.restart(f"conductor:{point}")
    active_rack.begin()
    active_rack.end()
    if point.split("/")[1] not in PASSED_OVER:
        assert active_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"


@pytest.mark.parametrize("point", CONDUCTOR_POINTS if LONG else MEDIA_SHORT)
def test_conductor_of_a_node_with_virtual_media_killed_at(media_rack, point):
    media_rack.restart(f"conductor:{point}")
    media_rack.begin()
    media_rack.end()
    if point.split("/")[1] not in ("clear", "boot device"):
        assert media_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"


@pytest.mark.parametrize("point", ["received:1", "put/new", "put/placed", "sending:1"] if LONG else ["put/new", "sending:1"])
def test_boot_publisher_of_a_node_with_virtual_media_killed_at(media_rack, point):
    """What it has written half is never read, and what it has not said to have written is written again."""
    media_rack.restart(f"boot:{point}")
    media_rack.begin()
    media_rack.end()
    assert media_rack.was_killed("boot"), "the boot publisher was not killed: there is no such point"


# Of fast track, and of steps of the conductor's own: below.
NOT_HERE = ("keep agent", "hold", "wait", "resume", "step power off", "step power on")
CLEAN_POINTS = [f"clean/{phase}{suffix}" for phase in CLEAN_PHASES[1:] if phase not in NOT_HERE for suffix in ("", "/acted")]


@pytest.mark.skipif(not LONG, reason="in the long form only")
@pytest.mark.parametrize("point", CLEAN_POINTS + ["step/sending", "step/sent"])
def test_conductor_killed_in_cleaning_at(crash_rack, point):
    crash_rack.restart(f"conductor:{point}")
    crash_rack.clean()
    phase = point.split("/")[1]
    if phase not in PASSED_OVER:
        assert crash_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"


# ---- a step that asks for a reboot

def lab_steps(machine):
    notes = machine.sysroot / "lab-steps"
    return [line.split()[0] for line in notes.read_text().splitlines()] if notes.exists() else []


@pytest.fixture(scope="module")
def reboot_rack(build, module_folder, module_inoxd):
    (module_folder / "reboot").mkdir()
    made = CrashRack(build, module_folder / "reboot", module_inoxd, (63, 7))
    state = json.loads(made.machine.state.read_text())
    made.machine.state.write_text(json.dumps({**state, "agent": str(build / "tests/integration/inox-agent-lab")}))
    yield made
    made.rack.stop()


BOOT_PHASES = CLEAN_PHASES[: CLEAN_PHASES.index("step") + 1]
REBOOT_POINTS = [f"reboot/{phase}{suffix}" for phase in BOOT_PHASES if "media" not in phase for suffix in ("", "/acted")]
REBOOT_POINTS += ["reboot/sync", "clean/step/acted", "clean/step power off", "clean/step power off/acted", "clean/hold",
                  "clean/resume/acted"]
REBOOT_SHORT = ["reboot/power off", "reboot/publish/acted", "reboot/load steps", "clean/step power off"]


@pytest.mark.parametrize("point", REBOOT_POINTS if LONG else REBOOT_SHORT)
def test_conductor_killed_in_a_boot_that_a_step_has_asked_for(reboot_rack, point):
    """Each step is carried out once, wherever the conductor dies."""
    rack, machine = reboot_rack.rack, reboot_rack.machine
    reboot_rack.restart(f"conductor:{point}")
    (machine.sysroot / "lab-steps").unlink(missing_ok=True)
    names = [("deploy", "lab_mark"), ("management", "lab_flash"), ("deploy", "lab_mark"), ("power", "wait"),
             ("power", "power_off"), ("power", "hold"), ("management", "lab_flash"), ("power", "hold")]
    rack.provision("n1", "manage", "manageable")
    rack.provision("n1", "clean", clean_steps=[{"interface": i, "step": s} for i, s in names])
    for _ in range(2):
        wait_until(lambda: rack.node("n1")["provision_state"] == "clean hold", 120, what="held")
        rack.provision("n1", "unhold")
        wait_until(lambda: rack.node("n1")["provision_state"] != "clean hold", 20, what="let go on")
    node = rack.wait_state("n1", "manageable", 120)
    assert node["last_error"] is None and node["power_state"] == "power off" and rack.published() == []
    assert lab_steps(machine) == ["mark", "flash", "mark", "flash"]
    assert reboot_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"
    rack.provision("n1", "provide", "available")


# ---- fast track: from a cleaning into a deployment with the agent that was kept

@pytest.fixture(scope="module")
def fast_rack(build, module_folder, module_inoxd):
    (module_folder / "fast").mkdir()
    made = CrashRack(build, module_folder / "fast", module_inoxd, (63, 8))
    made.rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/fast_track", "value": True}], want=200)
    yield made
    made.rack.stop()


FAST_POINTS = ["clean/keep agent", "clean/keep agent/acted", "fast track/idle", "fast track/idle/acted",
               "deploy/claim", "deploy/claim/acted", "deploy/load steps", "deploy/load steps/acted",
               "deploy/start step", "step/sent"]
FAST_SHORT = ["clean/keep agent/acted", "fast track/idle", "deploy/claim/acted"]


@pytest.mark.parametrize("point", FAST_POINTS if LONG else FAST_SHORT)
def test_conductor_killed_on_the_fast_track_at(fast_rack, point):
    """One boot does for the cleaning and the deployment, wherever the conductor dies."""
    rack, machine = fast_rack.rack, fast_rack.machine
    # Of the conductor's two kinds of steps the deployment's are meant.
    fast_rack.restart(f"conductor:{point}" if not point.startswith("step/") else None)
    boots = machine.bmc.log().count("boots from pxe")
    rack.provision("n1", "manage", "manageable")
    steps = [{"interface": "deploy", "step": "erase_devices_metadata"}]
    rack.provision("n1", "clean", "manageable", 120, clean_steps=steps)
    wait_until(lambda: rack.flow("n1").get("operation") == "fast track", 30, what="the agent is kept")
    rack.provision("n1", "provide", "available")
    if point.startswith("step/"):
        fast_rack.restart(f"conductor:{point}")
    fast_rack.begin()
    rack.wait_state("n1", "active", 120)
    assert machine.bmc.log().count("boots from pxe") == boots + 1
    assert fast_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"
    fast_rack.end()


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("kind", ["received", "sending"])
def test_worker_killed_at_each_message(crash_rack, worker, kind):
    numbers = range(1, MESSAGES_MOST) if LONG else (2, 5)
    for number in numbers:
        crash_rack.restart(f"{worker}:{kind}:{number}")
        crash_rack.begin()
        crash_rack.end()
        if not crash_rack.was_killed(worker):
            assert number > 1, f"{worker} was never killed"
            break


def kill_when_seen(crash_rack, phase, pid_of):
    """SIGKILL once the deployment is in `phase` or past it."""
    wanted = PHASES.index(phase)

    def seen():
        now = crash_rack.rack.flow("n1").get("phase")
        return now is None or now in PHASES and PHASES.index(now) >= wanted

    wait_until(seen, 30)
    os.kill(pid_of(), signal.SIGKILL)


@pytest.mark.parametrize("phase", PHASES if LONG else ["power off", "first contact", "step"])
def test_api_killed_in(crash_rack, phase):
    if phase == "clear":
        pytest.skip("a first deployment has nothing to clear")
    crash_rack.restart()
    crash_rack.begin()
    kill_when_seen(crash_rack, phase, lambda: crash_rack.rack.inoxd.children()["api"])
    crash_rack.end()


@pytest.mark.parametrize("phase", PHASES if LONG else ["publish", "first contact", "step"])
def test_supervisor_killed_in(crash_rack, phase):
    """All processes end with their supervisor; a new one goes on."""
    if phase == "clear":
        pytest.skip("a first deployment has nothing to clear")
    crash_rack.restart()
    crash_rack.begin()
    children = list(crash_rack.rack.inoxd.children().values())
    kill_when_seen(crash_rack, phase, lambda: crash_rack.rack.inoxd.pid)
    crash_rack.rack.inoxd.popen.wait()
    wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in children), 10)
    crash_rack.restart()
    crash_rack.end()


RESCUE_POINTS = [f"{operation.lower()}/{phase}{suffix}" for operation in ("RESCUE", "UNRESCUE")
                 for phase in phases_of(operation)[1:] for suffix in ("", "/acted")]
RESCUE_POINTS += ["finalize/sending", "finalize/sent"]
RESCUE_SHORT = ["rescue/claim/acted", "rescue/finalize", "finalize/sent", "rescue/withdraw/acted", "unrescue/boot disk"]


@pytest.fixture(scope="module")
def rescue_rack(build, module_folder, module_inoxd):
    """One whose machine runs an instance."""
    made = CrashRack(build, module_folder / "rescue", module_inoxd, (63, 2))
    made.begin()
    made.rack.wait_state("n1", "active", 120)
    wait_until(made.machine.instance_is_up, 20)
    yield made
    made.rack.stop()


@pytest.mark.parametrize("point", RESCUE_POINTS if LONG else RESCUE_SHORT)
def test_conductor_killed_in_a_rescue_at(rescue_rack, point):
    rack, root = rescue_rack.rack, rescue_rack.machine.sysroot
    rescue_rack.restart(f"conductor:{point}")
    (root / "instance-booted").unlink()
    node = rack.provision("n1", "rescue", "rescue", 120, rescue_password="kept by nobody")
    assert node["last_error"] is None and node["power_state"] == "power on" and rack.published() == []
    assert "rescue_password" not in node["instance_info"]
    assert (root / "etc/ipa-rescue-config/ipa-rescue-password").read_text().startswith("$5$")
    node = rack.provision("n1", "unrescue", "active", 120)
    assert node["last_error"] is None and rack.published() == []
    wait_until(rescue_rack.machine.instance_is_up, 20)
    if point.split("/")[1] not in PASSED_OVER:
        assert rescue_rack.was_killed("conductor"), "the conductor was not killed: there is no such point"
