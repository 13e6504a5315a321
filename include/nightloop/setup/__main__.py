"""Run every step of set-up: safe to run twice, goes on where an interrupted one stopped."""

import os
import shutil
import sys
import time

from nightloop.setup import class_archive, horovod, jars, packages, system
from nightloop.setup.step import CACHE, SetupError, Step, digest, find_user_cache, run_steps, say


def build_steps(uv: str) -> list[Step]:
    """Return the steps in their order; each says what it depends on."""
    return [
        Step("system packages", _name_system, _install_system),
        Step("python packages", packages.name_requirements, lambda: packages.install_requirements(uv)),
        Step("horovod", _name_horovod, lambda: horovod.install_horovod(uv)),
        Step("delta jars", _name_jars, _fetch_jars),
        Step("nightloop", packages.name_project, lambda: packages.install_project(uv)),
        Step("class archive", class_archive.name_archive, class_archive.make_archive),
    ]


def main() -> int:
    start = time.monotonic()
    CACHE.mkdir(exist_ok=True)
    try:
        run_steps(build_steps(os.environ.get("UV") or shutil.which("uv") or "uv"))
    except (SetupError, RuntimeError) as error:
        say(f"stopped: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; run it again and it goes on from here")
        return 130
    say(f"ready after {time.monotonic() - start:.1f} s; `make demo` shows the loop, `nightloop doctor` the machine")
    return 0


def _name_system() -> str:
    return digest(*_list_missing()) if _list_missing() else "complete"


def _list_missing() -> list[str]:
    return system.list_missing(is_building=horovod.find_wheel() is None and not horovod.is_installed())


def _install_system() -> str:
    missing = _list_missing()
    if missing:
        system.install_packages(missing)
    return f"installed {' '.join(missing)}" if missing else "nothing is missing"


def _name_horovod() -> str:
    return horovod.name_build() if horovod.is_installed() else "absent"


def _name_jars() -> str:
    missing = jars.find_missing(CACHE / "jars", jars.read_lock())
    return digest(jars.LOCK.read_text(), *(jar.file_name for jar in missing))


def _fetch_jars() -> str:
    fetched = jars.fetch_jars(CACHE / "jars", packages.find_ivy(), find_user_cache() / "jars")
    return f"{fetched} fetched, all checksums right"


if __name__ == "__main__":
    sys.exit(main())
