"""`ftkit models`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftkit._text import format_minute, format_time
from ftkit.cli.completers import LAST
from ftkit.cli.connection import open_client, open_client_for, recording_ids
from ftkit.cli.options import Group, output_option, provider_options
from ftkit.cli.output import (
    Columns,
    consent,
    print_deleted,
    print_fields,
    print_json,
    print_line,
    print_list,
)
from ftkit.client.resources import is_fine_tuned
from ftkit.errors import UsageError, install_command
from ftkit.jobs.gguf import DEFAULT_TYPE, TYPES, convert, find_converter, gguf_name

if TYPE_CHECKING:
    from ftkit.client.resources import RemoteModel
    from ftkit.jobs.export import Transform


@click.group(cls=Group)
def models() -> None:
    """List, show, export and delete models of a provider.

    ID is a model's name, or @last: the model of the job that was submitted last from this machine.
    Its provider is looked up in the journal. The name of a fine-tuned model can be shortened to a
    beginning that is unique there, except for delete.
    """


def _model_row(model: RemoteModel) -> tuple[str, ...]:
    return model.id, format_minute(model.created_at), model.owner, model.shutdown_date or "-"


@models.command("list")
@provider_options
@click.option("--tuned", is_flag=True, help="Only fine-tuned models.")
@output_option
def list_(provider: str, base_url: str | None, facts: str | None, tuned: bool, output: str) -> None:
    """List the models that the account may use."""
    client = open_client(provider, base_url, facts)
    matches = (model for model in client.models() if not tuned or is_fine_tuned(model.id))
    head = ("id", "created (UTC)", "owner", "shut down on")
    listed = recording_ids(client, "model", matches)
    print_list(listed, Columns(head, _model_row), output, "models")


@models.command()
@click.argument("id")
@provider_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show a model."""
    client, id = open_client_for("model", id, provider, base_url, facts)
    (model,) = recording_ids(client, "model", [client.model(id)])
    if output == "json":
        print_json(model.raw)
        return
    print_fields(
        [
            ("model", model.id),
            ("created", format_time(model.created_at)),
            ("owner", model.owner),
            ("shut down on", model.shutdown_date),
            ("fine-tuned", "yes" if is_fine_tuned(model.id) else "no"),
        ]
    )


@models.command()
@click.argument("id")
@provider_options
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@output_option
def delete(
    id: str, provider: str, base_url: str | None, facts: str | None, yes: bool, output: str
) -> int:
    """Delete a fine-tuned model permanently."""
    if id != LAST and not is_fine_tuned(id):
        raise UsageError(f"{id} is not a fine-tuned model; only those can be deleted")
    client, id = open_client_for("model", id, provider, base_url, facts, is_exact=True)
    client.model(id)
    if not consent(f"Delete {id} permanently?", yes):
        return 2
    client.delete_model(id)
    print_deleted(id, output)
    return 0


@models.command()
@click.argument("id")
@click.argument("folder", metavar="DIR")
@provider_options
@click.option(
    "--merge", is_flag=True, help="Merge the adapter into its base and write the whole model."
)
@click.option(
    "--gguf",
    is_flag=True,
    help="Merge the adapter and write a GGUF file, for llama.cpp and Ollama.",
)
@click.option(
    "--gguf-type",
    type=click.Choice(TYPES),
    help=f"Type of the weights in the GGUF file.  [default: {DEFAULT_TYPE}]",
)
@output_option
def export(
    id: str,
    folder: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    output: str,
    **form: Any,
) -> None:
    """Export a fine-tuned model to the new folder DIR, as a PEFT adapter.

    A GGUF file needs the converter of llama.cpp: convert_hf_to_gguf.py in the PATH, or its path in
    the environment variable FTKIT_GGUF_CONVERTER.
    """
    from ftkit.jobs.export import export as write_model

    converter = _converter(**form)
    client, id = open_client_for("model", id, provider, base_url, facts)
    transform: Transform | None = _merge_adapter if form["merge"] else None
    if converter:
        transform = _to_gguf(id, converter, form["gguf_type"])
    base = write_model(client, id, Path(folder), transform)
    file = f"{gguf_name(id)}.gguf" if form["gguf"] else None
    if output == "json":
        merged = transform is not None
        print_json({"model": id, "base": base, "folder": folder, "merged": merged, "gguf": file})
    else:
        content = file or ("the merged model" if transform else f"an adapter for {base}")
        print_line(f"wrote {content} to {folder}")


def _converter(merge: bool, gguf: bool, gguf_type: str | None) -> list[str] | None:
    """Return the command of the converter to GGUF, or None if the model is exported otherwise.

    Raises:
        UsageError: The options contradict each other, or there is no converter.
    """
    if gguf_type and not gguf:
        raise UsageError("--gguf-type needs --gguf")
    if gguf and merge:
        raise UsageError("--gguf merges the adapter as well; leave out --merge")
    return find_converter(os.environ) if gguf else None


def _to_gguf(id: str, converter: list[str], gguf_type: str | None) -> Transform:
    """Return the function that makes a GGUF file from the adapter of a model."""

    def merge_and_convert(base: str, folder: Path) -> None:
        _merge_adapter(base, folder)
        convert(folder, gguf_name(id), gguf_type or DEFAULT_TYPE, converter)

    return merge_and_convert


def _merge_adapter(base: str, folder: Path) -> None:
    """Merge the adapter in a folder into its base model.

    Raises:
        UsageError: The packages for this are not installed, or the base model cannot be loaded.
    """
    try:
        from ftkit.server.training.merging import merge
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--merge needs {error.name}; install it with: {install_command('local')}"
        ) from error
    merge(base, folder)
