"""`[rules]` and `[send_window]`: the contact rules a portfolio is under, and its own hours on top of them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from worker.domain.message import CHANNELS
from worker.domain.rules.pack import Pack
from worker.domain.rules.rule import Strength
from worker.domain.rules.time_rules import BlockedWindows, Hours
from worker.domain.rules.vocabulary import FACTS
from worker.domain.rules.week import Spans, Week, spans
from worker.portfolios.strict import Strict

POST = "letter"
"""Has no hour."""


def _hours(texts: tuple[str, ...]) -> tuple[str, ...]:
    spans(texts, over_midnight=False)
    return texts


def _facts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in FACTS:
            raise ValueError(f"no such fact: {name!r}; there are {', '.join(sorted(FACTS))}")
    return names


HourTexts = Annotated[tuple[str, ...], AfterValidator(_hours)]


class Window(Strict):
    """`[send_window]`: no contact outside these hours of the borrower's own day. Rule packs may narrow it."""

    weekdays: HourTexts = ("09:00-20:00",)
    saturday: HourTexts = ("09:00-17:00",)
    sunday: HourTexts = ()

    def to_pack(self) -> Pack:
        """The portfolio's own hours as one more pack of its stack."""
        read: dict[str, Spans] = {
            "weekdays": spans(self.weekdays, over_midnight=False),
            "sat": spans(self.saturday, over_midnight=False),
            "sun": spans(self.sunday, over_midnight=False),
        }
        window = Hours(
            id="house.send_window",
            strength=Strength.HOUSE,
            channels=frozenset(CHANNELS) - {POST},
            allow=Week.of(read),
        )
        # A borrower's own closed hours are kept whatever packs the portfolio names.
        closed = BlockedWindows(id="house.closed_hours", strength=Strength.HOUSE)
        return Pack(id="house", title="The portfolio's own hours", status="active", rules=(window, closed))


class Rules(Strict):
    """`[rules]`: which rule packs bind the portfolio. All are asked and the strictest wins."""

    packs: tuple[str, ...] = ()
    """Ids, as `dunlin rules list` shows them; who chooses them answers for the choice."""
    holidays: str = ""
    """Holiday calendar, for example GB-ENG; needed when a pack has hours of its own for holidays."""
    keep_years: int | None = Field(default=None, strict=True, ge=1, le=100)
    """Years to keep addresses and texts, where no pack asks for longer."""
    facts: Annotated[tuple[str, ...], AfterValidator(_facts)] = ()
    """What is true of every account of the portfolio, for claims that need it."""
