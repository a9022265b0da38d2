"""`ftkit models`."""

from __future__ import annotations

from pathlib import Path

import click

from ftkit.cli import print_text
from ftkit.cli.options import Group, output_option, service_options
from ftkit.cli.service import (
    consent,
    minute,
    open_service,
    print_deleted,
    print_fields,
    print_list,
    print_one,
    when,
)
from ftkit.errors import UsageError


@click.group(cls=Group)
def models() -> None:
    """List, show, export and delete models at the service."""


@models.command("list")
@service_options
@click.option("--tuned", is_flag=True, help="Only fine-tuned models.")
@output_option
def list_(provider: str, base_url: str | None, facts: str | None, tuned: bool, output: str) -> None:
    """List the models that the account may use."""
    found = (
        model
        for model in open_service(provider, base_url, facts).models()
        if not tuned or _is_tuned(model.id)
    )
    head = ("id", "created (UTC)", "owner", "shut down on")
    print_list(
        found,
        head,
        lambda model: (model.id, minute(model.created_at), model.owner, model.shutdown_date or "-"),
        lambda model: model.raw,
        output,
        long=[2, 0],
    )


@models.command()
@click.argument("id")
@service_options
@output_option
def show(id: str, provider: str, base_url: str | None, facts: str | None, output: str) -> None:
    """Show what the service knows of the model ID."""
    model = open_service(provider, base_url, facts).model(id)
    if output == "json":
        print_one(model.raw)
        return
    print_fields(
        [
            ("model", model.id),
            ("created", when(model.created_at)),
            ("owner", model.owner),
            ("shut down on", model.shutdown_date),
            ("fine-tuned", "yes" if _is_tuned(model.id) else "no"),
        ]
    )


@models.command()
@click.argument("id")
@service_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
def delete(
    id: str, provider: str, base_url: str | None, facts: str | None, yes: bool, output: str
) -> int:
    """Delete the fine-tuned model ID for good."""
    if not _is_tuned(id):
        raise UsageError(f"{id} is no fine-tuned model, and those alone can be deleted")
    client = open_service(provider, base_url, facts)
    client.model(id)
    if not consent(f"Delete {id} for good?", yes):
        return 2
    client.delete_model(id)
    print_deleted(id, output)
    return 0


@models.command()
@click.argument("id")
@click.argument("folder", metavar="DIR")
@service_options
@click.option(
    "--merge", is_flag=True, help="Write the whole model, the adapter merged into its base."
)
@output_option
def export(
    id: str,
    folder: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    merge: bool,
    output: str,
) -> None:
    """Write the tuned model ID into the new folder DIR, as a PEFT adapter."""
    from ftkit.jobs.export import export as write

    base = write(
        open_service(provider, base_url, facts), id, Path(folder), _merge if merge else None
    )
    if output == "json":
        print_one({"model": id, "base": base, "folder": folder, "merged": merge})
    else:
        print_text(
            f"written to {folder}: {'the whole model' if merge else f'an adapter for {base}'}\n"
        )


def _merge(base: str, folder: Path) -> None:
    """Merge an adapter into its base model."""
    try:
        from ftkit.server.training.merging import merge
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`merge` needs more packages ({error.name} is missing): pip install 'ftkit[local]'"
        ) from error
    merge(base, folder)


def _is_tuned(id: str) -> bool:
    return id.startswith("ft:") or ".ft-" in id
