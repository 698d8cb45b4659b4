"""What restarts under a rescue or an unrescue, goes away, or is asked for in its midst: machines, agents, the
conductor, operators' requests.  Every scenario ends in a state that says what happened, with nothing left behind, and
from which another rescue or deployment works.  Real programs, machines made of processes (tests/rack)."""
import concurrent.futures
import ctypes
import os
import pathlib
import signal
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import agents_running  # noqa: E402
from rack.scene import (MODES, agent_of, hold_boot, in_each_phase, in_modes, is_agent_of, make_scene,  # noqa: E402
                        power_cycle, redfish_power)

NETWORK = 70
PASSWORD = "two goats on the 9th roof"
HASH = "etc/ipa-rescue-config/ipa-rescue-password"
RESCUE_PHASES = {
    "network": ["power off", "publish", "power on", "first contact", "identify", "finalize", "withdraw"],
    "media": ["power off", "insert media", "boot media", "first contact", "eject media", "finalize", "withdraw"]}
UNRESCUE_PHASES = ["power off", "withdraw", "boot disk", "boot instance"]


@pytest.fixture
def scene_of(make_scene):
    return lambda mode, **options: make_scene(mode, network=NETWORK, **options)


def boot_over(machine):
    """What the next boot leaves is looked for again."""
    (machine.sysroot / "instance-booted").unlink(missing_ok=True)


def activate(scene, nodes):
    for name, _ in nodes:
        scene.deploy(name)
    for name, machine in nodes:
        scene.check_active(machine, name)
        boot_over(machine)


def active(scene):
    machine = scene.add()
    activate(scene, [("n1", machine)])
    return machine


def rescue(scene, name="n1", wanted=None):
    return scene.rack.provision(name, "rescue", wanted, rescue_password=PASSWORD)


def reservation(scene, machine):
    """The address that the boot host keeps for the machine; none: it never had one."""
    path = scene.rack.boot_root / "dhcp-hosts" / machine.mac.replace(":", "-")
    address = path.read_text().strip().split(",")[1] if path.exists() else "ignore"
    return None if address == "ignore" else address


def let_in(machine):
    """The hash that a rescued machine has is of the password."""
    # crypt() has one result for all threads: this call keeps the interpreter's lock, and no other gets between
    crypt = ctypes.PyDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = (machine.sysroot / HASH).read_text().strip()
    return crypt(PASSWORD.encode(), hashed.encode()) == hashed.encode()


def check_row(scene, name):
    """Whatever it came to: the password and the boot are forgotten."""
    node = scene.wait_rest(name)
    assert "rescue_password" not in node["instance_info"]
    assert "agent_url" not in node["driver_internal_info"]
    return node


def check_rescued(scene, machine, name="n1"):
    node = check_row(scene, name)
    assert node["provision_state"] == "rescue" and node["last_error"] is None, node["last_error"]
    assert node["power_state"] == "power on" and redfish_power(machine) == "On"
    assert node["driver_internal_info"]["rescue_address"] == reservation(scene, machine)
    assert let_in(machine)
    wait_until(lambda: not agents_running(scene.rack.build, machine), 10,
               what="the agent has ended")


def check_failed(scene, machine, *sentences, name="n1"):
    node = check_row(scene, name)
    assert node["provision_state"] == "rescue failed" and not node["maintenance"]
    assert node["last_error"].startswith(sentences), node["last_error"]
    assert node["power_state"] == "power off" and redfish_power(machine) == "Off"
    assert "rescue_address" not in node["driver_internal_info"] and reservation(scene, machine) is None


def check_unrescues(scene, machine, name="n1"):
    boot_over(machine)
    scene.rack.provision(name, "unrescue", "active")
    scene.check_active(machine, name)
    assert check_row(scene, name)["driver_internal_info"].get("rescue_address") is None
    assert reservation(scene, machine) is None


def check_rescues(scene, machine, name="n1"):
    """Another rescue and the way out of it work."""
    machine.plug_in(True)
    boot_over(machine)
    rescue(scene, name, "rescue")
    check_rescued(scene, machine, name)
    check_unrescues(scene, machine, name)


def all_at_once(check, nodes):
    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as threads:
        for done in [threads.submit(check, *node) for node in nodes]:
            done.result()


# ---- machines

@in_modes(["passive", "media"])
def test_a_machine_that_is_power_cycled_in_any_phase_of_a_rescue(scene_of, mode):
    """It boots its disk then, as a node whose rescue has succeeded or failed."""
    scene = scene_of(mode)
    phases = RESCUE_PHASES["media" if mode == "media" else "network"]
    nodes = in_each_phase(scene, phases, lambda name: rescue(scene, name), lambda _, machine: power_cycle(machine),
                          lambda nodes: activate(scene, nodes))
    assert scene.rack.published() == []

    def check(name, machine, phase):
        node = check_row(scene, name)
        if node["provision_state"] == "rescue":
            assert node["last_error"] is None and reservation(scene, machine), phase
        else:
            check_failed(scene, machine, "Failed to ", "The agent ", name=name)
        check_rescues(scene, machine, name)

    all_at_once(check, nodes)
    assert scene.rack.published() == []


@in_modes(["passive", "media"])
def test_a_machine_that_is_power_cycled_in_any_phase_of_an_unrescue(scene_of, mode):
    scene = scene_of(mode)

    def prepare(nodes):
        activate(scene, nodes)
        for name, _ in nodes:
            rescue(scene, name)
        for name, machine in nodes:
            scene.rack.wait_state(name, "rescue")
            check_rescued(scene, machine, name)

    nodes = in_each_phase(scene, UNRESCUE_PHASES, lambda name: scene.rack.provision(name, "unrescue"),
                          lambda _, machine: power_cycle(machine), prepare)

    def check(name, machine, phase):
        node = check_row(scene, name)
        if node["provision_state"] == "active":
            scene.check_active(machine, name)
            assert reservation(scene, machine) is None, phase
        else:
            assert node["provision_state"] == "unrescue failed" and node["last_error"].startswith("Failed to "), phase
        check_rescues(scene, machine, name)

    all_at_once(check, nodes)
    assert scene.rack.published() == []


# ---- agents

@in_modes(MODES)
def test_an_agent_that_restarts_before_it_is_given_the_password(scene_of, mode):
    scene = scene_of(mode, patience=60)
    machine = active(scene)
    before = scene.boots(machine)
    rescue(scene)
    for _ in range(3):
        pid = agent_of(scene, machine)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: agent_of(scene, machine) != pid, 20, what="the agent runs again")
    scene.rack.wait_state("n1", "rescue")
    check_rescued(scene, machine)
    assert scene.boots(machine) == before + 1 and scene.rack.published() == []
    check_unrescues(scene, machine)


@in_modes(["passive", "active"])
def test_an_agent_that_is_killed_as_it_stores_the_password(scene_of, mode):
    """Whether it was before or after the answer: the machine is rescued."""
    scene = scene_of(mode, patience=60)
    machine = active(scene)
    killed = []

    def kill():
        pid = agent_of(scene, machine)
        end = time.monotonic() + 60
        while not (machine.sysroot / HASH).exists() and time.monotonic() < end:
            pass
        if is_agent_of(machine, pid):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    rescue(scene)
    killer = threading.Thread(target=kill)
    killer.start()
    scene.rack.wait_state("n1", "rescue")
    killer.join()
    check_rescued(scene, machine)
    assert scene.rack.published() == []
    check_unrescues(scene, machine)


# ---- the conductor

@in_modes(MODES)
def test_the_conductor_is_killed_again_and_again_in_a_rescue(scene_of, mode):
    scene = scene_of(mode, patience=60)
    machine = active(scene)
    rescue(scene)
    kills = 0
    for phase in RESCUE_PHASES["media" if mode == "media" else "network"][1::2]:
        now = scene.rack.flow("n1").get("phase")
        if now is None:
            break
        wait_until(lambda: scene.rack.flow("n1").get("phase") in (phase, "finalize", "withdraw", None), 40, what=phase)
        scene.kill("conductor")
        kills += 1
    assert kills > 0
    scene.rack.wait_state("n1", "rescue")
    check_rescued(scene, machine)
    assert scene.rack.published() == []
    boot_over(machine)
    scene.rack.provision("n1", "unrescue")
    scene.kill("conductor")
    scene.check_active(machine)
    assert reservation(scene, machine) is None


# ---- operators

@in_modes(MODES)
def test_a_rescue_is_aborted_while_it_waits(scene_of, mode):
    scene = scene_of(mode, patience=60)
    machine = active(scene)
    hold_boot(scene, machine)
    rescue(scene)
    scene.wait_phase("first contact")
    assert scene.ask("abort").status == 202
    check_failed(scene, machine, "By request, the rescue operation was aborted.")
    assert scene.rack.published() == []
    check_rescues(scene, machine)


@in_modes(["active", "media"])
def test_a_rescue_without_an_agent_times_out_and_is_undeployed(scene_of, mode):
    scene = scene_of(mode, patience=5)
    machine = active(scene)
    hold_boot(scene, machine)
    rescue(scene)
    check_failed(scene, machine, "Failed to get an answer from the agent")
    # Again, with the same end.
    rescue(scene)
    check_failed(scene, machine, "Failed to get an answer from the agent")
    scene.rack.provision("n1", "deleted", "available")
    scene.check_deploys(machine)
    assert reservation(scene, machine) is None


@in_modes(["active", "media"])
def test_power_requests_in_a_rescue_boot_the_disk(scene_of, mode):
    scene = scene_of(mode)
    machine = active(scene)
    rescue(scene, wanted="rescue")
    check_rescued(scene, machine)
    for target, power in (("rebooting", "power on"), ("power off", "power off"), ("power on", "power on")):
        assert scene.power(target).status == 202
        node = scene.wait_rest()
        assert node["power_state"] == power and node["provision_state"] == "rescue" and node["last_error"] is None
        assert reservation(scene, machine) == node["driver_internal_info"]["rescue_address"]
        if power == "power on":
            wait_until(machine.instance_is_up, 20, what="the instance was booted")
            boot_over(machine)
    check_unrescues(scene, machine)
    check_rescues(scene, machine)


@in_modes(["passive", "media"])
def test_a_rescued_node_is_deleted(scene_of, mode):
    """Its row goes only when the boot host keeps nothing for it any more."""
    scene = scene_of(mode)
    machine = active(scene)
    rescue(scene, wanted="rescue")
    scene.rack.call("PUT", "/v1/nodes/n1/maintenance", {}, want=202)
    answer = scene.rack.inoxd.api("DELETE", "/v1/nodes/n1")
    assert answer.status == 409 and "keeps its address" in answer.text, answer.text
    scene.rack.provision("n1", "deleted", "available")
    assert reservation(scene, machine) is None and redfish_power(machine) == "Off"
    scene.check_deploys(machine)
    scene.rack.provision("n1", "deleted", "available")
    assert scene.rack.inoxd.api("DELETE", "/v1/nodes/n1").status == 204
