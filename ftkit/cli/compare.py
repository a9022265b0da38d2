"""`ftkit compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ftkit._atomic import check_writable
from ftkit.cli.compare_requests import collect_answers, confirm_requests
from ftkit.cli.connection import CONNECTION, open_client_for
from ftkit.cli.inputs import one_file
from ftkit.cli.options import (
    Configured,
    Temperature,
    TokenLimit,
    open_option,
    option,
    output_option,
    provider_options,
)
from ftkit.cli.output import print_warning, terminal_width
from ftkit.cli.pages import check_page_file, command_line, origin, write_page
from ftkit.cli.terminal import write, write_json
from ftkit.errors import FileError, UsageError

if TYPE_CHECKING:
    from ftkit.catalog import Catalog
    from ftkit.client.client import Client
    from ftkit.compare.recordings import Prompt, Recording
    from ftkit.compare.sides import Side

EPILOG = "Exit codes: 0 compared, 2 error, 130 interrupted."

CONNECTION_B = ("provider_b", "base_url_b")
"""Parameters that choose the account of B, besides those of A."""

SAVE_OPTIONS = ("--save-a", "--save-b")

MODEL_PARAMETERS = (
    "provider",
    "base_url",
    "provider_b",
    "base_url_b",
    "temperature",
    "max_tokens",
    "concurrency",
)
"""Parameters that make sense only if A or B is a model."""


@click.command(cls=Configured, epilog=EPILOG)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--prompts",
    required=True,
    metavar="FILE|ARCHIVE",
    help="Prompts: chat examples, recorded answers, or an archive with recorded answers.",
)
@provider_options
@option("--provider-b", metavar="NAME", help="Provider of B, if it differs.")
@option("--base-url-b", metavar="URL", help="Base URL of B's API, if it differs.")
@click.option(
    "--system", default="", metavar="TEXT", help="System message of prompts that have none."
)
@click.option(
    "--temperature",
    type=Temperature(),
    metavar="X|none",
    default="0",
    show_default=True,
    help="Sampling temperature from 0 to 2, or none for the provider's default.",
)
@click.option(
    "--max-tokens",
    type=TokenLimit(),
    metavar="N|none",
    help="Maximum number of tokens per answer, or none for no limit.  [default: 4 times the longest"
    " reference, but at least 512; none above 4,096]",
)
@click.option(
    "--limit", "-n", type=click.IntRange(1), metavar="N", help="Use only the first N prompts."
)
@click.option(
    "--group-by",
    default="",
    metavar="PATH",
    help="Also compare the groups of prompts with equal values at PATH, such as metadata.topic.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Maximum number of concurrent requests.",
)
@click.option(
    "--save-a", metavar="FILE", help="Save A's answers to FILE, and reuse the answers in it."
)
@click.option(
    "--save-b", metavar="FILE", help="Save B's answers to FILE, and reuse the answers in it."
)
@click.option(
    "--bootstrap-seed",
    "seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Bootstrap seed.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    help="Also write an HTML page: the verdict, the figures and pairs of answers.",
)
@open_option
@click.option("--yes", "-y", is_flag=True, help="Skip the confirmation prompt.")
@output_option
def compare(
    a: str,
    b: str,
    prompts: str,
    provider: str,
    base_url: str | None,
    facts: str | None,
    provider_b: str | None,
    base_url_b: str | None,
    system: str,
    limit: int | None,
    group_by: str,
    concurrency: int,
    save_a: str | None,
    save_b: str | None,
    seed: int,
    page: str | None,
    opens: bool,
    yes: bool,
    output: str,
    **parameters: Any,
) -> int:
    """Compare two models, or recorded answers, on the same prompts.

    A and B are models (@last is the model of the job submitted last), files of recorded answers
    (.jsonl, .jsonl.gz), or jobs of an archive with recorded answers (DIR/JOB). Their answers are
    also compared with the reference, if the prompts have one. Every figure has a confidence
    interval.
    """
    from ftkit.catalog import load_catalog
    from ftkit.compare.compare import compare_recordings
    from ftkit.compare.comparison import check_groups
    from ftkit.compare.measures import check_sacrebleu
    from ftkit.compare.recordings import lock_all, read_prompts
    from ftkit.report.compare import Sides, render_compare_json, render_compare_text
    from ftkit.report.compare_page import Origin, render_compare_html

    if opens and page is None:
        raise UsageError("--open needs --html")
    names, source = (_recordings_in(a), _recordings_in(b)), _recordings_in(prompts)
    saves = (save_a, save_b)
    _check_files([("--prompts", source), ("--facts", facts)], names, saves, page)
    catalog = load_catalog(facts)
    check_sacrebleu()
    with one_file(source) as (path, source_name):
        all_prompts = read_prompts(path, source_name, limit, system)
    if group_by:
        check_groups(all_prompts, group_by)
    # Without its own base URL, B is at A's address, unless it has another provider.
    url_b = base_url_b or (None if provider_b else base_url)
    connections = (provider, base_url, facts), (provider_b or provider, url_b, facts)
    request = {name: value for name, value in parameters.items() if value is not None}
    click.get_current_context().with_resource(lock_all(saves, print_warning))
    sides = _sides(names, all_prompts, connections, request, saves, catalog)
    if all(isinstance(side, list) for side in sides):
        _reject_model_options(click.get_current_context())
    if not confirm_requests(sides, catalog, yes):
        print_warning("nothing was sent")
        return 2
    answers = [collect_answers(side, all_prompts, concurrency) for side in sides]
    result = compare_recordings(all_prompts, answers, group_by=group_by, seed=seed, catalog=catalog)
    titles = Sides(_title(a, answers[0]), _title(b, answers[1]), source_name)
    if output == "json":
        write_json(render_compare_json(result, titles))
    else:
        write(render_compare_text(result, titles, terminal_width()))
    if page is not None:
        made_by = Origin(command_line(), origin())
        write_page(page, render_compare_html(result, titles, made_by), opens)
    return 0


def _check_files(
    read: Sequence[tuple[str, str | None]],
    sides: Sequence[str],
    saves: Sequence[str | None],
    page: str | None,
) -> None:
    """Raise `UsageError` if an output would replace an input or another output.

    The answers of one side may be saved to the file that is the other side, because they are only
    added to it.
    """
    from ftkit.compare.sides import check_distinct

    outputs = [(name, path) for name, path in zip(SAVE_OPTIONS, saves, strict=True) if path]
    for name, path in outputs:
        if path.endswith(".gz"):
            raise UsageError(f"{name} {path}: answers are not compressed; use a name without .gz")
    outputs += [(name, f"{path}.part") for name, path in outputs]
    inputs = [(name, path) for name, path in zip("AB", sides, strict=True) if os.path.isfile(path)]
    check_distinct([*read, *outputs])
    if page is not None:
        check_page_file(page)
        for other in [*read, *outputs, *inputs]:
            check_distinct([other, ("--html", page)])
    for _, path in outputs:
        check_writable(path)


def _recordings_in(name: str) -> str:
    """Return the path of the recorded answers in an archive, or `name` itself.

    `name` may be a job of an archive, or an archive with the answers of one job.
    """
    if os.path.isfile(name):
        return name
    from ftkit.archive.access import resolve_file
    from ftkit.archive.layout import ANSWERS, MANIFEST
    from ftkit.archive.read import find_job, open_archive

    if os.path.isfile(os.path.join(name, MANIFEST)):
        jobs = [
            job
            for job in open_archive(name, lenient=True).jobs()
            if job.archive.has(f"{job.path}/{ANSWERS}")
        ]
        if len(jobs) > 1:
            raise UsageError(
                f"{name} has recorded answers of {len(jobs):,} jobs; "
                f"choose one, such as {os.path.join(name, jobs[0].id)}"
            )
        job = jobs[0] if jobs else None
    else:
        job = find_job(name)
        if job is None:
            return name
    if job is None or not job.archive.has(f"{job.path}/{ANSWERS}"):
        raise FileError(
            f"{name} has no recorded answers; record them with `ftkit archive save` "
            "and --prompts or --sample"
        )
    return str(resolve_file(job.archive.folder, f"{job.path}/{ANSWERS}"))


def _sides(
    names: Sequence[str],
    prompts: list[Prompt],
    connections: Sequence[tuple[str, str | None, str | None]],
    parameters: dict[str, Any],
    saves: Sequence[str | None],
    catalog: Catalog,
) -> list[Side]:
    """Return A and B."""
    from ftkit.compare.sides import open_sides

    chosen_by = CONNECTION, (*CONNECTION, *CONNECTION_B)

    def open_model(index: int, name: str) -> tuple[Client, str]:
        return open_client_for("model", name, *connections[index], chosen_by[index])

    return open_sides(names, prompts, saves, parameters, open_model, print_warning, catalog)


def _reject_model_options(context: click.Context) -> None:
    """Raise `UsageError` for options that only make sense for a model."""
    for name in MODEL_PARAMETERS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{name.replace('_', '-')} applies to models, but A and B are recorded answers"
            )


def _title(name: str, recordings: Sequence[Recording | None]) -> str:
    """Return the name of A or B, with the models that answered if it is a file."""
    answered = {recording.model for recording in recordings if recording and recording.model}
    models = sorted(answered - {name})
    return f"{name} ({', '.join(models[:3])})" if models else name
