"""Look-up and heartbeat: what agents of active nodes call, and what everybody else gets."""
import base64
import concurrent.futures
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from api_support import Api, fault, module_folder, start_inoxd  # noqa: E402,F401
from conftest import API_VERSION as LATEST, wait_until  # noqa: E402,F401

PREFIX = "127.62.1"
IMAGE = {"image_source": "http://127.0.0.1:1/i.raw", "image_checksum": "0" * 64}
NOWHERE = "Resource could not be found."


class Plane:
    """A control plane whose machines boot into nothing: the tests say what their agents would say."""

    def __init__(self, start, folder, config=None):
        self.root = folder / "boot"
        for name in ("http/boot", "http/once", "dhcp-hosts"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        base = {
            "agent": {"allowed_networks": f"{PREFIX}.0/24", "token_delivery": "lookup", "transport": "http"},
            "boot": {"root": self.root, "http_url": "http://127.0.0.1:1"},
            "service_catalog": {"endpoint_override": "http://127.0.0.1:6385/"},
            "conductor": {"sweep_interval": 1, "sync_power_state_interval": 0},
        }
        for group, options in (config or {}).items():
            base.setdefault(group, {}).update(options)
        self.api = Api(start(base))
        self.count = 0

    def node(self, deploy=True, **driver_info):
        """A node that waits for its agent; the result has uuid, mac, address and url."""
        self.count += 1
        made = Waiting()
        made.mac = "52:54:00:62:01:%02x" % self.count
        made.address = f"{PREFIX}.{self.count}"
        made.url = f"http://{made.address}:9999"
        made.uuid = self.api.create_node(
            instance_info=IMAGE, properties={"cpu_arch": "x86_64"},
            driver_info={"agent_address": made.address, **driver_info})["uuid"]
        self.api("POST", "/v1/ports", {"node_uuid": made.uuid, "address": made.mac}, status=201)
        self.api.provision(made.uuid, "manage", "manageable")
        self.api.provision(made.uuid, "provide", "available")
        if deploy:
            self.deploy(made)
        return made

    def deploy(self, node):
        self.api.provision(node.uuid, "active", "wait call-back")

    def look_up(self, node, version=LATEST, status=200, **more):
        query = "&".join(f"{k}={v}" for k, v in {"addresses": node.mac, **more}.items())
        return self.api("GET", f"/v1/lookup?{query}", version=version, status=status)

    def token(self, node):
        return self.look_up(node).json["config"]["agent_token"]

    def beat(self, node, token, version=LATEST, url=None, **more):
        body = {"callback_url": url or node.url, "agent_token": token, "agent_version": "9.4.3", **more}
        return self.api("POST", f"/v1/heartbeat/{node.uuid}", body, version=version)

    def row(self, node):
        with sqlite3.connect(self.api.process.state / "inox.sqlite") as database:
            database.row_factory = sqlite3.Row
            return dict(database.execute("SELECT * FROM nodes WHERE uuid = ?", [node.uuid]).fetchone())

    def wait_rest(self):
        """Until the conductor has written what there was to write."""
        seen = []

        def is_at_rest():
            seen.append(files(self))
            return len(seen) > 12 and all(each == seen[-1] for each in seen[-12:])
        wait_until(is_at_rest, 30, "the database is at rest")

    def metric(self, name):
        for line in self.api("GET", "/metrics", status=200).text.splitlines():
            if line.startswith(name + " "):
                return int(line.rsplit(" ", 1)[1])
        pytest.fail(f"no metric {name}")


class Waiting:
    """What is known of a node."""


@pytest.fixture(scope="module")
def plane(start_inoxd, module_folder):  # noqa: F811
    return Plane(start_inoxd, module_folder)


# ---- look-up


def test_arguments_are_checked_in_ironics_words(plane):
    api = plane.api
    for path, status, sentence in (
        ("", 400, "At least one of 'addresses' and 'node_uuid' parameters is required"),
        ("?addresses=", 400, "At least one of 'addresses' and 'node_uuid' parameters is required"),
        ("?addresses=zz,52:54", 400, "At least one of 'addresses' and 'node_uuid' parameters is required"),
        ("?node_uuid=x", 400, "Expected UUID for node_uuid: x"),
        ("?addresses=52:54:00:ff:ff:ff", 404, NOWHERE),
        ("?node_uuid=6f1c0ae4-0000-4000-8000-0123456789ab", 404, NOWHERE),
        ("?addresses=52:54:00:ff:ff:ff&bogus=1", 400, "Unexpected arguments: bogus"),
    ):
        answer = api("GET", "/v1/lookup" + path)
        assert (answer.status, fault(answer)) == (status, sentence), path
    assert fault(api("GET", "/v1/lookup", version="1.21", status=404)) == NOWHERE
    assert api("POST", "/v1/lookup", {}).status == 405
    assert api("GET", "/v1/heartbeat/x").status == 405


def test_the_first_lookup_gives_the_token_and_no_other_does(plane):
    node = plane.node()
    given = plane.metric('inox_api_lookups_total{token="given"}')
    # In capitals, among addresses of other machines and of none
    answer = plane.api("GET", f"/v1/lookup?addresses=zz,{node.mac.upper()},52:54:00:aa:aa:aa", status=200)
    token = answer.json["config"]["agent_token"]
    assert len(token) == 43 and set(token) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    shown = answer.json["node"]
    assert set(shown) == {"uuid", "properties", "instance_info", "driver_internal_info", "links"}
    assert shown["uuid"] == node.uuid and shown["properties"] == {"cpu_arch": "x86_64"}
    assert shown["driver_internal_info"]["agent_secret_token"] == "******"
    assert shown["links"][0]["href"].endswith(f"/v1/nodes/{node.uuid}")
    config = answer.json["config"]
    assert config["heartbeat_timeout"] == 300 and config["agent_token_required"] is True
    assert config["metrics"] == {"backend": "noop", "prepend_host": False, "prepend_uuid": False,
                                 "prepend_host_reverse": True, "global_prefix": None}
    assert set(config) == {
        "metrics", "metrics_statsd", "heartbeat_timeout", "agent_containers", "agent_token", "agent_token_required",
        "agent_md5_checksum_enable", "disable_deep_image_inspection", "permitted_image_formats",
        "agent_skip_bmc_detect", "enable_bios_bootloader_install", "tls_min_version", "tls_cipher_suites"}
    for _ in range(2):
        assert plane.token(node) == "******"
    assert plane.look_up(node, node_uuid=node.uuid).json["config"]["agent_token"] == "******"
    assert plane.metric('inox_api_lookups_total{token="given"}') == given + 1
    row = plane.row(node)
    assert row["agent_token"].startswith("sealed:v1:") and token not in json.dumps(row)
    assert token not in plane.api("GET", f"/v1/nodes/{node.uuid}").text + plane.api.process.log()


def test_of_many_at_once_one_gets_the_token(plane):
    node = plane.node()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(lambda _: plane.token(node), range(32)))
    assert len([t for t in tokens if t != "******"]) == 1


def test_old_agents_get_no_token_and_take_none_away(plane):
    node = plane.node()
    assert plane.look_up(node, version="1.61").json["config"]["agent_token"] is None
    assert len(plane.token(node)) == 43
    assert plane.look_up(node, version="1.22").json["config"]["agent_token"] is None


def test_a_uuid_alone_does_not_get_the_token(plane):
    node, other = plane.node(), plane.node(deploy=False)
    for query in (f"node_uuid={node.uuid}", f"node_uuid={node.uuid}&addresses=52:54:00:ff:ff:ff",
                  f"node_uuid={node.uuid}&addresses={other.mac}", f"addresses={node.mac},{other.mac}"):
        assert fault(plane.api("GET", f"/v1/lookup?{query}", status=404)) == NOWHERE
    assert plane.row(node)["agent_token"] is None
    assert len(plane.token(node)) == 43


def test_a_token_that_came_with_the_boot_is_never_shown(plane):
    node = plane.node(agent_delivery="boot")
    images = [p.read_bytes() for p in (plane.root / "http/once").glob("*/token.img")]
    assert images
    assert plane.token(node) == "******"
    tokens = [image[image.find(b"agent-token\0"):].split(b"TRAILER")[0] for image in images]
    text = plane.look_up(node).text
    assert all(piece.decode() not in text for t in tokens for piece in t.split(b"\0") if len(piece) == 43)


def test_with_lookup_no_token_file_is_published(plane):
    before = set((plane.root / "http/once").glob("*/token.img"))
    node = plane.node()
    assert set((plane.root / "http/once").glob("*/token.img")) == before
    script = next((plane.root / "http/boot" / node.mac.replace(":", "-")).glob("*.ipxe")).read_text()
    assert "ipa-api-url=http://127.0.0.1:6385 " in script and "token.img" not in script


def test_a_node_at_rest_and_a_passive_one_are_not_there(plane):
    at_rest = plane.node(deploy=False)
    passive = plane.node(agent_poll_only=True)
    wait_until(lambda: "refused the connection" in plane.row(passive)["flow"], 20, "the passive node was dialled")
    before = plane.row(passive)
    for node in (at_rest, passive):
        for query in (f"addresses={node.mac}", f"node_uuid={node.uuid}"):
            assert fault(plane.api("GET", f"/v1/lookup?{query}", status=404)) == NOWHERE
    nobody = "6f1c0ae4-0000-4000-8000-0123456789ab"
    unknown = plane.api("POST", f"/v1/heartbeat/{nobody}", {"callback_url": "http://127.0.0.1:9999"})
    refused = plane.api("POST", f"/v1/heartbeat/{passive.uuid}", {"callback_url": "http://127.0.0.1:9999"})
    assert (refused.status, fault(refused)) == (404, f"Node {passive.uuid} could not be found.")
    assert (unknown.status, fault(unknown)) == (404, f"Node {nobody} could not be found.")
    assert fault(plane.beat(at_rest, "x" * 43)) == "Invalid or missing agent token received."
    assert plane.row(passive) == before
    script = next((plane.root / "http/boot" / passive.mac.replace(":", "-")).glob("*.ipxe")).read_text()
    assert "ipa-api-url" not in script


# ---- heartbeat


@pytest.fixture(scope="module")
def called(plane):
    """A node whose agent has its token; nothing but refusals happens to it."""
    node = plane.node()
    node.token = plane.token(node)
    return node


@pytest.mark.parametrize("body, version, sentence", [
    ({}, LATEST, "Missing mandatory parameter: callback_url"),
    ({"callback_url": None}, LATEST, "Missing mandatory parameter: callback_url"),
    ({"callback_url": "URL", "agent_version": "9"}, LATEST, "Agent token is required for heartbeat processing."),
    ({"callback_url": "URL", "agent_version": "9", "agent_token": None}, LATEST,
     "Agent token is required for heartbeat processing."),
    ({"callback_url": "URL", "agent_version": "9", "agent_token": "wrong"}, LATEST,
     "Invalid or missing agent token received."),
    ({"callback_url": "URL", "agent_version": "9", "agent_token": ""}, LATEST,
     "Invalid or missing agent token received."),
    ({"callback_url": "URL", "agent_version": "9", "agent_token": "TOKEN", "bogus": 1}, LATEST,
     "Unexpected arguments: bogus"),
    ({"callback_url": "URL", "agent_token": "TOKEN"}, LATEST,
     "Agent did not transmit a version, and a version is required. Please update the agent being used."),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9"}, "1.35",
     'Field "agent_version" not recognised'),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9", "agent_verify_ca": "x"}, "1.67",
     'Field "agent_verify_ca" not recognised in this version'),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9", "agent_status": "end"}, "1.71",
     'Fields "agent_status" and "agent_status_message" not recognised.'),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9", "agent_status": "lost"}, LATEST,
     "Agent status is invalid. Valid states are start,end,error."),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9", "agent_verify_ca": "x"}, LATEST,
     "agent_verify_ca: it is not one certificate in PEM form"),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9\n8"}, LATEST,
     "agent_version has a character that is not printable"),
    ({"callback_url": "URL", "agent_token": "TOKEN", "agent_version": "9" * 65}, LATEST,
     "agent_version is longer than 64 bytes"),
    ({"callback_url": "URL", "agent_token": 7, "agent_version": "9"}, LATEST, "Schema error for agent_token"),
    ({"callback_url": ["URL"], "agent_token": "TOKEN", "agent_version": "9"}, LATEST,
     "Schema error for callback_url"),
])
def test_a_bad_heartbeat_is_refused_and_writes_nothing(plane, called, body, version, sentence):
    before, refused = plane.row(called), plane.metric('inox_api_heartbeats_total{result="refused"}')
    words = {"URL": called.url, "TOKEN": called.token}
    body = {k: words.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    answer = plane.api("POST", f"/v1/heartbeat/{called.uuid}", body, version=version)
    assert answer.status == 400 and fault(answer).startswith(sentence)
    assert called.token not in answer.text
    assert plane.row(called) == before
    assert plane.metric('inox_api_heartbeats_total{result="refused"}') == refused + 1


@pytest.mark.parametrize("url", [
    "", "127.62.1.1:9999", "ftp://{a}:9999", "http://{a}", "http://{a}:9999/path", "http://{a}:22", "http://127.62.1.250:9999",
    "http://169.254.169.254:80", "http://user@{a}:9999", "http://{a}:9999#x", "http://localhost:9999",
    "http://[::1]:9999", "file:///etc/passwd", "http://{a}:9999@127.0.0.1:1", "http://" + "a" * 9000,
])
def test_a_callback_to_anywhere_else_is_refused_and_writes_nothing(plane, called, url):
    before = plane.row(called)
    answer = plane.beat(called, called.token, url=url.format(a=called.address) or " ")
    assert answer.status == 400
    assert "callback_url" in fault(answer)
    assert plane.row(called) == before


@pytest.mark.parametrize("body", ["{", "[]", '"x"', '{"callback_url": 1, "callback_url": 2}', "\x00"])
def test_bodies_that_are_no_object_are_refused(plane, called, body):
    assert plane.api("POST", f"/v1/heartbeat/{called.uuid}", body).status == 400


def test_a_large_body_is_refused(plane, called):
    assert plane.beat(called, called.token, agent_status_message="x" * 70000).status == 413


def test_idents_are_uuids_or_names(plane):
    assert plane.api("POST", "/v1/heartbeat/a%20b", {}).status == 400
    assert plane.api("POST", "/v1/heartbeat/nobody", {}).status == 404
    assert plane.api("POST", "/v1/heartbeat/nobody", {}, version="1.21").status == 404


def test_tls_is_required_unless_http_was_asked_for(plane):
    node = plane.node(agent_transport="psk")
    token = plane.token(node)
    answer = plane.beat(node, token)
    assert (answer.status, fault(answer)) == (400, "TLS is required by configuration")
    assert plane.beat(node, token, url=node.url.replace("http", "https")).status == 202
    plain = plane.node()
    answer = plane.beat(plain, plane.token(plain), url=plain.url.replace("http", "https"))
    assert answer.status == 400 and "serves TLS" in fault(answer)


def test_a_heartbeat_says_where_the_agent_is(plane):
    node = plane.node()
    token = plane.token(node)
    why = plane.api("GET", f"/v1/nodes/{node.uuid}/flow").json["why"]
    assert "first heartbeat" in why
    answer = plane.beat(node, token)
    assert (answer.status, answer.text) == (202, "")
    shown = plane.api("GET", f"/v1/nodes/{node.uuid}").json["driver_internal_info"]
    assert shown["agent_url"] == node.url and shown["agent_version"] == "9.4.3"
    assert shown["agent_last_heartbeat"]
    assert "first heartbeat" not in plane.api("GET", f"/v1/nodes/{node.uuid}/flow").json["why"]
    assert plane.beat(node, token, url=node.url + "/").status == 202
    changed = plane.beat(node, token, url=f"http://{PREFIX}.250:9999")
    assert (changed.status, fault(changed)) == (400, 'Detected change in ramdisk provided "callback_url"')
    # by name, by query, and in maintenance: all the same
    plane.api("PUT", f"/v1/nodes/{node.uuid}/maintenance", {}, status=202)
    assert plane.beat(node, token).status == 202
    query = f"callback_url={node.url}&agent_token={token}&agent_version=9"
    assert plane.api("POST", f"/v1/heartbeat/{node.uuid}?{query}").status == 202
    twice = plane.api("POST", f"/v1/heartbeat/{node.uuid}?{query}", {"agent_token": token})
    assert twice.status == 400 and "twice" in fault(twice)
    assert token not in plane.api.process.log()


def test_another_nodes_token_is_no_token(plane):
    one, other = plane.node(), plane.node()
    tokens = plane.token(one), plane.token(other)
    assert fault(plane.beat(one, tokens[1])) == "Invalid or missing agent token received."
    assert plane.beat(one, tokens[0]).status == 202


def make_certificate(folder, name):
    path = folder / name
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes",
                    "-keyout", "/dev/null", "-subj", f"/CN={name}", "-days", "30", "-out", path],
                   check=True, stderr=subprocess.DEVNULL)
    return path.read_text()


def test_the_certificate_of_the_first_heartbeat_is_pinned(plane, module_folder):  # noqa: F811
    certificate, another = make_certificate(module_folder, "a"), make_certificate(module_folder, "b")
    node = plane.node(agent_transport="pinned")
    node.url = node.url.replace("http", "https")
    token = plane.token(node)
    before = plane.row(node)
    for bad in (certificate + another, certificate[:-40], "x" * 17000, "\0"):
        assert plane.beat(node, token, agent_verify_ca=bad).status == 400
    assert plane.row(node) == before
    assert plane.beat(node, token, agent_verify_ca=certificate).status == 202
    der = base64.b64decode("".join(certificate.split("-----")[2].split()))
    import hashlib
    assert json.loads(plane.row(node)["flow"])["pin"] == hashlib.sha256(der).hexdigest()
    assert plane.beat(node, token, agent_verify_ca=certificate.strip()).status == 202
    changed = plane.beat(node, token, agent_verify_ca=another)
    assert (changed.status, fault(changed)) == (400, 'Detected change in ramdisk provided "agent_verify_ca"')


def test_the_token_of_an_earlier_boot_is_refused_counted_and_shown(plane):
    node = plane.node()
    old = plane.token(node)
    assert plane.beat(node, old).status == 202
    # undeploy: the boot is over
    plane.api("PUT", f"/v1/nodes/{node.uuid}/states/provision", {"target": "deleted"}, status=202)
    plane.api.wait_state(node.uuid, "available")
    plane.api("PATCH", f"/v1/nodes/{node.uuid}", [{"op": "add", "path": "/instance_info", "value": IMAGE}], status=200)
    assert fault(plane.beat(node, old)) == "Invalid or missing agent token received."
    plane.deploy(node)
    counted = plane.metric('inox_api_heartbeats_total{result="old token"}')
    refused = plane.beat(node, old)
    assert (refused.status, fault(refused)) == (400, "Invalid or missing agent token received.")
    assert plane.metric('inox_api_heartbeats_total{result="old token"}') == counted + 1
    assert "token of an earlier boot" in plane.api("GET", f"/v1/nodes/{node.uuid}/flow").json["why"]
    revision = plane.row(node)["revision"]
    plane.beat(node, old)
    assert plane.row(node)["revision"] == revision
    new = plane.token(node)
    assert new not in ("******", old) and plane.beat(node, new).status == 202


def test_an_agent_that_outlived_its_boot_is_seen_where_nothing_is_under_way(start_inoxd, module_folder):  # noqa: F811
    (module_folder / "alone").mkdir()
    plane = Plane(start_inoxd, module_folder / "alone")
    node = plane.node()
    old = plane.token(node)
    assert plane.beat(node, old).status == 202
    plane.api("PUT", f"/v1/nodes/{node.uuid}/states/provision", {"target": "deleted"}, status=202)
    plane.api.wait_state(node.uuid, "available")
    flow = f"/v1/nodes/{node.uuid}/flow"
    assert plane.api("GET", flow).json == {}
    assert fault(plane.beat(node, "x" * 43)) == "Invalid or missing agent token received."
    assert plane.api("GET", flow).json == {}, "a wrong token is not an old one"

    def call():
        counted = plane.metric('inox_api_heartbeats_total{result="old token"}')
        assert fault(plane.beat(node, old)) == "Invalid or missing agent token received."
        assert plane.metric('inox_api_heartbeats_total{result="old token"}') == counted + 1

    assert_writes_nothing(plane, call)
    shown = plane.api("GET", flow).json
    assert set(shown) == {"why", "old_agent_at"} and "an agent of an earlier boot still runs" in shown["why"]
    said = subprocess.run([plane.api.process.program.parent.parent / "cli/inox", "why", node.uuid], text=True,
                          env={"INOX_URL": plane.api.url}, capture_output=True, check=True).stdout
    assert said.strip() == shown["why"]


# ---- what is refused writes nothing; what changes nothing takes no lock

def files(plane):
    """Every byte of the database and of its write-ahead log."""
    return {p.name: p.read_bytes() for p in plane.api.process.state.glob("inox.sqlite*") if not p.name.endswith("-shm")}


def figures(plane):
    with sqlite3.connect(plane.api.process.state / "inox.sqlite") as database:
        return database.execute("SELECT * FROM settings ORDER BY 1").fetchall()


def assert_writes_nothing(plane, act):
    """Not a byte.  Every ten seconds a dialer's figures are written: what falls together with that is done again."""
    for _ in range(5):
        kept, before = figures(plane), files(plane)
        act()
        after = files(plane)
        if after == before or figures(plane) == kept:
            break
    assert after == before


@pytest.fixture(scope="module")
def quiet(start_inoxd, module_folder):  # noqa: F811
    """A control plane that dials nobody: no agent has called."""
    (module_folder / "quiet").mkdir()
    return Plane(start_inoxd, module_folder / "quiet")


BAD_LOOKUPS = [
    "", "?addresses=", "?addresses=,,,", "?addresses=zz", "?addresses=52:54:00:ff:ff:ff", "?node_uuid=x", "?node_uuid=",
    "?node_uuid=6f1c0ae4-0000-4000-8000-0123456789ab", "?bogus=1", "?addresses=52:54:00:ff:ff:ff&addresses=52:54:00:ff:ff:fe",
    "?addresses=%00", "?addresses=" + ",".join(f"52:54:00:aa:{i // 256:02x}:{i % 256:02x}" for i in range(400)),
    "?addresses=" + "a" * 8000, "?node_uuid=" + "6" * 8000, "?addresses=%zz", "?node_uuid=UUID", "?node_uuid=UUID&addresses=x",
    "?node_uuid=UUID&addresses=52:54:00:ff:ff:ff",
]


@pytest.mark.parametrize("number", range(len(BAD_LOOKUPS)))
def test_a_bad_lookup_is_refused_and_writes_nothing(quiet, bootless, number):
    rows = quiet.row(bootless)

    def look_up():
        for version in (LATEST, "1.22", "1.62"):
            answer = quiet.api("GET", "/v1/lookup" + BAD_LOOKUPS[number].replace("UUID", bootless.uuid), version=version)
            if version == "1.22" and "UUID" in BAD_LOOKUPS[number]:
                assert answer.status == 200 and answer.json["config"]["agent_token"] is None
            else:
                assert answer.status in (400, 404, 414, 431), answer.text

    assert_writes_nothing(quiet, look_up)
    assert quiet.row(bootless) == rows and rows["agent_token"] is None


@pytest.fixture(scope="module")
def bootless(quiet):
    """A node whose token nobody has asked for yet, and of which everything is written."""
    made = quiet.node()
    quiet.wait_rest()
    return made


def test_a_bad_heartbeat_leaves_every_byte_of_the_database(quiet):
    plane, called = quiet, quiet.node()
    called.token = plane.token(called)
    plane.wait_rest()
    good = {"callback_url": called.url, "agent_token": called.token, "agent_version": "9"}
    bodies = [{}, {"callback_url": called.url}, {**good, "agent_token": "x"},
              {**good, "callback_url": "http://127.0.0.1:1"}, {**good, "agent_token": called.token[:-1]},
              {**good, "agent_token": called.token + "A"}, {**good, "agent_token": called.token.swapcase()},
              {**good, "agent_token": "******"}, {"callback_url": called.url, "agent_token": called.token}, "{", "[]", ""]

    def beat():
        for body in bodies:
            assert plane.api("POST", f"/v1/heartbeat/{called.uuid}", body).status == 400

    assert_writes_nothing(plane, beat)


def writer(plane):
    """Somebody else who has the write lock."""
    database = sqlite3.connect(plane.api.process.state / "inox.sqlite", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    return database


def test_a_heartbeat_that_changes_nothing_takes_no_lock(plane):
    node = plane.node()
    token = plane.token(node)
    assert plane.beat(node, token).status == 202
    revision = plane.row(node)["revision"]
    database = writer(plane)
    try:
        # The API has one thread: if this waited for the lock, it would wait for longer than the request may take.
        for _ in range(3):
            answer = plane.api.process.api("POST", f"/v1/heartbeat/{node.uuid}", {
                "callback_url": node.url, "agent_token": token, "agent_version": "9.4.3"}, timeout=5)
            assert answer.status == 202
    finally:
        database.execute("ROLLBACK")
        database.close()
    assert plane.row(node)["revision"] >= revision


def waits_for_the_lock(pid):
    """SQLite sleeps between two tries; a process without work waits in epoll."""
    return pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] in ("35", "230")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to see what a process waits for")
@pytest.mark.parametrize("change, status", [("revision = revision + 1", 202),
                                            ("revision = revision + 1, agent_verifier = NULL", 400)])
def test_a_row_that_moves_while_its_first_heartbeat_is_read_is_checked_again(plane, change, status):
    node = plane.node()
    token = plane.token(node)
    database = writer(plane)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(plane.beat, node, token)
        wait_until(lambda: waits_for_the_lock(plane.api.process.children()["api"]), 5, what="it waits for the lock")
        database.execute(f"UPDATE nodes SET {change} WHERE uuid = ?", [node.uuid])
        database.execute("COMMIT")
        database.close()
        assert answer.result(15).status == status
    assert json.loads(plane.row(node)["flow"]).get("called", False) is (status == 202)


# ---- configuration

@pytest.mark.parametrize("value", ["true", "false", "True", "0", "sometimes", ""])
def test_require_agent_token_is_one_warning_and_no_more(start_inoxd, module_folder, value):  # noqa: F811
    here = Plane(start_inoxd, module_folder, {"DEFAULT": {"require_agent_token": value}})
    log = here.api.process.log()
    assert log.count("require_agent_token") == 1 and "do nothing here: [DEFAULT]require_agent_token (line " in log
    node = here.node()
    answer = here.look_up(node).json["config"]
    assert answer["agent_token_required"] is True and len(answer["agent_token"]) == 43
    bare = here.api("POST", f"/v1/heartbeat/{node.uuid}", {"callback_url": node.url, "agent_version": "9"})
    assert (bare.status, fault(bare)) == (400, "Agent token is required for heartbeat processing.")
    assert here.beat(node, answer["agent_token"]).status == 202
    here.api.process.stop()



def test_an_active_node_without_a_url_is_not_deployed(start_inoxd, module_folder):  # noqa: F811
    bare = Plane(start_inoxd, module_folder, {"service_catalog": {"endpoint_override": ""}})
    node = bare.node(deploy=False)
    answer = bare.api("PUT", f"/v1/nodes/{node.uuid}/states/provision", {"target": "active"})
    assert answer.status == 400 and "[service_catalog]endpoint_override" in fault(answer)
    verdict = bare.api("GET", f"/v1/nodes/{node.uuid}/validate", status=200).json["deploy"]
    assert verdict["result"] is False and "[service_catalog]endpoint_override" in verdict["reason"]
    assert bare.api("GET", f"/v1/nodes/{node.uuid}").json["provision_state"] == "available"
    bare.api("PATCH", f"/v1/nodes/{node.uuid}",
             [{"op": "add", "path": "/driver_info/agent_poll_only", "value": "yes"}], status=200)
    assert bare.api("GET", f"/v1/nodes/{node.uuid}/validate", status=200).json["deploy"]["result"] is True
    bare.deploy(node)


def test_a_node_may_be_active_where_all_others_are_polled(start_inoxd, module_folder):  # noqa: F811
    passive = Plane(start_inoxd, module_folder, {"agent": {"poll_only": True},
                                                 "service_catalog": {"endpoint_override": ""},
                                                 "api": {"public_endpoint": "http://127.0.0.1:6385"}})
    polled, active = passive.node(), passive.node(agent_poll_only=False)
    passive.look_up(polled, status=404)
    assert passive.beat(active, passive.token(active)).status == 202
    # The mode of a boot stays, whatever is said of the next one.
    passive.api("PATCH", f"/v1/nodes/{active.uuid}",
                [{"op": "add", "path": "/driver_info/agent_poll_only", "value": True}])
    assert passive.look_up(active).json["config"]["agent_token"] == "******"


def test_unrestricted_lookups_find_nodes_at_rest_and_give_no_token(start_inoxd, module_folder):  # noqa: F811
    loose = Plane(start_inoxd, module_folder, {"api": {"restrict_lookup": False}})
    node = loose.node(deploy=False)
    assert loose.look_up(node).json["config"]["agent_token"] is None
    assert loose.row(node)["agent_token"] is None
