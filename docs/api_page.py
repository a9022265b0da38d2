"""The page of the public API: signatures and docstrings of the names in `ftkit.__all__`.

It is read off the source code, so that signatures stand there as they are written.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import ftkit

PACKAGE = Path(ftkit.__file__).parent

GROUPS = {
    "Validation": ("validation", "summary"),
    "Estimation": ("estimation",),
    "Preparation": ("prepare",),
    "Jobs": ("jobs",),
    "Providers": ("client",),
    "Comparison": ("compare",),
    "Archives and migration": ("archive", "migration"),
    "Exceptions": ("errors",),
}
"""Sections of the page, and the packages whose names they have."""

INTRODUCTION = """\
The public names of the package `ftkit`, with their signatures and docstrings. [Python](python.md)
shows how to use them.

Types are written as in the source code. A module's path, such as `ftkit.summary`, is where a name
is defined; import it from `ftkit`.
"""

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
"""Sections of a docstring."""

_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):\n", re.MULTILINE)
_ITEM = re.compile(r"^(\*{0,2}\w+): ", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def api_page(note: str) -> str:
    """Return the page, with a note at its top."""
    parts = [note, "# Python API\n", INTRODUCTION]
    for title, packages in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += (section(module, name) for module, name in names_of(packages))
    return "\n".join(parts)


def names_of(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of everything public in some packages, functions first."""
    found = [
        (module, name)
        for module, names in ftkit._MODULES.items()
        if module.split(".")[1] in packages
        for name in names
    ]
    return iter(sorted(found, key=lambda item: (item[1][0].isupper(), item[1].lower())))


def section(module: str, name: str) -> str:
    """Return the section of a public name."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text("utf-8"))
    nodes = [node for node in tree.body if getattr(node, "name", "") == name]
    node = nodes[-1]
    head = f"### {name}\n\nIn `{module}`.\n"
    if isinstance(node, Function):
        return f"{head}\n{code(signature(node))}\n{documentation(node)}"
    assert isinstance(node, ast.ClassDef)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    start = code(f"class {name}({bases})" if bases else f"class {name}")
    docstring = ast.get_docstring(node) or ""
    listed = fields(node, docstring)
    if listed:
        docstring = docstring.partition("\nAttributes:\n")[0]
    return "\n".join(filter(None, (head, start, markdown(docstring), listed, members(node))))


def code(text: str) -> str:
    """Return a block of Python."""
    return f"```py\n{text}\n```\n"


def signature(node: Function) -> str:
    """Return the signature of a function, a parameter on each line if it is long."""
    arguments = ast.unparse(node.args)
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({arguments}){result}"
    if len(line) <= 88:
        return line
    indented = "".join(f"    {part},\n" for part in parameters(node.args))
    return f"def {node.name}(\n{indented}){result}"


def parameters(arguments: ast.arguments) -> Iterator[str]:
    """Yield the parameters of a function as they are written, with `*` and `/`."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    for number, argument in enumerate(positional):
        default = arguments.defaults[number - required] if number >= required else None
        yield parameter(argument, default)
        if number + 1 == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{parameter(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield parameter(argument, default)
    if arguments.kwarg:
        yield f"**{parameter(arguments.kwarg, None)}"


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """Return a parameter with its type and its default."""
    annotation = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    equals = " = " if annotation else "="
    return f"{argument.arg}{annotation}{equals + ast.unparse(default) if default else ''}"


def documentation(node: Function) -> str:
    """Return the docstring of a function as Markdown."""
    return markdown(ast.get_docstring(node) or "")


def items(body: str) -> dict[str, str]:
    """Return the items of a section of a docstring: names and what they are."""
    _, *parts = _ITEM.split(inspect.cleandoc(f"\n{body}"))
    texts = (" ".join(text.split()) for text in parts[1::2])
    return dict(zip(parts[::2], texts, strict=True))


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    text, *sections = _SECTION.split(docstring)
    parts = [text.strip()]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        lines = [f"- `{name}`: {item}" for name, item in items(body).items()]
        if lines and title not in ("Returns", "Yields"):
            parts.append(f"**{title}**\n\n" + "\n".join(lines))
        else:
            parts.append(f"**{title}**: {reflow(inspect.cleandoc(body))}")
    return "\n\n".join(filter(None, parts)) + "\n"


def reflow(text: str) -> str:
    """Return a text with a line for each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def fields(node: ast.ClassDef, docstring: str) -> str:
    """Return the public fields of a class, with their types and what the docstrings say of them."""
    attributes = items(docstring.partition("\nAttributes:\n")[2])
    rows = []
    for field, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if field.target.id.startswith("_"):
            continue
        default = f" = {ast.unparse(field.value)}" if field.value else ""
        text = reflow(docstring_of(following)) or attributes.get(field.target.id, "")
        described = f": {text}" if text else ""
        rows.append(f"- `{field.target.id}: {ast.unparse(field.annotation)}{default}`{described}")
    return "**Fields**\n\n" + "\n".join(rows) + "\n" if rows else ""


def docstring_of(node: ast.stmt | None) -> str:
    """Return the string that follows a field, or ""."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return ""
    return inspect.cleandoc(node.value.value) if isinstance(node.value.value, str) else ""


def members(node: ast.ClassDef) -> str:
    """Return the public methods and properties of a class."""
    parts = []
    for method in node.body:
        if not isinstance(method, Function) or method.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator) for decorator in method.decorator_list}
        if decorators & {"property", "cached_property"}:
            result = f": {ast.unparse(method.returns)}" if method.returns else ""
            parts.append(f"`{method.name}{result}` (property)\n")
        elif "overload" not in decorators:
            parts.append(code(signature(method)))
        else:
            continue
        parts.append(documentation(method))
    return "**Members**\n\n" + "\n".join(parts) if parts else ""
