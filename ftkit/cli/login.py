"""`ftkit login`."""

from __future__ import annotations

import os
import sys

import click

from ftkit.cli.options import Configured, option, output_option
from ftkit.cli.output import print_json, print_line, print_warning
from ftkit.cli.terminal import ask_secret, hide, is_terminal
from ftkit.errors import ProviderError, UsageError

MAX_KEY = 10_000
"""Maximum number of characters of a key."""

BYTE_ORDER_MARK = "\ufeff"
"""Character at the beginning of files that some editors write."""

UNAUTHORIZED = 401
"""HTTP status of a response to a wrong key."""


@click.command(cls=Configured)
@click.argument("provider")
@click.option(
    "--base-url", default="", metavar="URL", help="Base URL of the provider's API, also stored."
)
@option("--facts", metavar="FILE", help="TOML file with your own models and providers.")
@output_option
def login(provider: str, base_url: str, facts: str | None, output: str) -> None:
    """Store the API key of PROVIDER, after one request that shows that it works.

    The key is read from a hidden prompt, or from standard input if that is not a terminal. It is
    stored in ~/.config/ftkit/config.toml, which only you can read.
    """
    from ftkit.catalog import find_provider, load_catalog
    from ftkit.client.connect import connect
    from ftkit.client.credentials import config_file
    from ftkit.client.key_store import store_key

    catalog = load_catalog(facts)
    details = find_provider(provider, catalog)
    names = details.api.keys if details.api else ()
    key = _read_key(details.title)
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= dict.fromkeys(names[:1], key)
    client = connect(provider, base_url, catalog=catalog, environment=environment)
    try:
        next(client.jobs(), None)
    except ProviderError as error:
        if error.status != UNAUTHORIZED:
            raise
        raise UsageError(
            f"{details.title} rejected this API key, which was not stored; create a key in the"
            " provider's console"
        ) from error
    path = config_file(os.environ)
    store_key(path, provider, key, base_url)
    if output == "json":
        print_json({"provider": provider, "file": str(path)})
    else:
        print_line(f"stored the key of {details.title} in {path}")
    shadows = [name for name in names if os.environ.get(name)]
    if shadows:
        print_warning(f"{shadows[0]} is set, and takes precedence over the stored key")


def _read_key(title: str) -> str:
    """Read the key of a provider.

    Raises:
        UsageError: There is none, or it cannot be sent.
    """
    from ftkit.client.credentials import check_key

    if is_terminal(sys.stdin):
        text = ask_secret(f"API key of {title}")
    else:
        text = sys.stdin.read(MAX_KEY + 1) if sys.stdin else ""
    key = text.removeprefix(BYTE_ORDER_MARK).strip()
    hide(key)
    if len(text) > MAX_KEY:
        raise UsageError(f"the key is longer than {MAX_KEY:,} characters; give one key")
    if not key or "," in key:
        raise UsageError("no key was given" if not key else "a key has no commas; give one key")
    return check_key(key, "the input")
