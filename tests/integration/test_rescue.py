"""Rescue and unrescue, with every real program and machines made of processes: passive, active, and from virtual
media; what it leaves behind, what power cycles do, and what is refused."""
import ctypes
import json
import os
import pathlib
import pty
import select
import sqlite3
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, agents_running, log_of, make_image  # noqa: E402

IMAGE = make_image()
PASSWORD = "a goat on the 7th roof"
HASH = "etc/ipa-rescue-config/ipa-rescue-password"


def fits(password, hashed):
    """By the C library's own crypt(); Python's module is on its way out."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), hashed.encode()) == hashed.encode()


def make_rack(build, folder, inoxd, mode, number, **config):
    port = free_port()
    config = {"agent": {"poll_only": mode != "active"}, **config}
    if mode == "active":
        config.update(api={"port": port}, service_catalog={"endpoint_override": f"http://127.0.0.1:{port}"})
    return ProcessRack(build, folder, inoxd, (68, number), config)


@pytest.fixture
def rack(build, folder, inoxd):
    made = make_rack(build, folder, inoxd, "passive", 1)
    yield made
    made.stop()


def active_node(rack, **more):
    """A node with an instance that runs."""
    machine = rack.add_machine()
    rack.enrol(machine, **more)
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active", 90)
    wait_until(machine.instance_is_up, 10)
    return machine


def power_off_instance(machine):
    (machine.sysroot / "instance-booted").unlink()


def rescue(rack, machine, **more):
    power_off_instance(machine)
    return rack.provision("n1", "rescue", "rescue", rescue_password=PASSWORD, **more)


def stored(rack):
    """Every byte of the state folder, and the columns that a boot's secrets are in."""
    files = b"".join(p.read_bytes() for p in rack.inoxd.state.rglob("*") if p.is_file())
    with sqlite3.connect(rack.inoxd.state / "inox.sqlite") as database:
        row = database.execute("SELECT agent_token, agent_verifier, agent_address, flow, instance_info FROM nodes").fetchone()
    return files, row


def reservation(rack, machine):
    return (rack.boot_root / "dhcp-hosts" / machine.mac.replace(":", "-")).read_text().strip().split(",")[1]


def sentence(answer):
    return json.loads(json.loads(answer.text)["error_message"])["faultstring"]


def check_rescued(rack, machine, node, media=False):
    assert node["power_state"] == "power on" and node["last_error"] is None
    assert "rescue_password" not in node["instance_info"]
    hashed = (machine.sysroot / HASH).read_text().strip()
    assert hashed.startswith("$5$") and fits(PASSWORD, hashed)
    assert rack.published() == []
    files, (token, verifier, address, flow, info) = stored(rack)
    assert (token, verifier, json.loads(flow)) == (None, None, {})
    assert "rescue_password" not in json.loads(info)
    # It runs on: nobody else gets its address.
    assert node["driver_internal_info"]["rescue_address"] == address
    assert media or reservation(rack, machine) == address
    everything = files + (log_of(rack) + json.dumps(node)).encode()
    assert PASSWORD.encode() not in everything and hashed.encode() not in everything


def check_unrescued(rack, machine, node):
    assert node["power_state"] == "power on" and node["last_error"] is None
    wait_until(machine.instance_is_up, 10)
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    assert "rescue_address" not in node["driver_internal_info"]
    assert rack.published() == [] and reservation(rack, machine) == "ignore"
    assert stored(rack)[1][2] is None


@pytest.mark.parametrize("mode, media", [("passive", False), ("active", False), ("passive", True), ("active", True)])
def test_there_and_back(build, folder, inoxd, mode, media):
    rack = make_rack(build, folder, inoxd, mode, 2)
    try:
        machine = active_node(rack, **({"boot_interface": "redfish-virtual-media"} if media else {}))
        node = rescue(rack, machine)
        check_rescued(rack, machine, node)
        assert not machine.instance_is_up()
        wait_until(lambda: agents_running(build, machine) == [], 10, what="the agent has ended")
        check_unrescued(rack, machine, rack.provision("n1", "unrescue", "active"))
    finally:
        rack.stop()


def test_the_agent_is_sent_a_sha512_hash_if_configured(build, folder, inoxd):
    rack = make_rack(build, folder, inoxd, "passive", 3, conductor={"rescue_password_hash_algorithm": "sha512"})
    try:
        machine = active_node(rack)
        rescue(rack, machine)
        hashed = (machine.sysroot / HASH).read_text().strip()
        assert hashed.startswith("$6$") and fits(PASSWORD, hashed)
    finally:
        rack.stop()


def test_while_it_waits_the_password_is_a_row_of_stars(rack):
    machine = active_node(rack)
    machine.plug_in(False)
    rack.provision("n1", "rescue", rescue_password=PASSWORD)
    wait_until(lambda: rack.node("n1")["provision_state"] == "rescue wait", 30, what="it waits for its agent")
    node = rack.node("n1")
    assert node["instance_info"]["rescue_password"] == "******" and node["target_provision_state"] == "rescue"
    files, row = stored(rack)
    assert json.loads(row[4])["rescue_password"].startswith("sealed:v1:") and PASSWORD.encode() not in files
    # Aborted, the password is gone at once, and the instance comes back.
    assert rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "abort"}).status == 202
    wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
    node = rack.node("n1")
    assert node["provision_state"] == "rescue failed" and node["power_state"] == "power off"
    assert node["last_error"] == "By request, the rescue operation was aborted."
    assert "rescue_password" not in node["instance_info"] and rack.published() == []
    machine.plug_in(True)
    check_unrescued(rack, machine, rack.provision("n1", "unrescue", "active"))


def test_a_rescue_without_an_agent_fails_in_time(build, folder, inoxd):
    rack = make_rack(build, folder, inoxd, "passive", 4, conductor={"rescue_callback_timeout": 10})
    try:
        machine = active_node(rack)
        machine.plug_in(False)
        rack.provision("n1", "rescue", rescue_password=PASSWORD)
        wait_until(lambda: rack.node("n1")["provision_state"] == "rescue failed", 40, what="rescue failed")
        wait_until(lambda: rack.flow("n1") == {}, 30, what="the clean-up is done")
        node = rack.node("n1")
        assert "Failed to get an answer from the agent" in node["last_error"]
        assert "rescue_password" not in node["instance_info"] and not node["maintenance"]
        machine.plug_in(True)
        check_rescued(rack, machine, rack.provision("n1", "rescue", "rescue", rescue_password=PASSWORD))
    finally:
        rack.stop()


def test_a_power_cycle_boots_the_instance_and_another_rescue_leads_back(rack):
    machine = active_node(rack)
    rescue(rack, machine)
    rack.call("PUT", "/v1/nodes/n1/states/power", {"target": "rebooting"}, want=202)
    wait_until(machine.instance_is_up, 30, what="the instance runs")
    node = rack.wait_state("n1", "rescue")
    wait_until(lambda: rack.node("n1")["target_power_state"] is None, 20)
    assert node["driver_internal_info"]["rescue_address"]
    power_off_instance(machine)
    check_rescued(rack, machine, rack.provision("n1", "rescue", "rescue", rescue_password=PASSWORD))
    rack.call("PUT", "/v1/nodes/n1/states/power", {"target": "power off"}, want=202)
    wait_until(lambda: rack.node("n1")["power_state"] == "power off", 30)
    check_unrescued(rack, machine, rack.provision("n1", "unrescue", "active"))


def test_a_rescued_machine_is_undeployed(rack):
    machine = active_node(rack)
    rescue(rack, machine)
    node = rack.provision("n1", "deleted", "available")
    assert node["power_state"] == "power off" and node["instance_info"] == {}
    assert "rescue_address" not in node["driver_internal_info"]
    assert reservation(rack, machine) == "ignore" and stored(rack)[1][2] is None


BLANK = 'A non-empty "rescue_password" is required when setting target provision state to rescue'
BAD_PASSWORDS = [
    ({}, BLANK),
    ({"rescue_password": ""}, BLANK),
    ({"rescue_password": " \t"}, BLANK),
    ({"rescue_password": ["secret-in-a-list"]}, "Expected string for rescue_password."),
    ({"rescue_password": "secret" * 100}, "rescue_password has more than 511 bytes"),
    ({"rescue_password": "secret\n"}, "rescue_password has control characters, which nobody can type"),
]


def test_passwords_that_cannot_be_are_refused(rack):
    active_node(rack)
    for body, said in BAD_PASSWORDS:
        answer = rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "rescue", **body}, want=400)
        assert sentence(answer) == said and "secret" not in answer.text
    node = rack.node("n1")
    assert node["provision_state"] == "active" and "rescue_password" not in node["instance_info"]


def test_what_cannot_be_rescued(rack):
    machine = rack.add_machine()
    uuid = rack.enrol(machine)

    def refused(verb, **more):
        return sentence(rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": verb, **more}, want=400))

    word = {"rescue_password": PASSWORD}
    assert 'while it is in state "available"' in refused("rescue", **word)
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active", 90)
    assert "while it is in state" in refused("unrescue")
    rack.call("PUT", "/v1/nodes/n1/maintenance", {}, want=202)
    assert f"The rescuing operation can't be performed on node {uuid} because it's in maintenance mode." == \
        refused("rescue", **word)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/rescue_interface", "value": "no-rescue"}], want=200)
    validated = rack.call("GET", "/v1/nodes/n1/validate", want=200).json["rescue"]
    assert validated == {"result": False,
                         "reason": "Driver redfish does not support rescue (disabled or not implemented)."}
    rack.call("DELETE", "/v1/nodes/n1/maintenance", want=202)
    assert "Validation failed. Error: Driver redfish does not support rescue" in refused("rescue", **word)
    assert rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "rescue", **word},
                          version="1.37").status == 406


def test_a_password_that_comes_as_an_attribute_is_sealed(rack):
    machine = active_node(rack)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/instance_info/rescue_password", "value": PASSWORD}],
              want=200)
    files, row = stored(rack)
    assert json.loads(row[4])["rescue_password"].startswith("sealed:v1:") and PASSWORD.encode() not in files
    assert rack.node("n1")["instance_info"]["rescue_password"] == "******"
    check_rescued(rack, machine, rescue(rack, machine))


def test_inox(rack, folder):
    def inox(*words, ok=0, **more):
        done = subprocess.run([rack.build / "src/cli/inox", *words], env={"INOX_URL": rack.inoxd.url}, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              **({"stdin": subprocess.DEVNULL} if "input" not in more else {}), **more)
        assert done.returncode == ok, (done.stdout, done.stderr)
        return done

    machine = active_node(rack)
    secret = folder / "rescue-password"
    secret.write_text(PASSWORD + "\n")
    assert "--password-file" in inox("rescue", "n1", ok=2).stderr
    assert "empty" in inox("rescue", "n1", "--password-file", "-", ok=2, input="\n").stderr
    assert "No such file" in inox("rescue", "n1", "--password-file", folder / "none", ok=2).stderr
    power_off_instance(machine)
    done = inox("rescue", "n1", "--password-file", secret, "--wait")
    node = rack.node("n1")
    assert done.stdout == f"rescue@{node['driver_internal_info']['rescue_address']}\n"
    check_rescued(rack, machine, node)
    inox("unrescue", "n1", "--wait")
    check_unrescued(rack, machine, rack.node("n1"))


def type_at_terminal(rack, *lines):
    """What `inox rescue` shows and returns when each line is typed at a prompt of its own."""
    def read():
        assert select.select([terminal], [], [], 20)[0], "inox says nothing"
        return os.read(terminal, 1024)

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["INOX_URL"] = rack.inoxd.url
        os.execv(rack.build / "src/cli/inox", ["inox", "rescue", "n1"])
    shown = b""
    for line in lines:
        before = len(shown)
        while b": " not in shown[before:]:
            shown += read()
        os.write(terminal, line.encode() + b"\n")
    try:
        while piece := read():
            shown += piece
    except OSError:
        pass  # the other end is closed
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_inox_asks_at_the_terminal_and_shows_nothing(rack):
    machine = active_node(rack)
    power_off_instance(machine)
    status, shown = type_at_terminal(rack, PASSWORD, "something else")
    assert status == 2 and "The two differ." in shown and PASSWORD not in shown
    status, shown = type_at_terminal(rack, PASSWORD, PASSWORD)
    assert status == 0 and PASSWORD not in shown, shown
    check_rescued(rack, machine, rack.wait_state("n1", "rescue"))


def test_baremetal(rack):
    def baremetal(*words):
        subprocess.run(["/usr/bin/baremetal", "--os-auth-type", "none", "--os-endpoint", rack.inoxd.url, *words],
                       check=True, timeout=120)

    machine = active_node(rack)
    power_off_instance(machine)
    baremetal("node", "rescue", "n1", "--rescue-password", PASSWORD, "--wait", "60")
    check_rescued(rack, machine, rack.node("n1"))
    baremetal("node", "unrescue", "n1", "--wait", "60")
    check_unrescued(rack, machine, rack.node("n1"))


def test_a_rescue_boots_the_system_that_is_named_for_it(rack):
    machine = active_node(rack)

    def set_info(**info):
        rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": f"/driver_info/{key}", "value": value}
                                            for key, value in info.items()], want=200)

    def validated():
        return rack.call("GET", "/v1/nodes/n1/validate", want=200).json

    rack.call("PUT", "/v1/nodes/n1/maintenance", {}, want=202)
    set_info(rescue_kernel="rescue/vmlinuz", deploy_kernel="ipa/vmlinuz", deploy_ramdisk="ipa/initramfs")
    said = "driver_info needs rescue_kernel and rescue_ramdisk together"
    assert validated()["rescue"] == {"result": False, "reason": said} and validated()["deploy"]["result"]
    rack.call("DELETE", "/v1/nodes/n1/maintenance", want=202)
    refused = rack.call("PUT", "/v1/nodes/n1/states/provision",
                        {"target": "rescue", "rescue_password": PASSWORD}, want=400)
    assert sentence(refused).endswith(f"Validation failed. Error: {said}")
    rack.call("PUT", "/v1/nodes/n1/maintenance", {}, want=202)
    set_info(rescue_ramdisk="rescue/initrd")
    assert validated()["rescue"] == {"result": True}
    rack.call("DELETE", "/v1/nodes/n1/maintenance", want=202)
    scripts = set()

    def look():
        for script in (rack.boot_root / "http").rglob("*.ipxe"):
            try:
                scripts.add(script.read_text())
            except FileNotFoundError:
                pass
        return rack.node("n1")["provision_state"] == "rescue"

    power_off_instance(machine)
    rack.provision("n1", "rescue", rescue_password=PASSWORD)
    wait_until(look, 60, what="rescued")
    check_rescued(rack, machine, rack.wait_state("n1", "rescue"))
    text = "".join(scripts)
    assert f"{rack.images.url}/rescue/vmlinuz " in text and f"{rack.images.url}/rescue/initrd " in text
    assert "/ipa/" not in text and "/ramdisk/" not in text
    # What is named wrongly does not keep anybody from his instance.
    rack.call("PUT", "/v1/nodes/n1/maintenance", {}, want=202)
    set_info(rescue_ramdisk="")
    rack.call("DELETE", "/v1/nodes/n1/maintenance", want=202)
    check_unrescued(rack, machine, rack.provision("n1", "unrescue", "active"))
