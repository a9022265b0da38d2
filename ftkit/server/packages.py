"""Packages that the service and its processes import. The extra `local` installs them."""

from __future__ import annotations

WORKER_PACKAGES = ("torch", "transformers", "trl", "peft", "PIL", "datasets", "accelerate")
"""Packages of a training process. Without a check, the process itself would miss some."""

PACKAGES = ("starlette", "uvicorn", "python_multipart", *WORKER_PACKAGES)
"""Packages of a service and of its processes on the same machine."""
