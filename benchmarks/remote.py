"""Compare reading an object with reading the local file: python benchmarks/remote.py.

moto is the S3, in a process of its own on this machine, so its own time is measured, too: a bare
program reads the object in requests of the same size and does nothing with it. Needs the extra
`remote` and moto[server].
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from compare import HERE, MIB, Program, data_file, describe_machine, run, say

ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.object_storage import (  # type: ignore[import-not-found]  # noqa: E402
    BUCKET,
    running_storage,
)

READ_SCRIPT = """
import sys
from ftkit.dataset.object_store import open_object
with open_object(sys.argv[1]) as stream:
    while stream.read(1 << 20):
        pass
"""

UPLOAD_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.object_storage import Storage
print(Storage({port}).put("data.jsonl", Path(sys.argv[1]).read_bytes()))
"""
"""Run in a process of its own: the least peak that `run` measures is that of this process."""


def programs(file: str, url: str) -> list[Program]:
    """Return the commands to measure."""
    ftkit = [sys.executable, "-m", "ftkit"]
    return [
        Program("read the object", [sys.executable, "-c", READ_SCRIPT, url], (0,)),
        *(
            Program(
                f"{title}, {where}", [*ftkit, *arguments, name, "--workers", processes[0]], (0, 1)
            )
            for title, arguments in (
                ("validate", ["validate", "-q"]),
                ("estimate", ["estimate", "-m", "gpt-4.1-mini-2025-04-14"]),
            )
            for processes in ("1 process", "2 processes")
            for where, name in ((f"file, {processes}", file), (f"object, {processes}", url))
        ),
    ]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", default="100MB", help="Size of the file.  [default: 100MB]")
    parser.add_argument(
        "--repeat", type=int, default=3, help="Runs; the best counts.  [default: 3]"
    )
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()), end="\n\n")
    with (
        tempfile.TemporaryDirectory() as folder,
        data_file(Path(folder), arguments.size, "conversations", keep=False) as file,
        running_storage() as storage,
    ):
        storage.create(BUCKET)
        script = UPLOAD_SCRIPT.format(tests=str(ROOT / "tests"), port=storage.port)
        url = run([sys.executable, "-c", script, str(file)]).output.strip()
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{storage.port}",
        }
        print("| program | wall, s | CPU, s | peak of a process, MiB | of all, MiB |")
        print("|---|---|---|---|---|")
        for program in programs(str(file), url):
            say(program.name)
            best = min(
                (run(program.command, program.good_codes) for _ in range(arguments.repeat)),
                key=lambda result: result.wall,
            )
            print(
                f"| {program.name} | {best.wall:.2f} | {best.cpu:.2f} | {best.peak / MIB:.0f} "
                f"| {best.tree_peak / MIB:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
