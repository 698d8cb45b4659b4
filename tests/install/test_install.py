"""What `make install` puts on a machine, under a systemd of its own (tests/install/system)."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from tests.conftest import REPOSITORY, ROLES, wait_until

BUILD = pathlib.Path(os.environ.get("INOX_BUILD", REPOSITORY / "build"))
CONFIGURATION = """\
[agent]
poll_only = true
allowed_networks = 10.77.2.0/24
[redfish]
allowed_networks = 10.77.9.0/24
"""
USERS = {"api": "inox", "conductor": "inox", "boot": "inox", "dialer": "inox-dialer", "bmc": "inox-bmc",
         "connector": "inox-connector"}


class Machine:
    """A machine on which Inox is installed and nothing runs yet."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("files", "seen"):
            (folder / name).mkdir()
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet"], check=True,
                       env={**os.environ, "DESTDIR": str(folder / "files")})
        self.write("etc/systemd/system/quiet.target", "[Unit]\nDescription=Nothing\nDefaultDependencies=no\n")
        self.write("etc/inox/inox.conf", CONFIGURATION)
        self.log = open(folder / "log", "w")
        self.popen = self.pid = None

    def boot(self):
        folder = self.folder
        self.popen = subprocess.Popen([REPOSITORY / "tests/install/system", folder], stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log)
        self.pid = wait_until(self.first_process, 20, self.said)
        wait_until(lambda: self.do("systemctl", "show", "--property=Version", check=False).returncode == 0, 30, self.said)
        self.do("systemd-sysusers")
        self.do("chgrp", "inox", "/etc/inox/inox.conf")
        self.do("chmod", "640", "/etc/inox/inox.conf")
        # Journald would be one more unit; the programs' lines are read from here.
        for unit in ("inoxd", "inox-media"):
            self.drop_in(unit, "log", "[Service]\nStandardError=append:/seen/log\n")

    def installed(self, end):
        """Where a file is whose path ends so, whatever the prefix is."""
        files = self.folder / "files"
        return "/" + str(next(files.glob(f"**/{end}")).relative_to(files))

    def write(self, path, text):
        path = self.folder / "files" / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def first_process(self):
        children = pathlib.Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        return children and "systemd" in pathlib.Path(f"/proc/{children[0]}/comm").read_text() and int(children[0])

    def said(self):
        return f"{(self.folder / 'log').read_text()[-2000:]} (systemd)"

    def do(self, *argv, check=True, stdin=None):
        """Runs a command on that machine."""
        done = subprocess.run(["nsenter", "--target", str(self.pid), "--all", "--root", "--wd=/", *argv], text=True,
                              capture_output=True, input=stdin, timeout=60)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}{self.lines()}"
        return done

    def drop_in(self, unit, name, text):
        folder = f"/etc/systemd/system/{unit}.service.d"
        self.do("mkdir", "-p", folder)
        self.do("tee", f"{folder}/{name}.conf", stdin=text)
        self.do("systemctl", "daemon-reload")

    def start(self, unit, check=True):
        return self.do("systemctl", "start", "--job-mode=ignore-dependencies", unit, check=check)

    def shows(self, unit, name):
        return self.do("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip()

    def lines(self):
        path = self.folder / "seen/log"
        return path.read_text() if path.exists() else ""

    def processes(self):
        """{role: (user, pid)} of inoxd's workers."""
        listed = (line.split(None, 2) for line in self.do("ps", "-eo", "user:32,pid,args").stdout.splitlines()[1:])
        return {args.rsplit(" ", 1)[1]: (user, pid) for user, pid, args in listed if args.startswith("inoxd --worker ")}

    def end(self):
        if self.popen:
            self.end_processes()
        self.log.close()
        shutil.rmtree(self.folder)

    def end_processes(self):
        self.popen.kill()
        self.popen.wait()
        wait_until(self.remove_group, 20, "the end of its last process")

    def remove_group(self):
        """False while there are processes in it."""
        name = self.folder / "cgroup"
        if not name.exists():
            return True
        group = pathlib.Path(name.read_text().strip())
        for below in sorted(group.glob("**/"), key=lambda f: -len(f.parts)):
            try:
                below.rmdir()
            except OSError:
                return False
        return True


@pytest.fixture(scope="module")
def machine():
    machine = Machine(pathlib.Path(tempfile.mkdtemp(prefix="inox-install-", dir="/var/tmp")))
    try:
        machine.boot()
        yield machine
    finally:
        machine.end()


@pytest.fixture
def running(machine):
    machine.start("inoxd")
    yield machine
    machine.do("systemctl", "stop", "inoxd")


def test_the_control_plane_runs_as_its_unit_says(running):
    assert running.shows("inoxd", "ActiveState") == "active"
    wait_until(lambda: set(running.processes()) == set(ROLES), 20, running.lines)
    assert {role: user for role, (user, _) in running.processes().items()} == USERS
    running.do("inox", "node", "create", "--name", "r1u07", "--driver", "redfish")
    assert "r1u07" in running.do("inox", "node", "list").stdout
    assert running.do("stat", "-c", "%U %a", "/var/lib/inox").stdout == "inox 700\n"


def test_rows_outlive_a_killed_control_plane(running):
    before = int(running.shows("inoxd", "NRestarts"))
    running.do("inox", "node", "create", "--name", "kept", "--driver", "redfish")
    running.do("systemctl", "kill", "--signal=KILL", "--kill-who=main", "inoxd")
    wait_until(lambda: int(running.shows("inoxd", "NRestarts")) > before and
               running.shows("inoxd", "ActiveState") == "active", 30, running.lines)
    assert "kept" in running.do("inox", "node", "list").stdout


def test_systemd_hears_from_it_and_ends_it_when_it_hears_nothing(machine):
    machine.drop_in("inoxd", "watchdog", "[Service]\nWatchdogSec=3\n")
    try:
        machine.start("inoxd")
        pid, before = int(machine.shows("inoxd", "MainPID")), int(machine.shows("inoxd", "NRestarts"))
        # As long as it speaks it lives.
        assert machine.do("timeout", "7", "tail", f"--pid={pid}", "-f", "/dev/null", check=False).returncode == 124
        machine.do("kill", "-STOP", str(pid))
        wait_until(lambda: int(machine.shows("inoxd", "NRestarts")) > before, 30, machine.lines)
    finally:
        machine.do("systemctl", "stop", "inoxd")
        machine.do("rm", "/etc/systemd/system/inoxd.service.d/watchdog.conf")
        machine.do("systemctl", "daemon-reload")


def test_a_wrong_configuration_is_named_and_nothing_is_started(machine):
    machine.do("sh", "-c", "cp -p /etc/inox/inox.conf /etc/inox/kept.conf; echo 'pole_only = 1' >> /etc/inox/inox.conf")
    try:
        assert machine.start("inoxd", check=False).returncode != 0
        assert machine.shows("inoxd", "MainPID") == "0"
        assert "pole_only" in machine.lines()
    finally:
        machine.do("systemctl", "stop", "inoxd")
        machine.do("cp", "-p", "/etc/inox/kept.conf", "/etc/inox/inox.conf")


@pytest.fixture(scope="module")
def boot_host(machine):
    machine.do(machine.installed("boot-host/configure"), "/srv/inox", "NODE_ADDRESS=127.0.0.1", "INTERFACE=lo",
              "PUSH_ADDRESS=127.0.0.1", "NETWORK=10.77.2.0", "NETMASK=255.255.255.0", "GATEWAY=10.77.2.1")
    machine.do("sh", "-c", "cd /srv/inox/state && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
              "-subj '/CN=boot host' -keyout server.key -out server.pem && cp server.pem ca.pem")
    units = ["inox-media", "inox-boot-nginx", "inox-boot-dhcp"]
    for unit in units:
        machine.do("systemctl", "link", f"/srv/inox/state/{unit}.service")
        machine.start(unit)
    yield machine
    machine.do("systemctl", "stop", *units)


def test_the_media_server_runs_as_its_unit_says(boot_host):
    socket = "/srv/inox/state/media/socket"
    wait_until(lambda: boot_host.do("test", "-S", socket, check=False).returncode == 0, 20, boot_host.lines)
    assert boot_host.do("stat", "-c", "%U:%G %a", socket).stdout == "inox-media:www-data 660\n"


def test_machines_are_served_by_the_boot_hosts_units(boot_host):
    def status(path):
        return boot_host.do("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1{path}",
                            check=False).stdout

    wait_until(lambda: status("/boot.ipxe") == "200", 20, boot_host.lines)
    # nginx asks the media server, which did not sign this.
    assert wait_until(lambda: status(f"/media/{'a' * 64}-{'b' * 64}/boot.iso") == "404", 20, boot_host.lines)
    wait_until(lambda: "dnsmasq" in boot_host.do("ps", "-eo", "args").stdout.replace("dnsmasq.conf", ""), 20)
    for unit in ("inox-boot-nginx", "inox-boot-dhcp", "inox-media"):
        assert boot_host.shows(unit, "ActiveState") == "active" and boot_host.shows(unit, "NRestarts") == "0"


def test_one_machine_can_be_control_host_and_boot_host(boot_host, running):
    """Of the places that are not its own, the control plane may write to the boot host's tree alone."""
    def writes(folder):
        return running.do("nsenter", "--target", running.shows("inoxd", "MainPID"), "--mount", "--root", "touch",
                          f"{folder}/written", check=False).returncode == 0

    assert writes("/srv/inox/root/http/boot") and writes("/var/lib/inox")
    assert not any(map(writes, ("/srv/inox/state", "/srv/inox", "/etc/inox", "/usr/share")))
