"""Holds, suppressions, consents and past contacts of the sample book: enough of each to see its effect."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from worker.sample.accounts import Account
from worker.sample.book import AS_OF
from worker.sample.people import Borrower, reachable

Row = Sequence[str]
People = Mapping[tuple[str, int], Borrower]

_HOLDS = {
    "dispute": (None, "says the amount is wrong"),
    "hardship": (60, "reduced income, plan being agreed"),
    "bankruptcy": (None, "notice from the court"),
    "deceased": (None, "told by the family"),
    "attorney": (None, "is represented"),
    "cease_contact": (None, "asked in writing"),
    "promise_to_pay": (7, "promised on the telephone"),
    "breathing_space": (45, "moratorium"),
    "identity_theft": (None, "police report received"),
    "minor": (None, "borrower turns out to be under age"),
}
"""For each type the days it has left (None: no end) and a reason."""
_REASONS = {
    "sms": ("opted_out", "invalid_recipient", "wrong_number", "manual"),
    "email": ("opted_out", "hard_bounce", "complaint", "manual"),
}
_NOTICE = ("collection", "out")
DEFAULT_NOTICE_AGE = 16
"""Days; the youngest default notice is old enough for the legal step it must precede."""
DEFAULT_NOTICE_MISSING = 10
"""One in so many late accounts had a stern notice and no default notice: its legal warning must not go."""
_OFFSETS = {"cn": "+08:00", "us": "-05:00", "uk": "+00:00"}


def holds(accounts: Sequence[Account], people: People) -> Iterator[Row]:
    """Three of each type in each portfolio: on the borrower, on one account, and one that is over."""
    n = 0
    for portfolio in _OFFSETS:
        chosen = iter([a for a in accounts if a.portfolio == portfolio and a.dpd > 0][3::7])
        for kind, (left, reason) in _HOLDS.items():
            end = _day(left) if left is not None else ""
            first, second, third = next(chosen), next(chosen), next(chosen)
            n += 1
            yield (f"H{n:04d}", _id(people, first), portfolio, "", kind, _day(-10), end, reason)
            n += 1
            yield (
                f"H{n:04d}",
                _id(people, second),
                portfolio,
                second.account_id,
                kind,
                _day(-5),
                end,
                reason,
            )
            n += 1
            yield (f"H{n:04d}", _id(people, third), "", "", kind, _day(-90), _day(-20), f"over: {reason}")
        coming = next(chosen)
        n += 1
        yield (
            f"H{n:04d}",
            _id(people, coming),
            portfolio,
            "",
            "promise_to_pay",
            _day(2),
            _day(9),
            "pays on pay day",
        )


def suppressions(people: People) -> Iterator[Row]:
    """Eight addresses of each channel in each portfolio."""
    for channel, reasons in _REASONS.items():
        for portfolio in _OFFSETS:
            reached = [p for (of, _), p in people.items() if of == portfolio and reachable(p, channel)]
            for k, person in enumerate(reached[5::50][:8]):
                address = _dialled(person) if channel == "sms" else person.email
                yield (channel, address, reasons[k % len(reasons)], _day(-30 - 11 * k))


def consents(people: People) -> Iterator[Row]:
    """Most us borrowers agreed to be texted; some took it back."""
    for (portfolio, n), person in people.items():
        if portfolio == "us" and reachable(person, "sms") and n % 6:
            revoked = f"{_day(-15)}T14:30:00-05:00" if n % 31 == 7 else ""
            source = ("application", "web account", "telephone")[n % 3]
            given = f"{_day(-200 - n % 300)}T10:00:00-05:00"
            yield (person.borrower_id, "sms", "tcpa_consent", given, revoked, source)


def contacts(accounts: Sequence[Account], people: People) -> Iterator[Row]:
    """Half of the accounts that are 60 days late had a stern notice in this delinquency, and in uk most of
    those a default notice by letter; many of those in the stern tier a reminder; some borrowers a call about
    no account in particular, of which half were theirs.
    """
    for n, row in enumerate(_contacts(accounts, people), start=1):
        yield (f"C{n:05d}", *row)


def _contacts(accounts: Sequence[Account], people: People) -> Iterator[Row]:
    late = 0
    for k, account in enumerate(accounts):
        person = people[account.owner]
        channel = "sms" if reachable(person, "sms") else "email" if reachable(person, "email") else "in_app"
        where = (person.borrower_id, account.portfolio, account.account_id)
        outcome = "sent" if k % 3 == 0 else "delivered"
        if account.dpd >= 60:
            late += 1
            if late % 2 == 0:
                yield (*where, _at(account, -10 - k % 31), channel, "stern", outcome, *_NOTICE)
                if account.portfolio == "uk" and late % DEFAULT_NOTICE_MISSING:
                    given = _at(account, -DEFAULT_NOTICE_AGE - k % 30)
                    yield (*where, given, "letter", "", "sent", "default_notice", "out")
        elif account.dpd >= 8 and k % 3 == 0:
            yield (*where, _at(account, 4 - account.dpd), channel, "reminder", outcome, *_NOTICE)
        elif account.dpd >= 8 and k % 50 == 1:
            began = "in" if k % 100 == 1 else "out"
            talked = "conversation" if began == "in" else ("no_answer", "voicemail")[k % 200 // 100]
            yield (where[0], "", "", _at(account, -9), "agent_call", "", talked, "collection", began)


def _dialled(person: Borrower) -> str:
    # The file of suppressions has no region, so its numbers carry their country code.
    digits = "".join(c for c in person.phone if c.isdigit())
    match person.phone_region:
        case "GB":
            return f"+44{digits[1:]}"
        case "US":
            return f"+1{digits}"
        case _:
            return f"+{digits}"


def _id(people: People, account: Account) -> str:
    return people[account.owner].borrower_id


def _at(account: Account, days: int) -> str:
    minute = int(account.account_id[-3:]) % 60
    return f"{_day(days)}T{10 + minute % 8}:{minute:02d}:00{_OFFSETS[account.portfolio]}"


def _day(days: int) -> str:
    value: date = AS_OF + timedelta(days=days)
    return value.isoformat()
