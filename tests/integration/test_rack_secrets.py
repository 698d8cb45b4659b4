"""The search for secrets beside the demo's rack (demo/secrets) is made to find something, on each of its ways."""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from conftest import REPOSITORY, wait_until  # noqa: E402

TOKEN, OTHER = "rt0Zq3Yv9sWk1LxPd8eUhB7nCmJf2AgT5iSoVbXyKQw", "hE4rWm2ZkYb8Tn0Qx5Ls9Vd1Jc7UgPo3IaFf6SvNyRt"
LARGE = 200 * 1024 * 1024


def cpio(name, content):
    """A newc archive of one file."""
    def member(name, content):
        fields = [1, 0o100600, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
        return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
    return member(name, content) + member("TRAILER!!!", b"")


class Search:
    """The program beside the tree of a boot host, in a network namespace of its own."""

    def __init__(self, folder):
        self.boot_host, self.state = folder / "boot-host", folder / "state"
        self.once = self.boot_host / "root/http/once/aaaa"
        for path in (self.once, self.boot_host / "state", self.state):
            path.mkdir(parents=True)
        self.program = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", REPOSITORY / "demo/secrets",
             "inox-none", self.boot_host, self.state, "lo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.program.stdout.readline() == "ok\n"

    def ask(self, line):
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()
        return self.program.stdout.readline().strip()

    def boot(self, token, name="token.img"):
        """Boot data come, and go once they were seen."""
        archive = cpio("etc/inox/agent-token", token.encode() + b"\n")
        (self.once / name).write_bytes(b"record\n\n" * name.endswith(".media") + archive)
        wait_until(lambda: "only 0" not in self.ask("check 1"), 10, "the token is known")
        (self.once / name).unlink()

    def end(self):
        self.program.stdin.close()
        assert self.program.wait(10) == 0


@pytest.fixture
def search(folder):
    # The search listens on a network of its own; `make check` is run by root.
    if os.geteuid() != 0:
        pytest.skip("packets are for root")
    made = Search(pathlib.Path(folder))
    yield made
    made.end()


def test_a_rack_without_a_leak_is_passed(search):
    (search.boot_host / "state/nginx-access.log").write_text("GET /once/aaaa/token.img\n")
    search.boot(TOKEN)
    assert search.ask("check 1").startswith("ok 1 tokens and 0 passwords are in none of 1 files, ")


def test_a_search_that_knows_no_token_proves_nothing(search):
    assert search.ask("check 1") == "FOUND only 0 tokens are known of 1 boots"


@pytest.mark.parametrize("name", ["token.img", "boot.media"])
def test_a_token_that_stays_on_the_boot_host_after_its_boot_is_found(search, name):
    search.boot(TOKEN, name)
    (search.once / name).write_bytes(cpio("etc/inox/agent-token", TOKEN.encode()))
    assert f"agent token in {str(search.once)[1:]}/{name}" in search.ask("check 1")


@pytest.mark.parametrize("place", ["boot-host/state/nginx-access.log", "boot-host/state/nginx-error.log",
                                   "boot-host/state/dnsmasq.log", "state/inoxd.log", "state/bmc.log", "state/console.log",
                                   "state/inoxd/inox.sqlite-wal"])
def test_a_token_in_a_log_is_found(search, place):
    search.boot(OTHER)
    path = search.state.parent / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"GET /v1/heartbeat?token={OTHER}\n")
    assert search.ask("check 1") == f"FOUND agent token in {str(path)[1:]}"


def test_a_token_in_a_disk_of_holes_is_found(search):
    search.boot(TOKEN)
    disk = search.state / "disk.raw"
    with open(disk, "wb") as f:
        f.seek(LARGE)
        f.write(b"x" * 4096 * 1023 + b"x" * 4080 + TOKEN.encode() + b"x" * 4096)
    assert search.ask("check 1") == f"FOUND agent token in {str(disk)[1:]}"


def test_a_password_outside_its_file_is_found(search):
    search.boot(TOKEN)
    (search.state / "bmc-password").write_text("demo-password\n")
    assert search.ask(f"keep {search.state}/bmc-password BMC password") == "ok"
    assert search.ask("check 1").startswith("ok 1 tokens and 1 passwords")
    (search.state / "bmc.log").write_text("login admin:demo-password\n")
    assert search.ask("check 1") == f"FOUND BMC password in {str(search.state)[1:]}/bmc.log"


def test_a_token_in_the_arguments_of_a_process_is_found(search):
    search.boot(TOKEN)
    shown = subprocess.Popen(["sh", "-c", "read line", TOKEN],
                             stdin=subprocess.PIPE)
    wait_until(lambda: f"agent token in cmdline of process {shown.pid}" in search.ask("check 1"), 10, "the token is found")
    shown.communicate()


SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for part in sys.stdin.read().split():
    s.sendto(part.encode(), ("127.0.0.1", 9))
"""


def test_a_token_that_the_control_host_sends_is_found_even_in_two_packets(search):
    search.boot(TOKEN)
    subprocess.run(["nsenter", f"--net=/proc/{search.program.pid}/ns/net", sys.executable, "-c", SEND],
                   input=f"{TOKEN[:20]} {TOKEN[20:]}", text=True, check=True)
    wait_until(lambda: "FOUND" in search.ask("check 1"), 10, "the packets are seen")
    assert "agent token in packets from 127.0.0.1:" in search.ask("check 1")
    assert search.ask("check 1 active").startswith("ok "), "to an API in active mode agents show it"
