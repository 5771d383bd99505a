"""What the tables of all rules have in common, and how one becomes a value of `domain`."""

from dataclasses import fields
from datetime import date
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from worker.domain.rules.rule import Rule, Strength
from worker.rulepacks import fields as f

Purposes = frozenset[f.Purpose]
PackDate = Annotated[date | None, BeforeValidator(f.pack_date)]


class Table(f.Strict):
    """What every rule has, and how it becomes a value: by fields of the same name."""

    makes: ClassVar[type[Rule]]

    id: f.RuleId
    source: str = ""
    source_url: str = ""
    seen: str = ""
    notes: str = ""
    strength: Strength = Strength.MUST
    effective_from: PackDate = None
    effective_to: PackDate = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.effective_from and self.effective_to and self.effective_to < self.effective_from:
            raise ValueError(
                f"effective_to {self.effective_to} is before effective_from {self.effective_from}"
            )
        return self

    def to_domain(self) -> Rule:
        return self.makes(**self.values())

    def values(self) -> dict[str, Any]:
        names = [field.name for field in fields(self.makes)]
        return {name: getattr(self, name) for name in names if name in type(self).model_fields}
