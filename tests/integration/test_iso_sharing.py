"""The ISOs of many boots on a file system whose files can share blocks: the large part is there once."""
import base64
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import write_config  # noqa: E402
from rack.process_rack import MIB, make_base_iso  # noqa: E402

BOOTS = 20
ROOM = 120 * MIB  # the smallest that btrfs takes: not for five copies
TOKEN = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.btrfs"),
                                reason="mounting needs root, and btrfs-progs")


@pytest.fixture
def root(folder):
    image, mounted = folder / "btrfs.img", folder / "btrfs"
    mounted.mkdir()
    with open(image, "wb") as file:
        file.truncate(ROOM)
    subprocess.run(["mkfs.btrfs", "-q", "-M", image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    for name in ("http/boot", "http/once", "http/ramdisk", "dhcp-hosts"):
        (mounted / name).mkdir(parents=True)
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def publish(driver, number, path):
    driver.stdin.write(json.dumps({"publish": {
        "macs": f"52:54:00:91:00:{number:02x}", "address": f"127.91.0.{number + 1}", "token": TOKEN, "path": path,
        "media": True, "epoch": 1, "arguments": json.dumps({"quiet": ""})}}) + "\n")
    driver.stdin.flush()
    answer = json.loads(driver.stdout.readline())
    assert answer["result"] == 0, answer["reason"]


def test_many_isos_take_the_room_of_one(build, folder, root):
    base = make_base_iso() + random.Random(7).randbytes(24 * MIB)
    (root / "http/ramdisk/boot.iso").write_bytes(base)
    config = write_config(folder / "inox.conf", {"boot": {"root": root, "http_url": "http://127.0.0.1:1"}})
    driver = subprocess.Popen([build / "tests/integration/drive_boot", config], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for i in range(BOOTS):
            publish(driver, i, base64.urlsafe_b64encode(os.urandom(24)).decode())
    finally:
        driver.stdin.close()
        driver.wait(30)
    made = list((root / "http/once").glob("*/boot.iso"))
    assert len(made) == BOOTS
    for iso in made:
        found = iso.read_bytes()
        assert len(found) == len(base) and TOKEN.encode() in found
        assert found[-24 * MIB:] == base[-24 * MIB:]
