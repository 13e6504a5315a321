"""Which feature versions a night computes, from which definition, and which nights of a window cannot be refilled."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightloop.dataset import DatasetRef
from nightloop.etl.params import KnownAt
from nightloop.fault import Fault, FencedError, NightloopError
from nightloop.folders.feature_definition import IDENTITY, FeatureDefinition, clean_needs, describe_cleaning
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.source import Source
from nightloop.loop.night.asof_inputs import version_features
from nightloop.loop.night.cleaning import record_cleaning
from nightloop.loop.night.feature_builds import (
    build_each,
    describe_builds,
    record_build,
    record_refused,
    refused_nights,
)
from nightloop.loop.night.feature_versions import (
    FeatureBuild,
    FeatureSet,
    assert_built,
    find_features,
    list_built,
    plan_nights,
    plan_refill,
    present_features,
)
from nightloop.loop.retraining.labelled_rows import leave_out_refused
from nightloop.quality.params import Expectation, Suite
from nightloop.run import Replay, format_night
from nightloop.settings import CHECKOUT
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.ledger import Ledger, migrate
from nightloop.stores.ledger.rows import ModelRow
from nightloop.training.params import Recipe
from nightloop.training.plan import PlannedCandidate

SCOPE = "taxi_duration"
FOLDERS = (CHECKOUT / "include",)
SOURCES = ("trips", "weather", "trip_completions")
NIGHTS = tuple(datetime(2025, 1, 5, 2, tzinfo=UTC) + timedelta(days=number) for number in range(8))
WINDOW = Replay(SCOPE, NIGHTS)
Changes = Mapping[str, Mapping[str, object]]


class State:
    """A ledger, a lake, and folders that a test may change by `sources` and `own`: fields to replace."""

    def __init__(self, home: Path) -> None:
        migrate(f"sqlite:///{home}/ledger.db")
        self.ledger = Ledger.open(f"sqlite:///{home}/ledger.db")
        self.root = home / "lake"
        self.sources: dict[str, dict[str, object]] = {}
        self.own: dict[str, object] = {}

    @property
    def lake(self) -> LakeFiles:
        return LakeFiles(str(self.root))

    def load(self, name: str) -> Source:
        return load_source(name, FOLDERS).model_copy(update=self.sources.get(name, {}))

    @property
    def present(self) -> FeatureSet:
        return present_features(load_use_case(SCOPE, FOLDERS).model_copy(update=self.own), self.load)

    def clean(self, name: str, nights: tuple[datetime, ...] = NIGHTS, rows: int = 3, *, is_stored: bool = True) -> None:
        """Clean nights of a source as its folder says now, and close them."""
        replay = Replay(name, nights)
        token = self.ledger.draw_token(replay, "clean_source")
        record_cleaning(
            self.ledger, self.load(name), replay, token, {key.night: {"good": rows} for key in replay.run_keys}
        )
        self.ledger.close_run(replay, token)
        if rows and is_stored:
            self.store(DatasetRef("clean", name), nights)

    def store(self, ref: DatasetRef, nights: tuple[datetime, ...], known: datetime | None = None) -> None:
        names = [format_night(night) for night in nights]
        known_at = pa.array([known or night for night in nights], pa.timestamp("us", "UTC"))
        table = pa.table({"row_id": names, "known_at": known_at, "night": names, "variant": ["main"] * len(names)})
        condition = " or ".join(f"night = '{name}'" for name in names)
        has_table = (self.root / ref.path).exists()
        write_deltalake(
            str(self.root / ref.path),
            table,
            mode="overwrite" if has_table else "error",
            partition_by=["night", "variant"],
            predicate=condition if has_table else None,
        )

    def build(self, features: FeatureSet, nights: tuple[datetime, ...], rows: int = 3) -> None:
        """Record a version as built."""
        replay = Replay(SCOPE, nights)
        token = self.ledger.draw_token(replay, "build_features")
        if rows:
            self.store(features.ref, nights)
        record_build(self.ledger, features, replay, token, {key.night: rows for key in replay.run_keys})

    def crown(self, version: str, decided: datetime) -> None:
        model = ModelRow(SCOPE, 0, f"digest {version}", "file:x", {}, version, decided)
        self.ledger.change_champion(SCOPE, self.ledger.register_model(model), decided, "test", "")

    def plan(self, *nights: datetime) -> list[tuple[str, int, dict[datetime, str]]]:
        builds = plan_nights(self.present, Replay(SCOPE, nights or NIGHTS), self.ledger, self.lake, self.load)
        return [(build.features.version, len(build.nights), dict(build.refused)) for build in builds]

    def refill(self) -> dict[str, FeatureBuild]:
        builds = plan_refill(self.present, WINDOW, self.ledger, self.lake, self.load)
        return {build.features.version: build for build in builds}

    def change_features(self) -> None:
        sql = load_use_case(SCOPE, FOLDERS).features_sql
        self.own["features_sql"] = sql.replace("trips.trip_distance,", "2 * trips.trip_distance AS trip_distance,")

    def change_clean(self, old: str, new: str) -> None:
        sql = load_source("trips", FOLDERS).clean_sql
        assert old in sql
        self.sources["trips"] = {"clean_sql": sql.replace(old, new)}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Eight nights whose sources are cleaned and closed."""
    state = State(tmp_path)
    for name in SOURCES:
        state.clean(name)
    yield state
    state.ledger.close()


def test_without_a_change_there_is_one_version(state: State) -> None:
    version = state.present.version
    assert state.plan() == [(version, 8, {})]
    state.crown(version, NIGHTS[3])
    assert state.plan() == [(version, 8, {})]


def test_each_night_computes_the_version_of_its_champion_and_the_folders(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS[:4])
    state.crown(old.version, NIGHTS[3])
    state.change_features()
    new = state.present.version
    assert state.plan(NIGHTS[4]) == [(old.version, 1, {}), (new, 1, {})]
    state.crown(new, NIGHTS[5])
    assert state.plan(NIGHTS[6]) == [(new, 1, {})]
    assert state.plan(NIGHTS[4]) == [(old.version, 1, {}), (new, 1, {})]
    assert state.plan(*NIGHTS[4:]) == [(old.version, 2, {}), (new, 2, {}), (new, 2, {})]


def test_a_kept_version_is_restored_whole(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS[:1])
    state.change_features()
    state.change_clean("  passenger_count,\n", "")
    state.own |= {"entity": ("pickup_borough",), "suite": Suite(expectations=(Expectation(expect="expect_x"),))}
    restored = find_features(old.version, state.present, state.load, state.ledger)
    assert restored.use_case == old.use_case
    assert restored.sources == old.sources
    assert version_features(restored.use_case, restored.sources) == old.version


def test_the_suite_kept_is_the_last_one_that_judged_the_version(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS[:1])
    state.own["suite"] = Suite(expectations=(Expectation(expect="expect_table_row_count_to_be_between"),))
    assert state.present.version == old.version
    state.build(state.present, NIGHTS[1:2])
    suite = state.own["suite"]
    state.change_features()
    assert find_features(old.version, state.present, state.load, state.ledger).use_case.suite == suite


def test_an_unknown_version_is_refused(state: State) -> None:
    state.crown("0123456789ab", NIGHTS[0])
    with pytest.raises(NightloopError, match="its definition in the ledger, found none"):
        state.plan(NIGHTS[1])


def test_a_definition_of_another_release_is_refused(state: State) -> None:
    token = state.ledger.draw_token(WINDOW, "build_features")
    state.ledger.keep_definition(SCOPE, "0123456789ab", token, {"features_sql": "SELECT 1"})
    with pytest.raises(NightloopError, match="a definition that this release reads"):
        find_features("0123456789ab", state.present, state.load, state.ledger)


def test_what_was_built_is_listed_by_version(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS[:4])
    state.crown(old.version, NIGHTS[2])
    state.change_features()
    state.build(state.present, NIGHTS[3:4], rows=0)
    built = list_built(state.present, WINDOW, state.ledger, state.lake, state.load)
    assert {one.features.version: one.nights for one in built} == {
        old.version: NIGHTS[:4],
        state.present.version: NIGHTS[3:4],
    }
    with pytest.raises(NightloopError, match="1 were not"):
        list_built(state.present, Replay(SCOPE, NIGHTS[6:7]), state.ledger, state.lake, state.load)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("trip_id,", "trip_id,\n  trip_distance * 1.6 AS trip_km,", id="a column more"),
        pytest.param("SELECT\n", "SELECT -- of the raw rows\n", id="a comment"),
    ],
)
def test_a_champion_is_served_after_clean_sql_grew(state: State, old: str, new: str) -> None:
    before = state.present
    state.build(before, NIGHTS[:4])
    state.crown(before.version, NIGHTS[3])
    state.change_clean(old, new)
    state.clean("trips", NIGHTS[4:])
    assert state.plan(NIGHTS[5])[0] == (before.version, 1, {})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("trip_distance,", "trip_distance * 1.6 AS trip_distance,", id="made otherwise"),
        pytest.param("trip_distance,", "trip_distance AS trip_miles,", id="renamed"),
        pytest.param("coalesce(is_cancelled, false)", "is_cancelled", id="what deletes a record"),
    ],
)
def test_a_champion_whose_clean_columns_are_made_otherwise_stops_the_night(state: State, old: str, new: str) -> None:
    before = state.present
    state.build(before, NIGHTS[:4])
    state.crown(before.version, NIGHTS[3])
    state.change_clean(old, new)
    state.sources["trips"]["tombstone"] = None
    state.own["features_sql"] = "SELECT row_id, 1.0 AS one FROM spine"
    state.clean("trips", NIGHTS[4:])
    with pytest.raises(NightloopError, match="the champion reads this version"):
        state.plan(NIGHTS[4])
    assert state.plan(NIGHTS[3]) == [(state.present.version, 1, {})]


def test_a_refill_computes_what_is_missing_once(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS)
    state.crown(old.version, NIGHTS[2])
    state.change_features()
    (build,) = state.refill().values()
    assert (build.nights, build.refused) == (NIGHTS, {})
    state.build(build.features, NIGHTS[:6])
    state.build(build.features, NIGHTS[6:], rows=0)
    assert state.refill() == {}


def test_a_refill_fills_the_champions_version_too(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS[:4])
    state.change_features()
    state.build(state.present, NIGHTS)
    state.crown(old.version, NIGHTS[6])
    assert {version: build.nights for version, build in state.refill().items()} == {old.version: NIGHTS[4:]}


def test_a_champion_that_nobody_can_compute_does_not_stop_its_successor(state: State) -> None:
    state.store(DatasetRef("features", SCOPE, "0123456789ab"), NIGHTS[:6])
    state.crown("0123456789ab", NIGHTS[5])
    builds = state.refill()
    assert builds[state.present.version].nights == NIGHTS
    gone = builds["0123456789ab"]
    assert (gone.nights, sorted(gone.refused)) == ((), list(NIGHTS[6:]))
    assert "its definition in the ledger, found none" in gone.refused[NIGHTS[6]]


def test_nights_with_an_open_source_are_refused(tmp_path: Path) -> None:
    state = State(tmp_path)
    for name in SOURCES:
        state.clean(name, NIGHTS[:7] if name == "weather" else NIGHTS)
    (build,) = state.refill().values()
    assert build.refused == {NIGHTS[7]: "source weather has not closed 20250112T0200Z"}
    assert build.nights == NIGHTS[:7]


def test_nights_before_a_source_began_are_refused(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.sources["weather"] = {"start": NIGHTS[3].date()}
    for name in SOURCES:
        state.clean(name, NIGHTS[3:] if name == "weather" else NIGHTS)
    (build,) = state.refill().values()
    assert dict.fromkeys(NIGHTS[:3], "source weather begins on 2025-01-08") == build.refused


def test_nights_that_would_read_dropped_partitions_are_refused(state: State) -> None:
    from deltalake import DeltaTable

    DeltaTable(str(state.root / "clean/trips")).delete(f"night <= '{format_night(NIGHTS[1])}'")
    (build,) = state.refill().values()
    # bookings are looked back upon for two days, and a night decides about the day after the tick before it
    assert sorted(build.refused) == list(NIGHTS[:4])
    assert build.refused[NIGHTS[3]] == "clean/trips of 20250106T0200Z was dropped from the lake"
    assert "20250105T0200Z and 1 more nights was dropped" in build.refused[NIGHTS[1]]


def test_nights_that_learned_less_than_is_known_now_are_refused(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.sources["weather"] = {"known_at": KnownAt(by="column", column="issued_at")}
    for name in SOURCES:
        state.clean(name)
    assert (
        state.ledger.close_run(Replay(SCOPE, NIGHTS[:3]), state.ledger.draw_token(WINDOW, "decide_retraining")) is None
    )
    assert all(build.refused == {} for build in state.refill().values())
    state.store(DatasetRef("clean", "weather"), NIGHTS[5:6], known=NIGHTS[1])
    (build,) = state.refill().values()
    reason = f"clean/weather of {format_night(NIGHTS[5])} brought records that the night did not know"
    assert build.refused == dict.fromkeys(NIGHTS[1:3], reason)  # the others were never closed


def test_a_night_cleaned_empty_is_not_missed(tmp_path: Path) -> None:
    state = State(tmp_path)
    for name in SOURCES:
        state.clean(name, NIGHTS[:4])
        state.clean(name, NIGHTS[4:], rows=0)
    (build,) = state.refill().values()
    assert build.refused == {}


def test_refused_nights_are_listed_until_they_are_built(state: State) -> None:
    state.change_clean("  passenger_count,", "  passenger_count,\n  passenger_count + 1 AS seats,")
    sql = load_use_case(SCOPE, FOLDERS).features_sql
    state.own["features_sql"] = sql.replace("trips.passenger_count", "trips.seats AS passenger_count")
    state.clean("trips", NIGHTS[5:])
    (build,) = state.refill().values()
    assert build.nights == NIGHTS[7:]  # the others look back beyond the change
    token = state.ledger.draw_token(WINDOW, "build_features")
    record_refused(state.ledger, WINDOW, token, [build])
    listed = refused_nights(build.features.ref, WINDOW, state.ledger, state.lake)
    assert listed == {format_night(night) for night in NIGHTS[:7]}
    _, facts = describe_builds(state.present, [build], [0])
    assert "20250105T0200Z: clean/trips of 20250105T0200Z was cleaned otherwise (columns seats)" in next(
        text for name, text in facts.items() if name.startswith("refused")
    )
    state.clean("trips", NIGHTS)
    (build,) = state.refill().values()
    state.build(build.features, build.nights)
    assert refused_nights(build.features.ref, WINDOW, state.ledger, state.lake) == set()


def test_cohorts_that_cannot_be_refilled_are_left_out_for_all(state: State) -> None:
    old = state.present
    state.build(old, NIGHTS)
    state.change_features()
    new = state.present
    token = state.ledger.draw_token(WINDOW, "build_features")
    record_refused(state.ledger, WINDOW, token, [FeatureBuild(new, NIGHTS[2:], dict.fromkeys(NIGHTS[:2], "gone"))])
    state.build(new, NIGHTS[2:])
    recipe = Recipe(family="linear")
    planned = [PlannedCandidate(name, recipe, (), (), name) for name in (old.version, new.version)]
    names = [format_night(night) for night in NIGHTS]
    labels = pa.table({"row_id": names, "cohort": names})
    every = leave_out_refused(old.use_case, state.lake, state.ledger, planned[:1], labels)
    both = leave_out_refused(old.use_case, state.lake, state.ledger, planned, labels)
    assert (every[0].num_rows, every[1]) == (8, [])
    assert (both[0].column("cohort").to_pylist(), both[1]) == (names[2:], names[:2])
    with pytest.raises(NightloopError, match="none that could be refilled"):
        leave_out_refused(old.use_case, state.lake, state.ledger, planned, labels.slice(0, 2))


def test_features_that_nobody_built_are_missed(state: State) -> None:
    features = state.present
    state.build(features, NIGHTS[:3])
    state.build(features, NIGHTS[3:5], rows=0)
    assert_built(features.ref, Replay(SCOPE, NIGHTS[:5]), state.ledger, state.lake)
    with pytest.raises(NightloopError, match="3 were not, first 20250110T0200Z"):
        assert_built(features.ref, WINDOW, state.ledger, state.lake)


def fail(error: NightloopError) -> int:
    raise error


def test_a_version_that_nobody_reads_fails_alone(state: State) -> None:
    old = state.present
    state.change_features()
    builds = [FeatureBuild(old, NIGHTS, {}), FeatureBuild(state.present, NIGHTS, {}, is_served=False)]
    wrong = NightloopError(Fault("features.sql", "one", "two"))
    outcomes = build_each(builds, lambda one: 8 if one.is_served else fail(wrong))
    counts, facts = describe_builds(state.present, builds, outcomes)
    assert counts == {"rows": 8, f"rows:{old.version}": 8}
    assert facts[f"failed:{state.present.version}"] == str(wrong)
    with pytest.raises(NightloopError, match="expected one"):
        build_each(builds[:1], lambda _: fail(wrong))
    with pytest.raises(FencedError):
        build_each(builds[1:], lambda _: fail(FencedError(Fault("token", "1", "2"))))


def test_how_a_column_is_made_is_told_column_by_column() -> None:
    source = load_source("trips", FOLDERS)
    before = describe_cleaning(source)
    sql = source.clean_sql.replace("trip_distance,", "trip_distance,\n  trip_distance / 2 AS half,")
    assert before.items() <= describe_cleaning(source.model_copy(update={"clean_sql": sql})).items()
    typed = source.columns | {"trip_distance": source.columns["trip_distance"].model_copy(update={"type": "int"})}
    described = source.columns | {"trip_id": source.columns["trip_id"].model_copy(update={"description": "of a trip"})}
    changed = {
        "sql": source.model_copy(update={"clean_sql": source.clean_sql.replace("lower(payment_type)", "payment_type")}),
        "type": source.model_copy(update={"columns": typed}),
        "keys": source.model_copy(update={"keys": ("trip_id", "booked_at")}),
        "description": source.model_copy(update={"columns": described}),
    }
    found = {name: describe_cleaning(one) for name, one in changed.items()}
    differing = {name: [key for key in before if before[key] != made[key]] for name, made in found.items()}
    assert differing == {"sql": ["payment_type"], "type": ["trip_distance"], "keys": [IDENTITY], "description": []}


def test_needs_are_the_columns_read_joined_on_or_deleting() -> None:
    use_case = load_use_case(SCOPE, FOLDERS)
    sources = {name: load_source(name, FOLDERS) for name in use_case.sources}
    needs = clean_needs(use_case, sources)
    assert set(needs["weather"].columns) == {
        *(IDENTITY, "place", "forecast_hour", "temperature_c", "precipitation_mm", "wind_kph"),
        *sources["weather"].keys,
    }
    assert set(needs["trip_completions"].columns) == {IDENTITY, "trip_id"}
    assert "is_cancelled" in needs["trips"].columns
    assert needs["trips"].differing({**describe_cleaning(sources["trips"]), "is_cancelled": "?"}) == ["is_cancelled"]


def test_texts_that_change_nothing_keep_the_version() -> None:
    use_case = load_use_case(SCOPE, FOLDERS)
    sources = {name: load_source(name, FOLDERS) for name in use_case.sources}
    described = {
        name: column.model_copy(update={"description": f"about {name}"})
        for name, column in sources["trips"].columns.items()
    }
    told = {**sources, "trips": sources["trips"].model_copy(update={"columns": described, "owner": "somebody"})}
    assert version_features(use_case, told) == version_features(use_case, sources)
    kept = FeatureDefinition.of(use_case, sources).model_dump(mode="json")
    assert FeatureDefinition.model_validate(kept).restore(use_case, told) == (
        use_case,
        told | {"trips": told["trips"].model_copy(update={"columns": sources["trips"].columns})},
    )
