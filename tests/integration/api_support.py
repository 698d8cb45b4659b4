"""A control plane for all tests of one file, and short ways to ask it."""
import json
import pathlib
import shutil
import tempfile

import pytest

from conftest import API_VERSION, Inoxd, wait_until


class Api:
    """The API of one running inoxd; `version` is the microversion of requests that name none."""

    def __init__(self, process, version=API_VERSION):
        self.process = process
        self.version = version
        self.url = process.url

    def __call__(self, method, path, body=None, version=None, status=None, headers=None):
        answer = self.process.api(method, path, body, version=version or self.version, headers=headers)
        if status is not None:
            assert answer.status == status, f"{method} {path}: {answer.status} {answer.text}"
        return answer

    def create_node(self, **attributes):
        body = {"driver": "fake-hardware", **attributes}
        return self("POST", "/v1/nodes", body, status=201).json

    def provision(self, node, target, state):
        self("PUT", f"/v1/nodes/{node}/states/provision", {"target": target}, status=202)
        return self.wait_state(node, state)

    def wait_state(self, node, state, seconds=20):
        def reached():
            found = self("GET", f"/v1/nodes/{node}", status=200).json
            return found if found["provision_state"] == state and not found["reservation"] else None
        return wait_until(reached, seconds, what=f"{node} is {state}")


def fault(answer):
    """The sentence of an error answer, out of its double encoding."""
    outer = answer.json
    if "error_message" not in outer:
        return outer["faultstring"]
    inner = json.loads(outer["error_message"])
    return inner["faultstring"] if "faultstring" in inner else inner["description"]


@pytest.fixture(scope="module")
def module_folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="inox-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def start_inoxd(build, module_folder):
    """start_inoxd(config) starts a control plane that ends with the file's last test."""
    started = []

    def start(config=None):
        base = module_folder / f"inoxd-{len(started)}"
        base.mkdir(mode=0o755)
        process = Inoxd(build, base, config or {})
        started.append(process)
        return process.wait_ready()

    yield start
    for process in reversed(started):
        process.stop()
