"""`ftkit dedupe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ftkit.cli.command import Command
from ftkit.cli.inputs import expand
from ftkit.cli.preparing import check_outputs, check_prepared, preparing, write_prepared
from ftkit.prepare.outputs import check_target, open_outputs

if TYPE_CHECKING:
    from ftkit.prepare.audit import Audit

OUTPUTS = ("output_file", "map", "rejects")
"""Options that name other files to write."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 findings: rows were rejected or not compared with all others, or "
    "--check and there are duplicates, 2 error, 130 interrupted."
)


@click.command(cls=Command, epilog=EXIT_CODES)
@preparing
@click.option(
    "--compare",
    type=click.Choice(["example", "prompt"]),
    default="example",
    show_default=True,
    help="Compare whole examples or their prompts.",
)
@click.option(
    "--near",
    type=float,
    metavar="X",
    help="Also drop near-duplicates: rows whose texts have a Jaccard similarity of at least X, "
    "from 0.7 to 1, such as 0.8.",
)
@click.option(
    "--keep",
    type=click.Choice(["first", "longest"]),
    default="first",
    show_default=True,
    help="Which of several duplicates to keep.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="FILE",
    help="Also drop rows that FILE has. Can be repeated.",
)
@click.option(
    "--conflicts",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="Keep or drop all rows with the same prompt and different answers.",
)
@click.option(
    "--duplicates",
    metavar="FILE",
    help="Write each duplicate, the row that is kept instead, and their similarity to FILE.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit with code 1 if rows would go.")
def dedupe(
    files: Sequence[str],
    compare: Any,
    near: float | None,
    keep: Any,
    against: Sequence[str],
    conflicts: Any,
    duplicates: str | None,
    check: bool,
    **options: Any,
) -> int:
    """Remove duplicates from FILES.

    Rows are equal if they have the same JSON values, whatever their spacing and the order of their
    keys. With --near, rows with similar texts are duplicates, too: each of them is compared with
    the row that is kept instead, and the report has their similarity.
    """
    from ftkit.prepare.dedupe import dedupe as prepare
    from ftkit.prepare.prepared import Prepared
    from ftkit.prepare.spool import LineSpool

    others = expand(against)
    lines = LineSpool()
    audits: list[Audit] = []

    def run(paths: list[str]) -> Prepared:
        prepared = prepare(
            paths,
            compare=compare,
            near=near,
            keep=keep,
            against=others or None,
            conflicts=conflicts,
            save=lambda duplicate: lines.write(msgspec.json.encode(duplicate)),
        )
        audits.append(prepared.audit)
        return prepared

    if check:
        return check_prepared(files, run, "dedupe", {**options, "duplicates": duplicates})
    if duplicates:
        outputs = [duplicates, *(options[name] for name in OUTPUTS if options[name])]
        check_outputs(outputs, [*expand(files), *others])
        check_target(duplicates)
    code = write_prepared(files, run, options, others=others)
    if duplicates and (options["rejects"] or not audits[0].total("rejected")):
        with open_outputs() as written:
            written.open(duplicates).writelines(lines.read())
    return code
