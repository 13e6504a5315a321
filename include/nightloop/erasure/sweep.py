"""Look through every file of the state folder that is no table, and take traces out of those that may lose them."""

from dataclasses import dataclass, field
from pathlib import Path

from nightloop.privacy.traces import Traces
from nightloop.settings import Settings
from nightloop.stores.trace_search import TraceHit, search_folder

_REMOVABLE = ("reports", "work", "artifacts")
_MODEL_FILES = ("model.onnx", "MLmodel")
# other steps erase these; requests and journals go last, as they tell what to erase
_ELSEWHERE = ("erasures", "landing", "lake")
_MASK = b"*"


@dataclass
class Swept:
    """What became of each file that held a trace (`removed`, `masked`), and the hits that nobody may touch."""

    treated: dict[str, str] = field(default_factory=dict)
    left: list[TraceHit] = field(default_factory=list)


def sweep_folder(settings: Settings, traces: Traces) -> Swept:
    """Remove reports, work files and artifacts with traces, and mask traces in logs; a model's own file is left."""
    swept = Swept()
    artifacts = Path(settings.artifacts) if "://" not in settings.artifacts else settings.home
    tops = [settings.home, *([artifacts] if not artifacts.is_relative_to(settings.home) else [])]
    for top in tops:
        for hit in search_folder(top, traces, but=[settings.home / name for name in _ELSEWHERE]):
            try:
                what = _treat(hit, top, traces)
            except FileNotFoundError:
                continue  # gone since it was found: a job at work removes its own files
            if what:
                swept.treated[str(hit.path)] = what
            else:
                swept.left.append(hit)
    return swept


def _treat(hit: TraceHit, top: Path, traces: Traces) -> str:
    parts = hit.path.relative_to(top).parts
    if hit.path.suffix == ".log" or "logs" in parts:
        return _mask(hit.path, traces)
    is_removable = parts[0] in _REMOVABLE or top.name == "artifacts"
    if is_removable and hit.path.name not in _MODEL_FILES:
        hit.path.unlink()
        return "removed"
    return ""


def _mask(path: Path, traces: Traces) -> str:
    """Overwrite identifiers where they stand: whoever appends to the log meanwhile loses nothing."""
    content = path.read_bytes()
    spans = [match.span() for match in traces.whole.finditer(content)]
    with path.open("r+b") as stream:
        for start, end in spans:
            stream.seek(start)
            stream.write(_MASK * (end - start))
    return "masked" if spans else ""
