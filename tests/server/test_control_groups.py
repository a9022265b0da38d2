"""Memory of Linux's control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.server import control_groups
from ftkit.server.control_groups import GroupMemory, group_memory


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        (
            "0::/ftkit.service\n",
            {
                "ftkit.service/memory.max": "4000",
                "ftkit.service/memory.current": "1500",
                "ftkit.service/memory.stat": "anon 900\ninactive_file 500\n",
                "memory.max": "max",
                "memory.current": "9000",
                "memory.stat": "anon 9000\n",
            },
        ),
        (
            "4:memory:/ftkit\n",
            {
                "memory/ftkit/memory.limit_in_bytes": "4000",
                "memory/ftkit/memory.usage_in_bytes": "1500",
                "memory/ftkit/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "9000",
                "memory/memory.stat": "total_inactive_file 0\n",
            },
        ),
    ],
)
def test_the_memory_is_that_of_the_group_with_the_lowest_limit(
    membership: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(control_groups, "MOUNT_POINT", tmp_path / "groups")
    assert group_memory() is None
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert group_memory() == GroupMemory(limit=4000, used=1000)
