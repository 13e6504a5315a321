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
_LAST_OF_MANHATTAN = 16
_DRIFT_ZONES = 24
_DRY_DAYS = 0.7
_MORNING_SHARE = 0.3
_EVENING_SHARE = 0.4
_FORECAST_HOURS = 48
_MAX_MINUTES = 110.0  # a ride of 23:24 then ends before the next night's file arrives at 01:50
_TIME = "yyyy-MM-dd HH:mm:ss"


def write_trips(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Bookings: one row per trip of the day that follows the cohort's night."""
    from pyspark.sql import functions as F

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
    from pyspark.sql import functions as F

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
    from pyspark.sql import functions as F

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
        F.when(
            ~is_lost, F.round(F.greatest(F.lit(0.0), F.col("rain") * (1 + 0.2 * draw.normal("rain/error"))), 1)
        ).alias("precipitation_mm"),
        F.round(F.abs(15 + 8 * draw.by("hour").normal("wind")), 1).alias("wind_kph"),
    )


def plan_trips(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan the coming day's bookings, and corrections and cancellations of the day before."""
    own = plan.layout(night, can_be_late=False)
    before = plan.layout(plan.before(night), can_be_late=False)
    later = [before.later("correction", before.rows), before.later("tombstone", before.rows)]
    yield plan.main_file(night, [*own.own(own.rows), *later])


def plan_completions(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan the readings of the day that ended; cancelled trips have none."""
    ended = plan.layout(plan.before(night))
    before = plan.layout(plan.before(night, 2))
    correction = before.later("correction", before.first_withdrawn)
    yield plan.main_file(night, [*ended.own(ended.first_withdrawn), correction])
    if ended.has_late and plan.exists(ended.cohort):
        yield plan.late_file(night, [ended.late(ended.first_withdrawn)])


def plan_weather(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan one forecast of every borough and hour; the weather service makes no mistakes of form."""
    yield plan.main_file(night, [Portion("good", night, 0, _FORECAST_HOURS * len(_BOROUGHS))])


def _ride(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Draw what decides a trip: when, from where, to where, how far, in which weather.

    Covariate drift moves pickups out to Queens and the Bronx; prior drift makes far trips more frequent.
    """
    from pyspark.sql import functions as F

    evening = 18 + 2.5 * draw.normal("hour/evening")
    morning = 8.5 + 1.5 * draw.normal("hour/morning")
    rest = 4 + 19 * draw.uniform("hour/rest")
    peak = draw.uniform("hour/peak")
    hour = F.when(peak < _MORNING_SHARE, morning).when(peak < _MORNING_SHARE + _EVENING_SHARE, evening).otherwise(rest)
    hour = F.greatest(F.lit(4.0), F.least(F.lit(23.4), hour))
    usual_zone = 1 + F.floor(_ZONES * F.pow(draw.uniform("zone"), 1.5))
    moved_zone = 25 + F.floor(13 * draw.uniform("zone/moved"))
    near = (F.col("zone") + 34 + F.floor(11 * draw.uniform("to/near"))) % _ZONES + 1
    anywhere = 1 + F.floor(_ZONES * draw.uniform("to/anywhere"))
    opposite = (F.col("zone") + 19) % _ZONES + 1
    to_zone = (
        F.when(draw.is_hit("to/is_far", F.col("prior") * 0.5), opposite)
        .when(draw.is_hit("to/is_near", 0.6), near)
        .otherwise(anywhere)
    )
    is_moved = draw.is_hit("zone/is_moved", F.col("covariate") * 0.6)
    placed = (
        # a night is at 02:00, and an hour counts from midnight
        frame.withColumn("pickup", F.floor(F.col("as_of_seconds") + 3600 * (hour - 2)))
        .withColumn("hour", F.floor(F.col("pickup") / 3600))
        .withColumn("zone", F.when(is_moved, moved_zone).otherwise(usual_zone))
        .withColumn("to_zone", to_zone)
        .withColumn("borough", _borough(F.col("zone")))
        .withColumn("place_key", _borough_number(F.col("zone")))
    )
    straight = F.sqrt(F.pow(_x("zone") - _x("to_zone"), 2) + F.pow(_y("zone") - _y("to_zone"), 2))
    return _weather(placed.withColumn("miles", 0.5 + 0.8 * straight * (1 + 0.3 * draw.uniform("detour"))), draw)


def _minutes(draw: Draw) -> "Column":
    """Minutes of a ride. Concept drift slows rides that start in Manhattan or Brooklyn by up to 60 %."""
    from pyspark.sql import functions as F

    clock = (F.col("pickup") % 86_400) / 3600
    rush = F.exp(-F.pow((clock - 8.5) / 1.5, 2)) + F.exp(-F.pow((clock - 18) / 2.5, 2))
    in_manhattan = F.when(F.col("zone") <= _LAST_OF_MANHATTAN, 0.75).otherwise(1.0)
    # by zone alone: a zone has its own pace in every night, which a model can learn
    zone_speed = 0.85 + 0.3 * draw.by("zone").uniform("speed")
    in_rain = 1 - 0.2 * F.least(F.col("rain") / 5, F.lit(1.0))
    miles_per_hour = 22 * (1 - 0.4 * F.least(rush, F.lit(1.0))) * in_manhattan * zone_speed * in_rain
    usual = (2 + 60 * F.col("miles") / miles_per_hour) * F.exp(0.1 * draw.normal("minutes"))
    slowed = F.when(F.col("zone") <= _DRIFT_ZONES, 1 + 0.6 * F.col("concept")).otherwise(1.0)
    return F.least(usual * slowed, F.lit(_MAX_MINUTES))


def _weather(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Add the weather that will be at `place_key` and `hour`, whoever looks."""
    from pyspark.sql import functions as F

    dated = frame.withColumn("day", F.floor(F.col("hour") / 24))
    is_wet = draw.by("day").uniform("rain/day") > _DRY_DAYS
    rain = F.when(is_wet, 8 * F.pow(draw.by("place_key", "hour").uniform("rain/hour"), 2)).otherwise(0.0)
    season = -12 * F.cos(2 * math.pi * (F.col("day") % 365 - 15) / 365)
    daily = 4 * F.sin(2 * math.pi * (F.col("hour") % 24 - 9) / 24)
    warmth = 12 + season + daily + 4 * draw.by("day").normal("warmth/day")
    return dated.withColumn("rain", rain).withColumn("warmth", warmth)


def _x(zone: str) -> "Column":
    from pyspark.sql import functions as F

    # neither 7 nor the 13 below has a factor in common with 40: no two zones share an x or a y
    return (F.col(zone) * 7 % _ZONES) / 4


def _y(zone: str) -> "Column":
    from pyspark.sql import functions as F

    return (F.col(zone) * 13 % _ZONES) / 4


def _borough(zone: "Column") -> "Column":
    from pyspark.sql import functions as F

    named = F.lit("Staten Island")
    for last, name in reversed(list(_BOROUGHS.items())[:-1]):
        named = F.when(zone <= last, F.lit(name)).otherwise(named)
    return named


def _borough_number(zone: "Column") -> "Column":
    from pyspark.sql import functions as F

    number = F.lit(0).cast("bigint")
    for last in list(_BOROUGHS)[:-1]:
        number = number + F.when(zone > last, F.lit(1)).otherwise(F.lit(0))
    return number


def _trip_id() -> "Column":
    from pyspark.sql import functions as F

    return F.concat(F.lit("T"), F.col("ordinal").cast("string"), F.lit("-"), F.col("row").cast("string"))


def _instant(seconds: "Column") -> "Column":
    from pyspark.sql import functions as F

    return F.timestamp_seconds(F.floor(seconds))


WORLD = World(
    season=(0.95, 1.0, 1.0, 1.05, 1.15, 1.0, 0.85),
    feeds=(
        Feed(
            "trips",
            (
                *("trip_id", "booked_at", "pickup_datetime", "pickup_location_id", "dropoff_location_id"),
                *("pickup_borough", "dropoff_borough", "trip_distance", "passenger_count", "payment_type"),
                "is_cancelled",
            ),
            write_trips,
            plan_trips,
            unparseable=("passenger_count", "two"),
            out_of_range=("trip_distance", "-5.0"),
            missing_key="trip_id",
            correction={"passenger_count": "6"},
            tombstone="is_cancelled",
        ),
        Feed(
            "trip_completions",
            ("trip_id", "pickup_datetime", "dropoff_datetime", "fare_amount"),
            write_completions,
            plan_completions,
            unparseable=("fare_amount", "n/a"),
            out_of_range=("dropoff_datetime", "2000-01-01 00:00:00"),
            missing_key="trip_id",
            correction={"fare_amount": "3.0"},
        ),
        Feed(
            "weather",
            ("place", "forecast_hour", "issued_at", "temperature_c", "precipitation_mm", "wind_kph"),
            write_weather,
            plan_weather,
            unparseable=("wind_kph", "strong"),
            out_of_range=("temperature_c", "451.0"),
            missing_key="place",
        ),
    ),
)
