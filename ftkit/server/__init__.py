"""Local service: OpenAI's fine-tuning API over HTTP, with real training. Needs the extra `local`.

    client -> HTTP server -> database -> supervisor -> worker process: validate or train a job
                          -> generation process: completions and responses
                          -> answering server, such as vLLM: completions

The HTTP server never loads a model: each job, and text generation, run in processes of their own.
"""
