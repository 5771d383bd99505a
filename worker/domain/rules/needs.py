"""What a stack needs to know that is dear to find out, so that admission looks only where it is asked."""

from worker.domain.rules.hard_rules import Content
from worker.domain.rules.pack import Obligation
from worker.domain.rules.stack import Stack
from worker.domain.rules.time_rules import Cap, CoolDown, Gap

FIRST = "first_communication"


def counts_by_endpoint(stack: Stack) -> bool:
    """Whether contacts with others at the same address count, so that their history is needed too."""
    counting = (Cap, CoolDown, Gap)
    return any(isinstance(r, counting) and "endpoint" in r.per for pack in stack.packs for r in pack.rules)


def asks_for_first(stack: Stack) -> bool:
    """Whether it matters that nothing was ever said about a debt before."""
    return any(
        (isinstance(rule, Content) and rule.when_first is not None)
        or (isinstance(rule, Obligation) and rule.trigger == FIRST)
        for pack in stack.packs
        for rule in pack.rules
    )
