"""The ramdisk of inox-ramdisk in a virtual machine: what inox-agent does to real devices, and the login of a rescued
machine.

The machine has QEMU's own network: two ports of 127.0.0.1 lead to its agent and to its SSH server.
"""
import base64
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time

import pytest

from conftest import REPOSITORY, free_port, wait_until

TOKEN = "t" * 43
CD_TOKEN = "d" * 43
PASSWORD = "open sesame"
# crypt(3) of the password
HASH = "$6$inoxtest$DvJU9mmnutoVzPfQ5nvkmuzmJuRgg65uFHP8Bvv65X.ulNTCBN.rdundLMK3hQK4BKfymSXoyOmZ7Udh26wpC0"
BOOT_LIMIT_S = 180

pytestmark = pytest.mark.skipif(not all(shutil.which(p) for p in ("qemu-system-x86_64", "sshpass", "ssh")),
                                reason="QEMU, sshpass or ssh is not installed")


class Machine:
    def __init__(self, folder, ramdisk, spawn, arguments="", devices=(), name="machine"):
        """Without a ramdisk it boots from its disks."""
        folder = folder / name
        folder.mkdir()
        self.agent_port, self.ssh_port = free_port(), free_port()
        serial, self.monitor_path = folder / "serial", folder / "monitor"
        # the machine is on a hub, so that the network behind it can be exchanged
        nic = ["-device", "virtio-net-pci,netdev=machine", "-netdev", "hubport,hubid=1,id=machine", "-netdev",
               f"user,id=net-0,hostfwd=tcp:127.0.0.1:{self.agent_port}-:9999,"
               f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22", "-netdev", "hubport,hubid=1,id=wall-0,netdev=net-0"]
        kernel = ["-kernel", ramdisk / "vmlinuz", "-initrd", ramdisk / "initrd", "-append",
                  f"console=ttyS0 quiet panic=1 inox-transport=http ipa-agent-token={TOKEN} {arguments}"] if ramdisk else []
        self.process = spawn(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-m", "512", "-display", "none",
             "-no-reboot", *kernel, "-chardev", f"socket,id=serial,path={serial},server=on,wait=off",
             "-serial", "chardev:serial", "-qmp", f"unix:{self.monitor_path},server=on,wait=off", *nic, *devices], "qemu")
        wait_until(serial.exists)
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.connect(str(serial))
        self.printed = bytearray()
        threading.Thread(target=self.read_console, daemon=True).start()

    def monitor(self, *commands):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(str(self.monitor_path))
            answers = s.makefile()
            assert "QMP" in answers.readline()
            for name, arguments in (("qmp_capabilities", {}), *commands):
                s.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
                while "return" not in (answer := json.loads(answers.readline())):
                    assert "error" not in answer, answer

    def move_to(self, network):
        """Another network with a DHCP server of its own, and the link never goes down."""
        self.monitor(("netdev_del", {"id": "wall-0"}), ("netdev_del", {"id": "net-0"}),
                     ("netdev_add", {"type": "user", "id": "net-1", "net": network,
                                     "hostfwd": [{"str": f"tcp:127.0.0.1:{self.ssh_port}-:22"}]}),
                     ("netdev_add", {"type": "hubport", "hubid": 1, "id": "wall-1", "netdev": "net-1"}))

    def read_console(self):
        """Reads as fast as the machine prints.  (QEMU's own logfile= has a character twice whenever the socket is full.)"""
        while piece := self.serial.recv(65536):
            self.printed += piece

    def console(self):
        return self.printed.decode(errors="replace")

    def wait_console(self, pattern, start=0, seconds=BOOT_LIMIT_S):
        return wait_until(lambda: re.search(pattern, self.console()[start:]), seconds,
                          what=lambda: f"'{pattern}' on the console:\n{self.console()[-2000:]}")

    def type(self, text):
        """Types a line; returns where its answer begins on the console."""
        start = len(self.console())
        self.serial.sendall(text.encode() + b"\r")
        return start

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.agent_port, timeout=30)
        connection.request(method, path, json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def run(self, name, params=None, wait=True, token=TOKEN):
        return self.ask("POST", f"/v1/commands/?agent_token={token}&wait={str(wait).lower()}",
                        {"name": name, "params": params or {}})

    def agent_answers(self):
        try:
            return self.ask("GET", "/v1/status")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_agent(self):
        wait_until(self.agent_answers, BOOT_LIMIT_S, what="the agent answers")

    def ssh(self, command, password=PASSWORD, user="rescue"):
        return subprocess.run(
            ["sshpass", "-e", "ssh", "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", "-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1",
             "-o", "ConnectTimeout=30", "-F", "none", f"{user}@127.0.0.1", command],
            env={**os.environ, "SSHPASS": password}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)

    def log_in(self, password):
        self.wait_console("login: $", self.type(""), 60)
        self.wait_console("Password: ", self.type("rescue"), 60)
        time.sleep(0.5)  # login throws away what is typed faster than a person could
        return self.type(password)


@pytest.fixture(scope="module")
def ramdisk(build, module_folder):
    done = subprocess.run([REPOSITORY / "tools/ramdisk/inox-ramdisk", "--agent", build / "src/agent/inox-agent", "--output",
                           module_folder / "ramdisk", "--cache", build / "demo/kernel"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    print(done.stdout, done.stderr, file=sys.stderr)
    assert done.returncode == 0
    return module_folder / "ramdisk"


def test_a_rescued_machine_lets_in_who_has_the_password(folder, ramdisk, spawn):
    machine = Machine(folder, ramdisk, spawn)
    machine.wait_agent()
    # The kernel logs its command line, which has the token here.
    logs = json.dumps(machine.run("log.collect_system_logs")[1])
    archive = base64.b64decode(json.loads(logs)["command_result"]["system_logs"])
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        texts = {m.name: members.extractfile(m).read().decode() for m in members}
    assert f"ipa-agent-token={'*' * 43}" in texts["dmesg"] and "eth0" in texts["ip_addr"] and "devtmpfs" in texts["mount"]
    assert not [name for name, text in texts.items() if TOKEN in text]
    # Nobody is let in before: no prompt, no SSH server.
    assert machine.ssh("id").returncode == 255
    assert "login:" not in machine.console()
    status, fault = machine.run("rescue.finalize_rescue", {"rescue_password": "open sesame", "hashed": True})
    assert status == 400 and "known kind" in fault["faultstring"]
    assert machine.ssh("id").returncode == 255

    status, command = machine.run("rescue.finalize_rescue", {"rescue_password": HASH, "hashed": True})
    assert (status, command["command_status"]) == (200, "SUCCEEDED")
    key = machine.wait_console("user rescue; SSH host key (SHA256:[A-Za-z0-9+/]{43})")[1]
    machine.wait_console("rescue login: $", 0, 60)
    assert not machine.agent_answers()

    def sshd_is_up():
        try:
            with socket.create_connection(("127.0.0.1", machine.ssh_port), 5) as s:
                return s.recv(8).startswith(b"SSH-2.0-")
        except OSError:
            return False
    wait_until(sshd_is_up, 60)
    scanned = subprocess.run(["ssh-keyscan", "-p", str(machine.ssh_port), "-t", "ed25519", "127.0.0.1"], timeout=60,
                             capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=scanned, capture_output=True, text=True, check=True)
    assert key in shown.stdout
    for password, user in (("open sesam", "rescue"), ("", "rescue"), (PASSWORD, "root")):
        refused = machine.ssh("id", password, user)
        assert refused.returncode == 5 or "Permission denied" in refused.stderr, (password, user, refused)
    done = machine.ssh("id; cat /proc/cmdline | grep -c inox; ip -4 addr show; ls -l /etc/shadow /etc/ipa-rescue-config; ps")
    assert done.returncode == 0, done.stderr
    assert "uid=0(rescue)" in done.stdout and "10.0.2.15/24" in done.stdout
    assert re.search(r"-rw------- .*/etc/shadow", done.stdout) and "ipa-rescue-password" not in done.stdout
    assert "inox-agent" not in done.stdout

    start = machine.log_in("open sesam")
    machine.wait_console("Login incorrect", start, 60)
    start = machine.log_in(PASSWORD)
    machine.wait_console("# ", start, 60)
    machine.wait_console(r"uid=0\(rescue\)", machine.type("id"), 60)
    # The port of the machine is moved to its owner's network: it takes an address there.
    machine.move_to("10.9.0.0/24")
    machine.wait_console(r"the address is now 10\.9\.0\.15/24", 0, 60)
    assert machine.ssh("true").returncode == 0
    assert PASSWORD not in machine.console() and HASH not in machine.console()
    # The first process does what reboot and poweroff ask it to.
    machine.type("reboot")
    assert machine.process.popen.wait(60) == 0


NODE = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123"


def clean(machine, step, info):
    """Starts a clean step and waits for its end; the finished command."""
    params = {"step": {"interface": "deploy", "step": step}, "ports": [],
              "node": {"uuid": NODE, "driver_internal_info": info}}
    command = machine.run("clean.execute_clean_step", params, wait=False)[1]

    def ended():
        listed = machine.ask("GET", f"/v1/commands/{command['id']}?agent_token={TOKEN}")[1]
        return listed if listed["command_status"] != "RUNNING" else None
    return wait_until(ended, 120, what=f"the end of {step}; console:\n{machine.console()[-1000:]}")


def test_disks_are_erased_by_what_they_are(folder, ramdisk, spawn):
    """NVMe formats itself; a virtio disk takes no such command, and a SCSI disk answers that it is no ATA drive."""
    devices, size = ["-device", "virtio-scsi-pci,id=scsi"], 16 << 20
    disks = {"nvme": ("nvme,serial=n1,drive=nvme", "/dev/nvme0n1"), "virtio": ("virtio-blk-pci,drive=virtio", "/dev/vda"),
             "scsi": ("scsi-hd,drive=scsi,bus=scsi.0", "/dev/sda")}
    for name, (device, _) in disks.items():
        (folder / name).write_bytes(b"\xaa" * size)
        devices += ["-drive", f"file={folder / name},format=raw,if=none,id={name}", "-device", device]
    machine = Machine(folder, ramdisk, spawn, devices=devices)
    machine.wait_agent()
    ended = clean(machine, "erase_devices", {"agent_erase_devices_iterations": 0})
    assert ended["command_status"] == "SUCCEEDED", ended
    assert ended["command_result"]["clean_result"] == {device: None for _, device in disks.values()}
    assert all((folder / name).read_bytes() == bytes(size) for name in disks)
    machine.wait_console('the disk has erased itself" disk=/dev/nvme0n1 by="NVMe format"', 0, 30)
    # Without the disk's own command the random pass is what is left on it.
    ended = clean(machine, "erase_devices", {"agent_enable_nvme_secure_erase": False, "agent_erase_devices_zeroize": False})
    assert ended["command_status"] == "SUCCEEDED", ended
    for name in disks:
        middle = (folder / name).read_bytes()[2 << 20:-(2 << 20)]
        assert len(set(middle[:4096])) > 200 and bytes(4096) not in middle
    machine.wait_console("(?s)command ended.*command ended", 0, 30)
    assert machine.console().count("the disk has erased itself") == 1


@pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed")
def test_settings_and_token_come_from_a_cd(folder, ramdisk, spawn):
    """As a stock conductor makes it: the label, the folders, and a certificate beside the configuration."""
    tree, iso = folder / "tree", folder / "cd.iso"
    for name, text in (("etc/ironic-python-agent.d/10-a.conf", f"[DEFAULT]\nagent_token = {'c' * 43}\ncafile = /x\n"),
                       ("etc/ironic-python-agent.d/20-b.conf", f"[DEFAULT]\nagent_token = {CD_TOKEN}\nlisten_port = 9999\n"),
                       ("etc/ironic-python-agent/ironic.crt", "a certificate\n")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "config-2", "-R", "-J", "-o", iso, tree], check=True, timeout=60,
                   capture_output=True)
    machine = Machine(folder, ramdisk, spawn, "boot_method=vmedia ipa-listen-port=1", [
        "-device", "virtio-scsi-pci", "-drive", f"file={iso},if=none,media=cdrom,format=raw,id=cd", "-device", "scsi-cd,drive=cd"])
    machine.wait_agent()
    # The configuration goes before the kernel command line, and a later file before an earlier one.
    assert machine.run("standby.sync")[0] == 401
    assert machine.run("standby.sync", token="c" * 43)[0] == 401
    assert machine.run("standby.sync", token=CD_TOKEN)[0] == 200
    assert machine.run("rescue.finalize_rescue", {"rescue_password": HASH, "hashed": True}, token=CD_TOKEN)[0] == 200
    machine.wait_console("rescue login: $", 0, 60)
    done = machine.ssh("cat /etc/ironic-python-agent/ironic.crt; grep -c media /proc/mounts; ls /etc/ironic-python-agent.d")
    assert done.stdout == "a certificate\n0\n", done


OVMF = pathlib.Path("/usr/share/OVMF")
ESP_AT = 1 << 20


def make_uefi_disk(folder):
    """A disk whose EFI system partition has nothing at the default path: only a boot entry can start its loader."""
    disk, esp, loader = folder / "disk", folder / "esp", folder / "loader.efi"
    (folder / "grub.cfg").write_text("sleep 600\n")
    (folder / "BOOTX64.CSV").write_bytes("loader.efi,acme,,The loader of the test\n".encode("utf-16"))
    with open(disk, "wb") as f:
        f.truncate(5 << 30)
    with open(esp, "wb") as f:
        f.truncate(48 << 20)
    for command in (["grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c", folder / "grub.cfg", "-o", loader, "normal", "sleep"],
                    ["mformat", "-i", esp, "-F", "::"], ["mmd", "-i", esp, "::/EFI", "::/EFI/acme"],
                    ["mcopy", "-i", esp, loader, folder / "BOOTX64.CSV", "::/EFI/acme/"],
                    ["sgdisk", "-n", "1:2048:+48M", "-t", "1:ef00", disk],
                    ["dd", f"if={esp}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse"]):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return disk


@pytest.mark.skipif(not (OVMF / "OVMF_CODE_4M.fd").exists() or not all(
    shutil.which(p) for p in ("grub-mkimage", "mformat", "sgdisk")), reason="OVMF, grub, mtools or gdisk is not installed")
def test_a_boot_entry_is_made_that_the_firmware_boots(folder, ramdisk, spawn):
    disk, variables = make_uefi_disk(folder), folder / "variables"
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
    devices = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}",
               "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
               "-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
    machine = Machine(folder, ramdisk, spawn, devices=devices)
    machine.wait_agent()
    for _ in range(2):  # the second time it replaces its own entry
        params = {"root_uuid": "0x00000000", "target_boot_mode": "uefi"}
        command = machine.run("image.install_bootloader", params)[1]
        assert (command["command_status"], command["command_result"]) == ("SUCCEEDED", None), command
    machine.wait_console(r'boot entry made" label=acme loader="\\\\EFI\\\\acme\\\\loader.efi"', 0, 30)
    machine.run("standby.power_off", wait=False)
    assert machine.process.popen.wait(60) == 0
    again = Machine(folder, None, spawn, devices=devices, name="again")
    # The loader's first words: what it prints later the firmware's console may tear with its own control sequences.
    again.wait_console(r'(?s)starting Boot\w+ "acme".*Welcome to GRUB')
