"""A stock ironic-python-agent, as its protocol peer of tests/rack/stock_agent.py: recorded exchanges with the real one
show that the peer is like it, and then inoxd deploys and cleans with it.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, log_of, make_image  # noqa: E402

PEER = REPOSITORY / "tests/rack/stock_agent.py"
ROOT = REPOSITORY / "tests/data/agent-root"
TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789abc"
IMAGE = make_image()

pytest.importorskip("cheroot", reason="python3-cheroot is not installed")
pytest.importorskip("werkzeug", reason="python3-werkzeug is not installed")


# ---- the peer is like the real one

class Capture:
    def __init__(self, path):
        head, _, rest = path.read_bytes().partition(b">>> request\n")
        request, _, response = rest.partition(b"<<< response\n")
        self.name = path.stem
        self.request_head, _, body = request.partition(b"\n\n")
        length = re.search(rb"Content-Length: (\d+)", self.request_head)
        self.request_body = body[:int(length[1])] if length else b""
        response_head, _, response_body = response.partition(b"\n\n")
        lines = response_head.decode().split("\n")
        self.status_line, self.body = lines[0], response_body[:-1].decode()
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.closes = b"connection: yes" in head


def replay(port, capture, ids):
    head = capture.request_head
    for old, new in ids.items():
        head = head.replace(old.encode(), new.encode())
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + capture.request_body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536)
        answer_head, _, body = data.partition(b"\r\n\r\n")
        lines = answer_head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        expected = 0 if head.startswith(b"HEAD") else int(headers["Content-Length"])
        while len(body) < expected:
            body += s.recv(65536)
        s.settimeout(0.01)
        try:
            closes = s.recv(1) == b""
        except TimeoutError:
            closes = False
    return lines[0], headers, body.decode(), closes


def shape(value):
    """Keys in their order at every level; of a list its first element."""
    if isinstance(value, dict):
        return [(k, shape(v)) for k, v in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else "list"
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else "value"


# Values of another machine or another time.
SHAPE_ONLY = {"004-status", "005-status-unversioned", "050-status-while-busy", "067-status-http10",
              "020-get_hardware_info-wait", "021-get_hardware_info-nowait", "022-commands-list-before",
              "016-run-no-token", "018-run-empty-token", "063-new-token"}


def compare(capture, body, ids):
    if not capture.body.startswith("{"):
        assert body.rstrip("\n") == capture.body.rstrip("\n")
        return
    ours, theirs = json.loads(body), json.loads(capture.body)
    assert body == json.dumps(ours), "Python's separators"
    if "id" in theirs and theirs["id"] != "v1":
        ids[theirs.pop("id")] = ours.pop("id")
    if capture.name in SHAPE_ONLY:
        assert shape(ours) == shape(theirs)
    else:
        assert json.dumps(ours) == json.dumps(theirs), "the same, in the same order"


@pytest.mark.parametrize("version, folder_name", [("12.0.0", "agent-captures"), ("9.4.3", "agent-captures-9.4.3")])
def test_every_recorded_exchange(folder, spawn, version, folder_name):
    root = folder / "root"
    shutil.copytree(ROOT, root, symlinks=True)
    (root / "proc/cmdline").write_text(f"ipa-agent-token={TOKEN}\n")
    (root / "sys/class/net/eth0/device").mkdir(parents=True, exist_ok=True)
    (root / "sys/class/net/eth0/address").write_text("52:54:00:12:34:56\n")
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev/vda").write_bytes(bytes(4096))
    port = free_port()
    agent = spawn(["/usr/bin/python3", PEER, "--listen", f"127.0.0.1:{port}", "--root", root, "--lab", "--standalone",
                   "--version", version], "stock")
    agent.wait_log("stock agent listens")
    ids = {}
    captures = [Capture(p) for p in sorted((REPOSITORY / "tests/data" / folder_name).glob("*.http"))]
    assert len(captures) == 67
    for capture in captures:
        print(capture.name)
        status, headers, body, closes = replay(port, capture, ids)
        assert status == capture.status_line
        assert closes == capture.closes
        # The old agent has another HTTP layer, which names no server; Allow is a set.
        for name in ("Content-Type", "Location", *(["Server"] if version == "12.0.0" else [])):
            got = headers.get(name, "").replace(f"127.0.0.1:{port}", "127.0.0.1:9999")
            assert got == capture.headers.get(name, ""), name
        for name in ("Allow",):
            assert set(headers.get(name, "").split(", ")) == set(capture.headers.get(name, "").split(", "))
        compare(capture, body.replace(f"127.0.0.1:{port}", "127.0.0.1:9999"), ids)


# ---- inoxd and a stock agent

@pytest.fixture
def make_rack(build, folder, inoxd):
    made = []

    def make(**config):
        made.append(ProcessRack(build, folder, inoxd, (74, 1), config=config))
        return made[-1]
    yield make
    for rack in made:
        rack.stop()


def make_stock(machine, **oddities):
    """From now on the machine's ramdisk is a stock one."""
    state = json.loads(machine.state.read_text())
    machine.state.write_text(json.dumps({**state, "agent": str(PEER)}))
    (machine.sysroot / "stock.json").write_text(json.dumps(oddities))
    return machine


def enrol(rack, driver_info=None, oddities=None, **more):
    machine = make_stock(rack.add_machine(), **(oddities or {}))
    rack.enrol(machine, **more)
    set_driver_info(rack, **{"agent_transport": "http", **(driver_info or {})})
    rack.set_image("n1", IMAGE)
    return machine


def set_driver_info(rack, **values):
    rack.call("PATCH", "/v1/nodes/n1",
              [{"op": "add", "path": f"/driver_info/{k}", "value": v} for k, v in values.items()], want=200)


def check_deployed(rack, machine, node):
    assert node["last_error"] is None and node["power_state"] == "power on"
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    wait_until(machine.instance_is_up, 10)
    assert rack.published() == []


@pytest.mark.parametrize("version", ["12.0.0", "9.4.3"])
def test_a_passive_deployment_with_the_token_in_the_boot_data(make_rack, version):
    rack = make_rack()
    machine = enrol(rack, oddities={"version": version})
    node = rack.provision("n1", "active", "active", 90)
    check_deployed(rack, machine, node)
    assert node["driver_internal_info"]["agent_version"] == version
    # The token was where the agent reads it, and nowhere on the command line.
    conf = machine.sysroot / "etc/ironic-python-agent.d/inox.conf"
    token = conf.read_text().split("agent_token = ")[1].strip()
    assert len(token) == 43 and conf.stat().st_mode & 0o777 == 0o600
    cmdline = (machine.sysroot / "proc/cmdline").read_text()
    assert token not in cmdline and "ipa-api-url" not in cmdline
    assert token not in rack.inoxd.log()


def test_a_ramdisk_of_its_own_and_the_token_on_its_command_line(make_rack):
    """For images whose root is not the initial ramdisk; the script with the token goes when the agent is reached."""
    rack = make_rack()
    machine = enrol(rack, {"agent_delivery": "cmdline", "deploy_kernel": "ipa/vmlinuz",
                           "deploy_ramdisk": "ipa/initramfs", "kernel_append_params": "nofb %default% console=ttyS0"})
    seen = {}

    def look():
        for script in (rack.boot_root / "http").rglob("*.ipxe"):
            try:
                seen[script.parent.parent.name] = script.read_text()
            except FileNotFoundError:
                pass
        return rack.node("n1")["provision_state"] == "active"

    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(look, 90)
    check_deployed(rack, machine, rack.node("n1"))
    cmdline = (machine.sysroot / "proc/cmdline").read_text()
    token = re.search(r"ipa-agent-token=(\S{43})", cmdline).group(1)
    assert " nofb console=ttyS0 " in cmdline
    assert token in seen["once"] and token not in seen["boot"]
    assert f"{rack.images.url}/ipa/vmlinuz " in seen["once"] and f"{rack.images.url}/ipa/initramfs " in seen["once"]
    assert token not in rack.inoxd.log() + rack.call("GET", "/v1/nodes/n1").text
    (machine.sysroot / "proc/cmdline").unlink()  # the one place where it is meant to be


def test_a_ramdisk_that_lies_elsewhere_is_refused_before_anything_happens(make_rack):
    rack = make_rack()
    enrol(rack, {"deploy_kernel": "../vmlinuz", "deploy_ramdisk": "initramfs"})
    validate = rack.call("GET", "/v1/nodes/n1/validate", want=200).json
    assert "driver_info.deploy_kernel" in validate["deploy"]["reason"]
    refused = rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "active"})
    assert refused.status == 400 and "driver_info.deploy_kernel" in refused.text
    assert rack.node("n1")["provision_state"] == "available"


@pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed")
def test_virtual_media_with_an_iso_of_a_stock_kernel_and_ramdisk(make_rack, folder):
    rack = make_rack()
    for name in ("kernel", "initramfs"):
        (folder / name).write_text(f"a stock {name}\n")
    made = subprocess.run([REPOSITORY / "tools/ramdisk/inox-ramdisk", "--iso", "--existing-kernel", folder / "kernel",
                           "--existing-ramdisk", folder / "initramfs", "--output", rack.boot_root / "http/ipa/ramdisk"],
                          capture_output=True, text=True)
    if "is not installed" in made.stderr or "packages" in made.stderr:
        pytest.skip(made.stderr)
    assert made.returncode == 0, made.stderr
    machine = enrol(rack, {"deploy_iso": "ipa/ramdisk/boot.iso"}, boot_interface="redfish-virtual-media")
    (rack.boot_root / "http/ramdisk/boot.iso").unlink()
    node = rack.provision("n1", "active", "active", 90)
    check_deployed(rack, machine, node)
    token = (machine.sysroot / "etc/ironic-python-agent.d/inox.conf").read_text().split("agent_token = ")[1].strip()
    assert len(token) == 43 and token not in (machine.sysroot / "proc/cmdline").read_text()


def make_certificate(machine):
    """One that was put into the ramdisk image; the SHA-256 that pins it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days",
                    "30", "-subj", "/CN=ramdisk", "-keyout", machine.sysroot / "etc/agent.key", "-out",
                    machine.sysroot / "etc/agent.crt"], check=True, capture_output=True)
    folder = machine.sysroot / "etc/ironic-python-agent.d"
    folder.mkdir(exist_ok=True)
    (folder / "tls.conf").write_text("[DEFAULT]\ntls_cert_file = /etc/agent.crt\ntls_key_file = /etc/agent.key\n")
    der = ssl.PEM_cert_to_DER_cert((machine.sysroot / "etc/agent.crt").read_text())
    return hashlib.sha256(der).hexdigest()


def test_a_passive_agent_with_a_certificate_of_its_image_is_pinned(make_rack):
    rack = make_rack()
    machine = enrol(rack)
    set_driver_info(rack, agent_transport="pinned", agent_certificate_sha256=make_certificate(machine))
    node = rack.provision("n1", "active", "active", 90)
    check_deployed(rack, machine, node)


def test_another_certificate_gets_no_token(make_rack):
    rack = make_rack(conductor={"deploy_callback_timeout": 10})
    machine = enrol(rack)
    make_certificate(machine)
    set_driver_info(rack, agent_transport="pinned", agent_certificate_sha256="0" * 64)
    assert "certificate" in fail(rack)
    # (it asked nothing but what is open to everybody, and that inside a channel that was not opened)
    assert machine.disk_head(512) == bytes(512)


def fail(rack, verb="active", state="deploy failed", **more):
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": verb, **more}, want=202)
    wait_until(lambda: rack.node("n1")["provision_state"] == state, 60, what=state)
    wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
    assert rack.published() == []
    return rack.node("n1")["last_error"]


def test_an_image_with_another_checksum(make_rack):
    rack = make_rack()
    enrol(rack)
    rack.set_image("n1", IMAGE, image_os_hash_value="0" * 64)
    error = fail(rack)
    assert "write_image failed" in error and "Image failed to verify against checksum" in error
    rack.set_image("n1", IMAGE)
    rack.provision("n1", "active", "active", 90)


def test_an_image_that_is_not_there(make_rack):
    rack = make_rack()
    enrol(rack)
    rack.call("PATCH", "/v1/nodes/n1", [{"op": "replace", "path": "/instance_info/image_source",
                                         "value": rack.images.url + "/gone.raw"}], want=200)
    assert "Received status code 404" in fail(rack)


def test_an_agent_that_is_busy_with_something_else(make_rack):
    rack = make_rack()
    machine = enrol(rack, oddities={"busy": 2})
    rack.provision("n1", "active")
    wait_until(lambda: "executing command prepare_image" in json.dumps(rack.flow("n1")), 30, what="it was refused once")
    check_deployed(rack, machine, rack.wait_state("n1", "active", 90))


def test_a_slow_step_and_another_control_plane(make_rack):
    """The list is asked after a restart, and the running command is found in it."""
    rack = make_rack()
    machine = enrol(rack, oddities={"slow": {"write_image": 4}})
    rack.provision("n1", "active")
    wait_until(lambda: rack.flow("n1").get("phase") == "step", 30, what="the step runs")
    rack.inoxd.stop()
    rack.restart_inoxd()
    node = rack.wait_state("n1", "active", 90)
    check_deployed(rack, machine, node)
    assert rack.images.requests.count("/image.raw") == 1


def test_an_agent_that_is_restarted_in_a_step(make_rack):
    rack = make_rack()
    machine = enrol(rack, oddities={"restart": {"write_image": True}})
    node = rack.provision("n1", "active", "active", 90)
    check_deployed(rack, machine, node)


def test_cleaning_and_a_clean_step_that_fails(make_rack):
    rack = make_rack()
    machine = enrol(rack, oddities={"fail": {"erase_devices": "the drive is frozen"}})
    rack.provision("n1", "manage", "manageable")
    metadata = {"interface": "deploy", "step": "erase_devices_metadata"}
    with open(machine.disk, "r+b") as disk:
        disk.write(b"\xaa" * 4096)
        disk.seek(-4096, 2)
        disk.write(b"\xaa" * 4096)
    node = rack.provision("n1", "clean", "manageable", 30, clean_steps=[metadata])
    assert node["last_error"] is None and machine.disk_head(4096) == bytes(4096)
    error = fail(rack, "clean", "clean failed", clean_steps=[metadata, {"interface": "deploy", "step": "erase_devices"}])
    assert "erase_devices failed" in error and "the drive is frozen" in error


@pytest.mark.parametrize("version", ["12.0.0", "9.4.3"])
def test_rescue(make_rack, version):
    rack = make_rack()
    machine = enrol(rack, oddities={"version": version})
    check_deployed(rack, machine, rack.provision("n1", "active", "active", 90))
    (machine.sysroot / "instance-booted").unlink()
    node = rack.provision("n1", "rescue", "rescue", 90, rescue_password="a plain password")
    assert node["last_error"] is None
    stored = (machine.sysroot / "etc/ipa-rescue-config/ipa-rescue-password").read_text()
    assert stored.startswith("$") and "plain" not in stored
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    rack.provision("n1", "unrescue", "active", 90)
    wait_until(machine.instance_is_up, 10)


# ---- the real one, if there is one

@pytest.mark.skipif(not os.environ.get("INOX_IPA"), reason="INOX_IPA names no ironic-python-agent (doc/stock-partners.md)")
def test_the_real_agent_answers_as_recorded(folder, spawn):
    """Reads and refusals only: nothing is written, and no step runs."""
    port = free_port()
    (folder / "ipa.conf").write_text(f"[DEFAULT]\nagent_token = {TOKEN}\nlisten_host = 127.0.0.1\n"
                                     f"listen_port = {port}\n")
    agent = spawn([os.environ["INOX_IPA"], "--config-file", folder / "ipa.conf"], "ipa")

    def listens():
        assert agent.popen.poll() is None, agent.log()[-4000:]
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    wait_until(listens, 120, what="the agent listens")
    for name in ("001-root", "002-v1", "003-v1-no-slash", "004-status", "006-status-slash", "007-status-post",
                 "009-not-found", "010-commands-no-token", "011-commands-wrong-token", "012-commands-empty",
                 "014-command-unknown-id", "016-run-no-token", "023-run-malformed-json", "033-run-unknown-extension",
                 "034-run-unknown-command", "035-run-no-dot"):
        capture = Capture(REPOSITORY / f"tests/data/agent-captures/{name}.http")
        status, headers, body, closes = replay(port, capture, {})
        assert status == capture.status_line, name
        if capture.body.startswith("{"):
            assert shape(json.loads(body)) == shape(json.loads(capture.body)), name


# ---- active mode

@pytest.fixture
def active_rack(build, folder, inoxd):
    port = free_port()
    made = ProcessRack(build, folder, inoxd, (74, 2), {
        "agent": {"poll_only": False, "token_delivery": "lookup"}, "api": {"port": port},
        "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}})
    yield made
    made.stop()


def metric(rack, name):
    lines = rack.call("GET", "/metrics", want=200).text.splitlines()
    return next(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " "))


@pytest.mark.parametrize("delivery", ["lookup", "boot"])
def test_an_active_deployment(active_rack, delivery):
    """It looks itself up, makes a certificate, and shows it in its heartbeat; from then on that is what is dialled."""
    machine = enrol(active_rack, driver_info={"agent_transport": "pinned", "agent_delivery": delivery})
    node = active_rack.provision("n1", "active", "active", 90)
    check_deployed(active_rack, machine, node)
    assert metric(active_rack, 'inox_api_heartbeats_total{result="accepted"}') > 0
    assert metric(active_rack, 'inox_api_lookups_total{token="given"}') == (delivery == "lookup")
    assert (machine.sysroot / "run/ironic-python-agent/agent.crt").exists()
    assert (machine.sysroot / "etc/ironic-python-agent.d/inox.conf").exists() == (delivery == "boot")
