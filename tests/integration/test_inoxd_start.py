"""inoxd as a process: how it starts, what it says when it cannot, how it survives and how it ends."""
import os
import shutil
import pathlib
import signal
import socket
import sqlite3
import subprocess

import pytest

from conftest import ROLES, Inoxd, free_port, is_running, wait_until, write_config


@pytest.fixture
def run(build, folder):
    """run(*arguments) runs inoxd to its end."""
    def start(*arguments, timeout=30):
        return subprocess.run([build / "src/inoxd/inoxd", *map(str, arguments)], capture_output=True, text=True,
                              timeout=timeout, cwd=folder)
    return start


def dead(pids):
    return lambda: not any(is_running(p) for p in pids)


# ---- the command line

def test_help_names_every_option_and_version_is_one_line(run):
    text = run("--help").stdout
    for option in ("--config", "--role", "--check", "--sample-config", "--version"):
        assert option in text
    assert "--worker" not in text
    version = run("--version")
    assert version.returncode == 0 and version.stdout.startswith("inoxd ") and version.stdout.count("\n") == 1


@pytest.mark.parametrize("arguments, sentence", [
    (["--role", "dialer"], "--role dialer: allowed are api and conductor"),
    (["--nonsense"], "--nonsense"),
    (["extra"], "unexpected argument 'extra'"),
    (["--worker", "cook"], "there is no role 'cook'"),
])
def test_wrong_usage_ends_with_2_and_a_sentence(run, arguments, sentence):
    result = run(*arguments)
    assert result.returncode == 2
    assert sentence in result.stderr


def test_the_sample_is_a_valid_configuration(run, folder):
    sample = run("--sample-config").stdout
    assert "#poll_only = false" in sample
    path = folder / "sample.conf"
    path.write_text(sample)
    assert run("--config", path, "--check").returncode == 0
    # ... and with every option switched on, too.
    path.write_text("\n".join(line[1:] if line[:1] == "#" and line[1:2].isalpha() else line
                              for line in sample.splitlines()))
    assert run("--config", path, "--check").returncode == 0


def test_check_names_every_mistake_with_file_and_line(run, folder):
    path = folder / "inox.conf"
    path.write_text("[api]\nport = http\n[agent]\npoll_onyl = true\ntransport = foo\n")
    result = run("--config", path, "--check")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"{path}:2: [api]port = http: allowed is a whole number from 0 to 65535",
        f"{path}:4: [agent]poll_onyl: unknown option; did you mean poll_only?",
        f"{path}:5: [agent]transport = foo: allowed are psk, pinned, http",
    ]
    assert run("--config", path).returncode == 2
    assert run("--config", folder / "missing.conf", "--check").returncode == 1


def test_options_of_ironic_that_do_nothing_are_one_warning(run, folder):
    path = folder / "inox.conf"
    path.write_text("[DEFAULT]\nrequire_agent_token = true\nenabled_boot_interfaces = ipxe\n")
    result = run("--config", path, "--check")
    assert result.returncode == 0
    assert result.stderr.count("\n") == 1 and "enabled_boot_interfaces" in result.stderr


# ---- what stops a start

def config(folder, **more):
    state = {"DEFAULT": {"state_path": folder / "state"}, "api": {"port": free_port()}}
    for group, options in more.items():
        state.setdefault(group, {}).update(options)
    return write_config(folder / "inox.conf", state)


def assert_refused(result, *parts):
    assert result.returncode in (1, 2), result.stderr
    assert result.stderr.count("\n") == 1, f"not one sentence: {result.stderr}"
    for part in parts:
        assert str(part) in result.stderr


def test_a_port_that_is_taken_is_named(run, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(run("--config", config(folder, api={"port": port})),
                       f"address 127.0.0.1 port {port} is taken", "[api]port")


def test_an_address_of_another_host_is_named(run, folder):
    path = config(folder, api={"host_ip": "192.0.2.1", "allow_unauthenticated": True})
    assert_refused(run("--config", path), "192.0.2.1 is not an address of this host")


def test_a_state_folder_in_nowhere_is_named(run, folder):
    path = config(folder, DEFAULT={"state_path": folder / "no" / "state"})
    assert_refused(run("--config", path), "create the state folder", folder / "no" / "state")


def test_a_state_folder_that_is_a_file_is_named(run, folder):
    (folder / "state").write_text("x")
    assert_refused(run("--config", config(folder)), folder / "state", "not a folder")


def test_a_state_folder_that_others_can_write_is_refused(run, folder):
    (folder / "state").mkdir()
    (folder / "state").chmod(0o777)
    assert_refused(run("--config", config(folder)), "can be written by others (mode 777)", "0700")


def test_a_state_folder_without_write_permission_is_named(build, folder):
    (folder / "state").mkdir()
    (folder / "state").chmod(0o500)
    path = config(folder)
    other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    if other:
        os.chown(folder / "state", 65534, 65534)
    # The other user may not be able to look into the build folder.
    program = shutil.copy(build / "src/inoxd/inoxd", folder / "inoxd")
    result = subprocess.run([program, "--config", path], capture_output=True, text=True, timeout=30, cwd="/", **other)
    assert_refused(result, "write into the state folder", "Permission denied")


def test_a_sealing_key_that_others_can_read_is_refused(run, inoxd, folder):
    first = inoxd()
    first.stop()
    (first.state / "sealing.key").chmod(0o644)
    assert_refused(run("--config", first.config_path), "sealing.key", "0600")


def test_a_newer_database_is_refused(run, inoxd):
    first = inoxd()
    first.stop()
    database = first.state / "inox.sqlite"
    with sqlite3.connect(database) as db:
        version, = db.execute("PRAGMA user_version").fetchone()
        assert version > 0
        db.execute(f"PRAGMA user_version = {version + 1000}")
    db.close()
    assert_refused(run("--config", first.config_path), "database", "newer")


def test_a_second_inoxd_on_the_same_folder_is_refused(run, inoxd, folder):
    first = inoxd()
    path = config(folder, DEFAULT={"state_path": first.state})
    assert_refused(run("--config", path), "another inoxd uses the state folder", first.state)
    assert first.api("GET", "/v1/nodes").status == 200


# ---- what a start makes

def test_a_start_makes_its_files_for_itself_only(inoxd):
    process = inoxd()
    assert (process.state.stat().st_mode & 0o777) == 0o700
    for name in ("sealing.key", "lock", "inox.sqlite", "poke.sock"):
        assert (process.state / name).stat().st_mode & 0o077 == 0, name
    assert set(process.children()) == set(ROLES)
    assert process.api("GET", "/v1/nodes").json == {"nodes": []}


def test_root_gives_up_its_rights(inoxd):
    if os.geteuid() != 0:
        pytest.skip("only root can change the user")
    process = inoxd({"DEFAULT": {"user": "nobody"}})
    for pid in [process.pid, *process.children().values()]:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in uids, status
    assert process.api("POST", "/v1/nodes", {"driver": "fake-hardware"}).status == 201


# ---- users of the workers that touch strangers

# Numbers need no entry in the system's list of users.
OWN = {"supervisor": 64900, "api": 64900, "conductor": 64900, "boot": 64900,
       "dialer": 64901, "bmc": 64902, "connector": 64903}
OWN_USERS = {"DEFAULT": {"user": OWN["supervisor"],
                         **{f"{role}_user": OWN[role] for role in ("dialer", "bmc", "connector")}}}
KEPT = (1 << 5) | (1 << 6) | (1 << 7)  # CAP_KILL, CAP_SETGID, CAP_SETUID: linux/capability.h
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")


def assert_users(process, own=OWN):
    """Every process runs as its user and without capabilities; the supervisor has three."""
    children = process.children()
    assert set(children) == set(ROLES)
    for role, pid in [("supervisor", process.pid), *children.items()]:
        fields = status_fields(pid)
        assert fields["Uid"].split() == fields["Gid"].split() == [str(own[role])] * 4, role
        assert fields["Groups"] == "", role
        kept = KEPT if role == "supervisor" else 0
        for kind, want in (("CapEff", kept), ("CapPrm", kept), ("CapInh", 0), ("CapAmb", 0), ("CapBnd", KEPT)):
            assert int(fields[kind], 16) == want, f"{role}: {kind} {fields[kind]}"
    return children


@root_only
def test_workers_that_touch_strangers_have_users_of_their_own(inoxd):
    process = inoxd(OWN_USERS)
    assert_users(process)
    assert process.state.stat().st_uid == OWN["supervisor"] and process.state.stat().st_mode & 0o777 == 0o700
    assert process.api("POST", "/v1/nodes", {"driver": "fake-hardware"}).status == 201
    assert "workers that meet strangers have users of their own" in process.log()


# What a worker's user can do to another process, outside any sandbox.
REACH = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
state, pids = sys.argv[1], [int(a) for a in sys.argv[2:]]
def trace(pid):
    if libc.ptrace(0x4206, pid, 0, 0) < 0:  # PTRACE_SEIZE: the process runs on
        raise OSError(ctypes.get_errno(), "ptrace")
for pid in pids:
    for what, reach in (("signal", lambda: os.kill(pid, 0)), ("trace", lambda: trace(pid)),
                        ("environ", lambda: open(f"/proc/{pid}/environ", "rb").read(1)),
                        ("mem", lambda: open(f"/proc/{pid}/mem", "rb")), ("fd", lambda: os.listdir(f"/proc/{pid}/fd"))):
        try:
            reach()
            print(what, pid)
        except PermissionError:
            pass
try:
    print("state", os.listdir(state))
except PermissionError:
    pass
"""


def reach(role, process, pids):
    """What the user of a role reaches of the processes and of the state folder."""
    uid = OWN[role]
    return subprocess.run(["/usr/bin/python3", "-c", REACH, str(process.state), *map(str, pids)], cwd="/", user=uid, group=uid,
                          extra_groups=[], capture_output=True, text=True, check=True, timeout=30).stdout.split("\n")[:-1]


@root_only
@pytest.mark.parametrize("role", ["dialer", "bmc", "connector"])
def test_a_workers_user_reaches_no_other_process(inoxd, role):
    process = inoxd(OWN_USERS)
    children = process.children()
    others = [process.pid, *(pid for other, pid in children.items() if other != role)]
    assert reach(role, process, others) == []
    # The same attempt succeeds where it may: at its own.
    assert f"signal {children[role]}" in reach(role, process, [children[role]])


@root_only
def test_stuck_workers_of_other_users_die_with_a_killed_supervisor(inoxd):
    process = inoxd(OWN_USERS)
    pids = assert_users(process)
    # One that is stuck cannot see that the supervisor is gone.
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    try:
        wait_until(dead(pids.values()), 10)
    finally:
        for pid in filter(is_running, pids.values()):
            os.kill(pid, signal.SIGKILL)


@root_only
def test_the_end_does_not_wait_for_a_stuck_worker_of_another_user(inoxd):
    process = inoxd(OWN_USERS)
    pids = process.children()
    os.kill(pids["dialer"], signal.SIGSTOP)
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(30) == 0
    assert dead(pids.values())()


@root_only
@pytest.mark.parametrize("role", ["dialer", "connector"])
def test_a_killed_worker_comes_back_as_its_user(inoxd, role):
    process = inoxd(OWN_USERS)
    before = process.children()[role]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: set(process.children()) == set(ROLES) and process.children()[role] != before, 20)
    wait_until(lambda: process.log().count("a process was ended by a signal") == 1, 5)
    assert_users(process)


@root_only
@pytest.mark.parametrize("option", ["user", "dialer_user", "bmc_user", "connector_user"])
@pytest.mark.parametrize("value, sentence", [
    ("nobody-at-all", "there is no such user"), ("4294967295", "there is no such user"), ("-1", "there is no such user"),
    ("root", "must not be root"), ("0", "must not be root"),
])
def test_no_process_has_a_wrong_user(run, folder, option, value, sentence):
    path = config(folder, DEFAULT={option: value})
    assert_refused(run("--config", path), f"[DEFAULT]{option} = {value}: {sentence}")


@root_only
def test_without_users_of_their_own_nothing_is_kept(inoxd):
    process = inoxd({"DEFAULT": {"user": 64900, "dialer_user": 64900, "bmc_user": 64900, "connector_user": 64900}})
    for pid in [process.pid, *process.children().values()]:
        fields = status_fields(pid)
        assert fields["Uid"].split() == ["64900"] * 4
        assert int(fields["CapPrm"], 16) == int(fields["CapBnd"], 16) == 0
    assert "all processes run as one user" in process.log()


def start_with(build, folder, path, *capabilities):
    """inoxd as user 64900 with ambient capabilities, as a service manager starts it."""
    names = ",".join(["-all", *(f"+{c}" for c in capabilities)])
    # The other user may not be able to look into the build folder.
    program = shutil.copy(build / "src/inoxd/inoxd", folder / "inoxd")
    return subprocess.Popen(["setpriv", "--reuid", "64900", "--regid", "64900", "--clear-groups", f"--inh-caps={names}",
                             f"--ambient-caps={names}", f"--bounding-set={names}", program, "--config", path],
                            stderr=subprocess.PIPE, text=True, cwd="/")


@root_only
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize("capabilities", [("setuid", "setgid", "kill"), ("setuid", "setgid"), ()])
def test_a_service_manager_may_give_the_three_capabilities(build, folder, capabilities):
    (folder / "state").mkdir(mode=0o700)
    os.chown(folder / "state", 64900, 64900)
    users = {key: value for key, value in OWN_USERS["DEFAULT"].items() if key != "user"}
    popen = start_with(build, folder, config(folder, DEFAULT=users), *capabilities)
    try:
        lines = iter(popen.stderr.readline, "")
        line = next(line for line in lines if "users of their own" in line or "one user" in line)
        next(line for line in lines if "all processes are ready" in line)
        children = Inoxd.children(popen)
        assert set(children) == set(ROLES)
        for role, pid in [("supervisor", popen.pid), *children.items()]:
            fields = status_fields(pid)
            uid = OWN[role] if len(capabilities) == 3 else 64900
            assert fields["Uid"].split() == [str(uid)] * 4, role
            kept = KEPT if len(capabilities) == 3 and role == "supervisor" else 0
            assert int(fields["CapPrm"], 16) == int(fields["CapEff"], 16) == kept, role
            assert int(fields["CapAmb"], 16) == int(fields["CapInh"], 16) == 0, role
        assert ("not started by root" in line) == (len(capabilities) != 3), line
    finally:
        popen.terminate()
        assert popen.wait(20) == 0
        popen.stderr.close()


def test_roles_can_run_apart(inoxd):
    api = inoxd(args=["--role", "api"])
    assert set(api.children()) == {"api"}
    conductor = inoxd({"DEFAULT": {"state_path": api.state}}, args=["--role", "conductor"])
    assert set(conductor.children()) == set(ROLES) - {"api"}
    assert api.api("GET", "/v1/nodes").status == 200


ALLOWED = {
    "socket", "pipe", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/dev/null",
}


def test_children_inherit_nothing_but_their_descriptors(inoxd):
    process = inoxd()
    log = str(process.log_path)
    for role, pid in process.children().items():
        targets = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        for fd, target in targets.items():
            kind = target.split(":[")[0] if target.startswith(("socket:", "pipe:")) else target
            if kind in ALLOWED or target == log:
                continue
            if role in ("api", "conductor") and target.startswith(str(process.state / "inox.sqlite")):
                continue
            pytest.fail(f"{role} has descriptor {fd}: {target}")
        sockets = sum(t.startswith("socket:") for t in targets.values())
        assert sockets <= 7, f"{role}: {targets}"
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment


def status_fields(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":", 1)[0]: line.split(":", 1)[1].strip() for line in lines}


def test_children_are_inside_their_sandbox(inoxd):
    process = inoxd()
    for role, pid in process.children().items():
        fields = status_fields(pid)
        assert fields["NoNewPrivs"] == "1", role
        for task in os.listdir(f"/proc/{pid}/task"):
            task_fields = status_fields(f"{pid}/task/{task}")
            assert task_fields["Seccomp"] == "2", f"{role}, thread {task}"
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], role


# ---- survival

# The conductor's workers are started with it, who needs the connector with that; everything else is left alone.
FALLING_WITH = {"conductor": ("conductor", "dialer", "bmc", "boot"), "connector": ("connector", "dialer", "bmc")}


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_process_comes_back(inoxd, role):
    process = inoxd()
    before = process.children()
    os.kill(before[role], signal.SIGKILL)

    def back():
        now = process.children()
        falling = FALLING_WITH.get(role, (role,))
        return set(now) == set(ROLES) and all(now[r] != before[r] for r in falling) and now
    now = wait_until(back, 20)
    for other in ROLES:
        assert (now[other] != before[other]) == (other in FALLING_WITH.get(role, (role,))), other
    wait_until(lambda: process.api("POST", "/v1/nodes", {"driver": "fake-hardware"}).status == 201, 10)
    assert f"role={role}" in process.log()


def test_the_children_die_with_a_killed_supervisor(inoxd):
    process = inoxd()
    pids = process.children()
    assert len(pids) == len(ROLES)
    # One that is stuck cannot see that the supervisor is gone.
    os.kill(pids["dialer"], signal.SIGSTOP)
    process.kill()
    try:
        wait_until(dead(pids.values()), 10)
    finally:
        if is_running(pids["dialer"]):
            os.kill(pids["dialer"], signal.SIGKILL)
    again = inoxd({"DEFAULT": {"state_path": process.state}})
    assert again.api("GET", "/v1/nodes").status == 200


def test_a_stuck_process_is_killed_and_started_again(inoxd):
    process = inoxd()
    stuck = process.children()["dialer"]
    os.kill(stuck, signal.SIGSTOP)
    wait_until(lambda: process.children().get("dialer", stuck) != stuck, 60)
    assert "a process is stuck and is killed" in process.log()


# ---- the end

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(inoxd, number):
    process = inoxd()
    pids = process.children().values()
    process.popen.send_signal(number)
    assert process.popen.wait(20) == 0
    assert dead(pids)()
    assert not (process.state / "poke.sock").exists()
    assert "was ended by a signal" not in process.log(), process.log()


def test_the_end_does_not_wait_for_a_stuck_process(inoxd):
    process = inoxd()
    pids = process.children()
    os.kill(pids["conductor"], signal.SIGSTOP)
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(30) == 0
    assert dead(pids.values())()


# ---- the service manager

def test_readiness_and_the_watchdog_are_told(inoxd, folder):
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        process = inoxd(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}, wait=False)
        messages = set()
        while not {b"READY=1", b"WATCHDOG=1"} <= messages:
            messages.add(manager.recv(100))
        assert set(process.children()) == set(ROLES)
        process.popen.send_signal(signal.SIGTERM)
        while b"STOPPING=1" not in messages:
            messages.add(manager.recv(100))
        assert process.popen.wait(20) == 0
