"""Excel workbooks, made by hand as Excel writes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
HEADER = '<row r="1"><c t="str"><v>q</v></c><c t="str"><v>a</v></c></row>'
DATE, TIME, ELAPSED, QUOTED = 1, 2, 3, 4
"""Styles of cells: dates, times, durations, and numbers behind a `d` in quotes."""

FORMATS = ("00000", "0.00", "0%", "#,##0", "0.0;[Red]-0.0", "[Red]000", "0.##", "[>9]0;00", ";;;")
"""Formats of the styles from `FIRST_FORMAT` on."""

FIRST_FORMAT = 5

STYLES = f"""<styleSheet xmlns="{MAIN}"><numFmts>
<numFmt numFmtId="164" formatCode="[$-409]yyyy\\-mm\\-dd"/><numFmt numFmtId="165" formatCode="[h]:mm"/>
<numFmt numFmtId="166" formatCode="&quot;day&quot;0"/>
{"".join(f'<numFmt numFmtId="{200 + n}" formatCode="{escape(code)}"/>' for n, code in enumerate(FORMATS))}
</numFmts>
<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="21"/><xf numFmtId="165"/>
<xf numFmtId="166"/>
{"".join(f'<xf numFmtId="{200 + n}"/>' for n in range(len(FORMATS)))}</cellXfs></styleSheet>"""


def relations(*items: tuple[str, str]) -> str:
    tags = (
        f'<Relationship Id="r{number}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(items, 1)
    )
    return f'<Relationships xmlns="{PACKAGE}">{"".join(tags)}</Relationships>'


def make(path: Path, *sheets: str, texts: str = "", **parts: str) -> Path:
    """Write a workbook with these rows, as XML, in sheets named S1, S2 and so on.

    Args:
        path: The file.
        sheets: Rows of each sheet, or its whole part if it begins with "<!".
        texts: Shared texts.
        parts: XML by place: `settings` of the workbook, `columns` in front of all rows and `behind`
            them, and attributes of `sheet`s.
    """
    numbers = range(1, len(sheets) + 1)
    names = "".join(
        f'<sheet name="S{n}" sheetId="{n}" r:id="r{n}" {parts.get("sheet", "")}/>' for n in numbers
    )
    content = {
        "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">'
        f"{parts.get('settings', '')}<sheets>{names}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            *(("worksheet", f"worksheets/s{n}.xml") for n in numbers),
            ("sharedStrings", "sharedStrings.xml"),
            ("styles", "/xl/styles.xml"),
        ),
        "xl/styles.xml": STYLES,
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{texts}</sst>',
    }
    for number, rows in zip(numbers, sheets, strict=True):
        data = rows if rows.startswith("<!") else ""
        content[f"xl/worksheets/s{number}.xml"] = (
            data
            or f'<worksheet xmlns="{MAIN}">{parts.get("columns", "")}<sheetData>{rows}</sheetData>'
            f"{parts.get('behind', '')}</worksheet>"
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


TEXTS = (
    "<si><t>shared</t></si><si><r><t>ri</t></r><r><t xml:space='preserve'>ch </t></r>"
    "<rPh><t>PHONETIC</t></rPh></si><si><t>a_x000D_\nb</t></si>"
)
