"""What a run of `ftkit archive` has done, and what `ftkit archive verify` has found: for people, and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from ftkit._text import printable
from ftkit.archive.manifest import Missing, counted
from ftkit.archive.sync import Saved
from ftkit.archive.verify import Verified
from ftkit.report.columns import fields

SHOWN = 10
"""Paths that are named for people; JSON has all."""


def render_saved_text(saved: Saved) -> str:
    """A run, for people."""
    manifest = saved.manifest
    again = saved.fetched_jobs - saved.new_jobs
    rows = [
        ("account", ", ".join([manifest.account, *manifest.organizations])),
        (
            "jobs",
            f"{len(manifest.jobs):,}, {saved.new_jobs:,} of them new{f', {again:,} looked at again' if again else ''}",
        ),
        ("left out", _left_out(saved)),
        (
            "files",
            f"{len(manifest.contents):,} with content, {saved.fetched_files:,} asked for now",
        ),
        (
            "size",
            f"{sum(each.size for each in manifest.files.values()):,} bytes in {len(manifest.files):,} files",
        ),
        (
            "replaced",
            f"{len(saved.replaced):,} files were not as the manifest says, and are now"
            if saved.replaced
            else "",
        ),
        ("missing", _counted(manifest.missing)),
    ]
    damaged = _named("differs from the manifest, and this run did not get it again", saved.damaged)
    return f"{printable(str(saved.folder))}\n{fields(rows)}{damaged}"


def _left_out(saved: Saved) -> str:
    """The jobs at the service that were not asked for, and why; empty where there are none."""
    why = ", ".join(
        f"--{name}" for name in ("since", "status") if getattr(saved.wanted, name) is not None
    )
    return (
        f"{saved.left_out_jobs:,} of {saved.listed_jobs:,} jobs at the service ({why})"
        if saved.left_out_jobs
        else ""
    )


def render_saved_json(saved: Saved) -> str:
    """A run, for programs."""
    manifest = saved.manifest
    return _json(
        {
            "folder": str(saved.folder),
            "account": manifest.account,
            "organizations": manifest.organizations,
            "date": manifest.date,
            "jobs": len(manifest.jobs),
            "left_out_jobs": saved.left_out_jobs,
            "new_jobs": saved.new_jobs,
            "fetched_jobs": saved.fetched_jobs,
            "contents": len(manifest.contents),
            "fetched_files": saved.fetched_files,
            "files": len(manifest.files),
            "bytes": sum(each.size for each in manifest.files.values()),
            "replaced": list(saved.replaced),
            "damaged": list(saved.damaged),
            "missing": msgspec.to_builtins(manifest.missing),
        }
    )


def render_verified_text(found: Verified) -> str:
    """What verifying has found, for people."""
    manifest = found.manifest
    intact = len(manifest.files.keys() - {*found.changed, *found.gone})
    rows = [
        ("account", ", ".join([manifest.account, *manifest.organizations])),
        ("archived", manifest.date),
        ("jobs", f"{len(manifest.jobs):,}"),
        ("intact", f"{intact:,} of {len(manifest.files):,} files, {found.bytes:,} bytes"),
        ("missing", _counted(manifest.missing)),
        (
            "interrupted",
            "the last run did not come to its end; run it again" if found.interrupted else "",
        ),
    ]
    return (
        fields(rows)
        + _named("changed", found.changed)
        + _named("gone", found.gone)
        + _named("not in the manifest", found.unknown)
    )


def render_verified_json(found: Verified) -> str:
    """What verifying has found, for programs."""
    manifest = found.manifest
    return _json(
        {
            "ok": found.ok,
            "account": manifest.account,
            "organizations": manifest.organizations,
            "date": manifest.date,
            "jobs": len(manifest.jobs),
            "files": len(manifest.files),
            "intact_bytes": found.bytes,
            "changed": list(found.changed),
            "gone": list(found.gone),
            "unknown": list(found.unknown),
            "interrupted": found.interrupted,
            "missing": msgspec.to_builtins(manifest.missing),
        }
    )


def _counted(missing: Sequence[Missing]) -> str:
    return f"{counted(missing)}; see manifest.json" if missing else "nothing"


def _named(what: str, paths: Sequence[str]) -> str:
    shown = "".join(f"  {what}: {printable(path)}\n" for path in paths[:SHOWN])
    return shown + (f"  {what}: {len(paths) - SHOWN:,} more\n" if len(paths) > SHOWN else "")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
