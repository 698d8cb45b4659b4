"""The step write_image against web servers that behave and that do not.

A folder plays the machine: sys/block/sda with a size, dev/sda as a file.  What must hold after every failure:
both ends of the disk are zero, so nothing boots, and the next command works.
"""
import base64
import gzip
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib

import pytest

from conftest import REPOSITORY, Process, free_port, wait_until

MIB = 1 << 20
DISK = 200 * MIB
IMAGE = 24 * MIB
EDGE = MIB
BUILD = pathlib.Path(os.environ.get("INOX_BUILD", REPOSITORY / "build"))
DRIVER = BUILD / "tests/integration/drive_image"


# ---- an image: GPT, one partition, noise and a hole

def make_image(size=IMAGE):
    noise = random.Random(3).randbytes(4 * MIB)
    image = bytearray(size)
    image[2 * MIB:6 * MIB] = noise
    image[size - 6 * MIB:size - 2 * MIB] = noise
    last = size // 512 - 1
    struct.pack_into("<I", image, 440, 0x8F2A11C3)
    struct.pack_into("<B3sB3sII", image, 446, 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, last)
    image[510:512] = b"\x55\xaa"
    entry = struct.pack("<16s16sQQQ72s", bytes(range(16)), bytes(range(16, 32)), 2048, last - 2048, 0, b"")
    entries = entry.ljust(128 * 128, b"\0")

    def header(mine, other, at):
        fields = ["<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, mine, other, 34, last - 33,
                  bytes(16), at, 128, 128, zlib.crc32(entries)]
        fields[4] = zlib.crc32(struct.pack(*fields))
        return struct.pack(*fields)

    image[512:604] = header(1, last, 2)
    image[1024:1024 + len(entries)] = entries
    image[-512:-420] = header(last, 1, last - 32)
    image[-512 * 33:-512] = entries
    return bytes(image)


# ---- a server with a mind of its own

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.split("://")[-1]  # whole when the server is used as a proxy
        getattr(self, "on_" + re.split(r"[/?]", path)[1])()

    def head(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def on_good(self):
        self.head(200, len(self.server.body))
        self.wfile.write(self.server.body)

    def on_short(self):
        self.head(200, len(self.server.body))
        self.wfile.write(self.server.body[:5_000_000])
        self.drop()

    def part(self, etag):
        """At most 5 MB per connection, with ranges."""
        body, start = self.server.body, 0
        wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            self.head(206, len(body) - start, ETag=etag,
                      Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.head(200, len(body), ETag=etag)
        self.wfile.write(body[start:start + 5_000_000])
        if start + 5_000_000 < len(body):
            self.drop()

    def on_part(self):
        self.part('"one"')

    def on_changing(self):
        self.part(f'"{len(self.server.seen)}"')

    def on_restart(self):
        """No ranges: the second answer begins at the start again."""
        self.head(200, len(self.server.body))
        if len(self.server.seen) == 1:
            self.wfile.write(self.server.body[:5_000_000])
            self.drop()
        else:
            self.wfile.write(self.server.body)

    def on_stall(self):
        self.head(200, len(self.server.body))
        self.wfile.write(self.server.body[:3_000_000])
        self.wfile.flush()
        self.server.released.wait(30)
        self.drop()

    def on_slow(self):
        self.head(200, len(self.server.body))
        for at in range(0, len(self.server.body), MIB):
            try:
                self.wfile.write(self.server.body[at:at + MIB])
            except OSError:
                return
            time.sleep(0.02)

    def on_chunked(self):
        self.head(200, None, Transfer_Encoding="chunked")
        for at in range(0, len(self.server.body), 700_001):
            piece = self.server.body[at:at + 700_001]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def on_missing(self):
        self.head(404, 0)

    def on_broken(self):
        self.head(503, 0)

    def on_junk(self):
        self.wfile.write(b"220 smtp ready\r\n\r\n")
        self.drop()

    def on_long_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n")
        self.drop()

    def on_encoded(self):
        self.head(200, len(self.server.body), Content_Encoding="gzip")
        self.wfile.write(self.server.body)

    def on_moved(self):
        self.head(302, 0, Location="/good/img")

    def on_away(self):
        self.head(302, 0, Location="http://127.0.0.2:1/secret?key=1")

    def on_loop(self):
        self.head(302, 0, Location="/loop")

    def on_sums(self):
        text = f"{'0' * 64}  other\n{hashlib.sha256(self.server.body).hexdigest()} *img\n".encode()
        self.head(200, len(text))
        self.wfile.write(text)

    def on_locked(self):
        expected = "Basic " + base64.b64encode(b"calvin:h0bbes").decode()
        if self.headers.get("Authorization") != expected:
            self.head(401, 0)
        else:
            self.on_good()

    def on_drive(self):
        self.head(200, len(self.server.drive))
        self.wfile.write(self.server.drive)


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that are killed are part of the tests


@pytest.fixture(scope="module")
def image():
    return make_image()


@pytest.fixture
def server(image):
    s = Quiet(("127.0.0.1", 0), Handler)
    s.body, s.seen, s.released, s.drive = image, [], threading.Event(), b""
    s.url = f"http://127.0.0.1:{s.server_port}"
    thread = threading.Thread(target=s.serve_forever)
    thread.start()
    yield s
    s.released.set()
    s.shutdown()
    thread.join()
    s.server_close()


class Machine:
    def __init__(self, folder):
        self.root = folder
        self.disk = folder / "dev/sda"
        for path in ("sys/block/sda/queue", "dev", "proc"):
            (folder / path).mkdir(parents=True)
        (folder / "sys/block/sda/size").write_text(f"{DISK // 512}\n")
        self.cmdline("ipa-image-download-connection-retries=0")
        self.soil()

    def soil(self):
        """An old disk: something bootable at both ends."""
        with open(self.disk, "wb") as f:
            f.truncate(DISK)
            f.write(b"\xaa" * 4 * MIB)
            f.seek(DISK - 4 * MIB)
            f.write(b"\xaa" * 4 * MIB)

    def cmdline(self, text):
        (self.root / "proc/cmdline").write_text(f"quiet {text}\n")

    def request(self, args, **more):
        node = {"instance_info": {}, "properties": {"root_device": {"name": "/dev/sda"}}}
        return json.dumps({"root": str(self.root), "node": node, "args": args, **more})

    def run(self, args, *argv, **more):
        done = subprocess.run([DRIVER, *argv], input=self.request(args, **more), capture_output=True,
                              text=True, timeout=60)
        assert "Sanitizer" not in done.stderr, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines, done.stderr
        return lines if argv else lines[0]

    def read(self, start, length):
        with open(self.disk, "rb") as f:
            f.seek(start)
            return f.read(length)

    def is_concealed(self):
        return self.read(0, EDGE) == bytes(EDGE) and self.read(DISK - EDGE, EDGE) == bytes(EDGE)

    def holds(self, image):
        """Everything but the head, where the GPT is changed for the larger disk."""
        return self.read(EDGE, len(image) - EDGE) == image[EDGE:] and self.read(512, 8) == b"EFI PART"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "root")


def arguments(url, body, **more):
    return {"image_info": {"id": "img", "urls": [url], "disk_format": "raw", "stream_raw_images": True,
                           "os_hash_algo": "sha256", "os_hash_value": hashlib.sha256(body).hexdigest(),
                           **more}}


def gpt_partitions(machine):
    """(start, length) of each partition, after checking both copies of the table."""
    def read_header(at):
        raw = machine.read(at, 92)
        f = list(struct.unpack("<8sIIIIQQQQ16sQIII", raw))
        assert f[0] == b"EFI PART"
        crc, f[3] = f[3], 0
        assert zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *f)) == crc
        entries = machine.read(f[10] * 512, 128 * 128)
        assert zlib.crc32(entries) == f[13]
        return f, entries

    first, entries = read_header(512)
    last = DISK // 512 - 1
    second, copy = read_header(last * 512)
    assert entries == copy
    assert (first[5], first[6], second[5], second[6]) == (1, last, last, 1)
    result = []
    for at in range(0, len(entries), 128):
        start, end = struct.unpack_from("<QQ", entries, at + 32)
        if entries[at:at + 16] != bytes(16):
            result.append((start * 512, (end - start + 1) * 512))
    return result


# ---- what works

@pytest.mark.parametrize("path", ["good", "chunked", "moved"])
def test_an_image_is_written_and_its_table_reaches_the_end_of_the_disk(machine, server, image, path):
    answer = machine.run(arguments(f"{server.url}/{path}/img", image))
    assert answer["result"] == {
        "result": "prepare_image: image (img) written to device /dev/sda root_uuid=0x8f2a11c3"}
    assert answer["partitions"] == {"root uuid": "0x8f2a11c3"}
    assert machine.holds(image)
    assert gpt_partitions(machine) == [(MIB, IMAGE - 2 * MIB)]


def test_memory_does_not_grow_with_the_image(machine, server, image):
    server.body = gzip.compress(image + bytes(150 * MIB), 1)
    answer = machine.run(arguments(server.url + "/good/img", server.body))
    assert "result" in answer
    assert answer["peak_kib"] < 40 * 1024 or "asan" in str(BUILD) or "tsan" in str(BUILD)


def make_drive(size=300_000):
    drive = bytearray(random.Random(5).randbytes(size))
    drive[32769:32774] = b"CD001"
    drive[32808:32840] = b"config-2".ljust(32)
    return bytes(drive)


@pytest.mark.parametrize("form", ["inline", "inside image_info", "url"])
def test_a_config_drive_gets_a_partition_at_the_end(machine, server, image, form):
    drive = make_drive()
    text = base64.b64encode(gzip.compress(drive)).decode()
    args = arguments(server.url + "/good/img", image)
    if form == "inline":
        args["configdrive"] = text
    elif form == "url":
        server.drive = text.encode()
        args["configdrive"] = server.url + "/drive"
    else:
        args["image_info"]["configdrive"] = text
    assert "result" in machine.run(args)
    (start, length) = gpt_partitions(machine)[1]
    assert length == 64 * MIB and start + length > DISK - 2 * MIB
    assert machine.read(start, len(drive)) == drive
    assert machine.holds(image)


def test_a_broken_connection_is_resumed_where_it_broke(machine, server, image):
    machine.cmdline("ipa-image-download-connection-retries=9 ipa-image-download-connection-retry-interval=0")
    assert "result" in machine.run(arguments(server.url + "/part/img", image))
    assert machine.holds(image)
    ranges = [headers.get("Range") for _, headers in server.seen]
    assert ranges[:2] == [None, "bytes=5000000-"] and len(ranges) == 6
    assert server.seen[1][1]["If-Range"] == '"one"'


def test_a_server_without_ranges_is_read_again(machine, server, image):
    machine.cmdline("ipa-image-download-connection-retries=1 ipa-image-download-connection-retry-interval=0")
    assert "result" in machine.run(arguments(server.url + "/restart/img", image))
    assert machine.holds(image)


def test_checksum_files_and_basic_authentication(machine, server, image):
    info = arguments(server.url + "/locked/img", image, image_server_auth_strategy="http_basic",
                     image_server_user="calvin", image_server_password="h0bbes")
    assert "result" in machine.run(info)
    for key in ("os_hash_algo", "os_hash_value"):
        del info["image_info"][key]
    info["image_info"]["checksum"] = server.url + "/sums"
    assert "result" in machine.run(info)


def test_a_proxy_gets_the_whole_url(machine, server, image):
    info = arguments("http://images.invalid/good/img", image, proxies={"http": server.url})
    assert "result" in machine.run(info)
    assert server.seen[0][0] == "http://images.invalid:80/good/img"


# ---- what fails: class, words, and a disk that does not boot

FAILURES = [
    ("short", "ImageDownloadError", "got 5000000 of 25165824 bytes"),
    ("missing", "ImageDownloadError", "answered with HTTP status 404"),
    ("broken", "ImageDownloadError", "answered with HTTP status 503"),
    ("junk", "ImageDownloadError", "does not speak HTTP/1"),
    ("long_head", "ImageDownloadError", r"headers (of \S+ )?are longer than"),
    ("encoded", "ImageDownloadError", "content coding 'gzip'"),
    ("away", "ImageDownloadError", r"redirects to http://127.0.0.2:1/secret, which is another server"),
    ("loop", "ImageDownloadError", "redirects more than 3 times"),
    ("stall", "ImageDownloadTimeoutError", "no byte from .* for 1 seconds"),
]


@pytest.mark.parametrize("path,kind,words", FAILURES, ids=[f[0] for f in FAILURES])
def test_after_a_failed_download_nothing_boots_and_the_agent_goes_on(machine, server, image, path, kind, words):
    machine.cmdline("ipa-image-download-connection-retries=0 ipa-image-download-connection-timeout=1")
    first, second = machine.run(arguments(f"{server.url}/{path}/img?signature=s3cret", image), "--twice",
                                again=arguments(server.url + "/missing/img", image))
    assert first["error"]["type"] == kind
    assert re.search(words, first["error"]["details"]), first["error"]["details"]
    assert "s3cret" not in first["error"]["details"] and "key=1" not in first["error"]["details"]
    assert second["error"]["details"].endswith("status 404")
    assert machine.is_concealed()
    third, fourth = machine.run(arguments(f"{server.url}/{path}/img", image), "--twice",
                                again=arguments(server.url + "/good/img", image))
    assert "error" in third and "result" in fourth
    assert machine.holds(image)


def test_a_file_that_changes_while_it_is_resumed_is_refused(machine, server, image):
    machine.cmdline("ipa-image-download-connection-retries=5 ipa-image-download-connection-retry-interval=0")
    error = machine.run(arguments(server.url + "/changing/img", image))["error"]
    assert "changed on the server" in error["details"]
    assert machine.is_concealed()


def test_nobody_listens(machine, image):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        error = machine.run(arguments(f"http://127.0.0.1:{s.getsockname()[1]}/img", image))["error"]
    assert error["type"] == "ImageDownloadError"
    assert "Connection refused" in error["details"]
    assert machine.is_concealed()


def test_a_wrong_digest_names_both(machine, server, image):
    wrong = "0" * 64
    error = machine.run(arguments(server.url + "/good/img", image, os_hash_value=wrong))["error"]
    assert error["type"] == "ImageChecksumError"
    assert f"image checksum: {wrong}" in error["details"]
    assert hashlib.sha256(image).hexdigest() in error["details"]
    assert machine.is_concealed()


def test_an_image_without_a_table_is_not_shown(machine, server):
    server.body = b"\1" * (3 * MIB)
    error = machine.run(arguments(server.url + "/good/img", server.body))["error"]
    assert error["type"] == "DeploymentError"
    assert "No partitions found on the device /dev/sda after writing the image" in error["details"]
    assert machine.is_concealed()


# Refused before the disk is touched.
@pytest.mark.parametrize("change,kind,words", [
    ({"urls": []}, "InvalidCommandParamsError", "must be a list with at least one element"),
    ({"urls": ["ftp://x/"]}, "InvalidCommandParamsError", "http"),
    ({"id": None}, "InvalidCommandParamsError", "missing 'id'"),
    ({"os_hash_value": None}, "InvalidCommandParamsError", "'os_hash_value' must be"),
    ({"os_hash_value": None, "os_hash_algo": None}, "InvalidCommandParamsError", "checksum is not available"),
    ({"os_hash_value": "a" * 32, "os_hash_algo": "md5"}, "RESTError", "too weak"),
    ({"disk_format": "qcow2"}, "InvalidImage", "qcow2"),
    ({"image_type": "partition"}, "InvalidCommandParamsError", "whole-disk"),
    ({"configdrive": "%%%"}, "DeploymentError", "not valid base64"),
])
def test_bad_arguments_leave_the_disk_alone(machine, server, image, change, kind, words):
    args = arguments(server.url + "/good/img", image)
    args["image_info"].update(change)
    error = machine.run(args)["error"]
    assert error["type"] == kind
    assert words in error["details"]
    assert machine.read(0, EDGE) == b"\xaa" * EDGE


def test_hints_that_match_nothing_name_the_disks(machine, server, image):
    request = json.loads(machine.request(arguments(server.url + "/good/img", image)))
    request["node"]["properties"]["root_device"] = {"size": ">= 500"}
    done = subprocess.run([DRIVER], input=json.dumps(request), capture_output=True, text=True, timeout=60)
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "DeviceNotFound"
    assert '{"size": ">= 500"}' in error["details"] and "/dev/sda (209.7 MB)" in error["details"]


# ---- the power goes

def test_killed_at_any_moment_the_disk_is_concealed_or_complete(machine, server, image):
    """SIGKILL stands for the power cut: what the kernel was given is on the disk, the rest never comes."""
    chance = random.Random(17)
    outcomes = set()
    for path in ["slow"] * 6 + ["good"] * 10:
        machine.soil()
        before = len(server.seen)
        popen = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        popen.stdin.write(machine.request(arguments(f"{server.url}/{path}/img", image)))
        popen.stdin.close()
        deadline = time.monotonic() + 20
        while len(server.seen) == before and time.monotonic() < deadline:
            time.sleep(0.001)
        try:
            popen.wait(chance.uniform(0, 0.5 if path == "slow" else 0.2))
        except subprocess.TimeoutExpired:
            popen.send_signal(signal.SIGKILL)
            popen.wait()
        head = machine.read(0, EDGE)
        if head == bytes(EDGE):
            outcomes.add("concealed")
        else:
            outcomes.add("complete")
            assert machine.holds(image)
            gpt_partitions(machine)
    assert "concealed" in outcomes


# ---- TLS

@pytest.fixture
def tls_server(server, tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=image server",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = server.url.replace("http:", "https:")
    server.cert = cert
    return server


def test_https_needs_a_certificate_that_is_trusted_and_for_this_host(machine, tls_server, image):
    url = tls_server.url + "/good/img"
    error = machine.run(arguments(url, image))["error"]
    assert "is not trusted" in error["details"]
    assert machine.is_concealed()
    machine.cmdline(f"inox-ca-file={tls_server.cert}")
    assert "result" in machine.run(arguments(url, image))
    error = machine.run(arguments(url.replace("127.0.0.1", "localhost"), image))["error"]
    assert "is not trusted" in error["details"] and "mismatch" in error["details"]
    machine.cmdline("ipa-insecure=1")
    assert "result" in machine.run(arguments(url.replace("127.0.0.1", "localhost"), image))


# ---- a real block device

def attach(machine, *options):
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("needs root and loop devices")
    made = subprocess.run(["losetup", "--find", "--show", *options, machine.disk], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    name = device.split("/")[-1]
    shutil.rmtree(machine.root / "sys/block/sda")
    (machine.root / "sys/block" / name).symlink_to(f"/sys/block/{name}")
    (machine.root / "dev" / name).symlink_to(device)
    return name


@pytest.fixture
def loop_disk(machine, request):
    name = attach(machine, *request.param)
    yield name
    subprocess.run(["losetup", "--detach", f"/dev/{name}"], check=True)


def run_on(machine, name, args):
    request = json.loads(machine.request(args))
    request["node"]["properties"]["root_device"] = {"name": f"/dev/{name}"}
    done = subprocess.run([DRIVER], input=json.dumps(request), capture_output=True, text=True, timeout=60)
    assert "Sanitizer" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("loop_disk", [[], ["--partscan"]], indirect=True,
                         ids=["one by one", "by the kernel's scan"])
def test_a_block_device_shows_its_partitions_at_once(machine, server, image, loop_disk):
    args = arguments(server.url + "/good/img", image)
    args["configdrive"] = base64.b64encode(gzip.compress(make_drive())).decode()
    answer = run_on(machine, loop_disk, args)
    assert "result" in answer, answer
    sys = pathlib.Path(f"/sys/block/{loop_disk}")
    seen = [(int((p / "start").read_text()) * 512, int((p / "size").read_text()) * 512)
            for p in sorted(sys.glob(f"{loop_disk}p*"))]
    assert seen == gpt_partitions(machine)
    assert machine.holds(image)


@pytest.mark.parametrize("loop_disk", [["--sector-size", "4096"]], indirect=True, ids=["4096"])
def test_an_image_for_other_sectors_is_refused_by_that_name(machine, server, image, loop_disk):
    error = run_on(machine, loop_disk, arguments(server.url + "/good/img", image))["error"]
    assert "sectors of 512 bytes, but the sectors of this disk have 4096" in error["details"]
    assert machine.is_concealed()


@pytest.mark.parametrize("loop_disk", [[]], indirect=True, ids=["mounted"])
def test_a_disk_in_use_is_left_alone(machine, server, image, loop_disk, tmp_path):
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/dev/{loop_disk}"], check=True)
    (tmp_path / "mnt").mkdir()
    subprocess.run(["mount", f"/dev/{loop_disk}", tmp_path / "mnt"], check=True)
    try:
        error = run_on(machine, loop_disk, arguments(server.url + "/good/img", image))["error"]
        assert "is in use (mounted" in error["details"]
    finally:
        subprocess.run(["umount", tmp_path / "mnt"], check=True)


# ---- through the agent itself

def test_the_agent_runs_the_step_and_goes_on_after_a_failure(machine, server, image, tmp_path):
    machine.cmdline("inox-transport=http ipa-image-download-connection-retries=0")
    port, token = free_port(), "t" * 43
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    agent = Process([BUILD / "src/agent/inox-agent", "--listen", f"127.0.0.1:{port}", "--root", machine.root,
                     "--token-file", tmp_path / "token"], tmp_path / "agent.log")

    def command(name, params):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", f"/v1/commands/?wait=true&agent_token={token}",
                           json.dumps({"name": name, "params": params}),
                           {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    def write(path):
        step = {"interface": "deploy", "step": "write_image", "args": arguments(f"{server.url}/{path}/img", image)}
        node = {"uuid": "6d85703a-565d-469a-96ce-30b6de53079d", "instance_info": {},
                "properties": {"root_device": {"name": "/dev/sda"}}}
        return command("deploy.execute_deploy_step", {"step": step, "node": node, "ports": []})

    def is_listening():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(is_listening)
        failed = write("missing")
        assert failed.get("command_status") == "FAILED", failed
        assert failed["command_error"]["type"] == "ImageDownloadError"
        assert machine.is_concealed()
        done = write("good")
        assert done["command_status"] == "SUCCEEDED"
        assert done["command_result"]["deploy_result"] == {
            "result": "prepare_image: image (img) written to device /dev/sda root_uuid=0x8f2a11c3"}
        assert machine.holds(image)
        uuids = command("standby.get_partition_uuids", {})
        assert uuids["command_result"] == {"root uuid": "0x8f2a11c3"}
    finally:
        agent.kill()
