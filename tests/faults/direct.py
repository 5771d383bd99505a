"""The whole pipeline in one process and without a broker, for what has nothing to do with Celery."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults import nursery
from tests.faults.house import House
from worker.demo.processes import Part

QUICK = {
    "DUNLIN_LEASE_S": "1.8",
    "DUNLIN_DEADLINE_S": "0.6",
    "DUNLIN_TWILIO_TIMEOUT_S": "1",
    "DUNLIN_SMTP_TIMEOUT_S": "0.4",
    "DUNLIN_SMTP_DATA_TIMEOUT_S": "0.4",
    "DUNLIN_SANDBOX_SETTLE_S": "0.5",
    "DUNLIN_PUMP_S": "0.2",
}
"""Shorter than the house's, because nothing waits for a broker. The order among them is the same."""
END_S = 60.0


@dataclass(slots=True)
class Worker(Part):
    """One that can be started again as it was."""

    environment: Mapping[str, str]
    log: Path

    def start(self) -> None:
        """Only when it has ended."""
        self.process = nursery.start(self.arguments, self.environment, self.log)


def work(
    house: House, name: str = "work", *more: str, points: str = "", mutation: str = "", **environment: str
) -> Worker:
    """Starts `dunlin work --direct`; `points` and `mutation` as the package `dunlin_faults` reads them."""
    faults = {"FAULT_POINTS": points, "FAULT_MUTATION": mutation}
    return _start(house, name, ("work", "--direct", *more), faults | environment)


def once(house: House, *, mutation: str = "", **environment: str) -> None:
    """Does all that is due, and returns when nothing is."""
    part = work(house, "once", "--once", mutation=mutation, **environment)
    assert part.process.wait(END_S) == 0, house.logs()


def dunlin(house: House, *arguments: str, mutation: str = "") -> str:
    """Runs a command to its end; what it says."""
    part = _start(house, f"command{len(house.parts.parts)}", arguments, {"FAULT_MUTATION": mutation})
    code = part.process.wait(END_S)
    said = house.said(part.name)
    assert code == 0, said
    return said


def _start(house: House, name: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> Worker:
    everything = {**house.parts.environment, **QUICK, **environment}
    log = house.parts.logs / f"{name}.log"
    part = Worker(name, arguments, nursery.start(arguments, everything, log), everything, log)
    house.parts.parts.append(part)
    return part
