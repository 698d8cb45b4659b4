"""Virtual media that fail, end to end: an ISO that the BMC cannot read, and BMCs that say one thing and do another.  Each
deployment that cannot go on ends in `deploy failed` with a sentence that says which, an empty drive, and no
boot data left; what passes by itself is waited for.
"""
import http.client
import http.server
import json
import pathlib
import sqlite3
import sys
import threading
import time
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import free_port, wait_until  # noqa: E402
from rack.process_rack import ProcessRack, make_image  # noqa: E402
from redfish_peers import EJECT, INSERT, MEDIA, SYSTEM  # noqa: E402

IMAGE = make_image()
PATIENCE = 10
INSERTING = "Failed to insert the ramdisk's ISO into the virtual drive"

# What a BMC does with the three requests: None (inserts, ejects, boots from the drive), "keep" (answers 204 and does
# nothing), "fetch" (reads the whole ISO before it answers, as many BMCs do), or an HTTP status; and whether it shows the medium that
# it was told of, whatever there is.
QUIRKS = {
    "fetches":  {"insert": "fetch", "eject": None, "boot": None, "shows": None},
    "forgets":  {"insert": "keep", "eject": None, "boot": None, "shows": None},
    "phantom":  {"insert": "keep", "eject": "keep", "boot": "keep", "shows": "what it was told"},
    "no drive": {"insert": "keep", "eject": "keep", "boot": None, "shows": "what it was told"},
    "stuck":    {"insert": None, "eject": "keep", "boot": None, "shows": None},
    "refuses":  {"insert": 400, "eject": None, "boot": None, "shows": None},
}


def why_not_fetched(url):
    """What the BMC says when it cannot read the ISO; None when it can."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            wanted = int(answer.headers["Content-Length"])
            got = len(answer.read())
            return None if got == wanted else f"{url}: {got} of {wanted} bytes"
    except (OSError, http.client.HTTPException) as e:
        return f"cannot read {url}: {e}"


class QuirkyBmc:
    """Stands in front of an inox-bmc and has the quirk's manners."""

    def __init__(self, port, quirk):
        outer = self
        self.quirk, self.told, self.seen = dict(QUIRKS[quirk]), None, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.seen.append((self.command, self.path))
                kind = {("POST", INSERT): "insert", ("POST", EJECT): "eject", ("PATCH", SYSTEM): "boot"}.get(
                    (self.command, self.path))
                way = outer.quirk.get(kind)
                if kind == "insert":
                    outer.told = json.loads(body)["Image"]
                elif kind == "eject":
                    outer.told = None
                said = f"quirk {way}"
                if way == "fetch":
                    said = why_not_fetched(outer.told)
                    way = 500 if said else None
                if way:
                    self.reply(204 if way == "keep" else way, {"error": {"message": said}}, {})
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
                connection.request(self.command, self.path, body or None,
                                   {k: v for k, v in self.headers.items() if k.lower() != "host"})
                answer = connection.getresponse()
                text = answer.read()
                document = json.loads(text) if text else None
                if self.path == MEDIA and outer.quirk["shows"]:
                    document.update(Inserted=outer.told is not None, Image=outer.told)
                self.reply(answer.status, document, answer.headers)
                connection.close()

            def reply(self, status, document, headers):
                content = json.dumps(document).encode() if document is not None and status != 204 else b""
                self.send_response(status)
                for name in ("X-Auth-Token", "Location", "ETag"):
                    if headers.get(name):
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


class MediaServer:
    """Gives the boot host's ISO to BMCs, or `behave` instead of it: a function of (handler, bytes)."""

    def __init__(self):
        outer = self
        self.rack, self.behave, self.requests = None, None, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                status, _, content = outer.rack.media.get("GET", self.path, {}) if outer.rack else (404, {}, b"")
                content = content if status == 200 else None
                if content is not None and outer.behave:
                    outer.behave(self, content)
                    return
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture
def media():
    server = MediaServer()
    yield server
    server.stop()


@pytest.fixture
def make_rack(build, folder, inoxd):
    made = []

    def make(media_url, quirk="fetches", patience=PATIENCE):
        rack = ProcessRack(build, folder, inoxd, (67, 3), config={
            "boot": {"media_prefix": 8, "media_url": media_url}, "conductor": {"deploy_callback_timeout": patience}})
        machine = rack.add_machine()
        machine.front = QuirkyBmc(machine.port, quirk)
        made.append(rack)
        rack.enrol(machine, boot_interface="redfish-virtual-media")
        rack.call("PATCH", "/v1/nodes/n1", [{"op": "replace", "path": "/driver_info/redfish_address",
                                             "value": machine.front.url}], want=200)
        rack.set_image("n1", IMAGE)
        return rack, machine
    yield make
    for rack in made:
        for machine in rack.machines:
            machine.front.stop()
        rack.stop()


def fails(rack, machine):
    """The sentence of a deployment that has failed and left nothing."""
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 60, what="deploy failed")
    wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
    node = rack.node("n1")
    assert rack.published() == [] and node["reservation"] is None
    assert "/media/" not in node["last_error"], "the ISO's path is a secret"
    assert machine.disk_head(512) == bytes(512)
    return node["last_error"]


def works(rack, machine):
    node = rack.provision("n1", "active", "active", 90)
    assert node["last_error"] is None
    wait_until(machine.instance_is_up, 10)
    assert rack.published() == []


def send(handler, status, content, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def test_nobody_listens_at_media_url(make_rack):
    rack, machine = make_rack(f"http://127.0.0.1:{free_port()}")
    error = fails(rack, machine)
    assert error.startswith(INSERTING) and "cannot read (URL)" in error


def test_another_server_at_media_url(make_rack, media):
    media.rack = None
    rack, machine = make_rack(media.url)
    error = fails(rack, machine)
    assert error.startswith(INSERTING) and "cannot read (URL)" in error and "404" in error
    # It is the network's fault, not the node's: the same node is deployed when it is repaired.
    media.rack = rack
    works(rack, machine)


def test_an_iso_whose_time_passed_while_the_control_plane_was_down_is_made_anew(make_rack, media):
    rack, machine = make_rack(media.url, patience=60)
    media.rack, asked, go = rack, threading.Event(), threading.Event()

    def hold(handler, content):
        asked.set()
        go.wait(60)
        send(handler, 200, content)

    media.behave = hold
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    assert asked.wait(60)
    rack.inoxd.stop()
    # an hour passes
    once = rack.boot_root / "http/once"
    path, = (p.name for p in once.iterdir())
    old = f"{int(time.time()) - 1}{path[10:]}"
    (once / path).rename(once / old)
    with sqlite3.connect(rack.inoxd.state / "inox.sqlite") as database:
        assert '"deploy/insert media"' in database.execute("SELECT flow FROM nodes").fetchone()[0]
        database.execute("UPDATE nodes SET flow = replace(flow, ?, ?)", (path, old))
    media.behave = None
    go.set()
    rack.restart_inoxd()
    node = rack.wait_state("n1", "active", 60)
    assert node["last_error"] is None and "its time was over" not in rack.media.log()
    wait_until(machine.instance_is_up, 10)
    assert rack.published() == []


def test_a_medium_that_breaks_off(make_rack, media):
    rack, machine = make_rack(media.url)
    media.rack = rack
    media.behave = lambda handler, content: send(handler, 200, content[:5000], len(content))
    assert fails(rack, machine).startswith(INSERTING)
    assert media.requests >= 2, "it was tried again"


def test_a_server_that_comes_back(make_rack, media):
    rack, machine = make_rack(media.url, patience=20)
    media.rack = rack

    def behave(handler, content):
        if media.requests > 2:
            media.behave = None
        send(handler, 503 if media.behave else 200, b"" if media.behave else content)
    media.behave = behave
    works(rack, machine)
    # two failures, the BMC, and the machine that reads its drive
    assert media.requests == 4


@pytest.mark.parametrize("quirk, sentence", [
    ("forgets", "reports an empty drive afterwards"),
    ("refuses", "quirk 400"),
])
def test_a_bmc_that_does_not_insert(make_rack, media, quirk, sentence):
    rack, machine = make_rack(media.url, quirk)
    media.rack = rack
    error = fails(rack, machine)
    assert error.startswith(INSERTING) and sentence in error
    assert media.requests == 0
    assert machine.front.seen.count(("POST", INSERT)) <= 40, "a bounded number of attempts"


@pytest.mark.parametrize("quirk, sentence", [
    # the machine finds nothing to boot from, and nobody answers
    ("phantom", "no answer from 127.67.3."),
    # the BMC does not boot from a drive that it calls full
    ("no drive", "no medium is inserted"),
])
def test_a_bmc_that_says_inserted_and_is_not(make_rack, media, quirk, sentence):
    rack, machine = make_rack(media.url, quirk)
    media.rack = rack
    assert sentence in fails(rack, machine)
    assert media.requests == 0 and machine.front.told is None


def test_a_medium_that_cannot_be_ejected_fails_before_the_disk_boots_from_it(make_rack, media):
    rack, machine = make_rack(media.url, "stuck")
    media.rack = rack
    rack.call("PUT", "/v1/nodes/n1/states/provision", {"target": "active"}, want=202)
    wait_until(lambda: rack.node("n1")["provision_state"] == "deploy failed", 90, what="deploy failed")
    error = rack.node("n1")["last_error"]
    assert "reports a medium still" in error
    assert machine.disk_head(512) == bytes(512)
    # The clean-up goes on trying, and is done as soon as the BMC follows.
    machine.front.quirk["eject"] = None
    wait_until(lambda: rack.flow("n1").get("phase") in (None, ""), 60, what="cleaned up")
    assert rack.published() == []
