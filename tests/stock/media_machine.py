#!/usr/bin/python3
"""A machine behind inox-bmc that boots what another conductor put into its drive.

    media_machine.py STATE

STATE is a JSON file: {"sysroot", "agent", "port"}.  From the drive: the kernel's command line is in the ISO's loader
configuration; the ramdisk is inox-agent.  From the disk: the instance just runs.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request


def boot_cdrom(state):
    sysroot = pathlib.Path(state["sysroot"])
    with tempfile.TemporaryDirectory() as folder:
        iso, loader = pathlib.Path(folder) / "cd.iso", pathlib.Path(folder) / "isolinux.cfg"
        with urllib.request.urlopen(os.environ["INOX_MACHINE_MEDIA"], timeout=60) as answer:
            iso.write_bytes(answer.read())
        subprocess.run(["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/isolinux/isolinux.cfg", str(loader)],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        line = re.search(r"^\s*append (.*)$", loader.read_text(), re.M).group(1)
    (sysroot / "run").mkdir(exist_ok=True)
    (sysroot / "proc/cmdline").write_text(line.strip() + "\n")
    os.execv(state["agent"], [state["agent"], "--root", str(sysroot), "--listen", f"127.0.0.1:{state['port']}"])


def boot_disk(state):
    (pathlib.Path(state["sysroot"]) / "instance-booted").write_text("yes\n")
    signal.pause()


if __name__ == "__main__":
    with open(sys.argv[1]) as described:
        the_state = json.load(described)
    {"cdrom": boot_cdrom, "disk": boot_disk}[os.environ["INOX_BOOT_TARGET"]](the_state)
