"""Conditions on rows: a small expression language, which Python's `ast` parses.

    tokens <= 4096 and not ("tool" in roles or $.metadata.topic == "spam")

A condition is compiled to a function. Only the node types below are allowed, and nothing is ever
evaluated by Python itself. A comparison with a value that is missing or of another type is false.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from ftkit.errors import UsageError, did_you_mean
from ftkit.prepare.paths import STEP, Steps, look_up, path_steps

MAX_LENGTH = 2_000
"""Maximum number of characters of a condition."""

MAX_DEPTH = 50
"""Maximum depth of nested operators."""

Variables = Mapping[str, Any]
"""Values of the names of a condition. `$` is the row."""

_TOKEN = re.compile(rf"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\$(?:{STEP})*""")
"""A string, or a path into the row."""

WORDS = {"true": True, "false": False, "null": None}
"""JSON's words for Python's."""

ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

Evaluate = Callable[[Variables], Any]


class Where(NamedTuple):
    """A condition."""

    names: frozenset[str]
    """Names that it uses."""
    holds: Callable[[Variables], bool]
    """Return True for a row, given as the values of these names and of `$`."""


def parse_where(text: str, names: Mapping[str, str]) -> Where:
    """Return a condition.

    Args:
        text: The condition.
        names: Names that it may use.

    Raises:
        UsageError: The text is not a condition. The message names the column of the mistake.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError("`where` must be a condition, such as 'tokens <= 4096'")
    if len(text) > MAX_LENGTH:
        raise UsageError(f"`where` has more than {MAX_LENGTH:,} characters")
    return _Compiler(text.strip(), names).compile()


class _Compiler:
    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self._text, self._known = text, names
        self._paths: dict[int, Steps] = {}
        self._used: set[str] = set()
        self._depth = 0

    def compile(self) -> Where:
        source = _TOKEN.sub(self._replace_path, self._text.replace("\n", " "))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source.replace("\t", " "), mode="eval")
        except SyntaxError as error:
            raise self._error(f"cannot be read: {error.msg}", (error.offset or 1) - 1) from None
        except (ValueError, RecursionError, MemoryError):
            raise UsageError("`where` cannot be read: it is nested too deeply") from None
        evaluate = self._expression(tree.body)
        return Where(frozenset(self._used), lambda row: _is_true(evaluate(row)))

    def _replace_path(self, match: re.Match[str]) -> str:
        """Replace a path by a name of as many bytes, which keeps the columns."""
        if match["text"]:
            return match[0]
        try:
            steps = path_steps(match[0])
        except ValueError:
            raise self._error("has a path that is not JSON", match.start()) from None
        self._paths[len(self._text[: match.start()].encode())] = steps
        return "_" * len(match[0].encode())

    def _error(self, problem: str, column: int) -> UsageError:
        near = self._text[max(column, 0) :][:20]
        at = f" at column {column + 1}" + (f", near {near!r}" if near else "")
        return UsageError(f"`where` {problem}{at}")

    def _column(self, node: ast.expr) -> int:
        return len(self._text.encode()[: node.col_offset].decode(errors="ignore"))

    def _expression(self, node: ast.expr) -> Evaluate:
        compilers: dict[type[ast.expr], Callable[[Any], Evaluate]] = {
            ast.BoolOp: self._bool,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.List: self._list,
            ast.Tuple: self._list,
        }
        compiler = compilers.get(type(node))
        if compiler is None:
            kinds = "comparisons, and, or, not, in, names, numbers, strings and paths"
            raise self._error(f"may have {kinds} only; this is something else", self._column(node))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error("is nested too deeply", self._column(node))
        evaluate = compiler(node)
        self._depth -= 1
        return evaluate

    def _bool(self, node: ast.BoolOp) -> Evaluate:
        values = [self._expression(value) for value in node.values]
        combine = all if isinstance(node.op, ast.And) else any
        return lambda row: combine(_is_true(value(row)) for value in values)

    def _unary(self, node: ast.UnaryOp) -> Evaluate:
        value = self._expression(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda row: not _is_true(value(row))
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            number = node.operand.value
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                return lambda row: -number
        raise self._error("may have a sign before numbers only", self._column(node))

    def _compare(self, node: ast.Compare) -> Evaluate:
        values = [self._expression(value) for value in (node.left, *node.comparators)]
        tests = [self._test(op, node) for op in node.ops]

        def holds(row: Variables) -> bool:
            operands = [value(row) for value in values]
            pairs = zip(tests, pairwise(operands), strict=True)
            return all(test(one, two) for test, (one, two) in pairs)

        return holds

    def _test(self, op: ast.cmpop, node: ast.Compare) -> Callable[[Any, Any], bool]:
        if isinstance(op, (ast.Is, ast.IsNot)):
            raise self._error("compares with ==, not with `is`,", self._column(node))
        if type(op) in ORDERS:
            order = ORDERS[type(op)]
            return lambda one, two: _is_ordered(one, two) and order(one, two)
        test = _contains if isinstance(op, (ast.In, ast.NotIn)) else _equal
        is_negated = isinstance(op, (ast.NotIn, ast.NotEq))
        return lambda one, two: test(one, two) != is_negated

    def _name(self, node: ast.Name) -> Evaluate:
        name = node.id
        if node.col_offset in self._paths:
            steps = self._paths[node.col_offset]
            return lambda row: look_up(row["$"], steps)
        if name in WORDS:
            value = WORDS[name]
            return lambda row: value
        if name not in self._known:
            hint = did_you_mean(name, self._known, otherwise="; a text needs quotes,")
            names = ", ".join(self._known)
            raise self._error(f"has the unknown name {name!r}{hint} ({names})", self._column(node))
        self._used.add(name)
        return lambda row: row[name]

    def _constant(self, node: ast.Constant) -> Evaluate:
        value = node.value
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise self._error("may have numbers and strings only", self._column(node))
        return lambda row: value

    def _list(self, node: ast.List | ast.Tuple) -> Evaluate:
        values = [self._expression(value) for value in node.elts]
        return lambda row: [value(row) for value in values]


def _is_true(value: Any) -> bool:
    return bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_ordered(one: Any, two: Any) -> bool:
    return (_is_number(one) and _is_number(two)) or (isinstance(one, str) and isinstance(two, str))


def _equal(one: Any, two: Any) -> bool:
    """Return True for equal JSON values; true is not 1."""
    try:
        return isinstance(one, bool) == isinstance(two, bool) and bool(one == two)
    except RecursionError:  # both are nested too deeply
        return False


def _contains(one: Any, two: Any) -> bool:
    if isinstance(two, str):
        return isinstance(one, str) and one in two
    if isinstance(two, dict):
        return isinstance(one, str) and one in two
    return isinstance(two, list) and any(_equal(one, item) for item in two)
