"""Which code runs: the commit of this checkout, or what the image that holds it says."""

import os
import subprocess
from functools import cache
from pathlib import Path

from nightloop import __version__
from nightloop.settings import CHECKOUT

VARIABLE = "NIGHTLOOP_CODE_VERSION"


@cache
def code_version(checkout: Path = CHECKOUT) -> str:
    """Return the commit, with `-dirty` where tracked files differ from it or new ones stand beside them.

    `NIGHTLOOP_CODE_VERSION` says it where there is no repository, as in an image; without either the version of the
    package is all that is known.
    """
    if stated := os.environ.get(VARIABLE):
        return stated
    commit = _ask_git(checkout, "rev-parse", "HEAD")
    if not commit:
        return f"nightloop {__version__}"
    return f"{commit}-dirty" if _ask_git(checkout, "status", "--porcelain") else commit


def _ask_git(checkout: Path, *question: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(checkout), *question], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
