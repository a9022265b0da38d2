"""Worker process of one job: `python -m ftkit.server.worker check|train DATA_DIR JOB`.

It reads commands from standard input, and exits when that is closed, because its server is gone.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.objects import JobObject


class CommandReader(threading.Thread):
    """Thread that reads the server's commands from standard input.

    Attributes:
        pause: Set once the server has asked to pause the job.
    """

    def __init__(self) -> None:
        super().__init__(name="commands", daemon=True)
        self.pause = threading.Event()

    def run(self) -> None:
        """Read commands until the input is closed, then exit the process."""
        # Not `sys.stdin.buffer`: the waiting thread would hold its lock, and the interpreter aborts
        # if it finds that lock held at exit.
        with open(0, "rb", buffering=0, closefd=False) as commands:
            for line in commands:
                if line.strip() == b"pause":
                    self.pause.set()
        os._exit(1)


def main() -> None:
    """Run the task that the command line names."""
    task, root, id = sys.argv[1:]
    commands = CommandReader()
    commands.start()
    folder = Folder(Path(root))
    # Training steps that are lost with the power are repeated, so they need not be durable.
    database = Database(folder.database, durable=task == "check")
    job = database.get(JobObject, id)
    if job is None:
        raise SystemExit(f"no such job: {id}")
    if task == "check":
        from ftkit.server.checking import check

        check(database, folder, job)
    else:
        from ftkit.server.training.run import train

        train(database, folder, job, commands.pause)


if __name__ == "__main__":
    main()
