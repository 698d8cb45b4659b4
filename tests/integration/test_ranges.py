"""Whatever a user of the API or a BMC says, nothing outside the declared ranges is dialled: strace watches every
connection that dialer, bmc worker and connector make or ask for."""
import http.server
import ipaddress
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from conftest import wait_until

INSIDE = "127.8.2.1"
OTHER = "127.8.3.1"

# All of them mean, or might mean, an address outside 127.8.2.0/24; %d is the API's port.
HOSTILE = [
    "http://127.0.0.1:%d", "http://localhost:%d", "http://2130706433:%d", "http://0x7f000001:%d", "http://0177.0.0.1:%d",
    "http://127.1:%d", "http://[::1]:%d", "http://[::ffff:127.0.0.1]:%d", "http://[::ffff:7f00:1]:%d", "http://0.0.0.0:%d",
    "http://127.8.2.1@127.0.0.1:%d", "http://user:word@127.8.2.1:%d", "http://127.8.2.1:1@127.0.0.1:%d", "http://0:%d",
    "http://169.254.169.254", "http://127.8.3.1:%d", "http://127.8.2.1#@127.0.0.1:%d", "http://127.8.2.1?@127.0.0.1:%d",
    "http://127.8.2.1\\@127.0.0.1:%d", "file:///etc/passwd", "gopher://127.0.0.1:%d", "http://[fe80::1]:%d",
    "http://①②⑦.0.0.1:%d", "http://127.8.2.1.nip.io:%d", "//127.0.0.1:%d", "http://127.0.0.1:%d/../..",
]


class LyingBmc:
    """Leads to OTHER by every way that Redfish has."""

    def __init__(self):
        machine = self
        self.requests = 0
        other = f"http://{OTHER}:8000"

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                machine.requests += 1
                status = 307 if machine.requests % 2 else 200
                body = json.dumps({
                    "Systems": {"@odata.id": f"{other}/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": other}},
                    "SessionService": {"@odata.id": f"//{OTHER}:8000/x"}, "Members": [{"@odata.id": other}]}).encode()
                self.send_response(status)
                self.send_header("Location", f"{other}/redfish/v1/")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer((INSIDE, 0), Handler)
        self.httpd.daemon_threads = True
        self.port = self.httpd.server_port
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def watch(folder):
    """watch(pids) -> function that ends watching and returns the addresses of all connect() calls."""
    if os.geteuid() != 0 or not shutil.which("strace"):
        pytest.skip("needs root and strace")
    log = folder / "strace"

    def start(pids):
        tracer = subprocess.Popen(["strace", "-f", "-e", "trace=connect,sendto", "-o", log, *[f"-p{p}" for p in pids]],
                                  stderr=subprocess.PIPE, text=True)
        for _ in pids:
            assert "attached" in tracer.stderr.readline()

        def end():
            tracer.terminate()
            tracer.wait(20)
            lines = [line for line in log.read_text().splitlines() if "sin_addr" in line or "sin6_addr" in line]
            # What the kernel did not do is an attempt, too, but bmc's connect() never is one (sandbox_calls.c).
            return {m for line in lines for m in re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
                    for m in m if m}
        return end
    return start


def try_all(inoxd, watch, networks):
    bmc = LyingBmc()
    process = inoxd({"redfish": {"allowed_networks": networks}, "agent": {"allowed_networks": "127.7.2.0/24"}})
    pids = process.children()
    end = watch([pids[role] for role in ("dialer", "bmc", "connector")])
    addresses = [f"http://{INSIDE}:{bmc.port}", *[h.replace("%d", str(process.port)) for h in HOSTILE]]
    accepted = []
    for number, address in enumerate(addresses):
        answer = process.api("POST", "/v1/nodes", {"driver": "redfish", "name": f"n{number}", "driver_info": {
            "redfish_address": address, "redfish_username": "u", "redfish_password": "p"}})
        if answer.status == 201:
            process.api("PUT", f"/v1/nodes/n{number}/states/provision", {"target": "manage"})
            accepted.append(f"n{number}")
    wait_until(lambda: all(process.api("GET", f"/v1/nodes/{n}").json["provision_state"] != "verifying" for n in accepted),
               60, "every node is decided")
    seen = end()
    bmc.httpd.shutdown()
    bmc.httpd.server_close()
    assert bmc.requests > 0 and INSIDE in seen
    return {a for a in seen if ipaddress.ip_address(a) not in ipaddress.ip_network("127.8.2.0/24")}


def test_nothing_outside_the_ranges_is_dialled(inoxd, watch):
    assert try_all(inoxd, watch, "127.8.2.0/24") == set()


def test_with_wider_ranges_other_addresses_are_seen(inoxd, watch):
    """The same, so that the test above is known to look."""
    assert "127.0.0.1" in try_all(inoxd, watch, "127.0.0.0/8")
