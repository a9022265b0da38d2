"""Packages that the service and its processes import. The extra `local` installs them."""

from __future__ import annotations

WORKER_PACKAGES = ("torch", "transformers", "trl", "peft", "PIL", "datasets", "accelerate")
"""Packages of a training process, checked at the start so that no job fails for a missing one."""

PACKAGES = ("starlette", "uvicorn", "python_multipart", "psutil", *WORKER_PACKAGES)
"""Packages of a service and of its processes on the same machine."""
