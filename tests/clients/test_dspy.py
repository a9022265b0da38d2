"""DSPy: predictions, and fine-tuning by its provider for OpenAI."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from support.local_server import LocalServer
from support.models import MINI
from support.training import CITIES, city_example, question

# DSPy uses what other packages deprecate.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


def language_model(model: str, **more: Any) -> Any:
    import dspy

    return dspy.LM(f"openai/{model}", temperature=0, cache=False, **more)


def test_a_tuned_model_answers(tuned: str) -> None:
    model = language_model(tuned)
    assert model(messages=question("Tokyo")) == ["oykoT"]
    assert model.history[-1]["usage"]["completion_tokens"] == len("oykoT") + 1


def test_a_signature_is_predicted_as_json() -> None:
    import dspy

    class Forecast(dspy.Signature):
        """Forecast the weather."""

        city: str = dspy.InputField()
        sky: Literal["clear", "grey"] = dspy.OutputField()

    with dspy.context(lm=language_model(MINI, max_tokens=200), adapter=dspy.JSONAdapter()):
        prediction = dspy.Predict(Forecast)(city="Lima")
    assert prediction.sky in ("clear", "grey")


def test_a_model_is_fine_tuned_and_used(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspy.clients.openai import OpenAIProvider
    from dspy.clients.utils_finetune import TrainDataFormat

    # It polls every 20 seconds otherwise.
    monkeypatch.setattr(OpenAIProvider.wait_for_job, "__defaults__", (0.5,))
    job = language_model(MINI).finetune(
        train_data=[city_example(name, name[::-1]) for name in CITIES],
        train_data_format=TrainDataFormat.CHAT,
        train_kwargs={"n_epochs": 1, "batch_size": 12},
    )
    model = job.result(timeout=300)
    assert not isinstance(model, Exception), model
    with server.client() as client:
        trained = client.fine_tuning.jobs.retrieve(job.provider_job_id)
    assert model.model == trained.fine_tuned_model
    assert trained.hyperparameters.n_epochs == 1
    assert len(model(messages=question("Lima"), max_tokens=5)) == 1
