"""The web service: providers' callbacks, opt-out links, the lender's in-app inbox, and health."""
