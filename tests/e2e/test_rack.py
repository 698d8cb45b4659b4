"""The demo's rack, with a virtual machine under real firmware, as it is shown to people: a deployment, a rescue and
a cleaning by each firmware, way to boot, and mode.

INOX_RACK=long runs all of them; without it, each firmware, way to boot and mode once.
"""

import itertools
import os
import pathlib
import re
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
LONG = os.environ.get("INOX_RACK") == "long"
PASSIVE_END = "new connections from nodes to the control plane: 0"
SHORT = [("bios", "network", "passive"), ("uefi", "media", "active")]
ALL = list(itertools.product(("bios", "uefi"), ("network", "media"), ("passive", "active")))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

SHOWN = {
    "deploy": ["power on", "agent is up", "identity checked", "node info", "write_image", "image written", "instance is up"],
    "rescue": ["rescue password", "login by SSH", "a wrong password is refused", "unrescued"],
    "clean": ["clean step erase_devices_metadata", "no partition table", "node is available"],
}
SHOWN_BY_BOOT = {"network": ["DHCP", "iPXE has loaded"], "media": ["the ISO of this boot"]}


class Run:
    def __init__(self, firmware, boot, mode):
        self.boot, self.mode = boot, mode
        options = [f"--{firmware}", "--rescue", "--clean"]
        options += ["--media"] * (boot == "media") + ["--active"] * (mode == "active")
        done = subprocess.run([REPOSITORY / "demo/run", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=1800, text=True, errors="replace")
        print(done.stdout)
        assert done.returncode == 0
        self.output = done.stdout
        self.lines = done.stdout.splitlines()

    def count(self, counter):
        found = re.search(rf"^\s+{counter}\s+(\d+)$", self.output, re.M)
        assert found, counter
        return int(found.group(1))


@pytest.fixture(scope="module", params=ALL if LONG else SHORT, ids="-".join)
def run(request):
    return Run(*request.param)


@pytest.mark.parametrize("operation", SHOWN)
def test_each_step_of_the_operation_is_shown_with_its_time(run, operation):
    for text in SHOWN[operation]:
        assert any(re.match(r"\s*\d+\.\d s  ", line) and text in line for line in run.lines), text


def test_each_step_of_the_boot_is_shown_once_per_operation(run):
    for text in SHOWN_BY_BOOT[run.boot] + ["agent is up", "boot host has no token any more"]:
        assert sum(text in line for line in run.lines) == len(SHOWN), text


def test_secrets_are_searched_for_after_each_operation_and_are_nowhere(run):
    found = [re.search(r"searched for secrets: (\d+) tokens and (\d+) passwords are in none of (\d+) files, (\d+) argument", line)
             for line in run.lines if "searched for secrets" in line]
    assert [int(f.group(1)) for f in found] == [1, 2, 3], "one token for each boot"
    assert [int(f.group(2)) for f in found] == [1, 2, 2], "the rescue's password is one more"
    assert all(int(f.group(3)) > 10 and int(f.group(4)) > 20 for f in found)


def test_no_node_reaches_the_control_plane_in_passive_mode(run):
    if run.mode == "active":
        assert run.count("ramdisk_to_control") > 0
        return
    assert run.lines[-1] == PASSIVE_END
    assert run.count("ramdisk_to_control") == 0
    assert run.count("node_to_control") > 0, "the instance has tried"
    assert run.count("node_to_control_opened") > 0, "with the rule opened on purpose it got through"


def test_nothing_is_left_behind(run):
    namespaces = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert not re.search(r"^inox-(control|router|boot|rack)\b", namespaces, re.M)
