"""A whole rack on loopback without virtual machines: inoxd, inox-bmc in front of machines made of
processes (process_machine.py), a boot host that is a folder, an image server, and file-backed disks.  All programs
are the real ones; firmware, kernel and ramdisk are what is left out.  A deployment takes a few seconds.

All programs write their debug lines, and when a rack stops, whatever its programs left behind is searched for tokens and
passwords (secret_watch.py).
"""

import hashlib
import http.client
import http.server
import json
import os
import pathlib
import random
import socket
import threading
import time

from conftest import API_VERSION, Process, free_port, wait_until
from rack.secret_watch import SecretWatch

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1024 * 1024
AGENT_PORT = 9999
BMC_PASSWORD = "correct horse"


def make_image(size=8 * MIB, seed=1):
    """A whole-disk image: a boot sector with an MBR that has one partition, and bytes that do not repeat."""
    content = bytearray(random.Random(seed).randbytes(size))
    content[440:512] = bytes(72)
    content[446:462] = bytes([0x80, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    content[510:512] = b"\x55\xaa"
    return bytes(content)


class ImageServer:
    """Serves `files` (path -> bytes); `behave` may replace the answer of a path: a function of the handler."""

    def __init__(self):
        self.files, self.behave, self.requests = {}, {}, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.requests.append(self.path)
                if self.path in server.behave:
                    server.behave[self.path](self)
                    return
                content = server.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *args):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


PLACES = (("isolinux.cfg", 4096), ("grub.cfg", 4096), ("node.img", 4096), ("agent.conf", 2048))


def make_base_iso():
    """As much of the ISO that inox-ramdisk makes as the boot publisher looks at."""
    return bytes(2048) + b"".join(
        f"inox-place {name} {size}\n".encode().ljust(size, b"\n") for name, size in PLACES) + bytes(2048)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("boot-host", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class MediaServer:
    """inox-media, started when the first BMC asks for something."""

    def __init__(self, build, folder, http_root):
        self.folder, self.socket, self.key = folder, folder / "media.socket", folder / "media.key"
        self.argv = [build / "src/media/inox-media", "--http-root", http_root, "--key", self.key, "--socket", self.socket]
        self.process, self.lock = None, threading.Lock()
        self.key.write_bytes(os.urandom(32))
        self.key.chmod(0o600)

    def start(self):
        with self.lock:
            if not self.process or self.process.popen.poll() is not None:
                seen = len(self.log())
                self.process = Process(self.argv, self.folder / "media.log")
                wait_until(lambda: "message=ready" in self.log()[seen:], what=self.log)

    def get(self, method, path, headers):
        """Status, headers and body."""
        self.start()
        connection = UnixConnection(self.socket)
        connection.request(method, path, headers={name: headers[name] for name in ("Range", "If-Range") if headers.get(name)})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def log(self):
        path = self.folder / "media.log"
        return path.read_text() if path.exists() else ""

    def stop(self):
        if self.process:
            assert self.process.stop() == 0, self.log()


class BootFiles:
    """The boot host's HTTP server."""

    def __init__(self, folder, media):
        outer = self
        self.requests = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def handle_any(self, method, others):
                if not self.path.startswith("/media/"):
                    others()
                    return
                outer.requests.append(self.path)
                status, headers, body = media.get(method, self.path, self.headers)
                self.send_response_only(status)
                for name in ("Content-Length", "Content-Range", "ETag", "Accept-Ranges"):
                    if headers.get(name):
                        self.send_header(name, headers[name])
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.handle_any("GET", super().do_GET)

            def do_HEAD(self):
                self.handle_any("HEAD", super().do_HEAD)

            def log_message(self, *args):
                outer.requests.append(self.path)

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


class Machine:
    """One machine: a system root for its agent, a disk, and an inox-bmc."""

    def __init__(self, rack, number, real_mac=None, disk_size=5 * 1024 * MIB):
        self.rack, self.number = rack, number
        self.mac = f"52:54:00:77:00:{number:02x}"
        self.folder = rack.folder / f"machine-{number}"
        self.sysroot = self.folder / "root"
        self.make_sysroot(real_mac or self.mac, disk_size)
        self.state = self.folder / "state.json"
        self.plug_in(True)
        self.port = free_port()
        password = self.folder / "password"
        password.write_text(BMC_PASSWORD + "\n")
        password.chmod(0o600)
        description = self.folder / "machine.conf"
        description.write_text(
            "[machine]\nkind = process\n"
            f"name = m{number}\nmac = {self.mac}\nserial = SN{number:04}\n"
            f"command = /usr/bin/python3;{HERE / 'process_machine.py'};{self.state}\n")
        self.bmc = Process(
            [rack.build / "tools/bmc/inox-bmc", "--listen", f"127.0.0.1:{self.port}", "--machine", description,
             "--username", "admin", "--password-file", password],
            self.folder / "bmc.log")

    def plug_in(self, plugged):
        """Without its network cable a machine that boots from the network never comes up."""
        self.state.write_text(json.dumps({
            "boot_root": str(self.rack.boot_root if plugged else self.folder / "nothing"),
            "sysroot": str(self.sysroot), "port": AGENT_PORT,
            "agent": str(self.rack.build / "src/agent/inox-agent")}))

    def make_sysroot(self, mac, disk_size):
        root = self.sysroot

        def put(path, text):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)

        for name, text in {"address": mac, "carrier": "1", "operstate": "up", "speed": "1000",
                           "type": "1", "flags": "0x1003"}.items():
            put(f"sys/class/net/eth0/{name}", text + "\n")
        (root / "sys/class/net/eth0/device").mkdir()
        put("sys/block/vda/size", f"{disk_size // 512}\n")
        put("sys/block/vda/queue/rotational", "0\n")
        put("sys/block/vda/queue/logical_block_size", "512\n")
        put("sys/block/vda/serial", f"disk{self.number}\n")
        put("proc/meminfo", "MemTotal: 524288 kB\n")
        put("proc/cpuinfo", "processor : 0\nmodel name : test\nflags : fpu\n")
        put("sys/class/dmi/id/product_serial", f"SN{self.number:04}\n")
        (root / "dev").mkdir()
        (root / "etc").mkdir()
        self.disk = root / "dev/vda"
        with open(self.disk, "wb") as disk:
            disk.truncate(disk_size)

    def disk_head(self, size):
        with open(self.disk, "rb") as disk:
            return disk.read(size)

    def instance_is_up(self):
        return (self.sysroot / "instance-booted").exists()

    def stop(self):
        self.bmc.stop()


class ProcessRack:
    def __init__(self, build, folder, inoxd_factory, network, config=None, env=None):
        """`network` is the second and third byte of this rack's addresses: 127.a.b.0/24."""
        self.build, self.folder = build, pathlib.Path(folder)
        self.secrets = SecretWatch(self.folder)
        self.secrets.add(BMC_PASSWORD, "BMC password")
        self.boot_root = self.folder / "boot"
        for name in ("http/boot", "http/once", "http/ramdisk", "dhcp-hosts"):
            (self.boot_root / name).mkdir(parents=True)
        self.images = ImageServer()
        self.media = MediaServer(build, self.folder, self.boot_root / "http")
        self.files = BootFiles(self.boot_root / "http", self.media)
        (self.boot_root / "http/ramdisk/boot.iso").write_bytes(make_base_iso())
        self.machines = []
        self.prefix = "127.%d.%d" % network
        self.config = {
            "agent": {"poll_only": True, "allowed_networks": f"{self.prefix}.0/24"},
            "redfish": {"allowed_networks": "127.0.0.1/32"},
            "boot": {"root": self.boot_root, "http_url": self.images.url, "media_url": self.files.url,
                     "media_key_file": self.media.key,
                     "address_pool": f"{self.prefix}.10-{self.prefix}.99"},
            "conductor": {"sweep_interval": 1},
            "DEFAULT": {"debug": True},
        }
        for group, options in (config or {}).items():
            self.config.setdefault(group, {}).update(options)
        self.factory = inoxd_factory
        self.inoxd = inoxd_factory(self.config, env=env)
        self.config.setdefault("DEFAULT", {})["state_path"] = self.inoxd.state
        self.config.setdefault("api", {})["port"] = self.inoxd.port

    def restart_inoxd(self, env=None):
        self.inoxd = self.factory(self.config, env=env)

    def add_machine(self, **options):
        machine = Machine(self, len(self.machines) + 1, **options)
        self.machines.append(machine)
        self.secrets.machines.append(machine.folder)
        return machine

    # ---- the API, tried again while its process is being restarted
    def call(self, method, path, body=None, want=None, seconds=20):
        end = time.monotonic() + seconds
        self.secrets.note_request(body)
        while True:
            self.secrets.sample()
            try:
                answer = self.inoxd.api(method, path, body)
                self.secrets.note_answer(answer.text)
            except OSError:
                answer = None
            if answer is not None and answer.status not in (503, 409):
                if want is not None:
                    assert answer.status == want, f"{method} {path}: {answer.status} {answer.text}"
                return answer
            assert time.monotonic() < end, f"{method} {path}: {answer.text if answer else 'no answer'}"
            time.sleep(0.1)

    def node(self, name):
        return self.call("GET", f"/v1/nodes/{name}", want=200).json

    def flow(self, name):
        return self.call("GET", f"/v1/nodes/{name}/flow", want=200).json

    def enrol(self, machine, name="n1", **more):
        made = self.call("POST", "/v1/nodes", {
            "driver": "redfish", "name": name,
            "driver_info": {"redfish_address": f"http://127.0.0.1:{machine.port}", "redfish_username": "admin",
                            "redfish_password": BMC_PASSWORD}, **more}, want=201).json
        self.call("POST", "/v1/ports", {"node_uuid": made["uuid"], "address": machine.mac}, want=201)
        self.provision(name, "manage", "manageable")
        self.provision(name, "provide", "available")
        return made["uuid"]

    def provision(self, name, verb, wanted=None, seconds=60, **more):
        self.call("PUT", f"/v1/nodes/{name}/states/provision", {"target": verb, **more}, want=202)
        return self.wait_state(name, wanted, seconds) if wanted else None

    def wait_state(self, name, wanted, seconds=60):
        seen = {}

        def there():
            seen.update(self.node(name))
            state = seen["provision_state"]
            assert state == wanted or not state.endswith("failed"), f"{state}: {seen['last_error']}"
            return state == wanted and seen["reservation"] is None

        wait_until(there, seconds, what=f"{name} is {wanted} (it is {seen.get('provision_state')})")
        return seen

    def set_image(self, name, content, path="/image.raw", **info):
        self.images.files.setdefault(path, content)
        info = {"image_source": self.images.url + path, "image_disk_format": "raw", "image_os_hash_algo": "sha256",
                "image_os_hash_value": hashlib.sha256(content).hexdigest(), **info}
        self.call("PATCH", f"/v1/nodes/{name}",
                  [{"op": "add", "path": f"/instance_info/{key}", "value": value} for key, value in info.items()],
                  want=200)

    def published(self):
        """What the boot host holds that belongs to a boot."""
        return [str(p.relative_to(self.boot_root)) for p in (self.boot_root / "http").rglob("*")
                if p.is_file() and p.parent.name != "ramdisk" and p.name != "boot.ipxe"]

    def read_everything(self):
        """What the API shows anybody."""
        if self.inoxd.popen.poll() is not None:
            return
        for version in ("1.62", API_VERSION):
            for path in ("/v1/nodes/detail", "/v1/ports/detail", "/metrics"):
                self.secrets.note_answer(self.inoxd.api("GET", path, version=version).text)
            for node in self.inoxd.api("GET", "/v1/nodes", version=version).json["nodes"]:
                for part in ("", "/flow", "/states", "/validate", "/history"):
                    answer = self.inoxd.api("GET", f"/v1/nodes/{node['uuid']}{part}", version=version)
                    self.secrets.note_answer(answer.text)

    def stop(self):
        try:
            self.read_everything()
        except OSError:
            pass  # a test may have left the API dead
        for machine in self.machines:
            machine.stop()
        self.images.stop()
        self.files.stop()
        self.media.stop()
        self.secrets.note_machines()
        self.secrets.check()


def log_of(rack):
    return rack.inoxd.log() + "".join(m.bmc.log() for m in rack.machines)


def agents_running(build, machine):
    """Ids of inox-agent processes of this build that run on this machine: other tests have agents, too."""
    wanted = os.path.realpath(build / "src/agent/inox-agent")
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/exe") == wanted and \
                        str(machine.sysroot) in pathlib.Path(f"/proc/{entry}/cmdline").read_text().split("\0"):
                    found.append(int(entry))
            except OSError:
                pass
    return found
