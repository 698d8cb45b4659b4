"""inox-agent in the classic mode, against an API that answers as the captured one did: look-up, token,
heartbeats, the certificate they deliver, and what an API may do wrong."""
import http.client
import http.server
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, log_of, make_image  # noqa: E402

ROOT = REPOSITORY / "tests/data/agent-root"
TOKEN = "0123456789abcdefghijABCDEFGHIJ0123456789abc"
OTHER = "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkj"
NODE = "11111111-1111-4111-8111-111111111111"
MACS = "fa%3A16%3A3e%3Aaa%3Abb%3A01%2C52%3A54%3A00%3A12%3A34%3A56%2Ce4%3A1d%3A2d%3A00%3Abe%3Aef"
SLEEP = {"step": {"interface": "deploy", "step": "lab_sleep", "args": {"seconds": 60}},
         "node": {"uuid": NODE}, "ports": []}


def fault(sentence):
    return {"error_message": json.dumps({"faultcode": "Client", "faultstring": sentence, "debuginfo": None})}


def looked_up(token=TOKEN, timeout=300, **more):
    return 200, {"node": {"uuid": NODE, "properties": {"cpu_arch": "x86_64"}, "instance_info": {},
                          "driver_internal_info": {"agent_secret_token": "******"}, "links": []},
                 "config": {"metrics": {"backend": "noop"}, "heartbeat_timeout": timeout,
                            "agent_token": token, "agent_token_required": True, **more}}


NOT_FOUND = 404, fault("Resource could not be found.")
LOCKED = 409, fault("Node 1 is locked by host h, please retry after the current operation is completed.")


class Api:
    """An Ironic API with two resources.  `lookups` and `heartbeats` are what it answers, in this order; the
    last one again and again.  An answer is (status, document), (status, bytes) or (status, bytes, headers)."""

    def __init__(self, version="1.82", lookups=(looked_up(),), heartbeats=((202, b""),), context=None):
        self.version, self.requests, self.lock = version, [], threading.Lock()
        self.answers = {"lookup": list(lookups), "heartbeat": list(heartbeats)}
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = api.take(self.command, self.path, self.headers, body)
                data = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
                for name, value in {**headers, **(answer[2] if len(answer) > 2 else {})}.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, method, path, headers, body):
        kind = "lookup" if "/v1/lookup" in path else "heartbeat" if "/v1/heartbeat/" in path else "root"
        with self.lock:
            self.requests.append({"kind": kind, "method": method, "path": path, "headers": dict(headers),
                                  "body": json.loads(body) if body else None, "at": time.monotonic()})
            if kind == "root":
                if self.version is None:
                    return 503, b"busy"
                return 200, {"name": "OpenStack Ironic API", "default_version": {"id": "v1", "version": self.version}}
            answers = self.answers[kind]
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def of(self, kind):
        with self.lock:
            return [r for r in self.requests if r["kind"] == kind]

    def wait_for(self, kind, count, seconds=20):
        wait_until(lambda: len(self.of(kind)) >= count, seconds, what=f"{count} {kind}")
        return self.of(kind)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def api():
    made = []

    def make(**options):
        made.append(Api(**options))
        return made[-1]
    yield make
    for a in made:
        a.close()


class Agent:
    def __init__(self, build, folder, spawn, url, cmdline="", boot_token=None, transport=None, port=None,
                 wrapper=(), listen="127.0.0.1", config=None):
        self.root = folder / "root"
        if not self.root.exists():
            shutil.copytree(ROOT, self.root, symlinks=True)
        (self.root / "run").mkdir(exist_ok=True)
        if boot_token:
            (self.root / "etc/inox").mkdir(parents=True, exist_ok=True)
            (self.root / "etc/inox/agent-token").write_text(boot_token + "\n")
        self.port = port or free_port()
        (self.root / "proc/cmdline").write_text(
            f"quiet ipa-api-url={url} {cmdline} {f'inox-transport={transport}' if transport else ''}")
        self.process = spawn([*wrapper, build / "tests/integration/inox-agent-lab", "--root", self.root,
                              "--listen", f"{listen}:{self.port}", *(["--config", config] if config else [])],
                             "agent")
        self.process.wait_log("agent listens")

    def ask(self, method, path, body=None, token=TOKEN, cafile=None, wait=False):
        """One request; without a cafile the certificate is not looked at, as the first look does not."""
        context = ssl.create_default_context(cadata=cafile)
        if not cafile:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)
        path += f"?wait={str(wait).lower()}" + (f"&agent_token={token}" if token else "")
        connection.request(method, path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text)

    def run(self, name, params=None, wait=False, **options):
        return self.ask("POST", "/v1/commands/", {"name": name, "params": params or {}}, wait=wait, **options)

    def tokens_in_log(self):
        return [t for t in (TOKEN, OTHER) if t in self.process.log()]


@pytest.fixture
def agent(build, folder, spawn):
    started = []

    def start(url, **options):
        started.append(Agent(build, folder, spawn, url, **options))
        return started[-1]
    yield start
    for a in started:
        if a.process.popen.poll() is None:
            assert a.process.stop() == 0
        assert not a.tokens_in_log(), a.process.log()
        assert "Sanitizer" not in a.process.log() and "runtime error:" not in a.process.log(), a.process.log()


# ---- look-up

def test_lookup_is_tried_until_the_node_is_known(api, agent):
    fake = api(lookups=[NOT_FOUND, (500, b"<html>"), looked_up()])
    a = agent(fake.url + "//")
    beat = fake.wait_for("heartbeat", 1)[0]
    root, *lookups = [r for r in fake.requests if r["kind"] != "heartbeat"]
    assert (root["method"], root["path"]) == ("GET", "/")
    assert "X-OpenStack-Ironic-API-Version" not in root["headers"]
    assert len(lookups) == 3
    for request in lookups:
        assert request["path"] == f"/v1/lookup?addresses={MACS}"
        assert request["headers"]["X-OpenStack-Ironic-API-Version"] == "1.62"
        assert request["headers"]["Accept"] == "application/json"
    # 1 to 2 s, then 1 to 4 s.
    assert 0.9 < lookups[1]["at"] - lookups[0]["at"] < 3
    assert 0.9 < lookups[2]["at"] - lookups[1]["at"] < 5
    assert beat["path"] == f"/v1/heartbeat/{NODE}" and beat["method"] == "POST"
    assert beat["headers"]["X-OpenStack-Ironic-API-Version"] == "1.68"
    assert list(beat["body"]) == ["callback_url", "agent_token", "agent_version", "agent_verify_ca"]
    assert beat["body"]["callback_url"] == f"https://127.0.0.1:{a.port}"
    assert beat["body"]["agent_token"] == TOKEN
    assert "Resource could not be found." in a.process.log()
    # What the look-up gave is what commands need.
    assert a.run("standby.sync")[0] == 200
    assert a.run("standby.sync", token=OTHER)[0] == 401


def test_commands_are_refused_until_the_lookup(api, agent):
    fake = api(lookups=[NOT_FOUND])
    a = agent(fake.url)
    fake.wait_for("lookup", 1)
    assert a.run("standby.sync")[0] == 401
    assert a.run("standby.sync", token=None)[0] == 401
    assert a.ask("GET", "/v1/status", token=None)[0] == 200


def test_masked_token_without_one_refuses_commands_and_goes_on(api, agent):
    fake = api(lookups=[looked_up("******"), looked_up("******"), looked_up()])
    a = agent(fake.url)
    fake.wait_for("lookup", 2)
    assert a.run("standby.sync", token="******")[0] == 401
    assert fake.of("heartbeat") == []
    fake.wait_for("heartbeat", 1)
    assert a.run("standby.sync")[0] == 200
    assert a.process.log().count("given the token of this boot to somebody else") == 1


@pytest.mark.parametrize("given", ["short", None, "x" * 300, "0" * 31])
def test_texts_that_are_no_tokens_are_not_adopted(api, agent, given):
    fake = api(lookups=[looked_up(given), looked_up()])
    a = agent(fake.url)
    a.process.wait_log("gave no token")
    assert a.run("standby.sync", token=given)[0] == 401
    assert fake.wait_for("heartbeat", 1)[0]["body"]["agent_token"] == TOKEN


def test_token_of_the_boot_wins(api, agent):
    masked = api(lookups=[looked_up("******")])
    a = agent(masked.url, boot_token=TOKEN)
    assert masked.wait_for("heartbeat", 1)[0]["body"]["agent_token"] == TOKEN
    assert a.run("standby.sync")[0] == 200
    a.process.stop()
    hostile = api(lookups=[looked_up(OTHER)])
    b = agent(hostile.url, boot_token=TOKEN)
    assert hostile.wait_for("heartbeat", 1)[0]["body"]["agent_token"] == TOKEN
    assert b.run("standby.sync", token=OTHER)[0] == 401


def test_restarted_agent_is_the_same_to_the_api(api, agent):
    fake = api(lookups=[looked_up(), looked_up("******")])
    first = agent(fake.url)
    before = fake.wait_for("heartbeat", 1)[0]["body"]
    first.process.kill()
    kept = list((first.root / "run/inox").iterdir())
    assert sorted(p.name for p in kept) == ["agent-token", "agent.pem"]
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in kept)
    again = agent(fake.url, port=first.port)
    after = fake.wait_for("heartbeat", 2)[1]["body"]
    assert after == before
    assert again.run("standby.sync")[0] == 200


def test_rescue_ends_the_heartbeats_and_forgets_the_token(api, agent):
    with_token = api(lookups=[looked_up(timeout=5)])
    a = agent(with_token.url)
    with_token.wait_for("heartbeat", 1)
    (a.root / "etc/ipa-rescue-config").mkdir(parents=True)
    kept = a.root / "run/inox/agent-token"
    assert kept.exists()
    assert a.run("rescue.finalize_rescue", {"rescue_password": "open sesame"})[1]["command_status"] == "SUCCEEDED"
    count = len(with_token.of("heartbeat"))
    assert a.process.popen.wait(10) == 0
    assert len(with_token.of("heartbeat")) == count
    assert not kept.exists() and not (a.root / "run/inox/agent.pem").exists()


def test_node_of_another_boot_is_not_taken(api, agent):
    fake = api()
    other = "22222222-2222-4222-8222-222222222222"
    a = agent(fake.url, cmdline=f"inox-node={other}")
    a.process.wait_log("This boot belongs to node")
    assert fake.of("lookup")[0]["path"].endswith(f"&node_uuid={other}")
    assert a.run("standby.sync")[0] == 401 and fake.of("heartbeat") == []


@pytest.mark.parametrize("answer, sentence", [
    ((200, b"{"), "the answer to the look-up"),
    ((200, b"[]"), "no node with a uuid"),
    ((200, {"node": {"uuid": "x"}, "config": {"heartbeat_timeout": 300}}), "the answer to the look-up"),
    ((200, {"node": {"uuid": NODE}, "config": {}}), "no heartbeat_timeout"),
    ((200, {"node": {"uuid": NODE}, "config": {"heartbeat_timeout": -1}}), "no heartbeat_timeout"),
    ((200, b"[" * 100000), "the answer to the look-up"),
    ((200, b'{"a": "' + b"x" * (2 << 20) + b'"}'), "answers with more than"),
    ((302, b"", {"Location": "http://127.0.0.1:1/"}), "redirects are not followed"),
    ((200, b"zz\r\nx", {"Transfer-Encoding": "chunked", "Content-Length": None}), "chunked body is malformed"),
    ((200, b"{}", {"Content-Encoding": "gzip"}), "content coding 'gzip'"),
    ((403, fault("Access was denied to the following resource: /v1/lookup")), "Access was denied"),
    ((404, fault("a\x1b[31m\nlevel=error forged")), "status 404: a?[31m?level=error forged"),
])
def test_answers_that_are_wrong_are_named_and_survived(api, agent, answer, sentence):
    fake = api(lookups=[answer, looked_up()])
    a = agent(fake.url)
    fake.wait_for("heartbeat", 1)
    assert sentence in a.process.log()
    assert a.run("standby.sync")[0] == 200


def test_conflict_waits_longer(api, agent):
    fake = api(lookups=[LOCKED, looked_up()])
    agent(fake.url)
    first, second = fake.wait_for("lookup", 2)
    assert 5.9 < second["at"] - first["at"] < 9


def test_lookup_that_takes_too_long_starts_over_and_ends_with_the_agent(api, agent):
    fake = api(lookups=[NOT_FOUND])
    a = agent(fake.url, cmdline="ipa-lookup-timeout=1")
    a.process.wait_log("no look-up succeeded in its time")
    assert a.ask("GET", "/v1/status", token=None)[0] == 200
    began = time.monotonic()
    assert a.process.stop() == 0
    assert time.monotonic() - began < 5


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_it_dials_the_api_and_nobody_else(api, agent, folder):
    fake = api(lookups=[looked_up(timeout=1, agent_verify_ca="http://127.0.0.1:1/")])
    trace = folder / "trace"
    a = agent(fake.url, wrapper=["env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-o", trace, "-e",
                                 "trace=connect,sendto,sendmsg,sendmmsg"])
    fake.wait_for("heartbeat", 3)
    assert a.run("standby.power_off", wait=True)[0] == 200
    assert a.process.popen.wait(20) == 0
    calls = trace.read_text()
    assert set(re.findall(r"connect\(.*htons\((\d+)\)", calls)) == {fake.url.rpartition(":")[2]}, calls


def test_silent_api_neither_blocks_the_agent_nor_its_end(agent):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        a = agent(f"http://127.0.0.1:{silent.getsockname()[1]}", cmdline="ipa-http-request-timeout=600")
        connection, _ = silent.accept()
        with connection:
            for _ in range(20):
                assert a.ask("GET", "/v1/status", token=None)[0] == 200
            began = time.monotonic()
            assert a.process.stop() == 0
            assert time.monotonic() - began < 5


def test_trickling_api_is_given_up(agent):
    with socket.create_server(("127.0.0.1", 0)) as slow:
        a = agent(f"http://127.0.0.1:{slow.getsockname()[1]}", cmdline="ipa-http-request-timeout=1")
        connection, _ = slow.accept()
        with connection:
            def told():
                try:
                    connection.sendall(b"H")
                except OSError:
                    pass
                return "in 1 seconds" in a.process.log()
            wait_until(told, 10)


def test_two_addresses_of_which_the_first_is_dead(api, agent):
    fake = api(lookups=[NOT_FOUND, looked_up(timeout=1)])
    dead = free_port()
    agent(f"http://127.0.0.1:{dead},{fake.url}")
    fake.wait_for("heartbeat", 2)


def test_second_address_takes_over(api, agent):
    first, second = api(lookups=[looked_up(timeout=1)]), api()
    a = agent(f"{first.url},{second.url}")
    first.wait_for("heartbeat", 1)
    assert second.requests == []
    first.close()
    assert second.wait_for("heartbeat", 1)[0]["body"]["agent_token"] == TOKEN
    assert a.run("standby.sync")[0] == 200


@pytest.mark.parametrize("version, lookup, keys", [
    (None, "1.31", ["callback_url"]),
    ("1.50", "1.50", ["callback_url", "agent_version"]),
    ("1.62", "1.62", ["callback_url", "agent_token", "agent_version"]),
])
def test_older_api_is_asked_in_its_version(api, agent, version, lookup, keys):
    fake = api(version=version)
    agent(fake.url)
    beat = fake.wait_for("heartbeat", 1)[0]
    assert fake.of("lookup")[0]["headers"]["X-OpenStack-Ironic-API-Version"] == lookup
    assert beat["headers"]["X-OpenStack-Ironic-API-Version"] == lookup
    assert list(beat["body"]) == keys


def test_version_and_request_id_of_the_boot(api, agent):
    fake = api()
    agent(fake.url, cmdline="ipa-ironic-api-version=1.68 ipa-global-request-id=req-12ab")
    beat = fake.wait_for("heartbeat", 1)[0]
    assert fake.of("root") == []
    assert beat["headers"]["X-OpenStack-Request-ID"] == "req-12ab"


# ---- heartbeats

def test_heartbeats_keep_their_interval(api, agent):
    fake = api(lookups=[looked_up(timeout=2)])
    agent(fake.url)
    beats = fake.wait_for("heartbeat", 5)
    gaps = [b["at"] - a["at"] for a, b in zip(beats, beats[1:])]
    assert all(0.55 < gap < 2 for gap in gaps), gaps
    assert len({round(gap, 3) for gap in gaps}) > 1, "they are spread"


def test_command_that_ends_is_told_at_once_but_not_too_often(api, agent):
    fake = api()
    a = agent(fake.url)
    first = fake.wait_for("heartbeat", 1)[0]
    assert a.run("deploy.execute_deploy_step", SLEEP)[0] == 200
    (a.root / "run/lab-go").touch()
    second = fake.wait_for("heartbeat", 2)[1]
    assert 4.9 < second["at"] - first["at"] < 8
    # Twice in a row is told once.
    assert a.run("deploy.execute_deploy_step", SLEEP)[0] in (200, 409)
    third = fake.wait_for("heartbeat", 3)[2]
    assert third["at"] - second["at"] > 4.9


def test_refused_heartbeats_come_again(api, agent):
    fake = api(lookups=[looked_up(timeout=1)], heartbeats=[LOCKED, (202, b"")])
    a = agent(fake.url)
    first, second, third = fake.wait_for("heartbeat", 3)[:3]
    assert 4.9 < second["at"] - first["at"] < 12
    assert third["at"] - second["at"] < 2
    assert "is locked by host" in a.process.log() and "takes heartbeats again" in a.process.log()


def test_redirected_heartbeat_is_not_followed(api, agent):
    elsewhere = api()
    fake = api(heartbeats=[(307, b"", {"Location": elsewhere.url + f"/v1/heartbeat/{NODE}"})])
    a = agent(fake.url)
    a.process.wait_log("redirects are not followed")
    assert elsewhere.requests == []


def test_new_token_from_the_control_plane_is_shown(api, agent):
    fake = api(lookups=[looked_up(timeout=1)])
    a = agent(fake.url)
    fake.wait_for("heartbeat", 1)
    info = {"node": {"uuid": NODE}, "config": {"agent_token": OTHER}}
    assert a.run("poll.set_node_info", {"node_info": info})[0] == 200
    wait_until(lambda: fake.of("heartbeat")[-1]["body"]["agent_token"] == OTHER)


# ---- TLS

def test_certificate_is_delivered_and_can_be_pinned(api, agent):
    fake = api(lookups=[looked_up(timeout=1)])
    a = agent(fake.url)
    beats = fake.wait_for("heartbeat", 2)
    pem = beats[0]["body"]["agent_verify_ca"]
    assert pem.startswith("-----BEGIN CERTIFICATE-----") and "PRIVATE" not in pem
    assert beats[1]["body"]["agent_verify_ca"] == pem
    assert a.run("standby.sync", cafile=pem)[0] == 200
    assert a.run("standby.sync", cafile=pem, token=OTHER)[0] == 401


def test_certificate_is_for_the_advertised_name(api, agent, folder):
    fake = api()
    a = agent(fake.url, cmdline="ipa-advertise-host=node-7.example ipa-advertise-port=443")
    body = fake.wait_for("heartbeat", 1)[0]["body"]
    assert body["callback_url"] == "https://node-7.example:443"
    context = ssl.create_default_context(cadata=body["agent_verify_ca"])
    with context.wrap_socket(socket.create_connection(("127.0.0.1", a.port), 20),
                             server_hostname="node-7.example") as s:
        assert s.version() == "TLSv1.3"
    # The certificate of this name is kept for the next start.
    a.process.kill()
    b = agent(fake.url, cmdline="ipa-advertise-host=node-7.example ipa-advertise-port=443")
    assert fake.wait_for("heartbeat", 2)[1]["body"]["agent_verify_ca"] == body["agent_verify_ca"]
    assert (b.root / "run/inox/agent.pem").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in b.process.log()


def test_without_an_address_of_its_own_it_tells_the_one_the_api_sees(api, agent):
    fake = api()
    a = agent(fake.url, listen="0.0.0.0")
    body = fake.wait_for("heartbeat", 1)[0]["body"]
    assert body["callback_url"] == f"https://127.0.0.1:{a.port}"
    assert a.run("standby.sync", cafile=body["agent_verify_ca"])[0] == 200


def test_plain_http_by_name(api, agent):
    fake = api()
    a = agent(fake.url, transport="http")
    body = fake.wait_for("heartbeat", 1)[0]["body"]
    assert body["callback_url"] == f"http://127.0.0.1:{a.port}"
    assert "agent_verify_ca" not in body


def make_certificate(folder, names):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=api", "-addext", f"subjectAltName={names}", "-days", "2",
                    "-keyout", folder / "api.key", "-out", folder / "api.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "api.crt", folder / "api.key")
    return context


def test_api_over_tls(api, agent, folder):
    fake = api(context=make_certificate(folder, "IP:127.0.0.1"))
    a = agent(fake.url)
    a.process.wait_log("is not trusted")
    assert fake.requests == []
    a.process.stop()
    agent(fake.url, cmdline=f"ipa-cafile={folder}/api.crt")
    fake.wait_for("heartbeat", 1)


def test_api_certificate_must_be_for_its_address(api, agent, folder):
    fake = api(context=make_certificate(folder, "IP:127.0.0.2"))
    a = agent(fake.url, cmdline=f"ipa-cafile={folder}/api.crt")
    a.process.wait_log("is not trusted")
    a.process.stop()
    agent(fake.url, cmdline="ipa-insecure=1")
    fake.wait_for("heartbeat", 1)


# ---- reading without a token

def test_reading_without_a_token_has_to_be_asked_for(api, agent):
    fake = api()
    a = agent(fake.url)
    fake.wait_for("heartbeat", 1)
    assert a.ask("GET", "/v1/commands/", token=None)[0] == 401
    a.process.stop()
    b = agent(fake.url, cmdline="inox-allow-tokenless-get=1")
    fake.wait_for("heartbeat", 2)
    assert b.run("standby.sync")[0] == 200
    status, document = b.ask("GET", "/v1/commands/", token=None)
    assert status == 200 and len(document["commands"]) == 1
    assert b.ask("GET", f"/v1/commands/{document['commands'][0]['id']}", token=None)[0] == 200
    assert b.ask("GET", "/v1/commands/", token=OTHER)[0] == 401
    assert b.run("standby.sync", token=None)[0] == 401


# ---- arguments

def test_arguments_without_meaning_are_named_once(api, agent):
    fake = api()
    a = agent(fake.url, cmdline="ipa-inspection-collectors=default ipa-inspection-callback-url=http://h/secretive "
                                "ipa-agent-token-required=1")
    lines = [line for line in a.process.log().splitlines() if "mean nothing" in line]
    assert len(lines) == 1
    assert "ipa-inspection-callback-url,ipa-inspection-collectors" in lines[0]
    assert "secretive" not in a.process.log() and "token-required" not in lines[0]


@pytest.mark.parametrize("said", ["true", "false", "1", "no"])
@pytest.mark.parametrize("where", ["kernel", "file", "look-up"])
def test_a_token_is_required_whoever_says_otherwise(api, agent, folder, where, said):
    truth = said in ("true", "1")
    fake = api(lookups=[looked_up(**({"agent_token_required": truth} if where == "look-up" else {}))])
    config = folder / "agent.conf"
    config.write_text(f"[DEFAULT]\nagent_token_required = {said}\n")
    a = agent(fake.url, cmdline=f"ipa-agent-token-required={said}" if where == "kernel" else "",
              config=config if where == "file" else None)
    fake.wait_for("heartbeat", 1)
    assert a.run("standby.sync", token=None)[0] == 401
    assert a.run("standby.sync", token="")[0] == 401
    assert a.run("standby.sync", token=OTHER)[0] == 401
    assert a.ask("GET", "/v1/commands/", token=None)[0] == 401
    assert a.run("standby.sync")[0] == 200
    assert fake.of("heartbeat")[0]["body"]["agent_token"] == TOKEN
    assert "token-required" not in a.process.log() and "token_required" not in a.process.log(), "it is known"


# ---- with the control plane of this project

@pytest.mark.parametrize("delivery, transport", [("lookup", "pinned"), ("lookup", "http"), ("boot", "psk"),
                                                 ("boot", "pinned")])
def test_a_machine_is_deployed_in_active_mode(build, folder, inoxd, delivery, transport):
    port = free_port()
    rack = ProcessRack(build, folder, inoxd, (61, 7), {
        "agent": {"poll_only": False, "token_delivery": delivery, "transport": transport},
        "api": {"port": port}, "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}})
    try:
        machine, image = rack.add_machine(), make_image()
        rack.enrol(machine)
        rack.set_image("n1", image)
        rack.provision("n1", "active", "active", 60)
        assert machine.disk_head(len(image))[512:] == image[512:]
        assert "the API knows this machine" in log_of(rack)
    finally:
        print(log_of(rack)[-6000:])
        rack.stop()
