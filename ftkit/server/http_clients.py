"""HTTP clients of the servers that the service uses: answering servers, and a Ray cluster."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

# openai 2 installs httpx, and openai 3 installs httpx2.
httpx: Any = import_module(next(name for name in ("httpx", "httpx2") if find_spec(name)))
"""HTTP library, which openai depends on."""


def client_options(url: str, key: str, bypass_proxies: bool) -> dict[str, Any]:
    """Return the options of a client that sends its key to one server only.

    Args:
        url: Address of the server.
        key: API key or token, or "".
        bypass_proxies: Connect to the server itself, whatever proxy the environment names.
    """
    host = urlsplit(url).hostname or ""
    direct = f"[{host}]" if ":" in host else host
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    return {
        "headers": {"Accept-Encoding": "identity", **authorization},
        "mounts": {f"all://{direct}": None} if bypass_proxies else {},
        "follow_redirects": False,
    }
