"""Usual names of the columns that hold the messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterable

_SYSTEM = frozenset(
    (
        *("system", "systemprompt", "systemmessage", "systemtext", "developer"),
        *("instruction", "instructions", "anweisung", "anweisungen", "hinweis", "hinweise"),
    )
)
"""Names of columns that may hold system messages, as letters of the lower case."""

_USER = frozenset(
    (
        *("question", "frage", "prompt", "user", "query", "input", "instruction", "request"),
        *("pregunta", "domanda", "vraag", "pergunta"),
    )
)
"""Names of columns that hold messages of the user, as letters of the lower case."""

_ASSISTANT = frozenset(
    (
        *("answer", "antwort", "response", "assistant", "reply", "output", "completion"),
        *("respuesta", "réponse", "risposta", "antwoord", "resposta"),
    )
)
"""Names of columns that hold messages of the assistant, as letters of the lower case."""

COLUMNS = {"system": _SYSTEM, "user": _USER, "assistant": _ASSISTANT}
"""These names by role."""


def likely_column(role: str, names: Iterable[str]) -> str | None:
    """Return the first name that is usual for the messages of a role, or None."""
    return next((name for name in names if _letters(name) in COLUMNS[role]), None)


def _letters(name: str) -> str:
    return "".join(filter(str.isalpha, name.casefold()))
