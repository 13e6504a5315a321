"""The model card: what one version is, was trained on, and showed, on one page for a risk officer.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from nightloop.model_card.card import Card, Importance, SliceLine
from nightloop.model_card.page import render_card

__all__ = ["Card", "Importance", "SliceLine", "render_card"]
