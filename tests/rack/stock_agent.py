#!/usr/bin/python3
"""A protocol peer of a stock ironic-python-agent: what Inox meets when the ramdisk is not its own.

    stock_agent.py --listen ADDRESS:PORT --root ROOT [--lab] [--standalone] [--version 12.0.0|9.4.3]

It is written after the agent's wire protocol and recorded exchanges with the real one, on the same HTTP layer
(werkzeug on cheroot), and has its manners: reason phrases in capitals, redirects for a missing slash, the busy rule,
errors that cannot be printed and poison the list, no long poll worth the name, and nothing that only inox-agent knows.
ROOT is the machine's root folder, as for inox-agent: settings come from ROOT/proc/cmdline and
ROOT/etc/ironic-python-agent.d/*.conf, the disk is ROOT/dev/vda.

ROOT/stock.json describes a machine that misbehaves:
    "version"   as --version
    "slow"      {step: seconds before it is carried out}
    "fail"      {step: sentence it fails with}
    "busy"      seconds that a command of somebody else runs after the steps were listed
    "steps"     {step: what its entry in the list of clean steps says}: it is noted as "STEP PID" in ROOT/lab-steps
    "versions"  {manager: version}: hardware managers besides the stock ones
    "upgrade"   {step: versions}: what "versions" is after that step
    "live"      true: without waiting for the next boot
    "restart"   {step: true}: the first time it is asked for, the agent ends in the middle of it and is started again
"""
import argparse
import base64
import configparser
import datetime
import hashlib
import ipaddress
import json
import os
import pathlib
import random
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from werkzeug import exceptions as http_exceptions
from werkzeug import routing, wrappers

DATA = pathlib.Path(__file__).resolve().parent.parent / "data/stock-agent"
NOT_STANDALONE = ("Node lookup data can only be set when the Ironic Python Agent is running in standalone mode.")
DOCUMENTATION = "https://docs.openstack.org/ironic-python-agent/"
VERSIONED_FROM = {"lookup": 62, "heartbeat": 68}
FORCED_EVERY_S = 5
SHORTEST_TOKEN = 32
SMALLEST_DISK = 4 << 30


# ---- errors, as they go over the wire

class RESTError(Exception):
    code, message = 500, "An error occurred"

    def __init__(self, details="An unexpected error occurred. Please try back later."):
        super().__init__(f"{self.message}: {details}")
        self.details = details

    def shown(self):
        return {"type": type(self).__name__, "code": self.code, "message": self.message, "details": self.details}


def kind_of_error(name, code, message, base=RESTError):
    return type(name, (base,), {"code": code, "message": message})


InvalidContentError = kind_of_error("InvalidContentError", 400, "Invalid request body")
InvalidCommandError = kind_of_error("InvalidCommandError", 400, "Invalid command", InvalidContentError)
InvalidCommandParamsError = kind_of_error("InvalidCommandParamsError", 400, "Invalid command parameters",
                                          InvalidContentError)
NotFound = kind_of_error("NotFound", 404, "Not found")
RequestedObjectNotFoundError = kind_of_error("RequestedObjectNotFoundError", 404, "Not found", NotFound)
DeviceNotFound = kind_of_error(
    "DeviceNotFound", 404, "Error finding the disk or partition device to deploy the image onto", NotFound)
CommandExecutionError = kind_of_error("CommandExecutionError", 500, "Command execution failed")
AgentIsBusy = kind_of_error("AgentIsBusy", 409, "Agent is busy")
ImageDownloadError = kind_of_error("ImageDownloadError", 500, "Error downloading image")
ImageChecksumError = kind_of_error("ImageChecksumError", 500, "Error verifying image checksum")
ImageWriteError = kind_of_error("ImageWriteError", 500, "Error writing image to device")
CleaningError = kind_of_error("CleaningError", 500, "Clean step failed")
DeploymentError = kind_of_error("DeploymentError", 500, "Deploy step failed")
ServicingError = kind_of_error("ServicingError", 500, "Service step failed")
HardwareManagerMethodNotFound = kind_of_error("HardwareManagerMethodNotFound", 500,
                                              "No HardwareManager found to handle method")
VersionMismatch = kind_of_error("VersionMismatch", 409,
                                "Hardware managers version mismatch, reload agent with correct version")
STEP_ERRORS = {"clean": CleaningError, "deploy": DeploymentError, "service": ServicingError}


# ---- commands

class Result:
    def __init__(self, name):
        self.id, self.name = str(uuid.uuid4()), name
        self.status, self.error, self.value = "RUNNING", None, None
        self.ended = threading.Event()

    def shown(self):
        # An error that is none of the agent's own stays what it is, and json refuses it.
        error = self.error.shown() if isinstance(self.error, RESTError) else self.error
        return {"id": self.id, "command_name": self.name, "command_status": self.status, "command_error": error,
                "command_result": self.value}

    def fail(self, error):
        self.error = error
        self.status = "CLEAN_VERSION_MISMATCH" if isinstance(error, VersionMismatch) else "FAILED"


def sync_command(method):
    method.runs = "sync"
    return method


def async_command(method):
    method.runs = "async"
    return method


class Extension:
    def __init__(self, agent):
        self.agent = agent


class StepExtension(Extension):
    """Steps of one kind: clean, deploy, service."""

    def listed(self, kind, node, ports):
        self.agent.cache_node(node)
        self.agent.be_busy()
        return {kind + "_steps": self.agent.facts[kind], "hardware_manager_version": self.agent.facts["versions"]}

    def executed(self, kind, step, node, ports, versions):
        self.agent.cache_node(node)
        if "step" not in step:
            raise CommandExecutionError(f'Malformed {kind}_step, no "step" key: {step}')
        known = self.agent.facts["versions"]
        if versions is not None and versions != known:
            raise VersionMismatch(f"Current versions: {known}, versions used by ironic: {versions}")
        try:
            value = self.agent.hardware.run(kind, step["step"], node, ports, step.get("args") or {})
        except RESTError:
            raise
        except Exception as e:
            raise STEP_ERRORS[kind](f"Unexpected exception performing {kind} step {step['step']}. "
                                    f"{type(e).__name__}: {e}") from e
        return {kind + "_result": value, kind + "_step": step}


class CleanExtension(StepExtension):
    @sync_command
    def get_clean_steps(self, node, ports):
        return self.listed("clean", node, ports)

    @async_command
    def execute_clean_step(self, step, node, ports, clean_version=None, **kwargs):
        return self.executed("clean", step, node, ports, clean_version)


class DeployExtension(StepExtension):
    @sync_command
    def get_deploy_steps(self, node, ports):
        return self.listed("deploy", node, ports)

    @async_command
    def execute_deploy_step(self, step, node, ports, deploy_version=None, **kwargs):
        return self.executed("deploy", step, node, ports, deploy_version)


class ServiceExtension(StepExtension):
    @sync_command
    def get_service_steps(self, node, ports):
        return self.listed("service", node, ports)

    @async_command
    def execute_service_step(self, step, node, ports, service_version=None, **kwargs):
        return self.executed("service", step, node, ports, service_version)


class StandbyExtension(Extension):
    @async_command
    def prepare_image(self, image_info, configdrive=None):
        return self.agent.hardware.prepare_image(image_info, configdrive)

    @sync_command
    def get_partition_uuids(self):
        return self.agent.partition_uuids

    @sync_command
    def sync(self):
        os.sync()

    @async_command
    def run_image(self):
        self.agent.end()

    @async_command
    def power_off(self):
        self.agent.end()


class ImageExtension(Extension):
    @async_command
    def install_bootloader(self, root_uuid, efi_system_part_uuid=None, prep_boot_part_uuid=None,
                           target_boot_mode="bios", ignore_bootloader_failure=None):
        return None


class RescueExtension(Extension):
    @sync_command
    def finalize_rescue(self, rescue_password="", hashed=False):
        folder = self.agent.root / "etc/ipa-rescue-config"
        text = rescue_password if hashed else "$5$" + hashlib.sha256(rescue_password.encode()).hexdigest()
        (folder / "ipa-rescue-password").write_text(text)
        (self.agent.root / "etc/.rescued").touch()
        self.agent.close_api()


class LogExtension(Extension):
    @sync_command
    def collect_system_logs(self):
        return {"system_logs": base64.b64encode(b"the journal would be here").decode()}


class SystemExtension(Extension):
    @sync_command
    def lockdown(self):
        self.agent.close_api()


class PollExtension(Extension):
    @sync_command
    def get_hardware_info(self):
        return self.agent.hardware.inventory()

    @sync_command
    def set_node_info(self, node_info=None):
        if not self.agent.standalone:
            raise InvalidCommandError(NOT_STANDALONE)
        self.agent.take_lookup_answer(node_info)


EXTENSIONS = {"clean": CleanExtension, "deploy": DeployExtension, "service": ServiceExtension,
              "standby": StandbyExtension, "image": ImageExtension, "rescue": RescueExtension, "log": LogExtension,
              "poll": PollExtension, "system": SystemExtension}
SINCE = {"service": (9, 7), "system": (10, 0)}


# ---- the machine

class Hardware:
    def __init__(self, agent):
        self.agent, self.root = agent, agent.root
        self.disk = self.root / "dev/vda"

    def read(self, path, otherwise=None):
        try:
            return (self.root / path).read_text().strip()
        except OSError:
            return otherwise

    def interfaces(self):
        found = []
        folder = self.root / "sys/class/net"
        for name in sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []:
            at = f"sys/class/net/{name}"
            if not (self.root / at / "device").exists():
                continue
            mac = self.read(at + "/address", "").lower()
            if mac.startswith("fa:"):
                continue  # as stock does it
            entry = {"name": name, "mac_address": mac, "ipv4_address": None, "ipv6_address": None,
                     "has_carrier": self.read(at + "/carrier") == "1", "lldp": None,
                     "vendor": self.read(at + "/device/vendor"), "product": self.read(at + "/device/device"),
                     "client_id": None, "biosdevname": None}
            if self.agent.is_new:
                entry.update(speed_mbps=None, pci_address=None, driver=None)
            found.append(entry)
        return found

    def disks(self):
        if not self.disk.exists():
            return []
        entry = {"name": "/dev/vda", "model": None, "size": self.disk.stat().st_size, "rotational": False,
                 "wwn": None, "serial": self.read("sys/block/vda/serial"), "vendor": "0x1af4",
                 "wwn_with_extension": None, "wwn_vendor_extension": None, "hctl": None, "by_path": None}
        if self.agent.is_new:
            entry.update(logical_sectors=512, physical_sectors=512, tran=None)
        return [entry]

    def inventory(self):
        new = self.agent.is_new
        cpu = {"model_name": "a processor", "frequency": "" if new else None, "count": 1, "architecture": "x86_64",
               "flags": ["fpu"]}
        vendor = {"product_name": "", "serial_number": self.read("sys/class/dmi/id/product_serial", ""),
                  "manufacturer": ""}
        if new:
            cpu["socket_count"] = 1
            vendor["firmware"] = {"vendor": "", "version": "", "build_date": ""}
        boot = re.search(r"BOOTIF=(\S+)", self.agent.command_line)
        return {"interfaces": self.interfaces(), "cpu": cpu, "disks": self.disks(),
                "memory": {"total": 512 << 20, "physical_mb": 512},
                "bmc_address": None if new else "0.0.0.0", "bmc_v6address": None if new else "::/0",
                "system_vendor": vendor,
                "boot": {"current_boot_mode": "bios", "pxe_interface": boot.group(1) if boot else None},
                "hostname": self.read("proc/sys/kernel/hostname", "machine")}

    def run(self, kind, step, node, ports, arguments):
        """What any public method of a hardware manager is to the real agent; only known names here."""
        listed = {s["step"] for steps in self.agent.facts.get(kind, {}).values() for s in steps}
        method = getattr(self, "step_" + step, None)
        if step in self.agent.oddities.get("steps", {}):
            method = self.note(step)
        if step not in listed or not method:
            raise HardwareManagerMethodNotFound(f"Could not find method: {step}")
        self.agent.misbehave(step)
        return method(node, ports, **arguments)

    def note(self, step):
        def method(node, ports):
            with open(self.root / "lab-steps", "a") as notes:
                notes.write(f"{step} {os.getpid()}\n")
            odd = self.agent.oddities
            if step in odd.get("upgrade", {}):
                odd["versions"] = odd["upgrade"][step]
                (self.root / "stock.json").write_text(json.dumps(odd))
            if odd.get("live"):
                self.agent.facts["versions"].update(odd.get("versions", {}))
        return method

    def step_lab_sleep(self, node, ports, seconds=0):
        time.sleep(seconds)
        return {"slept": seconds}

    def step_lab_fail(self, node, ports):
        raise CleaningError("lab step failed on purpose")

    def wipe_edges(self):
        with open(self.disk, "r+b") as disk:
            size = disk.seek(0, 2)
            for at in (0, size - 33 * 512):
                disk.seek(at)
                disk.write(bytes(33 * 512))

    def step_erase_devices_metadata(self, node, ports):
        self.wipe_edges()

    def step_erase_devices(self, node, ports):
        with open(self.disk, "r+b") as disk:
            size = disk.seek(0, 2)
            disk.truncate(0)
            disk.truncate(size)
        return {"/dev/vda": None}

    def step_write_image(self, node, ports, image_info=None, configdrive=None):
        return {"result": "prepare_image: " + self.prepare_image(image_info, configdrive)}

    # -- images

    def pick_disk(self):
        node = self.agent.node or {}
        hints = node["instance_info"].get("root_device") or node["properties"].get("root_device")
        disks = self.disks()
        if hints:
            disks = [d for d in disks if all(str(d.get(k)) == str(v) for k, v in hints.items())]
        disks = [d for d in disks if d["size"] >= SMALLEST_DISK]
        if not disks:
            raise DeviceNotFound("No suitable device was found for deployment")
        return disks[0]["name"]

    def expected_sum(self, info):
        if info.get("os_hash_algo") in hashlib.algorithms_available:
            return info["os_hash_algo"], info["os_hash_value"]
        text = info.get("checksum")
        by_length = {128: "sha512", 64: "sha256", 32: "md5"}
        if text and len(text) in by_length:
            return by_length[len(text)], text
        raise RESTError("Unable to verify the image's checksum")

    def download(self, url, info, write):
        algorithm, expected = self.expected_sum(info)
        digest = hashlib.new(algorithm)
        where = f"Download of image {info['id']} failed: "
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                while True:
                    piece = answer.read(1 << 20)
                    if not piece:
                        break
                    digest.update(piece)
                    write(piece)
        except urllib.error.HTTPError as e:
            raise ImageDownloadError(where + f"Received status code {e.code} from {url}, expected 200.") from e
        except OSError as e:
            raise ImageDownloadError(where + str(e)) from e
        if digest.hexdigest() != expected:
            raise ImageChecksumError(
                f"Image failed to verify against checksum. location: {info['id']}; image ID: /tmp/{info['id']}; "
                f"image checksum: {expected}; verification checksum: {digest.hexdigest()}")

    def prepare_image(self, info, configdrive):
        for key in ("id", "urls"):
            if not info.get(key):
                raise InvalidCommandParamsError(f"Image is missing '{key}' field.")
        if info.get("image_type") == "partition":
            raise CommandExecutionError("this peer writes whole-disk images only")
        device = self.pick_disk()
        if info.get("stream_raw_images") and info.get("disk_format") == "raw":
            with open(self.disk, "r+b") as disk:
                self.download(info["urls"][0], info, disk.write)
        else:
            self.convert(info)
        with open(self.disk, "rb") as disk:
            head = disk.read(512)
        if head[510:] != b"\x55\xaa":
            raise DeploymentError(f"No partitions found on the device {device} after writing the image.")
        if configdrive:
            self.write_config_drive(configdrive)
        name = "0x%08x" % int.from_bytes(head[440:444], "little")
        self.agent.partition_uuids = {"root uuid": name}
        return f"image ({info['id']}) written to device {device} root_uuid={name}"

    def convert(self, info):
        with tempfile.NamedTemporaryFile(dir=self.root) as image:
            self.download(info["urls"][0], info, image.write)
            image.flush()
            self.wipe_edges()
            done = subprocess.run(["qemu-img", "convert", "-n", "-O", "raw", "-f", info.get("disk_format") or "raw",
                                   image.name, str(self.disk)], capture_output=True, text=True)
        if done.returncode:
            raise ImageWriteError(f"Writing image to device /dev/vda failed with exit code {done.returncode}. "
                                  f"stdout: {done.stdout}. stderr: {done.stderr}")

    def write_config_drive(self, text):
        import gzip
        content = gzip.decompress(base64.b64decode(text))
        with open(self.disk, "r+b") as disk:
            disk.seek(-(64 << 20), 2)
            disk.write(content)


# ---- the agent

class Agent:
    def __init__(self, options):
        self.root = pathlib.Path(options.root)
        self.command_line = self.read_text("proc/cmdline")
        self.oddities = json.loads(self.read_text("stock.json") or "{}")
        self.version = options.version or self.oddities.get("version", "12.0.0")
        numbers = tuple(int(n) for n in self.version.split("."))
        self.is_new, self.checks_all = numbers >= (10, 0), numbers >= (12, 0)
        self.facts = json.loads((DATA / f"{self.version}.json").read_text())["lab" if options.lab else "stock"]
        self.facts["versions"].update(self.oddities.get("versions", {}))
        for name, entry in self.oddities.get("steps", {}).items():
            self.facts["clean"].setdefault("OddHardwareManager", []).append(
                {"step": name, "priority": 0, "interface": "deploy", "reboot_requested": False, **entry})
        self.extensions = {name: kind(self) for name, kind in EXTENSIONS.items()
                           if numbers >= SINCE.get(name, (0,))}
        self.standalone = options.standalone
        self.settings = self.read_settings()
        self.token = self.settings.get("agent_token")
        self.token_asserted = False
        self.api_urls = [u.rstrip("/") for u in self.settings.get("api_url", "").split(",") if u]
        self.host, _, port = options.listen.rpartition(":")
        self.host, self.port = self.host.strip("[]"), int(port)
        self.hardware = Hardware(self)
        self.started_at = time.time()
        self.node, self.node_uuid, self.heartbeat_timeout = None, None, 300
        self.results, self.lock = [], threading.Lock()
        self.partition_uuids = {}
        self.force_heartbeat = threading.Event()
        self.certificate = None
        self.server = None

    def read_text(self, path):
        try:
            return (self.root / path).read_text()
        except OSError:
            return ""

    def read_settings(self):
        """Kernel arguments are the defaults; the configuration files override them."""
        words = dict(w.split("=", 1) for w in self.command_line.split() if "=" in w)
        settings = {k[4:].replace("-", "_"): v for k, v in words.items() if k.startswith("ipa-")}
        if words.get("boot_method") == "vmedia":
            self.copy_from_media()
        files = sorted((self.root / "etc/ironic-python-agent.d").glob("*.conf"))
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read(files)
        settings.update(parser.defaults())
        return settings

    def copy_from_media(self):
        """The files of the CD by its label, as the agent mounts it.  What is no ISO 9660 file system is no CD."""
        url = os.environ.get("INOX_MACHINE_MEDIA")
        if not url:
            return
        with tempfile.TemporaryDirectory() as folder:
            iso = pathlib.Path(folder) / "cd.iso"
            with urllib.request.urlopen(url, timeout=60) as answer:
                iso.write_bytes(answer.read())
            with open(iso, "rb") as file:
                file.seek(16 * 2048)
                volume = file.read(2048)
            label = volume[40:72].decode("ascii", "replace").strip().lower()
            if volume[1:6] != b"CD001" or label not in ("config-2", "vmedia_boot_iso"):
                return
            for name in ("etc/ironic-python-agent", "etc/ironic-python-agent.d", "openstack/latest"):
                target = self.root / name
                target.mkdir(parents=True, exist_ok=True)
                subprocess.run(["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/" + name, str(target)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    # -- tokens and nodes

    def token_is_good(self, given, reading):
        if self.checks_all:
            return bool(self.token) and given == self.token
        if reading or (not given and not self.token_asserted):
            return True
        return given == self.token

    def cache_node(self, node):
        self.node_uuid, self.node = node["uuid"], node

    def take_lookup_answer(self, answer):
        self.cache_node(answer["node"])
        config = answer["config"]
        self.heartbeat_timeout = config["heartbeat_timeout"]
        self.token_asserted = bool(config.get("agent_token_required"))
        token = config.get("agent_token")
        if token == "******" and not self.token:
            self.close_api()
        elif token and len(token) >= SHORTEST_TOKEN:
            self.token = token

    # -- commands

    def be_busy(self):
        seconds = self.oddities.pop("busy", 0)

        def begin():
            result = Result("prepare_image")
            with self.lock:
                self.results.append(result)
            time.sleep(seconds)
            result.status = "SUCCEEDED"
            result.ended.set()
        if seconds:
            threading.Thread(target=begin, daemon=True).start()

    def misbehave(self, step):
        odd = self.oddities
        if odd.get("restart", {}).pop(step, None):
            (self.root / "stock.json").write_text(json.dumps(odd))
            os.execv(sys.executable, [sys.executable, *sys.argv])
        time.sleep(odd.get("slow", {}).get(step, 0))
        if step in odd.get("fail", {}):
            raise DeploymentError(odd["fail"][step])

    def execute(self, name, params):
        with self.lock:
            extension, dot, command = name.partition(".")
            if not dot:
                raise InvalidCommandError("Command name must be of the form <extension>.<name>")
            if self.results and self.results[-1].status == "RUNNING":
                raise AgentIsBusy(f"executing command {self.results[-1].name}")
            if extension not in self.extensions:
                raise RequestedObjectNotFoundError(f"Extension with id {extension} not found.")
            method = getattr(self.extensions[extension], command, None)
            if not hasattr(method, "runs"):
                raise InvalidCommandError(f"Unknown command: {command}")
            return self.start(method, extension, command, params)

    def start(self, method, extension, command, params):
        result = Result(command)
        if method.runs == "async":
            self.results.append(result)
            threading.Thread(target=self.run_async, args=(result, method, params), daemon=True).start()
            return result
        try:
            result.value = self.wrap(method(**params))
            result.status = "SUCCEEDED"
        except KeyError as e:
            raise RequestedObjectNotFoundError(f"Extension with id {extension} not found.") from e
        except InvalidContentError:
            raise
        except Exception as e:
            result.name = f"{extension}.{command}"
            result.fail(e)
        result.ended.set()
        self.results.append(result)
        return result

    @staticmethod
    def wrap(value, before=""):
        return {"result": before + value} if isinstance(value, str) else value

    def run_async(self, result, method, params):
        try:
            result.value = self.wrap(method(**params), result.name + ": ")
            result.status = "SUCCEEDED"
        except RESTError as e:
            result.fail(e)
        except Exception as e:
            result.fail(CommandExecutionError(str(e)))
        result.ended.set()
        self.force_heartbeat.set()

    # -- the end

    def end(self):
        """The machine is off: nobody answers any more."""
        threading.Timer(0.05, os._exit, (0,)).start()

    def close_api(self):
        threading.Timer(0.05, self.server.stop).start()

    # -- active mode

    def call_api(self, method, path, minor, body=None):
        """(status, document); every URL in turn."""
        error = OSError("no URL")
        for url in self.api_urls:
            rq = urllib.request.Request(url + path, method=method, data=json.dumps(body).encode() if body else None,
                                        headers={"Content-Type": "application/json", "Accept": "application/json"})
            if minor:
                rq.add_header("X-OpenStack-Ironic-API-Version", f"1.{minor}")
            try:
                with urllib.request.urlopen(rq, timeout=30) as answer:
                    text = answer.read()
                    return answer.status, json.loads(text) if text else None
            except urllib.error.HTTPError as e:
                return e.code, e.read().decode(errors="replace")
            except OSError as e:
                error = e
        return 0, str(error)

    def probe_minor(self):
        status, document = self.call_api("GET", "/", None)
        try:
            return int(document["default_version"]["version"].split(".")[1])
        except (TypeError, KeyError, ValueError):
            return 31

    def look_up(self, minor):
        macs = ",".join(i["mac_address"] for i in self.hardware.interfaces())
        path = "/v1/lookup?" + urllib.parse.urlencode({"addresses": macs})
        end, upper = time.monotonic() + int(self.settings.get("lookup_timeout", 600)), 1
        while time.monotonic() < end:
            status, answer = self.call_api("GET", path, min(minor, VERSIONED_FROM["lookup"]))
            if status == 200:
                self.take_lookup_answer(answer)
                return
            print("lookup:", status, answer, flush=True)
            time.sleep(random.uniform(min(1, upper), upper))
            upper = min(upper * 2, 60)
        sys.exit("lookup timed out")

    def make_certificate(self):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, socket.gethostname())])
        now = datetime.datetime.utcnow()
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=30))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(self.host))]), True)
                .sign(key, hashes.SHA512()))
        folder = self.root / "run/ironic-python-agent"
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = made.public_bytes(serialization.Encoding.PEM).decode()
        (folder / "agent.crt").write_text(self.certificate)
        (folder / "agent.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return folder / "agent.crt", folder / "agent.key"

    def send_heartbeats(self, minor, secured):
        host = self.settings.get("advertise_host", self.host)
        host = f"[{host}]" if ":" in host else host
        while True:
            body = {"callback_url": f"{'https' if secured else 'http'}://{host}:{self.port}",
                    "agent_token": self.token, "agent_version": self.version}
            if self.certificate:
                body["agent_verify_ca"] = self.certificate
            self.force_heartbeat.clear()
            status, answer = self.call_api("POST", f"/v1/heartbeat/{self.node_uuid}",
                                           min(minor, VERSIONED_FROM["heartbeat"]), body)
            pause = self.heartbeat_timeout * random.uniform(0.3, 0.6) if status == 202 else random.uniform(5, 10)
            if status != 202:
                print("heartbeat:", status, answer, flush=True)
            time.sleep(min(pause, FORCED_EVERY_S))
            self.force_heartbeat.wait(max(pause - FORCED_EVERY_S, 0))

    # -- serving

    def adapter(self):
        own = [self.settings.get(k) for k in ("tls_cert_file", "tls_key_file")]
        if all(own):
            files = [self.root / f.lstrip("/") for f in own]
        elif self.api_urls:
            files = self.make_certificate()
        else:
            return None
        made = BuiltinSSLAdapter(str(files[0]), str(files[1]))
        made.context.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    def serve(self):
        minor = 0
        if self.api_urls and not self.standalone:
            minor = self.probe_minor()
            self.look_up(minor)
        self.server = wsgi.Server((self.host, self.port), Application(self), server_name="ironic-python-agent")
        self.server.ssl_adapter = self.adapter()
        self.server.prepare()
        print("stock agent listens", flush=True)
        if self.api_urls:
            threading.Thread(target=self.send_heartbeats, args=(minor, self.server.ssl_adapter is not None),
                             daemon=True).start()
        self.server.serve()
        # After a lockdown or a rescue the process stays, and serves nobody.
        threading.Event().wait()


# ---- HTTP

def link(rq, path, rel="self"):
    return {"href": rq.host_url.rstrip("/") + path, "rel": rel}


def document(value, status=200):
    return wrappers.Response(json.dumps(value), status=status, content_type="application/json")


class Application:
    ROUTES = [("/", "root", ["GET"]), ("/v1/", "version", ["GET"]), ("/v1/status", "status", ["GET"]),
              ("/v1/commands/", "commands", ["GET", "POST"]), ("/v1/commands/<wanted>", "command", ["GET"]),
              ("/status", "status", ["GET"]), ("/commands/", "commands", ["GET", "POST"]),
              ("/commands/<wanted>", "command", ["GET"])]

    def __init__(self, agent):
        self.agent = agent
        self.urls = routing.Map([routing.Rule(p, endpoint=e, methods=m) for p, e, m in self.ROUTES])

    def __call__(self, environ, start_response):
        rq = wrappers.Request(environ)
        try:
            endpoint, arguments = self.urls.bind_to_environ(environ).match()
            answer = getattr(self, endpoint)(rq, **arguments)
        except routing.RequestRedirect as e:
            answer = e.get_response(environ)
        except http_exceptions.HTTPException as e:
            answer = self.fault(e.code, str(e), getattr(e, "valid_methods", None))
        except Exception as e:
            answer = self.fault(getattr(e, "code", 500), str(e))
        # Reason phrases in capitals are werkzeug's own; nothing is done for them.
        return answer(environ, start_response)

    @staticmethod
    def fault(code, text, allowed=None):
        answer = document({"faultcode": "Client" if code < 500 else "Server", "faultstring": text}, code)
        if allowed:
            answer.headers["Allow"] = ", ".join(allowed)
        return answer

    def check_token(self, rq, reading):
        if not self.agent.token_is_good(rq.args.get("agent_token"), reading):
            raise http_exceptions.Unauthorized("Token invalid.")

    def root(self, rq):
        v1 = {"id": "v1", "links": [link(rq, "/v1"), {"href": DOCUMENTATION, "rel": "describedby",
                                                     "type": "text/html"}]}
        return document({"name": "OpenStack Ironic Python Agent API",
                         "description": "Ironic Python Agent is a provisioning agent for OpenStack Ironic",
                         "versions": [v1], "default_version": v1})

    def version(self, rq):
        return document({
            "commands": [link(rq, "/v1/commands"), link(rq, "/commands", "bookmark")],
            "status": [link(rq, "/v1/status"), link(rq, "/status", "bookmark")],
            "media_types": [{"base": "application/json",
                             "type": "application/vnd.openstack.ironic-python-agent.v1+json"}],
            "id": "v1", "links": [link(rq, "/v1"), {"href": DOCUMENTATION, "rel": "describedby",
                                                   "type": "text/html"}]})

    def status(self, rq):
        return document({"started_at": self.agent.started_at, "version": self.agent.version})

    def commands(self, rq):
        if rq.method != "POST":
            self.check_token(rq, True)
            return document({"commands": [r.shown() for r in self.agent.results]})
        if self.agent.checks_all:
            self.check_token(rq, False)
        body = self.read_body(rq)
        if not self.agent.checks_all:
            self.check_token(rq, False)
        result = self.agent.execute(body["name"], body["params"])
        return self.answer(rq, result)

    @staticmethod
    def read_body(rq):
        try:
            body = json.loads(rq.get_data())
        except ValueError as e:
            raise http_exceptions.BadRequest(f"Failed to decode JSON object: {e}") from e
        if "name" not in body or "params" not in body or not isinstance(body["params"], dict):
            raise http_exceptions.BadRequest("Missing or invalid name or params")
        return body

    @staticmethod
    def answer(rq, result):
        if rq.args.get("wait", "").lower() == "true":
            result.ended.wait()
        return document(result.shown())

    def command(self, rq, wanted):
        self.check_token(rq, True)
        for result in self.agent.results:
            if result.id == wanted:
                return self.answer(rq, result)
        raise RequestedObjectNotFoundError(f"Command Result with id {wanted} not found.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--lab", action="store_true")
    parser.add_argument("--standalone", action="store_true")
    parser.add_argument("--version")
    Agent(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
