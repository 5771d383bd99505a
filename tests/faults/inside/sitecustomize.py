"""Python reads this in every process that a fault test starts, and in no other: PYTHONPATH says so."""

from dunlin_faults import hook

hook.install()
