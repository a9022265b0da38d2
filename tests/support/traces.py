"""Traces of deleted contents on the disk."""

from __future__ import annotations

import os
import time
from pathlib import Path


def traces(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that have a text in their content or in their name."""
    found = []
    for parent, _, names in os.walk(folder):  # not rglob, for which no folder may be removed
        for path in (Path(parent, name) for name in names):
            try:
                if path.is_file() and (text in path.name or text.encode() in path.read_bytes()):
                    found.append(str(path.relative_to(folder)))
            except FileNotFoundError:
                pass  # removed in the meantime
    return found


def wait_until_gone(folder: Path, text: str, seconds: float = 5) -> None:
    """Wait until a text is nowhere below a folder: a process of a cancelled job may be ending."""
    deadline = time.monotonic() + seconds
    while found := traces(folder, text):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def leave_training_data(job: Path, text: str) -> None:
    """Leave a text in the folder of a job as an interrupted training process does."""
    for name in ("checkpoints/checkpoint-1", "adapter-1", "adapter-2.part"):
        (job / name).mkdir(parents=True, exist_ok=True)
        (job / name / "state.bin").write_text(text)
    (job / "process.log").write_text(f"ValueError: {text}")
