"""The agent token: one per boot, sealed at rest, shown to nobody, dead with its boot.

That no token and no password is in a log, a row, an answer or a process's arguments is checked at the end of every test that
uses a ProcessRack (rack/secret_watch.py); here the search itself is made to find something, on each of its ways.
"""
import base64
import http.client
import json
import os
import pathlib
import re
import resource
import secrets
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from api_support import fault  # noqa: E402
from conftest import ROLES, free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, agents_running, make_image  # noqa: E402
from rack.secret_watch import forms  # noqa: E402

IMAGE = make_image()
PASSWORD = "three herons at the weir"
REFUSED = "Invalid or missing agent token received."
METADATA = {"interface": "deploy", "step": "erase_devices_metadata"}
ERASE = {"interface": "deploy", "step": "erase_devices"}
WAYS = {  # name: (active, driver_info)
    "passive": (False, {}),
    "active": (True, {}),
    "lookup": (True, {"agent_delivery": "lookup"}),
    "lookup-http": (True, {"agent_delivery": "lookup", "agent_transport": "http"}),
    "contact": (False, {"agent_delivery": "contact"}),
    "contact-http": (False, {"agent_delivery": "contact", "agent_transport": "http"}),
}


class Site:
    """A rack with one machine, enrolled as n1."""

    def __init__(self, build, folder, inoxd, number, way="passive", media=False, config=None):
        active, info = WAYS[way]
        port = free_port()
        api = {"agent": {"poll_only": not active, "allow_first_contact": way.startswith("contact")}, "api": {"port": port},
               "service_catalog": {"endpoint_override": f"http://127.0.0.1:{port}"}}
        for group, options in (config or {}).items():
            api.setdefault(group, {}).update(options)
        self.active = active
        self.rack = ProcessRack(build, folder, inoxd, (72, number), api)
        self.machine = self.rack.add_machine()
        more = {"boot_interface": "redfish-virtual-media"} if media else {}
        self.uuid = self.rack.enrol(self.machine, **more)
        if info:
            self.rack.call("PATCH", "/v1/nodes/n1", [
                {"op": "add", "path": f"/driver_info/{key}", "value": value} for key, value in info.items()], want=200)
        self.rack.set_image("n1", IMAGE)

    def tokens(self):
        self.rack.secrets.note_machines()
        return self.rack.secrets.tokens()

    def row(self):
        with sqlite3.connect(self.rack.inoxd.state / "inox.sqlite") as database:
            database.row_factory = sqlite3.Row
            return dict(database.execute("SELECT * FROM nodes").fetchone())

    def wait_state(self, state, seconds=60):
        wait_until(lambda: self.rack.node("n1")["provision_state"] == state, seconds, what=f"n1 is {state}")

    def settle(self):
        wait_until(lambda: "operation" not in self.rack.flow("n1"), 30, what="nothing is under way")

    def beat(self, token):
        address = self.row()["agent_address"] or f"{self.rack.prefix}.10"
        return self.rack.inoxd.api("POST", f"/v1/heartbeat/{self.uuid}", {
            "callback_url": f"https://{address}:9999", "agent_token": token, "agent_version": "1"})

    def check_dead(self):
        """No token that any machine ever received is worth anything, and no row holds one."""
        tokens = self.tokens()
        assert tokens
        row = self.row()
        assert (row["agent_token"], row["agent_verifier"]) == (None, None)
        for token in tokens:
            answer = self.beat(token)
            if self.active:
                assert answer.status == 400 and fault(answer) == REFUSED
            else:
                assert answer.status == 404
        for query in (f"addresses={self.machine.mac}", f"node_uuid={self.uuid}"):
            assert self.rack.inoxd.api("GET", f"/v1/lookup?{query}").status == 404
        assert self.rack.published() == []


@pytest.fixture
def site(build, folder, inoxd):
    made = []

    def make(*args, **options):
        made.append(Site(build, folder, inoxd, len(made) + 1, *args, **options))
        return made[-1]
    yield make
    for s in made:
        s.rack.stop()


# ---- the life of a token

@pytest.mark.parametrize("way, media", [("passive", False), ("passive", True), ("active", False), ("active", True),
                                        ("lookup", False), ("lookup-http", False),
                                        ("contact", False), ("contact", True), ("contact-http", False)])
def test_each_boot_has_a_token_of_its_own_and_it_dies_with_it(site, way, media):
    s = site(way, media)
    for boot in (1, 2):
        s.rack.provision("n1", "active", "active", 90)
        assert len(s.tokens()) == boot, "one token for each boot"
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in s.tokens())
        s.check_dead()
        s.rack.provision("n1", "deleted", "available")
        s.check_dead()
        s.rack.set_image("n1", IMAGE)
    assert s.row()["boot_epoch"] == 2


@pytest.mark.parametrize("way", WAYS)
def test_the_token_dies_when_a_deployment_fails(site, way):
    s = site(way)
    s.rack.set_image("n1", IMAGE, image_os_hash_value="0" * 64)
    s.rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    s.wait_state("deploy failed")
    row = s.row()  # at once: its files and its power are taken care of afterwards
    assert (row["agent_token"], row["agent_verifier"]) == (None, None)
    s.settle()
    s.check_dead()


@pytest.mark.parametrize("way", ("passive", "lookup"))
def test_the_token_dies_with_a_cleaning(site, way):
    s = site(way)
    s.rack.provision("n1", "manage", "manageable")
    s.rack.provision("n1", "clean", "manageable", clean_steps=[METADATA])
    s.check_dead()
    # and with one that fails
    (s.machine.sysroot / "sys/block/vda/ro").write_text("1\n")
    s.rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "clean", "clean_steps": [ERASE]}, want=202)
    s.wait_state("clean failed")
    s.settle()
    s.check_dead()
    assert len(s.tokens()) == 2


@pytest.mark.parametrize("way", ("passive", "active", "lookup"))
def test_the_token_dies_with_a_rescue_and_with_its_end(site, way):
    s = site(way)
    s.rack.provision("n1", "active", "active", 90)
    for verb, state, more in (("rescue", "rescue", {"rescue_password": PASSWORD}), ("unrescue", "active", {})):
        before = len(s.tokens())
        s.rack.provision("n1", verb, state, 90, **more)
        if verb == "rescue":
            assert len(s.tokens()) == before + 1
        s.check_dead()
    assert PASSWORD in s.rack.secrets.secrets, "the search at the end looks for it"


def published_token(rack):
    archive = next((rack.boot_root / "http/once").glob("*/token.img")).read_bytes()
    return re.search(rb"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", archive).group(0).decode()


def wait_for_nobody(s, verb="active", state="wait call-back", **more):
    s.machine.plug_in(False)
    s.rack.provision("n1", verb, **more)
    s.wait_state(state)
    token = published_token(s.rack)
    s.rack.secrets.add(token, "agent token")
    return token


@pytest.mark.parametrize("way", ("passive", "active"))
def test_the_token_dies_with_an_abort(site, way):
    s = site(way)
    token = wait_for_nobody(s)
    row = s.row()
    assert row["agent_token"].startswith("sealed:v1:") and row["agent_verifier"].startswith("v1:")
    assert all(form not in json.dumps(row).encode() for form in forms(token))
    assert s.rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "abort"}).status == 202
    wait_until(lambda: s.row()["agent_token"] is None, 10, what="the token is dead")
    s.settle()
    s.check_dead()
    # The next boot has another one, and the old one opens nothing in it.
    again = wait_for_nobody(s)
    assert again != token
    if way == "active":
        assert fault(s.beat(token)) == REFUSED


def test_the_token_dies_with_an_aborted_cleaning(site):
    s = site("active")
    s.rack.provision("n1", "manage", "manageable")
    wait_for_nobody(s, "clean", "clean wait", clean_steps=[METADATA])
    assert s.rack.inoxd.api("PUT", "/v1/nodes/n1/states/provision", {"target": "abort"}).status == 202
    s.settle()
    s.check_dead()


def test_an_undeployment_before_the_agent_came_ends_its_token(site):
    s = site("active")
    token = wait_for_nobody(s)
    s.rack.provision("n1", "deleted")
    s.wait_state("available")
    s.settle()
    assert token in s.tokens()
    s.check_dead()


@pytest.mark.parametrize("role", ("api", "conductor", None))
def test_the_same_boot_keeps_its_token_whatever_restarts(site, role):
    s = site("active")
    token = wait_for_nobody(s)
    before = s.row()
    if role:
        children = s.rack.inoxd.children()
        os.kill(children[role], 9)
        wait_until(lambda: s.rack.inoxd.children().get(role, children[role]) != children[role], 20,
                   what=f"a new {role}")
    else:
        s.rack.inoxd.stop()
        s.rack.restart_inoxd()
    s.rack.node("n1")
    after = s.row()
    assert all(before[k] == after[k] for k in ("agent_token", "agent_verifier", "boot_epoch"))
    wait_until(lambda: s.beat(token).status == 202, 10, what="the token is taken")


# ---- given at the first contact

def give_as_a_stranger(s, address, transport, token):
    """What the conductor would do, done by somebody who was faster."""
    body = json.dumps({"name": "poll.set_node_info", "params": {"node_info": {
        "node": {"uuid": s.uuid}, "config": {"agent_token": token}}}})
    connection = http.client.HTTPConnection(address, 9999, timeout=10)
    if transport == "psk":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, 9999, timeout=10, context=context)
    connection.request("POST", "/v1/commands/?wait=true", body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def listens(address):
    try:
        socket.create_connection((address, 9999), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("way, transport", [("contact", "psk"), ("contact-http", "http")])
def test_an_agent_that_a_stranger_gave_a_token_is_not_deployed(site, way, transport):
    s = site(way, config={"conductor": {"deploy_callback_timeout": 5}})
    stranger = secrets.token_urlsafe(32)
    s.rack.secrets.add(stranger, "the stranger's token")
    dialer = s.rack.inoxd.children()["dialer"]
    os.kill(dialer, signal.SIGSTOP)
    s.rack.provision("n1", "active")
    address = wait_until(lambda: s.row()["agent_address"], 20, what="the agent's address")
    wait_until(lambda: listens(address), 20, what="the agent listens")
    assert give_as_a_stranger(s, address, transport, stranger)[0] == 200
    os.kill(dialer, signal.SIGCONT)
    s.wait_state("deploy failed")
    assert "refuses the token: HTTP 401" in s.rack.node("n1")["last_error"]
    assert s.machine.disk_head(1024) == bytes(1024)
    s.settle()
    assert s.rack.published() == []


def test_no_token_is_given_at_a_contact_unless_that_is_allowed(site):
    s = site("passive")
    s.rack.call("PATCH", "/v1/nodes/n1", [{"op": "add", "path": "/driver_info/agent_delivery", "value": "contact"}],
                want=200)
    shown = s.rack.call("GET", "/v1/nodes/n1/validate", want=200).json
    assert shown["deploy"]["result"] is False and "[agent]allow_first_contact" in shown["deploy"]["reason"]
    assert shown["rescue"]["result"] is False
    refused = s.rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=400)
    assert "[agent]allow_first_contact" in fault(refused)
    assert s.rack.node("n1")["provision_state"] == "available"
    s.rack.provision("n1", "manage", "manageable")
    refused = s.rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "clean", "clean_steps": [METADATA]}, want=400)
    assert "[agent]allow_first_contact" in fault(refused)


# ---- at rest

def test_the_sealing_key_is_made_once_and_for_its_owner_alone(inoxd):
    first = inoxd()
    key = first.state / "sealing.key"
    assert key.stat().st_mode & 0o777 == 0o600 and first.state.stat().st_mode & 0o077 == 0
    content = key.read_bytes()
    first.stop()
    assert first.config["DEFAULT"]["state_path"] == first.state
    inoxd({"DEFAULT": {"state_path": first.state}})
    assert key.read_bytes() == content


def test_a_token_without_its_key_is_worth_nothing(site):
    """Who has the database alone has no token; and neither has a conductor whose key was lost."""
    s = site("passive")
    wait_for_nobody(s)
    key = s.rack.inoxd.state / "sealing.key"
    content = key.read_bytes()
    s.rack.inoxd.stop()
    key.unlink()
    s.rack.restart_inoxd()
    assert key.read_bytes() != content
    s.wait_state("deploy failed")
    assert "sealed" in s.rack.node("n1")["last_error"]


# ---- what a program may call, that compares secrets

def undefined(build, name):
    objects = list((build / "src/base").glob(f"libbase.a.p/{name}.c.o"))
    assert objects, name
    shown = subprocess.run(["nm", "-u", *objects], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in shown.splitlines() if line.strip()}


@pytest.mark.parametrize("name", ("secret", "verifier"))
def test_secrets_are_compared_in_constant_time(build, name):
    """The two files that compare secrets have nothing at hand that ends early."""
    called = undefined(build, name)
    assert "CRYPTO_memcmp" in called
    assert not called & {"memcmp", "bcmp", "strcmp", "strncmp", "strcasecmp", "g_strcmp0", "g_str_equal",
                         "g_ascii_strcasecmp"}


# ---- processes

def limits(pid):
    text = pathlib.Path(f"/proc/{pid}/limits").read_text()
    return re.search(r"Max core file size\s+(\S+)\s+(\S+)", text).groups()


def test_no_program_that_knows_a_secret_leaves_a_core_dump(site):
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    s = site("active")
    stall = threading.Event()
    s.rack.images.behave["/image.raw"] = lambda handler: stall.wait(20)
    s.rack.provision("n1", "active")
    agents = wait_until(lambda: agents_running(s.rack.build, s.machine), 30, what="an agent runs")
    children = s.rack.inoxd.children()
    assert set(children) == set(ROLES)
    for name, pid in {**children, "inox-bmc": s.machine.bmc.pid, "agent": agents[0]}.items():
        assert limits(pid) == ("0", "0"), name
    stall.set()


# ---- the search itself

@pytest.fixture(scope="module")
def leaky(build, module_folder, module_inoxd):
    s = Site(build, module_folder, module_inoxd, 90)
    yield s
    s.rack.secrets.secrets = {}
    s.rack.stop()


def leak_log(s, token):
    with open(s.rack.inoxd.log_path, "a") as log:
        log.write(f'2026-01-01T00:00:00Z debug inoxd[1]: message="the token is {token}"\n')


def leak_agent_log(s, token):
    with open(s.machine.bmc.log_path, "a") as log:
        log.write(f"GET /v1/commands/?wait=false&agent_token={token}\n")


def leak_row(s, token, column="last_error"):
    with sqlite3.connect(s.rack.inoxd.state / "inox.sqlite") as database:
        database.execute(f"UPDATE nodes SET {column} = ?", [f"it was {token}"])


def leak_deleted_row(s, token):
    """Gone from every answer, and still in the file."""
    with sqlite3.connect(s.rack.inoxd.state / "inox.sqlite") as database:
        database.execute("CREATE TABLE gone (a TEXT)")
        database.execute("INSERT INTO gone VALUES (?)", [token])
    with sqlite3.connect(s.rack.inoxd.state / "inox.sqlite") as database:
        database.execute("DELETE FROM gone")


def leak_answer(s, token):
    leak_row(s, token)
    s.rack.read_everything()
    leak_row(s, "nothing")


def leak_command_line(s, token):
    (s.machine.sysroot / "proc/cmdline").write_text(f"quiet ipa-agent-token={token}\n")


def leak_script(s, token):
    (s.rack.boot_root / "http/boot/x.ipxe").write_text(f"kernel vmlinuz ipa-agent-token={token}\n")


def sample_a_process(s, words, environment):
    with subprocess.Popen(["sh", "-c", "read line", *words], stdin=subprocess.PIPE,
                          env={**os.environ, **environment}) as child:
        s.rack.secrets.sampled_at = 0
        s.rack.secrets.sample()
        child.stdin.close()


def leak_argument(s, token):
    sample_a_process(s, [f"--token={token}"], {})


def leak_environment(s, token):
    sample_a_process(s, [], {"AGENT_TOKEN": token})


def leak_base64(s, token):
    leak_log(s, base64.b64encode(f"x{token}yy".encode()).decode())


@pytest.mark.parametrize("leak, place", [
    (leak_log, "inoxd.log"), (leak_agent_log, "bmc.log"), (leak_row, "inox.sqlite"), (leak_deleted_row, "inox.sqlite"),
    (leak_answer, "an answer of the API"), (leak_command_line, "proc/cmdline"), (leak_script, "x.ipxe"),
    (leak_argument, "cmdline of process"), (leak_environment, "environ of process"), (leak_base64, "inoxd.log"),
])
def test_a_leak_is_found(leaky, leak, place):
    token = secrets.token_urlsafe(32)
    leaky.rack.secrets.secrets = {token: "agent token"}
    assert leaky.rack.secrets.found() == []
    leak(leaky, token)
    found = leaky.rack.secrets.found()
    assert found and all(sentence.startswith("agent token in ") for sentence in found)
    assert any(place in sentence for sentence in found), found
