"""Commands of ftkit as processes.

A process is forked from a server that has imported ftkit, the SDK and pytest (see `preloaded`), which
takes about 0.7 s of CPU time for each command otherwise. It is a process of its own in every other respect. What a test says
about the start or the end of the interpreter, a terminal or a pipe needs `python -m ftkit`.
"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Mapping
from multiprocessing import forkserver, get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["support.preloaded"])

TIMEOUT = 120.0
"""Seconds after which a command counts as hanging."""


def run_ftkit(
    *arguments: str, input: bytes | str | None = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ftkit` with these arguments in the present folder and environment."""
    data = input.encode() if isinstance(input, str) else input or b""
    with tempfile.TemporaryDirectory(prefix="ftkit-test-") as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(data)
        process = CONTEXT.Process(
            target=_main,
            args=(arguments, {**os.environ, **(env or {})}, os.getcwd(), *map(str, streams)),
        )
        _start_server()
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        out, err = (stream.read_bytes().decode() for stream in streams[1:])
    return subprocess.CompletedProcess(["ftkit", *arguments], code or 0, out, err)


def run_ftkit_in_terminal(
    *arguments: str, input: bytes = b"", columns: int = 80, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `ftkit` on a terminal of this width where `input` is typed; `stdout` is all that it shows."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    process = CONTEXT.Process(
        target=_main, args=(arguments, environment, os.getcwd(), *[os.ttyname(side)] * 3)
    )
    shown: list[bytes] = []
    reader = threading.Thread(target=_read_terminal, args=(main, shown))
    reader.start()
    os.write(main, input)
    try:
        _start_server()
        process.start()
        process.join(TIMEOUT)
        if process.is_alive():
            process.kill()
            process.join()
    finally:
        os.close(side)
        reader.join()
        os.close(main)
    code = process.exitcode
    process.close()
    return subprocess.CompletedProcess(["ftkit", *arguments], code or 0, b"".join(shown).decode())


@functools.cache
def _start_server() -> None:
    """Start the server that forks, with the module path of this process, which not all versions of Python pass on."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _read_terminal(main: int, shown: list[bytes]) -> None:
    try:
        while data := os.read(main, 65536):
            shown.append(data)
    except OSError:  # its other side is closed
        pass


def _main(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: str,
    stdin: str,
    stdout: str,
    stderr: str,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # the environment names it
    for number, (name, path) in enumerate(
        (("stdin", stdin), ("stdout", stdout), ("stderr", stderr))
    ):
        flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(path, flags), number)
        mode = "rb" if name == "stdin" else "wb"
        stream = io.TextIOWrapper(os.fdopen(number, mode, closefd=False), "utf-8")
        setattr(sys, name, stream)
    sys.argv = ["ftkit", *arguments]
    from ftkit.cli import main

    main()
