"""Build the documentation site from the Markdown pages.

`python docs/site/build.py FOLDER` writes it to FOLDER. The build fails on broken links, missing
anchors, and pages that `index.md` does not link to. It makes no requests.

The pages stay plain Markdown: the navigation is read from the lists in `docs/index.md`, a group for
each of its sections.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sphinx.cmd.build import build_main

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent
ROOT = DOCS.parent

ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "samples/README.md": "samples.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages of the project outside `docs`, and their names on the site."""

SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ITEM = re.compile(r"^- \[([^]]+)\]\(([^)#]+)\)", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def sources() -> Iterator[tuple[Path, str]]:
    """Yield the pages of the site, with their names on it."""
    yield from ((path, path.name) for path in sorted(DOCS.glob("*.md")))
    yield from ((ROOT / path, name) for path, name in ELSEWHERE.items())


def with_site_links(path: Path) -> str:
    """Return a page whose links to other pages have the names of the site."""
    names = dict(sources())

    def replace(match: re.Match[str]) -> str:
        target = (path.parent / match[1]).resolve()
        return f"]({names[target]}" if target in names else match[0]

    return LINK.sub(replace, path.read_text("utf-8"))


def navigation(index: str) -> str:
    """Return the navigation: a table of contents for each section of the index page."""
    return "\n".join(
        f"```{{toctree}}\n:caption: {title}\n:hidden:\n\n{entries}\n```\n"
        for title, text in SECTION.findall(index)
        if (entries := "\n".join(f"{name} <{page}>" for name, page in ITEM.findall(text)))
    )


def stage(folder: Path) -> None:
    """Copy the pages, the files that they link, and the configuration to a folder."""
    for path, name in sources():
        (folder / name).write_text(with_site_links(path), "utf-8")
    for path in DOCS.glob("*.svg"):
        shutil.copy(path, folder)
    for name in ("pictures", "ci", "cluster"):
        shutil.copytree(DOCS / name, folder / name)
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build*"))
    index = folder / "index.md"
    text = index.read_text("utf-8")
    index.write_text(f"{text}\n{navigation(text)}", "utf-8")


def build(target: Path) -> int:
    """Build the site in a folder. Warnings are errors, and all of them are shown.

    Returns:
        The exit code of Sphinx.
    """
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        options = (
            "-b",
            "html",
            "-W",
            "--keep-going",
            "-q",
            "-E",
            "-a",
            "-d",
            f"{folder}/.doctrees",
        )
        return build_main([*options, folder, str(target)])


def main() -> int:
    """Build the site in the folder that is the argument."""
    if len(sys.argv) != 2:
        print("usage: python docs/site/build.py FOLDER", file=sys.stderr)
        return 2
    return build(Path(sys.argv[1]))


if __name__ == "__main__":
    raise SystemExit(main())
