"""JSON lines and files for the bad and good samples of rules."""

from __future__ import annotations

# Chat

USER = '{"role": "user", "content": "Hi"}'
ASSISTANT = '{"role": "assistant", "content": "Hello!"}'
TOPICS = ("rivers", "birds", "bread", "trains", "clouds", "chess", "tea", "maps", "bees", "tides")


def chat(*messages: str, rest: str = "") -> str:
    """Return a chat example of these messages; `rest` is appended to its keys."""
    return f'{{"messages": [{", ".join(messages)}]{rest}}}'


CHAT = chat(USER, ASSISTANT)
CHAT_LINE = CHAT + "\n"


def user_says(text: str) -> str:
    """Return a chat example with a user message of `text`, which is already escaped."""
    return chat(f'{{"role": "user", "content": "{text}"}}', ASSISTANT)


def numbered_chats(number: int) -> list[str]:
    """Return `number` different chat examples."""
    return [
        chat(
            f'{{"role": "user", "content": "Fact {n} on {TOPICS[n % 10]}?"}}',
            f'{{"role": "assistant", "content": "Number {n}: {TOPICS[n * 7 % 10]}!"}}',
        )
        for n in range(number)
    ]


def file(*lines: str) -> str:
    """Return a file of these lines."""
    return "".join(f"{line}\n" for line in lines)


CHAT_FILE = file(*numbered_chats(60))


def long_chat(weights: tuple[int, int]) -> str:
    """Return a chat example of about 5,000 tokens, with one assistant message near each end.

    Args:
        weights: Weights of the two assistant messages.
    """
    words = " ".join(map(str, range(2500)))
    return chat(
        USER,
        f'{{"role": "assistant", "content": "Go on.", "weight": {weights[0]}}}',
        f'{{"role": "user", "content": "{words}"}}',
        f'{{"role": "assistant", "content": "Thank you.", "weight": {weights[1]}}}',
    )


# Images

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG image of one pixel, in base64."""
PIXEL_URL = f"data:image/png;base64,{PIXEL}"


def user_parts(*parts: str) -> str:
    """Return a chat example with a user message of these content parts."""
    return chat(f'{{"role": "user", "content": [{", ".join(parts)}]}}', ASSISTANT)


def text_part(text: str) -> str:
    """Return a text part of `text`, which is already escaped."""
    return f'{{"type": "text", "text": "{text}"}}'


def image_part(url: str, rest: str = "") -> str:
    """Return an image part; `rest` is appended to the keys of `image_url`."""
    return f'{{"type": "image_url", "image_url": {{"url": "{url}"{rest}}}}}'


IMAGE_CHAT = user_parts(text_part("What is it?"), image_part(PIXEL_URL))

# Tools

ASK = '{"role": "user", "content": "Weather in Oulu?"}'
SAY = '{"role": "assistant", "content": "It is -3 degrees."}'
TOOL = (
    '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", '
    '"properties": {"town": {"type": "string"}}, "required": ["town"]}}}'
)
TOOLS = f', "tools": [{TOOL}]'


def tool_call(
    arguments: str = r'"{\"town\": \"Oulu\"}"',
    name: str = '"weather"',
    id: str = '"id": "call_1", ',
) -> str:
    """Return an assistant message with one tool call; all arguments are JSON."""
    return (
        f'{{"role": "assistant", "tool_calls": [{{{id}"type": "function", '
        f'"function": {{"name": {name}, "arguments": {arguments}}}}}]}}'
    )


def tool_answer(id: str = "call_1") -> str:
    """Return a tool message that answers the call with this id."""
    return f'{{"role": "tool", "tool_call_id": "{id}", "content": "-3"}}'


TOOL_CHAT = chat(ASK, tool_call(), tool_answer(), SAY, rest=TOOLS)

# Completions

SEPARATOR = "\\n\\n###\\n\\n"
"""A prompt separator, escaped for JSON."""
WORDS = (
    *("seven", "tin", "Loire", "insulin", "Rembrandt", "heptagon"),
    *("Alhambra", "carbon", "Spain", "metre", "Oulu", "gas"),
)


def completion(prompt: str, completion: str) -> str:
    """Return a completions example of two texts that are already escaped."""
    return f'{{"prompt": "{prompt}", "completion": "{completion}"}}'


def completion_file(prompt: str, answer: str) -> str:
    """Return a file of sixty completions examples; `{}` in the arguments stands for a word."""
    words = [f"{a} {b}" for a in WORDS for b in WORDS if a != b][:60]
    return file(
        *(
            completion(prompt.replace("{}", word), answer.replace("{}", word[::-1]))
            for word in words
        )
    )


COMPLETION = completion(f"Hi{SEPARATOR}", " Hello! END")
COMPLETION_FILE = completion_file(f"{{}}{SEPARATOR}", " {} END")

# Preference

PREFERRED = f"[{ASSISTANT}]"
REJECTED = '[{"role": "assistant", "content": "What?"}]'
INPUT = f'{{"messages": [{USER}]}}'


def preference(input: str = INPUT, preferred: str = PREFERRED, rejected: str = REJECTED) -> str:
    """Return a preference example; all arguments are JSON."""
    return (
        f'{{"input": {input}, "preferred_output": {preferred}, "non_preferred_output": {rejected}}}'
    )


PREFERENCE = preference()

# Reinforcement

SUM = '{"role": "user", "content": "What is 2 + 3?"}'


def reinforcement(*messages: str, rest: str = ', "answer": "5"') -> str:
    """Return a reinforcement example; `rest` holds the fields for the grader."""
    return chat(*messages, rest=rest)


REINFORCEMENT = reinforcement(SUM)
REINFORCEMENT_FILE = file(
    *(reinforcement(SUM.replace("2", str(n)), rest=f', "answer": "{n + 3}"') for n in range(4, 64))
)
