"""Hostile accounts: providers whose objects hold odd values, archived and then healed."""

from __future__ import annotations

import copy
import json
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from ftkit.archive.fetch import EMPTY
from ftkit.archive.layout import key_of
from ftkit.archive.read import Archive, open_archive
from ftkit.archive.serialize import without_deep_values
from ftkit.archive.sync import SyncResult
from ftkit.archive.verify import verify
from ftkit.client.resources import Job
from ftkit.errors import FtkitError
from support.archives import add_job, save_archive
from support.fake_provider import FakeProvider
from support.hostile import Cases
from support.hostile_archives import nested, positions

ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**399,
    -(10**399),
    1.7e308,
    float("nan"),
    "",
    "x" * 10_000,
    "\ud83d",
    "a\ud83db",
    "../../x",
    "a?b#c/d",
    "a\0b",
    "con",
    "</script><script>alert(1)</script>",
    [],
    {},
    [[]],
    ["x", {"id": 5}],
    "@deep@",
    {"a": [1]},
]
"""Values in the place of those that a provider sends."""

DEEP_STRING, DEEP_JSON = b'"@deep@"', b"[" * 100_000 + b"]" * 100_000
"""String that the provider sends as a value that is nested too deeply to be read."""

ODD_RESULTS = [
    b"",
    b"step",
    b"\xff\xfe\0",
    b"x" * 200_000 + b",step\n1,2\n",
    b"step," + b"," * 100_000 + b"\n" + b"1\n" * 100,
    b"step,train_loss\n1," + b"9" * 200_000,
    b"step,train_loss\n1,1e308\n2,-1e308\n-1e308,nan\n1e308,inf",
    b'step,train_loss\n"',
]
"""Contents of result files."""


class Account:
    """The objects of a fake provider, some of which are mutated and healed again."""

    def __init__(self, state: FakeProvider) -> None:
        self._state = state
        state.is_admin = True
        state.encode = lambda answer: json.dumps(answer).encode().replace(DEEP_STRING, DEEP_JSON)
        self.whole, self.odd = (add_job(state, number)["id"] for number in range(2))
        self._kept = {name: copy.deepcopy(getattr(state, name)) for name in self._parts()}

    @staticmethod
    def _parts() -> tuple[str, ...]:
        return ("jobs", "events", "checkpoints", "files", "contents", "models", "permissions")

    def heal(self) -> None:
        """Restore all objects."""
        for name, objects in self._kept.items():
            setattr(self._state, name, copy.deepcopy(objects))

    def mutate(self, chance: Random) -> str:
        """Put an odd value into an object of the second job, and return a description."""
        state, job = self._state, self._state.jobs[self.odd]
        results = job["result_files"][0]
        if chance.random() < 0.15:
            state.contents[results] = content = chance.choice(ODD_RESULTS)
            return f"results {content[:100]!r}"
        name, target = chance.choice(
            [
                ("job", job),
                ("job", job),
                ("event", chance.choice(state.events[self.odd])),
                ("checkpoint", chance.choice(state.checkpoints[self.odd])),
                ("file", state.files[chance.choice((job["training_file"], results))]),
                ("model", state.models[job["fine_tuned_model"]]),
            ]
        )
        *owner_path, key = chance.choice([path for path in positions(target) if path])
        owner: Any = target
        for step in owner_path:
            owner = owner[step]
        deep = nested(chance.choice((90, 200, 600)))
        value = deep if chance.random() < 0.1 else chance.choice(ODD_VALUES)
        if chance.random() < 0.1:
            del owner[key]
        else:
            owner[key] = value
        return f"{name} {owner_path} {key}: {ascii(value) if value is not deep else 'nested'}"


def test_hostile_accounts(
    hostile: Cases, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    """What is not mutated is archived, what cannot be stored is noted, and a second run heals it."""
    account = Account(fake_provider)
    for number, chance in hostile:
        description = account.mutate(chance)
        folder = tmp_path / "a"
        with hostile.case(number, description):
            hostile.count_outcome(archive_odd(account, fake_provider, provider_url, folder))
            account.heal()
            saved = save_archive(provider_url, folder)
            check_whole(saved, account, fake_provider)
            archived = open_archive(folder).job(account.odd)
            check_healed(archived.job.raw, fake_provider.jobs[account.odd])
            assert archived.training
            assert archived.results
        shutil.rmtree(folder)


def check_healed(archived: dict[str, Any], healed: dict[str, Any]) -> None:
    """Check that the job is archived as it is now, unless it has lost a value since."""
    lost = any(value not in EMPTY and healed.get(name) in EMPTY for name, value in archived.items())
    assert lost or archived == healed


def archive_odd(account: Account, state: FakeProvider, url: str, folder: Path) -> str:
    """Archive the mutated account, and return how that ended."""
    with suppress(FtkitError):
        saved = save_archive(url, folder)
        check_whole(saved, account, state)
        check_odd(open_archive(folder), state)
        return "noted" if saved.manifest.missing else "exact"
    return "refused"


def check_whole(saved: SyncResult, account: Account, state: FakeProvider) -> None:
    """Check that nothing is damaged, and that the job without odd values is archived."""
    verification = verify(saved.folder)
    paths = (verification.changed, verification.gone, verification.unknown)
    assert (paths, verification.interrupted) == (((), (), ()), False)
    job = open_archive(saved.folder).job(account.whole)
    assert job.job.raw == state.jobs[account.whole]
    assert [event.raw for event in job.events] == state.events[account.whole][::-1]
    assert len(job.checkpoints) == len(state.checkpoints[account.whole])
    assert job.training
    assert job.training.read_bytes() == state.contents[job.job.training_file]
    assert job.metrics().rows
    assert not job.missing


def check_odd(archive: Archive, state: FakeProvider) -> None:
    """Check that each job with an id is archived exactly, or noted."""
    inexact = {
        item.job
        for item in archive.manifest.missing
        if (item.what, item.reason) == ("job", "inexact")
    }
    archived = {job.id: repr(job.job.raw) for job in archive.jobs()}
    for job in state.jobs.values():
        if id := Job.read(job).id:
            stored = without_deep_values(job)
            assert archived[key_of(id)] == repr(stored)
            assert (key_of(id) in inexact) == (stored != job)
