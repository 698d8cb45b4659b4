"""The whole life of a node by the clients that people use: Debian's unmodified `baremetal`, and `inox`."""
import hashlib
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import wait_until  # noqa: E402
from rack.process_rack import MIB, ProcessRack, make_image  # noqa: E402

IMAGE = make_image()


@pytest.fixture
def rack(build, folder, inoxd):
    made = ProcessRack(build, folder, inoxd, (64, 1))
    yield made
    made.stop()


@pytest.fixture
def drive(folder):
    """A config drive's folder."""
    latest = folder / "drive/openstack/latest"
    latest.mkdir(parents=True)
    (latest / "meta_data.json").write_text('{"hostname": "from-the-drive"}')
    return folder / "drive"


def end_of_disk(machine):
    with open(machine.disk, "rb") as disk:
        disk.seek(-66 * MIB, 2)
        return disk.read()


def run(argv, ok=True, **env):
    done = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=180)
    assert (done.returncode == 0) == ok, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_baremetal(rack, drive):
    machine = rack.add_machine()
    rack.images.files["/image.raw"] = IMAGE

    def baremetal(*words):
        out = run(["/usr/bin/baremetal", "--os-auth-type", "none", "--os-endpoint", rack.inoxd.url, *words]).stdout
        return json.loads(out) if "json" in words else out

    made = baremetal("node", "create", "--driver", "redfish", "--name", "b1",
                     "--driver-info", f"redfish_address=http://127.0.0.1:{machine.port}",
                     "--driver-info", "redfish_username=admin", "--driver-info", "redfish_password=correct horse",
                     "--property", "cpu_arch=x86_64", "-f", "json")
    baremetal("port", "create", machine.mac, "--node", made["uuid"])
    baremetal("node", "manage", "b1", "--wait", "60")
    baremetal("node", "provide", "b1", "--wait", "60")
    digest = hashlib.sha256(IMAGE).hexdigest()
    baremetal("node", "set", "b1", "--instance-info", f"image_source={rack.images.url}/image.raw",
              "--instance-info", "image_os_hash_algo=sha256", "--instance-info", f"image_os_hash_value={digest}")
    baremetal("node", "deploy", "b1", "--config-drive", drive, "--wait", "120")
    shown = baremetal("node", "show", "b1", "-f", "json")
    assert shown["provision_state"] == "active" and shown["power_state"] == "power on"
    assert shown["driver_info"]["redfish_password"] == "******"
    assert machine.disk_head(len(IMAGE))[512:] == IMAGE[512:]
    assert b"from-the-drive" in end_of_disk(machine)
    baremetal("node", "undeploy", "b1", "--wait", "60")
    assert baremetal("node", "show", "b1", "-f", "json")["provision_state"] == "available"
    baremetal("node", "delete", "b1")
    assert baremetal("node", "list", "-f", "json") == []


def test_inox(rack, drive, folder):
    machine = rack.add_machine()
    rack.images.files["/image.raw"] = IMAGE
    password = folder / "password-of-the-bmc"
    password.write_text("correct horse\n")

    def inox(*words, ok=True):
        return run([rack.build / "src/cli/inox", *words], ok, INOX_URL=rack.inoxd.url)

    assert inox("node", "list").stdout.split() == ["uuid", "name", "power_state", "provision_state", "maintenance"]
    uuid = inox("node", "create", "--name", "x1", "-d", "redfish",
                "-i", f"redfish_address=http://127.0.0.1:{machine.port}", "-i", "redfish_username=admin",
                "-i", f"redfish_password=@{password}").stdout.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", uuid)
    inox("port", "create", "x1", machine.mac)
    assert json.loads(inox("-f", "json", "port", "list", "x1").stdout)[0]["address"] == machine.mac
    inox("manage", "x1", "--wait")
    inox("provide", "x1", "--wait")
    assert inox("power", "x1", "status").stdout.strip() == "power off"
    digest = hashlib.sha256(IMAGE).hexdigest()
    done = inox("deploy", "x1", "--image", f"{rack.images.url}/image.raw", "--checksum", f"sha256:{digest}",
                "--config-drive", drive, "--wait")
    assert "active" in done.stderr and "\r" not in done.stderr, "a plain mode for what is no terminal"
    assert b"from-the-drive" in end_of_disk(machine)
    shown = json.loads(inox("node", "show", "x1", "-f", "json").stdout)
    assert shown["uuid"] == uuid and shown["provision_state"] == "active"
    assert inox("node", "show", "x1", "--field", "provision_state").stdout.split() == ["provision_state", "active"]
    assert inox("why", "x1").stdout == "Nothing is under way.\n"
    inox("node", "set", "x1", "-e", "rack=7", "--description", "a test")
    assert json.loads(inox("node", "show", "x1", "-f", "json").stdout)["extra"] == {"rack": 7}
    inox("undeploy", "x1", "--wait")
    inox("node", "delete", "x1")
    assert json.loads(inox("node", "list", "-f", "json").stdout) == []


def test_inox_redraws_one_line_on_a_terminal(rack):
    machine = rack.add_machine()
    rack.enrol(machine, "t1")

    def slowly(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(IMAGE)))
        handler.end_headers()
        for at in range(0, len(IMAGE), MIB):
            handler.wfile.write(IMAGE[at : at + MIB])
            time.sleep(0.7)

    rack.images.behave["/image.raw"] = slowly
    digest = hashlib.sha256(IMAGE).hexdigest()
    ours, theirs = pty.openpty()
    shown = subprocess.Popen(
        [rack.build / "src/cli/inox", "deploy", "t1", "--image", f"{rack.images.url}/image.raw", "--checksum", digest,
         "--wait"], env={**os.environ, "INOX_URL": rack.inoxd.url}, stdin=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    assert shown.wait(60) == 0
    assert drawn.count(b"\r") > 5 and drawn.count(b"\n") == 1
    # phase, bytes, share, rate and what is left
    assert re.search(rb"step +[0-9.]+ MiB of 8.0 MiB \(\d+%\) +[0-9.]+ [KM]iB/s +\d+s left", drawn), drawn


def test_inox_shows_why_a_deployment_failed(rack):
    machine = rack.add_machine()
    rack.enrol(machine, "f1")
    rack.images.files["/image.raw"] = IMAGE
    done = run([rack.build / "src/cli/inox", "deploy", "f1", "--image", f"{rack.images.url}/image.raw",
                "--checksum", "0" * 64, "--wait"], False, INOX_URL=rack.inoxd.url)
    assert done.returncode == 1 and "checksum" in done.stderr.lower()


@pytest.mark.parametrize("words, status, sentence", [
    (("frobnicate",), 2, "no command"),
    (("node", "show"), 2, "Usage"),
    (("node", "show", "nobody"), 1, "could not be found"),
    (("node", "create", "-i", "novalue"), 2, "KEY=VALUE"),
    (("-f", "yaml", "node", "list"), 2, "json or table"),
    (("power", "x", "sideways"), 2, "on, off, reboot"),
    (("deploy", "x", "--checksum", "abc"), 1, "--checksum"),
])
def test_inox_says_what_was_wrong(inoxd, build, words, status, sentence):
    control = inoxd({"agent": {"poll_only": True}})
    done = run([build / "src/cli/inox", *words], False, INOX_URL=control.url)
    assert done.returncode == status and sentence in done.stderr
