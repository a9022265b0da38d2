"""`ftkit config`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import asdict

from ftkit._text import printable
from ftkit.cli.options import AllConfigured, Configured, output_option
from ftkit.cli.output import print_json, print_note, terminal_width
from ftkit.cli.terminal import write
from ftkit.report.columns import table, wrap

if TYPE_CHECKING:
    from ftkit.catalog import Catalog

PREFIX = "FTKIT_"
"""Start of the names of environment variables."""

DEFAULT = "default"
"""Source of settings that are set nowhere."""


class Setting(Struct, frozen=True):
    """Setting in effect.

    Attributes:
        name: Its name in settings files.
        value: Its value, or None.
        source: The environment variable or the file that it comes from, or `DEFAULT`.
    """

    name: str
    value: Any
    source: str


@click.command(cls=Configured)
@output_option
def config(output: str) -> None:
    """Show each setting with its value and where it comes from.

    API keys are not shown, only where they come from.
    """
    from ftkit.catalog import load_catalog

    settings = [*_settings(), *_variables()]
    catalog = load_catalog()
    keys = dict(_key_sources(catalog))
    if output == "json":
        print_json({"settings": [asdict(setting) for setting in settings], "keys": keys})
        return
    width = terminal_width()
    rows = [("setting", "value", "source")]
    rows += [
        (setting.name, printable(_text(setting.value)), printable(_place(setting.source)))
        for setting in settings
        if setting.value is not None
    ]
    rows += [(f"key of {name}", "set", printable(_place(source))) for name, source in keys.items()]
    write(table(rows, left=3, width=width))
    unset = ", ".join(setting.name for setting in settings if setting.value is None)
    write(wrap(unset, "  not set: ", " " * len("  not set: "), width) if unset else "")
    if not keys:
        print_note("No API key is set; store one with: ftkit login openai")


def _text(value: Any) -> str:
    return ",".join(value) or "none" if isinstance(value, list) else f"{value}"


def _place(source: str) -> str:
    """Return a source to show: a file below the home directory starts with `~`."""
    path, home = Path(source), Path(os.path.expanduser("~"))
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else source


def _settings() -> Iterator[Setting]:
    """Yield the settings of `[tool.ftkit]` and the base URL, each from where it is set first."""
    from ftkit.cli.settings import Settings, find_pyproject, read_defaults, read_settings
    from ftkit.cli.validate import validate
    from ftkit.client.credentials import config_file

    assert isinstance(validate, AllConfigured)
    defaults = {parameter.name: parameter.default for parameter in validate.params}
    user, project = str(config_file(os.environ)), str(find_pyproject(Path.cwd()))
    files = ((project, read_settings(Path.cwd())), (user, read_defaults()))
    names = dict(zip(Settings.__struct_fields__, Settings.__struct_encode_fields__, strict=True))
    provider = ""
    for field, name in names.items():
        variable = f"{PREFIX}{field.upper()}"
        sources: list[tuple[str, Any]] = [(variable, os.environ.get(variable) or None)]
        sources += [(path, values.get(field)) for path, values in files]
        default = defaults.get(field)
        sources.append((DEFAULT, default if isinstance(default, (str, int)) else None))
        source, value = next((pair for pair in sources if pair[1] is not None), (DEFAULT, None))
        yield Setting(name, value, source)
        if name == "provider":
            provider = str(value)
            yield _base_url(provider, user)


def _base_url(provider: str, user: str) -> Setting:
    """Return the address of the default provider."""
    from ftkit.catalog import load_catalog
    from ftkit.client.credentials import find_address

    facts = load_catalog().providers.get(provider)
    own = facts.api.base_url or facts.api.address if facts and facts.api else ""
    sources = (
        (f"{PREFIX}BASE_URL", os.environ.get(f"{PREFIX}BASE_URL")),
        (user, find_address(provider, os.environ)),
        (DEFAULT, own),
    )
    source, value = next((pair for pair in sources if pair[1]), (DEFAULT, None))
    return Setting("base-url", value, source)


def _variables() -> Iterator[Setting]:
    """Yield the other environment variables of ftkit that are set, without those of API keys."""
    from ftkit.cli.settings import Settings

    shown = {f"{PREFIX}{name.upper()}" for name in (*Settings.__struct_fields__, "base_url")}
    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIX) and not name.endswith("_KEY") and name not in shown:
            setting = name.removeprefix(PREFIX).lower().replace("_", "-")
            yield Setting(setting, value, name)


def _key_sources(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield the providers with an API key, and the variable or the file that has it."""
    from ftkit.client.credentials import config_file, read_user_settings

    path = config_file(os.environ)
    stored = read_user_settings(path).keys
    for name, provider in catalog.providers.items():
        variables = provider.api.keys if provider.api else ()
        source = next((variable for variable in variables if os.environ.get(variable)), "")
        if source or stored.get(name):
            yield name, source or str(path)
