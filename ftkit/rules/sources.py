"""Evidence for rules: each source once, with its URL and date."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Source(Struct, frozen=True):
    """A document, program or message that supports a rule."""

    name: str
    url: str = ""
    """Public address, or "" if it has none."""
    date: str = ""
    """Date of the edition or message, in ISO format, or "" if it has none."""
    detail: str = ""
    """What the source says about the rule, or "" if the rule's summary says it."""

    def with_detail(self, detail: str) -> Source:
        """Return this source, cited for what `detail` says."""
        return msgspec.structs.replace(self, detail=detail)

    def __str__(self) -> str:
        """Return the citation without its URL."""
        edition = f"{self.name}, {self.date}" if self.date else self.name
        return f"{edition}: {self.detail}" if self.detail else edition


# OpenAI
OPENAPI = Source(
    "OpenAI API description (OpenAPI)", "https://github.com/openai/openai-openapi", "2026-08-21"
)
OPENAPI_2025 = Source(OPENAPI.name, OPENAPI.url, "2025-03-21")
"""The last edition that has the schemas of dataset lines."""
OPENAI_GUIDE = Source(
    "OpenAI fine-tuning guide", "https://platform.openai.com/docs/guides/supervised-fine-tuning"
)
OPENAI_VISION_GUIDE = Source(
    "OpenAI vision fine-tuning guide", "https://platform.openai.com/docs/guides/vision-fine-tuning"
)
OPENAI_DPO_GUIDE = Source(
    "OpenAI preference fine-tuning guide",
    "https://platform.openai.com/docs/guides/direct-preference-optimization",
)
OPENAI_RFT_GUIDE = Source(
    "OpenAI reinforcement fine-tuning guide",
    "https://platform.openai.com/docs/guides/reinforcement-fine-tuning",
)
OPENAI_CHAT_API = Source(
    "OpenAI API reference, chat completions",
    "https://platform.openai.com/docs/api-reference/chat/create",
)
OPENAI_MESSAGE = Source("OpenAI API error message")
COOKBOOK = Source(
    "OpenAI cookbook, chat fine-tuning data preparation",
    "https://github.com/openai/openai-cookbook/blob/main/examples/Chat_finetuning_data_prep.ipynb",
)
PREPARE_DATA = Source(
    "OpenAI command line, fine_tunes.prepare_data",
    "https://github.com/openai/openai-python/blob/main/src/openai/lib/_validators.py",
)
OPENAI_PYTHON_426 = Source(
    "openai-python issue 426", "https://github.com/openai/openai-python/issues/426"
)
OPENAI_PYTHON_535 = Source(
    "openai-python issue 535", "https://github.com/openai/openai-python/issues/535"
)
COMMUNITY_965584 = Source("OpenAI community topic 965584", "https://community.openai.com/t/965584")
COMMUNITY_966285 = Source("OpenAI community topic 966285", "https://community.openai.com/t/966285")
COMMUNITY_1322493 = Source(
    "OpenAI community topic 1322493", "https://community.openai.com/t/1322493"
)

# Other providers
AZURE_DOCS = Source(
    "Azure fine-tuning documentation", "https://github.com/MicrosoftDocs/azure-ai-docs"
)
AZURE_SKILLS = Source(
    "Azure skills, fine-tuning validation scripts", "https://github.com/microsoft/azure-skills"
)
AZURE_MESSAGE = Source("Azure job error message", date="2026-07")
TOGETHER = Source("together 1.5, check_file", "https://github.com/togethercomputer/together-python")
MISTRAL_FINETUNE = Source("mistral-finetune", "https://github.com/mistralai/mistral-finetune")
MISTRAL_COMMON = Source("mistral-common", "https://github.com/mistralai/mistral-common")

# Other tools
TORCHTUNE = Source("torchtune", "https://github.com/pytorch/torchtune")
TRL_FORMATS = Source("TRL dataset formats", "https://huggingface.co/docs/trl/dataset_formats")
TRL_6025 = Source("TRL issue 6025", "https://github.com/huggingface/trl/issues/6025")
LLMCOMP_59 = Source(
    "llmcomp issue 59", "https://github.com/johny-b/llmcomp/issues/59", "2026-02-12"
)
CLONE_FACTORY_3 = Source(
    "clone-factory-v1 issue 3", "https://github.com/kohhnagata/clone-factory-v1/issues/3"
)
DATALINT = Source("datalint", "https://github.com/kaeawc/datalint")
DATASETS_LINT = Source("datasets-lint")
CLEANLLM = Source("cleanllm")

# Standards and observations
RFC_8259 = Source("RFC 8259, JSON", "https://www.rfc-editor.org/rfc/rfc8259")
JSON_LINES = Source("JSON Lines", "https://jsonlines.org")
JSON_SCHEMA = Source("JSON Schema", "https://json-schema.org")
PYTHON_JSON = Source("Python json module", "https://docs.python.org/3/library/json.html")
PYTHON_INT = Source(
    "Python integer string conversion limit",
    "https://docs.python.org/3/library/stdtypes.html#int-max-str-digits",
)
REPORTED_MESSAGE = Source("OpenAI API error message", detail="reported by users")
PUBLIC_JOBS = Source("Public fine-tuning jobs")
RUNBOOKS = Source("Public fine-tuning runbooks")
OWN_CHECK = Source("Own check", detail="no other known tool reports it")
