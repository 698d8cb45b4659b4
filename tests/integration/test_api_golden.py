"""Exchanges captured from Ironic 21.4, asked again: same status, same keys, same values and sentences.

tests/data/ironic_exchanges.json holds the captures in the order in which they were made.  What is
different on purpose stands in DIFFERENT and is explained in doc/api.md.
"""
import json
import pathlib
import re

import pytest

from conftest import API_VERSION, wait_until
from api_support import Api, module_folder, start_inoxd  # noqa: F401: fixtures

EXCHANGES = json.loads(
    (pathlib.Path(__file__).parent.parent / "data/ironic_exchanges.json").read_text())
NODE = "11111111-1111-4111-8111-111111111111"


def make_second_node(api):
    api("POST", "/v1/nodes", {"uuid": "22222222-2222-4222-8222-222222222222", "driver": "fake-hardware"},
        version="1.10", status=201)


def switch_on(api):
    api("PUT", f"/v1/nodes/{NODE}/states/power", {"target": "power on"}, status=202)
    wait_until(lambda: api("GET", f"/v1/nodes/{NODE}/states").json["power_state"] == "power on", 20)
    wait_until(lambda: api("GET", f"/v1/nodes/{NODE}").json["reservation"] is None, 20)


# What happened between the captures that are kept.
BEFORE = {
    "038-nodes-list": make_second_node,
    "085-maintenance-clear":
        lambda api: api("PUT", f"/v1/nodes/{NODE}/maintenance", {"reason": "test"}, status=202),
    "091-trait-delete-missing":
        lambda api: api("DELETE", f"/v1/nodes/{NODE}/traits/CUSTOM_C", status=204),
    "100-power-bad": switch_on,
    "106-provision-clean-no-steps": lambda api: api.provision(NODE, "manage", "manageable"),
    "109-node-patch-instance-info": lambda api: api.wait_state(NODE, "available"),
}


def drop(*keys):
    def change(reply):
        return {key: value for key, value in reply.items() if key not in keys}
    return change


def only_fake_hardware(reply):
    return {"drivers": [d for d in reply["drivers"] if d["name"] == "fake-hardware"]}


def without_fields_in_next(reply):
    return {**reply, "next": re.sub(r"&fields=[^&]*", "", reply["next"])}


def without_interface_names(reply):
    return {"error_message": re.sub(r"interfaces are \[.*\]", "interfaces are []", reply["error_message"])}


# name: what of the answer is left out of the comparison, on both sides.
DIFFERENT = {
    "004-v1-latest": drop("continue_inspection", "runbooks", "inspection_rules"),
    "020-node-create-unknown-interface": without_interface_names,
    "025-node-create-bad-json": lambda reply: None,
    "041-nodes-page-1": without_fields_in_next,
    "049-node-patch": drop("reservation"),
    "050-node-patch-remove": drop("reservation"),
    "074-drivers": only_fake_hardware,
    "079-conductor-show": drop("drivers"),
    "082-validate": drop("firmware"),
    "109-node-patch-instance-info": drop("reservation", "driver_internal_info"),
}
STATUS = {"025-node-create-bad-json": 400}

MINOR = API_VERSION.partition(".")[2]


def normalised(value, key=""):
    if isinstance(value, dict):
        return {k: normalised(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [normalised(v) for v in value]
    if key.endswith("_at"):
        return "TIME"
    if isinstance(value, str):
        value = re.sub(r"http://127\.0\.0\.1:\d+/(v1|nodes|ports|chassis|drivers|conductors|portgroups|volume"
                       r"|lookup|heartbeat|allocations|events|deploy_templates|shards)\b", r"BASE/\1", value)
        return re.sub(rf"^1\.(82|{MINOR})$|(?<=\[1\.1, 1\.)(82|{MINOR})(?=\])", "MAX", value)
    return value


@pytest.fixture(scope="module")
def api(start_inoxd):
    return Api(start_inoxd({"conductor": {"host": "localhost"},
                            "DEFAULT": {"enabled_hardware_types": "fake-hardware,redfish"}}))


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[e["name"] for e in EXCHANGES])
def test_answer_is_ironics(api, exchange):
    name = exchange["name"]
    BEFORE.get(name, lambda api: None)(api)
    headers = {"X-OpenStack-Ironic-API-Version": exchange.get("version", "1.1")}
    if "newer_version" in exchange:
        headers["OpenStack-API-Version"] = exchange["newer_version"]
    answer = api(exchange["method"], exchange["path"], exchange.get("body"), headers=headers)

    assert answer.status == STATUS.get(name, exchange["status"]), answer.text
    assert answer.headers["X-OpenStack-Ironic-API-Maximum-Version"] == API_VERSION
    if "location" in exchange:
        assert normalised(answer.headers["Location"]) == normalised(exchange["location"])
    if "reply" not in exchange:
        assert answer.text == ""
        assert "Content-Type" not in answer.headers
        return
    assert answer.headers["Content-Type"] == "application/json"
    ignore = DIFFERENT.get(name, lambda reply: reply)
    assert ignore(normalised(answer.json)) == ignore(normalised(exchange["reply"]))


def test_key_order_of_errors_is_ironics(api):
    """Byte for byte: some tools compare the text."""
    answer = api("GET", "/v1/nodes/nope", version="1.82")
    assert answer.text == ('{"error_message": "{\\"faultcode\\": \\"Client\\", \\"faultstring\\": '
                           '\\"Node nope could not be found.\\", \\"debuginfo\\": null}"}')
