"""Let tox find the interpreters that pyenv has installed but not activated."""

import os
import shutil
from pathlib import Path

PYENV = os.environ.get("PYENV_ROOT") or Path(shutil.which("pyenv") or "/").parent.parent

os.environ["PATH"] = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), *map(str, sorted(Path(PYENV).glob("versions/*/bin")))]
)
