"""What a careless or hostile client can send to the API: each is refused with a sentence, and the server
goes on."""
import http.client
import json
import socket

import pytest

from conftest import API_VERSION
from api_support import Api, fault, module_folder, start_inoxd  # noqa: F401: fixtures


@pytest.fixture(scope="module")
def api(start_inoxd):
    return Api(start_inoxd())


@pytest.fixture(scope="module")
def node(api):
    return api.create_node(name="target")["uuid"]


@pytest.fixture(scope="module")
def victim(api):
    return api.create_node()["uuid"]


@pytest.fixture(autouse=True)
def server_goes_on(api):
    yield
    assert api.process.popen.poll() is None
    assert api("GET", "/v1/nodes").status == 200


def raw(api, data):
    """Sends bytes as they are; the status of the answer, or None if the server just closed."""
    with socket.create_connection((api.process.host, api.process.port), timeout=10) as s:
        s.sendall(data)
        try:
            answer = http.client.HTTPResponse(s)
            answer.begin()
            answer.read()
            return answer.status
        except (http.client.HTTPException, ConnectionError):
            return None


# ---- sizes and depths

def test_a_body_over_the_limit_is_413(api):
    answer = api("POST", "/v1/nodes", {"driver": "fake-hardware", "extra": {"a": "x" * (1 << 20)}})
    assert answer.status == 413
    assert answer.json["faultcode"] == "Client"
    assert "too large" in answer.json["faultstring"]


def test_a_large_body_is_refused_before_it_is_sent(api):
    status = raw(api, b"POST /v1/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n{")
    assert status == 413


def test_a_chunked_body_over_the_limit_is_refused(api):
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    status = raw(api, b"POST /v1/nodes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 + chunk * 17 + b"0\r\n\r\n")
    assert status == 413


def test_a_config_drive_may_be_larger(api, node):
    answer = api("PUT", f"/v1/nodes/{node}/states/provision",
                 {"target": "active", "configdrive": "A" * (3 << 20)})
    assert answer.status == 400
    assert "can not be performed" in fault(answer)


@pytest.mark.parametrize("body", ["[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, "[" * 100000])
def test_deep_json_is_refused(api, body):
    answer = api("POST", "/v1/nodes", body)
    assert answer.status == 400
    assert answer.json["faultstring"] == ("Request body JSON is nested too deeply. Please contact the service "
                                          "administrator.")


def test_patches_cannot_nest_a_row_until_it_cannot_be_read(api):
    uuid = api.create_node()["uuid"]
    path = "/extra"
    for _ in range(40):
        path += "/a"
        answer = api("PATCH", f"/v1/nodes/{uuid}", [{"op": "add", "path": path, "value": {}}])
    assert answer.status == 400
    assert api("GET", f"/v1/nodes/{uuid}").status == 200


def test_a_patch_of_too_many_operations_is_refused(api, node):
    operations = [{"op": "add", "path": "/extra/a", "value": 1}] * 1001
    answer = api("PATCH", f"/v1/nodes/{node}", operations)
    assert answer.status == 400
    assert "1001" in fault(answer)


# ---- JSON

@pytest.mark.parametrize("body", [
    '{"driver": "fake-hardware", "driver": "redfish"}',
    '{"driver": "fake-hardware"} x',
    '{"driver": "fake-hardware",}',
    '{"driver": NaN}',
    '{"extra": {"a": 1e999}, "driver": "fake-hardware"}',
    '{"driver": "\\u0000"}',
    '{"driver": "\\ud800"}',
    b'{"driver": "\xff\xfe"}',
    "\x00",
    "{",
])
def test_what_is_not_strict_json_is_refused(api, body):
    answer = api("POST", "/v1/nodes", body)
    assert answer.status == 400
    assert fault(answer)


@pytest.mark.parametrize("body", ["[]", "5", '"text"', "null", "true"])
def test_a_body_that_is_no_object_is_refused(api, body):
    assert api("POST", "/v1/nodes", body).status == 400
    assert api("POST", "/v1/ports", body).status == 400


TEXTS = ("bios_interface name description owner lessee shard resource_class conductor_group driver uuid "
         "instance_uuid parent_node retired_reason").split()
OBJECTS = "driver_info properties extra instance_info network_data".split()
BOOLEANS = "automated_clean maintenance retired console_enabled disable_power_off".split()


@pytest.mark.parametrize("name", TEXTS + OBJECTS + BOOLEANS)
@pytest.mark.parametrize("value", [5, -1.5, True, [], ["a"], {}, {"a": 1}, "", "text", "x" * 5000, "\u0001"])
def test_a_value_of_any_type_never_breaks_an_attribute(api, victim, name, value):
    """A wrong type is 400 and says so; what is taken can be read back."""
    right = {str: name in TEXTS + BOOLEANS, dict: name in OBJECTS, bool: name in BOOLEANS}
    created = api("POST", "/v1/nodes", {"driver": "fake-hardware", name: value})
    patched = api("PATCH", f"/v1/nodes/{victim}", [{"op": "add", "path": f"/{name}", "value": value}])
    for answer in (created, patched):
        assert answer.status in (200, 201, 400, 409), answer.text
        if not right.get(type(value), False):
            assert answer.status == 400
        if answer.status >= 400:
            assert fault(answer)
    if created.status == 201:
        uuid = created.json["uuid"]
        assert api("GET", f"/v1/nodes/{uuid}").json[name] == created.json[name]
        api("DELETE", f"/v1/nodes/{uuid}")
    api("PATCH", f"/v1/nodes/{victim}", [{"op": "add", "path": "/maintenance", "value": False}])


@pytest.mark.parametrize("name, value", [
    ("address", 5), ("address", "zz"), ("address", "52-54-00-00-00-01"), ("address", None), ("node_uuid", "x"),
    ("node_uuid", None), ("pxe_enabled", "maybe"), ("pxe_enabled", 3), ("extra", []), ("portgroup_uuid", "x"),
    ("local_link_connection", {"port_id": "a"}), ("name", "a b"), ("bogus", 1), ("internal_info", {}),
])
def test_wrong_values_of_a_port_are_refused(api, node, name, value):
    body = {"address": "52:54:00:00:00:99", "node_uuid": node, name: value}
    answer = api("POST", "/v1/ports", body)
    assert answer.status == 400
    assert fault(answer)


# ---- secrets

def test_a_sealed_text_cannot_be_brought_in(api, node):
    sealed = "sealed:v1:" + "A" * 100
    for info in ({"redfish_password": sealed}, {"a": {"b": [sealed]}}):
        answer = api("POST", "/v1/nodes", {"driver": "redfish", "driver_info": info})
        assert answer.status == 400
        assert "sealed:v1:" in fault(answer)
    answer = api("PATCH", f"/v1/nodes/{node}", [{"op": "add", "path": "/driver_info/a", "value": sealed}])
    assert answer.status == 400


def test_a_password_is_in_no_answer_log_or_file(api):
    secret = "zq9-very-secret-word"
    uuid = api.create_node(driver_info={"redfish_password": secret, "deep": {"token": secret}})["uuid"]
    shown = api("GET", f"/v1/nodes/{uuid}")
    assert shown.json["driver_info"] == {"redfish_password": "******", "deep": {"token": "******"}}
    listed = api("GET", "/v1/nodes/detail")
    failed = api("PATCH", f"/v1/nodes/{uuid}",
                 [{"op": "replace", "path": "/driver_info/other_password", "value": secret}])
    assert failed.status == 400
    assert secret not in shown.text + listed.text + failed.text + api.process.log()
    for path in api.process.state.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


# ---- paths, queries, headers

@pytest.mark.parametrize("path, statuses", [
    ("/v1/nodes/%00", (400, 404)),
    ("/v1/nodes/target%00x", (400, 404)),
    ("/v1/nodes/%2e%2e/%2e%2e/etc", (400, 404)),
    ("/v1/../v1/nodes", (400, 404)),
    ("/v1/nodes/..", (400, 404)),
    ("/v1//nodes", (400, 404)),
    ("//v1/nodes", (400, 404)),
    ("/v1/nodes/%ff%fe", (400,)),
    ("/v1/nodes/%", (400, 404)),
    ("/v1/nodes/%zz", (400, 404)),
    ("/v1/nodes/a%0d%0aX-Evil:%201", (400,)),
    ("/v1/nodes/a%20b", (400,)),
    ("/v1/nodes/" + "a" * 300, (400,)),
    ("/v1/nodes/" + "a" * 20000, (400, 414, 431)),
    ("/v1/nodes/'%20OR%201=1", (400,)),
    ("/v1/nodes/a;b", (400,)),
    ("/v1/nodes/TARGET", (404,)),
    ("/v1/nodes/6F1C0AE4-0000-4000-8000-0123456789AB", (404,)),
    ("/v1/nodes/6f1c0ae40000400080000123456789ab", (404,)),
    ("/v1/nodes/target/bogus", (400,)),
    ("/v1/nodes/target/states/bogus", (404,)),
    ("/v1/nodes/detail/", (404,)),
    ("/v1/ports/52:54:00:00:00:01", (400,)),
])
def test_odd_paths(api, node, path, statuses):
    answer = api("GET", path)
    assert answer.status in statuses
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize("path", ["/v1%2fnodes%2ftarget", "/v1/nodes/target%2fstates"])
def test_an_encoded_slash_is_no_way_around_a_rule_on_paths(api, node, path):
    assert api("GET", path).status == 400


@pytest.mark.parametrize("query", [
    "limit=0", "limit=-1", "limit=x", "limit=1e3", "limit=", "limit=99999999999999999999",
    "marker=x", "sort_key=bogus", "sort_key=extra", "sort_key=agent_token", "sort_key=driver_info",
    "sort_key=uuid;drop", "sort_dir=up", "fields=bogus", "fields=agent_token", "fields=flow",
    "fields=uuid&detail=true", "detail=maybe", "maintenance=maybe", "associated=2", "instance_uuid=x",
    "provision_state=bogus", "fault=bogus", "bogus=1", "agent_token=x", "sharded=?", "chassis_uuid=x",
])
def test_bad_queries_are_400(api, query):
    answer = api("GET", "/v1/nodes?" + query)
    assert answer.status == 400
    assert fault(answer)


@pytest.mark.parametrize("query", ["owner=%27%20OR%201=1--", "description_contains=%25", "shard=,,,", "fields=",
                                   "fields=UUID", "owner=%ff", "name="])
def test_odd_queries_find_nothing_they_should_not(api, query):
    answer = api("GET", "/v1/nodes?" + query)
    assert answer.status in (200, 400)
    if answer.status == 200 and "fields" not in query:
        assert answer.json == {"nodes": []}


NEXT_VERSION = f"1.{int(API_VERSION.partition('.')[2]) + 1}"


@pytest.mark.parametrize("version", ["", " ", "abc", "1", "1.", "1.x", "1.0", "2.0", "0.5", NEXT_VERSION, "1.999", "-1.5", "1.5.5",
                                     "1.99999999999", "latest latest", "1.5\u00e9"])
def test_bad_versions_are_406_and_say_what_there_is(api, version):
    answer = api("GET", "/v1/nodes", headers={"X-OpenStack-Ironic-API-Version": version.encode("latin1")})
    assert answer.status == 406
    assert answer.headers["X-OpenStack-Ironic-API-Minimum-Version"] == "1.1"
    assert answer.headers["X-OpenStack-Ironic-API-Maximum-Version"] == API_VERSION
    assert fault(answer)


def test_a_strange_host_header_is_not_repeated(api):
    answer = api("GET", "/", headers={"Host": 'evil"/<script>'})
    assert answer.json["versions"][0]["links"][0]["href"] == "http://localhost/v1/"


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
    b"GET /v1/nodes HTTP/9.9\r\n\r\n",
    b"POST /v1/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /v1/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/nodes HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
])
def test_broken_http_is_refused(api, data):
    assert raw(api, data) in (None, 400, 413, 431, 501, 505)


# ---- methods and verbs

@pytest.mark.parametrize("method, path", [
    ("DELETE", "/v1/nodes"), ("PUT", "/v1/nodes"), ("POST", "/v1"), ("GET", "/v1/nodes/target/maintenance"),
    ("HEAD", "/v1/nodes"), ("POST", "/v1/nodes/target/ports"), ("DELETE", "/v1/drivers"), ("PATCH", "/v1/conductors/x"),
])
def test_wrong_methods_are_405_with_the_right_ones(api, node, method, path):
    answer = api(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"]


@pytest.mark.parametrize("body, sentence", [
    ({}, "Missing mandatory parameter: target"),
    ({"target": None}, "Missing mandatory parameter: target"),
    ({"target": 5}, "Missing mandatory parameter: target"),
    ({"target": "manage", "foo": 1}, "Unexpected arguments: foo"),
    ({"target": "bogus"}, 'The requested action "bogus" can not be performed'),
    ({"target": "manage", "clean_steps": [{}]}, '"clean_steps" is only valid'),
    ({"target": "manage", "rescue_password": "x"}, '"rescue_password" is only valid'),
    ({"target": "manage", "deploy_steps": [{}]}, '"deploy_steps" is only valid'),
    ({"target": "manage", "disable_ramdisk": True}, "disable_ramdisk is supported only"),
    ({"target": "manage", "configdrive": "aa"}, "Adding a config drive is only supported"),
])
def test_bad_verbs_are_400(api, node, body, sentence):
    answer = api("PUT", f"/v1/nodes/{node}/states/provision", body)
    assert answer.status == 400
    assert sentence in fault(answer)


@pytest.mark.parametrize("body", [{"target": "power on", "timeout": 0}, {"target": "power on", "timeout": "5"},
                                  {"target": "none"}, {"target": ""}, {"target": []}, {"target": "power on", "x": 1}])
def test_bad_power_requests_are_400(api, node, body):
    assert api("PUT", f"/v1/nodes/{node}/states/power", body).status == 400


@pytest.mark.parametrize("body", [{"traits": "A"}, {"traits": ["custom"]}, {"traits": [5]}, {"traits": ["CUSTOM_"]},
                                  {"traits": ["CUSTOM_" + "A" * 250]}, {"traits": [f"CUSTOM_{i}" for i in range(51)]},
                                  {}, {"traits": [], "x": 1}])
def test_bad_traits_are_400(api, node, body):
    assert api("PUT", f"/v1/nodes/{node}/traits", body).status == 400
    assert api("GET", f"/v1/nodes/{node}/traits").json == {"traits": []}


def test_many_requests_on_one_connection(api):
    connection = http.client.HTTPConnection(api.process.host, api.process.port, timeout=10)
    for i in range(50):
        connection.request("GET" if i % 2 else "POST", "/v1/nodes" if i % 2 else "/v1/nothing", "{}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (200 if i % 2 else 404)
    connection.close()


def test_each_answer_has_a_request_id(api):
    seen = {api("GET", path).headers["Openstack-Request-Id"] for path in ("/", "/v1", "/v1/nodes", "/nothing")}
    assert len(seen) == 4
    assert all(name.startswith("req-") for name in seen)
    assert json.loads(api("GET", "/").text)
