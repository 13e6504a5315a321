"""The card as one HTML page without scripts; every value is escaped."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nightloop.model_card.card import Card
from nightloop.model_card.plots import draw_dependence

if TYPE_CHECKING:
    from jinja2 import Template


def render_card(card: Card) -> str:
    """Return the page."""
    widest = max((abs(one.lost) for one in card.importance), default=1.0) or 1.0
    effects = {} if card.explanation is None else draw_dependence(card.explanation.dependence)
    return _template().render(card=card, widest=widest, effects=effects)


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    # strict: a name misspelt in the template fails instead of showing nothing
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = _figure
    return environment.from_string(Path(__file__).with_name("card.html").read_text())


def _figure(value: float | None) -> str:
    """Four significant digits, without a zero that says nothing."""
    return "" if value is None else f"{value:,.4g}"
