"""Looks for secrets where none may be: in every file that the programs of a rack leave behind (logs, databases with
their write-ahead logs, boot scripts, kernel command lines), in every answer of the API, in the arguments and the environment of
every process.  Everything is searched but the few places that exist to hold a secret (KEEPS).
"""

import base64
import json
import os
import pathlib
import re
import time
import urllib.parse

TOKEN, TOKEN_ARGUMENT = "agent token", "agent token that is a kernel argument"
SAMPLE_EVERY_S = 0.1
SCAN_MOST = 64 * 1024 * 1024  # disks are larger, and sparse

# Where secrets live on purpose, by the path below the rack's folder.
KEEPS = re.compile(
    r"/(password[^/]*|machine-\d+/received(-by-kernel)?|sealing\.key|(etc/inox|run/inox)/agent-token|run/inox/agent\.pem"
    r"|etc/ipa-rescue-config/ipa-rescue-password|etc/ironic-python-agent\.d/inox\.conf|http/once/[^/]+/(token\.img|boot\.media))$"
    r"|/(kept\.iso|extracted)$")  # what tests take out of a boot
# ... and of a token that the node's settings ask to be a kernel argument.
KEEPS_ARGUMENT = re.compile(r"/(root/proc/cmdline|http/once/[^/]+/[^/]+\.ipxe)$")


def _base64_cores(text):
    """What every base64 of something that contains the text contains, at each of the three alignments."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode()).rstrip(b"=")
        yield encoded[(0, 2, 3)[shift]:len(encoded) - 1]


def forms(text):
    """The bytes under which a secret may turn up."""
    return {text.encode(), urllib.parse.quote(text, safe="").encode(), text.encode().hex().encode(),
            json.dumps(text)[1:-1].encode(), *_base64_cores(text)}


def _words(path):
    """Of a file that may go at any time."""
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []


def descendants(of=None):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    top = {of or os.getpid()}
    ours, grown = set(top), True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in ours} - ours
        grown = bool(more)
        ours |= more
    return ours - top


class SecretWatch:
    """Collects during a test, and judges at its end: check() fails with every place that holds a secret."""

    def __init__(self, folder, keeps=KEEPS):
        self.folder = pathlib.Path(folder)
        self.keeps = keeps
        self.secrets = {}  # text -> what it is
        self.answers = set()
        self.processes = {}  # what /proc showed -> where
        self.sampled_at = 0.0
        self.machines = []  # their folders

    def add(self, text, what):
        if text and len(text) >= 6:
            self.secrets[text] = what

    def tokens(self):
        return {text for text, what in self.secrets.items() if what in (TOKEN, TOKEN_ARGUMENT)}

    def note_request(self, body):
        """What a request gives the control plane to keep to itself."""
        for entry in body if isinstance(body, list) else [body]:
            if not isinstance(entry, dict):
                continue
            for key, value in {**entry, **(entry.get("driver_info") or {})}.items():
                if isinstance(value, str) and key.endswith("password"):
                    self.add(value, key)
            if str(entry.get("path", "")).endswith("password"):
                self.add(entry.get("value"), entry["path"].rsplit("/", 1)[1])

    def note_answer(self, text):
        self.answers.add(text)

    def sample(self):
        if time.monotonic() < self.sampled_at + SAMPLE_EVERY_S:
            return
        self.sampled_at = time.monotonic()
        self.note_machines()
        for pid in self.pids():
            for name in ("cmdline", "environ"):
                try:
                    shown = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue
                self.processes.setdefault(shown, f"{name} of process {pid}")

    def pids(self):
        return descendants()

    def note_machines(self):
        """The tokens that the machines received, by the boot data of each boot or at a look-up.  An agent that has done its work
        takes what it kept away."""
        for folder in self.machines:
            for path in (folder / "received", folder / "root/run/inox/agent-token",
                         folder / "root/etc/inox/agent-token"):
                for token in _words(path):
                    self.add(token, TOKEN)
            for hashed in _words(folder / "root/etc/ipa-rescue-config/ipa-rescue-password"):
                self.add(hashed, "hash of the rescue password")
            for token in _words(folder / "received-by-kernel"):
                self.add(token, TOKEN_ARGUMENT)

    def files(self):
        for path in self.folder.rglob("*"):
            try:
                if path.is_symlink() or not path.is_file() or self.keeps.search(str(path)):
                    continue
                if path.stat().st_size <= SCAN_MOST:
                    yield path, path.read_bytes()
            except FileNotFoundError:
                pass  # boot data come and go

    def found(self):
        """Sentences: which secret is where."""
        return self.found_in(self.places(), self.secrets)

    def places(self):
        for path, content in self.files():
            yield path.relative_to(self.folder), content
        for text in self.answers:
            yield "an answer of the API", text.encode()
        for content, where in self.processes.items():
            yield where, content

    @staticmethod
    def found_in(places, secrets):
        wanted = [(form, what) for text, what in secrets.items() for form in forms(text)]
        return sorted({f"{what} in {where}" for where, content in places for form, what in wanted
                       if form in content
                       and not (what == TOKEN_ARGUMENT and KEEPS_ARGUMENT.search(f"/{where}"))})

    def check(self):
        found = self.found()
        assert not found, "secrets where none may be: " + "; ".join(found)
