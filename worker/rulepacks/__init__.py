"""Rule packs as files: the shipped ones, their schema, how they are loaded, and holiday calendars.

A pack is research until counsel has read it; its `status` says so wherever it is shown.
"""
