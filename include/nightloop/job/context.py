"""What a job body may reach: its folder, its nights, its token, and the stores, opened when first asked for."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

from nightloop.code_version import code_version
from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.schedule import ticks
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.retention import SOURCE_LAYERS, USE_CASE_LAYERS, assert_nights_kept
from nightloop.run import MAIN_VARIANT, JobResult, Replay, RunKey
from nightloop.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from nightloop.stores.lake.commit import Commit
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.lake.lake import Lake
    from nightloop.stores.ledger.ledger import Ledger
    from nightloop.stores.registry.registry import Registry
    from nightloop.stores.reports import Reports
    from nightloop.stores.warehouse.warehouse import Warehouse

log = logging.getLogger("nightloop.job")
DATA_DOCS = "data_docs"


class SkipJob(Exception):  # noqa: N818 - an outcome, not an error
    """There is nothing for this job to do; its task is shown as skipped, with the reason."""


@dataclass(frozen=True)
class JobArguments:
    """The one command line of all jobs."""

    scope: str
    kind: str
    as_of: datetime
    first: datetime
    variant: str = MAIN_VARIANT
    attempt: str = ""
    result: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)


class JobContext:
    """Everything a job body may reach, opened when first asked for."""

    def __init__(self, name: str, arguments: JobArguments, settings: Settings) -> None:
        part = arguments.options.get("candidate")
        self.name = f"{name}:{part}" if part else name  # parallel parts of one job do not fence each other
        self.arguments = arguments
        self.settings = settings
        self.seconds: dict[str, float] = {}
        self.links: dict[str, str] = {}
        self.files_read: list[str] = []
        self._open = ExitStack()

    @property
    def options(self) -> Mapping[str, str]:
        return self.arguments.options

    @cached_property
    def use_case(self) -> UseCase:
        return load_use_case(self.arguments.scope, self.settings.folders)

    @cached_property
    def source(self) -> Source:
        return self.load_source(self.arguments.scope)

    def load_source(self, name: str) -> Source:
        return load_source(name, self.settings.folders)

    @cached_property
    def replay(self) -> Replay:
        """The nights of this run: the folder's ticks from `--from` to `--as-of`.

        A night that closed before reads what was known when it closed first, and nothing of what arrived since.

        Raises:
            NightloopError: `--as-of` is not an instant of the folder's schedule, or a retention has dropped a night.
        """
        arguments = self.arguments
        if arguments.kind == "platform":
            return Replay(arguments.scope, (arguments.as_of,), arguments.variant)
        folder = self.source if arguments.kind == "source" else self.use_case
        nights = tuple(ticks(folder.schedule, arguments.first, arguments.as_of))
        if not nights or nights[-1] != arguments.as_of:
            raise NightloopError(
                Fault(
                    f"--as-of of {arguments.scope}",
                    f"an instant of the schedule `{folder.schedule}` (UTC)",
                    arguments.as_of.isoformat(),
                    "give the instant of a night; `nightloop status` lists them",
                )
            )
        layers = SOURCE_LAYERS if arguments.kind == "source" else USE_CASE_LAYERS
        assert_nights_kept(self.ledger, arguments.scope, layers, nights[0])
        known_to = self.ledger.known_to(RunKey(arguments.scope, arguments.as_of, arguments.variant))
        return Replay(arguments.scope, nights, arguments.variant, known_to)

    @property
    def run_key(self) -> RunKey:
        return self.replay.run_key

    @cached_property
    def token(self) -> int:
        """The fencing token of this attempt; every write carries it."""
        token = self.ledger.draw_token(self.replay, self.name, self.arguments.attempt, code_version())
        log.info("run %s, token %d", self.run_key, token)
        return token

    @cached_property
    def ledger(self) -> "Ledger":
        from nightloop.stores.ledger.ledger import Ledger

        return self._open.enter_context(closing(Ledger.open(self.settings.ledger_url)))

    @cached_property
    def warehouse(self) -> "Warehouse":
        from nightloop.stores.warehouse.warehouse import Warehouse

        return self._open.enter_context(closing(Warehouse.open(self.settings.warehouse_url)))

    @cached_property
    def registry(self) -> "Registry":
        from nightloop.stores.registry.registry import Registry

        return Registry(self.settings.mlflow_uri, self.settings.artifacts)

    @cached_property
    def reports(self) -> "Reports":
        from nightloop.stores.reports import Reports

        return Reports(self.settings.reports)

    @cached_property
    def spark(self) -> "SparkSession":
        """A session of this attempt alone; sessions of earlier attempts are interrupted first."""
        from nightloop.engine.session import open_session, session_id

        tokens = [self.token, *self.ledger.stale_tokens(self.replay, self.name, self.token)]
        drawn = self.ledger.drawn_wall(tokens)
        own, *stale = (session_id(self.replay.scope, self.name, token, drawn[token]) for token in tokens)
        if self.arguments.result is not None:
            # before the session opens: a guard that ends this job must know what to interrupt
            self.arguments.result.with_suffix(".session").write_text(own)
        with self.phase("connect"):
            return self._open.enter_context(open_session(self.settings.spark_remote, own, stale))

    @cached_property
    def lake(self) -> "Lake":
        from nightloop.stores.lake.lake import Lake

        return Lake(self.spark, self.settings.lake)

    @cached_property
    def scratch(self) -> Path:
        """A folder of this attempt alone; it goes when the attempt ends."""
        self.settings.work.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(prefix="attempt-", dir=self.settings.work, ignore_cleanup_errors=True)
        return Path(self._open.enter_context(made))

    @cached_property
    def lake_files(self) -> "LakeFiles":
        """The lake without Spark."""
        from nightloop.stores.lake.files import LakeFiles

        return LakeFiles(self.settings.lake)

    @property
    def reads(self) -> "Mapping[DatasetRef, int]":
        """The tables that the job has read so far, and the version of each."""
        # only of what is open: to ask `self.lake` would open a Spark session
        opened = [vars(self)[name] for name in ("lake", "lake_files") if name in vars(self)]
        return {ref: version for store in opened for ref, version in store.reads.items()}

    @property
    def commits(self) -> "Sequence[Commit]":
        """What the job has published so far."""
        return self.lake.commits if "lake" in vars(self) else ()

    def publish_page(self, name: str, page: str) -> str:
        """Keep a Data Docs page of this run among the reports, link the result to it, and return where it lies.

        An empty page is none.
        """
        if not page:
            return ""
        path = str(self.reports.write("data_docs", self.run_key, name, page))
        self.links[DATA_DOCS] = path
        log.info("Data Docs: %s", path)
        return path

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase and say so in the log."""
        log.info("%s …", name)
        start = time.monotonic()
        try:
            yield
        finally:
            elapsed = time.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed
            log.info("%s took %.1f s", name, elapsed)

    def result(
        self,
        outputs: Sequence[DatasetRef] = (),
        counts: Mapping[str, int] | None = None,
        figures: Mapping[str, float] | None = None,
        facts: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
    ) -> JobResult:
        return JobResult(
            self.name,
            self.run_key,
            tuple(outputs),
            dict(counts or {}),
            dict(figures or {}),
            dict(facts or {}),
            {**self.links, **(links or {})},
            {phase: round(seconds, 3) for phase, seconds in self.seconds.items()},
        )

    def skip(self, reason: str) -> NoReturn:
        raise SkipJob(reason)

    def close(self) -> None:
        self._open.close()
