"""What the messages of one policy say: what their templates carry, joined with the lender's own words."""

from worker.domain.rules.facts import Words
from worker.portfolios.schema import Policy
from worker.rendering.carried import Carried, of_message
from worker.rendering.catalogue import Catalogue
from worker.rendering.elements import ELEMENTS
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rendering.facts import WORDINGS, wording_of


class Wording:
    """Worked out once for each tier and channel of a policy, then looked up."""

    def __init__(self, policy: Policy, catalogue: Catalogue) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._claims = policy.claims_of_wordings()
        self._words: dict[tuple[str, str], Words] = {}

    def words(self, tier: str, channel: str) -> Words:
        """Elements and claims of such a message; of one that has no template, nothing: then no rule that asks
        for an element lets it pass.
        """
        key = tier, channel
        if key not in self._words:
            carried = self._carried(tier, channel)
            wordless = self.without_words(tier, channel)
            self._words[key] = Words(
                elements=carried.elements - wordless.keys(), claims=frozenset(self.claims(tier, channel))
            )
        return self._words[key]

    def claims(self, tier: str, channel: str) -> dict[str, str]:
        """Each claim of such a message, with the template or the key under `[creditor]` that makes it."""
        carried = self._carried(tier, channel)
        found = dict(carried.claims)
        for name in sorted(carried.names & WORDINGS.keys()):
            key = wording_of(name, requires_approval=self._requires_approval(tier))
            found |= dict.fromkeys(self._claims.get(key, ()), f"creditor.{key}")
        return found

    def without_words(self, tier: str, channel: str) -> dict[str, str]:
        """Elements whose templates have a place for them and for which the lender gives no words: each with
        the key under `[creditor]` that is empty.
        """
        found = {}
        for element in self._carried(tier, channel).elements:
            for name in ELEMENTS[element].keys_on(channel):
                if name in WORDINGS:
                    key = wording_of(name, requires_approval=self._requires_approval(tier))
                    if not "".join(getattr(self._policy.creditor, key)).strip():
                        found[element] = f"creditor.{key}"
        return found

    def _requires_approval(self, tier: str) -> bool:
        config = self._policy.tiers.get(tier)
        return config is not None and config.requires_approval

    def _carried(self, tier: str, channel: str) -> Carried:
        try:
            return of_message(self._catalogue, self._policy.portfolio.locale, tier, channel)
        except (TemplateMissing, TemplateBroken):
            return Carried()
