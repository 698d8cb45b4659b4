"""What the Redfish tests need: the bmc worker as a process, inox-bmc, and a BMC whose answers a test
decides one by one."""
import base64
import http.client
import http.server
import json
import queue
import ssl
import subprocess
import threading

from conftest import Answer, free_port

ERRORS = {0: None, 1: "INVALID", 2: "NOT_FOUND", 3: "CONFLICT", 4: "BUSY", 5: "DENIED", 6: "IO", 7: "TIMEOUT",
          8: "PEER", 9: "LIMIT", 10: "UNAVAILABLE", 11: "UNSUPPORTED"}
SYSTEM = "/redfish/v1/Systems/1"
MEDIA = SYSTEM + "/VirtualMedia/Cd"
INSERT = MEDIA + "/Actions/VirtualMedia.InsertMedia"
EJECT = MEDIA + "/Actions/VirtualMedia.EjectMedia"
RESET = SYSTEM + "/Actions/ComputerSystem.Reset"
SESSIONS = "/redfish/v1/SessionService/Sessions"


class Worker:
    """The bmc worker of inoxd, spoken to as its conductor does."""

    def __init__(self, build, config_path):
        self.popen = subprocess.Popen([build / "tests/integration/drive_bmc", config_path],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.replies = queue.Queue()
        self.last = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.popen.stdout:
            self.replies.put(json.loads(line))

    def send(self, operation, **fields):
        self.last += 1
        self.popen.stdin.write(json.dumps({"request": self.last, "operation": operation, **fields}) + "\n")
        self.popen.stdin.flush()
        return self.last

    def reply(self, seconds=30):
        reply = self.replies.get(timeout=seconds)
        reply["error"] = ERRORS[reply["result"]]
        return reply

    def ask(self, operation, **fields):
        request = self.send(operation, **fields)
        reply = self.reply()
        assert reply["request"] == request
        return reply

    def close(self):
        self.popen.stdin.close()
        assert self.popen.wait(30) == 0


class Bmc:
    """inox-bmc with a client of its own."""

    def __init__(self, spawn, build, machine_files, args=(), tls=False):
        self.port = free_port()
        argv = [build / "tools/bmc/inox-bmc", "--listen", f"127.0.0.1:{self.port}", *args]
        for path in machine_files:
            argv += ["--machine", path]
        self.process = spawn(argv, "inox-bmc")
        self.process.wait_log("message=listening")
        self.tls = tls
        self.address = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, user=None, headers=None):
        all_headers = dict(headers or {})
        if user:
            all_headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                                     context=ssl._create_unverified_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, all_headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def system(self, **options):
        return self.request("GET", SYSTEM, **options).json

    def power(self, **options):
        return self.system(**options)["PowerState"]

    def reset(self, kind, **options):
        return self.request("POST", RESET, {"ResetType": kind}, **options)

    def override(self, **boot):
        return self.request("PATCH", SYSTEM, {"Boot": {"BootSourceOverride" + k: v for k, v in boot.items()}})


class ScriptedBmc:
    """A BMC on 127.0.0.1.  `answers[(method, path)]` is a list of answers, the last of which stays: a
    dict (200, JSON), (status, body), (status, body, headers), or a function of the handler that does it
    by hand.  `requests` keeps (method, path, headers, body)."""

    def __init__(self):
        self.requests = []
        self.answers = {}
        self.power = "Off"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                outer.requests.append((self.command, self.path, self.headers, body))
                outer.answer(self)

            do_POST = do_PATCH = do_DELETE = do_GET

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def system(self, **more):
        return {"@odata.id": SYSTEM, "PowerState": self.power, "Boot": {
            "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideMode": "UEFI"},
            "Actions": {"#ComputerSystem.Reset": {
                "target": RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"]}}, **more}

    def default(self, method, path):
        if method == "GET" and path == "/redfish/v1/":
            return {"Systems": {"@odata.id": "/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": SESSIONS}}}
        if method == "GET" and path == "/redfish/v1/Systems":
            return {"Members": [{"@odata.id": SYSTEM}]}
        if method == "GET" and path == SYSTEM:
            return self.system()
        if method == "POST" and path == SESSIONS:
            return (201, {}, {"X-Auth-Token": "token-1", "Location": SESSIONS + "/1"})
        if method in ("POST", "PATCH", "DELETE"):
            return (204, None)
        return (404, {"error": {"message": "nothing there"}})

    def answer(self, handler):
        key = (handler.command, handler.path)
        listed = self.answers.get(key)
        what = listed[0] if listed else self.default(*key)
        if listed and len(listed) > 1:
            listed.pop(0)
        if callable(what):
            handler.close_connection = True
            what(handler)
            return
        status, body, headers = (200, what, {}) if isinstance(what, dict) else (*what, {})[:3]
        data = b"" if body is None else body.encode() if isinstance(body, str) else \
            body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def seen(self, method, path=None):
        return [r for r in self.requests if r[0] == method and path in (None, r[1])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
