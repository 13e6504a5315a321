"""Hold every folder to its contract and to its neighbours, and report all faults at once."""

from collections.abc import Sequence
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.folders.checked_folder import CheckedFolder
from nightloop.folders.loading import list_folders, read_document, read_source, read_use_case
from nightloop.folders.source import Source
from nightloop.folders.source_check import check_source
from nightloop.folders.use_case_check import check_use_case


def validate_folders(folders: Sequence[Path]) -> list[Fault]:
    """Return every fault of every folder below `sources/` and `use_cases/`; nothing when all may run.

    A folder that cannot be read at all is not held against its neighbours as well.
    """
    faults: list[Fault] = []
    sources: dict[str, Source] = {}
    broken: set[str] = set()
    for path in list_folders("sources", folders):
        try:
            sources[path.name] = read_source(path)
        except NightloopError as error:
            faults.extend(error.faults)
            broken.add(path.name)
        else:
            faults.extend(check_source(CheckedFolder(path, read_document(path / "source.yaml")), sources[path.name]))
    for path in list_folders("use_cases", folders):
        try:
            use_case = read_use_case(path)
        except NightloopError as error:
            faults.extend(error.faults)
        else:
            folder = CheckedFolder(path, read_document(path / "use_case.yaml"))
            faults.extend(check_use_case(folder, use_case, sources, broken))
    return faults
