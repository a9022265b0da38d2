"""JSON values of a row with their place in it, for readers that refuse what they do not expect."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, NoReturn

from ftkit.prepare.paths import child
from ftkit.prepare.row_formats.base import RowError

_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}


def json_type(value: Any) -> str:
    """Return the type of a JSON value with its article, such as "an object"."""
    return _NAMES.get(type(value), "a number")


class RowValue(NamedTuple):
    """A JSON value of a row and the JSON pointer to it. Null means the same as an absent value."""

    value: Any
    pointer: str = ""

    def fail(self, reason: str, detail: str = "") -> NoReturn:
        """Raise `RowError` at this value."""
        raise RowError(reason, self.pointer, detail)

    def child(self, key: str | int) -> RowValue:
        """Return the value of a key or an element, which exists."""
        return RowValue(self.value[key], child(self.pointer, key))

    def get(self, *names: str) -> RowValue | None:
        """Return the value of a key of this object, or None if it is absent or null.

        Args:
            names: Names of the key, of which an object may have one.
        """
        value = self.object()
        present = [name for name in names if value.get(name) is not None]
        if len(present) > 1:
            self.fail(f"both `{present[0]}` and `{present[1]}`")
        return self.child(present[0]) if present else None

    def need(self, *names: str) -> RowValue:
        """Return the value of a key of this object, which must have it."""
        return self.get(*names) or self.fail(f"no `{names[0]}`")

    def object(self) -> dict[str, Any]:
        """Return this object."""
        return self.value if isinstance(self.value, dict) else self._fail_type("an object")

    def text(self) -> str:
        """Return this string."""
        return self.value if isinstance(self.value, str) else self._fail_type("a string")

    def flag(self) -> bool:
        """Return this boolean."""
        return self.value if isinstance(self.value, bool) else self._fail_type("true or false")

    def array(self) -> list[Any]:
        """Return this array."""
        return self.value if isinstance(self.value, list) else self._fail_type("an array")

    def elements(self) -> Iterator[RowValue]:
        """Yield the elements of this array."""
        return (self.child(index) for index in range(len(self.array())))

    def others(self, read_keys: Collection[str]) -> Iterator[RowValue]:
        """Yield the values of this object that are not null and whose keys are not read."""
        for key, value in self.object().items():
            if key not in read_keys and value is not None:
                yield self.child(key)

    def _fail_type(self, expected: str) -> NoReturn:
        self.fail(f"not {expected}", f"but {json_type(self.value)}")


def joined_values(values: list[Any]) -> list[RowValue]:
    """Return the values of rows that were joined, with pointers as `split_pointer` takes them."""
    return [RowValue(value, f"{index}#") for index, value in enumerate(values)]
