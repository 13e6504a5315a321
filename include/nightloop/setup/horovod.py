"""Build Horovod's last release against today's torch. Standard library only.

Horovod 0.28.1 does not compile as published: torch's headers need C++20 where it states C++14. Two lines are raised
and the wheel is kept, in the checkout and for this user's next checkout, under the name of what it was built with.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

from nightloop.setup.step import CACHE, SetupError, find_user_cache, run_quietly

VERSION = "0.28.1"
SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
_STANDARD_FILES = ("CMakeLists.txt", "horovod/torch/CMakeLists.txt")
_STANDARD = re.compile(r"set\(CMAKE_CXX_STANDARD 14\)")
_BUILD_ENVIRONMENT = {
    "HOROVOD_WITH_PYTORCH": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_WITHOUT_MPI": "1",
    "HOROVOD_WITHOUT_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def name_build() -> str:
    """Return what a wheel depends on: both versions, Python, machine."""
    torch = read_pin("torch")
    return f"horovod-{VERSION}-torch-{torch}-cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"


def read_pin(package: str, requirements: Path = CACHE.parent / "requirements.txt") -> str:
    """Return the version that requirements.txt pins.

    Raises:
        SetupError: it pins none.
    """
    found = re.search(rf"^{re.escape(package)}==(\S+)", requirements.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{requirements} pins no {package}")
    return found[1]


def find_wheel() -> Path | None:
    """Return a wheel of this build that was kept, from the checkout or from the user's cache."""
    for folder in (CACHE / "wheels", find_user_cache() / "wheels"):
        for wheel in sorted((folder / name_build()).glob("horovod-*.whl")):
            return wheel
    return None


def is_installed() -> bool:
    try:
        return metadata.version("horovod") == VERSION
    except metadata.PackageNotFoundError:
        return False


def install_horovod(uv: str) -> str:
    """Install the kept wheel, or build it first; a kept one that does not load is built anew."""
    wheel, how = find_wheel(), "from the kept wheel"
    if wheel is None:
        wheel, how = build_wheel(), "built"
    _install(uv, wheel)
    if not _loads() and how != "built":
        wheel, how = build_wheel(), "built anew"
        _install(uv, wheel)
    if not _loads():
        raise SetupError("horovod was built but does not load; see .cache/logs/horovod-import.log")
    _keep(wheel)
    return how


def build_wheel() -> Path:
    """Download the released source, raise its C++ standard, build the wheel and keep it."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="horovod-") as work:
        folder = Path(work)
        source = _unpack(_download(folder), folder)
        raise_standard(source)
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
        run_quietly(
            [*pip, "--wheel-dir", str(folder / "wheel"), str(source)],
            CACHE / "logs" / "horovod-build.log",
            {**_BUILD_ENVIRONMENT, "MAKEFLAGS": f"-j{count_compilers()}"},
        )
        (wheel,) = (folder / "wheel").glob("horovod-*.whl")
        return _put(wheel, CACHE / "wheels")


def count_compilers() -> int:
    """Return how many compilers may run side by side: one per core, and each wants a gigabyte and a half."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return max(1, min(len(os.sched_getaffinity(0)), int(memory_gb / 1.5)))


def raise_standard(source: Path) -> None:
    """Replace C++14 by C++20 in the two files that state it.

    Raises:
        SetupError: a file states something else, so this is not the release that the recipe is for.
    """
    for name in _STANDARD_FILES:
        file = source / name
        text, count = _STANDARD.subn("set(CMAKE_CXX_STANDARD 20)", file.read_text())
        if count != 1:
            raise SetupError(f"{name}: expected one `set(CMAKE_CXX_STANDARD 14)`, found {count}")
        file.write_text(text)


def _download(folder: Path) -> Path:
    """Fetch the source with pip, which refuses another checksum."""
    requirement = folder / "horovod.txt"
    requirement.write_text(f"horovod=={VERSION} --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--no-binary=horovod", "--no-build-isolation", "--require-hashes", f"--dest={folder}"]
    run_quietly(
        [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement)],
        CACHE / "logs" / "horovod-download.log",
        _BUILD_ENVIRONMENT,
    )
    return folder / f"horovod-{VERSION}.tar.gz"


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return folder / f"horovod-{VERSION}"


def _install(uv: str, wheel: Path) -> None:
    # reinstalled, for its version does not say which torch it was built against
    options = ["--quiet", "--python", sys.executable, "--no-deps", "--reinstall", str(wheel)]
    run_quietly([uv, "pip", "install", *options], CACHE / "logs" / "horovod-install.log")


def _loads() -> bool:
    log = CACHE / "logs" / "horovod-import.log"
    with log.open("w") as sink:
        code = "import horovod.torch as hvd; hvd.init(); assert hvd.size() == 1; assert hvd.gloo_built()"
        return subprocess.run([sys.executable, "-c", code], stdout=sink, stderr=sink, check=False).returncode == 0


def _keep(wheel: Path) -> None:
    """Leave the wheel in both caches; the user's one may be read-only."""
    try:
        for cache in (CACHE / "wheels", find_user_cache() / "wheels"):
            if not (cache / name_build() / wheel.name).exists():
                _put(wheel, cache)
    except OSError:
        return


def _put(wheel: Path, cache: Path) -> Path:
    """Copy a wheel into a cache, whole or not at all."""
    folder = cache / name_build()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{wheel.name}.partial"
    shutil.copyfile(wheel, partial)
    return partial.rename(folder / wheel.name)
