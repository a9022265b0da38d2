"""Results of `ftkit archive save` and `ftkit archive verify` as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from ftkit._text import printable
from ftkit.archive.manifest import Manifest
from ftkit.archive.missing import Missing, count_missing
from ftkit.archive.sync import SyncResult
from ftkit.archive.verify import VerifyResult
from ftkit.report.columns import fields

MAX_PATHS = 10
"""Maximum number of paths per line label in the text; JSON has all."""


def render_sync_text(result: SyncResult) -> str:
    """Return the result of a sync as text."""
    manifest, new = result.manifest, result.new_jobs
    updated = result.fetched_jobs - new
    jobs = f"{new:,} new" + (f", {updated:,} updated" if updated else "")
    rows = [
        ("account", _account(manifest)),
        ("jobs", f"{len(manifest.jobs):,} ({jobs})"),
        ("left out", _left_out(result)),
        ("files", f"{len(manifest.contents):,} ({result.fetched_files:,} requested in this run)"),
        ("size", f"{_total_size(manifest):,} bytes in {len(manifest.files):,} files"),
        ("replaced", f"{len(result.replaced):,} damaged files" if result.replaced else ""),
        ("missing", _missing(manifest.missing)),
    ]
    damaged = _paths("damaged, and could not be fetched again", result.damaged)
    return f"{printable(str(result.folder))}\n{fields(rows)}{damaged}"


def _left_out(result: SyncResult) -> str:
    if not result.left_out_jobs:
        return ""
    filters = [name for name in ("since", "status") if getattr(result.selection, name) is not None]
    return (
        f"{result.left_out_jobs:,} of {result.listed_jobs:,} jobs (filtered by"
        f" {' and '.join(filters)})"
    )


def render_sync_json(result: SyncResult) -> str:
    """Return the result of a sync as JSON."""
    manifest = result.manifest
    return _json(
        {
            "folder": str(result.folder),
            "account": manifest.account,
            "organizations": manifest.organizations,
            "date": manifest.date,
            "jobs": len(manifest.jobs),
            "left_out_jobs": result.left_out_jobs,
            "new_jobs": result.new_jobs,
            "fetched_jobs": result.fetched_jobs,
            "contents": len(manifest.contents),
            "fetched_files": result.fetched_files,
            "files": len(manifest.files),
            "bytes": _total_size(manifest),
            "replaced": list(result.replaced),
            "damaged": list(result.damaged),
            "missing": msgspec.to_builtins(manifest.missing),
        }
    )


def render_verify_text(result: VerifyResult) -> str:
    """Return the result of an integrity check as text."""
    manifest = result.manifest
    intact = len(manifest.files.keys() - {*result.changed, *result.gone})
    rows = [
        ("account", _account(manifest)),
        ("archived", manifest.date),
        ("jobs", f"{len(manifest.jobs):,}"),
        ("intact", f"{intact:,} of {len(manifest.files):,} files, {result.bytes:,} bytes"),
        ("missing", _missing(manifest.missing)),
        (
            "interrupted",
            "the last run did not finish; run it again" if result.interrupted else "",
        ),
    ]
    return (
        fields(rows)
        + _paths("changed", result.changed)
        + _paths("gone", result.gone)
        + _paths("not in the manifest", result.unknown)
    )


def render_verify_json(result: VerifyResult) -> str:
    """Return the result of an integrity check as JSON."""
    manifest = result.manifest
    return _json(
        {
            "ok": result.ok,
            "account": manifest.account,
            "organizations": manifest.organizations,
            "date": manifest.date,
            "jobs": len(manifest.jobs),
            "files": len(manifest.files),
            "intact_bytes": result.bytes,
            "changed": list(result.changed),
            "gone": list(result.gone),
            "unknown": list(result.unknown),
            "interrupted": result.interrupted,
            "missing": msgspec.to_builtins(manifest.missing),
        }
    )


def _account(manifest: Manifest) -> str:
    return ", ".join([manifest.account, *manifest.organizations])


def _total_size(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())


def _missing(missing: Sequence[Missing]) -> str:
    return f"{count_missing(missing)}; see manifest.json" if missing else "nothing"


def _paths(label: str, paths: Sequence[str]) -> str:
    lines = [f"  {label}: {printable(path)}\n" for path in paths[:MAX_PATHS]]
    if len(paths) > MAX_PATHS:
        lines.append(f"  {label}: {len(paths) - MAX_PATHS:,} more\n")
    return "".join(lines)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
