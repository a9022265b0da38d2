"""The local service: OpenAI's fine-tuning protocol over HTTP, with real training. Needs the extra `ftkit[local]`.

The HTTP process holds no model: each job is checked and trained, and each model asked, in a process of its own.
"""
