"""Processes forked from one that has imported what they need.

Importing PyTorch and Transformers takes a worker of the local service 3 to 6 s of CPU time, and
ftkit with its HTTP server takes 0.6 s. A forked process is in every other respect one that was
started: a child of the process that asks for it, with its command line, streams, folder,
environment, session and exit code. What a test says about the start of a process, its memory or
what it imports needs `subprocess.Popen`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import inspect
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ftkit._local import RUN_MODULE

WORKER = "ftkit.server.worker"

CHECK = "ftkit.dashboard.check_process"

PR_SET_CHILD_SUBREAPER = 36
"""Option of Linux's `prctl`: orphans among the descendants become children of this process."""

ARGUMENTS_START, ARGUMENTS_END = 45, 46
"""Indexes of the addresses of the command line, among the fields of /proc/self/stat after the name."""

MAX_REQUEST_BYTES = 1 << 17

PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
"""Ends of the pipes of a process, as parameters of `Popen._execute_child`."""

_, *EXECUTE_CHILD = inspect.signature(subprocess.Popen._execute_child).parameters  # type: ignore[attr-defined]
"""Parameters of `Popen._execute_child`."""

BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from support.forking import serve_imported
serve_imported(int(sys.argv[1]), sys.argv[3:-1])
"""


class ForkServer:
    """Process with one thread that forks itself for each command."""

    def __init__(
        self, connection: socket.socket, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._connection = connection
        self._process = process  # Popen warns when it is freed while its process runs
        self._lock = threading.Lock()

    @classmethod
    def start(cls, modules: list[str], **environment: str) -> ForkServer:
        """Start a process that has imported the modules, of which some may not be installed."""
        connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            padding = " " * 4096  # room for the command lines of the forked processes
            arguments = [str(other.fileno()), json.dumps(sys.path), *modules, padding]
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                cwd="/",
                pass_fds=[other.fileno()],
                env={**os.environ, **environment},
                start_new_session=True,
            )
        return cls(connection, process)

    @classmethod
    def split(cls) -> ForkServer:
        """Fork a server from this process, which has one thread."""
        connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if not os.fork():
            connection.close()
            _serve(other)
            raise SystemExit
        other.close()
        return cls(connection)

    def close(self) -> None:
        """End the process that was started. Those that it has forked go on."""
        self._connection.close()
        if self._process:
            self._process.wait(60)

    def fork(
        self,
        command: list[str],
        streams: tuple[int, int, int],
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        new_session: bool = False,
    ) -> int:
        """Run a command of this Python in a new child of this process, and return its id."""
        request = {
            "command": command,
            "cwd": cwd or os.getcwd(),
            "env": dict(os.environ if env is None else env),
            "new_session": new_session,
            "umask": _status_field("Umask"),
        }
        with self._lock:
            _set_subreaper(True)
            try:
                socket.send_fds(self._connection, [json.dumps(request).encode()], streams)
                return int(self._connection.recv(100))
            finally:
                _set_subreaper(False)


class ForkedPopen(subprocess.Popen[bytes]):
    """`subprocess.Popen` that has a command of this Python forked by `fork_server`.

    It overrides a private method of CPython, checked with 3.11. Its parameters are taken by name: a
    KeyError says which one another version lacks.
    """

    fork_server: ForkServer

    def _execute_child(self, *arguments: Any) -> None:
        values = dict(zip(EXECUTE_CHILD, arguments, strict=True))
        assert not values["preexec_fn"]
        assert not values["pass_fds"]
        streams = [values[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        try:
            self.pid = self.fork_server.fork(
                list(map(str, values["args"])),
                tuple(n if fd == -1 else fd for n, fd in enumerate(streams)),  # type: ignore[arg-type]
                values["cwd"] and str(values["cwd"]),
                values["env"],
                values["start_new_session"],
            )
            self._child_created = True
        finally:
            self._close_pipe_fds(*(values[name] for name in PIPES))  # type: ignore[attr-defined]


def fork_workers(*task: str) -> None:
    """Have this process, which has one thread, fork workers of the local service, or those of a task.

    Without a task, it forks the processes that check files, too.
    """
    commands = [[*RUN_MODULE, WORKER, *task]]
    if not task:
        commands.append([*RUN_MODULE, CHECK])

    class Popen(ForkedPopen):
        fork_server = ForkServer.split()

        def _execute_child(self, *arguments: Any) -> None:
            forked = any(list(arguments[0])[: len(start)] == start for start in commands)
            (super() if forked else super(ForkedPopen, self))._execute_child(*arguments)

    subprocess.Popen = Popen  # type: ignore[misc]


def serve_imported(number: int, modules: list[str]) -> None:
    """Import the modules, then fork this process for each command from the socket of that number."""
    for module in modules:
        with contextlib.suppress(ImportError):
            __import__(module)
    _serve(socket.socket(fileno=number))


def _serve(connection: socket.socket) -> None:
    """Fork this process for each command, and return after running it in the forked one."""
    gc.freeze()  # objects that are not visited stay in memory that the processes share
    while True:
        data, streams, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
        if not data:  # the process that asks has ended
            os._exit(0)
        # The process that asks adopts the child of a process that ends at once.
        if intermediate := os.fork():
            os.waitpid(intermediate, 0)
            for stream in streams:
                os.close(stream)
            continue
        intermediate = os.getpid()
        if os.fork():
            os._exit(0)
        break
    while os.getppid() == intermediate:
        os.sched_yield()
    connection.send(str(os.getpid()).encode())
    connection.detach()
    _run(json.loads(data), streams)


def _run(request: dict[str, Any], streams: list[int]) -> None:
    if request["new_session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # The present objects may be for another kind of file.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.closerange(3, 1024)
    os.umask(int(request["umask"], 8))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None  # the environment names it
    _, *options = request["command"]
    if options[2:4] == [WORKER, "train"]:
        fork_workers("rank")
    _set_command_line(request["command"])
    if options[:2] == ["-P", "-m"]:
        sys.argv = options[2:]
        runpy.run_module(options[2], run_name="__main__", alter_sys=True)
    else:
        assert options[0] == "-c"
        sys.argv = ["-c", *options[2:]]
        exec(options[1], {"__name__": "__main__"})


def _set_subreaper(on: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def _set_command_line(command: list[str]) -> None:
    """Show this command line for this process, as far as there is room."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[ARGUMENTS_START]), int(fields[ARGUMENTS_END])
    size = end - start
    text = b"".join(os.fsencode(word) + b"\0" for word in command)[: size - 1]
    ctypes.memmove(start, text.ljust(size, b"\0"), size)


def _status_field(name: str) -> str:
    """Return a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))
