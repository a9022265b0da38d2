"""Hypothesis strategies for damaged dataset files."""

from __future__ import annotations

from hypothesis import strategies as st

from ftkit.rules import RULES

GOOD_LINES = [rule.good for rule in RULES.values() if not rule.whole_file]
BAD_LINES = [rule.bad for rule in RULES.values() if not rule.whole_file and len(rule.bad) < 100_000]

odd_lines = st.sampled_from(
    [
        *GOOD_LINES,
        *BAD_LINES,
        b"",
        b" ",
        b"\r",
        b"{",
        b"null",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'"a\\',
        b"[" * 2000,
        b"1" * 5000,
    ]
)


@st.composite
def mutated_lines(draw: st.DrawFn) -> bytes:
    """A line with some bytes replaced, removed or put in."""
    line = bytearray(draw(odd_lines))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(line)))
        line[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"\\", b"}", b"\r", b"\xed\xa0"])
        )
    return bytes(line).replace(b"\n", b"")


damaged_files = st.lists(mutated_lines() | odd_lines | st.binary(max_size=30), max_size=12).map(
    b"\n".join
)
