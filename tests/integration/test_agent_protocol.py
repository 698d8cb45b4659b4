"""inox-agent as a conductor sees it: captured exchanges with the stock agent, tokens, the busy rule, long
polls, the secure channel, and that it never dials."""
import base64
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tarfile

import pytest

from conftest import REPOSITORY, free_port, wait_until

CAPTURES = REPOSITORY / "tests/data/agent-captures"
ROOT = REPOSITORY / "tests/data/agent-root"
TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789abc"
NODE = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
STEP = {"step": {"interface": "deploy", "step": "lab_sleep", "args": {"seconds": 60, "password": "hidden"}},
        "node": {"uuid": NODE}, "ports": []}


class Agent:
    def __init__(self, build, folder, spawn, program="tests/integration/inox-agent-lab", cmdline="",
                 token=TOKEN, transport="http", wrapper=()):
        self.root = folder / "root"
        if not self.root.exists():
            shutil.copytree(ROOT, self.root, symlinks=True)
        (self.root / "run").mkdir(exist_ok=True)
        (self.root / "proc/cmdline").write_text(f"quiet BOOTIF=01-52-54-00-12-34-56 {cmdline} "
                                                + (f"inox-transport={transport}" if transport else ""))
        argv = [*wrapper, build / program, "--root", self.root]
        self.port = free_port()
        argv += ["--listen", f"127.0.0.1:{self.port}"]
        if token:
            self.token_file = folder / "token"
            self.token_file.write_text(token + "\n")
            argv += ["--token-file", self.token_file]
        self.process = spawn(argv, "agent")
        self.process.wait_log("agent listens")

    def connection(self, timeout=20):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, token=TOKEN):
        if token is not None:
            path += ("&" if "?" in path else "?") + "agent_token=" + token
        connection = self.connection()
        connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def run(self, name, params=None, wait=False, token=TOKEN):
        return self.ask("POST", f"/v1/commands/?wait={str(wait).lower()}",
                        {"name": name, "params": params or {}}, token)

    def go(self):
        """Lets lab_sleep end."""
        (self.root / "run/lab-go").touch()


@pytest.fixture
def agent(build, folder, spawn):
    def start(**options):
        return Agent(build, folder, spawn, **options)
    return start


# ---- captured exchanges

class Capture:
    def __init__(self, path):
        text = path.read_bytes()
        head, _, rest = text.partition(b">>> request\n")
        request, _, response = rest.partition(b"<<< response\n")
        self.name = path.stem
        self.request_head, _, body = request.partition(b"\n\n")
        length = re.search(rb"Content-Length: (\d+)", self.request_head)
        self.request_body = body[:int(length[1])] if length else b""
        response_head, _, response_body = response.partition(b"\n\n")
        lines = response_head.decode().split("\n")
        self.status_line = lines[0]
        self.headers = dict(line.split(": ", 1) for line in lines[1:])
        self.body = response_body[:-1].decode()


def replay(agent, capture, ids):
    """The raw answer: status line, headers, body."""
    head = capture.request_head
    for old, new in ids.items():
        head = head.replace(old.encode(), new.encode())
    with socket.create_connection(("127.0.0.1", agent.port), 20) as s:
        s.sendall(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + capture.request_body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536)
        answer_head, _, body = data.partition(b"\r\n\r\n")
        lines = answer_head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        expected = 0 if head.startswith(b"HEAD") else int(headers["Content-Length"])
        while len(body) < expected:
            body += s.recv(65536)
    return lines[0], headers, body.decode()


# Where inox-agent answers otherwise on purpose: status line and what the faultstring starts with.
BAD_PARAMETERS = ("HTTP/1.1 400 BAD REQUEST", "Invalid command parameters: ")
NOT_OFFERED = ("HTTP/1.1 404 NOT FOUND", "Not found: Extension with id ")
DIFFERENT = {
    "023-run-malformed-json": ("HTTP/1.1 400 BAD REQUEST", "400 Bad Request: Failed to decode JSON object: "),
    "024-run-empty-body": ("HTTP/1.1 400 BAD REQUEST", "400 Bad Request: Failed to decode JSON object: "),
    "031-run-text-plain": BAD_PARAMETERS,
    "037-run-unknown-param": BAD_PARAMETERS,
    "038-run-missing-param": BAD_PARAMETERS,
    "044-get_service_steps": NOT_OFFERED,
    "058-set_node_info-missing-config": BAD_PARAMETERS,
    "059-set_node_info-none": BAD_PARAMETERS,
}
# Same keys in the same order; values are those of another machine or build.
SHAPE_ONLY = {"004-status", "005-status-unversioned", "050-status-while-busy", "067-status-http10",
              "020-get_hardware_info-wait", "021-get_hardware_info-nowait", "022-commands-list-before"}
NO_COMPARISON = {"008-status-head", "042-get_clean_steps", "043-get_deploy_steps"}


def shape(value):
    """Key order at every level; lists by their first element."""
    if isinstance(value, dict):
        return [(k, shape(v)) for k, v in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else "list"
    return "value"


def normalise(document):
    """What differs by design in otherwise equal results."""
    if isinstance(document, dict):
        document.pop("id", None)
        document.pop("progress", None)
        for key in ("deploy_step", "clean_step"):
            step = (document.get("command_result") or {}).get(key)
            if step:
                step.pop("args", None)
        error = document.get("command_error")
        if error and error["type"] in ("CleaningError", "DeploymentError"):
            error.update(type="step error", message="step failed")
        if error and error["type"] in ("CommandExecutionError", "VersionMismatch"):
            error.pop("details")
    return json.dumps(document)


def compare_body(capture, body, ids):
    if capture.body.startswith("<"):
        assert body.rstrip("\n") == capture.body.rstrip("\n")
        return
    ours, theirs = json.loads(body), json.loads(capture.body)
    if "." not in body.replace("127.0.0.1", ""):
        assert body == json.dumps(ours), "Python's separators"
    if "id" in theirs and "id" in ours:
        ids[theirs["id"]] = ours["id"]
    if capture.name in DIFFERENT:
        assert ours["faultstring"].startswith(DIFFERENT[capture.name][1])
        assert list(ours) == ["faultcode", "faultstring"]
    elif capture.name in SHAPE_ONLY:
        assert shape(ours)[:len(theirs)] == shape(theirs)
    else:
        assert normalise(ours) == normalise(theirs)


def test_captured_exchanges(agent):
    a = agent()
    ids = {}
    captures = [Capture(p) for p in sorted(CAPTURES.glob("*.http"))]
    assert len(captures) == 67
    for capture in captures:
        if capture.name == "051-command-wait":
            a.go()
        status, headers, body = replay(a, capture, ids)
        print(capture.name, status)
        if capture.name == "065-commands-list-poisoned":
            # The stock agent's list is broken for good by then.
            assert status == "HTTP/1.1 200 OK" and len(json.loads(body)["commands"]) > 5
            continue
        assert status == DIFFERENT.get(capture.name, (capture.status_line,))[0], capture.name
        for name in ("Content-Type", "Server", "Allow", "Location", "Connection"):
            assert headers.get(name) == capture.headers.get(name), f"{capture.name}: {name}"
        if capture.name not in NO_COMPARISON:
            compare_body(capture, body, ids)
    a.process.stop()


def test_status_names_the_agent(agent):
    a = agent()
    status, document = a.ask("GET", "/v1/status", token=None)
    assert status == 200
    assert list(document) == ["started_at", "version", "agent", "capabilities"]
    assert document["agent"] == "inox-agent"
    assert document["capabilities"] == ["passive", "psk-v1", "progress"]


def test_steps_are_listed_with_their_manager(agent):
    a = agent(program="src/agent/inox-agent")
    status, command = a.run("deploy.get_deploy_steps", {"node": {"uuid": NODE}, "ports": []})
    result = command["command_result"]
    assert list(result) == ["deploy_steps", "hardware_manager_version"]
    assert result["hardware_manager_version"] == {"inox_hardware_manager": "1"}
    steps = result["deploy_steps"]["InoxHardwareManager"]
    assert {"step": "write_image", "priority": 0, "interface": "deploy", "reboot_requested": False} in steps


def test_clean_steps_are_listed_with_their_priorities(agent):
    a = agent(program="src/agent/inox-agent")
    status, command = a.run("clean.get_clean_steps", {"node": {"uuid": NODE}, "ports": []})
    result = command["command_result"]
    assert list(result) == ["clean_steps", "hardware_manager_version"]
    assert result["clean_steps"]["InoxHardwareManager"] == [
        {"step": "erase_devices_metadata", "priority": 99, "interface": "deploy", "reboot_requested": False,
         "abortable": True},
        {"step": "erase_devices", "priority": 0, "interface": "deploy", "reboot_requested": False, "abortable": True}]
    _, deploy = a.run("deploy.get_deploy_steps", {"node": {"uuid": NODE}, "ports": []})
    assert "erase" not in json.dumps(deploy["command_result"])


def clean(agent, step, **more):
    return agent.run("clean.execute_clean_step", {"step": {"interface": "deploy", "step": step},
                     "node": {"uuid": NODE}, "ports": [], **more}, wait=True)[1]


def test_a_clean_step_of_another_version_is_not_run(agent):
    a = agent(program="src/agent/inox-agent")
    command = clean(a, "erase_devices", clean_version={"inox_hardware_manager": "0"})
    assert command["command_status"] == "CLEAN_VERSION_MISMATCH"
    assert command["command_error"]["type"] == "VersionMismatch"


def test_steps_run_only_as_what_they_are(agent):
    """A clean step is no deploy step, nor the other way round."""
    a = agent(program="src/agent/inox-agent")
    assert clean(a, "write_image")["command_error"]["type"] == "HardwareManagerMethodNotFound"
    _, command = a.run("deploy.execute_deploy_step", {**STEP, "step": {"interface": "deploy", "step": "erase_devices"}},
                       wait=True)
    assert command["command_error"]["type"] == "HardwareManagerMethodNotFound"


def test_a_disk_is_erased_by_clean_steps(agent, folder):
    a = agent(program="src/agent/inox-agent")
    disk = a.root / "dev/vdz"
    block = a.root / "sys/block/vdz"
    shutil.rmtree(a.root / "sys/block", ignore_errors=True)
    block.mkdir(parents=True)
    size = 8 << 20
    (block / "size").write_text(f"{size // 512}\n")
    disk.parent.mkdir(exist_ok=True)
    disk.write_bytes(b"\xaa" * size)
    command = clean(a, "erase_devices_metadata", clean_version={"inox_hardware_manager": "1"})
    assert command["command_result"] == {"clean_result": None, "clean_step": {"interface": "deploy",
                                         "step": "erase_devices_metadata"}}, command
    edge = bytes(1 << 20)
    assert disk.read_bytes()[:1 << 20] == edge and disk.read_bytes()[-(1 << 20):] == edge
    assert b"\xaa" in disk.read_bytes()
    assert clean(a, "erase_devices")["command_result"]["clean_result"] == {"/dev/vdz": None}
    assert disk.read_bytes() == bytes(size)


# ---- tokens

def test_token_rules(agent):
    a = agent()
    for token in (None, "", "None", "null", TOKEN[:-1], TOKEN + "x", "0" * 43):
        assert a.run("standby.sync", token=token)[0] == 401
        assert a.ask("GET", "/v1/commands/", token=token)[0] == 401
    assert a.ask("GET", f"/v1/commands/?agent_token={TOKEN}&agent_token=x", token=None)[0] == 200
    assert a.ask("GET", f"/v1/commands/?agent_token=x&agent_token={TOKEN}", token=None)[0] == 401
    # Before the body is looked at, however large it says it is.
    with socket.create_connection(("127.0.0.1", a.port), 20) as s:
        s.sendall(b"POST /v1/commands/ HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n{")
        assert s.recv(100).startswith(b"HTTP/1.1 401 UNAUTHORIZED\r\n")
    assert a.ask("GET", "/v1/commands/") == (200, {"commands": []})
    assert TOKEN not in a.process.log() and "agent_token" not in a.process.log()


def test_without_token_all_commands_are_refused(agent):
    a = agent(token=None)
    for token in (None, "", TOKEN):
        assert a.run("poll.get_hardware_info", token=token)[0] == 401
    assert a.ask("GET", "/v1/status", token=None)[0] == 200


def test_start_needs_a_token_or_http_by_name(build, folder):
    root = shutil.copytree(ROOT, folder / "root", symlinks=True)
    (root / "proc/cmdline").write_text("quiet\n")
    program = [build / "src/agent/inox-agent", "--root", root, "--listen", "127.0.0.1:1"]

    def fails(*more):
        done = subprocess.run([*program, *more], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2
        assert TOKEN[:20] not in done.stderr
        return done.stderr

    assert "There is no agent token" in fails()
    (folder / "token").write_text(TOKEN[:20])
    assert "not 32 to 256" in fails("--token-file", folder / "token")
    (root / "proc/cmdline").write_text(f"ipa-agent-token={TOKEN} inox-transport=carrier-pigeon")
    assert "inox-transport" in fails()
    (root / "proc/cmdline").write_text(f"ipa-agent-token={TOKEN} inox-node=7")
    assert "inox-node" in fails()
    assert "Unknown argument" in fails("surplus")


def answers_on(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("value", ["true", "false"])
def test_a_token_is_required_whatever_is_asked_for(agent, build, folder, spawn, value):
    a = agent(token=None, cmdline=f"ipa-agent-token-required={value}")
    assert a.run("standby.sync", token=None)[0] == 401
    a.process.stop()
    settings = folder / "agent.conf"
    settings.write_text(f"[DEFAULT]\nagent_token_required = {value}\nagent_token = {TOKEN}\n")
    program = [build / "src/agent/inox-agent", "--root", a.root, "--listen", f"127.0.0.1:{a.port}", "--config", settings]
    spawn(program, "configured")
    wait_until(lambda: answers_on(a.port))
    assert a.run("standby.sync", token=None)[0] == 401
    assert a.run("standby.sync")[0] == 200
    settings.write_text("[DEFAULT]\nagent_token_required = perhaps\n")
    done = subprocess.run(program, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "ipa-agent-token-required is neither true nor false" in done.stderr


def test_token_from_each_source(agent, folder):
    kernel = agent(token=None, cmdline=f"ipa-agent-token={TOKEN}")
    assert kernel.run("standby.sync")[0] == 200
    kernel.process.stop()
    (kernel.root / "etc/inox").mkdir(parents=True)
    (kernel.root / "etc/inox/agent-token").write_text("F" * 43)
    (kernel.root / "etc/inox/agent-token").chmod(0o644)
    both = agent(token=None, cmdline=f"ipa-agent-token={TOKEN}")
    assert both.run("standby.sync")[0] == 401
    assert both.run("standby.sync", token="F" * 43)[0] == 200
    assert (kernel.root / "etc/inox/agent-token").stat().st_mode & 0o777 == 0o600
    both.process.stop()
    # A restarted agent finds its token again.
    again = agent(token=None)
    assert again.run("standby.sync", token="F" * 43)[0] == 200


def test_node_info_under_both_names(agent):
    a = agent(cmdline=f"inox-node={NODE} inox-epoch=3")
    info = {"node": {"uuid": NODE}, "config": {"heartbeat_timeout": 300, "agent_token": "B" * 43}}
    assert a.run("poll.node_info", {"node_info": info})[0] == 200
    assert a.run("standby.sync")[0] == 401
    info["config"]["agent_token"] = TOKEN
    assert a.run("poll.set_node_info", {"node_info": info}, token="B" * 43)[0] == 200
    other = {"node": {"uuid": "00000000-0000-4000-8000-000000000000"},
             "config": {"agent_token": "C" * 43}}
    status, fault = a.run("poll.set_node_info", {"node_info": other})
    assert status == 400 and "This boot belongs to node" in fault["faultstring"]
    assert a.run("standby.sync")[0] == 200


# ---- running commands

def test_busy_waiting_and_progress(agent):
    a = agent()
    assert a.run("standby.get_partition_uuids")[1]["command_result"] == {}
    status, command = a.run("deploy.execute_deploy_step", STEP)
    assert status == 200 and command["command_status"] == "RUNNING"
    path = f"/v1/commands/{command['id']}"
    assert a.run("standby.sync") == (409, {"faultcode": "Client", "faultstring":
                                           "Agent is busy: executing command execute_deploy_step"})
    assert a.run("nodot")[0] == 400
    assert a.run("nosuch.command")[0] == 409
    running = wait_until(lambda: a.ask("GET", path)[1].get("progress"), what="progress")
    assert list(running) == ["done", "total", "phase"] and running["phase"] == "sleeping"
    # Four answers are held back; the fifth is given at once.
    waiting = []
    for _ in range(5):
        connection = a.connection()
        connection.request("GET", f"{path}?wait=True&agent_token={TOKEN}")
        waiting.append(connection)
    early = json.loads(waiting[4].getresponse().read())
    assert early["command_status"] == "RUNNING"
    # One that goes away makes room and breaks nothing.
    waiting[0].close()
    a.go()
    for connection in waiting[1:4]:
        final = json.loads(connection.getresponse().read())
        assert list(final) == ["id", "command_name", "command_status", "command_error", "command_result"]
        assert final["command_status"] == "SUCCEEDED"
        assert final["command_result"] == {"deploy_result": {"slept": 60},
                                           "deploy_step": {"interface": "deploy", "step": "lab_sleep"}}
    assert a.run("standby.get_partition_uuids")[1]["command_result"] == {"root uuid": "0x8f2a11c3"}
    assert "hidden" not in json.dumps(a.ask("GET", "/v1/commands/")[1])


def test_list_is_bounded_and_keeps_the_newest(agent):
    a = agent()
    ids = [a.run("standby.sync")[1]["id"] for _ in range(40)]
    listed = [c["id"] for c in a.ask("GET", "/v1/commands/")[1]["commands"]]
    assert listed == ids[-32:]
    assert a.ask("GET", f"/v1/commands/{ids[0]}")[0] == 404


@pytest.mark.parametrize("command", ["power_off", "run_image"])
def test_power_commands_end_the_process_below_a_root(agent, command):
    a = agent()
    assert a.run(f"standby.{command}", wait=True)[1]["command_status"] == "SUCCEEDED"
    assert a.process.popen.wait(10) == 0


PASSWORD_HASH = "$6$abcdefgh$KQeXafAQAaOoKTevphVU215RvJdgzyfASRasIOuh12hO8u0r1bGW92ZnTmC9IjsiQ8VPiTXBiZF49dFL1U4wX/"


@pytest.mark.parametrize("params", [{"rescue_password": PASSWORD_HASH, "hashed": True},
                                    {"rescue_password": "open sesame"}])
def test_rescue_hands_the_machine_over_and_ends_the_agent(agent, build, params):
    a = agent(program="src/agent/inox-agent", cmdline="ipa-debug=1")
    folder = a.root / "etc/ipa-rescue-config"
    stored, mark = folder / "ipa-rescue-password", a.root / "etc/.rescued"
    command = "rescue.finalize_rescue"
    # A ramdisk that has no such login
    failed = a.run(command, params)[1]
    assert failed["command_status"] == "FAILED" and "no rescue login" in failed["command_error"]["details"]
    folder.mkdir(parents=True)
    assert a.run(command, params, token="x" * 43)[0] == 401
    status, fault = a.run(command, {**params, "rescue_password": "$6$sesame", "hashed": True})
    assert status == 400 and fault["faultstring"].startswith("Invalid command parameters: ")
    assert "sesame" not in fault["faultstring"]
    assert not stored.exists() and not mark.exists()
    status, done = a.run(command, params)
    assert status == 200
    assert (done["command_name"], done["command_status"], done["command_result"]) == ("finalize_rescue", "SUCCEEDED", None)
    assert a.process.popen.wait(10) == 0
    with pytest.raises(OSError):
        a.ask("GET", "/v1/status", token=None)
    text = stored.read_text()
    assert text == PASSWORD_HASH if params.get("hashed") else re.fullmatch(r"\$5\$[^$]+\$[^$]{43}", text)
    assert stored.stat().st_mode & 0o777 == 0o600 and mark.exists()
    assert not a.token_file.exists()
    log = a.process.log()
    assert "handed over for rescue" in log
    assert "sesame" not in log and text not in log and "KQeXaf" not in log
    # Nobody serves any more, whoever starts it.
    again = subprocess.run([build / "src/agent/inox-agent", "--root", a.root, "--listen", f"127.0.0.1:{a.port}"],
                           capture_output=True, text=True, timeout=20)
    assert again.returncode == 0 and "nothing is served" in again.stderr


def test_rescue_while_a_command_runs_is_refused(agent):
    a = agent()
    (a.root / "etc/ipa-rescue-config").mkdir(parents=True)
    assert a.run("deploy.execute_deploy_step", STEP)[0] == 200
    assert a.run("rescue.finalize_rescue", {"rescue_password": PASSWORD_HASH, "hashed": True})[0] == 409
    assert not (a.root / "etc/.rescued").exists()


def unpack_logs(command):
    assert command["command_status"] == "SUCCEEDED", command
    (name, text), = command["command_result"].items()
    assert name == "system_logs" and len(text) <= 192 * 1024 and "\n" not in text
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text)), mode="r:gz") as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}


def test_logs_are_collected_without_the_token(agent):
    a = agent(program="src/agent/inox-agent", cmdline="quiet")
    logs = a.root / "var/log"
    logs.mkdir(parents=True)
    (logs / "boot").write_text(f"first\nCommand line: quiet ipa-agent-token={'s' * 43} x\n({TOKEN})\nlast\n")
    (logs / "large").write_text("x" * 100 + "\n" + "0123456789\n" * 100000)
    (logs / "folder").mkdir()
    (logs / "link").symlink_to(a.token_file)
    members = unpack_logs(a.run("log.collect_system_logs", wait=True)[1])
    assert list(members)[:3] == ["journal", "ip_addr", "lsblk"]
    assert set(members) >= {"meminfo", "ps", "log/boot", "log/large"} and not {"log/folder", "log/link"} & set(members)
    assert b"command accepted" in members["journal"] and b"collect_system_logs" in members["journal"]
    assert members["log/boot"].decode() == f"first\nCommand line: quiet ipa-agent-token={'*' * 43} x\n({'*' * 43})\nlast\n"
    assert members["log/large"].startswith(b"0123456789\n") and len(members["log/large"]) <= 256 * 1024
    json.loads(members["ip_addr"])
    # What does not compress is cut until it fits; the end stays.
    (logs / "noise").write_text(base64.b64encode(os.urandom(600_000)).decode() + "the end")
    members = unpack_logs(a.run("log.collect_system_logs", wait=True)[1])
    assert members["log/noise"].endswith(b"the end") and 10_000 < len(members["log/noise"]) < 256 * 1024
    assert b"last" in members["log/boot"]
    assert a.run("log.collect_system_logs", {"what": "all"})[0] == 400


def test_termination_cancels_a_running_step(agent):
    a = agent()
    assert a.run("deploy.execute_deploy_step", STEP)[0] == 200
    assert a.process.stop() == 0


def test_large_config_drive_is_taken(agent):
    a = agent()
    a.go()
    params = json.loads(json.dumps(STEP))
    params["node"]["instance_info"] = {"configdrive": "A" * (40 << 20)}
    status, command = a.run("deploy.execute_deploy_step", params, wait=True)
    assert status == 200 and command["command_status"] == "SUCCEEDED"


def test_strangers_cannot_stop_it(agent):
    a = agent()
    held = []
    for data in (b"", b"GET / HT", b"\x16\x03\x01\x02\x00\x01", b"A" * 20000,
                 b"POST /v1/commands/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n"):
        s = socket.create_connection(("127.0.0.1", a.port), 20)
        try:
            s.sendall(data)
        except OSError:
            pass
        held.append(s)
    assert a.ask("POST", "/v1/commands/", b'{"name": "\xff\xfe", "params": {}}')[0] == 400
    assert a.run("\u00e4" * 100 + ".x")[0] == 404
    deep = '{"name": "a.b", "params": ' + '{"a": ' * 1000 + "1" + "}" * 1000 + "}"
    assert a.ask("POST", "/v1/commands/", deep)[0] == 400
    for _ in range(200):
        socket.create_connection(("127.0.0.1", a.port), 20).close()
    for s in held:
        s.close()

    def answers():
        try:
            return a.ask("GET", "/v1/status", token=None)[0] == 200
        except OSError:  # over the limit of connections
            return False
    wait_until(answers)


# ---- the channel

def psk(token):
    key = hmac.new(bytes(32), token.encode(), hashlib.sha256).digest()
    return hmac.new(key, b"inox agent psk v1\x01", hashlib.sha256).hexdigest()


def s_client(port, request, *arguments):
    """What `openssl s_client` reads, or "" if there was no handshake."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-tls1_3",
                           "-ignore_unexpected_eof", *arguments],
                          input=request.encode(), capture_output=True, timeout=20)
    return done.stdout.decode()


def test_psk_channel(agent):
    a = agent(transport=None, cmdline=f"inox-node={NODE} inox-epoch=7")
    request = "GET /v1/commands/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    body = '{"name": "standby.sync", "params": {}}'
    right = ["-psk", psk(TOKEN), "-psk_identity", f"{NODE}:7"]
    assert '{"commands": []}' in s_client(a.port, request, *right)
    # The key proves the token, which need not travel; a wrong one is still wrong.
    wrong_token = request.replace("/ HTTP", "/?agent_token=wrong HTTP")
    assert "401 UNAUTHORIZED" in s_client(a.port, wrong_token, *right)
    # One request per connection: a key that was replaced has no channel left.
    assert s_client(a.port, request.replace("Connection: close\r\n", "") * 2, *right).count("HTTP/1.1") == 1
    for arguments in (["-psk", psk("x" * 43), "-psk_identity", f"{NODE}:7"],
                      ["-psk", psk(TOKEN), "-psk_identity", f"{NODE}:6"], []):
        assert s_client(a.port, request, *arguments) == ""
    with pytest.raises((OSError, http.client.HTTPException)):
        a.run("standby.sync")
    post = f"POST /v1/commands/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}" \
           f"\r\n\r\n{body}"
    assert '"SUCCEEDED"' in s_client(a.port, post, *right)


def test_pinned_channel_serves_both_kinds(agent):
    a = agent(transport="pinned", cmdline=f"inox-node={NODE} inox-epoch=7")
    pem = ssl.get_server_certificate(("127.0.0.1", a.port))
    context = ssl.create_default_context(cadata=pem)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", a.port), 20),
                             server_hostname="127.0.0.1") as s:
        s.sendall(f"GET /v1/commands/?agent_token={TOKEN} HTTP/1.0\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 200 OK")
    with context.wrap_socket(socket.create_connection(("127.0.0.1", a.port), 20),
                             server_hostname="127.0.0.1") as s:
        s.sendall(b"GET /v1/commands/ HTTP/1.0\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 401 UNAUTHORIZED")
    request = "GET /v1/commands/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert '{"commands": []}' in s_client(a.port, request, "-psk", psk(TOKEN), "-psk_identity", f"{NODE}:7")


# ---- a token by contact

def info_of(token, node=NODE):
    return {"node_info": {"node": {"uuid": node}, "config": {"agent_token": token}}}


def post_text(name, params):
    body = json.dumps({"name": name, "params": params})
    return f"POST /v1/commands/?wait=true HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" \
           f"Content-Length: {len(body)}\r\n\r\n{body}"


@pytest.mark.parametrize("name", ("poll.set_node_info", "poll.node_info"))
def test_who_shows_a_token_first_gives_it(agent, name):
    a = agent(token=None, cmdline=f"inox-node={NODE} inox-epoch=7 inox-token=contact")
    for wrong, params in ((name, info_of(TOKEN, NODE.replace("1", "2"))), (name, info_of("short")), (name, {}),
                          (name, info_of("x" * 20 + " " + "x" * 20)), ("standby.sync", {}),
                          ("standby.sync", info_of(TOKEN)), (name, {"node_info": {"config": {"agent_token": TOKEN}}})):
        assert a.run(wrong, params, wait=True, token=None)[0] == 401, (wrong, params)
    assert a.run(name, info_of(TOKEN), wait=True)[0] == 401, "with a token in the query"
    assert a.ask("POST", "/v1/commands/?wait=true", "{", token=None)[0] == 401
    assert a.ask("GET", "/v1/commands/", token=None)[0] == 401
    assert a.ask("GET", "/v1/status", token=None)[0] == 200
    assert a.run(name, info_of(TOKEN), wait=True, token=None)[0] == 200
    assert a.run(name, info_of("y" * 43), wait=True, token=None)[0] == 401, "a second giver"
    assert a.run("standby.sync")[0] == 200
    assert a.run(name, info_of("y" * 43), wait=True)[0] == 200, "who has the token may replace it"
    assert a.run("standby.sync", token="y" * 43)[0] == 200 and a.run("standby.sync")[0] == 401


def test_a_token_by_contact_is_the_key_of_the_channel(agent):
    cmdline = f"inox-node={NODE} inox-epoch=7 inox-token=contact"
    a = agent(token=None, transport="psk", cmdline=cmdline)
    look = "GET /v1/commands/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    right = ["-psk", psk(TOKEN), "-psk_identity", f"{NODE}:7"]
    assert "401 UNAUTHORIZED" in s_client(a.port, look)
    assert "401 UNAUTHORIZED" in s_client(a.port, post_text("standby.sync", {}))
    assert '"SUCCEEDED"' in s_client(a.port, post_text("poll.set_node_info", info_of(TOKEN)))
    assert '"SUCCEEDED"' in s_client(a.port, post_text("standby.sync", {}), *right)
    # From here the certificate opens nothing, with the token neither.
    assert "401 UNAUTHORIZED" in s_client(a.port, look.replace("/ HTTP", f"/?agent_token={TOKEN} HTTP"))
    assert "401 UNAUTHORIZED" in s_client(a.port, post_text("poll.set_node_info", info_of("y" * 43)))
    # The same boot's next agent is the same to the conductor, and has no certificate any more.
    a.process.popen.kill()
    a.process.popen.wait(20)
    kept = a.root / "run/inox/agent-token"
    assert kept.read_text().strip() == TOKEN and kept.stat().st_mode & 0o777 == 0o600
    again = agent(token=None, transport="psk", cmdline=cmdline)
    assert '{"commands": []}' in s_client(again.port, look, *right)
    assert s_client(again.port, look) == ""


def test_without_the_argument_nobody_gives_a_token(agent):
    a = agent(token=None, cmdline=f"inox-node={NODE} inox-epoch=7")
    assert a.run("poll.set_node_info", info_of(TOKEN), wait=True, token=None)[0] == 401


@pytest.mark.parametrize("cmdline, sentence", [
    ("inox-token=contact", "needs inox-node and inox-epoch"),
    (f"inox-token=contact inox-node={NODE} inox-epoch=7 ipa-api-url=http://192.0.2.1", "no ipa-api-url"),
    (f"inox-token=contact inox-node={NODE} inox-epoch=7 inox-transport=pinned", "inox-transport=psk or http"),
    (f"inox-token=given inox-node={NODE} inox-epoch=7", "inox-token is not contact")])
def test_where_no_token_can_be_given_by_contact_the_agent_says_so(build, folder, cmdline, sentence):
    (folder / "proc").mkdir()
    (folder / "proc/cmdline").write_text(cmdline + "\n")
    done = subprocess.run([build / "src/agent/inox-agent", "--root", folder], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and sentence in done.stderr


# ---- passive

@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_it_never_dials(agent, folder):
    trace = folder / "trace"
    a = agent(program="src/agent/inox-agent", token=TOKEN, cmdline="ipa-lookup-timeout=1",
              wrapper=["env", "ASAN_OPTIONS=detect_leaks=0",  # which cannot trace what is traced already
                       "strace", "-f", "-o", trace, "-e", "trace=connect,sendto,sendmsg,sendmmsg,bind"])
    assert a.ask("GET", "/v1/status", token=None)[0] == 200
    assert a.run("poll.get_hardware_info", wait=True)[1]["command_status"] == "SUCCEEDED"
    info = {"node": {"uuid": NODE}, "config": {"heartbeat_timeout": 1}}
    assert a.run("poll.set_node_info", {"node_info": info})[0] == 200
    assert a.run("deploy.get_deploy_steps", {"node": {"uuid": NODE}, "ports": []})[0] == 200
    assert a.run("standby.power_off", wait=True)[0] == 200
    assert a.process.popen.wait(20) == 0
    calls = trace.read_text()
    assert calls.count("bind(") == 1, calls
    assert "connect(" not in calls and "sendto(" not in calls and "sendm" not in calls, calls


def test_it_is_small(agent):
    a = agent(program="src/agent/inox-agent")
    status = pathlib.Path(f"/proc/{a.process.pid}/status").read_text()
    anonymous = int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])
    assert anonymous < 8 * 1024, status
