"""Cleaning, with every real program and machines made of processes: automated at provide and at the end of an
undeployment, manual, failing, and aborted."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import MIB, ProcessRack, make_image  # noqa: E402

IMAGE = make_image(4 * MIB)
SIZE = 256 * MIB
MARK = b"what the last user left"
MIDDLE = 100 * MIB
METADATA = {"interface": "deploy", "step": "erase_devices_metadata"}
ERASE = {"interface": "deploy", "step": "erase_devices"}


@pytest.fixture
def rack(build, folder, inoxd):
    made = ProcessRack(build, folder, inoxd, (66, 1))
    yield made
    made.stop()


def use_disk(machine):
    """A GPT with its backup, and data: what a disk that was in use looks like."""
    with open(machine.disk, "r+b") as disk:
        disk.seek(510)
        disk.write(b"\x55\xaaEFI PART")
        disk.seek(MIDDLE)
        disk.write(MARK)
        disk.seek(-512, 2)
        disk.write(b"EFI PART")


def read(machine, at, size, whence=0):
    with open(machine.disk, "rb") as disk:
        disk.seek(at, whence)
        return disk.read(size)


def has_table(machine):
    return any(read(machine, 0, MIB)) or any(read(machine, -MIB, MIB, 2))


def has_data(machine):
    return read(machine, MIDDLE, len(MARK)) == MARK


def manageable(rack, clean=None, **options):
    machine = rack.add_machine(disk_size=SIZE, **options)
    made = rack.call("POST", "/v1/nodes", {
        "driver": "redfish", "name": "n1", "automated_clean": clean,
        "driver_info": {"redfish_address": f"http://127.0.0.1:{machine.port}", "redfish_username": "admin",
                        "redfish_password": "correct horse"}}, want=201).json
    rack.call("POST", "/v1/ports", {"node_uuid": made["uuid"], "address": machine.mac}, want=201)
    rack.provision("n1", "manage", "manageable")
    use_disk(machine)
    return machine


def clean_fails(rack, steps):
    rack.provision("n1", "clean", clean_steps=steps)
    wait_until(lambda: rack.node("n1")["provision_state"] == "clean failed", 60, what="clean failed")
    wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
    return rack.node("n1")


def check_at_rest(rack, node):
    assert node["power_state"] == "power off" and node["reservation"] is None
    assert rack.published() == []
    info = node["driver_internal_info"]
    assert not {"clean_steps", "user_clean_steps", "agent_url"} & set(info), info


def test_provide_cleans_and_wipes_the_partition_table(rack):
    machine = manageable(rack, clean=True)
    rack.provision("n1", "provide")
    assert rack.node("n1")["target_provision_state"] == "available"
    node = rack.wait_state("n1", "available")
    assert not has_table(machine) and has_data(machine)
    assert node["clean_step"] == {} and node["last_error"] is None and not node["maintenance"]
    check_at_rest(rack, node)


def test_a_node_that_wants_no_cleaning_gets_none(rack):
    machine = manageable(rack, clean=False)
    rack.provision("n1", "provide", "available")
    assert has_table(machine)


def test_the_servers_default_holds_for_nodes_that_say_nothing(build, folder, inoxd):
    rack = ProcessRack(build, folder, inoxd, (66, 2), config={"conductor": {"automated_clean": True}})
    try:
        machine = manageable(rack)
        rack.provision("n1", "provide", "available")
        assert not has_table(machine)
    finally:
        rack.stop()


@pytest.mark.parametrize("config", [
    {"deploy": {"erase_devices_priority": 10, "erase_devices_metadata_priority": 0}},
    {"conductor": {"clean_step_priority_override": "deploy.erase_devices:10"}},
])
def test_a_full_erase_is_chosen_by_its_priority(build, folder, inoxd, config):
    rack = ProcessRack(build, folder, inoxd, (66, 3), config=config)
    try:
        machine = manageable(rack, clean=True)
        rack.provision("n1", "provide", "available")
        assert read(machine, 0, SIZE) == bytes(SIZE)
    finally:
        rack.stop()


def test_cleaning_has_a_patience_of_its_own(build, folder, inoxd):
    rack = ProcessRack(build, folder, inoxd, (66, 4), config={"conductor": {"clean_callback_timeout": 2}})
    try:
        machine = manageable(rack)
        machine.plug_in(False)
        node = clean_fails(rack, [METADATA])
        assert "Failed to get an answer from the agent" in node["last_error"] and node["maintenance"]
    finally:
        rack.stop()


def test_undeploy_cleans_at_its_end(rack):
    machine = manageable(rack, clean=True)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/properties/root_device",
                                         "value": {"name": "/dev/vda"}}], want=200)
    rack.provision("n1", "provide", "available")
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active")
    assert has_table(machine)
    node = rack.provision("n1", "deleted", "available")
    assert not has_table(machine)
    assert node["instance_info"] == {} and node["instance_uuid"] is None
    check_at_rest(rack, node)


def test_manual_cleaning_erases_every_byte(rack):
    machine = manageable(rack)
    rack.provision("n1", "clean", clean_steps=[METADATA, ERASE])
    assert rack.node("n1")["target_provision_state"] == "manageable"
    node = rack.wait_state("n1", "manageable")
    assert not has_table(machine) and not has_data(machine)
    assert read(machine, 0, SIZE) == bytes(SIZE)
    check_at_rest(rack, node)


def test_inox_cleans_and_waits(rack):
    def inox(*words):
        return subprocess.run([rack.build / "src/cli/inox", *words], env={"INOX_URL": rack.inoxd.url},
                              capture_output=True, text=True, timeout=60)

    machine = manageable(rack)
    done = inox("clean", "n1", "--step", "deploy.erase_devices", "--wait")
    assert done.returncode == 0, done.stderr
    assert not has_data(machine)
    assert inox("clean", "n1").returncode == 2
    assert inox("clean", "n1", "--step", "erase").returncode == 2
    failed = inox("clean", "n1", "--step", "deploy.polish", "--wait")
    assert failed.returncode == 1 and "does not offer the clean step deploy.polish" in failed.stderr


def test_a_failing_step_is_a_fault_until_somebody_looks(rack):
    machine = manageable(rack, clean=True)
    (machine.sysroot / "sys/block/vda/ro").write_text("1\n")
    node = clean_fails(rack, [ERASE])
    sentence = "Clean step deploy.erase_devices failed"
    assert node["last_error"].startswith(sentence) and "/dev/vda is read-only" in node["last_error"]
    assert node["maintenance"] and node["fault"] == "clean failure"
    assert node["maintenance_reason"] == node["last_error"]
    assert node["clean_step"]["step"] == "erase_devices" and node["target_provision_state"] == "manageable"
    assert node["power_state"] == "power off" and rack.published() == []
    # And the way out.
    (machine.sysroot / "sys/block/vda/ro").write_text("0\n")
    node = rack.provision("n1", "manage", "manageable")
    assert node["clean_step"] == {} and node["maintenance"]
    rack.call("DELETE", "/v1/nodes/n1/maintenance", want=202)
    assert rack.node("n1")["fault"] is None
    rack.provision("n1", "provide", "available")
    assert not has_table(machine)


def test_cleaning_that_waits_is_aborted(rack):
    machine = manageable(rack)
    machine.plug_in(False)
    rack.provision("n1", "clean", clean_steps=[METADATA])
    wait_until(lambda: rack.node("n1")["provision_state"] == "clean wait", 30, what="it waits for its agent")
    assert rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "abort"}).status == 202
    wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
    node = rack.node("n1")
    assert node["provision_state"] == "clean failed" and node["power_state"] == "power off"
    assert node["last_error"] == "By request, the clean operation was aborted"
    assert not node["maintenance"] and node["fault"] is None
    assert rack.published() == [] and has_table(machine)
    machine.plug_in(True)
    rack.provision("n1", "manage", "manageable")
    rack.provision("n1", "clean", "manageable", clean_steps=[METADATA])
    assert not has_table(machine)


@pytest.mark.parametrize("body, part", [
    ({}, "is required"),
    ({"clean_steps": [METADATA], "disable_ramdisk": True}, "needs the ramdisk"),
    ({"clean_steps": [{"interface": "floor", "step": "mop"}]}, "Invalid clean_steps"),
])
def test_requests_that_cannot_be_are_refused_at_once(rack, body, part):
    manageable(rack)
    answer = rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "clean", **body}, want=400)
    assert part in answer.text
    assert rack.node("n1")["provision_state"] == "manageable"
