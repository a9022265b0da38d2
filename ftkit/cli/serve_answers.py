"""`ftkit serve --answers`: other servers that answer for base models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ftkit._text import printable
from ftkit.cli.output import print_note
from ftkit.cli.server_urls import split_url
from ftkit.errors import UsageError


def answering_servers(
    pairs: Iterable[str], models: Mapping[str, str], uses_hub: bool
) -> dict[str, str]:
    """Return the URLs of the servers that answer for base models, and print them.

    Args:
        pairs: Values of `--answers`; a later one overrides those before it.
        models: Base models by the names that stand for them.
        uses_hub: The service also offers all models of the Hugging Face hub.

    Raises:
        UsageError: A pair is not `BASE=URL`, or the service does not offer the base model.
    """
    servers: dict[str, str] = {}
    for pair in pairs:
        base, _, url = pair.partition("=")
        if not (base and url):
            raise UsageError(
                "--answers must be BASE=URL, such as Qwen/Qwen3-0.6B=http://127.0.0.1:8000/v1, not"
                f" {printable(base)!r}"
            )
        base = str(Path(base).absolute()) if Path(base).is_dir() else base
        _check_base(base, models, uses_hub)
        servers[base] = _base_url(base, url)
    for base, url in servers.items():
        print_note(f"{url} answers for {base}; the local process answers when it cannot")
    return servers


def _check_base(base: str, models: Mapping[str, str], uses_hub: bool) -> None:
    from ftkit.server.models import HUB_ID, SMOKE

    if base in (SMOKE, *models.values()) or (uses_hub and HUB_ID.fullmatch(base)):
        return
    if base in models:
        advice = f"it stands for {models[base]}; name that one"
    elif HUB_ID.fullmatch(base):
        advice = f"add: --map {base}={base}"
    else:
        advice = "name one such as Qwen/Qwen3-0.6B"
    raise UsageError(f"--answers names {base!r}, which is no base model of this service; {advice}")


def _base_url(base: str, url: str) -> str:
    """Return the base URL of a server's API, which ends in `/v1`."""
    form, advice = "http://HOST:PORT/v1 or https://HOST/v1", "set FTKIT_ANSWERS_KEY to the API key"
    split_url(url, f"--answers {base}", form, advice)
    return url.rstrip("/").removesuffix("/v1") + "/v1"
