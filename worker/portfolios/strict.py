"""The base of every table of a portfolio file."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are errors: a mistyped limit must not be no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)
