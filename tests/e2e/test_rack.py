"""The demo's rack, with a virtual machine under real firmware, as it is shown to people.

INOX_RACK=long runs every combination that demo/run knows; without it, one deployment each by BIOS and UEFI.
"""

import os
import pathlib
import re
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
LAST_LINE = "new connections from nodes to the control plane: 0"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture(scope="module", params=["--bios", "--uefi"])
def output(request):
    done = subprocess.run([REPOSITORY / "demo/run", request.param], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600, text=True, errors="replace")
    print(done.stdout)
    assert done.returncode == 0
    return done.stdout


def test_the_output_ends_with_the_proof(output):
    assert output.rstrip().splitlines()[-1] == LAST_LINE


@pytest.mark.parametrize("step", [
    "ipa-api-url", "power on", "DHCP", "iPXE", "agent", "identity", "node info", "write_image", "image written",
    "instance", "boot data",
])
def test_each_step_of_the_flow_is_shown_with_its_time(output, step):
    lines = [line for line in output.splitlines() if step.lower() in line.lower()]
    assert any(re.search(r"\d+\.\d\s*s|^\s*\d+\.\d", line) for line in lines), lines


def test_the_machine_tried_and_the_proof_can_fail(output):
    dropped = re.search(r"node_to_control\D+(\d+)", output)
    assert dropped and int(dropped.group(1)) > 0
    assert re.search(r"rule (taken away|removed|open)", output, re.I)


def test_nothing_is_left_behind(output):
    namespaces = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "inox-" not in namespaces
