"""The world of `taxi_duration`: bookings for the coming day, the weather forecast, and what the meters recorded."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.simulate.draw import Draw
from nightloop.simulate.feed import Feed, World
from nightloop.simulate.plan import Plan, PlannedFile, Portion

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ZONES = 40
_BOROUGHS = {16: "Manhattan", 24: "Brooklyn", 32: "Queens", 37: "Bronx", 40: "Staten Island"}
_DRIFT_ZONES = 24
_FORECAST_HOURS = 48
_MAX_MINUTES = 110.0
_TIME = "yyyy-MM-dd HH:mm:ss"


def write_trips(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Bookings: one row per trip of the day that follows the cohort's night."""
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

    rides = _ride(frame, draw)
    is_lost = draw.is_hit("distance/lost", F.greatest(F.lit(0.01), F.col("broken_feed") * 0.8))
    return rides.select(
        "*",
        _trip_id().alias("trip_id"),
        F.date_format(_instant(F.col("pickup") - 3600 * (1 + 20 * draw.uniform("lead"))), _TIME).alias("booked_at"),
        F.date_format(_instant(F.col("pickup")), _TIME).alias("pickup_datetime"),
        F.col("zone").alias("pickup_location_id"),
        F.col("to_zone").alias("dropoff_location_id"),
        F.col("borough").alias("pickup_borough"),
        _borough(F.col("to_zone")).alias("dropoff_borough"),
        F.when(~is_lost, F.round("miles", 2)).alias("trip_distance"),
        F.when(~draw.is_hit("passengers/lost", 0.03), 1 + F.floor(5 * F.pow(draw.uniform("passengers"), 3))).alias(
            "passenger_count"
        ),
        draw.choice("payment", {"Card": 0.7, "Cash": 0.25, "Voucher": 0.05}).alias("payment_type"),
        F.lit("false").alias("is_cancelled"),
    )


def write_completions(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Meter readings: one row per trip of the cohort that was driven."""
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

    rides = _ride(frame, draw).withColumn("minutes", _minutes(draw))
    started = F.floor(F.col("pickup") + 240 * draw.uniform("delay"))
    return rides.select(
        "*",
        _trip_id().alias("trip_id"),
        F.date_format(_instant(started), _TIME).alias("pickup_datetime"),
        F.date_format(_instant(started + F.round(F.col("minutes") * 60)), _TIME).alias("dropoff_datetime"),
        F.round(3 + 2.5 * F.col("miles") + 0.5 * F.col("minutes"), 2).alias("fare_amount"),
    )


def write_weather(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Forecasts: one row per borough and hour of the 48 hours from the night on."""
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

    places = F.array(*(F.lit(name) for name in _BOROUGHS.values()))
    hours = frame.withColumn("place_number", F.floor(F.col("row") / _FORECAST_HOURS)).withColumn(
        "hour", F.floor(F.col("as_of_seconds") / 3600) + F.col("row") % _FORECAST_HOURS
    )
    named = hours.withColumn("place", F.get(places, F.col("place_number").cast("int"))).withColumn(
        "place_key", F.col("place_number").cast("bigint")
    )
    known = _weather(named, draw)
    is_lost = draw.is_hit("rain/lost", 0.02)
    return known.select(
        "*",
        F.date_format(_instant(F.col("hour") * 3600), _TIME).alias("forecast_hour"),
        F.date_format(_instant(F.col("as_of_seconds") - 1800), _TIME).alias("issued_at"),
        F.round(F.col("warmth") + draw.normal("warmth/error"), 1).alias("temperature_c"),
        F.when(~is_lost, F.round(F.greatest(F.lit(0.0), F.col("rain") * (1 + 0.2 * draw.normal("rain/error"))), 1)).alias(
            "precipitation_mm"
        ),
        F.round(F.abs(15 + 8 * draw.by("hour").normal("wind")), 1).alias("wind_kph"),
    )


def plan_trips(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    rows = plan.rows(night)
    before = plan.before(night)
    portions = [
        *_without_late(plan, night, rows),
        plan.layout(before).one("correction", before, rows=plan.rows(before)),
        plan.layout(before).one("tombstone", before, rows=plan.rows(before)),
    ]
    yield plan.main_file(night, portions)


def plan_completions(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Cancelled trips have no completion; every so many nights a part comes after the night closed."""
    cohort, before = plan.before(night), plan.before(night, 2)
    layout = plan.layout(cohort)
    driven = layout.ranges["tombstone"][0]
    earlier = plan.layout(before)
    correction = earlier.one("correction", before, rows=earlier.ranges["tombstone"][0])
    yield plan.main_file(night, [*layout.own(cohort, driven), correction])
    if layout.has_late:
        yield plan.late_file(night, [layout.one("good", cohort, rows=driven)])


def plan_weather(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    rows = _FORECAST_HOURS * len(_BOROUGHS)
    yield plan.main_file(night, [Portion("good", night, 0, rows)])
