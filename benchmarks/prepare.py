"""Benchmarks of `ftkit split` and `ftkit dedupe`: python benchmarks/prepare.py.

`stability` appends rows to a file that has been split, and counts the validation rows that a second
split moves to training. `dedupe` removes duplicates from short chats, in a process for each size,
and compares the smallest with an exact join. `templates` removes duplicates from numbered prompts of
one template, all of which are similar, shuffles what is left and looks for similar prompts again; it
splits them, too. Each prints a Markdown table.
"""

import argparse
import json
import math
import pydoc_data.topics
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ftkit.prepare.dedupe import dedupe
from ftkit.prepare.similarity.content import compared_text
from ftkit.prepare.similarity.minhash import Signatures, jaccard, shingles
from ftkit.prepare.split.split import split

ROOT = Path(__file__).parent.parent

ROWS, ADDED, REPEATS = 1000, 100, 50
"""Rows of the file that is split, rows that are appended, and files."""

SHARE = 0.1
"""Share of the validation data."""

COPIES, EDITED = 0.185, 0.15
"""Shares of the rows that are copies of others, or copies with one to three words changed."""

NEAR = 0.8

TEMPLATE = "the same long common prefix text shared by all rows in this file {:05}{}"
TEMPLATE_ROWS = 20_000
THRESHOLDS = (0.8, 0.85, 0.9)

Validation = Callable[[list[dict[str, str]], int], set[str]]
"""Function from rows and a seed to the prompts of the validation data."""


def shuffled(rows: list[dict[str, str]], seed: int) -> set[str]:
    prompts = [row["prompt"] for row in rows]
    random.Random(seed).shuffle(prompts)
    return set(prompts[len(prompts) - round(SHARE * len(prompts)) :])


def hashed(rows: list[dict[str, str]], seed: int) -> set[str]:
    result = split(rows, ratio=(1 - SHARE, SHARE), salt=str(seed))
    return {row["prompt"] for row in result["validation"]}


def ranked(rows: list[dict[str, str]], seed: int) -> set[str]:
    result = split(rows, ratio=(1 - SHARE, SHARE), salt=str(seed), exact_size=True)
    return {row["prompt"] for row in result["validation"]}


METHODS: dict[str, Validation] = {
    "seeded shuffle": shuffled,
    "`ftkit split`": hashed,
    "`ftkit split --exact-size`": ranked,
}


def stability() -> None:
    print("| method | validation rows | of these in training after 100 more rows |")
    print("|---|--:|--:|")
    for name, validation in METHODS.items():
        sizes, moved = [], []
        for seed in range(REPEATS):
            rows = [{"prompt": f"{seed} {number}"} for number in range(ROWS + ADDED)]
            before, after = validation(rows[:ROWS], seed), validation(rows, seed)
            sizes.append(len(before))
            moved.append(len(before - after) / len(before))
        spread = f"{statistics.mean(sizes):.0f} ± {statistics.stdev(sizes):.0f}"
        print(f"| {name} | {spread} | {statistics.mean(moved):.1%} |")


def write_chats(path: Path, count: int) -> None:
    """Write short chats: runs of words of Python's manual, with copies and edited copies."""
    rng = random.Random(1)
    words = re.findall(r"\S+", " ".join(pydoc_data.topics.topics.values()))
    kept: list[tuple[str, str]] = []
    with path.open("w") as file:
        for _ in range(count):
            pair = rng.choice(kept) if kept and rng.random() < COPIES + EDITED else None
            if pair is None:
                pair = run(words, rng, rng.randint(4, 10)), run(words, rng, rng.randint(6, 24))
                kept.append(pair)
            elif rng.random() * (COPIES + EDITED) < EDITED:
                pair = pair[0], edited(pair[1], words, rng)
            messages = [
                {"role": "user", "content": pair[0]},
                {"role": "assistant", "content": pair[1]},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")


def run(words: list[str], rng: random.Random, length: int) -> str:
    start = rng.randrange(len(words) - length)
    return " ".join(words[start : start + length])


def edited(text: str, words: list[str], rng: random.Random) -> str:
    parts = text.split()
    for _ in range(rng.randint(1, 3)):
        parts[rng.randrange(len(parts))] = rng.choice(words)
    return " ".join(parts)


def measure(path: Path, out: Path) -> None:
    """Run dedupe in this process, and print its figures as JSON."""
    start = time.process_time()
    prepared = dedupe(path, near=NEAR)
    prepared.write(out)
    memory = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    reasons = {reason: count for (_, _, reason), count in prepared.audit.counts.items()}
    figures = {
        "cpu": time.process_time() - start,
        "mib": int(memory[1]) / 1024 if memory else math.nan,
        "written": prepared.audit.written,
        **reasons,
    }
    print(json.dumps(figures))


def texts_of(path: Path) -> list[str]:
    with path.open() as file:
        return list(dict.fromkeys(compared_text(json.loads(line)) for line in file))


def exact_join(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Yield all pairs of texts with a similarity of at least `NEAR`, by prefix filtering.

    See S. Chaudhuri et al., "A primitive operator for similarity joins in data cleaning", 2006: if
    the elements of two sets are in one order, similar sets share an element of their prefixes.
    """
    sets = [shingles(text) for text in texts]
    frequency = Counter(element for elements in sets for element in elements.tolist())
    index: dict[int, list[int]] = defaultdict(list)
    for number in sorted(range(len(sets)), key=lambda number: len(sets[number])):
        elements = sorted(sets[number].tolist(), key=lambda element: (frequency[element], element))
        size = len(elements)
        prefix = elements[: size - math.ceil(NEAR * size) + 1]
        for other in {other for element in prefix for other in index[element]}:
            if len(sets[other]) >= NEAR * size and jaccard(sets[other], sets[number]) >= NEAR:
                yield other, number
        for element in prefix:
            index[element].append(number)


def recall(path: Path, out: Path) -> str:
    """Return the recall of the candidates, and the similar pairs that are left, as text."""
    texts = texts_of(path)
    start = time.process_time()
    pairs = np.array(list(exact_join(texts)))
    seconds = time.process_time() - start
    signatures = Signatures()
    for text in texts:
        signatures.add(text)
    bands = signatures.arrays()[0].view(np.uint64)
    shared = (bands[pairs[:, 0]] == bands[pairs[:, 1]]).any(axis=1)
    remaining = set(texts_of(out))
    left = sum(texts[one] in remaining and texts[other] in remaining for one, other in pairs)
    return (
        f"{len(texts):,} different texts have {len(pairs):,} pairs with a similarity of {NEAR} or "
        f"more (exact join: {seconds:.0f} CPU seconds). {shared.mean():.4%} of them are candidates; "
        f"{left} are left in the output."
    )


def benchmark_dedupe(sizes: list[int], with_recall: bool) -> None:
    print("| rows | written | duplicates | near-duplicates | CPU seconds | peak memory, MiB |")
    print("|--:|--:|--:|--:|--:|--:|")
    notes = ""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
        for size in sizes:
            write_chats(path, size)
            command = [sys.executable, __file__, "measure", str(path), str(out)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures = json.loads(done.stdout)
            print(
                f"| {size:,} | {figures['written']:,} | {figures['duplicate']:,} "
                f"| {figures['near-duplicate']:,} | {figures['cpu']:.1f} | {figures['mib']:,.0f} |",
                flush=True,
            )
            if with_recall and size == sizes[0]:
                notes = recall(path, out)
    print(f"\n{notes}" if notes else "")


def templates() -> None:
    rows = [
        {"prompt": TEMPLATE.format(number, "x" * (number % 7)), "completion": str(number)}
        for number in range(TEMPLATE_ROWS)
    ]
    print(
        "| similarity | rows | left | similar rows among them | CPU seconds "
        "| leaks of a split | CPU seconds |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for near in THRESHOLDS:
        start = time.process_time()
        prepared = dedupe(rows, near=near, compare="prompt")
        left = list(prepared)
        seconds = time.process_time() - start
        random.Random(1).shuffle(left)
        again = len(list(dedupe(left, near=near, compare="prompt")))
        start = time.process_time()
        result = split(rows, near=near)
        split_seconds = time.process_time() - start
        unchecked = prepared.audit.total("unchecked") + result.audit.total("unchecked")
        print(
            f"| {near} | {len(rows):,} | {len(left):,} | {len(left) - again} | {seconds:.1f} "
            f"| {result.leaks} | {split_seconds:.1f} |"
            + f" {unchecked} unchecked"
            * bool(unchecked),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("benchmark", choices=["stability", "dedupe", "templates", "measure"])
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--sizes", default="100000,300000,1000000", help="rows, default: 100000,300000,1000000"
    )
    parser.add_argument(
        "--no-recall", action="store_true", help="leave out the exact join, which takes 2 GB"
    )
    arguments = parser.parse_args()
    if arguments.benchmark == "stability":
        stability()
    elif arguments.benchmark == "templates":
        templates()
    elif arguments.benchmark == "measure":
        measure(*arguments.files)
    else:
        sizes = [int(size) for size in arguments.sizes.split(",")]
        benchmark_dedupe(sizes, not arguments.no_recall)


if __name__ == "__main__":
    main()
