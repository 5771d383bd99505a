"""What the nursery's first process imports, once: the product, with the named places in it."""

import runpy
import sys
from importlib import import_module
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
NEEDED = (
    "tests.faults.nursery",
    "worker.cli",
    "worker.channels.sms_twilio",
    "worker.channels.email_smtp",
    "worker.channels.in_app_inbox",
)

sys.path.insert(0, str(INSIDE))
runpy.run_path(str(INSIDE / "sitecustomize.py"))  # as Python itself does where PYTHONPATH says so
for name in NEEDED:
    import_module(name)
