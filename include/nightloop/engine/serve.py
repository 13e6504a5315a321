"""Be the Spark Connect server: the process becomes Spark's, with the configuration of the embedded one.

For containers and units that have a supervisor of their own. `NIGHTLOOP_SPARK_MASTER` names the cluster and
`NIGHTLOOP_SPARK_HOST` the name under which its executors reach this driver; the port for clients stays on loopback.
"""

import os
import sys

from nightloop.engine.server import DEFAULT_PORT, TOKEN_VARIABLE, ConnectServer
from nightloop.fault import Fault, NightloopError
from nightloop.settings import Settings


def main() -> None:
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise NightloopError(Fault(TOKEN_VARIABLE, "the token that clients present", "nothing", "set it to a secret"))
    server = ConnectServer(
        Settings.from_environment().home,
        token,
        port=int(os.environ.get("NIGHTLOOP_SPARK_PORT") or DEFAULT_PORT),
        master=os.environ.get("NIGHTLOOP_SPARK_MASTER", ""),
        driver_host=os.environ.get("NIGHTLOOP_SPARK_HOST", ""),
    )
    server.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(server.folder)
    # what is buffered does not survive the exec
    sys.stdout.flush()
    os.execvpe(server.command()[0], list(server.command()), dict(server.environment()))  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
