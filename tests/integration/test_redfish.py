"""The Redfish driver inside the bmc worker, against BMCs that do what a test tells them to."""
import json
import time

import pytest

from conftest import write_config
from redfish_peers import RESET, SESSIONS, SYSTEM, ScriptedBmc, Worker


@pytest.fixture
def worker(build, folder):
    path = write_config(folder / "worker.conf", {"redfish": {"allowed_networks": "127.0.0.0/8", "workers": 4}})
    started = Worker(build, path)
    yield started
    started.close()


@pytest.fixture
def bmc():
    started = ScriptedBmc()
    yield started
    started.close()


def login(bmc, **more):
    return {"address": bmc.address, "username": "admin", "password": "secret-pw", **more}


def refusal(status, text, message_id="Base.1.8.GeneralError"):
    return (status, {"error": {"code": message_id, "message": "see below", "@Message.ExtendedInfo": [
        {"MessageId": message_id, "Message": text}]}})


# ---- what goes well

def test_a_session_is_opened_once_and_kept(worker, bmc):
    for _ in range(3):
        assert worker.ask("get power", **login(bmc))["power"] == "power off"
    assert len(bmc.seen("POST", SESSIONS)) == 1
    assert json.loads(bmc.seen("POST", SESSIONS)[0][3]) == {"UserName": "admin", "Password": "secret-pw"}
    assert [r[2]["X-Auth-Token"] for r in bmc.seen("GET", SYSTEM)] == ["token-1"] * 3
    assert len(bmc.seen("GET", "/redfish/v1/Systems")) == 1  # the only system was found once
    assert not [r for r in bmc.requests if r[2]["Authorization"]]


def test_power_is_switched_and_nothing_is_sent_when_it_is_reached(worker, bmc):
    reply = worker.ask("set power", power="power off", **login(bmc))
    assert (reply["error"], reply["power"]) == (None, "power off")
    assert not bmc.seen("POST", RESET)
    assert worker.ask("set power", power="power on", **login(bmc))["error"] is None
    bmc.power = "On"
    assert worker.ask("set power", power="rebooting", **login(bmc))["power"] == "power on"
    assert [json.loads(r[3]) for r in bmc.seen("POST", RESET)] == [{"ResetType": "On"},
                                                                   {"ResetType": "ForceRestart"}]


def test_basic_authentication_when_asked_for(worker, bmc):
    assert worker.ask("get power", auth="basic", **login(bmc))["error"] is None
    assert not bmc.seen("POST")
    assert bmc.seen("GET", SYSTEM)[0][2]["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("answer", [refusal(503, "no session left"), (404, None), (201, {}),
                                    (201, {}, {"X-Auth-Token": "a b"})])
def test_basic_authentication_when_there_are_no_sessions(worker, bmc, answer):
    bmc.answers["POST", SESSIONS] = [answer]
    assert worker.ask("get power", **login(bmc))["error"] is None
    assert bmc.seen("GET", SYSTEM)[0][2]["Authorization"].startswith("Basic ")
    assert worker.ask("get power", auth="session", **login(bmc))["error"]


def test_a_session_that_ended_at_the_bmc_is_opened_anew(worker, bmc):
    worker.ask("get power", **login(bmc))
    bmc.answers["GET", SYSTEM] = [(401, None), bmc.system()]
    assert worker.ask("get power", **login(bmc))["error"] is None
    assert len(bmc.seen("POST", SESSIONS)) == 2


def test_a_changed_password_opens_a_session_of_its_own(worker, bmc):
    worker.ask("get power", **login(bmc))
    worker.ask("get power", **{**login(bmc), "password": "other"})
    assert len(bmc.seen("POST", SESSIONS)) == 2


def test_two_requests_at_a_time_leave_one_session_open(worker, bmc):
    """Two nodes behind one BMC: what is opened too much is closed again."""
    nodes = ["5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c3%d" % i for i in range(6)]
    for node in nodes * 3:
        worker.send("get power", node=node, **login(bmc))
    assert [worker.reply()["error"] for _ in nodes * 3] == [None] * 18
    assert len(bmc.seen("POST", SESSIONS)) - len(bmc.seen("DELETE")) == 1


def test_the_boot_override_is_set(worker, bmc):
    bmc.answers["GET", SYSTEM] = [(200, bmc.system(), {"ETag": 'W/"5"'})]
    assert worker.ask("set boot device", device="pxe", boot_mode="bios", **login(bmc))["error"] is None
    _, _, headers, body = bmc.seen("PATCH", SYSTEM)[0]
    assert headers["If-Match"] == 'W/"5"'
    assert json.loads(body) == {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once",
                                         "BootSourceOverrideMode": "Legacy"}}


def test_an_etag_that_does_not_match_is_tried_strong_and_then_not_at_all(worker, bmc):
    bmc.answers["GET", SYSTEM] = [bmc.system(**{"@odata.etag": 'W/"5"'})]
    bmc.answers["PATCH", SYSTEM] = [(412, None), (412, None), (204, None)]
    assert worker.ask("set boot device", device="disk", persistent=True, **login(bmc))["error"] is None
    assert [r[2]["If-Match"] for r in bmc.seen("PATCH")] == ['W/"5"', '"5"', None]


def test_a_bmc_without_continuous_gets_once(worker, bmc):
    bmc.answers["PATCH", SYSTEM] = [refusal(400, "Continuous is not supported"), (204, None)]
    assert worker.ask("set boot device", device="disk", persistent=True, **login(bmc))["error"] is None
    assert [json.loads(r[3])["Boot"]["BootSourceOverrideEnabled"] for r in bmc.seen("PATCH")] == ["Continuous",
                                                                                                  "Once"]


def test_reset_types_are_read_from_an_action_info(worker, bmc):
    action = {"target": RESET, "@Redfish.ActionInfo": SYSTEM + "/info"}
    bmc.answers["GET", SYSTEM] = [bmc.system(Actions={"#ComputerSystem.Reset": action})]
    bmc.answers["GET", SYSTEM + "/info"] = [{"Parameters": [{"Name": "ResetType", "AllowableValues": ["ForceOn"]}]}]
    assert worker.ask("set power", power="power on", **login(bmc))["error"] is None
    assert json.loads(bmc.seen("POST", RESET)[0][3]) == {"ResetType": "ForceOn"}


def test_a_refused_change_that_has_happened_meanwhile_is_no_error(worker, bmc):
    on = {**bmc.system(), "PowerState": "On"}
    bmc.answers["GET", SYSTEM] = [bmc.system(), on]
    bmc.answers["POST", RESET] = [refusal(409, "already powered on")]
    assert worker.ask("set power", power="power on", **login(bmc))["error"] is None


# ---- refusals and nonsense: the error, whether it may pass, a part of the sentence

GET_FAILURES = {
    "unavailable": ([refusal(503, "starting up")], "UNAVAILABLE", True, "503: starting up"),
    "internal error": ([(500, "<html>oops</html>")], "UNAVAILABLE", True, "500: the BMC gives no reason"),
    "too many requests": ([(429, None)], "UNAVAILABLE", True, "429"),
    "in POST": ([refusal(400, "wait", "IDRAC.2.8.UnableToModifyDuringSystemPOST")], "BUSY", True, "wait"),
    "not found": ([refusal(404, "no such system")], "NOT_FOUND", False, "no such system"),
    "forbidden": ([refusal(403, "not your role")], "DENIED", False, "not your role"),
    "redirect": ([(302, None, {"Location": "http://127.0.0.1:1/"})], "PEER", False, "redirects are not followed"),
    "garbage": ([(200, "\0\1\2 not json")], "PEER", False, "not valid JSON"),
    "html": ([(200, "<html></html>")], "PEER", False, "not valid JSON"),
    "a list": ([(200, "[]")], "PEER", False, "array instead of an object"),
    "an empty answer": ([(200, None)], "PEER", False, "not valid JSON"),
    "another resource": ([{"Name": "x"}], "PEER", False, "no PowerState"),
    "deep": ([(200, "[" * 100000)], "LIMIT", False, "nested deeper"),
    "huge": ([(200, b"x" * (3 << 20))], "LIMIT", False, "larger than"),
    "duplicate keys": ([(200, '{"PowerState": "On", "PowerState": "Off"}')], "PEER", False, "duplicate"),
    "control characters": ([refusal(400, "a\n\x1b[31mb")], "INVALID", False, "a??[31mb"),
}


@pytest.mark.parametrize("name", GET_FAILURES)
def test_answers_that_are_no_system(worker, bmc, name):
    answers, error, retry, part = GET_FAILURES[name]
    bmc.answers["GET", SYSTEM] = list(answers)
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"], reply["power"]) == (error, retry, "unknown")
    assert part in reply["reason"]
    assert len(reply["reason"]) < 1000 and "secret-pw" not in reply["reason"] and "token-1" not in reply["reason"]
    bmc.answers.clear()
    assert worker.ask("get power", **login(bmc))["error"] is None


def test_a_redirect_leads_nowhere(worker, bmc):
    other = ScriptedBmc()
    try:
        for status in (301, 302, 307, 308):
            bmc.answers["GET", SYSTEM] = [(status, None, {"Location": other.address + SYSTEM})]
            assert worker.ask("get power", **login(bmc))["error"] == "PEER"
        assert other.requests == []
    finally:
        other.close()


@pytest.mark.parametrize("link", ["http://127.0.0.1:1/redfish/v1/Systems/1", "//127.0.0.1:1/x", "/a/../b", "/a b",
                                  "/a\r\nX-Evil: 1", "@127.0.0.1:1/", 7, None])
def test_links_that_leave_the_bmc_are_not_followed(worker, bmc, link):
    bmc.answers["GET", "/redfish/v1/Systems"] = [{"Members": [{"@odata.id": link}]}]
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("PEER", False)
    bmc.answers["GET", "/redfish/v1/"] = [{"Systems": {"@odata.id": link}}]
    assert worker.ask("get power", **login(bmc))["error"] == "PEER"


def test_a_wrong_password_is_tried_once(worker, bmc):
    """More tries would lock the account."""
    bmc.answers["POST", SESSIONS] = [refusal(401, "wrong user or password")]
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("DENIED", False)
    assert "wrong user or password" in reply["reason"]
    assert len(bmc.requests) == 2  # service root, login
    bmc.answers["GET", SYSTEM] = [(401, None)]
    assert worker.ask("get power", auth="basic", system=SYSTEM, **login(bmc))["error"] == "DENIED"
    assert len(bmc.seen("GET", SYSTEM)) == 1


def test_a_missing_reset_action(worker, bmc):
    bmc.answers["GET", SYSTEM] = [bmc.system(Actions={})]
    reply = worker.ask("set power", power="power on", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("UNSUPPORTED", False)
    bmc.answers["GET", SYSTEM] = [{**bmc.system(), "PowerState": "On"}]
    reply = worker.ask("set power", power="soft power off", **login(bmc))
    assert reply["error"] == "UNSUPPORTED"
    assert "GracefulShutdown" in reply["reason"] and "On, ForceOff, ForceRestart" in reply["reason"]


def test_systems_have_to_be_named_when_there_are_several(worker, bmc):
    bmc.answers["GET", "/redfish/v1/Systems"] = [{"Members": [{"@odata.id": SYSTEM}, {"@odata.id": SYSTEM + "2"}]}]
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("INVALID", False)
    assert "2 systems" in reply["reason"] and "redfish_system_id" in reply["reason"]
    assert worker.ask("get power", system=SYSTEM, **login(bmc))["error"] is None
    assert worker.ask("get power", system="http://10.0.0.1/x", **login(bmc))["error"] == "INVALID"


# ---- time

def silent(handler):
    time.sleep(8)


def dripping(handler):
    """One byte at a time, for ever: each of them in time."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("how", [silent, dripping])
def test_a_slow_bmc_holds_a_thread_for_its_timeout_only(worker, bmc, how):
    bmc.answers["GET", SYSTEM] = [how]
    began = time.monotonic()
    reply = worker.ask("get power", timeout_s=1, **login(bmc))
    assert (reply["error"], reply["retry"]) == ("TIMEOUT", True)
    assert time.monotonic() - began < 7, "not as long as the BMC"


def test_the_timeout_is_for_all_requests_together(worker, bmc):
    def late(handler):
        time.sleep(0.7)
        handler.send_response(503)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
    bmc.answers["POST", SESSIONS] = [late]
    bmc.answers["GET", SYSTEM] = [silent]
    began = time.monotonic()
    assert worker.ask("get power", timeout_s=2, **login(bmc))["error"] == "TIMEOUT"
    assert time.monotonic() - began < 7, "not as long as the BMC"


def test_slow_bmcs_do_not_hold_up_others_and_a_node_is_asked_in_order(worker, bmc):
    slow = ScriptedBmc()
    try:
        slow.answers["GET", SYSTEM] = [silent]
        node = "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c44"
        first = worker.send("get power", node=node, timeout_s=2, **login(slow))
        second = worker.send("get power", node=node, **login(bmc))  # waits for the first
        third = worker.send("get power", **login(bmc))
        assert [worker.reply()["request"] for _ in range(3)] == [third, first, second]
    finally:
        slow.close()


def test_a_connection_that_is_refused_or_cut(worker, bmc):
    def cut(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    bmc.answers["GET", SYSTEM] = [cut]
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("UNAVAILABLE", True)
    bmc.close()
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("UNAVAILABLE", True)


# ---- where it dials

@pytest.mark.parametrize("address", ["https://10.0.0.1", "http://localhost:1", "http://[::1]:1", "http://0.0.0.0:1",
                                     "http://127.0.0.1@10.0.0.1", "http://2130706433:1", "file:///etc/passwd"])
def test_only_numeric_addresses_in_range_are_dialled(worker, address):
    began = time.monotonic()
    reply = worker.ask("get power", address=address)
    assert reply["error"] in ("DENIED", "INVALID") and reply["retry"] is False
    assert time.monotonic() - began < 2


def test_loopback_has_to_be_allowed_by_name(build, folder, bmc):
    path = write_config(folder / "all.conf", {"redfish": {"allowed_networks": "0.0.0.0/0"}})
    worker = Worker(build, path)
    reply = worker.ask("get power", **login(bmc))
    assert (reply["error"], reply["retry"]) == ("DENIED", False)
    assert "allowed_networks" in reply["reason"] and bmc.requests == []
    worker.close()
