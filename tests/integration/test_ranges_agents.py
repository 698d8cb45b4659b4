"""Whatever an agent, or a user of the API about an agent, says, nothing but the declared addresses is dialled: agents that
redirect, hostile forms of driver_info.agent_address, call-backs and look-ups that name other hosts."""
import http.server
import ipaddress
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from conftest import free_port, wait_until  # noqa: E402
from test_lookup_heartbeat import PREFIX, Plane  # noqa: E402
from test_ranges import watch  # noqa: E402,F401

STRANGER = "127.62.2.1"
# All of them mean, or might mean, an address outside the ranges, or more than an address; %d is the agents' port.
FORMS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0.0.0.0", "::", "::1", "[::1]",
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "fe80::1", "fe80::1%%lo", "169.254.169.254", STRANGER,
    "127.62.1.77:%d", "127.62.1.77@127.0.0.1", "127.62.1.77/../127.0.0.1", "127.62.1.77 127.0.0.1", "127.62.1.77\n127.0.0.1",
    "127.62.1.77.nip.io", "①②⑦.0.0.1", "http://127.0.0.1:%d", " 127.0.0.1", "255.255.255.255", "224.0.0.1",
]
# 127.62.3.x is in the wider ranges and nobody's: whoever goes there followed a redirect.  The last target is an agent.
TARGETS = [(301, "http://127.62.3.1:%d/v1/status"), (302, "//127.62.3.2:%d/"), (307, "http://127.62.3.3/"),
           (308, "http://127.62.3.4:%d/v1/status"), (303, "http://192.0.2.1/"), (307, f"http://{PREFIX}.3:%d/elsewhere")]


class Redirecting:
    """An agent that leads elsewhere, whatever it is asked."""

    def __init__(self, address, port, status, target):
        peer = self
        self.paths = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                peer.paths.append(self.path)
                self.send_response(status)
                self.send_header("Location", target)
                self.send_header("Content-Location", target)
                self.send_header("Refresh", f"0; url={target}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer((address, port), Handler)
        self.httpd.daemon_threads = True
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


def hostile_nodes(plane, forms):
    """Passive nodes, so that nobody has to call before they are dialled."""
    api = plane.api
    names = []
    for number, form in enumerate(forms):
        name = f"hostile-{number}"
        answer = api("POST", "/v1/nodes", {
            "driver": "fake-hardware", "name": name, "instance_info": {
                "image_source": "http://127.0.0.1:1/i.raw", "image_checksum": "0" * 64}, "properties": {"cpu_arch": "x86_64"},
            "driver_info": {"agent_address": form, "agent_poll_only": True, "agent_transport": "psk",
                            "agent_delivery": "boot"}})
        if answer.status != 201:
            assert answer.status == 400, (form, answer.text)
            continue
        api("POST", "/v1/ports", {"node_uuid": answer.json["uuid"], "address": "52:54:00:62:02:%02x" % number}, status=201)
        names.append(name)
    for verb, state in (("manage", "manageable"), ("provide", "available")):
        for name in names:
            api.provision(name, verb, state)
    for name in names:
        # Refused here, or when the deployment starts.
        api("PUT", f"/v1/nodes/{name}/states/provision", {"target": "active"})
    wait_until(lambda: all(api("GET", f"/v1/nodes/{n}").json["provision_state"] in ("available", "deploy failed", "wait call-back")
                           for n in names), 60, "every hostile node is decided")


def call_with_other_hosts(plane, forms, port):
    """An agent that knows its token, and names other hosts at every place that takes one."""
    node = plane.node()
    token = plane.token(node)
    for form in forms:
        for url in (f"http://{form}:{port}", f"http://[{form}]:{port}", form, f"http://{node.address}:{port}@{form}/"):
            assert plane.beat(node, token, url=url).status == 400, url
    headers = {"Host": f"{STRANGER}:{port}", "X-Forwarded-For": STRANGER, "X-Forwarded-Host": STRANGER,
               "Referer": f"http://{STRANGER}/"}
    for host in (STRANGER, f"http://{STRANGER}:{port}", "::1"):
        answer = plane.api.process.api("GET", f"/v1/lookup?addresses={host}", headers=headers)
        assert answer.status in (400, 404), answer.text
        assert plane.api.process.api("GET", f"/v1/lookup?addresses={node.mac},{host}", headers=headers).status in (200, 404)


def connected(inoxd, folder, watch, networks, until):  # noqa: F811
    """All addresses that dialer, bmc worker and connector connected to, but those of the agents."""
    port = free_port()
    plane = Plane(inoxd, folder, {"agent": {
        "allowed_networks": networks, "port": port, "poll_interval": 1}})
    pids = plane.api.process.children()
    end = watch([pids[role] for role in ("dialer", "bmc", "connector")])
    forms = [f.replace("%d", str(port)).replace("%%", "%") for f in FORMS]
    hostile_nodes(plane, forms)
    call_with_other_hosts(plane, forms, port)
    peers = []
    try:
        for status, target in TARGETS:
            node = plane.node()
            peers.append(Redirecting(node.address, port, status, target.replace("%d", str(port))))
            assert plane.beat(node, plane.token(node), url=f"http://{node.address}:{port}").status == 202
        wait_until(lambda: all(len(peer.paths) > 1 for peer in peers), 40, "every agent redirected, and was asked again")
        wait_until(until, 20, "the addresses that a control case expects")
    finally:
        for peer in peers:
            peer.stop()
    seen = end()
    assert not any("elsewhere" in path for peer in peers for path in peer.paths), "an agent was asked what another said"
    declared = ipaddress.ip_network(f"{PREFIX}.0/24")
    assert any(ipaddress.ip_address(a) in declared for a in seen)
    return {a for a in seen if ipaddress.ip_address(a) not in declared}


def test_nothing_but_declared_agents_is_dialled(inoxd, folder, watch):  # noqa: F811
    assert connected(inoxd, folder, watch, f"{PREFIX}.0/24", lambda: True) == set()


def test_with_wider_ranges_other_agents_are_seen(inoxd, folder, watch):  # noqa: F811
    """The same, so that the test above is known to look.  Redirects lead nowhere even then."""
    log = folder / "strace"
    seen = connected(inoxd, folder, watch, "127.0.0.0/8", lambda: all(
        f'inet_addr("{a}")' in log.read_text() for a in ("127.0.0.1", STRANGER)))
    assert seen == {"127.0.0.1", STRANGER}
