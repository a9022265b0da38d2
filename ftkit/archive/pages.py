"""The pages of an archive for people: a README for each job, and one page with all jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from ftkit._text import money
from ftkit.archive.layout import INDEX, README
from ftkit.archive.manifest import Entry, counted
from ftkit.archive.read import Archive, ArchivedJob
from ftkit.archive.readme import Story, day_of, readme, tell
from ftkit.archive.store import Store
from ftkit.catalog import Catalog
from ftkit.report.page import render_page

POINTS = 60
"""Points of a drawn loss at most."""

WIDE, HIGH = 160, 36
"""The size of a drawn loss."""

COLUMNS = {
    "job": "text",
    "status": "text",
    "created": "text",
    "base": "text",
    "model": "text",
    "answers until": "text",
    "epochs": "number",
    "tokens billed": "number",
    "cost": "number",
    "train loss": "number",
    "validation loss": "number",
    "losses": "",
    "missing": "number",
}
"""The columns of the index, and what they are sorted as."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --a: #2b7bba; --b: #c0632c }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1rem 1.5rem }
h1 { font-size: 1.4rem; margin: 0 } p { margin: .4rem 0 } .soft, small { opacity: .75 }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; margin-top: .6rem }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
thead th { white-space: normal; vertical-align: bottom }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
td.name { white-space: normal; overflow-wrap: anywhere; line-height: 1.25; font-size: .9em; min-width: 8rem; max-width: 14rem }
th { position: sticky; top: 0; background: Canvas; z-index: 1 }
th button { font: inherit; font-weight: 600; border: 0; padding: 0; background: none; color: inherit; cursor: pointer }
th[aria-sort=ascending] button::after { content: " \\25B2" } th[aria-sort=descending] button::after { content: " \\25BC" }
tr:hover td { background: var(--soft) } input { font: inherit; width: 24rem; max-width: 100%; padding: .2rem .5rem }
svg { width: 160px; height: 36px; display: block } polyline { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke }
.train { stroke: var(--a) } .valid { stroke: var(--b) } .bad { color: #c22 }
i { display: inline-block; width: 1rem; height: .2rem; vertical-align: middle }
"""

SCRIPT = """
const find = document.querySelector('input'), count = document.querySelector('output');
const body = document.querySelector('tbody'), heads = [...document.querySelectorAll('thead th')];
const rows = [...body.rows].map(row => ({ row, text: row.textContent.toLowerCase() }));
const search = () => {
  const words = find.value.toLowerCase().split(/\\s+/).filter(word => word);
  let shown = 0;
  for (const { row, text } of rows) {
    row.hidden = !words.every(word => text.includes(word));
    shown += !row.hidden;
  }
  count.textContent = shown.toLocaleString('en');
};
const key = (row, column, number) => {
  const cell = row.cells[column], value = cell.dataset.value ?? cell.textContent;
  return number ? (value === '' ? null : Number(value)) : value;
};
const sort = (head, column) => {
  const number = head.classList.contains('number');
  const down = head.ariaSort === 'ascending' || (head.ariaSort !== 'descending' && number);
  const sign = down ? -1 : 1;
  const keyed = rows.map(each => [key(each.row, column, number), each]);
  keyed.sort(([one], [two]) => {
    const none = number ? (one === null) - (two === null) : (one === '') - (two === '');
    return none || sign * (number ? one - two : one < two ? -1 : one > two ? 1 : 0);
  });
  heads.forEach(each => each.removeAttribute('aria-sort'));
  head.ariaSort = down ? 'descending' : 'ascending';
  body.append(...keyed.map(([, each]) => each.row));
};
find.addEventListener('input', search);
heads.forEach((head, column) => head.querySelector('button')?.addEventListener('click', () => sort(head, column)));
search();
"""


def write_pages(
    archive: Archive,
    jobs: Sequence[ArchivedJob],
    store: Store,
    catalog: Catalog,
    told: Callable[[int, int], object],
) -> dict[str, Entry]:
    """Write the pages of the archive, and return their entries. A page that is as it was is not written."""
    known, made, rows = archive.manifest.files, {}, []
    for number, each in enumerate(jobs, 1):
        story = tell(each, catalog)
        path = f"{each.path}/{README}"
        if path in known and not each.is_known:
            made[path] = known[path]  # it tells more than could be told now
        else:
            made[path] = store.write(
                path, readme(story).encode("utf-8", "replace"), known.get(path)
            )
        rows.append(_row(story))
        told(number, len(jobs))
    page = render_index(archive, rows).encode("utf-8", "replace")
    made[INDEX] = store.write(INDEX, page, known.get(INDEX))
    made[README] = store.write(README, about(archive).encode("utf-8", "replace"), known.get(README))
    return made


def render_index(archive: Archive, rows: Sequence[str]) -> str:
    """The page with all jobs; `rows` are those of its table."""
    manifest = archive.manifest
    account = escape(", ".join([manifest.account, *manifest.organizations]))
    head = "".join(
        f'<th class="{kind}">' + (f"<button>{name}</button>" if kind else name)
        for name, kind in COLUMNS.items()
    )
    missing = counted(one for one in manifest.missing if one.reason != "left out")
    lacks = (
        f' <span class="bad">Could not be had: {escape(missing)}; see manifest.json.</span>'
        if missing
        else ""
    )
    return render_page(
        "ftkit archive",
        STYLE,
        f'<h1>Fine-tuning jobs</h1>\n<p class="soft">{account}</p>\n'
        f"<p>{len(rows):,} jobs, {len(manifest.contents):,} files, {len(archive.models):,} models.{lacks}</p>\n"
        f'<p><label>Find <input type="search" autofocus></label> <output>{len(rows):,}</output> shown '
        '<small><i style="background:var(--a)"></i> training <i style="background:var(--b)"></i> validation</small></p>\n'
        f'<div class="wide"><table><thead><tr>{head}</thead>\n<tbody>\n{"".join(rows)}</tbody></table></div>\n',
        SCRIPT,
    )


def _row(story: Story) -> str:
    each, job = story.each, story.each.job
    epochs, tokens = each.hyperparameters.get("n_epochs"), job.trained_tokens
    losses = [series[-1][1] if series else None for series in (story.train, story.valid)]
    status = (
        f'<td class="bad">{escape(job.status)}'
        if job.status == "failed"
        else f"<td>{escape(job.status)}"
    )
    return (
        f'<tr><td class="name"><a href="{escape(each.path)}/{README}">{_text(job.id)}</a>{status}<td>{day_of(job.created_at)}'
        f'<td class="name">{_text(job.model)}<td class="name">{_text(job.fine_tuned_model)}'
        f'<td title="{escape(story.served_note)}">{escape(story.served_until)}'
        f"{_number(epochs, '{}')}{_number(tokens, '{:,}')}{_number(story.cost, '{}', money)}"
        f"{_number(losses[0], '{:.4g}')}{_number(losses[1], '{:.4g}')}<td>{draw(story.train, story.valid)}"
        f"{_number(len(each.missing) or None, '{}')}\n"
    )


def _text(text: str) -> str:
    return f'<span title="{escape(text[:200])}">{escape(text[:100])}</span>'


def _number(value: object, form: str, shown: Callable[[float], str] | None = None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return '<td class="number" data-value="">'
    return (
        f'<td class="number" data-value="{value!r}">{form.format(shown(value) if shown else value)}'
    )


def draw(train: Sequence[tuple[int, float]], valid: Sequence[tuple[int, float]]) -> str:
    """The losses by step as an SVG, both on the same scales; empty where there are none."""
    points = [(step, value) for step, value in (*train, *valid) if abs(value) < 1e9]
    if len(points) < 2:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    left, low = min(steps), min(values)
    across, up = (max(steps) - left) or 1, (max(values) - low) or 1

    def line(series: Sequence[tuple[int, float]], kind: str) -> str:
        kept = [point for point in series if abs(point[1]) < 1e9]
        if len(kept) > POINTS:
            kept = [kept[index * (len(kept) - 1) // (POINTS - 1)] for index in range(POINTS)]
        drawn = " ".join(
            f"{2 + (step - left) / across * (WIDE - 4):.0f},{HIGH - 2 - (value - low) / up * (HIGH - 4):.1f}"
            for step, value in kept
        )
        return f'<polyline class="{kind}" points="{drawn}"/>' if len(kept) > 1 else ""

    told = f"losses from step {left:,} to {max(steps):,}, from {max(values):.4g} to {low:.4g}"
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img"><title>{told}</title>{line(train, "train")}{line(valid, "valid")}</svg>'


def about(archive: Archive) -> str:
    """The README of the archive."""
    return (
        f"# Archive of {archive.manifest.account}\n\n"
        "Everything that the account held about fine-tuning, as the service sent it, made by `ftkit archive`.\n\n"
        "- `index.html`: all jobs on one page; open it in a browser, it needs no network.\n"
        "- `jobs/`: a folder for each job; its `README.md` tells its story.\n"
        "- `files/`: training and validation files, each content once, named by its SHA-256.\n"
        "- `files.json`, `models.json`: what the service knew of files and models.\n"
        "- `manifest.json`: every file with its SHA-256 and size, and what could not be had, and why.\n\n"
        "`ftkit archive verify` checks it. Without ftkit: the hashes in the manifest are those of `sha256sum`.\n"
    )
