"""`ftkit compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ftkit._atomic import check_writable
from ftkit.cli import print_text
from ftkit.cli.connection import open_client, resolve_model
from ftkit.cli.inputs import one_file
from ftkit.cli.options import Configured, Temperature, option, output_option, service_options
from ftkit.cli.output import consent
from ftkit.errors import FileError, UsageError

if TYPE_CHECKING:
    from ftkit.catalog import Catalog
    from ftkit.compare.ask import Asking
    from ftkit.compare.recordings import Prompt, Recorded

ENDS = "Exit codes: 0 compared, 2 ftkit could not do it, 130 interrupted."
SAVES = ("--save-a", "--save-b")
ASKING = (
    "provider",
    "base_url",
    "provider_b",
    "base_url_b",
    "temperature",
    "max_tokens",
    "concurrency",
)
FILES = (".jsonl", ".jsonl.gz", ".json")


@click.command(cls=Configured, epilog=ENDS)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--prompts",
    required=True,
    metavar="FILE|ARCHIVE",
    help="Chat examples, recorded answers, or an archive.",
)
@service_options
@option("--provider-b", metavar="NAME", help="The service of B, if it is another.")
@option("--base-url-b", metavar="URL", help="The address of B's service.")
@click.option(
    "--system", default="", metavar="TEXT", help="A system message for prompts that have none."
)
@click.option(
    "--temperature",
    type=Temperature(),
    default="0",
    show_default=True,
    help="0 to 2, or none: the service's own.",
)
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", help="End each answer after so many."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N prompts.")
@click.option(
    "--group-by",
    default="",
    metavar="PATH",
    help="Compare groups of prompts, e.g. by metadata.topic.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Requests at a time.",
)
@click.option(
    "--save-a",
    metavar="FILE",
    help="Keep A's answers there, and ask for none that is there already.",
)
@click.option("--save-b", metavar="FILE", help="The same for B.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the bootstrap.",
)
@click.option(
    "--html", "page", metavar="FILE", help="Also write a page with the pairs that differ most."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
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
    yes: bool,
    output: str,
    **parameters: Any,
) -> int:
    """Hold A and B against each other, and against the reference where the prompts have one.

    Each is a model at a service (@last: of the job submitted last), a file of recorded answers (.jsonl, .jsonl.gz), or a job of an
    archive that has some (DIR/JOB). Every figure comes with its interval.
    """
    from ftkit.catalog import load_catalog
    from ftkit.compare.comparison import check_groups
    from ftkit.compare.comparison import compare as held
    from ftkit.compare.measures import check_sacrebleu
    from ftkit.compare.recordings import look, read_prompts
    from ftkit.report.compare import Sides, render_compare_json, render_compare_text
    from ftkit.report.compare_page import write_page

    named, source = (_recorded_in(a), _recorded_in(b)), _recorded_in(prompts)
    _check_places(source, named, (save_a, save_b), page)
    catalog = load_catalog(facts)
    check_sacrebleu()
    with one_file(source) as (path, name):
        asked = read_prompts(path, name, limit, system)
    if group_by:
        check_groups([look(prompt.line, group_by) for prompt in asked])
    given = {name: value for name, value in parameters.items() if value is not None}
    there = base_url_b or (None if provider_b else base_url)
    places = (provider, base_url, facts), (provider_b or provider, there, facts)
    sides = _sides(named, asked, places, given, (save_a, save_b))
    if all(isinstance(side, list) for side in sides):
        _check_idle(click.get_current_context())
    if not _agreed(sides, catalog, parameters["max_tokens"], yes):
        click.echo("ftkit: nothing was sent", err=True)
        return 2
    answers = [_answers(side, asked, concurrency) for side in sides]
    found = held(
        asked,
        *([one.answer if one else None for one in side] for side in answers),
        group_by=group_by,
        encoding=_encoding(answers, catalog),
        seed=seed,
    )
    names = Sides(_title(a, answers[0]), _title(b, answers[1]), name)
    print_text((render_compare_json if output == "json" else render_compare_text)(found, names))
    if page is not None:
        write_page(found, names, page)
    return 0


def _check_places(
    prompts: str, sides: Sequence[str], saves: Sequence[str | None], page: str | None
) -> None:
    """Raise `UsageError` where what is to be written would replace what is read, or what else is written.

    The answers of one side may be kept in the file that is the other: they are only added to it.
    """
    kept = [(option, path) for option, path in zip(SAVES, saves, strict=True) if path]
    odd = next(((option, path) for option, path in kept if path.endswith(".gz")), None)
    if odd:
        raise UsageError(
            f"{odd[0]} {odd[1]}: answers are kept as plain text; name a file without .gz"
        )
    kept += [(option, f"{path}.part") for option, path in kept]
    read = [(name, path) for name, path in zip("AB", sides, strict=True) if os.path.isfile(path)]
    _check_apart([("--prompts", prompts), *kept])
    if page is not None:
        check_writable(page)
        for other in [("--prompts", prompts), *kept, *read]:
            _check_apart([other, ("--html", page)])
    for _, path in kept:
        check_writable(path)


def _check_apart(files: Sequence[tuple[str, str]]) -> None:
    taken: dict[str, str] = {}
    for name, path in files:
        other = taken.setdefault(os.path.realpath(path), name)
        if other != name:
            raise UsageError(f"{other} and {name} need a file each, and {path} is both")


def _recorded_in(place: str) -> str:
    """The file with the recorded answers of a job of an archive, or of the only one there that has some; else `place` itself."""
    if os.path.isfile(place):
        return place
    from ftkit.archive.layout import ANSWERS, MANIFEST, resolve
    from ftkit.archive.read import find_job, open_archive

    if os.path.isfile(os.path.join(place, MANIFEST)):
        jobs = [
            each
            for each in open_archive(place, lenient=True).jobs()
            if each.archive.has(f"{each.path}/{ANSWERS}")
        ]
        if len(jobs) > 1:
            raise UsageError(
                f"{place} has answers of {len(jobs):,} jobs; name one, as {os.path.join(place, jobs[0].id)}"
            )
        job = jobs[0] if jobs else None
    else:
        job = find_job(place)
        if job is None:
            return place
    if job is None or not job.archive.has(f"{job.path}/{ANSWERS}"):
        raise FileError(
            f"{place} has no recorded answers; `ftkit archive` records them with --prompts or --sample"
        )
    return str(resolve(job.archive.folder, f"{job.path}/{ANSWERS}"))


def _sides(
    named: Sequence[str],
    prompts: list[Prompt],
    places: Sequence[tuple[str, str | None, str | None]],
    parameters: dict[str, Any],
    saves: Sequence[str | None],
) -> list[Asking | list[Recorded | None]]:
    """For A and B the recorded answers of a file, or what there is to ask a model: nothing that a file on the other side lacks."""
    from ftkit.compare.ask import Asking
    from ftkit.compare.comparison import UNANSWERED
    from ftkit.compare.recordings import Keeper, match, read_recorded

    files = {
        side: match(prompts, read_recorded(side))
        for side, save, option in zip(named, saves, SAVES, strict=True)
        if _is_file(side, save, option)
    }
    some = [
        prompt for prompt, *found in zip(prompts, *files.values(), strict=True) if None not in found
    ]
    if not some:
        raise UsageError(UNANSWERED)

    sides: list[Asking | list[Recorded | None]] = []
    for side, place, save in zip(named, places, saves, strict=True):
        if side in files:
            sides.append(files[side])
            continue
        client = open_client(*place)
        sides.append(
            Asking(
                client,
                resolve_model(client, side),
                some,
                parameters,
                Keeper(save) if save else None,
            )
        )
    return sides


def _check_idle(context: click.Context) -> None:
    """Raise `UsageError` for options that say how to ask a model, where there is none to ask."""
    given = [
        name for name in ASKING if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is for asking models; A and B are files of recorded answers"
        )


def _is_file(side: str, save: str | None, option: str) -> bool:
    """Whether A or B is a file of recorded answers, rather than a model; raises for a file that is not there, or is to be kept."""
    if not os.path.isfile(side) and not side.endswith(FILES):
        return False
    if save:
        raise UsageError(
            f"{option} keeps the answers of a model, and {side} is a file of recorded answers"
        )
    if not os.path.exists(side):
        raise FileError(
            f"there is no file {side}; A and B are models, or files of recorded answers"
        )
    return True


def _agreed(
    sides: Sequence[Asking | list[Recorded | None]], catalog: Catalog, most: int | None, yes: bool
) -> bool:
    """Say what there is to ask and what that costs, and whether to go on."""
    from ftkit.compare.cost import bill

    requests = 0
    for name, side in zip("AB", sides, strict=True):
        missing = [] if isinstance(side, list) else side.missing
        if isinstance(side, list) or not missing:
            continue
        cost = bill(missing, side.model, side.client.name, catalog, most)
        click.echo(
            f"  ask {name}  {side.model} at {side.client.provider.title}: {_cost(cost)}", err=True
        )
        requests += len(missing)
    return not requests or consent(f"Send {requests:,} requests?", yes)


def _cost(cost: Any) -> str:
    from ftkit._text import money

    parts = [f"{cost.requests:,} requests"]
    if cost.input_tokens is not None:
        parts.append(f"about {cost.input_tokens:,} tokens in")
    if cost.output_tokens is not None:
        parts.append(f"about {cost.output_tokens:,} out")
    parts.append(
        "cost not known" if cost.usd is None else f"about {money(cost.usd)} ({cost.source})"
    )
    return ", ".join(parts)


def _answers(
    side: Asking | list[Recorded | None], prompts: Sequence[Prompt], concurrency: int
) -> list[Recorded | None]:
    """For each prompt the answer, where there is one."""
    if isinstance(side, list):
        return side
    missing = len(side.missing)
    with _progress(side.model, missing) as told:
        asked = side.ask(concurrency, told)
    for line, why in asked.refused[:10]:
        click.echo(f"ftkit: the prompt of line {line} is left out: {why}", err=True)
    if len(asked.refused) > 10:
        click.echo(f"ftkit: and {len(asked.refused) - 10:,} more", err=True)
    found = dict(zip((prompt.number for prompt in side.prompts), asked.answers, strict=True))
    return [found.get(prompt.number) for prompt in prompts]


@contextmanager
def _progress(model: str, total: int) -> Iterator[Callable[[], object]]:
    """A progress bar on standard error, where that is a terminal."""
    if not total or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"asking {model}".replace("[", r"\["), total=total)
        yield lambda: bar.advance(task)


def _encoding(answers: Sequence[Sequence[Recorded | None]], catalog: Catalog) -> str:
    """The encoding of the first model that is known, so that tokens of both are counted alike; empty where none is."""
    from ftkit.catalog import base_model

    models = {base_model(one.model): None for side in answers for one in side if one}
    return next((catalog.models[model].encoding for model in models if model in catalog.models), "")


def _title(side: str, answers: Sequence[Recorded | None]) -> str:
    """A side's name; of a file also the model that answered, where it tells of one."""
    models = sorted({one.model for one in answers if one and one.model} - {side})
    return f"{side} ({', '.join(models[:3])})" if models else side
