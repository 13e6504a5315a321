"""Treatments of personal data, applied before anything is written."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PiiTreatment(BaseModel):
    """What becomes of one column that identifies a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    treatment: Literal["hash", "generalise", "drop"] = Field(
        description="hash: keyed HMAC-SHA-256, joins survive · generalise: keep a prefix · drop: never written"
    )
    keep_characters: int = Field(default=0, ge=0, description="generalise: how many leading characters stay")
