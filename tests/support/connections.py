"""Connections to the fake provider."""

from __future__ import annotations

from functools import lru_cache

import openai

from ftkit.catalog import load_catalog
from ftkit.client.client import Client

OPENAI_KEY = {"OPENAI_API_KEY": "sk-env"}
"""Environment with an API key for OpenAI."""


@lru_cache(1)
def openai_client(url: str) -> openai.OpenAI:
    """Return an SDK client that does not retry, the same one for the same address."""
    return openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0, timeout=5)


def connect_to(url: str, provider: str = "openai") -> Client:
    """Return the service at an address that speaks the dialect of a provider."""
    facts = load_catalog().providers[provider]
    assert facts.api
    return Client(provider, facts, facts.api, openai_client(url))
