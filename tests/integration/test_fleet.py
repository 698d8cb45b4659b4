"""A hostile fleet: real, sandboxed dialers watch agents that misbehave in every way inox-fleet knows.

The dialer must live, keep its healthy agents fresh, count no liar as alive, say of each why, and dial nothing
but the addresses it was given.  inox-fleet plays the agents and the conductor.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import PortRange, wait_until

# Nothing connects for these: only the dialer can tell.
UNSEEN = {"refused", "black-hole"}
INTERVAL = 2


def free_ports():
    """A port that is free with the ones behind it that a fleet uses: of 32 the first few, and the one 200 behind it."""
    if not free_ports.range:
        free_ports.range = PortRange()
    return free_ports.range.take(32, behind=200)


free_ports.range = None


@pytest.fixture(scope="module")
def fleet_program(build):
    return build / "tools/fleet/inox-fleet"


class Fleet:
    """inox-fleet while it runs; result() waits and gives its figures."""

    def __init__(self, program, folder, arguments, wrapper=()):
        self.port = free_ports()
        self.json = folder / f"fleet-{self.port}.json"
        self.popen = subprocess.Popen(
            [*map(str, wrapper), str(program), "--port", str(self.port), "--json", str(self.json),
             *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0" if wrapper else
                            os.environ.get("ASAN_OPTIONS", "")})

    def result(self, seconds=120):
        try:
            self.output, _ = self.popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.output, _ = self.popen.communicate()
            pytest.fail(f"inox-fleet did not end:\n{self.output}")
        assert self.popen.returncode == 0, self.output
        assert "AddressSanitizer" not in self.output and "runtime error" not in self.output, self.output
        return json.loads(self.json.read_text())


def is_sanitized(program):
    return b"__asan_init" in pathlib.Path(program).read_bytes()


@pytest.fixture(scope="module")
def hostile(fleet_program, module_folder):
    """Figures of three fleets that run at the same time: liars from the start, as many healthy agents without liars, and
    agents that turn bad.  40 s, and 4 s for an answer: each liar is met more than once, and says enough to be known, on a busy
    machine, too."""
    common = ["--interval", INTERVAL, "--for", 40, "--phase", "first", "--command-timeout", 4,
              "--transport", "psk=50%,http=30%,pinned=20%"]
    liars = Fleet(fleet_program, module_folder, [*common, "--agents", 400, "--fault", "all=1%"])
    honest = Fleet(fleet_program, module_folder, [*common, "--agents", 272])
    turned = Fleet(fleet_program, module_folder,
                   ["--agents", 60, "--interval", 1, "--for", 34, "--phase", "first", "--command-timeout", 1,
                    "--faults-after", 4, "--transport", "http", "--fault", "other-node=10%,reset=10%",
                    "--fault", "wrong-psk=10%"])
    return {"liars": liars.result(), "honest": honest.result(), "turned": turned.result(), "output": liars.output}


def names(fleet_program):
    text = subprocess.run([fleet_program, "--list-faults"], check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: line.split()[2] for line in text.splitlines()}


def test_every_kind_of_liar_is_met_and_refused_with_its_reason(hostile, fleet_program):
    faults = hostile["liars"]["faults"]
    kinds = names(fleet_program)
    assert set(faults) == set(kinds) and len(kinds) >= 30
    for name, f in faults.items():
        assert name in UNSEEN or f["contacts"] >= f["agents"], f"{name} was not met: {f}"
        if kinds[name] == "tolerated":
            assert f["alive"] == f["agents"] and not f["reasons"], f"{name}: {f}"
        else:
            assert f["alive"] == 0, f"{name} is counted as alive: {f}"
            assert f["named"] == f["agents"], f"{name} is not named: {f}"


def test_healthy_agents_stay_fresh_beside_liars(hostile):
    figures = hostile["liars"]
    stale = figures["staleness"]
    assert stale["never"] == 0 and figures["healthy_alive"] == stale["healthy"] > 200
    assert not figures["healthy_reasons"], "a healthy agent was found wanting"
    # An idle machine keeps the interval to a few milliseconds.  How much a busy one stretches it, those without liars show.
    busy = max(1, hostile["honest"]["staleness"]["p99_ms"] / (1000 * INTERVAL))
    assert stale["p99_ms"] <= 2000 * INTERVAL * busy and stale["max_ms"] <= 4000 * INTERVAL * busy, (busy, stale)


def test_nobody_follows_a_redirect_or_shows_a_token_elsewhere(hostile):
    for fleet in ("liars", "turned"):
        figures = hostile[fleet]
        assert figures["trapped"] == 0, "a redirect was followed"
        assert figures["strangers"] == 0, "an address of no agent was dialled"
        assert figures["refused_tokens"] == 0, "an agent was shown another agent's token"


def test_the_memory_of_the_dialer_stays_bounded(hostile, fleet_program):
    most = 900e6 if is_sanitized(fleet_program) else 48e6
    assert hostile["liars"]["dialer_bytes"] < most


def test_agents_that_turn_bad_are_told_as_gone(hostile):
    figures = hostile["turned"]
    faults = figures["faults"]
    for name, f in faults.items():
        assert f["alive"] == f["agents"], f"{name} was honest at first: {f}"
        assert f["named"] == f["agents"], f"{name}: {f}"
    assert figures["events"]["agent_gone"] == sum(f["agents"] for f in faults.values())
    assert all("security event" in reason for reason in faults["other-node"]["reasons"])
    assert figures["staleness"]["never"] == 0 and not figures["healthy_reasons"]


def test_commands_are_followed_to_their_end(fleet_program, folder):
    script = folder / "script"
    script.write_text("agents 50%   # at work\n  boot 1\n  run 0.2..0.5 fail 50%\n  idle 0.1\n  repeat\n"
                      "agents 50%\n  idle\n")
    figures = Fleet(fleet_program, folder, ["--agents", 100, "--for", 8, "--script", script, "--servers", 2,
                                            "--interval", 1, "--ipv6"]).result()
    commands = figures["commands"]
    assert commands["refused"] == 0
    assert commands["succeeded"] > 20 and commands["failed"] > 20, commands
    assert commands["end_to_event_p50_us"] < 200000, commands
    assert figures["healthy_alive"] == 100 and figures["staleness"]["never"] == 0


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_dialer_connects_to_its_agents_only(fleet_program, folder):
    trace = folder / "trace"
    fleet = Fleet(fleet_program, folder,
                  ["--agents", 80, "--for", 4, "--interval", 1, "--phase", "first", "--command-timeout", 2,
                   "--transport", "psk=50%,http=50%", "--fault",
                   ",".join(f"redirect-{status}=5%" for status in (301, 302, 307, 308))],
                  wrapper=["strace", "-f", "-o", trace, "-e", "trace=connect,sendto,sendmsg"])
    fleet.result()
    dialled = re.findall(r'connect\(\d+, \{sa_family=AF_INET, sin_port=htons\((\d+)\), '
                         r'sin_addr=inet_addr\("([0-9.]+)"\)', trace.read_text())
    others = [line for line in trace.read_text().splitlines()
              if "connect(" in line and "sa_family=AF_INET," not in line and "resumed" not in line]
    assert len(dialled) > 100
    assert {port for port, _ in dialled} == {str(fleet.port)}
    agents = {f"127.16.0.{i}" for i in range(80)}
    assert {address for _, address in dialled} == agents
    assert not others, others


def test_nothing_outside_this_machine_reaches_the_fleet(fleet_program, folder, spawn):
    port, listing = free_ports(), folder / "agents"
    fleet = spawn([fleet_program, "--serve", "--enrolment", listing, "--agents", 5, "--port", port,
                   "--transport", "http"], "fleet")
    fleet.wait_log("the agents are there")
    sockets = subprocess.run(["ss", "-Hltn"], check=True, capture_output=True, text=True).stdout
    ours = [line.split()[3] for line in sockets.splitlines() if re.search(rf":{port}\b", line)]
    assert ours and set(ours) == {f"0.0.0.0%lo:{port}"}


def test_a_served_fleet_answers_to_its_tokens_and_ends_cleanly(fleet_program, folder, spawn):
    port, listing = free_ports(), folder / "agents"
    fleet = spawn([fleet_program, "--serve", "--enrolment", listing, "--agents", 5, "--port", port,
                   "--transport", "http", "--servers", 2], "fleet")
    fleet.wait_log("the agents are there")
    assert listing.stat().st_mode & 0o777 == 0o600
    head, *rows = [line.split() for line in listing.read_text().splitlines()]
    agents = [dict(zip(head, row)) for row in rows]
    assert len({a["node"] for a in agents}) == len({a["address"] for a in agents}) == 5

    def ask(agent, resource, token=None):
        query = f"?agent_token={token}" if token else ""
        url = f"http://{agent['address']}:{agent['port']}/v1/{resource}{query}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    for agent in agents:
        assert ask(agent, "status")[1]["agent"] == "inox-agent"
        assert ask(agent, "commands/", agent["token"]) == (200, {"commands": []})
        assert ask(agent, "commands/")[0] == 401
    assert ask(agents[0], "commands/", agents[1]["token"])[0] == 401
    children = [int(p) for p in pathlib.Path(f"/proc/{fleet.pid}/task/{fleet.pid}/children").read_text().split()]
    assert len(children) == 2
    assert fleet.stop() == 0
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in children)


def test_an_interrupted_run_reports_and_leaves_no_child(fleet_program, folder, spawn):
    fleet = spawn([fleet_program, "--agents", 20, "--for", 600, "--port", free_ports(), "--interval", 1], "fleet")
    fleet.wait_log("the agents are there")

    def children():
        return pathlib.Path(f"/proc/{fleet.pid}/task/{fleet.pid}/children").read_text().split()

    wait_until(lambda: len(children()) >= 2)
    started = children()
    fleet.popen.send_signal(signal.SIGINT)
    assert fleet.popen.wait(30) == 0
    assert "polls" in fleet.log() and "such agents fresh" in fleet.log()
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in started)


@pytest.mark.parametrize("arguments, words", [
    (["--agents", "0"], "--agents is not 1 to 1048576"),
    (["--fault", "dance=1%"], "there is no fault 'dance'"),
    (["--fault", "tarpit"], "is not NAME=SHARE"),
    (["--fault", "tarpit=100%"], "no healthy agent"),
    (["--transport", "psk=50%"], "not 100%"),
    (["--transport", "carrier-pigeon=100%"], "none of the transports"),
    (["--serve"], "belong together"),
    (["--script", "/nonexistent"], "No such file"),
    (["--inoxd", "/nonexistent"], "/nonexistent"),
    (["stray"], "unexpected argument"),
])
def test_a_wrong_command_line_is_refused_with_a_sentence(fleet_program, arguments, words):
    done = subprocess.run([fleet_program, "--port", str(free_ports()), *arguments], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode in (1, 2) and words in done.stderr, done


def test_a_port_in_use_is_refused(fleet_program):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        if port > 65000:
            pytest.skip("the system gave a port that is too high")
        done = subprocess.run([fleet_program, "--port", str(port)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and f"port {port}" in done.stderr and "in use" in done.stderr
