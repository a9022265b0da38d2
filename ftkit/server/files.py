"""Files, and uploads in parts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ftkit.server.blobs import remove_unused_blob
from ftkit.server.bodies import (
    FILE_BYTES,
    MAX_UPLOAD_PARTS,
    UPLOAD_SECONDS,
    CompleteBody,
    UploadBody,
    check_file_name,
    check_purpose,
    read_expiry,
)
from ftkit.server.database import Database
from ftkit.server.errors import (
    InvalidRequestError,
    TooLargeError,
    limit_reached,
    missing_object,
    too_large,
)
from ftkit.server.folder import WANDB_RUNS, Folder, Writer, remove, sync_folder
from ftkit.server.multipart import Form
from ftkit.server.objects import FINAL, FileObject, JobObject, PartObject, UploadObject, now
from ftkit.server.storage import Allowance, SizeLimit, quota_exceeded

MAX_FILES = 100_000
"""Maximum number of files of a tenant."""

OPEN_UPLOADS = 100
"""Maximum number of pending uploads of a tenant."""

MAX_UPLOADS = 10_000
"""Maximum number of uploads of a tenant, pending or not, until they are deleted."""

PART_COPIES = 2
"""Number of times that each part of an upload can be sent, since a response may be lost."""

KEEP_UPLOAD_SECONDS = 3600
"""Seconds until an upload that expired is deleted."""

CHUNK = 1 << 20
"""Bytes of a part that are read at once."""

NAME_LENGTH = 512
"""Maximum number of characters of a file name; the rest is cut off."""


def create_file(
    database: Database, folder: Folder, tenant: str, form: Form, writer: Writer
) -> FileObject:
    """Create a file from an uploaded form.

    Args:
        database: Database of the service.
        folder: Data folder of the service.
        tenant: Tenant that owns the file.
        form: The form, with the name and the purpose of the file.
        writer: The content of the file.

    Raises:
        InvalidRequestError: The purpose, the name or the expiry is invalid, or the file is empty.
        QuotaError: The files of the tenant, or of all tenants, would exceed a quota.
        LimitReachedError: The tenant has too many files.
    """
    purpose, name = form.fields.get("purpose", ""), (form.file_name or "")[:NAME_LENGTH]
    if not purpose:
        raise InvalidRequestError(
            "Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter"
        )
    check_purpose(purpose)
    check_file_name(name, purpose)
    expiry = read_expiry(form.fields)
    if not writer.size:
        raise InvalidRequestError("The file is empty.", "file", "empty_file")
    writer.finish()
    with database.transaction():
        _check_quota(database, folder, tenant, writer.size)
        seconds = expiry.seconds if expiry else None
        return _add_file(database, folder, tenant, name, purpose, writer, seconds)


def body_allowance(database: Database, folder: Folder, tenant: str) -> Allowance:
    """Return the allowance for the file that a tenant is about to send."""
    remaining = min(_remaining_quotas(database, folder, tenant), default=None)
    if remaining is None:
        return Allowance(folder.disk, tenant)
    room, quota = remaining
    return Allowance(folder.disk, tenant, SizeLimit(room, partial(quota_exceeded, quota)))


def _check_quota(database: Database, folder: Folder, tenant: str, size: int) -> None:
    for room, quota in _remaining_quotas(database, folder, tenant):
        if size > room:
            raise quota_exceeded(quota)


def _remaining_quotas(database: Database, folder: Folder, tenant: str) -> list[tuple[int, int]]:
    """Return the number of bytes that can be added under each quota, and the quota."""
    limits = folder.disk.limits
    quotas = ((limits.tenant, tenant), (limits.total, None))
    return [(quota - database.total_bytes(of), quota) for quota, of in quotas if quota is not None]


def _add_file(
    database: Database,
    folder: Folder,
    tenant: str,
    name: str,
    purpose: str,
    writer: Writer,
    seconds: int | None,
) -> FileObject:
    """Store a content and the file that has it, which expires after some seconds unless None.

    Needs a transaction, see `Folder.keep`.
    """
    if database.count(FileObject, tenant) >= MAX_FILES:
        raise limit_reached(f"This account has {MAX_FILES:,} files already; delete some.")
    blob = folder.keep(writer)
    file = FileObject(
        tenant=tenant, bytes=blob.size, filename=name, purpose=purpose, sha256=blob.sha256
    )
    file.expires_at = None if seconds is None else file.created_at + seconds
    database.add(file)
    return file


def delete_file(database: Database, folder: Folder, tenant: str, id: str) -> None:
    """Delete a file. Jobs that train on it have their own link to its content.

    Raises:
        MissingObjectError: The tenant has no such file.
    """
    with database.transaction():
        file = database.require(FileObject, id, tenant)
        database.remove(FileObject, id)
        for upload in database.with_field(UploadObject, tenant, "$.file.id", id):
            database.remove(UploadObject, upload.id)
    remove_unused_blob(database, folder, file.sha256)
    for kind in ("training", "validation"):
        for job in database.with_field(JobObject, tenant, f"$.{kind}_file", id):
            remove_logs(database, folder, job)


def remove_logs(database: Database, folder: Folder, job: JobObject) -> None:
    """Remove the logs of a finished job unless the tenant still has all files of the job.

    Messages of libraries in `process.log` may quote the files.
    """
    ids = filter(None, (job.training_file, job.validation_file))
    if job.status in FINAL and not all(database.get(FileObject, id) for id in ids):
        folder.log(job.id).unlink(missing_ok=True)
        remove(folder.job(job.id) / WANDB_RUNS)


def begin_upload(database: Database, folder: Folder, tenant: str, body: UploadBody) -> UploadObject:
    """Begin an upload in parts.

    Raises:
        InvalidRequestError: The purpose or the name is invalid.
        TooLargeError: The file would be too large.
        QuotaError: The files of the tenant, or of all tenants, would exceed a quota.
        FullDiskError: The disk has not enough free space.
        LimitReachedError: The tenant has too many pending uploads.
    """
    check_purpose(body.purpose)
    check_file_name(body.filename, body.purpose)
    if body.bytes > FILE_BYTES:
        raise too_large("The file", FILE_BYTES)
    folder.disk.check_free(body.bytes)
    expire_uploads(database, folder)
    upload = UploadObject(
        tenant=tenant,
        bytes=body.bytes,
        filename=body.filename,
        purpose=body.purpose,
        expires_at=now() + UPLOAD_SECONDS,
        file_seconds=body.expires_after.seconds if body.expires_after else None,
    )
    with database.transaction():
        if database.count(UploadObject, tenant, "pending") >= OPEN_UPLOADS:
            raise limit_reached(
                f"{OPEN_UPLOADS} uploads are pending already; complete or cancel some."
            )
        if database.count(UploadObject, tenant) >= MAX_UPLOADS:
            raise limit_reached(f"This account has begun {MAX_UPLOADS:,} uploads; try again later.")
        _check_quota(database, folder, tenant, body.bytes)
        database.add(upload)
    return upload


def pending_upload(database: Database, id: str, tenant: str) -> UploadObject:
    """Return a pending upload.

    Raises:
        MissingObjectError: The tenant has no such upload.
        InvalidRequestError: It is not pending, or has expired.
    """
    upload = database.require(UploadObject, id, tenant)
    if upload.status != "pending":
        raise InvalidRequestError(
            f"Upload {id} is {upload.status}.", "upload_id", "invalid_upload_state"
        )
    if upload.expires_at < now():
        raise InvalidRequestError(f"Upload {id} has expired.", "upload_id", "upload_expired")
    return upload


def part_allowance(database: Database, folder: Folder, tenant: str, id: str) -> Allowance:
    """Return the allowance for the part that a tenant is about to send.

    Raises:
        MissingObjectError: The tenant has no such upload.
        InvalidRequestError: The upload is not pending.
    """
    upload = pending_upload(database, id, tenant)
    room = _part_room(upload, database.children(PartObject, id))
    return Allowance(folder.disk, id, SizeLimit(room, partial(_too_many_bytes, upload)))


def _part_room(upload: UploadObject, parts: list[PartObject]) -> int:
    return PART_COPIES * upload.bytes - sum(part.size for part in parts)


def _too_many_bytes(upload: UploadObject) -> TooLargeError:
    return TooLargeError(
        f"The parts of the upload have more than the {upload.bytes:,} bytes that it was created"
        " with, or were sent too often.",
        code="content_too_large",
    )


def add_part(
    database: Database, folder: Folder, tenant: str, upload: str, writer: Writer
) -> PartObject:
    """Add a part to an upload.

    Raises:
        MissingObjectError: The tenant has no such upload.
        InvalidRequestError: The upload is not pending, or has too many parts.
        TooLargeError: The parts have more bytes than the upload was created with.
    """
    size = writer.finish().size
    part = PartObject(tenant=tenant, parent=upload, upload_id=upload, size=size)
    with database.transaction():
        pending = pending_upload(database, upload, tenant)
        parts = database.children(PartObject, upload)
        if len(parts) >= MAX_UPLOAD_PARTS:
            raise InvalidRequestError(
                f"An upload has at most {MAX_UPLOAD_PARTS:,} parts.", "upload_id", "too_many_parts"
            )
        if size > min(pending.bytes, _part_room(pending, parts)):
            raise _too_many_bytes(pending)
        os.replace(writer.path, folder.part(part.id))
        sync_folder(folder.part(part.id).parent)
        database.add(part)
    return part


def complete_upload(
    database: Database, folder: Folder, tenant: str, id: str, body: CompleteBody
) -> UploadObject:
    """Join the parts of an upload to a file. Repeating the call returns the same file.

    Raises:
        MissingObjectError: The tenant has no such upload, or the upload no such part.
        InvalidRequestError: The upload is not pending, or the size or the checksum is wrong.
        FullDiskError: The disk has not enough free space.
        LimitReachedError: The tenant has too many files.
    """
    completed = database.get(UploadObject, id, tenant)
    if completed and completed.status == "completed":
        return completed
    upload = pending_upload(database, id, tenant)
    _check_parts(database, upload, body)
    paths = [folder.part(part) for part in body.part_ids]
    if body.md5 and _md5(paths) != body.md5.lower():
        raise InvalidRequestError("The parts do not match the md5 checksum.", "md5")
    folder.disk.check_free(upload.bytes)

    def edit(upload: UploadObject) -> None:
        name, purpose, seconds = upload.filename, upload.purpose, upload.file_seconds
        file = _add_file(database, folder, tenant, name, purpose, writer, seconds)
        upload.status, upload.file = "completed", file.public()

    with Writer(folder.temporary()) as writer:
        _join(paths, writer)
        with database.transaction():
            pending_upload(database, id, tenant)
            changed = database.change(UploadObject, id, edit)
    assert changed
    _remove_parts(database, folder, id)
    return changed


def _check_parts(database: Database, upload: UploadObject, body: CompleteBody) -> None:
    sizes = {part.id: part.size for part in database.children(PartObject, upload.id)}
    missing = next((part for part in body.part_ids if part not in sizes), None)
    if missing is not None:
        raise missing_object(PartObject.title, missing, "part_ids")
    if len(set(body.part_ids)) < len(body.part_ids):
        raise InvalidRequestError("A part is named more than once.", "part_ids", "duplicate_part")
    size = sum(sizes[part] for part in body.part_ids)
    if size != upload.bytes:
        raise InvalidRequestError(
            f"The parts have {size:,} bytes, but the upload was created with {upload.bytes:,}.",
            "part_ids",
        )


def _join(paths: list[Path], writer: Writer) -> None:
    """Write the contents of several files one after the other."""
    for data in _read(paths):
        writer.write(data)
    writer.finish()


def _md5(paths: list[Path]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for data in _read(paths):
        digest.update(data)
    return digest.hexdigest()


def _read(paths: list[Path]) -> Iterator[bytes]:
    """Yield the contents of several files one after the other."""
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                yield data


def cancel_upload(database: Database, folder: Folder, tenant: str, id: str) -> UploadObject:
    """Cancel an upload and remove its parts.

    Raises:
        MissingObjectError: The tenant has no such upload.
        InvalidRequestError: It is not pending.
    """
    with database.transaction():
        pending_upload(database, id, tenant)
        changed = database.change(
            UploadObject, id, lambda upload: setattr(upload, "status", "cancelled")
        )
    assert changed
    _remove_parts(database, folder, id)
    return changed


def _remove_parts(database: Database, folder: Folder, upload: str) -> None:
    for part in database.children(PartObject, upload):
        folder.part(part.id).unlink(missing_ok=True)
        database.remove(PartObject, part.id)


def expire_uploads(database: Database, folder: Folder) -> None:
    """End the pending uploads that have expired, and remove their parts."""
    for upload in database.matching(UploadObject, "pending"):
        if upload.expires_at < now():
            database.change(
                UploadObject, upload.id, lambda upload: setattr(upload, "status", "expired")
            )
            _remove_parts(database, folder, upload.id)


def delete_old_uploads(database: Database) -> None:
    """Delete the uploads that ended, some time after they would have expired."""
    for upload in database.matching(UploadObject, "completed", "cancelled", "expired"):
        if upload.expires_at + KEEP_UPLOAD_SECONDS < now():
            database.remove(UploadObject, upload.id)
