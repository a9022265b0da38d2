"""LlamaIndex: its engine for fine-tuning, and the model that it returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.local_server import LocalServer, wait_for_job
from support.models import MINI
from support.training import CITY_DATA

# LlamaIndex uses what other packages deprecate.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


def test_an_engine_fine_tunes_a_model_and_returns_it(
    server: LocalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import llama_index.core
    from llama_index.core.llms import ChatMessage
    from llama_index.finetuning import OpenAIFinetuneEngine

    # The engine checks the file with a vocabulary that tiktoken would download.
    folder = Path(llama_index.core.__file__).with_name("_static") / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    # Its models do not read OPENAI_BASE_URL.
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    path = tmp_path / "cities.jsonl"
    path.write_bytes(CITY_DATA)
    engine = OpenAIFinetuneEngine(MINI, str(path))
    engine.finetune()
    assert "No errors found" in capsys.readouterr().out
    with pytest.raises(ValueError, match="does not have a finetuned model id ready"):
        engine.get_finetuned_model()
    with server.client() as client:
        wait_for_job(client, engine.get_current_job().id, "succeeded")
    model = engine.get_finetuned_model(temperature=0)
    question = ChatMessage(role="user", content="Say Tokyo")
    assert model.chat([question]).message.content == "oykoT"
    assert "".join(part.delta for part in model.stream_chat([question])) == "oykoT"
