"""Users who follow the commands that ftkit prints, on a terminal, in a pipe and without colours."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.examples import chat_lines
from support.fake_provider import FakeProvider, serving
from support.walking import MODES, User

MINI = "gpt-4o-mini-2024-07-18"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
TUNED = f"ft:{MINI}:me::1"


@pytest.fixture(params=MODES)
def user(request: pytest.FixtureRequest) -> User:
    """A user on a terminal of 80 columns, in a pipe, and with NO_COLOR."""
    return User(request.param)


@pytest.fixture
def provider(
    fake_provider: FakeProvider, provider_url: str, monkeypatch: pytest.MonkeyPatch
) -> FakeProvider:
    """A provider with the user's account, where jobs succeed at once."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("FTKIT_BASE_URL", provider_url)
    monkeypatch.setenv("FTKIT_STATE_DIR", "state")
    fake_provider.on_job = lambda job: job.update(status="succeeded", fine_tuned_model=TUNED)
    fake_provider.models[TUNED] = {
        "id": TUNED,
        "object": "model",
        "created": 1,
        "owned_by": "me",
    }
    return fake_provider


@pytest.fixture
def other_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of another provider, where the user has an account too."""
    monkeypatch.setenv("NEBIUS_API_KEY", "sk-test")
    other = FakeProvider()
    other.on_job = lambda job: job.update(status="succeeded", fine_tuned_model="ft:llama:me::1")
    with serving(other) as url:
        yield url


def write_chats(name: str, *broken: int) -> str:
    """Write 60 clean examples, but an error of syntax on some lines, and return the name of the file."""
    lines = chat_lines(60)
    for number in broken:
        lines[number - 1] = lines[number - 1].replace(b"}]}", b"},]}")
    Path(name).write_bytes(b"\n".join(lines) + b"\n")
    return name


def test_from_a_csv_file_to_a_chat_with_the_model(user: User, provider: FakeProvider) -> None:
    rows = [{"question": f"What follows {n}?", "answer": f"{n + 1} follows."} for n in range(60)]
    with open("chats.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    screen = user.run("ftkit validate chats.csv", code=1)
    assert 'the file is CSV; turn each row into a line of JSON: {"messages": [...]}' in screen.text
    user.run(screen.command("ftkit rule").replace("NAME", "FT201"), fits=False)

    with open("chats.csv", newline="") as source, open("chats.jsonl", "w") as target:
        for row in csv.DictReader(source):
            question = {"role": "user", "content": row["question"]}
            answer = {"role": "assistant", "content": row["answer"]}
            print(json.dumps({"messages": [question, answer]}), file=target)
    assert "All clear: 60 examples" in user.run("ftkit validate chats.jsonl").text

    estimate = user.run("ftkit --help").command("ftkit estimate")
    assert MINI in user.run(estimate.replace("samples/marv.jsonl", "chats.jsonl")).text
    helped = user.run("ftkit submit --help")
    dry, watched = (
        next(line for line in helped.commands if line.endswith(option)).replace(
            "samples/marv.jsonl", "chats.jsonl"
        )
        for option in ("--dry-run", "--watch")
    )
    user.run(dry, fits=False)
    assert not provider.created
    chat = user.run(f"{watched} --yes").command("ftkit chat")
    assert "two one" in user.run(chat, input="one two\n").text


def test_from_a_refused_file_to_one_that_is_clean(user: User) -> None:
    write_chats("data.jsonl", 5)
    unknown = user.run('ftkit explain "The file is wrong"', code=1)
    user.run(unknown.command("ftkit validate").replace("FILE", "data.jsonl"), code=1)

    explain = user.run("ftkit explain --help").command("ftkit explain")
    explained = user.run(f"{explain.replace('Line 1', 'Line 5')} data.jsonl", fits=False)
    assert "data.jsonl:5: FT120 json-syntax" in explained.text
    refused = user.run("ftkit validate data.jsonl", code=1)
    assert "data.jsonl:5:" in refused.text
    user.run(refused.command("ftkit rule").replace("NAME", "json-syntax"), fits=False)

    write_chats("data.jsonl")
    assert "All clear" in user.run("ftkit validate data.jsonl").text


def test_from_a_failed_job_to_the_rule_of_its_error(user: User, provider: FakeProvider) -> None:
    write_chats("data.jsonl")
    error = {"code": "invalid_training_file", "message": "Line 5 contains invalid JSON"}
    provider.on_job = lambda job: job.update(status="failed", error=error)
    screen = user.run(f"ftkit submit data.jsonl --model {MINI} --yes")
    watched = user.run(screen.command("ftkit jobs watch"), code=1)
    doctor = user.run(watched.command("ftkit jobs doctor"), code=1)
    user.run(doctor.command("ftkit rule"), fits=False)


def test_checks_of_files_in_ci(user: User) -> None:
    write_chats("good.jsonl")
    write_chats("bad.jsonl", 5, 7)
    user.run("ftkit validate good.jsonl")
    user.run("ftkit validate good.jsonl bad.jsonl", code=1)
    user.run("ftkit validate missing.jsonl", code=2)

    def run(format: str) -> str:
        line = f"ftkit validate good.jsonl bad.jsonl --output {format}"
        return user.run(line, code=1, fits=False).text

    assert [line.split(",")[1] for line in run("github").splitlines()] == ["line=5", "line=7"]
    assert len(ElementTree.fromstring(run("junit")).findall(".//failure")) > 0
    assert [item["location"]["lines"]["begin"] for item in json.loads(run("gitlab"))] == [5, 7]
    _, bad = json.loads(run("json"))["files"]
    assert [finding["line"] for finding in bad["findings"]] == [5, 7]


def test_a_report_for_ci_in_a_file(user: User) -> None:
    write_chats("good.jsonl")
    screen = user.run("ftkit validate good.jsonl --output junit.xml", code=2)
    assert "--output-file" in screen.text
    user.run("ftkit validate good.jsonl --output junit --output-file junit.xml", fits=False)
    assert ElementTree.parse("junit.xml").getroot().tag == "testsuites"


def test_from_an_account_that_closes_to_another_provider(
    user: User, provider: FakeProvider, other_provider: str
) -> None:
    file = provider.add_file("train.jsonl", b"\n".join(chat_lines(60)))
    job = provider.add_job({"model": MINI, "training_file": file["id"]})
    job |= {"status": "succeeded", "fine_tuned_model": TUNED}
    save = user.run("ftkit archive backup", code=2).command("ftkit archive save")
    assert save == "ftkit archive save backup"
    user.run(save)
    verify = user.run("ftkit archive --help").command("ftkit archive verify")
    assert "intact" in user.run(verify).text

    migrate = user.run("ftkit migrate --help").command("ftkit migrate --archive")
    own = migrate.replace("samples/archive", "backup").replace("local", "nebius")
    assert own.endswith("--dry-run")
    user.run(f"{own} --model {LLAMA}")
    migrate = f"ftkit migrate backup/{job['id']} --to nebius --to-base-url {other_provider}"
    follow = user.run(f"{migrate} --model {LLAMA} --yes").command("ftkit jobs watch")
    chat = user.run(follow).command("ftkit chat")
    assert "two one" in user.run(chat, input="one two\n").text


def test_jobs_files_and_models_after_a_submission(user: User, provider: FakeProvider) -> None:
    provider._number = 10_000  # ids that are long enough to be shortened
    write_chats("data.jsonl")
    screen = user.run(f"ftkit submit data.jsonl --model {MINI} --yes")
    id = provider.created[-1]
    assert screen.command("ftkit jobs watch") == f"ftkit jobs watch {id}"
    watch = user.run("ftkit watch", code=2).command("ftkit jobs watch")
    user.run(f"{watch} @last")
    assert id in user.run(user.run("ftkit jobs --help").command("ftkit jobs list")).text
    show = user.run("ftkit jobs show --help").command("ftkit jobs show")
    for name in (id, id[:-1], "@last"):
        assert MINI in user.run(show.replace("ftjob-abc123", name)).text
    listed = user.run("ftkit files --help").command("ftkit files list")
    assert "data" in user.run(listed).text
    user.run("ftkit files show @last")
    listed = user.run("ftkit models --help").command("ftkit models list")
    assert TUNED in user.run(listed).text
    user.run("ftkit models show @last")


def test_from_the_samples_to_a_comparison_as_a_page(user: User) -> None:
    user.run("ftkit samples")
    compare = user.run("ftkit compare --help").command("ftkit compare samples/")
    assert "exact match" in user.run(compare).text
    screen = user.run(f"{compare} --html report.html")
    assert "report.html" in screen.text
    assert Path("report.html").read_text().startswith("<!doctype html>")
    user.run(f"{compare} --output json --quiet", fits=False)
