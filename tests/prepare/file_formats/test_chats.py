"""Exported chats: WhatsApp, Telegram and Slack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import FileError, UnknownNameError, UsageError
from ftkit.prepare.convert.convert import convert
from ftkit.prepare.file_formats import whatsapp as whatsapp_reader
from ftkit.prepare.file_formats.base import MissingOptionError, ReadOptions
from ftkit.prepare.file_formats.shared import chats
from support.chat_exports import ANN, CHAT, WHATSAPP, effects, read, telegram

LOSS = "image or file: no place in chat"
NOBODY = "message that nobody wrote"
UNASKED = "answer to a message without text: no place in chat"


@pytest.mark.parametrize(
    "openings",
    [
        ("31.12.25, 23:58 - ", "31.12.25, 23:59 - "),
        ("12/31/25, 11:58\u202fPM - ", "12/31/25, 11:59\u202fPM - "),
        ("31/12/2025, 23:58 - ", "31/12/2025, 23:59 - "),
        ("[31.12.25, 23:58:01] ", "\u200e[31.12.25, 23:59:01] "),
        ("[12/31/25, 11:58:01 PM] ", "[12/31/25, 11:59:01 PM] "),
        ("2025-12-31, 11:58 p.m. - ", "2025-12-31, 11:59 p.m. - "),
    ],
)
def test_whatsapp_dates_of_all_locales_are_read(tmp_path: Path, openings: tuple[str, str]) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(f"{openings[0]}Bob: Hi\nthere: you\n\n{openings[1]}Ann: Hello\n", "utf-8")
    examples, audit = read(path)
    assert examples == [[("user", "Hi\nthere: you"), ("assistant", "Hello")]]
    assert audit.entries == []


def test_pauses_divide_a_chat_and_successive_messages_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(WHATSAPP, "utf-8")
    examples, audit = read(path)
    assert examples == [
        [
            ("Bob", "one\ntwo"),
            ("Cl_o_M", "three"),
            ("assistant", "four"),
            ("Bob", "a caption"),
            ("assistant", "five"),
        ],
        [("user", "eight"), ("assistant", "nine")],
    ]
    assert effects(audit) == [
        ("note", NOBODY, ""),
        ("loss", LOSS, ""),
        ("loss", LOSS, ""),
        ("loss", LOSS, ""),
        ("note", "message in front of a question", ""),
        ("dropped", "no answer of 'Ann'", ""),
    ]
    assert sorted(entry.origin.line for entry in audit.entries) == [1, 6, 7, 8, 11, 12]
    assert len(read(path, ReadOptions(me="Ann", pause=24))[0]) == 1


def whatsapp(path: Path, *messages: str) -> Path:
    """Write messages such as "Bob: text", a minute apart."""
    lines = [f"31.12.25, 10:{minute:02} - {text}" for minute, text in enumerate(messages)]
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "typed", "effect"),
    [
        ("This message was deleted", "", ("note", "deleted message")),
        ("\u200eYou deleted this message.", "", ("note", "deleted message")),
        ("This message was deleted by admin Zoe", "", ("note", "deleted message")),
        ("Diese Nachricht wurde gelöscht.", "", ("note", "deleted message")),
        ("Это сообщение было удалено", "", ("note", "deleted message")),
        ("I think this message was deleted", "I think this message was deleted", None),
        ("Missed voice call", "", ("note", "call")),
        (
            "Waiting for this message. This may take a while.",
            "",
            ("note", "message that has not arrived"),
        ),
        ("<Medien ausgeschlossen>", "", ("loss", "image or file")),
        ("<ohitettu>", "", ("loss", "image or file")),
        ("<image omitted> look at it", "look at it", ("loss", "image or file")),
        ("<b> is a tag", "<b> is a tag", None),
        ("video omitted", "", ("loss", "image or file")),
        ("\u200e<attached: 0001-PHOTO.jpg>", "", ("loss", "image or file")),
        ("look \u200e<attached: 0001-PHOTO.jpg>", "look", ("loss", "image or file")),
        ("look \u200eimage omitted", "look", ("loss", "image or file")),
        ("a.pdf (file attached)\nread it", "read it", ("loss", "image or file")),
        ("\u200ekuva puuttuu", "", ("loss", "image, file or notice")),
        ("look <Diese Nachricht wurde bearbeitet>", "look", None),
        ("look \u200e<muokattu>", "look", ("note", "image, file or notice")),
    ],
)
def test_texts_of_whatsapp_itself_are_no_messages(
    tmp_path: Path, text: str, typed: str, effect: tuple[str, str] | None
) -> None:
    path = whatsapp(tmp_path / "chat.txt", "Bob: one", f"Bob: {text}", "Ann: two")
    [[question, answer]], audit = read(path)
    assert question == ("user", f"one\n{typed}".rstrip())
    assert answer == ("assistant", "two")
    expected = [] if effect is None else [effect]
    assert [(entry.effect, entry.reason.partition(":")[0]) for entry in audit.entries] == expected
    assert all(entry.origin.line == 2 for entry in audit.entries)


def test_a_notice_is_no_answer(tmp_path: Path) -> None:
    deleted = "Ann: You deleted this message"
    path = whatsapp(tmp_path / "chat.txt", "Bob: one", deleted, "Bob: two", "Ann: three")
    assert read(path)[0] == [[("user", "one\ntwo"), ("assistant", "three")]]
    assert read(whatsapp(path, "Bob: one", deleted))[0] == []


def test_a_conversation_begins_with_the_first_text_of_another(tmp_path: Path) -> None:
    omitted = "Bob: <Media omitted>"
    path = whatsapp(tmp_path / "chat.txt", omitted, "Ann: nice", "Bob: q", "Ann: a", omitted)
    examples, audit = read(path)
    assert examples == [[("user", "q"), ("assistant", "a")]]
    assert [(entry.effect, entry.reason, entry.origin.line) for entry in audit.entries] == [
        ("note", "image or file", 1),
        ("note", "message in front of a question", 2),
        ("note", "image or file", 5),
    ]


def test_an_answer_to_an_image_answers_no_other_question(tmp_path: Path) -> None:
    omitted = "Bob: <Media omitted>"
    chat = ("Bob: q", "Ann: a", omitted, "Ann: nice", "Ann: very", "Bob: r", omitted, "Ann: b")
    examples, audit = read(whatsapp(tmp_path / "chat.txt", *chat))
    assert examples == [
        [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")],
    ]
    assert [(entry.reason, entry.origin.line) for entry in audit.entries] == [
        (LOSS, 3),
        (UNASKED, 4),
        (UNASKED, 5),
        (LOSS, 7),
    ]


def test_text_in_front_of_a_chat_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("My chat\n\n1.1.26, 10:00 - Bob: a\n1.1.26, 10:00 - Ann: b\n", "utf-8")
    examples, audit = read(path, from_="whatsapp")
    assert len(examples) == 1
    assert effects(audit) == [("note", "text in front of the first message", "")]


def test_the_map_names_the_messages_of_a_conversation(tmp_path: Path) -> None:
    path, map = tmp_path / "chat.txt", tmp_path / "map"
    path.write_text(WHATSAPP, "utf-8")
    prepared = convert(path, to="chat", reading=ANN, on_loss="allow")
    prepared.write(tmp_path / "out", map)
    lines = [json.loads(line)["sources"] for line in map.read_text().splitlines()]
    assert [source["line"] for source in lines[1]] == [12, 13, 14]


def test_days_and_months_are_told_apart_by_their_order(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    lines = ["1/12/25, 10:00 - Bob: a", "2/1/25, 10:00 - Ann: b", "2/1/25, 11:00 - Bob: c"]
    path.write_text("\n".join(lines), "utf-8")
    assert read(path)[0] == []  # the second message is of the first of February
    assert len(read(path, ReadOptions(me="Ann", pause=24 * 30))[0]) == 1


def test_the_authors_are_named_if_nobody_is_or_the_name_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(WHATSAPP, "utf-8")
    authors = r"set `me` to .*; its authors are 'Bob', 'Cléo M', 'Ann'"
    with pytest.raises(MissingOptionError, match=authors) as missing:
        read(path, ReadOptions())
    assert (missing.value.option, missing.value.value) == ("me", "Bob")
    with pytest.raises(UsageError, match="no message of 'ann', but of 'Bob'"):
        read(path, ReadOptions(me="ann"))
    with pytest.raises(UsageError, match=r"`sheet` applies to xlsx, but .* is whatsapp"):
        read(path, ReadOptions(me="Ann", sheet="x"))


def test_a_chat_has_no_other_format(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(WHATSAPP, "utf-8")
    for arguments in ({"from_": "alpaca"}, {"field": {"user": "a"}}):
        with pytest.raises(UsageError, match=r"is a chat.*: leave out `from_` and `field`"):
            read(path, **arguments)
    with pytest.raises(
        UnknownNameError, match=r"unknown format 'whatsap'; did you mean 'whatsapp'"
    ):
        read(path, from_="whatsap")


def test_a_conversation_without_pauses_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chats, "MAX_MESSAGES", 4)
    path = tmp_path / "chat.txt"
    path.write_text("1.1.26, 10:00 - Bob: a\n1.1.26, 10:00 - Ann: b\n" * 5, "utf-8")
    assert [len(example) for example in read(path)[0]] == [4, 4, 2]
    monkeypatch.setattr(chats, "MAX_CHARS", 1)
    assert [len(example) for example in read(path)[0]] == [2] * 5


def test_a_message_of_many_lines_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whatsapp_reader, "MAX_ROW_CHARS", 500)
    path = whatsapp(tmp_path / "chat.txt", "Bob: a\n" + "b\n" * 9)
    with pytest.raises(FileError, match=r"chat\.txt:1: a message has too many characters"):
        read(path)


ACCOUNT = {"about": "Here", "personal_information": {}, "chats": {"about": "", "list": [CHAT]}}


@pytest.mark.parametrize(
    ("document", "place"), [(CHAT, "/messages"), (ACCOUNT, "/chats/list/0/messages")]
)
@pytest.mark.parametrize("me", ["Ann", "user_Ann"])
@pytest.mark.parametrize("indent", [None, 1])
def test_telegram_texts_may_be_lists(
    tmp_path: Path, document: Any, place: str, me: str, indent: int | None
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document, indent=indent))
    examples, audit = read(path, ReadOptions(me=me))
    assert examples == [[("user", "see this x\nhere"), ("assistant", "fine")]]
    assert effects(audit)[:3] == [
        ("note", NOBODY, f"{place}/0"),
        ("loss", "address of a link: no place in chat", f"{place}/2"),
        ("loss", "image: no place in chat", f"{place}/2"),
    ]


def test_what_telegram_adds_to_a_message_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    messages = [
        telegram("q", reply_to_message_id=7, reactions=[{"emoji": "+"}]),
        telegram("a", "Ann", forwarded_from="Zoe"),
        telegram("", poll={"question": "?"}),
        telegram("yes", "Ann"),
        telegram("", type="unsupported"),
        telegram(""),
        telegram("so?"),
        telegram("so", "Ann"),
    ]
    path.write_text(json.dumps({**CHAT, "messages": messages}))
    examples, audit = read(path)
    assert examples == [
        [("user", "q"), ("assistant", "a"), ("user", "so?"), ("assistant", "so")],
    ]
    assert [(entry.effect, entry.reason.partition(":")[0]) for entry in audit.entries] == [
        ("note", "reference to the message that is answered"),
        ("note", "reactions"),
        ("note", "author of a forwarded message"),
        ("loss", "poll"),
        ("loss", UNASKED.partition(":")[0]),
        ("loss", "message that Telegram does not export"),
        ("loss", "message without text"),
    ]


def test_chats_that_were_left_are_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**ACCOUNT, "left_chats": {"list": [CHAT]}}))
    examples, audit = read(path)
    assert len(examples) == 2
    assert audit.entries[-1].pointer.startswith("/left_chats/list/0/messages/")


def test_a_broken_telegram_chat_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(CHAT).replace('"fine"', "fine"))
    with pytest.raises(FileError, match="is not a JSON object; export the chat again"):
        read(path)


def slack(user: str, text: str, ts: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "user": user, "text": text, "ts": ts, **more}


USERS = [
    {"id": "U1", "name": "bob", "profile": {"display_name": "", "real_name": "Bob B"}},
    {"id": "U2", "name": "ann", "profile": {"display_name": "Ann"}},
]
DAYS = {
    "2026-01-01": [
        slack("U1", "has joined", "100.0", subtype="channel_join"),
        slack(
            "U1", "<@U2> a &lt; b? <https://x|see> <#C1|ops> <!here>", "100.1", thread_ts="100.1"
        ),
        slack("U1", "outside", "100.2", files=[{"id": "F"}]),
    ],
    "2026-01-02": [
        slack("U2", "reply", "90000.1", thread_ts="100.1"),
        slack("U2", "answer <@U9>", "90000.2"),
        slack("U1", "again", "90001.0"),
        slack("U2", "yes", "90002.0"),
    ],
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    (folder / "general").mkdir(parents=True)
    (folder / "users.json").write_text(json.dumps(USERS))
    for day, messages in DAYS.items():
        (folder / "general" / f"{day}.json").write_text(json.dumps(messages))
    return folder


def test_slack_threads_are_conversations_across_days(export: Path) -> None:
    examples, audit = read(export)
    assert examples == [
        [("user", "again"), ("assistant", "yes")],
        [("user", "@Ann a < b? see (https://x) #ops @here"), ("assistant", "reply")],
    ]
    assert ("dropped", "no answer of 'Ann'", "") in effects(audit)
    assert read(export / "general")[0] == examples
    joined = read(export, ReadOptions(me="Ann", pause=48))[0][0]
    assert joined[:2] == [("user", "outside"), ("assistant", "answer @U9")]


def test_what_slack_adds_to_a_message_is_reported(tmp_path: Path) -> None:
    day = [
        slack("U2", "q", "1.0", attachments=[{"from_url": "x"}, {"fallback": "y"}]),
        slack("Ann", "a", "2.0", reactions=[{"name": "+1"}]),
        slack("U2", "This message was deleted.", "3.0", subtype="tombstone"),
        slack("Ann", "ok", "4.0"),
        slack("B1", "", "5.0", blocks=[{"type": "section"}]),
        {"type": "canvas"},
        slack("U2", "", "6.0", subtype="message_changed"),
        slack("U2", "r", "7.0"),
        slack("Ann", "b", "8.0"),
    ]
    folder = tmp_path / "general"
    folder.mkdir()
    (folder / "2026-01-01.json").write_text(json.dumps(day))
    examples, audit = read(folder)
    assert examples == [
        [("U2", "q"), ("assistant", "a"), ("U2", "r"), ("assistant", "b")],
    ]
    entries = [(entry.effect, entry.reason.partition(":")[0]) for entry in audit.entries]
    assert sorted(entries, key=lambda entry: entry[1] != NOBODY) == [
        ("note", NOBODY),
        ("note", NOBODY),
        ("loss", "attachment"),
        ("note", "preview of a link"),
        ("note", "reactions"),
        ("note", "deleted message"),
        ("loss", UNASKED.partition(":")[0]),
        ("loss", "blocks"),
    ]


def test_folders_that_are_no_export_are_refused(tmp_path: Path, export: Path) -> None:
    with pytest.raises(FileError, match="is a folder, but no export"):
        read(tmp_path)
    (export / "general" / "2026-01-03.json").write_text("{")
    with pytest.raises(FileError, match=r"2026-01-03.json is not from a Slack export"):
        read(export)
