"""How the durations among the settings must fit together, so that no message is two workers' at once."""

SOFT_TIME_LIMIT_S = 120
"""A task is interrupted after so long, and so is a worker that stops: the services' stop grace is as long."""
TIME_LIMIT_S = 180
"""And killed after so long."""
VISIBILITY_TIMEOUT_S = 3600
"""Redis hands a wake-up to somebody else after so long."""


def misfit(durations: dict[str, float], prefix: str) -> str | None:
    """What is wrong with these settings, by their names without `prefix`; None: they fit.

    A claim lasts `lease_s`; what was claimed is begun before `deadline_s`, and may take a provider's timeouts
    more. All of that must be over before the lease is, and before the task is interrupted.
    """
    t = durations
    if t["deadline_s"] * 2 > t["lease_s"]:
        return f"{prefix}DEADLINE_S must be at most half of {prefix}LEASE_S"
    mail = t["deadline_s"] + t["smtp_timeout_s"] + t["smtp_data_timeout_s"]
    if mail >= t["lease_s"]:
        return (
            f"{prefix}LEASE_S must be more than {mail:g}: a mail begun at {prefix}DEADLINE_S may take "
            f"{prefix}SMTP_TIMEOUT_S and {prefix}SMTP_DATA_TIMEOUT_S more"
        )
    sms = t["deadline_s"] + t["twilio_timeout_s"]
    if sms >= t["lease_s"]:
        return (
            f"{prefix}LEASE_S must be more than {sms:g}: an SMS begun at {prefix}DEADLINE_S may take "
            f"{prefix}TWILIO_TIMEOUT_S more"
        )
    longest = t["time_box_s"] + max(mail, sms)
    if longest >= SOFT_TIME_LIMIT_S:
        return (
            f"{prefix}TIME_BOX_S, {prefix}DEADLINE_S and a provider's timeouts are {longest:g} together; "
            f"they must be less than {SOFT_TIME_LIMIT_S}, after which a task is interrupted"
        )
    return None
