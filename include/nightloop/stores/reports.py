"""Reports as files, one folder per kind and run key."""

import os
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.run import RunKey


class Reports:
    """Writes and finds report files below one root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, kind: str, run_key: RunKey, name: str) -> Path:
        """Return where a report lies.

        Raises:
            NightloopError: a part of the name would lead out of its folder.
        """
        for part in (kind, run_key.scope, run_key.variant, name):
            if part in {"", ".", ".."} or "/" in part or os.sep in part or "\0" in part:
                raise NightloopError(Fault(f"report {kind}/{run_key}", "plain names without a separator", repr(part)))
        return self._root / kind / run_key.scope / run_key.night / run_key.variant / name

    def find(self, scope: str, since: str, *, but: str) -> list[Path]:
        """Return a scope's reports of the night `since` and later ones, of every kind but one."""
        found = sorted(self._root.glob(f"*/{scope}/*/*/**/*"))
        parts = [(path, path.relative_to(self._root).parts) for path in found if path.is_file()]
        return [path for path, (kind, _, night, *_) in parts if kind != but and night >= since]

    def write(self, kind: str, run_key: RunKey, name: str, content: str | bytes) -> Path:
        """Write a report, whole or not at all; a report of the same name is replaced."""
        path = self.path(kind, run_key, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
        return path
