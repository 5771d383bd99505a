"""Celery entry points, a few lines each: a task wakes the pipeline up and says what it did."""
