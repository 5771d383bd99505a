"""A book to try Dunlin with: real amounts and delays, invented people who cannot be reached."""
