"""inox-ramdisk with a kernel tree made for the test: two modules, of which one needs the other."""
import os
import shutil
import subprocess

import pytest

from conftest import REPOSITORY

RAMDISK = REPOSITORY / "tools/ramdisk/inox-ramdisk"
VERSION = "6.6.6-test"
PROVIDER = """
#define IN(s) __attribute__((section(s), used))
static const char names[] IN("__ksymtab_strings") = "lift";
static const char license[] IN(".modinfo") = "license=GPL";
static const char firmware[] IN(".modinfo") = "firmware=acme/lift.bin";
"""
SPARE = """
static const char license[] __attribute__((section(".modinfo"), used)) = "license=GPL";
"""
USER = """
#define IN(s) __attribute__((section(s), used))
extern char lift;
char *used = &lift;
static const char alias[] IN(".modinfo") = "alias=pci:v00001234d*";
"""


@pytest.fixture
def tree(folder):
    kernel = folder / "kernel"
    modules = kernel / "lib/modules" / VERSION / "kernel"
    modules.mkdir(parents=True)
    (kernel / "boot").mkdir()
    (kernel / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"kernel" * 100)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        (modules.parent / name).write_bytes(b"")
    # igb is on the list of wanted modules; it needs acme, which is not
    for name, source in (("acme", PROVIDER), ("igb", USER), ("spare", SPARE)):
        (folder / f"{name}.c").write_text(source)
        subprocess.run(["gcc", "-c", "-o", modules / f"{name}.ko", folder / f"{name}.c"], check=True, timeout=60)
    return kernel


def build(folder, tree, *options, cwd=None):
    agent = folder / "agent"
    agent.write_text("#!/bin/sh\n")
    agent.chmod(0o755)
    return subprocess.run([RAMDISK, "--agent", agent, "--kernel", tree, "--output", folder / "out", *options],
                          capture_output=True, text=True, timeout=120, cwd=cwd, stdin=subprocess.DEVNULL)


def unpack(folder, how="none"):
    command = {"none": "cat", "zstd": "zstd -dc", "gzip": "gzip -dc", "xz": "xz -dc"}[how]
    target = folder / ("unpacked-" + how)
    target.mkdir()
    subprocess.run(f"{command} '{folder}/out/initrd' | cpio -idm --quiet", shell=True, cwd=target, check=True,
                   timeout=60)
    return target


def modules_of(root):
    return sorted(p.name for p in root.glob(f"lib/modules/{VERSION}/kernel/*"))


def test_wanted_modules_come_with_what_they_need(folder, tree):
    done = build(folder, tree, "--compress", "none")
    assert done.returncode == 0, done.stderr
    assert "modules" in done.stdout and VERSION in done.stdout
    root = unpack(folder)
    assert modules_of(root) == ["acme.ko", "igb.ko"]
    database = root / "lib/modules" / VERSION
    assert "kernel/igb.ko: kernel/acme.ko" in (database / "modules.dep").read_text()
    assert "pci:v00001234d* igb" in (database / "modules.alias").read_text()
    for name in ("init", "etc/dhcp", "etc/hotplug", "usr/bin/inox-agent", "bin/busybox"):
        assert os.access(root / name, os.X_OK), name
    assert (root / "etc/inox").stat().st_mode & 0o777 == 0o700
    assert (folder / "out/vmlinuz").read_bytes() == b"kernel" * 100


def test_the_login_of_rescued_machines_can_be_left_out(folder, tree):
    there = ("usr/sbin/dropbear", "usr/bin/dropbearkey", "etc/rescue", "etc/ipa-rescue-config")
    for how, options in (("none", ()), ("gzip", ("--no-rescue",))):
        done = build(folder, tree, "--compress", how, *options)
        assert done.returncode == 0, done.stderr
        root = unpack(folder, how)
        assert [(root / name).exists() for name in there] == [not options] * 4
        # nobody can log in before the command of the agent
        assert not (root / "etc/shadow").exists() and (root / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\n"


def test_a_relative_folder_is_the_same_kernel(folder, tree):
    done = build(folder, tree.name, "--compress", "none", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert modules_of(unpack(folder)) == ["acme.ko", "igb.ko"]


def test_the_same_input_gives_the_same_bytes(folder, tree):
    images = []
    for _ in range(2):
        assert build(folder, tree).returncode == 0
        images.append((folder / "out/initrd").read_bytes())
    assert images[0] == images[1]


def test_more_modules_programs_files_and_firmware(folder, tree):
    firmware = folder / "firmware/acme"
    firmware.mkdir(parents=True)
    (firmware / "lift.bin").write_bytes(b"blob")
    (folder / "note").write_text("hello")
    done = build(folder, tree, "--with-module", "spare", "--with-program", "/usr/bin/openssl", "--with-file",
                 f"{folder}/note=etc/note", "--firmware", folder / "firmware", "--compress", "gzip:1")
    assert done.returncode == 0, done.stderr
    root = unpack(folder, "gzip")
    assert "spare.ko" in modules_of(root)
    assert (root / "lib/firmware/acme/lift.bin").read_bytes() == b"blob"
    assert (root / "etc/note").read_text() == "hello"
    # the program runs with the libraries that came along
    if os.geteuid() == 0:
        version = subprocess.run(["chroot", root, "/usr/bin/openssl", "version"], capture_output=True, text=True,
                                 timeout=20)
        assert version.stdout.startswith("OpenSSL"), version.stderr


@pytest.mark.parametrize("options, status, sentence", [
    (["--with-module", "no-such"], 1, "has no module 'no-such'"),
    (["--with-file", "/no/such=etc/x"], 1, "there is no file '/no/such'"),
    (["--compress", "rar"], 2, "--compress 'rar'"),
    (["--colour", "red"], 2, "option '--colour' is unknown"),
    (["--kernel"], 2, "'--kernel' is unknown or lacks its value"),
    (["--kernel", "/no/such/tree"], 1, "'/no/such/tree' has no lib/modules"),
    (["--agent", "/no/such/agent"], 1, "'/no/such/agent' is not a program"),
    (["--busybox", "/usr/bin/openssl"], 1, "is not static"),
])
def test_what_is_wrong_is_said(folder, tree, options, status, sentence):
    done = build(folder, tree, *options)
    assert done.returncode == status
    assert sentence in done.stderr
    assert not (folder / "out/initrd").exists()


@pytest.mark.skipif(not all(shutil.which(p) for p in ("xorriso", "mformat", "grub-mkimage")),
                    reason="what makes ISOs is not installed")
def test_an_iso_has_its_places_and_is_the_same_each_time(folder, tree):
    """The boot publisher looks for them at the beginning of sectors (src/boot/boot_iso.h)."""
    isos = []
    for _ in range(2):
        done = build(folder, tree, "--iso")
        assert done.returncode == 0, done.stderr
        isos.append((folder / "out/boot.iso").read_bytes())
    iso = isos[0]
    found = {}
    for at in range(0, len(iso), 2048):
        if iso[at:at + 11] == b"inox-place ":
            _, name, size = iso[at:at + 100].split(b"\n")[0].split(b" ")
            assert name not in found
            found[name] = int(size)
            mark = b"inox-place %s %s\n" % (name, size)
            assert iso[at:at + int(size)] == mark.ljust(int(size), b"\n")
    assert found == {b"isolinux.cfg": 4096, b"grub.cfg": 4096, b"node.img": 4096, b"agent.conf": 2048,
                     b"network_data.json": 32768}
    assert iso[0x8000:].find(b"VMEDIA_BOOT_ISO") in range(0, 2048) and b"BOOTX64" in iso
    assert isos[0] == isos[1]
