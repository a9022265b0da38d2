"""Local service: OpenAI's fine-tuning API over HTTP, with real training. Needs the extra `local`.

    client -> HTTP server -> database -> supervisor -> worker process: validate or train a job
                          -> generator process: chat and text completions

The HTTP server never loads a model: each job, and all completions, run in a process of their own.
"""
