"""Virtual media by the Redfish driver: with inox-bmc, and with BMCs that do it in other ways or not at all."""
import json

import pytest

from conftest import write_config
from redfish_peers import EJECT, INSERT, MEDIA, SYSTEM, Bmc, ScriptedBmc, Worker

URL = "http://127.0.0.1:9/once/0123456789abcdefghijkl/boot.iso"
MANAGER = "/redfish/v1/Managers/1"
COLLECTION = SYSTEM + "/VirtualMedia"


@pytest.fixture
def worker(build, folder):
    path = write_config(folder / "worker.conf", {"redfish": {"allowed_networks": "127.0.0.0/8"}})
    started = Worker(build, path)
    yield started
    started.close()


class MediaBmc(ScriptedBmc):
    """A BMC with one drive, `behave` of which says how it follows: any of "no actions" (PATCH only), "at the
    manager", "wants protocol", "forgets" (takes the medium and stays empty), "late" (reports it at the third look),
    "stuck" (takes the request to eject and keeps the medium), "busy", "refuses" (names the URL in its refusal), "none"."""

    def __init__(self, *behave):
        super().__init__()
        self.behave, self.inserted, self.image, self.looks = set(behave), False, None, 0

    def slot(self):
        self.looks += 1
        shown = self.inserted and not ("late" in self.behave and self.looks < 4)
        actions = {} if "no actions" in self.behave else {
            "#VirtualMedia.InsertMedia": {"target": INSERT}, "#VirtualMedia.EjectMedia": {"target": EJECT}}
        return {"MediaTypes": ["CD", "DVD"], "Inserted": shown, "Image": self.image if shown else None, "Actions": actions}

    def default(self, method, path):
        below = MANAGER if "at the manager" in self.behave else SYSTEM
        link = {} if "none" in self.behave else {"VirtualMedia": {"@odata.id": COLLECTION}}
        if (method, path) == ("GET", SYSTEM):
            return self.system(Links={"ManagedBy": [{"@odata.id": MANAGER}]}, **(link if below == SYSTEM else {}))
        if (method, path) == ("GET", MANAGER):
            return {"Id": "1", **(link if below == MANAGER else {})}
        if (method, path) == ("GET", COLLECTION):
            return {"Members": [{"@odata.id": COLLECTION + "/Floppy"}, {"@odata.id": MEDIA}]}
        if (method, path) == ("GET", COLLECTION + "/Floppy"):
            return {"MediaTypes": ["Floppy", "USBStick"], "Inserted": False}
        if (method, path) == ("GET", MEDIA):
            return self.slot()
        if (method, path) in (("POST", INSERT), ("POST", EJECT), ("PATCH", MEDIA)):
            return self.change(json.loads(self.requests[-1][3]), path == EJECT)
        return super().default(method, path)

    def change(self, body, eject):
        def refusal(status, text, message="Base.1.8.GeneralError"):
            return (status, {"error": {"@Message.ExtendedInfo": [{"MessageId": message, "Message": text}]}})
        if "refuses" in self.behave:
            return refusal(400, f"cannot mount {body.get('Image')}")
        if "busy" in self.behave:
            return refusal(503, "a job is running")
        if eject or not body.get("Inserted", True):
            if "stuck" not in self.behave:
                self.inserted, self.image = False, None
            return (204, None)
        if self.inserted:
            return refusal(409, "there is a medium already")
        if "wants protocol" in self.behave and "TransferProtocolType" not in body:
            return refusal(400, "TransferProtocolType is missing", "Base.1.8.ActionParameterMissing")
        if "forgets" not in self.behave:
            self.inserted, self.image, self.looks = True, body["Image"], 0
        return (204, None)


@pytest.fixture
def bmc_of():
    started = []

    def start(*behave):
        started.append(MediaBmc(*behave))
        return started[-1]
    yield start
    for bmc in started:
        bmc.close()


def insert(worker, bmc, url=URL):
    return worker.ask("insert media", address=bmc.address, media_url=url)


@pytest.mark.parametrize("behave", [[], ["no actions"], ["at the manager"], ["wants protocol"], ["late"]])
def test_every_kind_of_bmc_gets_its_medium(worker, bmc_of, behave):
    bmc = bmc_of(*behave)
    assert insert(worker, bmc)["error"] is None
    assert (bmc.inserted, bmc.image) == (True, URL)
    assert worker.ask("eject media", address=bmc.address)["error"] is None
    assert not bmc.inserted
    before = len(bmc.requests)
    assert worker.ask("eject media", address=bmc.address)["error"] is None  # nothing is in it
    assert not [r for r in bmc.requests[before:] if r[0] != "GET"]


def test_a_plain_bmc_is_told_no_more_than_the_url(worker, bmc_of):
    bmc = bmc_of()
    insert(worker, bmc)
    assert [json.loads(r[3]) for r in bmc.seen("POST", INSERT)] == [{"Image": URL}]
    assert not bmc.seen("POST", EJECT)


def test_what_is_in_the_drive_is_ejected_first(worker, bmc_of):
    bmc = bmc_of()
    for url in ("http://10.0.0.9/somebody/elses.iso", URL, URL):
        assert insert(worker, bmc, url)["error"] is None
        assert bmc.image == url
    assert len(bmc.seen("POST", EJECT)) == 2


@pytest.mark.parametrize("behave, error, retry, part", [
    ("forgets", "UNAVAILABLE", True, "reports an empty drive afterwards"),
    ("busy", "UNAVAILABLE", True, "a job is running"),
    ("refuses", "INVALID", False, "cannot mount (URL)"),
    ("none", "UNSUPPORTED", False, "no virtual CD or DVD drive"),
])
def test_a_bmc_that_does_not_follow(worker, bmc_of, behave, error, retry, part):
    reply = insert(worker, bmc_of(behave))
    assert (reply["error"], reply["retry"]) == (error, retry)
    assert part in reply["reason"]
    assert "0123456789" not in reply["reason"]


def test_a_medium_that_stays(worker, bmc_of):
    bmc = bmc_of()
    insert(worker, bmc)
    bmc.behave.add("stuck")
    for reply in (worker.ask("eject media", address=bmc.address), insert(worker, bmc, URL + "2")):
        assert (reply["error"], reply["retry"]) == ("UNAVAILABLE", True)
        assert "reports a medium still" in reply["reason"]
    assert bmc.image == URL


def test_another_medium_than_the_one_asked_for(worker, bmc_of):
    bmc = bmc_of()
    bmc.answers["GET", MEDIA] = [bmc.slot(), {**bmc.slot(), "Inserted": True, "Image": "http://10.0.0.9/other.iso"}]
    reply = insert(worker, bmc)
    assert reply["error"] == "UNAVAILABLE" and "another one" in reply["reason"]


@pytest.mark.parametrize("answer", [(200, "\0\1"), {"Members": 7}, {"Members": [{"@odata.id": "http://127.0.0.1:1/"}]},
                                    {"Members": [{"@odata.id": "/missing"}]}, (500, None)])
def test_nonsense_instead_of_drives(worker, bmc_of, answer):
    bmc = bmc_of()
    bmc.answers["GET", COLLECTION] = [answer]
    reply = insert(worker, bmc)
    assert reply["error"] in ("PEER", "NOT_FOUND", "UNSUPPORTED", "UNAVAILABLE")
    assert not bmc.seen("POST", INSERT)


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://a/b"])
def test_only_http_urls_are_sent(worker, bmc_of, url):
    bmc = bmc_of()
    assert insert(worker, bmc, url)["error"] == "INVALID"
    assert bmc.requests == []


def test_with_inox_bmc(worker, spawn, build, folder):
    path = write_config(folder / "m.ini", {"machine": {"kind": "process", "name": "m", "mac": "52:54:00:77:02:10",
                                                       "command": "/bin/sleep;100"}})
    bmc = Bmc(spawn, build, [path])
    cdrom = dict(device="cdrom", address=bmc.address)
    assert worker.ask("set boot device", **cdrom)["error"] == "BUSY"
    assert insert(worker, bmc)["error"] is None
    assert worker.ask("set boot device", **cdrom)["error"] is None
    assert bmc.system()["Boot"]["BootSourceOverrideTarget"] == "Cd"
    assert worker.ask("eject media", address=bmc.address)["error"] is None
    assert bmc.request("GET", MEDIA).json["Inserted"] is False
