"""`ftkit files`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ftkit.cli import print_text
from ftkit.cli.files import must_be_plain, uploading
from ftkit.cli.options import Group, output_option, service_options
from ftkit.cli.service import (
    at_most,
    consent,
    minute,
    open_journal,
    open_service,
    print_deleted,
    print_fields,
    print_list,
    print_one,
    when,
)
from ftkit.errors import FileError, UsageError, os_error_message


@click.group(cls=Group)
def files() -> None:
    """List, upload, fetch and delete files at the service."""


@files.command("list")
@service_options
@click.option("--purpose", metavar="NAME", default="", help="Only files for this, e.g. fine-tune.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
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
    found = open_service(provider, base_url, facts).files(purpose)
    head = ("id", "bytes", "created (UTC)", "purpose", "status", "name")
    print_list(
        at_most(found, limit),
        head,
        lambda file: (
            file.id,
            f"{file.size:,}",
            minute(file.created_at),
            file.purpose,
            file.status or "-",
            file.name,
        ),
        lambda file: file.raw,
        output,
        long=[5],
    )


@files.command()
@click.argument("path")
@service_options
@output_option
def upload(path: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Upload the file at PATH for fine-tuning, unless the service has its content already."""
    from ftkit.jobs.uploads import Uploader, hash_file

    must_be_plain(path)
    client = open_service(provider, base_url, facts)
    sha256 = hash_file(path)
    with uploading([path]) as told:
        id = Uploader(
            client, open_journal(), say=lambda text: click.echo(text, err=True), progress=told
        ).upload(path, sha256)
    if output == "json":
        print_one(client.file(id).raw)
    else:
        print_text(f"{id}\n")


@files.command()
@click.argument("id")
@service_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show what the service knows of the file ID."""
    file = open_service(provider, base_url, facts).file(id)
    if output == "json":
        print_one(file.raw)
        return
    print_fields(
        [
            ("file", file.id),
            ("name", file.name),
            ("size", f"{file.size:,} bytes"),
            ("created", when(file.created_at)),
            ("purpose", file.purpose),
            ("status", file.status),
            ("details", str(file.raw.get("status_details") or "")),
        ]
    )


@files.command()
@click.argument("id")
@click.argument("path", required=False)
@service_options
@output_option
def download(
    id: str, path: str | None, provider: str, base_url: str | None, facts: str | None, output: str
) -> None:
    """Write what is in the file ID to PATH, or to standard output."""
    if path is None and output == "json":
        raise UsageError(
            "--output json needs a PATH: without one, standard output gets what is in the file"
        )
    client = open_service(provider, base_url, facts)
    if path is None:
        sys.stdout.buffer.write(client.content(id))
        return
    if os.path.exists(path):
        raise UsageError(f"{path} is there already; name another, or remove it")
    try:
        client.download(id, Path(path))
    except OSError as error:
        raise FileError(f"cannot write {path}: {os_error_message(error)}") from error
    if output == "json":
        print_one({"id": id, "path": path, "bytes": os.path.getsize(path)})
    else:
        click.echo(f"written to {path}", err=True)


@files.command()
@click.argument("id")
@service_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
def delete(
    id: str, provider: str, base_url: str | None, facts: str | None, yes: bool, output: str
) -> int:
    """Delete the file ID at the service."""
    client = open_service(provider, base_url, facts)
    file = client.file(id)
    if not consent(f"Delete {file.id} ({file.name}, {file.size:,} bytes)?", yes):
        return 2
    client.delete_file(id)
    print_deleted(id, output)
    return 0
