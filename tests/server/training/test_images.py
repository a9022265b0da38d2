"""Images that examples embed: decoding within limits, and the lines of those that are refused."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.fixture_types import Write
from support.training import encode_jsonl
from support.vision_models import (
    build_vision_model,
    color_example,
    color_question,
    data_url,
    image_bytes,
    image_part,
)

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from ftkit.server.recipes import builtin_recipes
    from ftkit.server.training.base import load_base_model

    folder = build_vision_model("qwen2_5_vl", tmp_path_factory.mktemp("base") / "qwen")
    base = load_base_model(str(folder), builtin_recipes().find(str(folder)))
    return base.encoder(base.max_tokens("supervised"))


def refusals(encoder: Any, path: Path, format: str = "chat") -> list[tuple[int, str]]:
    from ftkit.server.training.dataset import encode_file

    refused = encode_file(path, encoder, format).refused
    return [(refusal.line, refusal.reason) for refusal in refused]


def example(*urls: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": "Red."}]
    return {"messages": messages}


def png_chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)


def bomb(width: int) -> bytes:
    """Return a square PNG that has far fewer bytes than pixels."""
    header = width.to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    chunks = (
        png_chunk(b"IHDR", header),
        png_chunk(b"IDAT", zlib.compress(bytes(width))),
        png_chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animation(format: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    first.save(file, format, save_all=True, append_images=[second])
    return file.getvalue()


RED = image_bytes("red")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
NOT_AN_IMAGE = "image 1 is not a PNG, JPEG, WEBP or GIF image"


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        (["https://example.com/a.png"], "image 1 is not embedded"),
        (["file:///etc/passwd"], "image 1 is not embedded"),
        (["data:image/png,abc"], "image 1 is not embedded"),
        ([data_url(RED), "http://127.0.0.1/b.png"], "image 2 is not embedded"),
        (["data:image/png;base64,%%%%"], "image 1 is not valid base64"),
        (["data:image/png;base64,"], NOT_AN_IMAGE),
        ([data_url(b"not an image")], NOT_AN_IMAGE),
        ([data_url(SVG, "image/svg+xml")], NOT_AN_IMAGE),
        ([data_url(image_bytes("red", format="BMP"))], NOT_AN_IMAGE),
        ([data_url(image_bytes("red", format="TIFF"))], NOT_AN_IMAGE),
        ([data_url(RED[:-30])], "image 1 cannot be decoded"),
        ([data_url(image_bytes("red", (400, 400), "JPEG")[:-800])], "image 1 cannot be decoded"),
        ([data_url(bomb(100_000))], "image 1 exceeds the limit of 64,000,000 pixels"),
        ([data_url(bomb(10_000))], "image 1 exceeds the limit of 64,000,000 pixels"),
        ([data_url(bomb(8_100))], "image 1 exceeds the limit of 64,000,000 pixels"),
        ([data_url(image_bytes(1, (6000, 6000), "PNG"))] * 2, "image 2 exceeds the limit of 64"),
        ([data_url(animation("GIF"))], "image 1 is animated"),
        ([data_url(animation("WEBP"))], "image 1 is animated"),
        ([data_url(animation("PNG"))], "image 1 is animated"),
        (["data:image/png;base64," + "A" * 14_000_000], "image 1 exceeds the limit of 10,000,000"),
        ([data_url(RED)] * 65, "there are 65 images; the limit is 64"),
        ([data_url(image_bytes("red", (500, 2)))], "the base model's image processor says: "),
        ([data_url(image_bytes("red", (40_000, 1)))], "image 1 has 40,000 x 1 pixels; one side"),
        ([data_url(image_bytes("red", (1, 257)))], "must not be more than 256 times as long"),
        ([data_url(image_bytes("red", (448, 448)))] * 60, "exceed the limit of 512 tokens"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else f"{len(value)} images",
)
def test_an_image_that_cannot_be_used_is_refused_with_its_line(
    urls: list[str], reason: str, encoder: Any, write: Write
) -> None:
    path = write(encode_jsonl([color_example("red", "Red."), example(*urls)]))
    ((line, text),) = refusals(encoder, path)
    assert line == 2
    assert reason in text
    assert len(text) < 300


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "LA", "CMYK", "I;16"])
def test_images_of_each_format_and_mode_become_rgb(format: str, mode: str) -> None:
    from PIL import Image

    from ftkit.server.training.images import decode_images

    file = io.BytesIO()
    try:
        Image.new(mode, (9, 5)).save(file, format)
    except (OSError, ValueError):
        pytest.skip(f"{format} has no mode {mode}")
    (image,) = decode_images([data_url(file.getvalue())])
    assert (image.mode, image.size) == ("RGB", (9, 5))


def test_the_rotation_that_a_camera_stores_is_applied() -> None:
    from PIL import Image

    from ftkit.server.training.images import decode_images

    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.new("RGB", (9, 5)).save(file, "JPEG", exif=exif)
    assert decode_images([data_url(file.getvalue())])[0].size == (5, 9)


def test_encoded_examples_do_not_hold_their_images(encoder: Any, write: Write) -> None:
    from PIL import Image

    from ftkit.server.training.dataset import encode_file

    file = io.BytesIO()
    Image.effect_noise((700, 700), 100).save(file, "PNG")
    content = encode_jsonl([example(data_url(file.getvalue()))] * 3)
    encoded = encode_file(write(content), encoder, "chat").encoded
    assert len(content) > 1_000_000
    assert len(encoded) == 3
    assert len(msgspec.json.encode(encoded)) < 10_000


def test_a_base_model_without_image_input_is_not_trained_on_images(write: Write) -> None:
    from ftkit.server.training.encoding import Encoder
    from ftkit.server.training.smoke import build_tokenizer

    path = write(encode_jsonl([color_example("red", "Red.")]))
    reason = "the base model does not support images"
    assert refusals(Encoder(build_tokenizer(), 512), path) == [(1, reason)]


def test_images_in_preferences_are_refused(encoder: Any, write: Write) -> None:
    preference = {
        "input": {"messages": color_question("red")},
        "preferred_output": [{"role": "assistant", "content": "Red."}],
        "non_preferred_output": [{"role": "assistant", "content": "Blue."}],
    }
    reason = "images in preferences are not supported; remove the example"
    path = write(encode_jsonl([preference]))
    assert refusals(encoder, path, "preference") == [(1, reason)]


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_images_of_others_than_the_user_are_refused(role: str, encoder: Any, write: Write) -> None:
    message = {"role": role, "content": [image_part(RED)]}
    messages = [*color_question("red"), message, {"role": "assistant", "content": "Red."}]
    path = write(encode_jsonl([{"messages": messages}]))
    assert refusals(encoder, path) == [
        (1, "images are supported in user messages only; move it to one")
    ]


@pytest.mark.parametrize("with_image", [False, True])
@pytest.mark.parametrize("by", ["user", "assistant"])
def test_a_text_that_contains_an_image_token_is_refused(
    with_image: bool, by: str, encoder: Any, write: Write
) -> None:
    texts = {"user": "Hi", "assistant": "Red.", by: "a <|image_pad|> b"}
    content = [*([image_part(RED)] if with_image else []), {"type": "text", "text": texts["user"]}]
    messages = [
        {"role": "user", "content": content},
        {"role": "assistant", "content": texts["assistant"]},
    ]
    ((line, reason),) = refusals(encoder, write(encode_jsonl([{"messages": messages}])))
    assert (line, "stands for an image" in reason) == (1, True)


def test_bytes_of_a_line_are_not_quoted_in_a_reason(encoder: Any, write: Write) -> None:
    secret = base64.b64encode(b"secret" * 100).decode()
    path = write(json.dumps(example(f"data:image/png;base64,{secret}")).encode() + b"\n")
    ((_, reason),) = refusals(encoder, path)
    assert secret[:20] not in reason
