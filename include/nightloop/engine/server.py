"""The embedded Spark Connect server: one warm process on loopback that serves every job of this machine."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightloop.engine.profile import CONF_VARIABLE, find_jars, spark_conf
from nightloop.engine.session import USER
from nightloop.fault import Fault, NightloopError
from nightloop.settings import CHECKOUT

DEFAULT_PORT = 15002
TOKEN_VARIABLE = "SPARK_CONNECT_AUTHENTICATE_TOKEN"  # noqa: S105 - the name of a variable
JAVA_OPTIONS_VARIABLE = "NIGHTLOOP_SPARK_JAVA_OPTIONS"
SMALL_NIGHTS: Mapping[str, str] = {
    # of some thousand rows a query takes longer to compile than to run, for Spark as for the Java machine below it
    CONF_VARIABLE: "spark.sql.codegen.wholeStage=false spark.sql.codegen.factoryMode=NO_CODEGEN "
    "spark.sql.adaptive.enabled=false",
    JAVA_OPTIONS_VARIABLE: "-XX:TieredStopAtLevel=1 -XX:CompileThresholdScaling=5 -XX:ReservedCodeCacheSize=256m "
    "-XX:+UseSerialGC",
}
CLASS_ARCHIVE = CHECKOUT / ".cache" / "spark.jsa"  # made by `nightloop.engine.class_archive` when the machine is set up
_LOG_CONF = Path(__file__).with_name("log4j2.properties")
_CLIENT_VARIABLES = ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED", "SPARK_LOCAL_REMOTE")
_MEMORY_SHARE = 6
_READY_SECONDS = 120


@dataclass(frozen=True)
class ConnectServer:
    """How to run the server whose state (temporary files, warehouse folder) lies below `home`.

    `token` is what clients must present; it reaches the server through its environment, never through its arguments.
    With `master` it is the driver of a cluster, whose executors reach it as `driver_host`; clients stay on loopback.
    """

    home: Path
    token: str
    port: int = DEFAULT_PORT
    memory_mb: int = 0
    master: str = ""
    driver_host: str = ""

    @property
    def folder(self) -> Path:
        return self.home / "spark"

    @property
    def remote(self) -> str:
        """The URL for `SPARK_REMOTE`. It says `localhost`, the one host to which a client sends a token without TLS."""
        return f"sc://localhost:{self.port}/;user_id={USER}"

    def command(self) -> Sequence[str]:
        """Return the command line.

        Raises:
            NightloopError: the Delta jars are missing.
        """
        if not find_jars():
            raise NightloopError(Fault("Delta jars", "the pinned jars in .cache/jars", "none", "run `make setup`"))
        options = [f"--conf={key}={value}" for key, value in self._conf().items()]
        # out of memory, it shall end and be started again instead of answering nobody
        java = f"-Dlog4j2.configurationFile=file:{_LOG_CONF} -Duser.timezone=UTC -XX:+ExitOnOutOfMemoryError"
        if CLASS_ARCHIVE.is_file():
            java = f"{java} -XX:SharedArchiveFile={CLASS_ARCHIVE}"
        # the user's come last: of an option that is given twice the Java machine takes the last
        java = f"{java} {os.environ.get(JAVA_OPTIONS_VARIABLE, '')}".rstrip()
        return [
            str(Path(sys.executable).with_name("spark-submit")),
            f"--master={self.master or f'local[{len(os.sched_getaffinity(0))}]'}",
            f"--driver-memory={self.memory_mb or default_memory_mb()}m",
            f"--driver-java-options={java}",
            *options,
            "--class=org.apache.spark.sql.connect.service.SparkConnectServer",
            "spark-internal",
        ]

    def environment(self, base: Mapping[str, str] = os.environ) -> Mapping[str, str]:
        """Return the server's environment: `base`, less what would make it a client; its workers import `nightloop`."""
        paths = [str(CHECKOUT / "include"), base.get("PYTHONPATH", "")]
        return {
            **{name: value for name, value in base.items() if name not in _CLIENT_VARIABLES},
            TOKEN_VARIABLE: self.token,
            # else workers take the `python3` of the PATH, which has none of our packages
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            **({} if self.driver_host else {"SPARK_LOCAL_IP": "127.0.0.1"}),
        }

    def is_ready(self) -> bool:
        """Say whether the server takes connections; it does so only when its Spark context stands."""
        with contextlib.suppress(OSError), socket.create_connection(("localhost", self.port), timeout=1):
            return True
        return False

    def _conf(self) -> Mapping[str, str]:
        return {
            **spark_conf(),
            "spark.app.name": "nightloop",
            # the default is every interface, and whoever reaches it runs code
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.port),
            "spark.connect.session.planCache.enabled": "false",  # stale reads were seen with it
            "spark.sql.connect.serverStacktrace.enabled": "false",  # with it an error has 7,350 characters, not 230
            "spark.driver.host": self.driver_host or "localhost",
            "spark.driver.bindAddress": "0.0.0.0" if self.driver_host else "127.0.0.1",  # noqa: S104 - a cluster's driver
            "spark.local.dir": str(self.folder / "local"),
            "spark.sql.catalogImplementation": "in-memory",
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
        }


def default_memory_mb() -> int:
    """Return the server's heap: `NIGHTLOOP_SPARK_MEMORY_MB`, or a sixth of the machine between 1 and 8 GiB."""
    if stated := os.environ.get("NIGHTLOOP_SPARK_MEMORY_MB"):
        return int(stated)
    machine_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(1024, min(8192, machine_mb // _MEMORY_SHARE))


def find_free_port(preferred: int = 0) -> int:
    """Return the preferred port of the loopback interface, or another one where it is taken."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            # else a port counts as taken for a minute after its last connection
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on the loopback interface")


@contextlib.contextmanager
def running_server(home: Path, *, memory_mb: int = 0, port: int = 0, stop_seconds: int = 20) -> Iterator[ConnectServer]:
    """Run a server for the length of a block, its token in this process's environment; one that is there is kept.

    It is killed where it has not ended `stop_seconds` after it was asked to.

    Raises:
        NightloopError: the server ended or took too long; the message carries the end of its log.
    """
    before = os.environ.get(TOKEN_VARIABLE)
    token = os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(24))  # as other servers of this process have
    server = ConnectServer(home, token, port or find_free_port(), memory_mb)
    server.folder.mkdir(parents=True, exist_ok=True)
    log = server.folder / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            server.command(),
            env=dict(server.environment()),
            cwd=server.folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_ready(server, process, log)
            yield server
        finally:
            _stop(process, stop_seconds)
            _restore(TOKEN_VARIABLE, before)


def _wait_ready(server: ConnectServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            found = f"exit code {process.poll()}: {log.read_text(errors='replace')[-2000:]}"
            raise NightloopError(Fault(f"Spark Connect server on port {server.port}", "to answer", found, f"see {log}"))
        time.sleep(0.1)


def _stop(process: "subprocess.Popen[bytes]", seconds: int) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _restore(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value
