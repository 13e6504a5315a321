"""Command line of the simulator: `python -m nightloop.simulate taxi_duration --first 2025-01-01 --last 2025-01-28`."""

import argparse
import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from nightloop.engine.session import open_session
from nightloop.fault import Fault, NightloopError
from nightloop.folders.loading import load_use_case
from nightloop.folders.schedule import ticks
from nightloop.run import parse_instant
from nightloop.settings import Settings
from nightloop.simulate.params import Drift, FaultParams
from nightloop.simulate.world import simulate


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate the nights from `--first` to `--last` into the landing zone and print what is in them as JSON."""
    settings = Settings.from_environment()
    parser = argparse.ArgumentParser(prog="nightloop simulate", description=main.__doc__)
    parser.add_argument("use_case")
    parser.add_argument("--first", required=True, type=parse_instant, help="first night or day, ISO 8601, UTC")
    parser.add_argument("--last", required=True, type=parse_instant, help="last night, or the day before which to stop")
    parser.add_argument("--rows", type=int, default=2_000, help="rows per night, 1e3 to 1e8")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--landing", default=settings.landing)
    parser.add_argument("--clean", action="store_true", help="no late, corrected, duplicate or bad rows")
    parser.add_argument(
        "--drift",
        action="append",
        default=[],
        metavar="KIND@DATE[:SHAPE[:MAGNITUDE]]",
        help="covariate, prior, concept or broken_feed from a date on, sudden or gradual",
    )
    arguments = parser.parse_args(argv)
    try:
        use_case = load_use_case(arguments.use_case, settings.folders)
        nights = ticks(use_case.schedule, arguments.first, arguments.last)
        faults = FaultParams.none() if arguments.clean else FaultParams()
        drifts = [_parse_drift(text) for text in arguments.drift]
        with open_session(settings.spark_remote, str(uuid.uuid4())) as spark:
            report = simulate(
                use_case,
                spark,
                arguments.landing,
                nights,
                arguments.rows,
                seed=arguments.seed,
                drifts=drifts,
                faults=faults,
            )
    except NightloopError as error:
        sys.stderr.write(f"{error}\n")
        return 65
    sys.stdout.write(json.dumps([asdict(night) for night in report.nights], indent=1, default=str) + "\n")
    return 0


def _parse_drift(text: str) -> Drift:
    try:
        return Drift.parse(text)
    except ValueError:
        expected = "KIND@DATE[:SHAPE[:MAGNITUDE]], e.g. concept@2025-02-01:gradual"
        raise NightloopError(Fault("--drift", expected, text, "correct it")) from None


if __name__ == "__main__":
    sys.exit(main())
