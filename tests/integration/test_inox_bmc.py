"""inox-bmc: its Redfish service, machines that are commands, and a machine in QEMU."""
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

from conftest import is_running, wait_until, write_config
from redfish_peers import INSERT, EJECT, MEDIA, RESET, SESSIONS, SYSTEM, Bmc, Worker

MAC = "52:54:00:77:02:10"
SCRIPT = """#!/bin/sh
echo "$$ $INOX_MACHINE_NAME $INOX_MACHINE_MAC $INOX_BOOT_TARGET $INOX_BOOT_MODE $INOX_MACHINE_MEDIA" >>boots.txt
%s
exec sleep 1000
"""


class Machine:
    """A machine file of kind process whose boots are lines in a file."""

    def __init__(self, folder, name="p0", prologue="", **keys):
        self.folder = folder / name
        self.folder.mkdir()
        script = self.folder / "machine.sh"
        script.write_text(SCRIPT.replace("boots.txt", str(self.folder / "boots.txt")) % prologue)
        script.chmod(0o755)
        keys = {"kind": "process", "name": name, "mac": MAC, "command": script, **keys}
        self.path = write_config(self.folder / "machine.ini", {"machine": keys})

    def boots(self):
        path = self.folder / "boots.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def wait_boot(self, n):
        wait_until(lambda: len(self.boots()) >= n, what=f"boot {n}")
        return self.boots()[n - 1]


@pytest.fixture
def machine(folder):
    return Machine(folder)


@pytest.fixture
def bmc(spawn, build, machine):
    return Bmc(spawn, build, [machine.path])


@pytest.fixture
def password_file(folder):
    path = folder / "password"
    path.write_text("right\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(spawn, build, machine, password_file):
    """With an account."""
    return Bmc(spawn, build, [machine.path], ["--username", "admin", "--password-file", password_file])


@pytest.fixture
def worker(build, folder):
    started = Worker(build, write_config(folder / "worker.conf", {"redfish": {"allowed_networks": "127.0.0.0/8"}}))
    yield started
    started.close()


# ---- power and boot of a command

def test_power_of_a_command(bmc, machine):
    assert bmc.power() == "Off" and machine.boots() == []
    assert bmc.reset("On").status == 204
    assert bmc.power() == "On"
    pid, *rest = machine.wait_boot(1)
    assert rest == ["p0", MAC, "disk", "bios"]
    assert bmc.reset("On").status == 204  # is on: nothing happens
    assert bmc.reset("ForceRestart").status == 204
    second = machine.wait_boot(2)[0]
    assert not is_running(int(pid))
    assert bmc.reset("ForceOff").status == 204
    wait_until(lambda: bmc.power() == "Off")
    assert not is_running(int(second))
    assert len(machine.boots()) == 2


def test_a_command_that_ends_is_power_off(bmc, machine):
    bmc.reset("On")
    os.kill(int(machine.wait_boot(1)[0]), signal.SIGKILL)
    wait_until(lambda: bmc.power() == "Off")
    bmc.reset("On")
    machine.wait_boot(2)
    assert bmc.power() == "On"


def test_an_override_once_is_used_up_by_one_boot(bmc, machine):
    answer = bmc.override(Target="Pxe", Enabled="Once", Mode="UEFI")
    assert answer.status == 200 and answer.json["Boot"]["BootSourceOverrideTarget"] == "Pxe"
    bmc.reset("On")
    assert machine.wait_boot(1)[3:] == ["pxe", "uefi"]
    boot = bmc.system()["Boot"]
    assert (boot["BootSourceOverrideEnabled"], boot["BootSourceOverrideTarget"]) == ("Disabled", "None")
    bmc.reset("PowerCycle")
    assert machine.wait_boot(2)[3:] == ["disk", "uefi"]
    bmc.override(Target="Pxe", Enabled="Continuous")
    for n in (3, 4):
        bmc.reset("ForceRestart")
        assert machine.wait_boot(n)[3] == "pxe"


def test_a_power_on_while_the_power_goes_off_is_not_lost(spawn, build, folder):
    machine = Machine(folder, prologue="trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done")
    bmc = Bmc(spawn, build, [machine.path])
    bmc.reset("On")
    machine.wait_boot(1)
    bmc.reset("ForceOff")
    assert bmc.power() == "PoweringOff"
    assert bmc.reset("On").status == 204
    machine.wait_boot(2)
    assert bmc.power() == "On"


def test_a_command_that_ignores_the_signal_is_killed(spawn, build, folder):
    machine = Machine(folder, prologue="trap '' TERM; (trap '' TERM; exec sleep 999) & echo $! >%s/child; wait" % folder)
    bmc = Bmc(spawn, build, [machine.path])
    bmc.reset("On")
    pid = int(machine.wait_boot(1)[0])
    wait_until(lambda: (folder / "child").exists() and (folder / "child").read_text())
    bmc.reset("GracefulShutdown")
    assert bmc.power() == "On"
    bmc.reset("ForceOff")
    wait_until(lambda: bmc.power() == "Off")
    assert not is_running(pid)
    wait_until(lambda: not is_running(int((folder / "child").read_text())))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_machine_ends_with_its_bmc(bmc, machine, how):
    bmc.reset("On")
    pid = int(machine.wait_boot(1)[0])
    bmc.process.popen.send_signal(how)
    wait_until(lambda: not is_running(pid))
    assert bmc.process.popen.wait(10) == (0 if how == signal.SIGTERM else -9)


def test_a_command_that_cannot_run_is_an_error(spawn, build, folder):
    machine = Machine(folder, command="/no/such/program")
    bmc = Bmc(spawn, build, [machine.path])
    answer = bmc.reset("On")
    assert answer.status == 500
    assert "/no/such/program" in answer.json["error"]["message"]
    assert bmc.power() == "Off"
    assert bmc.reset("ForceRestart").status == 409


# ---- virtual media of a command

URL = "http://127.0.0.1:9/once/abc/boot.iso"


def test_a_command_is_told_its_medium(bmc, machine):
    assert bmc.override(Target="Cd", Enabled="Once").status == 409  # there is none
    assert bmc.system()["Boot"]["BootSourceOverrideTarget"] == "None"
    assert bmc.request("POST", INSERT, {"Image": URL}).status == 204
    shown = bmc.request("GET", MEDIA).json
    assert (shown["Inserted"], shown["Image"]) == (True, URL)
    assert bmc.request("POST", INSERT, {"Image": URL}).status == 409
    assert bmc.override(Target="Cd", Enabled="Once").status == 200
    bmc.reset("On")
    assert machine.wait_boot(1)[3:] == ["cdrom", "bios", URL]
    bmc.reset("ForceRestart")
    assert machine.wait_boot(2)[3:] == ["disk", "bios", URL]
    for _ in range(2):
        assert bmc.request("POST", EJECT, "").status == 204
    shown = bmc.request("GET", MEDIA).json
    assert (shown["Inserted"], shown["Image"]) == (False, None)
    bmc.reset("ForceRestart")
    assert machine.wait_boot(3)[3:] == ["disk", "bios"]
    assert URL not in bmc.process.log()


def test_a_drive_that_was_emptied_is_passed_over(bmc, machine):
    bmc.request("POST", INSERT, {"Image": URL, "Inserted": True, "WriteProtected": True})
    bmc.override(Target="Cd", Enabled="Continuous")
    bmc.request("POST", EJECT, {})
    bmc.reset("On")
    assert machine.wait_boot(1)[3:] == ["disk", "bios"]


@pytest.mark.parametrize("body, message", [
    ("", "PropertyMissing"), ({"Image": 1}, "PropertyValueTypeError"), ({"Image": "ftp://a/b"}, "PropertyValueNotInList"),
    ({"Image": "http://a/ b"}, "PropertyValueNotInList"), ({"Image": "http://a/" + "b" * 2000}, "PropertyValueNotInList"),
    ({"Image": URL, "Other": 1}, "PropertyUnknown"), ("nonsense", "MalformedJSON"),
])
def test_a_bad_medium_is_refused(bmc, body, message):
    answer = bmc.request("POST", INSERT, body)
    assert (answer.status, answer.json["error"]["code"]) == (400, "Base.1.8." + message)
    assert bmc.request("GET", MEDIA).json["Inserted"] is False
    assert bmc.request("POST", INSERT.replace("/Cd/", "/Floppy/"), {"Image": URL}).status == 404


def test_the_manager_has_the_media_of_an_only_machine(spawn, build, folder, bmc):
    link = bmc.request("GET", "/redfish/v1/Managers/1").json["VirtualMedia"]["@odata.id"]
    assert bmc.request("GET", link).json["Members"] == [{"@odata.id": MEDIA}]
    two = Bmc(spawn, build, [Machine(folder, name).path for name in ("a", "b")])
    assert "VirtualMedia" not in two.request("GET", "/redfish/v1/Managers/1").json


# ---- the service

def test_resources_are_linked(bmc):
    seen = set()

    def follow(value):
        if isinstance(value, dict):
            if isinstance(value.get("@odata.id"), str):
                get(value["@odata.id"])
            for item in value.values():
                follow(item)
        elif isinstance(value, list):
            for item in value:
                follow(item)

    def get(path):
        path = path.rstrip("/")
        if path in seen:
            return
        seen.add(path)
        answer = bmc.request("GET", path)
        assert answer.status == 200, path
        assert answer.headers["OData-Version"] == "4.0"
        follow(answer.json)

    assert bmc.request("GET", "/redfish").json == {"v1": "/redfish/v1/"}
    get("/redfish/v1/")
    assert {SYSTEM, SESSIONS, SYSTEM + "/EthernetInterfaces/1", "/redfish/v1/Managers/1",
            "/redfish/v1/Chassis/1"} <= seen
    assert bmc.request("GET", SYSTEM + "/EthernetInterfaces/1").json["MACAddress"] == MAC
    assert bmc.request("HEAD", SYSTEM).status == 200


def test_what_is_not_there(bmc):
    for path in ("/", "/redfish/v2", "/redfish/v1/Systems/2", "/redfish/v1/Systems/0", "/redfish/v1/Systems/x",
                 SYSTEM + "/EthernetInterfaces/2", SESSIONS + "/9", "/redfish/v1" + "/a" * 200):
        answer = bmc.request("GET", path)
        assert answer.status == 404, path
        assert answer.json["error"]["@Message.ExtendedInfo"][0]["MessageId"].startswith("Base.1.8.Resource")
    answer = bmc.request("DELETE", SYSTEM)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, PATCH")


@pytest.mark.parametrize("body, message", [
    ("", "PropertyMissing"), ("nonsense", "MalformedJSON"), ("[]", "MalformedJSON"), ("[" * 60000, "MalformedJSON"),
    ('{"Boot": {}, "Boot": {}}', "MalformedJSON"), ({"Boot": 7}, "PropertyValueTypeError"),
    ({"Name": "x"}, "PropertyUnknown"), ({"Boot": {"Other": 1}}, "PropertyUnknown"),
    ({"Boot": {"BootSourceOverrideTarget": "Floppy"}}, "PropertyValueNotInList"),
    ({"Boot": {"BootSourceOverrideTarget": 1}}, "PropertyValueTypeError"),
    ({"Boot": {"BootSourceOverrideEnabled": "Twice"}}, "PropertyValueNotInList"),
    ({"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "Coreboot"}}, "PropertyValueNotInList"),
])
def test_a_bad_change_changes_nothing(bmc, body, message):
    before = bmc.system()
    answer = bmc.request("PATCH", SYSTEM, body)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "Base.1.8." + message
    assert bmc.system() == before


@pytest.mark.parametrize("body", ["", "{}", '{"ResetType": "Nmi"}', '{"ResetType": null}', '{"ResetType": "On", "a": 1}'])
def test_a_bad_reset_does_nothing(bmc, body):
    assert bmc.request("POST", RESET, body).status == 400
    assert bmc.power() == "Off"


def test_a_body_that_is_too_large(bmc):
    assert bmc.request("PATCH", SYSTEM, '{"Boot": "' + "x" * 100000 + '"}').status == 413
    assert bmc.power() == "Off"


def test_a_change_of_what_has_changed_is_refused(bmc):
    etag = bmc.request("GET", SYSTEM).headers["ETag"]
    change = {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
    assert bmc.request("PATCH", SYSTEM, change, headers={"If-Match": etag}).status == 200
    assert bmc.request("PATCH", SYSTEM, change, headers={"If-Match": etag}).status == 412
    assert bmc.request("PATCH", SYSTEM, change, headers={"If-Match": "*"}).status == 200


def test_basic_authentication(guarded):
    assert guarded.request("GET", "/redfish/v1/").status == 200
    for user in (None, "admin:wrong", "admin:", "admin", "other:right", ":", "admin:right2"):
        answer = guarded.request("GET", SYSTEM, user=user)
        assert answer.status == 401, user
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert guarded.request("GET", "/redfish/v1/no-such", user=user).status == 401
        assert guarded.reset("On", user=user).status == 401
    for header in ("Basic", "Basic !!!!", "Bearer YWRtaW46cmlnaHQ=", "Basic " + "A" * 5000):
        assert guarded.request("GET", SYSTEM, headers={"Authorization": header}).status == 401
    assert guarded.power(user="admin:right") == "Off"
    assert "right" not in guarded.process.log()


def test_sessions(guarded):
    credentials = {"UserName": "admin", "Password": "right"}
    for body in ({}, {"UserName": "admin"}, {"UserName": "admin", "Password": 1}, {**credentials, "More": 1}):
        assert guarded.request("POST", SESSIONS, body).status == 400
    assert guarded.request("POST", SESSIONS, {**credentials, "Password": "wrong"}).status == 401
    opened = guarded.request("POST", SESSIONS, credentials)
    assert opened.status == 201 and "right" not in opened.text
    token = {"X-Auth-Token": opened.headers["X-Auth-Token"]}
    assert guarded.request("GET", SYSTEM, headers=token).status == 200
    assert guarded.request("GET", SYSTEM, headers={"X-Auth-Token": "x"}).status == 401
    for _ in range(15):
        assert guarded.request("POST", SESSIONS, credentials).status == 201
    assert guarded.request("POST", SESSIONS, credentials).status == 503
    assert guarded.request("GET", SESSIONS, headers=token).json["Members@odata.count"] == 16
    assert guarded.request("DELETE", opened.headers["Location"]).status == 401
    assert guarded.request("DELETE", opened.headers["Location"], headers=token).status == 204
    assert guarded.request("GET", SYSTEM, headers=token).status == 401
    assert guarded.request("POST", SESSIONS, credentials).status == 201
    assert opened.headers["X-Auth-Token"] not in guarded.process.log()


def test_an_idle_session_ends(spawn, build, machine, password_file):
    bmc = Bmc(spawn, build, [machine.path], ["--username", "admin", "--password-file", password_file,
                                             "--session-timeout", "1"])
    opened = bmc.request("POST", SESSIONS, {"UserName": "admin", "Password": "right"})
    assert opened.status == 201
    wait_until(lambda: bmc.request("GET", SESSIONS, user="admin:right").json["Members@odata.count"] == 0, 5)
    assert bmc.request("GET", SYSTEM, headers={"X-Auth-Token": opened.headers["X-Auth-Token"]}).status == 401


def test_the_driver_and_the_bmc_understand_each_other(guarded, machine, worker):
    login = {"address": guarded.address, "username": "admin", "password": "right"}
    assert worker.ask("get power", **login)["power"] == "power off"
    assert worker.ask("set boot device", device="pxe", boot_mode="uefi", **login)["error"] is None
    reply = worker.ask("set power", power="power on", **login)
    assert (reply["error"], reply["power"], reply["boot_mode"]) == (None, "power on", "uefi")
    assert machine.wait_boot(1)[3:] == ["pxe", "uefi"]
    assert worker.ask("set boot device", device="disk", persistent=True, **login)["error"] is None
    assert worker.ask("set power", power="rebooting", **login)["error"] is None
    assert machine.wait_boot(2)[3:] == ["disk", "uefi"]
    assert worker.ask("set power", power="soft power off", **login)["error"] is None
    wait_until(lambda: worker.ask("get power", **login)["power"] == "power off")
    reply = worker.ask("set boot device", device="cdrom", **login)
    assert reply["error"] == "BUSY" and "no medium is inserted" in reply["reason"]
    sessions = guarded.request("GET", SESSIONS, user="admin:right").json
    assert sessions["Members@odata.count"] == 1
    reply = worker.ask("get power", **{**login, "password": "wrong"})
    assert (reply["error"], reply["retry"]) == ("DENIED", False)


def test_several_machines_and_https(spawn, build, folder, password_file, worker):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=bmc", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    machines = [Machine(folder, name) for name in ("a", "b")]
    bmc = Bmc(spawn, build, [m.path for m in machines], ["--username", "admin", "--password-file", password_file,
              "--certificate", folder / "cert.pem", "--key", folder / "key.pem"], tls=True)
    login = {"address": bmc.address, "username": "admin", "password": "right"}
    reply = worker.ask("get power", **login)
    assert (reply["error"], reply["retry"]) == ("DENIED", False)
    assert "certificate" in reply["reason"]
    reply = worker.ask("get power", verify=False, **login)
    assert reply["error"] == "INVALID" and "2 systems" in reply["reason"]
    reply = worker.ask("set power", verify=False, power="power on", system="/redfish/v1/Systems/2", **login)
    assert reply["power"] == "power on"
    machines[1].wait_boot(1)
    assert machines[0].boots() == []


@pytest.mark.parametrize("text, part", [
    ("", "empty"), ("[other]\nname = a\n", "no group [other]"), ("[machine]\nname = a\n", "mac is missing"),
    ("[machine]\nkind = process\nname = a\nmac = 52:54:00:00:00:01\n", "command is missing"),
    ("[machine]\nname = a,b\nmac = 52:54:00:00:00:01\n", "name: "), ("[machine]\nnames = a\n", "no key names"),
    ("[machine]\nname = a\nmac = 52:54\n", "mac: "), ("[machine]\nmemory = 1e9\n", "memory: "),
    ("[machine]\ndisk_bus = floppy\n", "virtio, nvme, ahci, scsi"), ("\0\1", "machine file"),
])
def test_a_bad_machine_file_is_named(build, folder, text, part):
    (folder / "m.ini").write_text(text)
    done = subprocess.run([build / "tools/bmc/inox-bmc", "-l", "127.0.0.1:1", "-m", folder / "m.ini"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert part in done.stderr and "m.ini" in done.stderr


def test_bad_options(build, folder):
    machine = Machine(folder)
    for args in ([], ["-l", "127.0.0.1:1"], ["-l", "localhost:1", "-m", machine.path],
                 ["-l", "127.0.0.1:1", "-m", machine.path, "-u", "a"], ["-l", "127.0.0.1:1", "-m", machine.path, "x"]):
        done = subprocess.run([build / "tools/bmc/inox-bmc", *args], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2 and done.stderr.startswith("inox-bmc: "), args


# ---- QEMU

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="QEMU is not installed")


class QemuMachine:
    def __init__(self, folder, **keys):
        self.folder = folder
        with open(folder / "disk.raw", "wb") as disk:
            disk.truncate(1 << 20)
        keys = {"name": "q0", "mac": MAC, "memory": 64, "disk": "disk.raw", "serial_log": "serial.log",
                "serial_socket": "serial.sock", **keys}
        self.path = write_config(folder / "q.ini", {"machine": keys})

    def boots(self):
        """What SeaBIOS tried, in order."""
        path = self.folder / "serial.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return [line.split()[2].strip(".") for line in text.splitlines() if line.startswith("Booting from ")]

    def qemu(self):
        """Process ids."""
        found = subprocess.run(["pgrep", "-f", f"qemu-system-x86_64.*{self.folder}"], capture_output=True, text=True)
        return [int(p) for p in found.stdout.split()]


@needs_qemu
def test_a_qemu_machine(spawn, build, folder, worker):
    machine = QemuMachine(folder)
    bmc = Bmc(spawn, build, [machine.path])
    bmc.override(Target="Pxe", Enabled="Once")
    reply = worker.ask("set power", address=bmc.address, power="power on")
    assert (reply["error"], reply["power"]) == (None, "power on")
    wait_until(lambda: machine.boots()[:1] == ["ROM"], 60, "network first")
    wait_until(lambda: bmc.system()["Boot"]["BootSourceOverrideEnabled"] == "Disabled", 20)
    boots = len(machine.boots())
    assert worker.ask("set power", address=bmc.address, power="rebooting")["error"] is None
    wait_until(lambda: machine.boots()[boots:boots + 1] == ["Hard"], 60, "disk first after one boot")
    assert len(machine.qemu()) == 1
    # Used up by the boot that it is for, though SeaBIOS resets the machine a second time.
    bmc.override(Target="Pxe", Enabled="Once")
    boots = len(machine.boots())
    bmc.reset("ForceRestart")
    wait_until(lambda: len(machine.boots()) > boots, 60)
    assert machine.boots()[boots] == "ROM"
    assert "refused" not in bmc.process.log()
    os.kill(machine.qemu()[0], signal.SIGKILL)
    wait_until(lambda: bmc.power() == "Off")
    bmc.reset("On")
    assert bmc.power() == "On"
    assert worker.ask("set power", address=bmc.address, power="power off")["error"] is None
    wait_until(lambda: bmc.power() == "Off" and not machine.qemu())


@needs_qemu
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_qemu_ends_with_its_bmc(spawn, build, folder, how):
    machine = QemuMachine(folder)
    bmc = Bmc(spawn, build, [machine.path])
    bmc.reset("On")
    assert len(machine.qemu()) == 1
    bmc.process.popen.send_signal(how)
    assert bmc.process.popen.wait(10) == (0 if how == signal.SIGTERM else -9)
    wait_until(lambda: not machine.qemu())


@needs_qemu
@pytest.mark.skipif(not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"), reason="OVMF is not installed")
def test_the_firmware_changes_at_the_next_start(spawn, build, folder):
    machine = QemuMachine(folder, memory=256)
    bmc = Bmc(spawn, build, [machine.path])
    bmc.reset("On")
    pid = machine.qemu()[0]
    assert not (folder / "q0.vars.fd").exists()
    assert bmc.override(Target="Pxe", Enabled="Continuous", Mode="UEFI").status == 200
    bmc.reset("ForceRestart")
    # Asked once in each turn: between two questions it may have ended.
    wait_until(lambda: machine.qemu() not in ([], [pid]))
    assert (folder / "q0.vars.fd").stat().st_mode & 0o777 == 0o600
    wait_until(lambda: "UEFI PXEv4" in (folder / "serial.log").read_text(errors="replace"), 90, "OVMF tries the network")


@needs_qemu
@pytest.mark.parametrize("bus", ["virtio", "nvme", "ahci", "scsi"])
def test_every_disk_bus_starts_and_takes_a_new_order(spawn, build, folder, bus):
    machine = QemuMachine(folder, disk_bus=bus)
    bmc = Bmc(spawn, build, [machine.path])
    bmc.reset("On")
    bmc.override(Target="Pxe", Enabled="Continuous")
    bmc.override(Target="Hdd", Enabled="Continuous")
    wait_until(lambda: machine.boots(), 60, "a boot")
    assert bmc.power() == "On"
    assert "refused" not in bmc.process.log() and "QMP" not in bmc.process.log()
    bmc.reset("ForceOff")
    wait_until(lambda: bmc.power() == "Off")


class MediaServer:
    """Serves one path; `requests` counts."""

    def __init__(self, content):
        outer = self
        self.content, self.requests = content, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                self.send_response(200 if self.path == "/boot.iso" else 404)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def media_server():
    started = MediaServer(bytes(1 << 20))
    yield started
    started.close()


@needs_qemu
def test_a_qemu_machine_gets_a_copy_of_its_medium(spawn, build, folder, media_server):
    machine = QemuMachine(folder)
    bmc = Bmc(spawn, build, [machine.path])
    copy = folder / "q0.media.iso"
    answer = bmc.request("POST", INSERT, {"Image": media_server.url + "/nowhere"})
    assert answer.status == 500 and "404" in answer.json["error"]["message"]
    assert bmc.request("GET", MEDIA).json["Inserted"] is False and not copy.exists()
    assert bmc.request("POST", INSERT, {"Image": media_server.url + "/boot.iso"}).status == 204
    assert copy.stat().st_size == 1 << 20 and copy.stat().st_mode & 0o777 == 0o600
    assert bmc.override(Target="Cd", Enabled="Once").status == 200
    bmc.reset("On")
    wait_until(lambda: machine.boots()[:1] == ["DVD/CD"], 60, "the drive first")
    wait_until(lambda: bmc.system()["Boot"]["BootSourceOverrideEnabled"] == "Disabled", 20)
    boots = len(machine.boots())
    bmc.reset("ForceRestart")
    wait_until(lambda: machine.boots()[boots:boots + 1] == ["Hard"], 60, "the disk first after one boot")
    # and while it runs
    assert bmc.request("POST", EJECT).status == 204 and not copy.exists()
    assert bmc.request("POST", INSERT, {"Image": media_server.url + "/boot.iso"}).status == 204
    bmc.override(Target="Cd", Enabled="Once")
    boots = len(machine.boots())
    bmc.reset("ForceRestart")
    wait_until(lambda: machine.boots()[boots:boots + 1] == ["DVD/CD"], 60, "the drive first, inserted at run time")
    assert "refused" not in bmc.process.log()
