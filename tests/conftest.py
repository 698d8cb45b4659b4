"""Fixtures for the black-box tests: they start the real programs as processes and end them by their id.

INOX_BUILD names the build folder (default: build/ of this repository).
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
API_VERSION = "1.110"  # the newest microversion, which requests use unless a test names another
ROLES = ("api", "conductor", "dialer", "bmc", "boot", "connector")


def wait_until(fn, seconds=10, what=None):
    """Calls fn until it gives something true, and returns that; fails after `seconds`, and says what (a text, or a function
    that makes one then) is not true."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        result = fn()
        if result:
            return result
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            pytest.fail(f"{what or getattr(fn, '__name__', 'condition')} is not true after {seconds} s",
                        pytrace=True)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


class PortRange:
    """Ports that no other test process takes, and below those that the system gives to who asks for none (32768 and up):
    a port of that range that was free a moment ago may be the near end of somebody's connection when it is wanted."""

    SIZE = 1000

    def __init__(self):
        for first in range(10000, 32000, self.SIZE):
            # Holding the first one reserves the others, for as long as this process lives.
            self.held = socket.socket()
            try:
                self.held.bind(("127.0.0.1", first))
            except OSError:
                self.held.close()
                continue
            self.first, self.next = first, 0
            return
        pytest.fail("there is no free range of ports between 10000 and 32000")

    def take(self, count=1, behind=0):
        """The first of `count` ports that were not given for long; the last one has `behind` others of the range behind it."""
        if self.next + count + behind > self.SIZE - 1:
            self.next = 0
        port = self.first + 1 + self.next
        self.next += count
        return port


def free_port(address="127.0.0.1"):
    """A port of this test process that nothing listens on at this address."""
    if not free_port.range:
        free_port.range = PortRange()
    for _ in range(PortRange.SIZE):
        port = free_port.range.take()
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            try:
                s.bind((address, port))
            except OSError:
                continue
            return port
    pytest.fail(f"there is no free port at {address}")


free_port.range = None


def is_running(pid):
    """True if the process exists and is not a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def write_config(path, config):
    """{"group": {"option": value}} as an INI file; True and False as Inox spells them."""
    lines = []
    for group, options in config.items():
        lines.append(f"[{group}]")
        for name, value in options.items():
            if isinstance(value, bool):
                value = str(value).lower()
            lines.append(f"{name} = {value}")
    path.write_text("\n".join(lines) + "\n")
    return path


class Process:
    """A program with its log file; ended by its id."""

    def __init__(self, argv, log, env=None):
        self.log_path = pathlib.Path(log)
        with open(log, "ab") as output:
            self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                          stdout=output, stderr=output, env={**os.environ, **(env or {})})
        self.pid = self.popen.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_log(self, text, seconds=20):
        def seen():
            assert self.popen.poll() is None or text in self.log(), f"ended early:\n{self.log()}"
            return text in self.log()
        wait_until(seen, seconds, what=f"'{text}' in {self.log_path}")

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            pytest.fail(f"process {self.pid} ignored SIGTERM for {seconds} s:\n{self.log()[-4000:]}")

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Inoxd(Process):
    """The control plane with a state folder of its own."""

    def __init__(self, build, folder, config, args=(), env=None):
        self.folder = pathlib.Path(folder)
        self.config = {group: dict(options) for group, options in config.items()}
        self.state = pathlib.Path(
            self.config.setdefault("DEFAULT", {}).setdefault("state_path", self.folder / "state"))
        api = self.config.setdefault("api", {})
        self.host = api.setdefault("host_ip", "127.0.0.1")
        self.port = api.setdefault("port", free_port(self.host))
        self.url = f"http://{self.host}:{self.port}"
        self.config_path = write_config(self.folder / "inox.conf", self.config)
        self.program = build / "src/inoxd/inoxd"
        super().__init__([self.program, "--config", self.config_path, *args], self.folder / "inoxd.log", env)

    def wait_ready(self, seconds=30):
        self.wait_log("all processes are ready", seconds)
        return self

    def children(self):
        """{role: process id} of the processes that run now."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(stat[1]) == self.pid and stat[0] != "Z" and argv[1:2] == [b"--worker"]:
                found[argv[2].decode()] = int(entry)
        return found

    def api(self, method, path, body=None, version=API_VERSION, headers=None, timeout=30):
        """One request to the API; the Answer has status, headers, text and json."""
        all_headers = {"X-OpenStack-Ironic-API-Version": version, "Accept": "application/json"}
        if body is not None:
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, all_headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def build():
    folder = pathlib.Path(os.environ.get("INOX_BUILD", REPOSITORY / "build")).resolve()
    if not folder.is_dir():
        pytest.fail(f"{folder} is not there: build first, or set INOX_BUILD")
    return folder


@pytest.fixture
def folder():
    """A folder with a short path (sockets are made in it) that every user may look into."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="inox-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def module_folder():
    """As `folder`, for all tests of a file."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="inox-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def spawn(folder):
    """spawn(argv, name, env=None) starts any program with a log file; it is ended after the test."""
    started = []

    def start(argv, name="program", env=None):
        process = Process(argv, folder / f"{name}-{len(started)}.log", env)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        if process.popen.poll() is None:
            process.stop()


class InoxdFactory:
    """inoxd(config={}, args=(), wait=True, env=None) starts a control plane; stop() ends all of them.

    A second call with the same `state` (DEFAULT.state_path) starts again on the same database.
    """

    def __init__(self, build, folder):
        self.build, self.folder, self.started = build, folder, []
        self.may_refuse = False  # a test in which a sandbox has something to refuse

    def __call__(self, config=None, args=(), wait=True, env=None):
        base = self.folder / f"inoxd-{len(self.started)}"
        base.mkdir(mode=0o755)
        process = Inoxd(self.build, base, config or {}, args, env)
        self.started.append(process)
        return process.wait_ready() if wait else process

    def stop(self, show_logs):
        for process in reversed(self.started):
            if process.popen.poll() is None:
                process.stop()
            if show_logs:
                print(f"---- {process.log_path}\n{process.log()[-8000:]}")
            words = ("AddressSanitizer", "LeakSanitizer", "runtime error:")
            for word in words if self.may_refuse else (*words, "event=sandbox"):
                assert word not in process.log(), process.log()[-8000:]


@pytest.fixture
def inoxd(build, folder, request):
    """A factory of control planes that end with the test."""
    factory = InoxdFactory(build, folder)
    yield factory
    report = getattr(request.node, "rep_call", None)
    factory.stop(report is not None and report.failed)


@pytest.fixture(scope="module")
def module_inoxd(build, module_folder):
    """A factory of control planes that end with the file."""
    factory = InoxdFactory(build, module_folder)
    yield factory
    factory.stop(False)


# The files that take longest, the longest first.  One that begins last would be waited for by itself.
LONG_FILES = ["test_takeover.py", "test_crash.py", "test_fast_track.py", "test_restarts.py", "test_restarts_rescue.py",
              "test_inox_bmc.py", "test_tokens.py", "test_ramdisk.py", "test_dialers.py", "test_fleet.py"]


def pytest_collection_modifyitems(items):
    """Files are handed out to xdist's workers in this order; the tests of one keep theirs."""
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Fixtures can see whether their test failed."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, "rep_" + report.when, report)
