"""A worker that was taken over: a test build lets an answer of a machine run attacks inside dialer and bmc worker
(src/base/planted.h).  Each one must be refused and reported; with the sandboxes off, in the same build, they succeed."""
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import threading

import pytest

from conftest import free_port, wait_until

AGENT, BMC = "127.7.1.10", "127.8.1.1"


class Machine:
    """An agent or a BMC: the answer to each request carries the next attempt, until all are served."""

    def __init__(self, address, port):
        self.attempts = []
        machine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                what = machine.attempts.pop(0) if machine.attempts else "nothing"
                body = json.dumps({"planted": what}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer((address, port), Handler)
        self.httpd.daemon_threads = True
        self.port = self.httpd.server_port
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture(scope="session")
def build(build):
    """INOX_PLANTED names the folder of a build with -Dplanted_takeover=true; the other tests run with another one."""
    named = os.environ.get("INOX_PLANTED")
    folder = pathlib.Path(named).resolve() if named else build
    program = folder / "src/inoxd/inoxd"
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program.exists() else ""
    if "PLANTED" not in version:
        # `make check` builds and names one, and then this is a failure; without a name it was another build's turn.
        message = f"{folder} is no build with -Dplanted_takeover=true"
        pytest.fail(message) if named else pytest.skip(message)
    return folder


@pytest.fixture
def machines():
    made = {"dialer": Machine(AGENT, 9999), "bmc": Machine(BMC, 0)}
    yield made
    for machine in made.values():
        machine.stop()


@pytest.fixture
def start(inoxd, folder, machines):
    """start(env) -> a control plane whose dialer and bmc worker will ask the machines."""
    inoxd.may_refuse = True

    def call(process, method, path, body, want):
        answer = process.api(method, path, body)
        assert answer.status == want, answer.text
        return answer.json if answer.text else None

    def run(env=None):
        root = folder / "boot"
        for name in ("http/boot", "http/once", "http/ramdisk", "dhcp-hosts"):
            (root / name).mkdir(parents=True)
        process = inoxd({
            "agent": {"poll_only": True, "transport": "http", "allowed_networks": "127.7.1.0/24"},
            "redfish": {"allowed_networks": "127.8.1.0/24"},
            "boot": {"root": root, "http_url": "http://192.0.2.1", "address_pool": f"{AGENT}-{AGENT}"},
            "conductor": {"sweep_interval": 1, "sync_power_state_interval": 1},
        }, env=env)
        agent = call(process, "POST", "/v1/nodes", {"driver": "fake-hardware", "name": "a", "instance_info": {
            "image_source": "http://192.0.2.1/i", "image_disk_format": "raw", "image_os_hash_algo": "sha256",
            "image_os_hash_value": "0" * 64}}, 201)
        call(process, "POST", "/v1/ports", {"node_uuid": agent["uuid"], "address": "52:54:00:77:07:01"}, 201)
        call(process, "POST", "/v1/nodes", {"driver": "redfish", "name": "b", "driver_info": {
            "redfish_address": f"http://{BMC}:{machines['bmc'].port}", "redfish_username": "u",
            "redfish_password": "p"}}, 201)
        for verb, state in (("manage", "manageable"), ("provide", "available"), ("active", "wait call-back")):
            call(process, "PUT", "/v1/nodes/a/states/provision", {"target": verb}, 202)
            wait_until(lambda: process.api("GET", "/v1/nodes/a").json["provision_state"] == state, 20, state)
        return process
    return run


def take_over(process, machines, role, attempts):
    """Lets the role try all; returns {attempt: what the log says between this attempt and the next}."""
    machine = machines[role]
    start = len(process.log())
    machine.attempts = list(attempts)

    def served():
        if role == "bmc" and process.api("GET", "/v1/nodes/b").json["provision_state"] == "enroll":
            process.api("PUT", "/v1/nodes/b/states/provision", {"target": "manage"})
        return not machine.attempts
    wait_until(served, 120, f"{role} was taken over {len(attempts)} times")
    names = [a.split()[0] for a in attempts]

    def outcomes():
        parts = re.split(r"planted (\w+): tried\n", process.log()[start:])[1:]
        found = list(zip(parts[::2], parts[1::2]))
        # What the process itself says of an attempt comes last, behind what others log of it; unless it is dead.
        done = found[-1:] and re.search(r"answer=killed|succeeded|refused: ", found[-1][1])
        return found if len(found) == len(attempts) and done else None
    found = wait_until(outcomes, 30, "the last attempt is in the log")
    assert [name for name, _ in found] == names
    return list(zip(attempts, (text for _, text in found)))


def attempts_of(process, role):
    children = process.children()
    conductor, other = children["conductor"], children["bmc" if role == "dialer" else "dialer"]
    api = f"127.0.0.1:{process.port}"
    return [
        "open /etc/passwd", f"open {process.state}/inox.sqlite", f"write {process.state}/inox.sqlite",
        f"open {process.state}/sealing.key", f"open {process.config_path}", f"write {process.state}/new",
        f"open /proc/{conductor}/mem", f"open /proc/{other}/mem", f"open /proc/{conductor}/environ",
        f"connect {api}", "connect 192.0.2.1:443", f"connect {AGENT}:9999", f"connect {BMC}:1", "datagram 192.0.2.1:53",
        "listen 127.0.0.1:0", f"poke {process.state}/poke.sock", "raw", "netlink",
        "execve", "memfd", "code", "fork", "kill", "tgkill", "sigio", "ptrace", "dumpable", "setuid", "bpf", "io_uring",
        "userfaultfd", "unshare", "mount",
    ]


@pytest.mark.parametrize("role", ["dialer", "bmc"])
def test_every_attempt_is_refused_and_reported(start, machines, role):
    process = start()
    pids = {name: pid for name, pid in process.children().items() if name not in ("dialer", "bmc")}
    for attempt, text in take_over(process, machines, role, attempts_of(process, role)):
        assert "succeeded" not in text, f"{attempt}: {text}"
        assert re.search(rf"event=sandbox role={role} pid=\d+ call=\w+ answer=(killed|refused)", text), f"{attempt}: {text}"
        assert "refused: Permission denied" in text or "answer=killed" in text, f"{attempt}: {text}"
    # Each call that the log names is counted, and nothing else.
    logged = set(re.findall(rf"event=sandbox role={role} pid=\d+ call=(\w+) answer=(\w+)", process.log()))

    def counted():
        found = re.findall(rf'^inox_sandbox_refusals_total{{role="{role}",call="(\w+)",answer="(\w+)"}} (\d+)$',
                           process.api("GET", "/metrics").text, re.M)
        assert all(int(count) > 0 for _, _, count in found)
        return {(call, answer) for call, answer, _ in found}
    wait_until(lambda: counted() == logged, 10, lambda: f"what is logged is counted: {counted() ^ logged}")
    # Nobody else was hurt.
    assert {name: pid for name, pid in process.children().items() if name in pids} == pids
    assert not (process.state / "new").exists()


def test_the_connector_serves_nobody_outside_the_ranges(start, machines):
    process = start()
    api, own = f"127.0.0.1:{process.port}", free_port()
    outside = [f"connector {api}", "connector 192.0.2.1:443", "connector 10.0.0.1:22", "connector 0.0.0.0:9999",
               "connector 169.254.169.254:80"]
    for role, other in (("dialer", f"connector {BMC}:{own}"), ("bmc", f"connector {AGENT}:9999")):
        for attempt, text in take_over(process, machines, role, [*outside, other]):
            assert "refused: Permission denied" in text, f"{attempt}: {text}"
        assert re.search(f"event=sandbox role={role} call=connect address=", process.log())
    # ... and inside it does: the refusals above are about the address.
    [(_, text)] = take_over(process, machines, "dialer", [f"connector {AGENT}:9999"])
    assert "succeeded" in text


@pytest.mark.parametrize("role", ["dialer", "bmc"])
def test_without_the_sandbox_the_attempts_succeed(start, machines, role):
    process = start({"INOX_PLANTED_UNCONFINED": "1"})
    with socket.create_server((BMC, 0)) as listening:
        attempts = [a for a in attempts_of(process, role)
                    if a.split()[0] not in ("io_uring", "bpf", "userfaultfd") and "192.0.2.1:443" not in a
                    and not a.startswith(("write", "connect 127.8"))]
        attempts.append(f"connect {BMC}:{listening.getsockname()[1]}")
        for attempt, text in take_over(process, machines, role, attempts):
            assert "succeeded" in text, f"{attempt}: {text}"
    assert "event=sandbox" not in process.log()
