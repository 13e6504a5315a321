"""Stop what one Spark session is doing: `python -m nightloop.engine.interrupt --session <id>`.

The guard of a job calls it after a forced ending; the server is that of `SPARK_REMOTE`.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from nightloop.engine.session import interrupt_session
from nightloop.fault import TransientError
from nightloop.run import EXIT_OK, EXIT_TRANSIENT


def main(argv: Sequence[str] | None = None) -> int:
    """Interrupt and release the session; a session that ended before is no error."""
    parser = argparse.ArgumentParser(prog="python -m nightloop.engine.interrupt", description=__doc__)
    parser.add_argument("--session", required=True, help="id of the session")
    session = parser.parse_args(argv).session
    try:
        interrupt_session(os.environ.get("SPARK_REMOTE"), session)
    except TransientError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_TRANSIENT
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
