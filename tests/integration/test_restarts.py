"""What restarts under a deployment or a cleaning, goes away, or comes twice: machines, agents, the conductor,
operators' requests.  Every scenario ends in a state that says what happened, with nothing left behind, and
from which a new deployment works.  Real programs, machines made of processes (tests/rack)."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import AGENT_PORT, agents_running  # noqa: E402
from rack.scene import (CALLS_OR_NOT, IMAGE, MODES, HeldImage, agent_of, hold_boot, in_each_phase, in_modes,  # noqa: E402
                        make_scene, power_cycle, reset)


# ---- agents

@in_modes(MODES)
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


@in_modes(CALLS_OR_NOT)
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

# Each with its number of machines: those whose boot can be met, and the ends.
DEPLOY_PHASES = ["power off", "publish", "power on", "first contact", "identify", "step", "sync", "confirm power off",
                 "boot instance"]
CLEAN_PHASES = ["power off", "publish", "power on", "first contact", "identify", "step", "confirm power off"]


@in_modes(CALLS_OR_NOT)
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


@in_modes(["media"])
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


@in_modes(["passive"])
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

@in_modes(CALLS_OR_NOT)
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


@in_modes(MODES)
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


@in_modes(CALLS_OR_NOT)
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


@in_modes(["passive"])
def test_cleaning_whose_agent_never_comes_times_out(make_scene, mode):
    scene = make_scene(mode)
    machine = scene.add()
    hold_boot(scene, machine)
    scene.clean()
    node = scene.check_failed("clean failed", "Failed to get an answer from the agent")
    assert node["maintenance"] and node["fault"] == "clean failure" and scene.rack.published() == []
    scene.check_deploys(machine)


@in_modes(MODES)
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
    assert not agents_running(scene.rack.build, machine)
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


@in_modes(["active"])
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
