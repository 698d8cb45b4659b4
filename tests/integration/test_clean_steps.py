"""Clean steps that ask for more than to be carried out, with every real program and machines made of processes: steps
after which the machine boots anew, in passive and in active mode, by our agent and by a stock one; steps that the
conductor carries out itself, with and without a ramdisk."""
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack  # noqa: E402

STOCK = pathlib.Path(__file__).resolve().parent.parent / "rack/stock_agent.py"
FLASH = {"interface": "management", "step": "lab_flash"}
MARK = {"interface": "deploy", "step": "lab_mark"}


def make_rack(build, folder, inoxd, mode, number, **config):
    port = free_port()
    return ProcessRack(build, folder, inoxd, (76, number), {
        "agent": {"poll_only": mode != "active"}, "api": {"port": port},
        "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}, **config})


@pytest.fixture
def rack(build, folder, inoxd):
    made = make_rack(build, folder, inoxd, "passive", 1)
    yield made
    made.stop()


def add_machine(rack, agent):
    machine = rack.add_machine()
    machine.state.write_text(json.dumps({**json.loads(machine.state.read_text()), "agent": str(agent)}))
    return machine


def manageable(rack, **more):
    """A machine whose ramdisk has our agent with the steps of the lab."""
    machine = add_machine(rack, rack.build / "tests/integration/inox-agent-lab")
    rack.enrol(machine, **more)
    rack.provision("n1", "manage", "manageable")
    return machine


def carried_out(machine):
    """[step, id of the agent that did it] in their order."""
    notes = machine.sysroot / "lab-steps"
    return [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []


def check_at_rest(rack, power="power off"):
    node = rack.node("n1")
    assert node["power_state"] == power and node["reservation"] is None and node["clean_step"] == {}
    assert node["last_error"] is None and not node["maintenance"] and rack.published() == []
    assert not {"clean_steps", "user_clean_steps", "agent_url"} & set(node["driver_internal_info"])


@pytest.mark.parametrize("mode, media", [("passive", False), ("active", False), ("passive", True)])
def test_a_step_is_followed_by_a_boot_and_the_next_step(build, folder, inoxd, mode, media):
    rack = make_rack(build, folder, inoxd, mode, 2)
    try:
        machine = manageable(rack, **({"boot_interface": "redfish-virtual-media"} if media else {}))
        rack.provision("n1", "clean", "manageable", clean_steps=[MARK, FLASH, MARK, FLASH])
        done = carried_out(machine)
        assert [step for step, _ in done] == ["mark", "flash", "mark", "flash"]
        first, second = done[0][1], done[2][1]
        assert done[1][1] == first and done[3][1] == second and first != second
        # The last step had its boot, too: who ends there would not see what became of it.
        how = "cdrom" if media else "pxe"
        assert machine.bmc.log().count(f"boots from {how}") == 3
        received = (machine.folder / "received").read_text().split()
        assert len(set(received)) == 3, "each boot has a token of its own"
        check_at_rest(rack)
    finally:
        rack.stop()


LISTED = {"lab_flash": {"priority": 97, "reboot_requested": True}, "lab_mark": {"priority": 98}}


def stock_machine(rack, **oddities):
    machine = add_machine(rack, STOCK)
    (machine.sysroot / "stock.json").write_text(json.dumps({"steps": LISTED, **oddities}))
    rack.enrol(machine)
    rack.call("PATCH", "/v1/nodes/n1", [
        {"op": "add", "path": "/driver_info/agent_transport", "value": "http"},
        {"op": "add", "path": "/automated_clean", "value": True}], want=200)
    rack.provision("n1", "manage", "manageable")
    return machine


def test_a_stock_agent_asks_for_a_reboot(rack):
    machine = stock_machine(rack)
    rack.provision("n1", "provide", "available")
    done = carried_out(machine)
    assert [step for step, _ in done] == ["lab_mark", "lab_flash"]
    assert machine.bmc.log().count("boots from pxe") == 2
    check_at_rest(rack)


def test_automated_cleaning_begins_anew_when_the_agent_comes_back_as_another(rack):
    machine = stock_machine(rack, upgrade={"lab_flash": {"odd": "2"}})
    rack.provision("n1", "provide", "available")
    # Once as it was, and once as it is now; the second flash changes nothing any more.
    assert [step for step, _ in carried_out(machine)] == ["lab_mark", "lab_flash"] * 2
    check_at_rest(rack)


def test_manual_cleaning_goes_on_where_it_was(rack):
    machine = stock_machine(rack, upgrade={"lab_flash": {"odd": "2"}})
    steps = [{"interface": "deploy", "step": step} for step in ("lab_flash", "lab_mark")]
    rack.provision("n1", "clean", "manageable", clean_steps=steps)
    assert [step for step, _ in carried_out(machine)] == ["lab_flash", "lab_mark"]
    check_at_rest(rack)


def test_a_step_that_refuses_its_versions_is_listed_again(rack):
    """The managers change while the agent runs: it refuses what was planned with the old ones."""
    machine = stock_machine(rack, upgrade={"lab_mark": {"odd": "2"}}, live=True)
    steps = [{"interface": "deploy", "step": step} for step in ("lab_mark", "lab_flash")]
    rack.provision("n1", "clean", "manageable", clean_steps=steps)
    assert [step for step, _ in carried_out(machine)] == ["lab_mark", "lab_flash"]
    # In the first boot, after the refusal, and in the second boot.
    assert rack.inoxd.log().count('operation=clean phase="load steps"') == 3
    check_at_rest(rack)


# ---- the conductor's own steps

def own(name, **args):
    return {"interface": "power", "step": name, **({"args": args} if args else {})}


def inox(rack, *words, ok=0):
    done = subprocess.run([rack.build / "src/cli/inox", *words], env={"INOX_URL": rack.inoxd.url},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == ok, done.stderr
    return done.stdout


def wait_held(rack):
    wait_until(lambda: rack.node("n1")["provision_state"] == "clean hold", 60, what="it is held")
    return rack.node("n1")


@pytest.mark.parametrize("mode", ["passive", "active"])
def test_cleaning_is_held_and_goes_on(build, folder, inoxd, mode):
    rack = make_rack(build, folder, inoxd, mode, 3)
    try:
        machine = manageable(rack)
        rack.provision("n1", "clean", clean_steps=[MARK, own("hold"), own("wait"), own("wait", seconds=1), MARK])
        node = wait_held(rack)
        assert node["target_provision_state"] == "manageable" and node["reservation"] is None
        assert node["clean_step"]["step"] == "hold" and node["power_state"] == "power on"
        assert "waits to be let go on by the verb unhold (step power.hold)" in inox(rack, "why", "n1")
        assert [step for step, _ in carried_out(machine)] == ["mark"]
        refused = rack.inoxd.api("PUT", "/v1/nodes/n1/states/power", {"target": "power off"})
        assert refused.status in (400, 409), refused.text
        assert rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "unhold"},
                              version="1.84").status == 406
        inox(rack, "unhold", "n1", "--wait")
        done = carried_out(machine)
        # By the same agent, in the same boot.
        assert [step for step, _ in done] == ["mark", "mark"] and done[0][1] == done[1][1]
        check_at_rest(rack)
    finally:
        rack.stop()


def test_power_steps_end_boots_and_begin_them(rack):
    machine = manageable(rack)
    rack.provision("n1", "clean", clean_steps=[MARK, own("reboot"), MARK, own("power_off"), own("hold"), MARK])
    assert wait_held(rack)["power_state"] == "power off"
    rack.provision("n1", "unhold", "manageable")
    agents = [agent for _, agent in carried_out(machine)]
    assert len(agents) == 3 and len(set(agents)) == 3
    check_at_rest(rack)


def test_held_cleaning_is_aborted(rack):
    manageable(rack)
    rack.provision("n1", "clean", clean_steps=[own("hold")])
    wait_held(rack)
    rack.provision("n1", "abort")
    wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
    node = rack.node("n1")
    assert node["provision_state"] == "clean failed" and not node["maintenance"] and rack.published() == []
    assert node["last_error"] == "By request, the clean operation was aborted" and node["power_state"] == "power off"


def test_without_a_ramdisk_nothing_is_booted(rack):
    machine = manageable(rack)
    # Nobody could reach an agent of this machine, and nobody has to.
    machine.plug_in(False)
    inox(rack, "clean", "n1", "--disable-ramdisk", "--step", "power.power_on", "--step", "power.hold",
         "--step", '{"interface": "power", "step": "wait", "args": {"seconds": 1}}', "--step", "power.reboot")
    node = wait_held(rack)
    assert node["power_state"] == "power on" and rack.published() == []
    assert not machine.instance_is_up()
    rack.provision("n1", "unhold", "manageable")
    check_at_rest(rack, "power on")
    info = rack.node("n1")["driver_internal_info"]
    assert "agent_last_heartbeat" not in info
    rack.provision("n1", "clean", "manageable", clean_steps=[own("power_off")], disable_ramdisk=True)
    check_at_rest(rack)


BAD = [
    ([MARK], {"disable_ramdisk": True}, "deploy.lab_mark needs the ramdisk"),
    ([own("wait")], {"disable_ramdisk": True}, "needs args.seconds"),
    ([own("wait", seconds="9")], {}, "must be an integer"),
    ([own("hold", minutes=1)], {}, "takes no args"),
    ([own("hold")], {"disable_ramdisk": "yes"}, "disable_ramdisk must be true or false"),
]


def test_what_cannot_be_is_refused_at_once(rack):
    manageable(rack)
    for steps, more, said in BAD:
        answer = rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "clean", "clean_steps": steps, **more},
                           want=400)
        assert said in answer.text
    assert rack.node("n1")["provision_state"] == "manageable"
    refused = rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "unhold"}, want=400)
    assert "can not be performed on node" in refused.text
