"""What Dunlin decides, as plain Python: no I/O, no framework, nothing of ours imported."""
