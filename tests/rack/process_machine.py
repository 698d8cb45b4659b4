#!/usr/bin/python3
"""A machine made of processes: what inox-bmc starts when its power button is pressed.

    process_machine.py STATE

STATE is a JSON file: {"boot_root", "sysroot", "agent", "port"}.  Booting from the network means what
firmware, iPXE, kernel and ramdisk do between them: wait until the boot host knows this MAC address, take the
script's kernel arguments, the token's archive and the reserved address, and run inox-agent.
Booting from the optical drive means: load the ISO whose URL the BMC gives, and take loader configuration and token
out of it.  Booting from the disk means: the disk must begin with a boot sector; then the instance just runs.
"""

import ctypes
import json
import os
import pathlib
import re
import signal
import sys
import time
import urllib.request

BOOT_PATIENCE_S = 60


def cpio_files(archive):
    """Names and contents of a newc archive."""
    at = 0
    while archive[at : at + 6] == b"070701":
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return
        yield name, archive[start : start + size]
        at = (start + size + 3) & ~3


def boot_data(root, mac):
    """Address, kernel arguments and the path of the token's archive; None while one is missing."""
    dashed = mac.replace(":", "-")
    reservation = root / "dhcp-hosts" / dashed
    address = reservation.read_text().strip().split(",")[1].strip("[]") if reservation.exists() else "ignore"
    script = root / "http/boot" / dashed / f"{address}.ipxe"
    if not script.exists():
        return None
    text = script.read_text()
    secret = re.search(r"^chain --replace \S+/(once/[^/]+/[^/]+\.ipxe)", text, re.M)
    if secret and "kernel" not in text:
        text = (root / "http" / secret.group(1)).read_text()
    arguments = re.search(r"^kernel .*?initrd=initrd (.*?)(?: \|\||$)", text, re.M)
    once = re.search(r"/once/([^/]+)/token\.img", text)
    archive = root / "http" / "once" / once.group(1) / "token.img" if once else None
    return address, arguments.group(1), archive


def wait_for_boot_data(root, mac):
    end = time.monotonic() + BOOT_PATIENCE_S
    while time.monotonic() < end:
        try:
            found = boot_data(root, mac)
            if found:
                return found[0], found[1], found[2].read_bytes() if found[2] else b""
        except FileNotFoundError:
            pass  # it is being replaced
        time.sleep(0.05)
    sys.exit("no boot data for " + mac)


def boot_network(state):
    root, sysroot = pathlib.Path(state["boot_root"]), pathlib.Path(state["sysroot"])
    become_agent(state, sysroot, *wait_for_boot_data(root, os.environ["INOX_MACHINE_MAC"].lower()))


def reserved_address(root, mac):
    """What DHCP gives."""
    return (root / "dhcp-hosts" / mac.replace(":", "-")).read_text().strip().split(",")[1]


def archive_of(iso):
    """The second initial ramdisk; a file of an ISO begins at a sector."""
    return next((iso[at:] for at in range(0, len(iso), 2048) if iso[at:at + 6] == b"070701"), b"")


def boot_cdrom(state):
    with urllib.request.urlopen(os.environ["INOX_MACHINE_MEDIA"], timeout=BOOT_PATIENCE_S) as answer:
        iso = answer.read()
    arguments = re.search(rb"^append (.*)$", iso, re.M).group(1).decode()
    assert f"linux /boot/vmlinuz {arguments}\n".encode() in iso, "BIOS and UEFI boot with different arguments"
    fixed = re.search(r"inox-address=([^ /]+)/\d+", arguments)
    root = pathlib.Path(state["boot_root"])
    address = fixed.group(1) if fixed else reserved_address(root, os.environ["INOX_MACHINE_MAC"].lower())
    become_agent(state, pathlib.Path(state["sysroot"]), address, arguments, archive_of(iso))


def note_token(folder, token, name="received"):
    """For the search for secrets at the end of a test."""
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, token + b"\n")
    os.close(descriptor)


def forget_last_boot(sysroot):
    """A ramdisk begins with nothing: what an agent keeps in /run and what came with its boot is of one boot."""
    for path in (sysroot / "run/inox/agent-token", sysroot / "run/inox/agent.pem", sysroot / "etc/inox/agent-token"):
        if path.exists():
            if path.name == "agent-token":
                note_token(sysroot.parent, path.read_bytes().strip())
            path.unlink()


def become_agent(state, sysroot, address, arguments, archive):
    (sysroot / "proc").mkdir(exist_ok=True)
    forget_last_boot(sysroot)
    for token in re.findall(r"ipa-agent-token=(\S+)", arguments):
        note_token(sysroot.parent, token.encode(), "received-by-kernel")
    arguments += " ipa-debug=1"
    # A machine of its own would reach the API from its own address.
    if "ipa-api-url=" in arguments:
        arguments += " ipa-advertise-host=" + address
    (sysroot / "proc/cmdline").write_text(arguments + "\n")
    for name, content in cpio_files(archive):
        path = sysroot / name.lstrip("/")
        if content:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(descriptor, content)
            os.close(descriptor)
            if path.name == "agent-token":
                note_token(sysroot.parent, content.strip())
    fresh_rescue_folder(sysroot)
    run_agent([state["agent"], "--listen", f"{address}:{state['port']}", "--root", str(sysroot)], sysroot)


def fresh_rescue_folder(sysroot):
    """The ramdisk's /etc is new in each boot."""
    folder = sysroot / "etc/ipa-rescue-config"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*folder.iterdir(), sysroot / "etc/.rescued"):
        path.unlink(missing_ok=True)


def run_agent(argv, sysroot):
    """The machine is up until its agent ends well; one that fails or is killed is started again in the same boot, as
    the ramdisk's init does.  A rescued machine is up until somebody switches it off."""
    ended = None
    while ended != 0:
        agent = os.fork()
        if agent == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            os.execv(argv[0], argv)
        ended = os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1])
        if (sysroot / "etc/.rescued").exists():
            signal.pause()
        time.sleep(0.2 if ended else 0)


def boot_disk(state):
    with open(pathlib.Path(state["sysroot"]) / "dev/vda", "rb") as disk:
        head = disk.read(512)
    if head[510:512] != b"\x55\xaa":
        sys.exit("no boot sector")
    (pathlib.Path(state["sysroot"]) / "instance-booted").write_text("yes\n")
    signal.pause()


if __name__ == "__main__":
    with open(sys.argv[1]) as described:
        the_state = json.load(described)
    print("machine:", os.environ["INOX_MACHINE_MAC"], "boots from", os.environ["INOX_BOOT_TARGET"], flush=True)
    {"pxe": boot_network, "cdrom": boot_cdrom, "disk": boot_disk}[os.environ["INOX_BOOT_TARGET"]](the_state)
