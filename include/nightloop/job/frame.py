"""The frame of every job: one command line, one context of opened stores, one result, and exit codes.

A job body is a function from `JobContext` to `JobResult`. It retries nothing and notifies nobody: Airflow has both.
"""

import argparse
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nightloop.code_version import code_version
from nightloop.dataset import DatasetRef
from nightloop.fault import FencedError, NightloopError, TransientError
from nightloop.job.context import JobArguments, JobContext, SkipJob
from nightloop.job.lineage import LineageRun, Touched
from nightloop.job.unforeseen import explain_ending
from nightloop.run import (
    EXIT_FENCED,
    EXIT_INPUT,
    EXIT_OK,
    EXIT_SKIPPED,
    EXIT_TRANSIENT,
    MAIN_VARIANT,
    JobResult,
    RunKey,
    parse_instant,
)
from nightloop.settings import Settings

log = logging.getLogger("nightloop.job")
_PARENT_POLL_SECONDS = 1.0


def parse_arguments(job: str, argv: Sequence[str] | None) -> JobArguments:
    """Parse a job's command line; argparse explains and exits on a wrong one."""
    parser = argparse.ArgumentParser(prog=f"python -m jobs.{job}")
    parser.add_argument("--scope", required=True, help="name of the source or use case, or `platform`")
    parser.add_argument("--kind", required=True, choices=("source", "use_case", "platform"))
    parser.add_argument("--as-of", required=True, type=parse_instant, help="logical instant of the run, ISO 8601, UTC")
    parser.add_argument("--from", dest="first", type=parse_instant, help="first night of a longer replay")
    parser.add_argument("--variant", default=MAIN_VARIANT)
    parser.add_argument("--attempt", default="", help="who asks: Airflow's run, task and try")
    parser.add_argument("--result", type=Path, help="file that receives the JobResult as JSON")
    parser.add_argument("--set", dest="options", action="append", default=[], metavar="KEY=VALUE")
    parsed = parser.parse_args(argv)
    options = dict(option.partition("=")[::2] for option in parsed.options)
    return JobArguments(**{**vars(parsed), "first": parsed.first or parsed.as_of, "options": options})


def run_job(name: str, body: Callable[[JobContext], JobResult], argv: Sequence[str] | None = None) -> int:
    """Run one job body as a process of its own and return its exit code."""
    started = time.monotonic()
    # by force: a library that the job host has imported may have configured the root logger
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout, force=True)
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    arguments = parse_arguments(name, argv)
    _die_with_parent()
    context = JobContext(name, arguments, Settings.from_environment())
    lineage = _describe_run(context)
    lineage.start()
    code, result = _attempt(body, context)
    lineage.finish(_describe_touched(context), code, is_done=code in {EXIT_OK, EXIT_SKIPPED})
    if result is not None:
        log.info("done in %.1f s: %s", time.monotonic() - started, _summary(result))
        if arguments.result is not None:
            result.write(arguments.result)
    return code


def _attempt(body: Callable[[JobContext], JobResult], context: JobContext) -> tuple[int, JobResult | None]:
    """Run the body and name its ending; every ending is one exit code."""
    try:
        result = body(context)
        # within the attempt: where the ledger fails here, the retry commits and records anew
        for commit in context.commits:
            context.ledger.record_commit(commit.run_keys, context.token, commit.ref, commit.version)
    except SkipJob as skip:
        log.info("nothing to do: %s", skip)
        return EXIT_SKIPPED, context.result(facts={"skipped": str(skip)})
    # before the error that it is a kind of: fenced is tried again, wrong input is not
    except FencedError as error:
        log.error("fenced: %s", error)
        return EXIT_FENCED, None
    except NightloopError as error:
        log.error("%s", error)
        return EXIT_INPUT, None
    except TransientError as error:
        log.error("failed for now: %s", error)
        return EXIT_TRANSIENT, None
    except Exception as error:  # noqa: BLE001 - the process boundary: the traceback is printed and an exit code returned
        traceback.print_exc(file=sys.stdout)
        return explain_ending(error, context.settings.lake), None
    finally:
        context.close()
    return EXIT_OK, result


def _describe_run(context: JobContext) -> LineageRun:
    arguments = context.arguments
    tags = {
        "code": code_version(),
        "run_key": str(RunKey(arguments.scope, arguments.as_of, arguments.variant)),
        "attempt": arguments.attempt,
    }
    return LineageRun(f"{arguments.scope}.{context.name}", arguments.as_of, context.settings, tags)


def _describe_touched(context: JobContext) -> Touched:
    from nightloop.folders.column_lineage import column_lineage

    def find_origins(ref: DatasetRef) -> Mapping[str, tuple[str, ...]]:
        if ref.layer != "features":
            return {}
        use_case = context.use_case
        with suppress(NightloopError):  # SQL that cannot be traced is the validator's affair
            return column_lineage(use_case, {name: context.load_source(name) for name in use_case.sources})
        return {}

    writes = {commit.ref: (commit.version, commit.rows) for commit in context.commits}
    return Touched(context.reads, writes, tuple(dict.fromkeys(context.files_read)), find_origins)


def _summary(result: JobResult) -> str:
    figures = {name: f"{value:.4g}" for name, value in result.figures.items()}
    entries: dict[str, Any] = {**result.facts, **result.counts, **figures}
    return ", ".join(f"{name}={value}" for name, value in entries.items()) or "no figures"


def _die_with_parent() -> None:
    """End this process group when the process that started it is gone, so that no orphan goes on writing."""
    parent = int(os.environ.get("NIGHTLOOP_PARENT_PID", "0"))
    # only the leader of a group may kill it: another's group is not this job's
    if not parent or os.getpgid(0) != os.getpid():
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)
        log.error("the process that started this job (%d) is gone; ending", parent)
        os.killpg(os.getpgid(0), 9)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
