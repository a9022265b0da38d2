"""Make the pictures of the documentation: recorded terminal sessions, and pages in a browser.

`python docs/pictures.py` makes all of them in `docs/pictures`, and `python docs/pictures.py NAME…`
some. The commands run on a pseudo-terminal beside a copy of the samples. Those that train need the
extra `local`, those of pages need playwright and Chromium, those of the dashboard both.

A picture names what it shows: a recording has its text in `desc`, and `pages.json` has a hash of
each page. `tests/test_pictures.py` compares both with what the commands print today.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import urlopen

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from ftkit._local import dashboard_url, find_running

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
PAGES = FOLDER / "pages.json"

COLUMNS, ROWS = 100, 40
"""Size of the terminal."""

MARV = (
    "You are Marv, a chatbot that always gets the facts right and never misses a chance for dry "
    "sarcasm."
)


@dataclass(frozen=True)
class Recording:
    """A terminal session: commands that run one after the other."""

    commands: tuple[str, ...]
    trains: bool = False
    is_animated: bool = False


@dataclass(frozen=True)
class Page:
    """A page that a command writes, in a browser window of a size in pixels."""

    command: str
    file: str
    width: int = 1280
    height: int = 800


@dataclass(frozen=True)
class DashboardPage:
    """A page of the dashboard after commands that train, in a browser window of that size.

    In the path, `{job}` and `{model}` stand for the newest job and its model. The question is
    asked in the playground. Of a page with details of the training, such as how long it
    took, `has_titles_only` compares the titles, labels and buttons with the picture.
    """

    commands: tuple[str, ...]
    path: str = "/"
    width: int = 1440
    height: int = 720
    question: str = ""
    has_titles_only: bool = False


CHECK = "ftkit validate samples/bad/tool-args-type.jsonl --ignore examples-few"
FIX = "ftkit fix samples/bad/tool-args-type.jsonl -o fixed.jsonl"
QUESTION = "What is the chemical symbol for gold?"
ASK = f'ftkit chat @last "{QUESTION}" --temperature 0 --system "{MARV}"'

SPLIT = "ftkit split samples/marv.jsonl --ratio 0.9,0.1 -o marv"
TRAIN_AND_VALIDATE = (
    "ftkit submit marv.train.jsonl --validation-file marv.validation.jsonl --provider local "
    "--model ftkit/smoke --seed 7 --watch --yes"
)

SESSIONS = {
    "tutorial": {
        "show": Recording(("ftkit show samples/marv.jsonl -n 1",)),
        "validate": Recording((CHECK, FIX)),
        "estimate": Recording(("ftkit estimate samples/marv.jsonl --on 2026-11-20",)),
        "train": Recording((SPLIT, TRAIN_AND_VALIDATE), trains=True),
        "metrics": Recording(("ftkit jobs metrics @last",), trains=True),
        "chat": Recording((ASK,), trains=True),
    },
    "readme": {
        "session": Recording(
            (
                "ftkit convert samples/questions.csv --to chat --on-loss allow -o faq.jsonl",
                "ftkit validate faq.jsonl",
                "ftkit submit faq.jsonl --provider local --model ftkit/smoke --epochs 30 --seed 7 "
                "--watch --yes",
                'ftkit chat @last "When is the library open?" --temperature 0',
            ),
            trains=True,
            is_animated=True,
        )
    },
}
"""The recordings. Those of a session run one after the other in one folder."""

RECORDINGS = {name: item for session in SESSIONS.values() for name, item in session.items()}
"""The recordings by name."""

PAGE_PICTURES = {
    "compare": Page(
        "ftkit compare samples/compare/tuned.jsonl samples/compare/base.jsonl "
        "--prompts samples/compare/prompts.jsonl --html compare.html",
        "compare.html",
    ),
}
"""The pages by name."""

SUBMIT = "ftkit submit marv.train.jsonl --provider local --model ftkit/smoke --watch --yes --seed 7"
VALIDATED = "--validation-file marv.validation.jsonl"

DASHBOARD_PICTURES = {
    "dashboard": DashboardPage(
        (
            SPLIT,
            f"{SUBMIT} {VALIDATED} --epochs 3 --suffix marv",
            f"{SUBMIT} {VALIDATED} --epochs 6 --suffix marv-longer",
            f"{SUBMIT} {VALIDATED} --epochs 6 --lr-multiplier 0.1 --suffix marv-slower",
        )
    ),
    "job": DashboardPage(
        (SPLIT, TRAIN_AND_VALIDATE), "/jobs/{job}", height=1000, has_titles_only=True
    ),
    "playground": DashboardPage(
        (SPLIT, TRAIN_AND_VALIDATE),
        "/playground?model={model}",
        height=830,
        question=QUESTION,
        has_titles_only=True,
    ),
}
"""The pages of the dashboard by name."""

SAME = (
    (r"ftjob-\w{24}", "ftjob-" + "abcdefgh" * 3),
    (r"file-\w{24}", "file-" + "abcdefgh" * 3),
    (r"(ft:[\w/.-]+::)\w{8}", r"\1abcdefgh"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-20 10:00:00"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8642"),
)
"""What differs from run to run, and what stands in the pictures instead."""

THEME = TerminalTheme(
    (22, 27, 34),
    (225, 230, 236),
    [
        (48, 54, 61),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (225, 230, 236),
    ],
)
"""Colours with a contrast of at least 4.5 to the background."""

PAUSE, TYPED, STEP = 0.9, 0.6, 0.06
"""Seconds before a command, after it, and between the lines of its output, in an animation."""

LINE = 24.4
"""Height of a line in rich's pictures, in pixels."""

SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
text {{ font: {char_height}px ui-monospace, Menlo, Consolas, monospace; white-space: pre }}
{styles}
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's picture of a terminal without the fonts, which it loads from the network."""

ANIMATION = """\
text { animation: appear 1ms both }
@keyframes appear { from { opacity: 0 } to { opacity: 1 } }
@media (prefers-reduced-motion: reduce) { text { animation: none } }
</style>"""


@contextmanager
def workplace(serves: bool) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a folder with the samples, and an environment; the local service runs on request."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "samples", folder / "samples")
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("FTKIT_") and not key.endswith("_API_KEY")
        }
        environment |= {
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "FTKIT_STATE_DIR": str(folder / "state"),
            "FTKIT_DATA_DIR": str(folder / "data"),
        }
        environment.pop("NO_COLOR", None)
        with service(environment, folder) if serves else nullcontext():
            yield folder, environment


@contextmanager
def service(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Run the local service on a free port."""
    command = [sys.executable, "-m", "ftkit", "serve"]
    process = subprocess.Popen(
        [*command, "--port", "0"],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        assert process.stdout
        process.stdout.readline()  # It is printed when the service answers.
        try:
            yield
        finally:
            stop = [*command, "stop"]
            subprocess.run(stop, env=environment, cwd=folder, capture_output=True, check=True)


def run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Return what a command writes to a terminal."""
    main, side = pty.openpty()
    ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=environment,
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    shown = b""
    try:
        while data := os.read(main, 65536):
            shown += data
    except OSError:
        pass
    os.close(main)
    if process.wait() > 1:
        raise RuntimeError(f"{command}: exit code {process.returncode}: {shown.decode()}")
    return shown.decode()


def screen(shown: str) -> list[str]:
    """Return the lines on a terminal after it was written to, with their colours.

    It knows what ftkit writes: new lines, returns to the start of the line, and the sequences that
    move up a line, clear a line, and hide or show the cursor.
    """
    lines, row = [""], 0
    for part in re.split(r"(\r?\n|\r|\x1b\[1A|\x1b\[2K|\x1b\[\?25[hl])", shown):
        if part.endswith("\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and part != "\r" and not part.startswith("\x1b[?25"):
            lines[row] += part
    while lines and not lines[-1]:
        lines.pop()
    return lines


def record(recording: Recording, folder: Path, environment: dict[str, str]) -> list[str]:
    """Return the lines of a terminal session, with their colours; what differs is replaced."""
    lines: list[str] = []
    for command in recording.commands:
        lines += [""] if lines else []
        lines += [f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m"]
        lines += screen(run(command, folder, environment))
    text = "\n".join(lines)
    for pattern, replacement in SAME:
        text = re.sub(pattern, replacement, text)
    return text.split("\n")


def wrapped(lines: list[str]) -> list[Text]:
    """Return lines as a terminal wraps them."""
    texts = map(Text.from_ansi, lines)
    return [
        part for text in texts for part in text.divide(range(COLUMNS, max(len(text), 1), COLUMNS))
    ]


def plain(lines: list[str]) -> str:
    """Return the text of a recording, without colours."""
    return "\n".join(Text.from_ansi(line).plain.rstrip() for line in lines)


def picture(name: str, lines: list[str], is_animated: bool = False) -> str:
    """Return a recording as SVG, with its text as the description."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True)
    texts = wrapped(lines)
    for text in texts:
        console.print(text, crop=False, overflow="ignore", no_wrap=True, highlight=False)
    svg = console.export_svg(title="ftkit", theme=THEME, code_format=SVG, unique_id=name)
    svg = re.sub(r' clip-path="[^"]*"', "", svg)
    if is_animated:
        svg = animated(svg, appearances(texts))
    description = html.escape(plain(lines))
    title = description.partition("\n")[0].removeprefix("$ ")
    svg = svg.replace("<style>", f"<title>{title}</title>\n<desc>{description}</desc>\n<style>", 1)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def appearances(texts: list[Text]) -> list[float]:
    """Return the time at which each line appears, in seconds."""
    time, times = 0.0, []
    for number, text in enumerate(texts):
        is_prompt = text.plain.startswith("$ ")
        time += PAUSE if is_prompt and number else 0
        times.append(time)
        time += TYPED if is_prompt else STEP
    return times


def animated(svg: str, times: list[float]) -> str:
    """Return a picture whose lines appear one after the other."""

    def delayed(match: re.Match[str]) -> str:
        number = round((float(match[2]) - 20) / LINE)
        return f'{match[1]}y="{match[2]}" style="animation-delay:{times[number]:.2f}s"'

    head, start, body = svg.partition('-matrix">')
    body = re.sub(r'(<text [^>]*?)y="([\d.]+)"', delayed, body)
    return head.replace("</style>", ANIMATION) + start + body


def described(path: Path) -> str:
    """Return the text that a picture describes."""
    found = re.search(r"<desc>(.*?)</desc>", path.read_text("utf-8"), re.DOTALL)
    return html.unescape(found[1]) if found else ""


def record_all(names: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of these recordings. Those that train run with all that come before them."""
    for session in SESSIONS.values():
        chosen = [name for name in session if name in names]
        if not chosen:
            continue
        trains = any(session[name].trains for name in chosen)
        with workplace(trains) as (folder, environment):
            for name, recording in session.items():
                if name in chosen or (trains and recording.trains):
                    lines = record(recording, folder, environment)
                    if name in chosen:
                        yield name, lines


def write_page(page: Page, folder: Path, environment: dict[str, str]) -> Path:
    """Run the command of a page, and return the file that it writes."""
    run(page.command, folder, environment)
    return folder / page.file


def visit(names: set[str]) -> Iterator[tuple[str, str]]:
    """Yield pages of the dashboard: name, address. Those with the same commands share a service."""
    chosen = {name: page for name, page in DASHBOARD_PICTURES.items() if name in names}
    for commands in {page.commands: None for page in chosen.values()}:
        with workplace(True) as (folder, environment):
            for command in commands:
                run(command, folder, environment)
            running = find_running(folder / "data")
            assert running
            for name, page in chosen.items():
                if page.commands == commands:
                    yield name, dashboard_address(running.url, page.path)


def dashboard_address(url: str, path: str) -> str:
    """Return the address of a page of the dashboard of the service with that base URL."""
    with urlopen(f"{url}/fine_tuning/jobs?limit=1") as response:  # noqa: S310, on loopback
        job = json.load(response)["data"][0]
    path = path.format(job=job["id"], model=quote(job["fine_tuned_model"], safe=""))
    return dashboard_url(url, path.removeprefix("/"))


def dashboard_fingerprint(page: DashboardPage, address: str) -> str:
    """Return a hash of a page of the dashboard without ids, figures and lines of charts."""
    with urlopen(address) as response:  # noqa: S310, a page on loopback
        text = response.read().decode()
    for pattern, replacement in SAME:
        text = re.sub(pattern, replacement, text)
    if page.has_titles_only:
        titles = r"<(?:h[1-6]|dt|label|button|summary)\b[^>]*>[^<]*"
        text = "\n".join(re.findall(titles, text))
    differing = r'points="[^"]*"|losses from [^"]*|after [^<]*|\?v=\w+|[\d.,:-]+'
    return hashlib.sha256(re.sub(differing, "", text).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """Return a hash of a page without the days, times and versions in it."""
    text = re.sub(
        r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?|\b\d+\.\d+\.\d+\b", "", path.read_text("utf-8")
    )
    return hashlib.sha256(text.encode()).hexdigest()


def ask(tab: Tab, question: str) -> None:
    """Ask both models of the playground, and wait for the answers."""
    tab.click("summary")
    tab.fill("[name=temperature]", "0")
    tab.fill("[name=system]", MARV)
    tab.click("summary")
    tab.fill("#question", question)
    tab.click("#send")
    tab.wait_for_function(
        "() => document.querySelector('#turns > li') && document.querySelector('#stop').disabled",
        timeout=120_000,
    )
    tab.evaluate("window.scrollTo(0, 0)")


def take(page: Page | DashboardPage, address: str, target: Path) -> None:
    """Take a screenshot of the page at an address."""
    from playwright.sync_api import ViewportSize, sync_playwright

    chromium = os.environ.get("FTKIT_CHROMIUM") or shutil.which("chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        size = ViewportSize(width=page.width, height=page.height)
        tab = browser.new_page(viewport=size, color_scheme="light")
        tab.goto(address)
        tab.wait_for_load_state("networkidle")
        if isinstance(page, DashboardPage) and page.question:
            ask(tab, page.question)
        tab.screenshot(path=target)
        browser.close()


def main() -> None:
    """Make the pictures that are named, or all."""
    names = set(sys.argv[1:]) or {*RECORDINGS, *PAGE_PICTURES, *DASHBOARD_PICTURES}
    FOLDER.mkdir(exist_ok=True)
    for name, lines in record_all(names):
        svg = picture(name, lines, RECORDINGS[name].is_animated)
        (FOLDER / f"{name}.svg").write_text(svg, "utf-8")
    prints = json.loads(PAGES.read_text("utf-8")) if PAGES.exists() else {}
    with workplace(False) as (folder, environment):
        for name in sorted(names & set(PAGE_PICTURES)):
            path = write_page(PAGE_PICTURES[name], folder, environment)
            prints[name] = fingerprint(path)
            take(PAGE_PICTURES[name], path.as_uri(), FOLDER / f"{name}.png")
    for name, address in visit(names):
        prints[name] = dashboard_fingerprint(DASHBOARD_PICTURES[name], address)
        take(DASHBOARD_PICTURES[name], address, FOLDER / f"{name}.png")
    PAGES.write_text(json.dumps(prints, indent=2, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
