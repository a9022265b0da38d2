"""`ftkit files`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftkit._text import format_minute, format_time
from ftkit.cli.connection import (
    open_client,
    open_client_for,
    open_journal,
    record_ids,
    recording_ids,
)
from ftkit.cli.inputs import must_be_plain, uploading
from ftkit.cli.options import Group, output_option, provider_options
from ftkit.cli.output import (
    Columns,
    consent,
    first,
    print_deleted,
    print_fields,
    print_json,
    print_line,
    print_list,
    print_note,
)
from ftkit.cli.terminal import write_bytes
from ftkit.errors import FileError, UsageError, os_error_message

if TYPE_CHECKING:
    from ftkit.client.resources import RemoteFile


@click.group(cls=Group)
def files() -> None:
    """List, upload, download and delete files of a provider.

    ID is a file's id, or @last: the file that was uploaded last from this machine. Its provider is
    looked up in the journal. An id can be shortened to a beginning that is unique there, except for
    delete.
    """


def _file_row(file: RemoteFile) -> tuple[str, ...]:
    created = format_minute(file.created_at)
    return file.id, f"{file.size:,}", created, file.purpose, file.status or "-", file.name


@files.command("list")
@provider_options
@click.option(
    "--purpose", metavar="NAME", default="", help="Only files with this purpose, e.g. fine-tune."
)
@click.option("--limit", "-n", type=click.IntRange(1), metavar="N", help="Maximum number of files.")
@output_option
def list_(
    provider: str,
    base_url: str | None,
    facts: str | None,
    purpose: str,
    limit: int | None,
    output: str,
) -> None:
    """List files, newest first."""
    client = open_client(provider, base_url, facts)
    items = recording_ids(client, "file", first(client.files(purpose), limit))
    head = ("id", "bytes", "created (UTC)", "purpose", "status", "name")
    print_list(items, Columns(head, _file_row), output, "files")


@files.command()
@click.argument("path")
@provider_options
@output_option
def upload(path: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Upload a file for fine-tuning, unless the provider already has its content."""
    from ftkit.jobs.uploads import Uploader, hash_file

    must_be_plain(path)
    client = open_client(provider, base_url, facts)
    sha256 = hash_file(path)
    with uploading([path]) as progress:
        uploader = Uploader(client, open_journal(), say=print_note, progress=progress)
        id = uploader.upload(path, sha256)
    record_ids(client, "file", [id])
    if output == "json":
        print_json(client.file(id).raw)
    else:
        print_line(id)


@files.command()
@click.argument("id")
@provider_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show a file's name, size and status."""
    client, id = open_client_for("file", id, provider, base_url, facts)
    (file,) = recording_ids(client, "file", [client.file(id)])
    if output == "json":
        print_json(file.raw)
        return
    print_fields(
        [
            ("file", file.id),
            ("name", file.name),
            ("size", f"{file.size:,} bytes"),
            ("created", format_time(file.created_at)),
            ("purpose", file.purpose),
            ("status", file.status),
            ("details", str(file.raw.get("status_details") or "")),
        ]
    )


@files.command()
@click.argument("id")
@click.argument("path", required=False)
@provider_options
@output_option
def download(
    id: str, path: str | None, provider: str, base_url: str | None, facts: str | None, output: str
) -> None:
    """Download a file to PATH, or to standard output."""
    if path is None and output == "json":
        raise UsageError(
            "--output json needs a PATH, because the content would go to standard output too"
        )
    client, id = open_client_for("file", id, provider, base_url, facts)
    if path is None:
        write_bytes(client.content(id))
        return
    if os.path.exists(path):
        raise UsageError(f"{path} already exists; choose another path, or remove it")
    try:
        client.download(id, Path(path))
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error
    if output == "json":
        print_json({"id": id, "path": path, "bytes": os.path.getsize(path)})
    else:
        print_note(f"wrote {path}")


@files.command()
@click.argument("id")
@provider_options
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@output_option
def delete(
    id: str, provider: str, base_url: str | None, facts: str | None, yes: bool, output: str
) -> int:
    """Delete a file of the provider."""
    client, id = open_client_for("file", id, provider, base_url, facts, is_exact=True)
    file = client.file(id)
    if not consent(f"Delete {id} ({file.name!r}, {file.size:,} bytes)?", yes):
        return 2
    client.delete_file(id)
    print_deleted(id, output)
    return 0
