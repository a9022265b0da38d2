"""Examples at the end of the help of each command.

Files below `samples/` are those of the repository.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "ftkit": (
        "ftkit convert samples/convert/questions.csv --to chat --user Frage \\\n"
        "    --assistant Antwort --system Hinweis -o chat.jsonl",
        "ftkit validate samples/marv.jsonl",
        "ftkit estimate samples/marv.jsonl",
    ),
    "ftkit validate": (
        "ftkit validate samples/marv.jsonl",
        "ftkit validate samples --statistics",
    ),
    "ftkit estimate": (
        "ftkit estimate samples/marv.jsonl",
        "ftkit estimate samples/marv.jsonl -m gpt-4o-mini-2024-07-18 --epochs 3",
    ),
    "ftkit convert": (
        "ftkit convert samples/convert/questions.csv --to chat --user Frage \\\n"
        "    --assistant Antwort --system Hinweis -o chat.jsonl",
        "ftkit convert samples/convert/conversations.json --to chat -o chat.jsonl",
        "ftkit convert samples/convert/sharegpt.jsonl --to chat -o chat.jsonl",
        "ftkit convert samples/convert/faq.jsonl --to chat --user q \\\n"
        "    --assistant a --system ctx",
    ),
    "ftkit fix": (
        "ftkit fix samples/bad/role-unknown.jsonl --unsafe --diff",
        "ftkit fix samples/bad/role-unknown.jsonl --unsafe -o fixed.jsonl",
    ),
    "ftkit split": (
        "ftkit split samples/marv.jsonl",
        "ftkit split samples/marv.jsonl --ratio 0.9,0.1 --near 0.8 -o marv",
    ),
    "ftkit dedupe": (
        "ftkit dedupe samples/marv.jsonl --near 0.8 -o unique.jsonl",
        "ftkit dedupe samples/marv.jsonl --check",
    ),
    "ftkit decontaminate": (
        "ftkit decontaminate samples/marv.jsonl \\\n"
        "    --against samples/reinforcement.jsonl -o clean.jsonl",
        "ftkit decontaminate samples/marv.jsonl \\\n"
        "    --against samples/compare/prompts.jsonl --ngram 13 -o clean.jsonl",
    ),
    "ftkit mix": (
        "ftkit mix samples/marv.jsonl=0.7 samples/tool-calls.jsonl=0.3 \\\n"
        "    --total 40 -o mixed.jsonl",
        "ftkit mix samples/marv.jsonl=2 samples/tool-calls.jsonl=1 --by tokens \\\n"
        "    -o mixed.jsonl",
    ),
    "ftkit sample": (
        "ftkit sample samples/marv.jsonl --count 10",
        "ftkit sample samples/marv.jsonl --fraction 0.5 -o half.jsonl",
    ),
    "ftkit filter": (
        'ftkit filter samples/marv.jsonl --where "tokens <= 64" -o short.jsonl',
        "ftkit filter samples/tool-calls.jsonl --where has_tools --invert",
    ),
    "ftkit show": (
        "ftkit show samples/tool-calls.jsonl",
        "ftkit show samples/marv.jsonl:3 -n 2",
    ),
    "ftkit screen": (
        "ftkit screen samples/screen/hotel.jsonl",
        "ftkit screen samples/screen/hotel.jsonl --redact -o redacted.jsonl",
    ),
    "ftkit prepare": (
        "ftkit prepare samples/recipe.toml",
        "ftkit prepare samples/recipe.toml --check",
    ),
    "ftkit submit": (
        "ftkit submit samples/marv.jsonl -m gpt-4o-mini-2024-07-18 --watch",
        "ftkit submit samples/marv.jsonl -m gpt-4o-mini-2024-07-18 --dry-run",
    ),
    "ftkit jobs": (
        "ftkit jobs list",
        "ftkit jobs watch ftjob-abc123",
    ),
    "ftkit jobs list": (
        "ftkit jobs list -n 5",
        "ftkit jobs list --status failed --output json",
    ),
    "ftkit jobs show": (
        "ftkit jobs show ftjob-abc123",
        "ftkit jobs show ftjob-abc123 --output json",
    ),
    "ftkit jobs watch": (
        "ftkit jobs watch ftjob-abc123",
        "ftkit jobs watch ftjob-abc123 --output json",
    ),
    "ftkit jobs events": (
        "ftkit jobs events ftjob-abc123",
        "ftkit jobs events ftjob-abc123 --output json",
    ),
    "ftkit jobs cancel": (
        "ftkit jobs cancel ftjob-abc123",
        "ftkit jobs cancel ftjob-abc123 --output json",
    ),
    "ftkit jobs pause": (
        "ftkit jobs pause ftjob-abc123",
        "ftkit jobs pause ftjob-abc123 --output json",
    ),
    "ftkit jobs resume": (
        "ftkit jobs resume ftjob-abc123",
        "ftkit jobs resume ftjob-abc123 --output json",
    ),
    "ftkit jobs checkpoints": (
        "ftkit jobs checkpoints ftjob-abc123",
        "ftkit jobs checkpoints ftjob-abc123 --output json",
    ),
    "ftkit jobs metrics": (
        "ftkit jobs metrics ftjob-abc123",
        "ftkit jobs metrics ftjob-abc123 --plot losses.html",
    ),
    "ftkit jobs open": (
        "ftkit jobs open ftjob-abc123",
        "ftkit jobs open ftjob-abc123 --archive old-account --html job.html",
    ),
    "ftkit jobs doctor": (
        "ftkit jobs doctor ftjob-abc123",
        "ftkit jobs doctor ftjob-abc123 --output json",
    ),
    "ftkit files": (
        "ftkit files list",
        "ftkit files upload samples/marv.jsonl",
    ),
    "ftkit files list": (
        "ftkit files list -n 5",
        "ftkit files list --purpose fine-tune",
    ),
    "ftkit files upload": (
        "ftkit files upload samples/marv.jsonl",
        "ftkit files upload samples/marv.jsonl --provider local",
    ),
    "ftkit files show": (
        "ftkit files show file-abc123",
        "ftkit files show file-abc123 --output json",
    ),
    "ftkit files download": (
        "ftkit files download file-abc123 results.csv",
        "ftkit files download file-abc123",
    ),
    "ftkit files delete": (
        "ftkit files delete file-abc123",
        "ftkit files delete file-abc123 -y",
    ),
    "ftkit models": (
        "ftkit models list --tuned",
        "ftkit models show gpt-4o-mini-2024-07-18",
    ),
    "ftkit models list": (
        "ftkit models list --tuned",
        "ftkit models list --provider local",
    ),
    "ftkit models show": (
        "ftkit models show gpt-4o-mini-2024-07-18",
        "ftkit models show gpt-4o-mini-2024-07-18 --output json",
    ),
    "ftkit models export": (
        "ftkit models export @last adapter --provider local",
        "ftkit models export @last model --provider local --merge",
    ),
    "ftkit models delete": (
        "ftkit models delete ft:gpt-4o-mini-2024-07-18:my-org::abc123",
        "ftkit models delete ft:gpt-4o-mini-2024-07-18:my-org::abc123 -y",
    ),
    "ftkit chat": (
        'ftkit chat @last "Who are you?"',
        'ftkit chat gpt-4o-mini-2024-07-18 "Who are you?" --system "You are Marv."',
    ),
    "ftkit archive": (
        "ftkit archive save backup",
        "ftkit archive verify backup",
    ),
    "ftkit archive save": (
        "ftkit archive save backup",
        "ftkit archive save backup --since 2026-01-01",
    ),
    "ftkit archive verify": (
        "ftkit archive verify samples/archive",
        "ftkit archive verify samples/archive --output json",
    ),
    "ftkit compare": (
        "ftkit compare samples/compare/tuned.jsonl samples/compare/base.jsonl \\\n"
        "    --prompts samples/compare/prompts.jsonl",
        "ftkit compare @last gpt-4o-mini-2024-07-18 \\\n"
        "    --prompts samples/compare/prompts.jsonl",
    ),
    "ftkit serve": (
        "ftkit serve",
        "ftkit serve --map gpt-4o-mini-2024-07-18=Qwen/Qwen3-0.6B",
    ),
    "ftkit serve status": (
        "ftkit serve status",
        "ftkit serve status --output json",
    ),
    "ftkit serve stop": (
        "ftkit serve stop",
        "ftkit serve stop --output json",
    ),
    "ftkit serve bases": (
        "ftkit serve bases",
        "ftkit serve bases --output json",
    ),
    "ftkit serve check": (
        "ftkit serve check ftkit/smoke",
        "ftkit serve check Qwen/Qwen3-0.6B samples/marv.jsonl",
    ),
    "ftkit open": (
        "ftkit open",
        "ftkit open @last",
    ),
    "ftkit migrate": (
        "ftkit migrate ftjob-abc123 --to nebius --dry-run",
        "ftkit migrate --archive samples/archive --to local --dry-run",
    ),
    "ftkit login": (
        "ftkit login openai",
        "ftkit login local --base-url http://127.0.0.1:8000/v1",
    ),
    "ftkit config": (
        "ftkit config",
        "ftkit config --output json",
    ),
    "ftkit providers": (
        "ftkit providers",
        "ftkit providers --output json",
    ),
    "ftkit catalog": (
        "ftkit catalog --provider openai",
        "ftkit catalog --output json",
    ),
    "ftkit rules": (
        "ftkit rules",
        "ftkit rules --output json",
    ),
    "ftkit rule": (
        "ftkit rule json-syntax",
        "ftkit rule FT120",
    ),
    "ftkit schema": (
        "ftkit schema chat",
        "ftkit schema preference",
    ),
    "ftkit samples": (
        "ftkit samples",
        "ftkit samples examples",
    ),
    "ftkit explain": (
        'ftkit explain "Line 1 contains invalid JSON"',
        'ftkit explain "Line 5 contains invalid JSON" samples/bad/json-syntax.jsonl',
    ),
    "ftkit completion": (
        "ftkit completion bash",
        "ftkit completion zsh",
    ),
}
"""Two commands by the command that they are about."""
