"""Whole deployments in passive mode, with every real program and machines made of processes."""
import gzip
import lzma
import shutil
import subprocess
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import MIB, ProcessRack, log_of, make_image  # noqa: E402

IMAGE = make_image()


@pytest.fixture
def rack(build, folder, inoxd):
    made = ProcessRack(build, folder, inoxd, (61, 1))
    yield made
    made.stop()


def deploy(rack, name="n1", seconds=90, **more):
    return rack.provision(name, "active", "active", seconds, **more)


def deploy_fails(rack, name="n1", seconds=90, **more):
    """Deploys, and returns the sentence of the failure."""
    rack.call("PUT", f"/v1/nodes/{name}/states/provision", {"target": "active", **more}, want=202)
    wait_until(lambda: rack.node(name)["provision_state"] == "deploy failed", seconds, what="deploy failed")
    return rack.node(name)["last_error"]


def test_a_machine_is_deployed_and_everything_of_the_boot_is_gone(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE)
    node = deploy(rack, configdrive={"meta_data": {"hostname": "web1"}, "user_data": "hello"})
    assert node["power_state"] == "power on" and node["last_error"] is None
    assert node["driver_internal_info"].get("agent_secret_token") in (None, "******")
    assert machine.disk_head(512)[510:] == b"\x55\xaa"
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    wait_until(machine.instance_is_up, 10)
    assert rack.published() == []
    assert rack.flow("n1") == {} or rack.flow("n1").get("phase") in (None, "")
    # the config drive is at the end of the disk: an ISO labelled config-2
    with open(machine.disk, "rb") as disk:
        disk.seek(-64 * MIB - 34 * 512, 2)
        assert b"config-2" in disk.read()


def test_the_way_back_and_again(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    for _ in range(2):
        rack.set_image("n1", IMAGE)
        deploy(rack)
        node = rack.provision("n1", "deleted", "available")
        assert node["instance_info"] == {} and node["power_state"] == "power off"
    rack.call("DELETE", "/v1/nodes/n1", want=204)


@pytest.mark.parametrize("name, pack", [
    ("gzip", lambda b: gzip.compress(b, 1)),
    ("xz", lambda b: lzma.compress(b, preset=0)),
    ("zstd", lambda b: subprocess.run(["zstd", "-1", "-c"], input=b, stdout=subprocess.PIPE, check=True).stdout),
])
def test_compressed_images(rack, name, pack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", pack(IMAGE), path=f"/image.{name}")
    deploy(rack)
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]


def test_wrong_mac_stops_before_anything_changes(rack):
    machine = rack.add_machine(real_mac="52:54:00:99:99:99")
    rack.enrol(machine)
    rack.set_image("n1", IMAGE)
    sentence = deploy_fails(rack)
    assert machine.mac in sentence and "52:54:00:99:99:99" in sentence
    assert rack.images.requests == []
    assert machine.disk_head(MIB) == bytes(MIB)


def test_wrong_checksum(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE, image_os_hash_value="0" * 64)
    sentence = deploy_fails(rack)
    assert "checksum" in sentence.lower() and "0" * 64 in sentence
    assert machine.disk_head(MIB) == bytes(MIB)
    # and at once again, with the right one
    rack.set_image("n1", IMAGE)
    deploy(rack)


def test_truncated_download(rack):
    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(IMAGE)))
        handler.end_headers()
        handler.wfile.write(IMAGE[: len(IMAGE) // 2])
        handler.close_connection = True

    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE)
    rack.images.behave["/image.raw"] = cut
    sentence = deploy_fails(rack, seconds=120)
    assert str(len(IMAGE)) in sentence
    assert machine.disk_head(MIB) == bytes(MIB)


def test_image_larger_than_the_disk(rack):
    machine = rack.add_machine(disk_size=4 * 1024 * MIB)
    rack.enrol(machine)
    big = shutil.which("zstd") and subprocess.run(
        f"truncate -s {5 * 1024 * MIB} /dev/stdout 2>/dev/null; head -c {5 * 1024 * MIB} /dev/zero | zstd -1 -c",
        shell=True, stdout=subprocess.PIPE, check=True).stdout
    rack.set_image("n1", big, path="/big.zst")
    sentence = deploy_fails(rack, seconds=120)
    assert "larger" in sentence or "not fit" in sentence
    assert machine.disk_head(MIB) == bytes(MIB)


def test_hint_that_matches_nothing(rack):
    machine = rack.add_machine()
    rack.enrol(machine, properties={"root_device": {"serial": "no-such-disk"}})
    rack.set_image("n1", IMAGE)
    sentence = deploy_fails(rack)
    assert "no-such-disk" in sentence and "/dev/vda" in sentence
    assert rack.images.requests == []


def test_image_server_that_is_gone(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE, image_source=rack.images.url + "/nowhere")
    sentence = deploy_fails(rack)
    assert "404" in sentence


def test_no_token_and_no_password_in_any_log_or_answer(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE)
    tokens = set()

    def look():
        for path in (rack.boot_root / "http/once").glob("*/token.img"):
            archive = path.read_bytes()
            at = archive.find(b"agent-token\0")
            if at >= 0:
                tokens.add(bytes(c for c in archive[at + 12: at + 64].lstrip(b"\0")[:43]).decode())
        return rack.node("n1")["provision_state"] == "active"

    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(look, 90)
    assert len(tokens) == 1 and len(next(iter(tokens))) == 43
    everything = log_of(rack) + rack.call("GET", "/v1/nodes/n1").text + rack.call("GET", "/v1/nodes/n1/flow").text
    rows = b"".join(p.read_bytes() for p in rack.inoxd.state.glob("*.sqlite*"))
    for secret in tokens | {"correct horse"}:
        assert secret not in everything
        assert secret.encode() not in rows


def wait_for_an_agent_that_never_comes(rack):
    machine = rack.add_machine()
    rack.enrol(machine)
    rack.set_image("n1", IMAGE)
    machine.plug_in(False)
    rack.provision("n1", "active")
    wait_until(lambda: rack.node("n1")["provision_state"] == "wait call-back", 30, what="it waits for its agent")
    assert rack.published() != [] and rack.node("n1")["power_state"] == "power on"
    return machine


def check_that_nothing_is_left_and_deploy(rack, machine):
    node = rack.node("n1")
    assert node["provision_state"] == "deploy failed" and node["reservation"] is None
    assert node["last_error"] == "The deployment was aborted by request."
    machine.plug_in(True)
    # At once: a node that is locked would be answered 409.
    again = rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "active"})
    assert again.status == 202, again.text
    rack.wait_state("n1", "active", 90)
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]


def test_a_deployment_that_waits_for_its_agent_is_aborted(rack):
    machine = wait_for_an_agent_that_never_comes(rack)
    path = "/v1/nodes/n1/states/provision"
    assert rack.inoxd.api("PUT", path, {"target": "abort"}, version="1.109").status == 406
    assert rack.node("n1")["provision_state"] == "wait call-back"
    assert rack.inoxd.api("PUT", path, {"target": "abort"}, version="1.110").status == 202
    wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
    node = rack.node("n1")
    assert node["power_state"] == "power off" and "agent_url" not in node["driver_internal_info"]
    assert rack.published() == []
    # There is nothing left to abort.
    assert rack.inoxd.api("PUT", path, {"target": "abort"}).status == 400
    check_that_nothing_is_left_and_deploy(rack, machine)


def test_inox_aborts_and_waits_for_what_that_leads_to(rack):
    def inox(*words):
        return subprocess.run([rack.build / "src/cli/inox", *words], env={"INOX_URL": rack.inoxd.url},
                              capture_output=True, text=True, timeout=60)

    machine = wait_for_an_agent_that_never_comes(rack)
    done = inox("abort", "n1", "--wait")
    assert done.returncode == 0, done.stderr
    assert "deploy failed" in done.stderr
    check_that_nothing_is_left_and_deploy(rack, machine)
    # What is not waiting cannot be aborted, and that is no success.
    refused = inox("abort", "n1", "--wait")
    assert refused.returncode == 1 and 'while it is in state "active"' in refused.stderr
