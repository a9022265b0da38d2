"""Files and uploads in parts: how they come to be, and how they go."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ftkit.server.bodies import (
    FILE_BYTES,
    PARTS,
    UPLOAD_LIFE,
    CompleteBody,
    UploadBody,
    check_name,
    check_purpose,
)
from ftkit.server.errors import busy, invalid, not_there, too_large
from ftkit.server.folder import Folder, Writer
from ftkit.server.multipart import Form
from ftkit.server.objects import file_object, new_id, now, part_object, upload_object
from ftkit.server.store import Store, Thing

OPEN_UPLOADS = 100
"""Uploads of a tenant that may be under way at once."""

CHUNK = 1 << 20
"""Bytes of a part that are held at once."""

NAME = 512
"""Characters of a file's name that are kept."""


def add(store: Store, folder: Folder, tenant: str, form: Form, writer: Writer) -> dict[str, Any]:
    """Keep the file of a form that was read; raises `Refusal`."""
    purpose, name = form.fields.get("purpose", ""), (form.file_name or "")[:NAME]
    if not purpose:
        raise invalid(
            "Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter"
        )
    check_purpose(purpose)
    check_name(name, purpose)
    if not writer.size:
        raise invalid("The file is empty.", "file", "empty_file")
    writer.end()
    with store.transaction():
        stored = folder.keep(writer)
        return _add(store, tenant, name, stored.size, purpose, stored.sha256)


def _add(
    store: Store, tenant: str, name: str, size: int, purpose: str, sha256: str
) -> dict[str, Any]:
    id = new_id("file-")
    shown = file_object(id, name, size, purpose)
    store.add("file", id, tenant, shown, {"sha256": sha256})
    return shown


def delete(store: Store, folder: Folder, tenant: str, id: str) -> None:
    """Forget a file; jobs that train on it have their own hold on its content."""
    found = store.get("file", id, tenant)
    if found is None:
        raise not_there("File object", id)
    store.remove("file", id)
    release(store, folder, found.kept["sha256"])


def release(store: Store, folder: Folder, sha256: str) -> None:
    """Remove a content that no file holds any more, and no job is going to read."""
    with store.transaction():
        if not store.holds("file", "$.sha256", sha256) and not _awaited(store, sha256):
            folder.blob(sha256).unlink(missing_ok=True)


def _awaited(store: Store, sha256: str) -> bool:
    """Whether a job that was not checked yet is going to read the content; one that was has a hold of its own."""
    jobs = [
        job for status in ("validating_files", "paused") for job in store.with_status("job", status)
    ]
    return any(sha256 in job.kept["files"].values() for job in jobs if not job.kept.get("valid"))


def begin_upload(store: Store, folder: Folder, tenant: str, body: UploadBody) -> dict[str, Any]:
    """Begin an upload in parts; raises `Refusal`."""
    check_purpose(body.purpose)
    check_name(body.filename, body.purpose)
    if body.bytes > FILE_BYTES:
        raise too_large("The file", FILE_BYTES)
    expire(store, folder)
    if store.count("upload", tenant, ("pending",)) >= OPEN_UPLOADS:
        raise busy(f"{OPEN_UPLOADS} uploads are under way already; complete or cancel some.")
    shown = upload_object(new_id("upload_"), body.filename, body.bytes, body.purpose, UPLOAD_LIFE)
    store.add("upload", shown["id"], tenant, shown)
    return shown


def pending(store: Store, id: str, tenant: str) -> Thing:
    """The upload of that id, which takes parts still; raises `Refusal`."""
    found = store.get("upload", id, tenant)
    if found is None:
        raise not_there("Upload", id)
    if found.shown["status"] != "pending":
        raise invalid(
            f"Upload {id} is {found.shown['status']}.", "upload_id", "invalid_upload_state"
        )
    if found.shown["expires_at"] < now():
        raise invalid(f"Upload {id} has expired.", "upload_id", "upload_expired")
    return found


def add_part(
    store: Store, folder: Folder, tenant: str, upload: str, writer: Writer
) -> dict[str, Any]:
    """Keep a part of an upload; raises `Refusal`."""
    pending(store, upload, tenant)
    if len(store.children("part", upload)) >= PARTS:
        raise invalid(f"An upload has at most {PARTS:,} parts.", "upload_id", "too_many_parts")
    id = new_id("part_")
    stored = writer.end()
    os.replace(writer.path, folder.part(id))
    shown = part_object(id, upload)
    store.add("part", id, tenant, shown, {"size": stored.size}, parent=upload)
    return shown


def complete_upload(
    store: Store, folder: Folder, tenant: str, id: str, body: CompleteBody
) -> dict[str, Any]:
    """Make a file of the parts; raises `Refusal`. Once done, the same again gives the same file."""
    done = store.get("upload", id, tenant)
    if done and done.shown["status"] == "completed":
        return done.shown
    upload = pending(store, id, tenant)
    known = {part.id: part.kept["size"] for part in store.children("part", id)}
    missing = next((part for part in body.part_ids if part not in known), None)
    if missing is not None:
        raise not_there("Part", missing, "part_ids")
    size = sum(known[part] for part in body.part_ids)
    if size != upload.shown["bytes"]:
        raise invalid(
            f"The parts have {size:,} bytes; the upload was to have {upload.shown['bytes']:,}.",
            "part_ids",
        )
    paths = [folder.part(part) for part in body.part_ids]
    if body.md5 and _md5(paths) != body.md5.lower():
        raise invalid("The parts do not have that md5 checksum.", "md5")

    def edit(found: Thing) -> None:
        stored = folder.keep(writer)
        file = _add(
            store,
            tenant,
            found.shown["filename"],
            stored.size,
            found.shown["purpose"],
            stored.sha256,
        )
        found.shown |= {"status": "completed", "file": file}

    with Writer(folder.aside()) as writer:
        _join(paths, writer)
        with store.transaction():
            pending(store, id, tenant)
            changed = store.change("upload", id, edit)
    assert changed
    _drop_parts(store, folder, id)
    return changed.shown


def _join(paths: list[Path], writer: Writer) -> None:
    """Write the parts, in that order, to the disk."""
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                writer.write(data)
    writer.end()


def _md5(paths: list[Path]) -> str:
    found = hashlib.md5(usedforsecurity=False)
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def cancel_upload(store: Store, folder: Folder, tenant: str, id: str) -> dict[str, Any]:
    """End an upload, and forget its parts; raises `Refusal`."""
    with store.transaction():
        pending(store, id, tenant)
        changed = store.change("upload", id, lambda found: found.shown.update(status="cancelled"))
    assert changed
    _drop_parts(store, folder, id)
    return changed.shown


def _drop_parts(store: Store, folder: Folder, upload: str) -> None:
    for part in store.children("part", upload):
        folder.part(part.id).unlink(missing_ok=True)
        store.remove("part", part.id)


def expire(store: Store, folder: Folder) -> None:
    """End the uploads whose time is over."""
    for upload in store.with_status("upload", "pending"):
        if upload.shown["expires_at"] < now():
            store.change("upload", upload.id, lambda found: found.shown.update(status="expired"))
            _drop_parts(store, folder, upload.id)
