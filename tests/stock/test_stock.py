"""inox-agent under a conductor that is not ours: Debian's Ironic deploys through it in active mode.

Ironic's API and conductor run as one process, without authentication, on SQLite.  Power and boot device of its
nodes are pretended (fake, noop); the rest is real: the iPXE script, whose kernel command line the agent gets,
look-up, heartbeats, commands, the image.  The disk is a file.  All on loopback.
"""
import functools
import hashlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from conftest import REPOSITORY, Answer, Process, free_port, wait_until, write_config

sys.path.insert(0, str(REPOSITORY / "tests"))
from rack.process_rack import MIB, Machine, make_image  # noqa: E402

MEDIA_MACHINE = REPOSITORY / "tests/stock/media_machine.py"
STOCK_VERSION = "1.82"
DISK = 5 * 1024 * MIB  # sparse; a stock agent takes no smaller disk either
IRONIC = shutil.which("ironic")

pytestmark = pytest.mark.skipif(IRONIC is None, reason="Ironic is not installed: make check-stock does it")


class Images:
    """A folder over HTTP; `seen` are the requests as (method, path)."""

    def __init__(self, folder):
        folder.mkdir()
        for name in ("kernel", "ramdisk"):
            (folder / name).write_text(f"a {name}, as far as the conductor looks\n")
        self.folder, self.seen = folder, []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_request(self, code="-", size="-"):
                outer.seen.append((self.command, self.path))

            def log_message(self, *arguments):
                pass

        self.httpd = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


class Ironic:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        for name in ("certificates", "images", "logs", "masters", "tftp", "tmp", "bin"):
            (folder / name).mkdir()
        self.files = Images(folder / "http")
        # Ironic calls the program by a name under which Debian's xorriso is not installed.
        (folder / "bin/mkisofs").write_text('#!/bin/sh\nexec xorriso -as mkisofs "$@"\n')
        (folder / "bin/mkisofs").chmod(0o755)
        config = write_config(folder / "ironic.conf", {
            "DEFAULT": {"auth_strategy": "noauth", "rpc_transport": "none", "host": "localhost", "my_ip": "127.0.0.1",
                        "state_path": folder, "tempdir": folder / "tmp",
                        "enabled_hardware_types": "manual-management,redfish", "enabled_deploy_interfaces": "direct",
                        "enabled_boot_interfaces": "ipxe,redfish-virtual-media",
                        "enabled_power_interfaces": "fake,redfish", "isolinux_bin": "/usr/lib/ISOLINUX/isolinux.bin",
                        "enabled_management_interfaces": "noop,redfish", "enabled_network_interfaces": "noop",
                        "enabled_storage_interfaces": "noop", "enabled_inspect_interfaces": "no-inspect",
                        "enabled_raid_interfaces": "no-raid", "enabled_vendor_interfaces": "no-vendor",
                        "enabled_console_interfaces": "no-console", "enabled_bios_interfaces": "no-bios",
                        "enabled_rescue_interfaces": "agent,no-rescue", "default_rescue_interface": "no-rescue"},
            "oslo_concurrency": {"lock_path": folder / "tmp"},
            "database": {"connection": f"sqlite:///{folder}/ironic.sqlite"},
            # A machine that boots in no time sends its first heartbeat before the conductor waits for it.
            "api": {"host_ip": "127.0.0.1", "port": self.port, "api_workers": 1, "ramdisk_heartbeat_timeout": 20},
            "service_catalog": {"endpoint_override": f"http://127.0.0.1:{self.port}"},
            "conductor": {"automated_clean": False, "heartbeat_interval": 5, "sync_power_state_interval": 0},
            "deploy": {"http_root": folder / "http", "http_url": self.files.url},
            "redfish": {"use_swift": False},
            "dhcp": {"dhcp_provider": "none"},
            "pxe": {"tftp_root": folder / "tftp", "images_path": folder / "images",
                    "instance_master_path": folder / "masters", "tftp_master_path": folder / "masters"},
            # A pretended power state does not show that the agent has switched itself off: no waiting for it.
            "agent": {"post_deploy_get_power_state_retries": 0, "post_deploy_get_power_state_retry_interval": 0,
                      "certificates_path": folder / "certificates", "deploy_logs_local_path": folder / "logs",
                      "image_download_source": "http", "command_wait_interval": 1},
        })
        subprocess.run(["ironic-dbsync", "--config-file", str(config), "create_schema"], check=True, timeout=120,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = Process([IRONIC, "--config-file", config], folder / "ironic.log",
                               {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
        self.url = f"http://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, want=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {
                "X-OpenStack-Ironic-API-Version": STOCK_VERSION, "Content-Type": "application/json"})
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        assert want is None or answer.status == want, f"{method} {path}: {answer.status} {answer.text}"
        return answer

    def wait_ready(self):
        def listens():
            assert self.process.popen.poll() is None, self.process.log()[-4000:]
            try:
                return self.call("GET", "/v1/drivers").json["drivers"]
            except (OSError, http.client.HTTPException, KeyError):
                return None
        wait_until(listens, 90, what="Ironic has its driver")
        return self

    def provision(self, name, verb, wanted, seconds=90, **more):
        self.call("PUT", f"/v1/nodes/{name}/states/provision", {"target": verb, **more}, want=202)
        return self.wait_state(name, wanted, seconds)

    def wait_state(self, name, wanted, seconds=90):
        seen = {}

        def there():
            seen.update(self.call("GET", f"/v1/nodes/{name}", want=200).json)
            state = seen["provision_state"]
            assert state == wanted or not state.endswith("failed"), f"{state}: {seen['last_error']}"
            return state == wanted and seen["reservation"] is None

        wait_until(there, seconds, what=f"{name} is {wanted}")
        return seen


@pytest.fixture(scope="module")
def ironic(module_folder):
    folder = module_folder / "ironic"
    folder.mkdir()
    service = Ironic(folder)
    try:
        yield service.wait_ready()
    finally:
        service.process.stop()
        service.files.stop()


@pytest.fixture(scope="module")
def images(module_folder):
    server = Images(module_folder / "served")
    yield server
    server.stop()


class Agent:
    """One machine that the stock conductor knows as a node, and the agent that runs in it."""
    count = 0

    def __init__(self, ironic, build, images, folder, boot_mode, append):
        Agent.count += 1
        self.ironic, self.build, self.images, self.folder = ironic, build, images, folder
        self.name, self.number, self.port = f"stock-{Agent.count}", Agent.count, free_port()
        self.mac = f"52:54:00:88:00:{Agent.count:02x}"
        self.sysroot, self.process = folder / "root", None
        Machine.make_sysroot(self, self.mac, DISK)
        ironic.call("POST", "/v1/nodes", {
            "driver": "manual-management", "name": self.name, "driver_info": {
                "deploy_kernel": f"{images.url}/kernel", "deploy_ramdisk": f"{images.url}/ramdisk",
                "rescue_kernel": f"{images.url}/kernel", "rescue_ramdisk": f"{images.url}/ramdisk",
                "kernel_append_params": append},
            "properties": {"cpu_arch": "x86_64", "capabilities": f"boot_mode:{boot_mode}"}}, want=201)
        self.uuid = self.node()["uuid"]
        ironic.call("POST", "/v1/ports", {"node_uuid": self.uuid, "address": self.mac}, want=201)
        ironic.provision(self.name, "manage", "manageable")
        ironic.provision(self.name, "provide", "available")

    def set_image(self, content, sum_of=None):
        path = f"{self.name}.raw"
        (self.images.folder / path).write_bytes(content)
        info = {"image_source": f"{self.images.url}/{path}", "image_disk_format": "raw", "image_os_hash_algo": "sha256",
                "image_os_hash_value": hashlib.sha256(sum_of or content).hexdigest()}
        self.ironic.call("PATCH", f"/v1/nodes/{self.name}", [
            {"op": "add", "path": f"/instance_info/{key}", "value": value} for key, value in info.items()], want=200)

    def boot(self):
        """What firmware and ramdisk do when the conductor has switched the machine on: the kernel's command
        line is the one that the conductor wrote for iPXE."""
        script = (self.ironic.folder / "http" / self.uuid / "config").read_text()
        kernel = next(line for line in script.splitlines() if line.startswith("kernel "))
        assert f"ipa-api-url={self.ironic.url}" in kernel
        (self.sysroot / "run").mkdir(exist_ok=True)
        (self.sysroot / "proc/cmdline").write_text(
            kernel.split(" ", 2)[2].partition(" || ")[0].replace("${mac}", self.mac) + "\n")
        self.process = Process([self.build / "src/agent/inox-agent", "--root", self.sysroot,
                                "--listen", f"127.0.0.1:{self.port}"], self.folder / "agent.log")

    def node(self):
        return self.ironic.call("GET", f"/v1/nodes/{self.name}", want=200).json

    def deploy(self):
        self.ironic.provision(self.name, "active", "wait call-back")
        self.boot()

    def disk_head(self, size):
        with open(self.disk, "rb") as disk:
            return disk.read(size)

    def stop(self):
        if self.process and self.process.popen.poll() is None:
            self.process.stop()


@pytest.fixture
def machine(ironic, build, images, folder, request):
    """machine(append, boot_mode) enrols one; `append` is what its kernel gets besides Ironic's own."""
    made = []

    def make(append, boot_mode="bios"):
        base = folder / f"machine-{len(made)}"
        base.mkdir()
        made.append(Agent(ironic, build, images, base, boot_mode, append))
        return made[-1]

    yield make
    report = getattr(request.node, "rep_call", None)
    for agent in made:
        agent.stop()
        if report is not None and report.failed:
            print(f"---- agent\n{agent.process.log()[-6000:] if agent.process else ''}")
            print(f"---- ironic\n{ironic.process.log()[-12000:]}")


READS = "inox-allow-tokenless-get=1"


@pytest.mark.parametrize("boot_mode, transport", [("bios", "http"), ("bios", "pinned"), ("uefi", "pinned")])
def test_a_stock_conductor_deploys_through_the_agent(machine, images, boot_mode, transport):
    m = machine(f"{READS} inox-transport={transport}", boot_mode)
    content = make_image(seed=m.number)
    m.set_image(content)
    m.deploy()
    node = m.ironic.wait_state(m.name, "active")
    assert node["last_error"] is None
    assert m.disk_head(len(content)) == content
    assert images.seen.count(("GET", f"/{m.name}.raw")) == 1, "the agent gets the image, and nobody else"
    assert m.process.popen.wait(30) == 0, "the conductor's power_off ends the agent"
    said = m.process.log()
    assert ("callback=https://" if transport == "pinned" else "callback=http://") in said
    assert " status=4" not in said, "every request of the conductor was understood"
    assert ("command=image.install_bootloader" in said) == (boot_mode == "uefi")


def test_a_stock_conductor_cleans_through_the_agent(machine):
    m = machine(READS)
    with open(m.disk, "r+b") as disk:
        disk.write(make_image(size=MIB, seed=m.number))
    m.ironic.call("PATCH", f"/v1/nodes/{m.name}", [{"op": "add", "path": "/automated_clean", "value": True}], want=200)
    m.ironic.provision(m.name, "manage", "manageable")
    m.ironic.provision(m.name, "provide", "clean wait")
    m.boot()
    m.ironic.wait_state(m.name, "available")
    assert m.disk_head(MIB) == bytes(MIB)
    assert "command=clean.execute_clean_step status=SUCCEEDED" in m.process.log()
    assert " status=4" not in m.process.log(), "every request of the conductor was understood"


def test_a_stock_conductor_rescues_through_the_agent(machine):
    """Deployed, rescued with a password of which the machine only gets the hash, and back to its instance."""
    m = machine(f"{READS} inox-transport=http")
    m.ironic.provision(m.name, "manage", "manageable")
    m.ironic.call("PATCH", f"/v1/nodes/{m.name}", [{"op": "add", "path": "/rescue_interface", "value": "agent"}],
                  want=200)
    m.ironic.provision(m.name, "provide", "available")
    content = make_image(seed=m.number)
    m.set_image(content)
    m.deploy()
    m.ironic.wait_state(m.name, "active")
    assert m.process.popen.wait(30) == 0
    (m.sysroot / "etc/ipa-rescue-config").mkdir(parents=True)  # the ramdisk has it
    m.ironic.provision(m.name, "rescue", "rescue wait", rescue_password="a plain password")
    m.boot()
    m.ironic.wait_state(m.name, "rescue")
    assert m.process.popen.wait(30) == 0, "no agent serves any more"
    stored = (m.sysroot / "etc/ipa-rescue-config/ipa-rescue-password").read_text().strip()
    assert stored.startswith(("$5$", "$6$")) and "a plain password" not in stored + m.process.log()
    assert "command=rescue.finalize_rescue" in m.process.log()
    assert m.disk_head(len(content)) == content, "the instance's disk is untouched"
    m.ironic.provision(m.name, "unrescue", "active")


class MediaAgent:
    """A machine with a BMC: the conductor builds an ISO of its own, with the token in it, and inserts it."""

    def __init__(self, ironic, build, images, folder):
        self.ironic, self.images, self.folder, self.name = ironic, images, folder, "media-1"
        self.number, self.mac = 1, "52:54:00:89:00:01"
        self.sysroot = folder / "root"
        Machine.make_sysroot(self, self.mac, DISK)
        state, password, described = folder / "state.json", folder / "password", folder / "machine.conf"
        state.write_text(json.dumps({"sysroot": str(self.sysroot), "port": free_port(),
                                     "agent": str(build / "src/agent/inox-agent")}))
        password.write_text("correct horse\n")
        password.chmod(0o600)
        described.write_text("[machine]\nkind = process\nname = m1\nserial = SN0001\n"
                             f"mac = {self.mac}\ncommand = /usr/bin/python3;{MEDIA_MACHINE};{state}\n")
        port = free_port()
        self.bmc = Process([build / "tools/bmc/inox-bmc", "--listen", f"127.0.0.1:{port}", "--machine", described,
                            "--username", "admin", "--password-file", password], folder / "bmc.log")
        self.bmc.wait_log("message=listening")
        ironic.call("POST", "/v1/nodes", {
            "driver": "redfish", "name": self.name, "boot_interface": "redfish-virtual-media", "driver_info": {
                "redfish_address": f"http://127.0.0.1:{port}", "redfish_system_id": "/redfish/v1/Systems/1",
                "redfish_username": "admin", "redfish_password": "correct horse",
                "deploy_kernel": f"{images.url}/kernel", "deploy_ramdisk": f"{images.url}/ramdisk",
                "kernel_append_params": f"{READS} inox-transport=http"},
            "properties": {"cpu_arch": "x86_64", "capabilities": "boot_mode:bios"}}, want=201)
        self.uuid = ironic.call("GET", f"/v1/nodes/{self.name}", want=200).json["uuid"]
        ironic.call("POST", "/v1/ports", {"node_uuid": self.uuid, "address": self.mac}, want=201)
        ironic.provision(self.name, "manage", "manageable")
        ironic.provision(self.name, "provide", "available")


@pytest.mark.skipif(not shutil.which("xorriso") or not os.path.exists("/usr/lib/ISOLINUX/isolinux.bin"),
                    reason="xorriso or isolinux is not installed")
def test_a_stock_conductor_deploys_from_virtual_media(ironic, build, images, folder, request):
    m = MediaAgent(ironic, build, images, folder)
    try:
        content = make_image(seed=77)
        Agent.set_image(m, content)
        ironic.provision(m.name, "active", "active", 120)
        with open(m.disk, "rb") as disk:
            assert disk.read(len(content)) == content
        wait_until(lambda: (m.sysroot / "instance-booted").exists(), 30, what="the instance is up")
        cmdline = (m.sysroot / "proc/cmdline").read_text()
        assert "boot_method=vmedia" in cmdline and "ipa-agent-token=" in cmdline
        assert '"medium inserted"' in m.bmc.log()
    finally:
        report = getattr(request.node, "rep_call", None)
        if report is None or report.failed:
            print(f"---- bmc\n{m.bmc.log()[-9000:]}\n---- ironic\n{ironic.process.log()[-12000:]}")
        m.bmc.stop()


def test_what_the_agent_says_of_a_failure_is_the_conductors_last_error(machine):
    m = machine(f"{READS} inox-transport=http")
    content = make_image(seed=m.number)
    m.set_image(content, sum_of=b"something else")
    m.deploy()
    wait_until(lambda: m.node()["provision_state"] == "deploy failed", 90, what="the deployment has failed")
    assert "checksum" in m.node()["last_error"].lower()
    assert m.disk_head(MIB) == bytes(MIB)


def test_without_the_switch_this_release_cannot_read_results(machine):
    m = machine("inox-transport=http")
    m.set_image(make_image(seed=m.number))
    m.deploy()
    wait_until(lambda: m.node()["provision_state"] == "deploy failed", 90, what="the deployment has failed")
    assert "path=/v1/commands/ status=401" in m.process.log()
    assert m.disk_head(MIB) == bytes(MIB)
