"""The server of the method `invoke`: a real process, real sockets, real signals."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from medvial.outputs import read_json, write_json

SOCKETS = {
    "interfaces": [
        {
            "inputs": [{"slug": "a-number", "kind": "Float", "relative_path": "number.json"}],
            "outputs": [
                {"slug": "twice", "kind": "Float", "relative_path": "twice.json"},
                {"slug": "a-mask", "kind": "Segmentation", "relative_path": "images/mask"},
            ],
        }
    ]
}
# The number is the case: what it says is what goes wrong.
PROCESS = """
    import ctypes, json, logging, os, time
    import numpy as np
    from medvial.algorithm import Algorithm
    from medvial.errors import InputError
    from medvial.metaimage_writer import ImageGeometry

    log = logging.getLogger(__name__)

    class Twice(Algorithm):
        loads = 0

        def load(self):
            Twice.loads += 1
            log.info("load %d", Twice.loads)
            time.sleep(float(os.environ.get("LOAD_S", 0)))
            if "LOAD_ERROR" in os.environ:
                raise InputError("Expected a model,\\ngot none.")

        def predict(self):
            assert not hasattr(self, "number"), "an earlier case is still here"
            self.number = json.loads(self.input_for("a-number").read_text())
            if self.number < 0:
                time.sleep(-self.number)
            if self.number == 13:
                raise RuntimeError("unlucky\\nnumber")
            if self.number == 14:
                raise InputError("Expected another number, got 14.")
            if self.number == 15:
                raise MemoryError
            if self.number == 17:
                raise SystemExit("a library gave up")
            if self.number == 18:
                raise InputError(os.fsdecode(b"Expected another file than \\xff.mha"))
            if self.number == 16:  # a library that never comes back to the interpreter
                self.image_output("a-mask", ImageGeometry((5, 7, 2))).__enter__()
                libc = ctypes.CDLL(None)
                other = ctypes.create_string_buffer(128)
                libc.sigaddset(other, 12)
                libc.sigwait(other, ctypes.byref(ctypes.c_int()))

        def save(self):
            with self.image_output("a-mask", ImageGeometry((5, 7, 1))) as mask:
                mask.write(np.zeros((7, 5), np.uint8))
            self.write_output("twice", 2 * self.number)

    if __name__ == "__main__":
        raise SystemExit(Twice.main())
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """A server process and what it writes."""

    def __init__(self, folder, **environment):
        self.folder, self.port = folder, free_port()
        (folder / "process.py").write_text(textwrap.dedent(PROCESS))
        write_json(folder / "sockets.json", SOCKETS)
        for name in ("input", "output"):
            (folder / name).mkdir(exist_ok=True)
        self.stdout, self.stderr = folder / "stdout.txt", folder / "stderr.txt"
        self.read = 0
        paths = [f"--{name}={folder / name}" for name in ("input", "output", "model")]
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(folder / "process.py"), *paths, f"--port={self.port}"],
                env=os.environ | {"MEDVIAL_API_METHOD": "invoke"} | environment,
                stdout=out,
                stderr=err,
            )

    def ask(self, method="GET", path="/health", body=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()

    def wait_for(self, status, timeout=30):
        """Poll /health; returns every status before."""
        seen = []
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError):
                seen.append(self.ask()[0])
                if seen[-1] == status:
                    return seen[:-1]
            time.sleep(0.02)
        raise AssertionError(f"never {status}: {seen} {self.errors()}")

    def case(self, number, **options):
        write_json(self.folder / "input" / "number.json", number)
        return self.ask("POST", "/invoke", **options)

    def stop(self, expected=143):
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == expected
        return time.monotonic() - start

    def errors(self):
        """What was written to standard error since the test began."""
        return self.stderr.read_text()[self.read :]

    def begin_test(self):
        self.read = len(self.stderr.read_text())
        for name in ("input", "output"):
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir()

    def logs(self):
        return self.stdout.read_text()

    def outputs(self):
        found = (self.folder / "output").rglob("*")
        return sorted(
            p.relative_to(self.folder / "output").as_posix() for p in found if p.is_file()
        )


@pytest.fixture
def start(tmp_path):
    """Start servers of a test's own."""
    started = []

    def run(**environment):
        started.append(Running(tmp_path, **environment))
        return started[-1]

    yield run
    for server in started:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def own(start):
    """A server that the test may end."""
    running = start()
    running.wait_for(200)
    return running


@pytest.fixture(scope="module")
def one_for_all(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("server"))
    running.wait_for(200)
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture
def server(one_for_all):
    """A server that many tests ask, one after the other."""
    one_for_all.begin_test()
    return one_for_all


BOTH = ["images/mask/output.mha", "twice.json"]


def test_health_is_503_while_loading_and_200_after(start):
    server = start(LOAD_S="1")
    assert set(server.wait_for(200)) == {503}
    assert server.ask()[0] == 200


def test_a_case_before_the_model_is_loaded_is_refused(start):
    server = start(LOAD_S="2")
    server.wait_for(503)
    assert server.case(1) == (503, "the model is being loaded\n")
    server.wait_for(200)
    assert server.case(1)[0] == 201


def test_cases_of_one_process_equal_those_of_their_own(server):
    for number in (1.5, 4, 2.25):
        assert server.case(number) == (201, "done\n")
        assert read_json(server.folder / "output" / "twice.json") == 2 * number
        assert server.outputs() == BOTH
    assert server.logs().count("load 1\n") == 1
    assert "load 2" not in server.logs()
    assert server.errors() == ""


def test_health_answers_while_a_case_runs(server):
    thread = threading.Thread(target=server.case, args=(-2,))
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    assert server.ask()[0] == 200
    assert time.monotonic() - start < 1
    thread.join()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (13, "RuntimeError: unlucky number"),
        (14, "InputError: Expected another number, got 14."),
        (15, "MemoryError: The case needs more memory than the container may use."),
        (17, "SystemExit: a library gave up"),
        (18, r"InputError: Expected another file than \udcff.mha"),
        ("many", "TypeError: '<' not supported between instances of 'str' and 'int'"),
    ],
)
def test_a_failed_case_says_why_and_the_next_one_is_fine(server, number, reason):
    assert server.case(1)[0] == 201
    assert server.case(number) == (500, reason + "\n")
    assert server.errors() == reason + "\n"
    assert server.outputs() == []
    assert server.case(3)[0] == 201
    assert server.ask()[0] == 200
    assert read_json(server.folder / "output" / "twice.json") == 6


def test_an_empty_input_is_a_failed_case(server):
    status, text = server.ask("POST", "/invoke")
    assert status == 500
    assert "Expected ['number.json'] in" in text
    assert server.case(1)[0] == 201


def test_what_an_earlier_case_left_is_not_mixed_in(server):
    folder = server.folder / "output" / "images" / "mask"
    folder.mkdir(parents=True)
    (folder / "of-another-case.mha").write_text("x")
    assert server.case(1)[0] == 201
    assert server.outputs() == BOTH


def test_a_second_case_waits_for_its_turn(server):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(server.ask("POST", "/invoke")))
        for _ in range(4)
    ]
    write_json(server.folder / "input" / "number.json", -0.4)
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(201, "done\n")] * 4
    assert time.monotonic() - start >= 1.6


def test_the_input_folder_is_looked_at_in_a_call_only(server):
    """The platform replaces it by another folder before each case."""
    folder = server.folder
    (folder / "input").rmdir()
    for number in (2, 3):
        case = folder / f"case-{number}"
        write_json(case / "number.json", number)
        (folder / "input").symlink_to(case, target_is_directory=True)
        assert server.ask("POST", "/invoke")[0] == 201
        assert read_json(folder / "output" / "twice.json") == 2 * number
        (folder / "input").unlink()
        process = Path(f"/proc/{server.process.pid}")
        held = [str(p.readlink()) for p in (process / "cwd", *(process / "fd").iterdir())]
        assert not [path for path in held if str(case) in path or "/output" in path]
    (folder / "input").mkdir()


@pytest.mark.parametrize("path", ["/health", "/health/", "/health?x=1", "/health/?x"])
def test_health_never_redirects(server, path):
    assert server.ask("GET", path) == (200, "ready\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invoke", 405),
        ("POST", "/health", 405),
        ("PUT", "/invoke", 405),
        ("HEAD", "/health", 405),
        ("BREW", "/health", 405),
        ("GET", "/", 404),
        ("POST", "/../../etc/passwd", 404),
        ("POST", "/invoke/more", 404),
    ],
)
def test_every_other_request_is_refused(server, method, path, status):
    assert server.ask(method, path)[0] == status
    assert server.ask()[0] == 200
    assert server.errors() == ""


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "\xff"}]
)
def test_a_body_is_ignored(server, headers):
    assert server.case(1, body=b"\xff{]", headers=headers)[0] == 201
    assert server.case(1, body=iter([b"a" * 10, b"b"]), headers=headers)[0] == 201


def memory_kib(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])


def test_a_huge_body_does_not_fill_the_memory(server):
    assert server.case(1)[0] == 201
    before = memory_kib(server.process)
    pieces = (b"x" * (1 << 20) for _ in range(300))
    status, _ = server.case(1, body=pieces, headers={"Content-Length": str(300 << 20)})
    assert status == 201
    assert memory_kib(server.process) < before + 20_000


BAD_HTTP = [
    b"\r\n\r\n",
    b"\xff\xfe\x00garbage\r\n\r\n",
    b"GET\r\n\r\n",
    b"POST /invoke HTTP/9.9\r\n\r\n",
    b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"POST /invoke HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /nothing HTTP/1.1\r\nContent-Length: 99\r\n\r\n",
    b"GET /health\x1b[31m\xe4\xf6 HTTP/1.1\r\n\r\n",
    b"",
]


def test_requests_that_are_no_http_do_not_end_it(own):
    write_json(own.folder / "input" / "number.json", 1)
    for request in BAD_HTTP:
        with socket.create_connection(("127.0.0.1", own.port)) as client:
            client.sendall(request)
    with socket.create_connection(("127.0.0.1", own.port)) as client:  # a reset, not an end
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.sendall(b"POST /invoke HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    assert own.case(2)[0] == 201
    own.stop()
    assert own.errors() == ""


def test_logs_are_whole_lines_of_printable_text(own):
    requests = [threading.Thread(target=own.ask, args=("GET", f"/{'a' * 5000}")) for _ in range(20)]
    for thread in requests:
        thread.start()
    for thread in requests:
        thread.join()
    with socket.create_connection(("127.0.0.1", own.port)) as client:
        client.sendall("GET /ä\x1b[31m HTTP/1.1\r\n\r\n".encode("latin-1"))
        client.recv(100)
    own.stop()
    lines = own.stdout.read_bytes().decode("utf-8").splitlines()
    asked = [line for line in lines if '"GET /aaaa' in line]
    assert len(asked) == 20
    assert all(line.startswith("127.0.0.1 ") and len(line) < 400 for line in asked)
    assert all(line.isprintable() for line in lines)


def test_a_model_that_cannot_be_loaded_ends_it_with_one_line(start):
    server = start(LOAD_ERROR="1")
    assert server.process.wait(timeout=30) == 1
    assert server.errors() == "InputError: Expected a model, got none.\n"


def test_a_port_that_is_taken_is_an_error(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        monkeypatch.setattr(sys.modules[__name__], "free_port", lambda: taken.getsockname()[1])
        server = Running(tmp_path)
        assert server.process.wait(timeout=30) == 1
    (line,) = server.errors().splitlines()
    assert line.startswith(f"InputError: Expected to listen at 0.0.0.0:{server.port}, got: ")
    assert line.endswith("Is another server running there?")


def test_an_unknown_method_is_an_error(start):
    server = start(MEDVIAL_API_METHOD="serve")
    assert server.process.wait(timeout=30) == 1
    assert "Expected MEDVIAL_API_METHOD to be exec or invoke, got 'serve'" in server.errors()


def test_sigterm_stops_an_idle_server(own):
    assert own.stop() < 2
    assert own.errors() == ""


def test_sigterm_stops_it_while_the_model_loads(start):
    server = start(LOAD_S="60")
    server.wait_for(503)
    assert server.stop() < 5
    assert server.errors() == ""


@pytest.mark.parametrize("number", [-60, 16])
def test_sigterm_stops_it_while_a_case_runs_and_leaves_nothing(own, number):
    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            own.case(number)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1)
    assert own.stop() < 5
    thread.join()
    assert own.outputs() == []
    assert own.errors() == ""


def test_killed_in_the_middle_it_leaves_nothing_that_looks_like_a_result(own, start):
    write_json(own.folder / "input" / "number.json", -60)
    with socket.create_connection(("127.0.0.1", own.port)) as client:
        client.sendall(b"POST /invoke HTTP/1.1\r\n\r\n")
        time.sleep(0.5)
        own.process.kill()
        own.process.wait()
    assert [name for name in own.outputs() if not name.startswith(".staging/")] == []
    again = start()
    again.wait_for(200)
    assert again.case(1)[0] == 201
    assert again.outputs() == BOTH


def test_memory_does_not_grow_with_the_number_of_cases(server):
    for number in range(1, 6):
        assert server.case(20 + number)[0] == 201
    before = memory_kib(server.process)
    for number in range(50):
        assert server.case(20 + number)[0] == 201
    assert memory_kib(server.process) < 1.05 * before
