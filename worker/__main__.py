"""`python -m worker` is `dunlin`."""

from worker.cli import main

main()
