"""Adapters: one file per (channel, provider) pair behind the interface in `base`."""
