"""The world of `loan_default`: applications, the bureau's records of the applicants, and what became of each loan."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.simulate.draw import Draw
from nightloop.simulate.feed import Feed, World
from nightloop.simulate.plan import Plan, PlannedFile, Portion

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_REPORTED_MONTHS = 12
_WITHOUT_RECORD = 0.05
_NEW_TERM = 60
_NEW_PRODUCT = "instalment_60"
_POOR_QUALITY = -1.2
_CHARGED_OFF_DAYS = 150
_TIME = "yyyy-MM-dd HH:mm:ss"
_DAY = "yyyy-MM-dd"


def write_applications(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """One row per application; covariate drift brings a new product with a term of 60 months."""
    from pyspark.sql import functions as F

    digits = F.lpad(F.pmod(draw.hash("phone"), F.lit(10_000_000)).cast("string"), 7, "0")
    # up to midnight, two hours before the night
    applied = F.col("before_seconds") + (F.col("as_of_seconds") - F.col("before_seconds") - 7200) * draw.uniform(
        "applied"
    )
    first = draw.choice("first", _even("Ada Ben Cleo Dan Eva Finn"))
    last = draw.choice("last", _even("Archer Baker Cooper Dyer Fisher"))
    place = F.concat_ws(".", F.col("ordinal").cast("string"), F.col("row").cast("string"))
    usual = F.concat(F.lit("personal_"), F.col("term").cast("string"))
    return _person(frame, draw).select(
        "*",
        _application_id().alias("application_id"),
        F.date_format(F.timestamp_seconds(F.floor(applied)), _TIME).alias("applied_at"),
        _national_id().alias("national_id"),
        F.concat_ws(" ", first, last).alias("full_name"),
        F.concat(F.lit("a"), place, F.lit("@mail.example")).alias("email"),
        F.concat(F.lit("+1-555-"), digits).alias("phone"),
        F.lpad(F.floor(100_000 * draw.uniform("postcode")).cast("string"), 5, "0").alias("postcode"),
        draw.choice("sex", {"f": 0.48, "m": 0.52}).alias("sex"),
        draw.choice("age", {"18-29": 0.25, "30-44": 0.35, "45-59": 0.25, "60+": 0.15}).alias("age_group"),
        F.when(F.col("term") == _NEW_TERM, F.lit(_NEW_PRODUCT)).otherwise(usual).alias("product"),
        F.col("term").alias("term_months"),
        F.col("amount").alias("loan_amount_usd"),
        F.when(~draw.is_hit("income/lost", 0.04), F.col("income")).alias("annual_income_usd"),
        F.when(~draw.is_hit("job/lost", 0.05), F.col("job_years")).alias("employment_years"),
        F.col("home").alias("housing"),
        F.col("aim").alias("purpose"),
        F.col("way").alias("channel"),
    )


def write_records(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """One row per applicant whom the bureau knows; a broken feed loses the score of most."""
    from pyspark.sql import functions as F

    quality = F.col("quality")
    score = F.greatest(F.lit(300), F.least(F.lit(850), F.round(680 + 60 * (quality + 0.4 * draw.normal("score")))))
    used = 1 / (1 + F.exp(0.4 + 0.8 * quality + 0.6 * draw.normal("used")))
    is_lost = draw.is_hit("score/lost", F.greatest(F.lit(0.02), F.col("broken_feed") * 0.8))
    return _person(frame, draw).select(
        "*",
        _national_id().alias("national_id"),
        F.date_format(F.timestamp_seconds(F.col("as_of_seconds") - 86_400), _TIME).alias("reported_at"),
        F.when(~is_lost, score.cast("int")).alias("bureau_score"),
        (1 + F.floor(12 * F.pow(draw.uniform("accounts"), 1.3))).alias("open_accounts"),
        F.floor(F.greatest(F.lit(0.0), draw.normal("delinquencies") - quality - 0.3)).alias("delinquencies_2y"),
        F.floor(F.greatest(F.lit(0.0), 1.2 * draw.normal("inquiries") - 0.6 * quality + 0.8)).alias("inquiries_6m"),
        F.round(used, 3).alias("utilisation_ratio"),
        F.floor(12 + 200 * F.pow(draw.uniform("oldest"), 1.5)).alias("oldest_account_months"),
        F.lit("false").alias("is_withdrawn"),
    )


def write_repayments(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """The decision on each application, cancellations, and the status at each month end; one row each.

    A loan that defaults is 30 days late two months before it is 90 days late; one paid in full reports no more.
    """
    from pyspark.sql import functions as F

    lives = _life(_person(frame, draw), draw)
    topic, age = F.col("topic"), F.col("months")
    is_running = F.col("is_granted") & ~F.col("is_cancelled") & (age <= F.col("last_month"))
    lived = lives.where(
        (topic == "decision") | ((topic == "cancellation") & F.col("is_cancelled")) | ((topic == "status") & is_running)
    )
    overdue = F.when(F.col("is_default") & (age >= F.col("default_month") - 2), 30 * (age - F.col("default_month") + 3))
    slip = F.when(draw.by("ordinal", "row", "months").is_hit("slip", 0.04), F.lit(30)).otherwise(F.lit(0))
    days = F.when(topic == "status", F.coalesce(overdue, F.when(~F.col("is_default"), slip), F.lit(0))).otherwise(
        F.lit(0)
    )
    decided = F.when(F.col("is_granted"), F.lit("granted")).otherwise(F.lit("declined"))
    status = (
        F.when(topic == "decision", decided)
        .when(topic == "cancellation", F.lit("cancelled"))
        .when(F.col("is_prepaid") & (age == F.col("last_month")), F.lit("paid_in_full"))
        .when(F.col("overdue") >= _CHARGED_OFF_DAYS, F.lit("charged_off"))
        .when(F.col("overdue") > 0, F.lit("late"))
        .otherwise(F.lit("current"))
    )
    issued = F.timestamp_seconds(F.col("as_of_seconds")).cast("date")
    day = (
        F.when(topic == "decision", F.date_add(issued, 2))
        .when(topic == "cancellation", F.date_add(issued, 9))
        .otherwise(F.last_day(F.add_months(issued, age.cast("int") - 1)))
    )
    left = F.when(status == "paid_in_full", F.lit(0.0)).otherwise(F.col("amount") * (1 - age / F.col("term")))
    return lived.withColumn("overdue", days).select(
        "*",
        _application_id().alias("application_id"),
        F.date_format(day, _DAY).alias("status_date"),
        status.alias("status"),
        F.when(status == "paid_in_full", F.lit(0)).otherwise(F.col("overdue")).alias("days_past_due"),
        F.round(left, 2).alias("balance_usd"),
    )


def plan_applications(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan the applications of the month before the night."""
    layout = plan.layout(night, can_be_late=False)
    yield plan.main_file(night, layout.own(layout.rows))


def plan_records(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan the applicants' records, and corrections and withdrawals of last month's; some months a part is late."""
    own, before = plan.layout(night), plan.layout(plan.before(night))
    unknown, unknown_before = (int(layout.rows * _WITHOUT_RECORD) for layout in (own, before))
    later = [
        before.later("correction", before.rows),
        # the last rows are those whom the bureau does not know: what it withdraws lies before them
        Portion("tombstone", before.cohort, before.first_withdrawn - unknown_before, before.rows - unknown_before),
    ]
    yield plan.main_file(night, [*own.own(own.rows - unknown), *later])
    if own.has_late:
        yield plan.late_file(night, [own.late(own.rows)])


def plan_repayments(plan: Plan, night: datetime) -> Iterator[PlannedFile]:
    """Plan last month's decisions and cancellations, and a month end of each of the last twelve cohorts."""
    decided = plan.layout(plan.before(night))
    cohorts = [(months, plan.before(night, months)) for months in range(1, _REPORTED_MONTHS + 1)]
    statuses = [Portion("good", cohort, 0, plan.rows(cohort), "status", months) for months, cohort in cohorts]
    cancelled = Portion("good", decided.cohort, 0, decided.rows, "cancellation", 1)
    yield plan.main_file(night, [*decided.own(decided.rows, "decision", 1), cancelled, *statuses])
    if decided.has_late and plan.exists(decided.cohort):
        yield plan.late_file(night, [decided.late(decided.rows, "decision", 1)])


def _person(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Draw what decides an application and its risk."""
    from pyspark.sql import functions as F

    income = F.round(F.exp(10.8 + 0.45 * draw.normal("income")), -2)
    amount = F.greatest(F.lit(500.0), F.least(F.lit(50_000.0), F.round(F.exp(9.1 + 0.6 * draw.normal("amount")), -2)))
    usual_term = draw.choice("term", {"24": 0.3, "36": 0.5, "48": 0.2}).cast("int")
    is_new = draw.is_hit("term/is_new", F.col("covariate") * 0.45)
    return (
        frame.withColumn("quality", draw.normal("quality"))
        .withColumn("income", income)
        .withColumn("term", F.when(is_new, F.lit(_NEW_TERM)).otherwise(usual_term))
        .withColumn("amount", F.when(is_new, F.least(F.lit(50_000.0), amount * 1.8)).otherwise(amount))
        .withColumn("job_years", F.round(F.least(F.lit(40.0), -8 * F.log(1 - draw.uniform("job"))), 1))
        .withColumn("home", draw.choice("home", {"Rent": 0.45, "Mortgage": 0.4, "Own": 0.15}))
        .withColumn("aim", draw.choice("aim", {"Debt": 0.45, "Car": 0.2, "Home": 0.15, "Business": 0.1, "Other": 0.1}))
        .withColumn("way", draw.choice("way", {"Branch": 0.4, "Web": 0.45, "Partner": 0.15}))
    )


def _life(frame: "DataFrame", draw: Draw) -> "DataFrame":
    """Draw what becomes of each application.

    Prior drift raises everybody's risk; concept drift makes web applications risky and quality matter less.
    """
    from pyspark.sql import functions as F

    burden = F.log(F.col("amount") / F.col("income")) + 1.7
    logit = (
        -2.6
        - (0.95 - 0.5 * F.least(F.col("concept"), F.lit(1.0))) * F.col("quality")
        + 0.45 * burden
        + F.when(F.col("home") == "Rent", 0.35).otherwise(0.0)
        + F.when(F.col("aim") == "Business", 0.5).otherwise(0.0)
        + F.when(F.col("way") == "Partner", 0.4).otherwise(0.0)
        + F.when(F.col("way") == "Web", 1.5 * F.col("concept")).otherwise(0.0)
        + F.when(F.col("term") == _NEW_TERM, 0.9).otherwise(0.0)
        - 0.03 * F.col("job_years")
        + 0.8 * F.col("prior")
    )
    is_poor = (F.col("quality") < _POOR_QUALITY) & draw.is_hit("grant/poor", 0.6)
    with_fate = (
        frame.withColumn("is_granted", ~(is_poor | draw.is_hit("grant/other", 0.08)))
        .withColumn("is_cancelled", F.col("is_granted") & draw.is_hit("cancelled", 0.03))
        .withColumn("is_default", draw.uniform("default") < 1 / (1 + F.exp(-logit)))
        .withColumn("default_month", 4 + F.floor(9 * draw.uniform("default/month")))
        .withColumn("is_prepaid", ~F.col("is_default") & draw.is_hit("prepaid", 0.1))
    )
    prepaid = 3 + F.floor(10 * draw.uniform("prepaid/month"))
    return with_fate.withColumn("last_month", F.when(F.col("is_prepaid"), prepaid).otherwise(F.lit(_REPORTED_MONTHS)))


def _application_id() -> "Column":
    from pyspark.sql import functions as F

    return F.concat(F.lit("A"), F.col("ordinal").cast("string"), F.lit("-"), F.col("row").cast("string"))


def _national_id() -> "Column":
    from pyspark.sql import functions as F

    return F.concat(F.lit("N"), F.col("ordinal").cast("string"), F.lit("-"), F.col("row").cast("string"))


def _even(words: str) -> dict[str, float]:
    return dict.fromkeys(words.split(), 1.0)


WORLD = World(
    season=(0.9, 0.95, 1.05, 1.0, 1.05, 1.1, 1.0, 0.95, 1.0, 1.0, 1.05, 0.95),
    season_by="month",
    feeds=(
        Feed(
            "loan_applications",
            (
                *("application_id", "applied_at", "national_id", "full_name", "email", "phone", "postcode", "sex"),
                *("age_group", "product", "term_months", "loan_amount_usd", "annual_income_usd", "employment_years"),
                *("housing", "purpose", "channel"),
            ),
            write_applications,
            plan_applications,
            unparseable=("annual_income_usd", "unknown"),
            out_of_range=("loan_amount_usd", "-100.0"),
            missing_key="application_id",
        ),
        Feed(
            "bureau_records",
            (
                *("national_id", "reported_at", "bureau_score", "open_accounts", "delinquencies_2y", "inquiries_6m"),
                *("utilisation_ratio", "oldest_account_months", "is_withdrawn"),
            ),
            write_records,
            plan_records,
            unparseable=("open_accounts", "many"),
            out_of_range=("bureau_score", "9999"),
            missing_key="national_id",
            correction={"bureau_score": "500", "delinquencies_2y": "3"},
            tombstone="is_withdrawn",
        ),
        Feed(
            "repayments",
            ("application_id", "status_date", "status", "days_past_due", "balance_usd"),
            write_repayments,
            plan_repayments,
            unparseable=("balance_usd", "?"),
            out_of_range=("days_past_due", "-30"),
            missing_key="application_id",
        ),
    ),
)
