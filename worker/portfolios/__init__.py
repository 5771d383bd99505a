"""Policies: a lender's portfolios as TOML files, validated and versioned."""
