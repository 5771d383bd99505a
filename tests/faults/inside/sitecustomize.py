"""Python reads this in every process that a fault test starts, and in no other: PYTHONPATH says so."""

from dunlin_faults import clock, hook

clock.install()
hook.install()
