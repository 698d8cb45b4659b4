"""inox-media behind the boot host's real nginx: the ISO of a boot is put together from the ramdisk's ISO and the boot's
record while it is sent, for who has a signed path whose time is not over.
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from conftest import REPOSITORY, Process, wait_until, write_config  # noqa: E402
from rack.media_record import compose, patches_of  # noqa: E402
from rack.process_rack import MIB, UnixConnection  # noqa: E402
from test_network_data import make_real_iso  # noqa: E402

TOKEN = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
MAC = "52:54:00:70:00:10"
NODE = "5f2a7c1e-90b4-4c0e-8a55-0d6b1f7e2c33"  # drive_boot's
CLIENTS = 256  # LIMIT_MEDIA_CLIENTS
READERS = 16  # LIMIT_MEDIA_READERS

# `make check` installs both (dist/packages/demo.txt): a skip is for who runs this file without them.
pytestmark = [pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed"),
              pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")]


def run(*argv):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


def make_certificates(folder, address):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=test authority", "-keyout", folder / "ca.key",
        "-out", folder / "ca.pem")
    for name, subject, extension in (("server", "/CN=boot host", f"subjectAltName=IP:{address}"),
                                     ("publisher", "/CN=inox", "extendedKeyUsage=clientAuth")):
        run("openssl", "req", *key, "-subj", subject, "-addext", extension, "-keyout", folder / f"{name}.key",
            "-out", folder / f"{name}.csr")
        run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey",
            folder / "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", folder / f"{name}.pem")


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()


class NOTHING:
    status = 0


class BootHost:
    """nginx and inox-media as dist/boot-host sets them up, and a publisher that pushes."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        number = os.getpid() % 250
        self.node_side, self.push_side = f"127.70.{number}.1", f"127.70.{number}.2"
        run(REPOSITORY / "dist/boot-host/configure", folder / "host", f"NODE_ADDRESS={self.node_side}",
            f"PUSH_ADDRESS={self.push_side}", "INTERFACE=lo", "NETWORK=127.70.0.0", "NETMASK=255.255.0.0",
            f"GATEWAY={self.node_side}", "MEDIA_USER=nobody")
        self.root, self.state = folder / "host/root", folder / "host/state"
        self.http, self.key = self.root / "http", self.state / "media/key"
        make_certificates(folder, self.push_side)
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(folder / name, self.state / name)
        self.base = self.http / "ramdisk/boot.iso"
        self.content = make_real_iso(folder) + random.Random(9).randbytes(6 * MIB)
        self.put_base(self.content)
        self.nginx = Process(["nginx", "-p", self.state, "-c", self.state / "nginx.conf", "-g", "daemon off;"],
                             folder / "nginx.log")
        self.start_media()
        wait_until(lambda: self.get("/boot.ipxe").status == 200, what=self.nginx.log)
        config = write_config(folder / "inox.conf", {"boot": {
            "push_url": f"https://{self.push_side}:8089", "push_ca_file": folder / "ca.pem",
            "push_certificate_file": folder / "publisher.pem", "push_key_file": folder / "publisher.key",
            "http_url": f"http://{self.node_side}"}})
        self.publisher = subprocess.Popen([build / "tests/integration/drive_boot", config], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def put_base(self, content):
        new = self.base.with_suffix(".new")
        new.write_bytes(content)
        new.replace(self.base)

    def start_media(self):
        self.media = Process(["setpriv", "--reuid", "nobody", "--regid", "www-data", "--clear-groups",
                              self.build / "src/media/inox-media", "--http-root", self.http, "--key", self.key,
                              "--socket", self.state / "media/socket"], self.folder / "media.log")
        started = f"inox-media[{self.media.pid}] message=ready"
        wait_until(lambda: started in self.media.log(), what=self.media.log)

    def call(self, request):
        self.publisher.stdin.write(json.dumps(request) + "\n")
        self.publisher.stdin.flush()
        return json.loads(self.publisher.stdout.readline())

    def publish(self, path):
        answer = self.call({"publish": {
            "macs": MAC, "address": "127.70.0.10", "token": TOKEN, "path": path, "media": True, "epoch": 1,
            "arguments": json.dumps({"quiet": ""})}})
        assert answer["result"] == 0, answer["reason"]
        return self.http / "once" / path / "boot.media"

    def withdraw(self, path):
        assert self.call({"withdraw": {"macs": MAC, "path": path, "token_only": True}})["result"] == 0

    def sign(self, path, key=None):
        digest = hmac.new(key or self.key.read_bytes(), b"inox media 1 " + path.encode(), hashlib.sha256).digest()
        return f"/media/{path}-{base64.urlsafe_b64encode(digest[:24]).decode()}/boot.iso"

    def open(self, target, method="GET", headers=None):
        connection = http.client.HTTPConnection(self.node_side, 80, timeout=20)
        connection.request(method, target, headers=headers or {})
        return connection, connection.getresponse()

    def get(self, target, method="GET", **headers):
        try:
            connection, response = self.open(target, method, {k.replace("_", "-"): v for k, v in headers.items()})
        except OSError:
            return NOTHING
        answer = Answer(response)
        connection.close()
        return answer

    def lines(self, message, seen):
        """How often it was said since then, with what was left out."""
        log = self.media.log()[seen:]
        left_out = re.findall(r'message="lines were left out" count=(\d+)', log)
        return log.count(f'message="{message}"') + sum(map(int, left_out))

    def logs(self):
        """Everything that any program wrote about requests."""
        paths = [*self.state.glob("*.log"), self.folder / "nginx.log", self.folder / "media.log"]
        return "".join(p.read_text(errors="replace") for p in paths)

    def stop(self):
        self.publisher.stdin.close()
        self.publisher.wait(30)
        assert self.media.stop() == 0, self.media.log()
        self.nginx.stop()
        log = self.media.log()
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:", "sandbox:"):
            assert word not in log, log[-4000:]


@pytest.fixture(scope="module")
def host(build, module_folder):
    if os.geteuid() != 0:
        pytest.fail("the boot host's port 80 needs root: sudo make check")
    host = BootHost(build, module_folder)
    yield host
    host.stop()


def new_path(seconds=600):
    return f"{int(time.time()) + seconds:010}-{base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')}"


@pytest.fixture
def boot(host):
    """A boot that was published: its record, its URL's path and the ISO it stands for."""
    path = new_path()
    record = host.publish(path)
    yield type("Boot", (), {"path": path, "record": record, "target": host.sign(path),
                            "iso": compose(host.http, record.read_bytes())})
    host.withdraw(path)


def test_the_iso_is_the_base_with_its_places_filled(host, boot):
    answer = host.get(boot.target)
    assert answer.status == 200 and answer.body == boot.iso
    assert answer.headers["Content-Length"] == str(len(boot.iso)) and answer.headers["Accept-Ranges"] == "bytes"
    assert len(boot.record.read_bytes()) < 65536
    changed = {i // 2048 for i, (a, b) in enumerate(zip(boot.iso, host.content)) if a != b}
    assert changed and len(changed) * 2048 <= sum(length for _, length in patches_of(boot.record.read_bytes()))
    # as a file system
    (host.folder / "read.iso").write_bytes(answer.body)
    for name, wanted in (("isolinux/isolinux.cfg", f"inox-node={NODE}"), ("boot/grub/inox.cfg", f"inox-node={NODE}"),
                         ("etc/ironic-python-agent.d/inox.conf", TOKEN), ("boot/node.img", TOKEN), ("boot/vmlinuz", "a kernel\n")):
        out = host.folder / "extracted"
        out.unlink(missing_ok=True)
        run("xorriso", "-osirrox", "on", "-indev", host.folder / "read.iso", "-extract", "/" + name, out)
        assert wanted in out.read_text(), name


def test_ranges(host, boot):
    size = len(boot.iso)
    head = host.get(boot.target, "HEAD")
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == str(size)
    etag = head.headers["ETag"]
    wanted = [(0, 0), (0, size - 1), (size - 1, size - 1), (2048, 4095)]
    for offset, length in patches_of(boot.record.read_bytes()):
        for at in (offset, offset + length):
            wanted += [(at - 1, at), (at, at), (at - 1, at - 1), (at - 3000, at + 3000)]
        wanted.append((offset - 1, offset + length))
    connection = http.client.HTTPConnection(host.node_side, 80, timeout=20)
    for first, last in wanted:
        first, last = max(first, 0), min(last, size - 1)
        connection.request("GET", boot.target, headers={"Range": f"bytes={first}-{last}"})
        answer = Answer(connection.getresponse())
        assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {first}-{last}/{size}")
        assert answer.body == boot.iso[first:last + 1], (first, last)
    connection.close()
    for text, status, body in ((f"bytes={size - 10}-", 206, boot.iso[-10:]), ("bytes=-2048", 206, boot.iso[-2048:]),
                               (f"bytes=5-{size * 2}", 206, boot.iso[5:]), (f"bytes={size}-", 416, b""), ("bytes=-0", 416, b""),
                               ("bytes=0-1,5-6", 200, boot.iso), ("bytes=x", 200, boot.iso)):
        answer = host.get(boot.target, Range=text)
        assert answer.status == status and (status == 416 or answer.body == body), text
        if status == 416:
            assert answer.headers["Content-Range"] == f"bytes */{size}"
    partial = host.get(boot.target, "HEAD", Range="bytes=10-19")
    assert partial.status == 206 and partial.headers["Content-Length"] == "10"
    assert host.get(boot.target, Range="bytes=1-2", If_Range=etag).status == 206
    assert host.get(boot.target, Range="bytes=1-2", If_Range='"other"').status == 200
    # the same boot, published again by a conductor that was restarted, is the same medium
    host.publish(boot.path)
    assert host.get(boot.target, "HEAD").headers["ETag"] == etag


def test_who_has_no_good_path_gets_nothing(host, boot):
    old, later = new_path(-5), boot.path[:9] + str((int(boot.path[9]) + 1) % 10) + boot.path[10:]
    host.publish(old)
    good = boot.target
    seen = len(host.media.log())
    for target, status in ((host.sign(old), 410), (host.sign(boot.path, bytes(32)), 404), (host.sign(new_path()), 404),
                           (good.replace(boot.path, later), 404), (good.replace(boot.path, old), 404), (good + "/", 404),
                           (good.replace("boot.iso", "boot.media"), 404), ("/media/", 404), ("/media/x/boot.iso", 404),
                           (f"/once/{boot.path}/boot.media", 404), (f"/once/{boot.path}/boot%2emedia", 404)):
        answer = host.get(target)
        assert answer.status == status, target
        assert TOKEN.encode() not in answer.body
    assert host.get(good, "POST").status == 403 and host.get(good, "PUT").status == 403
    log = host.media.log()[seen:]
    for wanted in ("its time was over", "its signature is wrong", "it is no path of a medium", "the boot is over",
                   "client=127.0.0.1"):
        assert wanted in log, log
    assert host.get(good).status == 200
    host.withdraw(old)


def test_when_the_boot_is_over_the_url_is_worth_nothing(host):
    path = new_path()
    record = host.publish(path)
    assert host.get(host.sign(path), "HEAD").status == 200
    host.withdraw(path)
    assert not record.exists() and host.get(host.sign(path)).status == 404


def test_the_path_is_in_no_log(host, boot):
    assert host.get(boot.target).status == 200 and host.get(boot.target, Range="bytes=0-1").status == 206
    host.media.stop()
    assert host.get(boot.target).status == 502
    host.start_media()
    assert host.get(boot.target.replace("boot.iso", "%62oot.iso")).status == 200
    text = host.logs()
    for part in (boot.path, boot.path[11:], boot.target[-41:-9], TOKEN):
        assert part not in text
    access = (host.state / "nginx-access.log").read_text()
    assert '"GET /media/... HTTP/1.1" 200' in access and '"GET /media/... HTTP/1.1" 502' in access
    assert f"node={NODE}" in host.media.log()


def test_another_base_is_never_mixed_in(host, boot):
    other = host.content[:-1] + bytes([host.content[-1] ^ 1])
    size = len(boot.iso)
    seen = len(host.media.log())
    try:
        # put in its place while somebody reads: who began with the old one gets all of it
        connection, response = host.open(boot.target)
        start = response.read(MIB)
        host.put_base(other)
        assert start + response.read() == boot.iso
        connection.close()
        assert host.get(boot.target).status == 500
        assert f"node={NODE}" in host.media.log()[seen:] and "it was replaced" in host.media.log()[seen:]
        # a new boot is made for the new one
        path = new_path()
        host.publish(path)
        assert host.get(host.sign(path)).body[-1] == other[-1]
        host.withdraw(path)
        # shorter, and gone
        host.put_base(other[:-2048])
        assert host.get(boot.target).status == 500
        host.base.unlink()
        assert host.get(boot.target).status == 500
    finally:
        host.put_base(host.content)
    assert host.get(boot.target).body == boot.iso
    # the same file written over, while it is read slowly: the answer ends too early, and what came is the old one
    connection = UnixConnection(host.state / "media/socket")
    connection.request("GET", boot.target)
    response = connection.getresponse()
    start = response.read(MIB)
    with open(host.base, "r+b") as base:
        base.seek(size - 4096)
        base.write(b"new" * 1000)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as cut:
        response.read()
    assert start + getattr(cut.value, "partial", b"") == boot.iso[:len(start) + len(getattr(cut.value, "partial", b""))]
    connection.close()
    assert "medium cut off" in host.media.log()[seen:]
    host.put_base(host.content)


def test_a_bmc_goes_on_after_the_server_was_killed(host, boot):
    etag = host.get(boot.target, "HEAD").headers["ETag"]
    connection, response = host.open(boot.target)
    got = response.read(MIB)
    host.media.kill()
    try:
        got += response.read()
    except http.client.IncompleteRead as cut:
        got += cut.partial
    connection.close()
    assert MIB <= len(got) < len(boot.iso), "the ISO is so small that it was sent already"
    assert host.get(boot.target).status == 502
    host.start_media()
    answer = host.get(boot.target, Range=f"bytes={len(got)}-", If_Range=etag)
    assert answer.status == 206 and got + answer.body == boot.iso


def test_it_runs_without_privileges_and_sees_nothing_else(host):
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{host.media.pid}/status").read_text().splitlines()
                  if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0
    assert status["Uid"].split()[0] == "65534"
    assert (host.state / "media/socket").stat().st_mode & 0o777 == 0o660
    assert host.key.stat().st_mode & 0o777 == 0o600


def test_more_clients_than_it_takes(host, boot):
    waiting = []
    for _ in range(CLIENTS + 20):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(host.state / "media/socket"))
        waiting.append(client)
    waiting[-1].settimeout(10)
    assert waiting[-1].recv(1) == b"", "the last one is closed at once"
    for client in waiting:
        client.close()
    wait_until(lambda: host.get(boot.target, "HEAD").status == 200, what="served again")
    connection = UnixConnection(host.state / "media/socket")
    connection.request("GET", boot.target, headers={"X": "y" * 9000})
    assert connection.getresponse().status == 431
    connection.close()


def test_one_bmc_does_not_take_the_places_of_others(host, boot):
    other = new_path()
    folder = boot.record.parent.parent / other
    shutil.copytree(boot.record.parent, folder)
    (folder / "boot.media").write_bytes(boot.record.read_bytes().replace(NODE.encode(), NODE[::-1].encode()[:8] + NODE[8:].encode()))
    reading = [UnixConnection(host.state / "media/socket") for _ in range(READERS)]
    for connection in reading:
        connection.request("GET", boot.target)
        assert connection.getresponse().status == 200
    seen = len(host.media.log())
    assert host.get(boot.target).status == 503 and host.get(boot.target, "HEAD").status == 503
    assert f"node={NODE}" in host.media.log()[seen:] and "16 requests read it already" in host.media.log()[seen:]
    assert host.get(host.sign(other)).status == 200
    reading.pop().close()
    wait_until(lambda: host.get(boot.target).status == 200, what="served again")
    for connection in reading:
        connection.close()
    shutil.rmtree(folder)


def test_guesses_do_not_fill_the_log(host):
    seen = len(host.media.log())
    for _ in range(200):
        connection = UnixConnection(host.state / "media/socket")
        connection.request("GET", "/media/x")
        assert connection.getresponse().status == 404
        connection.close()
    assert host.media.log()[seen:].count("medium refused") < 60
    wait_until(lambda: host.lines("medium refused", seen) >= 200, what="the rest is counted, also when nobody guesses on")


def test_a_bmc_with_a_good_path_does_not_fill_the_log(host, boot):
    def ask(want, message, times=60):
        seen = len(host.media.log())
        connection = UnixConnection(host.state / "media/socket")
        for _ in range(times):
            connection.request("GET", boot.target, headers={"Range": "bytes=0-0"})
            answer = connection.getresponse()
            assert (answer.status, answer.reason, len(answer.read()) > 0) == (*want, True)
        connection.close()
        assert 0 < host.media.log()[seen:].count(f'message="{message}"') < 40
        wait_until(lambda: host.lines(message, seen) >= times, what="the rest is counted")

    ask((206, "Partial Content"), "medium is read")
    host.base.unlink()
    ask((500, "Internal Server Error"), "medium cannot be given")
    host.put_base(host.content)


def test_a_record_that_is_damaged_is_named(host, boot):
    good = boot.record.read_bytes()
    for bad in (b"", good[:100], good.replace(b"inox-media 1", b"inox-media 9"), good + b"x", good.replace(b"ramdisk/", b"../disk/")):
        seen = len(host.media.log())
        boot.record.write_bytes(bad)
        assert host.get(boot.target).status == 500
        assert "the boot's record: " in host.media.log()[seen:]
    boot.record.write_bytes(good)
    assert host.get(boot.target).status == 200


def test_what_is_wrong_at_the_start_is_said(build, folder):
    program = build / "src/media/inox-media"

    def start(*argv):
        done = subprocess.run([program, *map(str, argv)], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout + done.stderr

    assert start("--help")[0] == 0 and "--http-root" in start("--help")[1]
    assert start("--version") == (0, "inox-media 0.1.0\n")
    assert start()[0] == 2
    key, options = folder / "key", ["--http-root", folder, "--key", folder / "key", "--socket"]
    assert "key" in start(*options, folder / "socket")[1]
    key.write_bytes(bytes(32))
    key.chmod(0o644)
    assert "can be read by others" in start(*options, folder / "socket")[1]
    key.chmod(0o600)
    assert "longer than" in start(*options, folder / ("s" * 120))[1]
    (folder / "file").write_text("")
    status, said = start(*options, folder / "file")
    assert status == 1 and "open the socket" in said and (folder / "file").exists()
    assert "open the http root" in start("--http-root", folder / "none", "--key", key, "--socket", folder / "socket")[1]
