"""Whole deployments from virtual media, with every real program and machines made of processes."""
import base64
import hashlib
import hmac
import http.client
import json
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import ProcessRack, log_of, make_image  # noqa: E402

IMAGE = make_image()
FIXED = {"boot": {"media_prefix": 8, "media_gateway": "127.62.1.1"}}


@pytest.fixture
def make_rack(build, folder, inoxd):
    made = []

    def make(**config):
        made.append(ProcessRack(build, folder, inoxd, (62, 1), config=config))
        return made[-1]
    yield make
    for rack in made:
        rack.stop()


def enrol(rack, **more):
    machine = rack.add_machine()
    rack.enrol(machine, boot_interface="redfish-virtual-media", **more)
    rack.set_image("n1", IMAGE)
    return machine


def drive(machine):
    """What the BMC says of its optical drive."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    connection.request("GET", "/redfish/v1/Systems/1/VirtualMedia/Cd", headers={
        "Authorization": "Basic " + base64.b64encode(b"admin:correct horse").decode()})
    shown = json.loads(connection.getresponse().read())
    connection.close()
    return shown


def test_a_rack_without_dhcp(make_rack):
    rack = make_rack(**FIXED)
    machine = enrol(rack)
    node = rack.provision("n1", "active", "active", 90)
    assert node["power_state"] == "power on" and node["last_error"] is None
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    wait_until(machine.instance_is_up, 10)
    assert [path for path in rack.files.requests if path.endswith("/boot.iso")]
    # nothing of it is left, and nothing of a network boot was ever there
    assert rack.published() == []
    assert drive(machine)["Inserted"] is False
    assert not list((rack.boot_root / "http/boot").iterdir())
    assert [p for p in (rack.boot_root / "dhcp-hosts").iterdir() if p.read_text().strip().split(",")[1] != "ignore"] == []
    # and again
    rack.provision("n1", "deleted", "available")
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active", 90)
    assert len({path for path in rack.files.requests if path.endswith("/boot.iso")}) == 2  # a new path each time


def test_addresses_by_dhcp(make_rack):
    rack = make_rack()
    machine = enrol(rack)
    rack.provision("n1", "active", "active", 90)
    wait_until(machine.instance_is_up, 10)
    assert (rack.boot_root / "dhcp-hosts" / machine.mac.replace(":", "-")).read_text().strip().endswith(",ignore")


def test_the_iso_is_there_until_the_agent_has_been_reached(make_rack):
    """It holds the token: its path is a secret, and it is gone when it has served."""
    rack = make_rack(**FIXED)
    machine = enrol(rack)
    paths, tokens = set(), set()

    def look():
        for path in (rack.boot_root / "http/once").glob("*/boot.media"):
            paths.add(path.parent.name)
            content = path.read_bytes()
            at = content.find(b"agent_token = ")
            tokens.add(content[at + 14: at + 57].decode())
        return rack.node("n1")["provision_state"] == "active"

    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(look, 90)
    assert len(paths) == 1 and len(tokens) == 1 and len(next(iter(tokens))) == 43
    everything = log_of(rack) + rack.call("GET", "/v1/nodes/n1").text + rack.call("GET", "/v1/nodes/n1/flow").text
    for secret in tokens:
        assert secret not in everything
    for path in paths:
        assert path not in log_of(rack) + rack.call("GET", "/v1/nodes/n1").text
    wait_until(machine.instance_is_up, 10)


def test_an_iso_that_is_missing_is_named_and_a_failure_leaves_an_empty_drive(make_rack):
    rack = make_rack(**FIXED)
    machine = enrol(rack)
    base = rack.boot_root / "http/ramdisk/boot.iso"
    kept = base.read_bytes()
    base.unlink()

    def fail():
        rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
        wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 60, what="deploy failed")
        return rack.node("n1")["last_error"]

    assert "the ramdisk's ISO" in fail()
    # now the machine boots from the drive, and its disk gets a wrong image
    base.write_bytes(kept)
    rack.set_image("n1", IMAGE, image_os_hash_value="0" * 64)
    assert "checksum" in fail().lower()
    wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
    assert drive(machine)["Inserted"] is False and rack.published() == []
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active", 90)


def test_a_key_that_is_missing_or_another_one_is_named(make_rack):
    rack = make_rack(**FIXED, conductor={"deploy_callback_timeout": 6})
    machine = enrol(rack)
    good = rack.media.key.read_bytes()

    def fail():
        rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
        wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 60, what="deploy failed")
        wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
        return rack.node("n1")["last_error"]

    rack.media.key.unlink()
    said = fail()
    assert "[boot]media_key_file" in said and str(rack.media.key) in said
    assert rack.published() == []
    # the boot host has another one
    rack.media.key.write_bytes(good)
    rack.media.key.chmod(0o600)
    rack.media.start()
    rack.media.key.write_bytes(bytes(32))
    assert fail() and "its signature is wrong" in rack.media.log()
    rack.media.key.write_bytes(good)
    rack.provision("n1", "active", "active", 90)
    wait_until(machine.instance_is_up, 10)


def test_a_url_whose_time_is_over(make_rack):
    """The ISO is asked for too late: a BMC is refused, and the deployment says what to look at."""
    rack = make_rack(boot={**FIXED["boot"], "media_url_lifetime": 300}, conductor={"deploy_callback_timeout": 6})
    machine = enrol(rack)
    kept, get = rack.media.get, []

    def late(method, path, headers):
        """As if it were asked for when its time is over."""
        until, rest = path.split("/")[2].split("-", 1)
        assert time.time() + 200 < int(until) <= time.time() + 300
        boot = f"{int(time.time()) - 1}-{rest[:43]}"
        digest = hmac.new(rack.media.key.read_bytes(), b"inox media 1 " + boot.encode(), hashlib.sha256).digest()
        get.append(kept(method, f"/media/{boot}-{base64.urlsafe_b64encode(digest[:24]).decode()}/boot.iso", headers))
        return get[-1]

    rack.media.get = late
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 60, what="deploy failed")
    assert {status for status, _, _ in get} == {410} and "its time was over" in rack.media.log()
    assert machine.disk_head(512) == bytes(512)


def test_the_boot_interface_is_offered_by_redfish_only(make_rack):
    rack = make_rack()
    assert "redfish-virtual-media" in rack.call("GET", "/v1/drivers/redfish", want=200).text
    refused = rack.call("POST", "/v1/nodes", {"driver": "fake-hardware", "boot_interface": "redfish-virtual-media"})
    assert refused.status == 400
