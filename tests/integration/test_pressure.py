"""Everybody at once: thousands of agents end their commands at the same moment, in front of a conductor whose store
is slow, that is killed or stopped, and of a dialer that is killed.  Nothing is lost, nothing is done twice, the steps
of a node keep their order, and no process grows beyond what its limits allow.

A trigger in the conductor's own database records what is committed.  INOX_PRESSURE is the number of agents.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import InoxdFactory, Process, wait_until

AGENTS = int(os.environ.get("INOX_PRESSURE", "600"))
STORMS = ("plain", "slow store", "conductor killed", "conductor stopped", "dialer killed")
PATIENCE = max(120, AGENTS // 5)
MIB = 1024 * 1024
CLONE_NEWNS = 0x20000
# What a fleet uses is below the ports that the system gives out, and not where test_fleet.py looks for its own.
PORT = 31200 + os.getpid() % 4 * 300

# No functions: the database's own schema may not call them.
RECORD = """
CREATE TABLE seen (id INTEGER PRIMARY KEY, node TEXT, state TEXT, flow TEXT);
CREATE TRIGGER record AFTER UPDATE OF flow ON nodes
	BEGIN INSERT INTO seen (node, state, flow) VALUES (NEW.uuid, NEW.provision_state, NEW.flow); END;
"""


class Storms:
    """A control plane in front of a fleet that is in the middle of a deployment with a step for each storm."""

    def __init__(self, build, folder, start, agents=AGENTS, steps=len(STORMS), dialers=2):
        self.agents, self.steps = agents, steps
        state, root = folder / "state", folder / "boot"
        state.mkdir(mode=0o700, exist_ok=True)
        for name in ("http/boot", "http/once", "http/ramdisk", "dhcp-hosts"):
            (root / name).mkdir(parents=True)
        (folder / "script").write_text("agents 100%\n  run 86400\n")
        self.figures = folder / "fleet.json"
        self.fleet = Process([build / "tools/fleet/inox-fleet", "--serve", "--adopt", "--enrolment", folder / "agents",
                              "--agents", agents, "--port", PORT, "--transport", "http", "--servers", 1,
                              "--script", folder / "script", "--json", self.figures], folder / "fleet.log")
        self.fleet.wait_log("the agents are there")
        subprocess.run([build / "tests/bench/drive_rows", state, folder / "agents", str(steps)], check=True,
                       stdout=subprocess.PIPE)
        self.database = state / "inox.sqlite"
        with sqlite3.connect(self.database) as db:
            db.executescript(RECORD)
        self.inoxd = start({
            "DEFAULT": {"state_path": state},
            "agent": {"poll_only": True, "port": PORT, "allowed_networks": "127.16.0.0/16", "dialers": dialers},
            "boot": {"root": root, "http_url": "http://192.0.2.1"},
            "conductor": {"sync_power_state_interval": 0}})

    def count(self, condition):
        db = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return db.execute(f"SELECT count(*) FROM {condition}").fetchone()[0]
        finally:
            db.close()

    def nodes_with(self, condition):
        """How many nodes are there whose flow and state fit."""
        return self.count(f"nodes WHERE {condition}")

    def wait_everybody(self, condition):
        wait_until(lambda: self.nodes_with(condition) == self.agents, PATIENCE,
                   lambda: f"'{condition}' of all nodes, but of {self.nodes_with(condition)},")

    def storm(self, step, trouble):
        """Every command ends now; `trouble` happens meanwhile.  Seconds until all next commands run, or nothing is left."""
        began = time.monotonic()
        self.fleet.popen.send_signal(signal.SIGUSR1)
        trouble(self)
        if step + 1 < self.steps:
            self.wait_everybody(f"flow->>'step' = {step + 1} AND flow->>'command' IS NOT NULL")
        else:
            self.wait_everybody("provision_state = 'active'")
        return time.monotonic() - began

    def wait_some(self, step):
        """The storm has begun to arrive and is far from over."""
        wait_until(lambda: self.nodes_with(f"flow->>'step' = {step + 1}") > self.agents // 50, PATIENCE, "the first ends")

    def pid_of(self, role):
        return wait_until(lambda: self.inoxd.children().get(role), 20, role)

    def stop(self):
        """What the agents counted, and what was committed."""
        self.fleet.stop()
        with sqlite3.connect(self.database) as db:
            rows = db.execute("SELECT node, state, flow FROM seen ORDER BY id").fetchall()
        return json.loads(self.figures.read_text()), [(node, state, json.loads(flow)) for node, state, flow in rows]


class Watcher(threading.Thread):
    """The most memory that each process of inoxd had: {role: bytes}."""

    def __init__(self, inoxd):
        super().__init__(daemon=True)
        self.inoxd, self.most, self.done = inoxd, {}, threading.Event()
        self.start()

    def look(self):
        for role, pid in self.inoxd.children().items():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            # Of its whole life.
            high = [line for line in status.splitlines() if line.startswith("VmHWM")]
            if high:
                self.most[role] = max(self.most.get(role, 0), int(high[0].split()[1]) * 1024)

    def run(self):
        while not self.done.wait(0.1):
            self.look()

    def stop(self):
        self.done.set()
        self.join()
        self.look()
        return self.most


# ---- what happens meanwhile

def nothing(storms):
    pass


def lock_store(storms):
    """Another process writes, and takes its time: for longer than anybody waits for a lock, and then again and again."""
    storms.wait_some(STORMS.index("slow store"))
    with sqlite3.connect(storms.database, isolation_level=None, timeout=30) as db:
        for seconds in (11.5, 0.5, 0.5):
            db.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)  # not a wait for something: this is how long the lock is held
            db.execute("COMMIT")
    db.close()


def end_conductor(number):
    def end(storms):
        step = STORMS.index("conductor killed" if number == signal.SIGKILL else "conductor stopped")
        storms.wait_some(step)
        os.kill(storms.pid_of("conductor"), number)
    return end


def kill_dialer(storms):
    storms.wait_some(STORMS.index("dialer killed"))
    os.kill(storms.pid_of("dialer"), signal.SIGKILL)


TROUBLES = dict(zip(STORMS, (nothing, lock_store, end_conductor(signal.SIGKILL), end_conductor(signal.SIGTERM),
                             kill_dialer)))


@pytest.fixture(scope="module")
def played(build, module_folder):
    """Everything, in one deployment: seconds by storm, figures of the agents, what was committed, memory, the log."""
    factory = InoxdFactory(build, module_folder)
    storms = Storms(build, module_folder, factory)
    try:
        watcher = Watcher(storms.inoxd)
        storms.fleet.wait_log("every healthy agent was looked at", PATIENCE)
        watcher.look()
        rest = dict(watcher.most)
        took = {name: storms.storm(step, TROUBLES[name]) for step, name in enumerate(STORMS)}
        print({name: f"{seconds:.1f} s" for name, seconds in took.items()})
        most = watcher.stop()
        agents, seen = storms.stop()
        yield {"took": took, "agents": agents, "seen": seen, "most": most, "rest": rest, "program": storms.inoxd.program}
    finally:
        storms.fleet.kill()
        factory.stop(False)


def test_every_end_arrives_once_and_in_order(played):
    """Committed of each node, in order: the steps one behind the other, each with one command, then the tear down."""
    story = {}
    for node, state, flow in played["seen"]:
        here = (flow.get("phase"), flow.get("step", 0), flow.get("command"))
        told = story.setdefault(node, [])
        if not told or told[-1] != here:
            told.append(here)
    assert len(story) == AGENTS
    ends = ("boot disk", "sync", "agent power off", "confirm power off", "withdraw", "boot instance")
    for node, told in story.items():
        steps = [(phase, step) for phase, step, _ in told if phase in ("deploy/start step", "deploy/step")]
        if steps[0] == ("deploy/step", 0):
            del steps[0]
        want = [(phase, step) for step in range(1, len(STORMS)) for phase in ("deploy/start step", "deploy/step")]
        assert steps == want, f"{node}: {told}"
        commands = [command for phase, _, command in told if phase == "deploy/step"]
        assert len(set(commands)) >= len(STORMS) - 1, f"{node}: {told}"
        after = [phase for phase, step, _ in told if step == len(STORMS) and phase]
        assert after[-len(ends):] == [f"deploy/{phase}" for phase in ends], f"{node}: {told}"
        assert told[-1][0] is None, f"{node}: {told}"


def test_no_command_is_sent_twice(played):
    assert played["agents"]["commands_ended"] == AGENTS * len(STORMS)


def test_no_process_grows_beyond_its_limits(played):
    """Behind what a process has at rest: what the source says that may wait in it, and what a connection may hold."""
    channels = 4  # of the conductor: two dialers, bmc, boot
    conductor = (16 + channels * (1 + 4)) * MIB  # messages for the store; read ahead and for a worker, of each channel
    # Answers wait for the conductor up to 1 MiB; each agent of a dialer has a connection, with head and a small body.
    dialer = 1 * MIB + AGENTS * 24 * 1024
    # A sanitizer keeps what was freed for a while, and a zone around what is not.
    factor, more = (3, 256 * MIB) if b"__asan_init" in played["program"].read_bytes() else (1, 4 * MIB)
    for role, bound in (("conductor", conductor), ("dialer", dialer), ("bmc", 8 * MIB), ("boot", 8 * MIB),
                        ("api", 8 * MIB), ("connector", 8 * MIB)):
        growth = played["most"][role] - played["rest"][role]
        assert growth < factor * bound + more, f"{role} grew by {growth >> 20} MiB"


# ---- a full disk

@pytest.fixture
def small_disk(folder):
    """A state folder that is a disk of its own, which only this process and its children see."""
    state = folder / "state"
    state.mkdir()
    # `make check` is run by root, who may have one; where even root may not (a container), there is no small disk.
    if os.geteuid() != 0 or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        pytest.skip("needs a mount namespace of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", state], check=True)
    yield state
    subprocess.run(["umount", "--lazy", state], check=True)


def test_a_full_disk_loses_nothing(build, folder, small_disk, inoxd):
    storms = Storms(build, folder, inoxd, agents=40, steps=2)
    try:
        storms.fleet.wait_log("every healthy agent was looked at", PATIENCE)
        ballast = small_disk / "ballast"

        def fill(storms):
            with open(ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

        def fill_and_free(storms):
            storms.inoxd.wait_log("has no space left on its disk", PATIENCE)
            ballast.unlink()

        # Full before the ends come, so that the first of them meets it.
        fill(storms)
        storms.storm(0, fill_and_free)
        storms.storm(1, nothing)
        agents, _ = storms.stop()
        assert agents["commands_ended"] == 80
    finally:
        storms.fleet.kill()
