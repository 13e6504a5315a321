"""The entries of the forms with which people trigger DAGs."""

from airflow.sdk import Param

from nightloop.run import MAIN_VARIANT
from nightloop_airflow.run_key import VARIANT_PATTERN


def night_param() -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Night",
        description="Instant of the night (UTC), exactly as the schedule has it. Empty: the last one that has begun.",
    )


def variant_param() -> Param:
    return Param(
        MAIN_VARIANT,
        type="string",
        pattern=f"^{VARIANT_PATTERN}$",
        title="Variant",
        description="`main` is the night itself; another name, such as `restated`, is written beside it.",
    )


def day_param(title: str, description: str, default: str | None = None) -> Param:
    if default is None:
        return Param(type="string", format="date", title=title, description=description)
    return Param(default, type="string", format="date", title=title, description=description)


def optional_day_param(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


def text_param(title: str, description: str) -> Param:
    return Param("", type="string", maxLength=500, title=title, description=description)
