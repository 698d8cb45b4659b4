"""Power and boot device through the whole control plane: API, conductor, sandboxed bmc worker, inox-bmc."""
import os
import signal
import subprocess

import pytest

from conftest import wait_until
from redfish_peers import SESSIONS, Bmc, ScriptedBmc
from test_inox_bmc import MAC, Machine


@pytest.fixture
def machine(folder):
    return Machine(folder)


@pytest.fixture
def bmc(spawn, build, machine, folder):
    password = folder / "password"
    password.write_text("right-password\n")
    return Bmc(spawn, build, [machine.path], ["--username", "admin", "--password-file", password])


@pytest.fixture
def cloud(inoxd):
    return inoxd({"redfish": {"allowed_networks": "127.0.0.0/8"}, "conductor": {"sync_power_state_interval": 2}})


def enroll(cloud, address, password="right-password", **driver_info):
    answer = cloud.api("POST", "/v1/nodes", {"driver": "redfish", "driver_info": {
        "redfish_address": address, "redfish_username": "admin", "redfish_password": password, **driver_info}})
    assert answer.status == 201, answer.text
    uuid = answer.json["uuid"]
    assert cloud.api("POST", "/v1/ports", {"address": MAC, "node_uuid": uuid}).status == 201
    return uuid


def node(cloud, uuid):
    return cloud.api("GET", f"/v1/nodes/{uuid}").json


def provision(cloud, uuid, verb):
    answer = cloud.api("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": verb})
    assert answer.status == 202, answer.text


def manageable(cloud, uuid):
    provision(cloud, uuid, "manage")
    wait_until(lambda: node(cloud, uuid)["provision_state"] == "manageable", 20, "manageable")


def power(cloud, uuid, target, seconds=20):
    answer = cloud.api("PUT", f"/v1/nodes/{uuid}/states/power", {"target": target})
    assert answer.status == 202, answer.text

    def settled():
        now = node(cloud, uuid)
        return now if now["target_power_state"] is None else None
    return wait_until(settled, seconds, f"{target} settled")


def test_power_on_and_off(cloud, bmc, machine):
    uuid = enroll(cloud, bmc.address)
    manageable(cloud, uuid)
    assert node(cloud, uuid)["power_state"] == "power off"
    assert power(cloud, uuid, "power on")["power_state"] == "power on"
    first = int(machine.wait_boot(1)[0])
    assert power(cloud, uuid, "rebooting")["power_state"] == "power on"
    machine.wait_boot(2)
    assert power(cloud, uuid, "power off")["power_state"] == "power off"
    assert bmc.power(user="admin:right-password") == "Off"
    assert len(machine.boots()) == 2 and first
    sessions = bmc.request("GET", SESSIONS, user="admin:right-password").json
    assert sessions["Members@odata.count"] == 1
    assert "right-password" not in cloud.log() and "right-password" not in bmc.process.log()


def test_https_inside_the_sandbox(cloud, spawn, build, machine, folder):
    password = folder / "password"
    password.write_text("right-password\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    bmc = Bmc(spawn, build, [machine.path], ["--username", "admin", "--password-file", password, "--certificate",
              folder / "cert.pem", "--key", folder / "key.pem"], tls=True)
    uuid = enroll(cloud, bmc.address, redfish_verify_ca=False)
    manageable(cloud, uuid)
    assert power(cloud, uuid, "power on")["power_state"] == "power on"
    machine.wait_boot(1)
    refused = cloud.api("POST", "/v1/nodes", {"driver": "redfish", "driver_info": {
        "redfish_address": bmc.address, "redfish_username": "admin", "redfish_password": "right-password"}}).json["uuid"]
    provision(cloud, refused, "manage")
    now = wait_until(lambda: (n := node(cloud, refused))["last_error"] and n, 30, "an error")
    assert "self-signed certificate" in now["last_error"]


def test_power_that_changes_by_itself_is_seen(cloud, bmc, machine):
    uuid = enroll(cloud, bmc.address)
    manageable(cloud, uuid)
    power(cloud, uuid, "power on")
    os.kill(int(machine.wait_boot(1)[0]), signal.SIGKILL)
    wait_until(lambda: node(cloud, uuid)["power_state"] == "power off", 30, "power off is seen")


def test_a_killed_worker_loses_nothing(cloud, bmc, machine):
    uuid = enroll(cloud, bmc.address)
    manageable(cloud, uuid)
    os.kill(cloud.children()["bmc"], signal.SIGKILL)
    assert power(cloud, uuid, "power on", 60)["power_state"] == "power on"
    machine.wait_boot(1)


def test_a_wrong_password_is_the_nodes_error(cloud, bmc):
    uuid = enroll(cloud, bmc.address, "wrong-password")
    provision(cloud, uuid, "manage")

    def failed():
        now = node(cloud, uuid)
        return now if now["provision_state"] == "enroll" and now["last_error"] else None
    now = wait_until(failed, 30, "verification failed")
    assert "401" in now["last_error"]
    assert "wrong-password" not in cloud.log() and "wrong-password" not in now["last_error"]


def test_a_bmc_that_is_busy_for_a_moment_is_asked_again(cloud):
    scripted = ScriptedBmc()
    try:
        scripted.answers["GET", "/redfish/v1/Systems/1"] = [(503, None), (503, None), scripted.system()]
        uuid = enroll(cloud, scripted.address)
        manageable(cloud, uuid)
        assert len(scripted.seen("GET", "/redfish/v1/Systems/1")) >= 3
    finally:
        scripted.close()


def test_an_address_outside_the_ranges_is_not_dialled(inoxd):
    scripted = ScriptedBmc()
    try:
        cloud = inoxd({"redfish": {"allowed_networks": "10.0.0.0/8"}})
        answer = cloud.api("POST", "/v1/nodes", {"driver": "redfish", "driver_info": {
            "redfish_address": scripted.address, "redfish_username": "a", "redfish_password": "b"}})
        if answer.status == 201:
            uuid = answer.json["uuid"]
            provision(cloud, uuid, "manage")
            now = wait_until(lambda: (n := node(cloud, uuid))["last_error"] and n, 30, "an error")
            assert "allowed_networks" in now["last_error"]
        assert scripted.requests == []
    finally:
        scripted.close()
