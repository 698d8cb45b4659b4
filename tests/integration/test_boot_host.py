"""A real boot host (nginx and dnsmasq from dist/boot-host) between a publisher and a node, each in a
network namespace of its own."""
import base64
import json
import os
import shutil
import subprocess

import pytest

from conftest import REPOSITORY, wait_until, write_config

MAC = "52:54:00:99:02:10"
OTHER_MAC = "52:54:00:99:02:11"
ADDRESS = "10.99.2.10"
NODE_SIDE = "10.99.2.1"
PUSH_SIDE = "10.99.1.1"
PUSH_URL = f"https://{PUSH_SIDE}:8089"
TOKEN = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


def run(*argv, check=True, **options):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30, **options)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done


class Namespace:
    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv, check=True):
        return run(*self.argv(*argv), check=check)

    def curl(self, *argv):
        """HTTP status and body."""
        done = self.run("curl", "-s", "-m", "10", "-w", "\n%{http_code}", *argv, check=False)
        body, status = done.stdout.rsplit("\n", 1)
        return int(status), body

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


def connect(a, a_name, a_address, b, b_name, b_address, b_mac=None):
    run("ip", "-n", a.name, "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.name)
    if b_mac:
        run("ip", "-n", b.name, "link", "set", b_name, "address", b_mac)
    for space, name, address in ((a, a_name, a_address), (b, b_name, b_address)):
        if address:
            run("ip", "-n", space.name, "addr", "add", address, "dev", name)
        run("ip", "-n", space.name, "link", "set", name, "up")


def make_certificates(folder):
    """An authority, the boot host's certificate, the publisher's, and one of somebody else."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name, subject, extension in (("server", "/CN=boot host", f"subjectAltName=IP:{PUSH_SIDE}"),
                                     ("publisher", "/CN=inox", "extendedKeyUsage=clientAuth"),
                                     ("stranger", "/CN=stranger", "extendedKeyUsage=clientAuth")):
        run("openssl", "req", *key, "-subj", subject, "-addext", extension,
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copy",
            "-out", folder / f"{name}.pem")


class BootHost:
    def __init__(self, folder, spawn, driver):
        self.folder, self.spawn, self.driver = folder, spawn, driver
        self.root, self.state = folder / "host/root", folder / "host/state"
        tag = f"boot-test-{os.getpid()}"
        self.control, self.boot, self.node = (Namespace(f"{tag}-{n}") for n in ("control", "boot", "node"))
        connect(self.boot, "mgmt", f"{PUSH_SIDE}/24", self.control, "eth0", "10.99.1.2/24")
        connect(self.boot, "prov", f"{NODE_SIDE}/24", self.node, "eth0", None, MAC)
        run(REPOSITORY / "dist/boot-host/configure", folder / "host", f"NODE_ADDRESS={NODE_SIDE}",
            f"PUSH_ADDRESS={PUSH_SIDE}", "INTERFACE=prov", "NETWORK=10.99.2.0", "NETMASK=255.255.255.0",
            f"GATEWAY={NODE_SIDE}")
        make_certificates(folder)
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(folder / name, self.state / name)
        (self.root / "http/ramdisk/vmlinuz").write_bytes(b"kernel")
        self.start_nginx()

    def start_nginx(self):
        nginx = self.spawn(self.boot.argv("nginx", "-p", self.state, "-c", self.state / "nginx.conf",
                                          "-g", "daemon off;"), "nginx")
        wait_until(lambda: self.node_addressed().curl(f"http://{NODE_SIDE}/boot.ipxe")[0] == 200,
                   what="nginx answers: " + nginx.log())

    def start_dnsmasq(self):
        dnsmasq = self.spawn(self.boot.argv(REPOSITORY / "dist/boot-host/serve-dhcp", self.state), "dnsmasq")
        log = self.state / "dnsmasq.log"
        wait_until(lambda: log.exists() and "DHCP, static leases only" in log.read_text(),
                   what="dnsmasq is up: " + dnsmasq.log())
        return log

    def node_addressed(self, address=ADDRESS):
        run("ip", "-n", self.node.name, "addr", "flush", "dev", "eth0")
        run("ip", "-n", self.node.name, "addr", "add", f"{address}/24", "dev", "eth0")
        return self.node

    def publisher(self, **options):
        """A publisher on the control host; publisher(request) returns its reply."""
        config = {"boot": {"push_url": PUSH_URL, "push_ca_file": self.folder / "ca.pem",
                           "push_certificate_file": self.folder / "publisher.pem",
                           "push_key_file": self.folder / "publisher.key",
                           "http_url": f"http://{NODE_SIDE}", **options}}
        path = write_config(self.folder / "inox.conf", config)

        def call(request):
            done = subprocess.run(self.control.argv(self.driver, path), input=json.dumps(request) + "\n",
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert next(iter(request.values()))["path"] not in done.stderr + done.stdout
            assert TOKEN not in done.stderr
            return json.loads(done.stdout)

        return call

    def close(self):
        for space in (self.control, self.boot, self.node):
            space.close()


@pytest.fixture
def host(folder, spawn, build):
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root: sudo make check")
    host = BootHost(folder, spawn, build / "tests/integration/drive_boot")
    yield host
    host.close()


def new_path():
    return base64.urlsafe_b64encode(os.urandom(24)).decode()


def publish_request(path, macs=MAC, address=ADDRESS):
    return {"publish": {"macs": macs, "address": address, "token": TOKEN, "epoch": 3, "path": path,
                        "arguments": json.dumps({"quiet": ""})}}


def withdraw_request(path, token_only=False, macs=MAC):
    return {"withdraw": {"macs": macs, "path": path, "token_only": token_only}}


DONE = {"result": 0, "retry": False, "reason": ""}


def test_a_node_gets_its_boot_and_its_token_until_they_are_withdrawn(host):
    publisher, node, path = host.publisher(), host.node_addressed(), new_path()
    script_url = f"http://{NODE_SIDE}/boot/{MAC.replace(':', '-')}.ipxe"
    token_url = f"http://{NODE_SIDE}/once/{path}/token.img"
    assert node.curl(script_url)[0] == 404
    for _ in range(2):
        assert publisher(publish_request(path)) == DONE
    status, script = node.curl(script_url)
    assert status == 200
    assert token_url in script and "inox-epoch=3 inox-transport=psk quiet" in script
    assert "ipa-api-url" not in script and TOKEN not in script
    archive = host.folder / "token.img"
    assert node.curl("-o", archive, token_url)[0] == 200
    unpacked = host.folder / "unpacked"
    unpacked.mkdir()
    with open(archive, "rb") as stream:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=stream, cwd=unpacked, check=True, timeout=30)
    token = unpacked / "etc/inox/agent-token"
    assert token.read_text() == TOKEN
    assert token.stat().st_mode & 0o777 == 0o600 and token.parent.stat().st_mode & 0o777 == 0o700

    for _ in range(2):
        assert publisher(withdraw_request(path, token_only=True)) == DONE
    assert node.curl(token_url)[0] == 404
    assert node.curl(script_url)[0] == 200
    for _ in range(2):
        assert publisher(withdraw_request(path)) == DONE
    assert node.curl(script_url)[0] == 404
    assert list((host.root / "http/once").iterdir()) == []
    assert list((host.root / "http/boot").iterdir()) == []


def test_a_node_can_neither_write_nor_list_nor_read_what_is_not_its_own(host):
    publisher, node, path = host.publisher(), host.node_addressed(), new_path()
    assert publisher(publish_request(path)) == DONE
    base = f"http://{NODE_SIDE}"
    for target in ("/boot.ipxe", "/new", f"/once/{path}/token.img", "/ramdisk/vmlinuz"):
        for method in ("PUT", "DELETE", "MKCOL", "POST", "MOVE"):
            status, _ = node.curl("-X", method, "-d", "x", base + target)
            assert status in (403, 405), (method, target)
    assert (host.root / f"http/once/{path}/token.img").exists()
    for folder in ("/", "/once/", "/once", f"/once/{path}/", "/boot/", "/ramdisk/"):
        status, body = node.curl(base + folder)
        assert status in (301, 403, 404) and path not in body, folder
    dashed = MAC.replace(":", "-")
    for inside in ("/../dhcp-hosts/" + dashed, "/%2e%2e/dhcp-hosts/" + dashed, f"/boot/{dashed}/{ADDRESS}.ipxe",
                   "/boot/../../state/server.key"):
        status, body = node.curl("--path-as-is", base + inside)
        assert status in (400, 404), inside
    # nobody else in the rack is shown the way to the token
    neighbour = host.node_addressed("10.99.2.66")
    assert neighbour.curl(f"{base}/boot/{dashed}.ipxe")[0] == 404
    assert host.node_addressed().curl(f"{base}/boot/{dashed}.ipxe")[0] == 200


def test_the_push_side_takes_the_publishers_certificate_only(host):
    path = new_path()
    assert host.publisher(push_certificate_file=host.folder / "stranger.pem",
                          push_key_file=host.folder / "stranger.key")(publish_request(path))["retry"] is False
    refused = host.publisher(push_certificate_file="", push_key_file="")(publish_request(path))
    assert refused["result"] and "HTTP 400" in refused["reason"]
    wrong_authority = host.publisher(push_ca_file="/etc/ssl/certs/ca-certificates.crt")(publish_request(path))
    assert wrong_authority["result"] and "certificate" in wrong_authority["reason"]
    assert not (host.root / "http/once" / path).exists()
    with_certificate = ["--cacert", host.folder / "ca.pem", "--cert", host.folder / "publisher.pem",
                        "--key", host.folder / "publisher.key"]
    for target in ("/http/boot.ipxe", "/state/server.key", "/http/once/", "/tftp/snponly.efi", "/http/.x"):
        status, _ = host.control.curl(*with_certificate, "-X", "PUT", "-d", "x", PUSH_URL + target)
        assert status in (403, 404, 405, 409), target
    for target in ("/http/once/", "/http/", "/dhcp-hosts/"):
        status, _ = host.control.curl(*with_certificate, "-X", "DELETE", PUSH_URL + target)
        assert status in (403, 404, 405, 409), target
    assert (host.root / "http/once").is_dir()


def test_a_boot_host_that_is_gone_is_an_error_that_may_pass(host):
    reply = host.publisher(push_url=f"https://{PUSH_SIDE}:8090")(publish_request(new_path()))
    assert reply["result"] and reply["retry"] is True
    assert PUSH_SIDE in reply["reason"]


def ask_dhcp(host, mac=MAC):
    """One DHCP conversation of the node; the address it was given, or ''."""
    script = host.folder / "lease"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "$ip $router" > ' + f"{host.folder}/leased\nexit 0\n")
    script.chmod(0o755)
    run("ip", "-n", host.node.name, "addr", "flush", "dev", "eth0")
    run("ip", "-n", host.node.name, "link", "set", "eth0", "address", mac)
    (host.folder / "leased").unlink(missing_ok=True)
    host.node.run("busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-t", "2", "-T", "1", "-s", script,
                  check=False)
    return (host.folder / "leased").read_text().split()[0] if (host.folder / "leased").exists() else ""


def reread(log, change):
    """Makes a change and waits until dnsmasq has read the reservations anew."""
    seen = len(log.read_text())
    assert change() == DONE
    wait_until(lambda: "read " in log.read_text()[seen:], what="dnsmasq has read the reservations")


def test_dnsmasq_answers_while_there_is_a_reservation(host):
    publisher, path = host.publisher(), new_path()
    log = host.start_dnsmasq()
    assert ask_dhcp(host) == ""
    reread(log, lambda: publisher(publish_request(path)))
    assert ask_dhcp(host) == ADDRESS
    assert ask_dhcp(host, OTHER_MAC) == ""
    reread(log, lambda: publisher(withdraw_request(path)))
    assert ask_dhcp(host) == ""
    reread(log, lambda: publisher(publish_request(path, address="10.99.2.20")))
    assert ask_dhcp(host) == "10.99.2.20"


def test_an_address_is_reserved_again_for_the_same_machine(host):
    publisher, log = host.publisher(), host.start_dnsmasq()
    for _ in range(2):
        path = new_path()
        reread(log, lambda: publisher(publish_request(path)))
        assert ask_dhcp(host) == ADDRESS
        reread(log, lambda: publisher(withdraw_request(path)))
        assert ask_dhcp(host) == ""


def test_an_address_goes_to_the_next_machine(host):
    publisher, log, path = host.publisher(), host.start_dnsmasq(), new_path()
    reread(log, lambda: publisher(publish_request(path)))
    assert ask_dhcp(host) == ADDRESS
    reread(log, lambda: publisher(withdraw_request(path)))
    wait_until(lambda: MAC not in (host.state / "dnsmasq.leases").read_text(), what="the lease is released")
    reread(log, lambda: publisher(publish_request(new_path(), macs=OTHER_MAC)))
    assert ask_dhcp(host, OTHER_MAC) == ADDRESS
