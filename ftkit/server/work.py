"""The process of one job: `python -m ftkit.server.work check|train FOLDER JOB`.

It reads its orders from standard input, and ends at once when that is closed, since then its server is gone.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ftkit.server.folder import Folder
from ftkit.server.store import Store


class Orders(threading.Thread):
    """What the server wants of this process."""

    def __init__(self) -> None:
        super().__init__(name="orders", daemon=True)
        self.pause = threading.Event()

    def run(self) -> None:
        # Not `sys.stdin.buffer`: this thread would hold its lock while it waits, and an interpreter that ends then aborts.
        with open(0, "rb", buffering=0, closefd=False) as orders:
            for line in orders:
                if line.strip() == b"pause":
                    self.pause.set()
        os._exit(1)


def main() -> None:
    """Do what the command line says."""
    task, root, id = sys.argv[1:]
    orders = Orders()
    orders.start()
    folder = Folder(Path(root))
    # What is lost with the power is trained again; only a kill must lose nothing here.
    store = Store(folder.database, durable=task == "check")
    job = store.get("job", id)
    if job is None:
        raise SystemExit(f"no such job: {id}")
    if task == "check":
        from ftkit.server.checking import check

        check(store, folder, job)
    else:
        from ftkit.server.training.run import train

        train(store, folder, job, orders.pause)


if __name__ == "__main__":
    main()
