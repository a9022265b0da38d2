"""Classes of characters, on which the splitting of texts into words depends, as a C header."""

from __future__ import annotations

import sys
import unicodedata

from ftkit.tokens.encodings import CASE_FOLDED

CLASSES = ("OTHER", "MARK", "NUMBER", "SPACE", "NEWLINE", "UPPER", "LOWER", "LETTER")
BY_CATEGORY = {"Lu": "UPPER", "Lt": "UPPER", "Ll": "LOWER", "Lm": "LETTER", "Lo": "LETTER"}
SPACES = "\t\v\f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
"""Characters with the property White_Space of Unicode, but for line breaks and U+2000 to U+200A."""

HEADER = """\
/* Classes of the characters of Unicode {version}, written by tests/tokens/test_compiled.py.

   Each run has the class of its characters, from the first one to that of the next run. Characters
   of the class 0 are not assigned yet, or are split in their own way: tiktoken counts their texts. */

enum {{
{classes}
}};

static const struct {{
    uint32_t start;
    Byte class;
}} RUNS[] = {{
{runs}
}};
"""


def class_of(code: int) -> str:
    """Return the class of a character, or 0."""
    character = chr(code)
    category = unicodedata.category(character)
    if character in CASE_FOLDED or category in ("Cn", "Cs"):
        return "0"
    if character in "\r\n":
        return "NEWLINE"
    if character in SPACES or 0x2000 <= code <= 0x200A:
        return "SPACE"
    if category[0] in "MN":
        return "MARK" if category[0] == "M" else "NUMBER"
    return BY_CATEGORY.get(category, "OTHER")


def header() -> str:
    """Return the content of `ftkit/tokens/_classes.h`."""
    runs, before = [], ""
    for code in range(sys.maxunicode + 1):
        name = class_of(code)
        if name != before:
            runs.append(f"{{0x{code:X}, {name}}}")
            before = name
    runs.append(f"{{0x{sys.maxunicode + 1:X}, 0}}")
    rows, row = [], ""
    for run in runs:
        if len(row) + len(run) > 94:
            rows.append(row)
            row = ""
        row = f"{row} {run}," if row else f"    {run},"
    classes = [f"    {name} = {1 << index}," for index, name in enumerate(CLASSES)]
    return HEADER.format(
        version=unicodedata.unidata_version,
        classes="\n".join(classes),
        runs="\n".join([*rows, row]),
    )
