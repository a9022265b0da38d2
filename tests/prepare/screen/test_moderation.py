"""Moderation against a service on loopback that limits, fails, cuts connections and batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.client.connect import connect
from ftkit.errors import FileError, ProviderError, UnreachableError, UsageError
from ftkit.prepare.prepared import Prepared
from ftkit.prepare.screen.moderation import Moderation, ModerationPlan
from ftkit.prepare.screen.screen import screen
from support.fake_provider import FakeProvider, random_faults, serving

FACTS = """\
[providers.openai.api.moderation]
input_characters = {{ value = {input}, source = "test", checked = 2026-11-22 }}
short_characters = {{ value = {short}, source = "test", checked = 2026-11-22 }}
batch_requests = {{ value = {requests}, source = "test", checked = 2026-11-22 }}
batch_bytes = {{ value = {bytes}, source = "test", checked = 2026-11-22 }}
"""


class Service:
    """A fake provider, and moderation with it. `slept` are the seconds that a run would have waited."""

    def __init__(self, folder: Path, state: FakeProvider, url: str) -> None:
        self.folder, self.state, self.url = folder, state, url
        self.slept: list[float] = []
        self.plans: list[ModerationPlan] = []
        self.limits = {"input": 20_000, "short": 100, "requests": 50_000, "bytes": 200_000_000}

    def client(self) -> Client:
        facts = self.folder / f"{'-'.join(map(str, self.limits.values()))}.toml"
        facts.write_text(FACTS.format(**self.limits))
        catalog = load_catalog(str(facts))
        return connect(
            "openai", self.url, catalog=catalog, environment={"OPENAI_API_KEY": self.state.key}
        )

    def screen(self, texts: list[str], **options: Any) -> Prepared:
        """Return the texts after moderation."""
        with self.client() as client:
            moderation = Moderation(
                client=client,
                cache=self.folder / "cache",
                state=self.folder / "state",
                sleep=self.slept.append,
                **{"confirm": self.confirm, **options},
            )
            prepared = screen([{"text": text} for text in texts], moderation=moderation)
            assert [row["text"] for row in prepared] == texts
            assert prepared.audit.is_balanced
            return prepared

    def confirm(self, plan: ModerationPlan) -> bool:
        self.plans.append(plan)
        return True

    def count(self, request: str) -> int:
        """Return the number of requests with this method and path."""
        return sum(f"{method} {path}" == request for method, path, _ in self.state.requests)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    state = FakeProvider()
    with serving(state) as url:
        yield Service(tmp_path, state, url)


def found(prepared: Prepared) -> list[tuple[int, str, str]]:
    """Return line, reason and detail of each finding and note."""
    return [
        (entry.origin.line, entry.reason, entry.detail)
        for entry in prepared.audit.entries
        if entry.effect in ("found", "note")
    ]


@pytest.mark.parametrize("batch", [False, True])
def test_lines_that_are_likely_to_be_flagged_are_named(service: Service, batch: bool) -> None:
    texts = ["fine", "hate and violence", "fine", "violence"]
    prepared = service.screen(texts, batch=batch)
    assert found(prepared) == [
        (2, "likely to be flagged: hate", "score 0.90"),
        (2, "likely to be flagged: violence", "score 0.90"),
        (4, "likely to be flagged: violence", "score 0.90"),
    ]
    assert service.state.moderation.texts == ["fine", "hate and violence", "violence"]


@pytest.mark.parametrize("batch", [False, True])
def test_scores_are_cached_without_texts(service: Service, batch: bool) -> None:
    first = service.screen(["hate", "secret"], batch=batch)
    sent = len(service.state.requests)
    assert found(service.screen(["secret", "hate"])) == [(2, *found(first)[0][1:])]
    assert len(service.state.requests) == sent
    stored = b"".join(path.read_bytes() for path in service.folder.glob("[cs]*/**/*.*"))
    assert b"hate" in stored  # the category
    assert b"secret" not in stored
    service.screen(["secret", "new"], batch=batch)
    assert (service.plans[-1].texts, service.plans[-1].cached) == (1, 1)
    assert service.state.moderation.texts[-1:] == ["new"]


def test_a_damaged_cache_is_replaced(service: Service) -> None:
    service.screen(["hate"])
    (service.folder / "cache/moderation.db").write_bytes(b"x" * 5000)
    assert len(found(service.screen(["hate"]))) == 1


def test_nothing_is_sent_without_confirmation(service: Service) -> None:
    with pytest.raises(UsageError, match="nothing was sent"):
        service.screen(["fine"], confirm=lambda plan: False)
    assert service.state.requests == []


def test_a_provider_without_moderation_is_refused(service: Service) -> None:
    with connect("nebius", service.url) as client, pytest.raises(UsageError, match="has no moder"):
        screen(["x"], moderation=Moderation(client=client))


def test_a_text_that_is_limited_for_ever_is_reported_and_the_others_screened(
    service: Service,
) -> None:
    texts = ["hate", "unlucky", "violence", "unlucky again"]
    prepared = service.screen(texts)
    assert [place[:2] for place in found(prepared)] == [
        (1, "likely to be flagged: hate"),
        (2, "not screened: the provider refuses the text"),
        (3, "likely to be flagged: violence"),
        (4, "not screened: the provider refuses the text"),
    ]
    assert sum(service.slept) < 400  # a clock that stands still doubles it
    assert found(service.screen(["unlucky"]))  # it is tried again by a later run


def test_a_refused_text_is_left_out(service: Service) -> None:
    assert [place[:2] for place in found(service.screen(["odd", "hate"]))] == [
        (1, "not screened: the provider refuses the text"),
        (2, "likely to be flagged: hate"),
    ]


def test_a_long_text_is_cut_and_more_so_if_it_is_limited(service: Service) -> None:
    service.limits["input"] = 1000
    service.state.moderation.limit = 500
    long = "hate " * 300
    prepared = service.screen(["x" * 400, long])
    assert found(prepared) == [
        (2, "likely to be flagged: hate", "score 0.90"),
        (2, "only the first 100 characters were screened", ""),
    ]
    assert (service.plans[0].cut, service.plans[0].characters) == (1, 1400)


def test_an_account_at_its_limit_stops_the_run_which_can_be_continued(service: Service) -> None:
    service.screen(["hate"])
    service.state.moderation.is_limited = True
    with pytest.raises(UnreachableError, match="run the same command again later"):
        service.screen(["hate", "violence", "more"])
    assert sum(service.slept) < 400
    service.state.moderation.is_limited = False
    assert len(found(service.screen(["hate", "violence", "more"]))) == 2


def test_the_delay_that_the_provider_asks_for_is_kept(service: Service) -> None:
    answers = iter(["429"])
    service.state.faults = lambda method, path: next(answers, "")
    service.state.retry_after = "7"
    service.screen(["fine"])
    assert max(service.slept) > 6.5


def test_a_wrong_key_ends_the_run_at_once(service: Service) -> None:
    client = service.client()
    service.state.key = "sk-other"
    with client, pytest.raises(ProviderError, match="rejected the API key"):
        list(
            screen(
                [{"text": "x"}, {"text": "y"}],
                moderation=Moderation(client=client, cache=service.folder / "cache"),
            )
        )
    assert len(service.state.requests) == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("batch", [False, True])
def test_faults_of_the_service_change_no_result(service: Service, seed: int, batch: bool) -> None:
    texts = [f"{'hate' if number % 7 == 0 else 'fine'} {number}" for number in range(80)]
    service.limits["requests"] = 50
    service.state.faults = random_faults(seed, 0.3)
    for _ in range(20):
        try:
            prepared = service.screen(texts, batch=batch)
        except (ProviderError, UnreachableError):
            continue
        break
    assert [line for line, _, _ in found(prepared)] == [1 + 7 * number for number in range(12)]
    assert len(service.state.moderation.batches) == (2 if batch else 0)


class Killed(BaseException):
    """The process ends."""


BATCH_REQUESTS = (
    "POST /v1/files",
    "POST /v1/batches",
    "GET /v1/batches/",
    "GET /v1/files/",
    "DELETE /v1/files/",
)


@pytest.mark.parametrize("request_", BATCH_REQUESTS)
@pytest.mark.parametrize("fault", ["drop before", "drop after"])
def test_a_run_that_is_killed_at_a_request_is_continued_with_the_same_batch(
    service: Service, request_: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_dead = False

    def faults(method: str, path: str) -> str:
        nonlocal is_dead
        if f"{method} {path}".startswith(request_):
            is_dead = True
            return fault
        return "drop before" if is_dead else ""

    service.state.faults = faults
    texts = ["hate", "fine"]
    try:
        service.screen(texts, batch=True)
    except (ProviderError, UnreachableError):
        assert request_ != "DELETE /v1/files/"
    service.state.faults = lambda method, path: ""
    assert len(found(service.screen(texts, batch=True))) == 1
    assert len(service.state.moderation.batches) == 1
    assert not list((service.folder / "state").rglob("*.json"))


@pytest.mark.parametrize("written", range(4))
def test_a_run_that_is_killed_between_requests_creates_no_second_batch(
    service: Service, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.prepare.screen.batch_journal import OpenRecord

    update, calls = OpenRecord.update, 0

    def killed(self: OpenRecord, **fields: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > written:
            raise Killed
        update(self, **fields)

    monkeypatch.setattr(OpenRecord, "update", killed)
    if written < 3:
        with pytest.raises(Killed):
            service.screen(["hate"], batch=True)
    else:
        service.screen(["hate"], batch=True)
    monkeypatch.setattr(OpenRecord, "update", update)
    assert len(found(service.screen(["hate"], batch=True))) == 1
    assert len(service.state.moderation.batches) == 1
    assert service.count("POST /v1/files") == 1


def test_a_batch_that_does_not_end_is_an_error(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftkit.prepare.screen.batches.MAX_POLLS", 3)
    service.state.moderation.polls = 5
    with pytest.raises(UnreachableError, match="has not ended after a day"):
        service.screen(["hate"], batch=True)
    assert len(found(service.screen(["hate"], batch=True))) == 1
    assert len(service.state.moderation.batches) == 1


def test_texts_are_split_into_batches_by_number_and_size(service: Service) -> None:
    service.limits["requests"] = 2
    service.screen(["a", "b", "c", "d", "e"], batch=True)
    service.limits |= {"requests": 50_000, "bytes": 400}
    service.screen(["f" * 100, "g" * 100, "h"], batch=True)
    sizes = [
        batch["request_counts"]["total"] for batch in service.state.moderation.batches.values()
    ]
    assert sizes == [2, 2, 1, 1, 2]
    assert not [file for file in service.state.files.values() if "moderation" in file["filename"]]


def test_a_batch_that_expired_is_continued_with_what_is_left(service: Service) -> None:
    service.state.moderation.end = "expired"
    prepared = service.screen(["hate", "fine", "violence", "good"], batch=True)
    assert [place[:2] for place in found(prepared)] == [
        (1, "likely to be flagged: hate"),
        (3, "not screened: no result"),
        (4, "not screened: no result"),
    ]
    service.state.moderation.end = "completed"
    assert len(found(service.screen(["hate", "fine", "violence", "good"], batch=True))) == 2
    second = list(service.state.moderation.batches.values())[1]
    assert second["request_counts"]["total"] == 2


def test_a_batch_that_failed_is_an_error_and_another_one_can_be_created(service: Service) -> None:
    service.state.moderation.end = "failed"
    with pytest.raises(ProviderError, match="failed: the file is empty; run the same"):
        service.screen(["hate"], batch=True)
    service.state.moderation.end = "completed"
    assert len(found(service.screen(["hate"], batch=True))) == 1


def test_requests_of_a_batch_that_are_limited_are_reported(service: Service) -> None:
    prepared = service.screen(["unlucky", "hate"], batch=True)
    assert [place[:2] for place in found(prepared)] == [
        (1, "not screened: the provider refuses the text"),
        (2, "likely to be flagged: hate"),
    ]


def test_a_damaged_record_of_a_batch_is_refused(service: Service) -> None:
    service.state.faults = lambda method, path: "drop before" if "batches" in path else ""
    with pytest.raises(ProviderError):
        service.screen(["hate"], batch=True)
    (record,) = (service.folder / "state").rglob("*.json")
    assert json.loads(record.read_bytes())["is_sent"]
    record.write_bytes(b"{")
    with pytest.raises(FileError, match="is damaged; delete it"):
        service.screen(["hate"], batch=True)


def test_what_is_redacted_is_not_sent(service: Service) -> None:
    with service.client() as client:
        moderation = Moderation(client=client, cache=service.folder / "cache")
        list(screen([{"text": "hi jo@acme.com"}], redact=True, moderation=moderation))
    assert service.state.moderation.texts == ["hi [e-mail address]"]
