"""Every word that packs and facts may use, each with its meaning.

A word that stands nowhere here is a mistake: in a pack it is an error at load, in the facts of a message it
means that nothing is sent. To add one, add it here and say what it means.
"""

from worker.domain import message

CHANNELS = frozenset(message.CHANNELS)
"""Ways to reach somebody."""

ROLES = {
    "debtor": "owes the debt",
    "joint_debtor": "owes it together with the debtor",
    "guarantor": "answers for the debt",
    "spouse": "married to the debtor",
    "parent_of_minor": "parent of a debtor who is a minor",
    "guardian": "acts for a debtor who cannot",
    "executor": "settles the estate of a deceased debtor",
    "attorney": "lawyer who acts for the debtor",
    "debt_adviser": "adviser who acts for the debtor",
    "contact_person": "named by the debtor as somebody to ask",
    "reference": "named by the debtor as a reference",
    "relative": "of the debtor's family",
    "friend": "of the debtor's friends",
    "neighbour": "lives near the debtor",
    "household_member": "lives with the debtor",
    "colleague": "works with the debtor",
    "employer": "the debtor works there",
    "other": "anybody else",
}
"""What the recipient is to the debt."""

STATES = {
    "attorney_represented": "a lawyer acts for the debtor",
    "attorney_unresponsive": "that lawyer does not answer",
    "attorney_consents": "that lawyer agreed to direct contact",
    "bankruptcy": "an automatic stay or a like order is in force",
    "breathing_space": "a statutory breathing space runs",
    "cease_communication": "asked in writing not to be contacted",
    "collection_suspended_agreed": "both sides agreed to suspend collection",
    "consented_work_email": "agreed to be written to at a work e-mail address",
    "contact_refused": "declined any further contact",
    "debtor_unreachable": "the debtor cannot be reached",
    "deceased": "the debtor has died",
    "disputed": "the debt is objected to",
    "disputed_in_validation_period": "disputed in writing within the validation period",
    "disputed_valid_grounds": "disputed on grounds that may be valid",
    "employer_prohibits": "the employer forbids such contacts at work",
    "hardship": "in financial difficulty, nothing agreed yet",
    "hardship_arrangement_current": "an arrangement is agreed and kept",
    "identity_theft": "says that somebody else made the debt",
    "in_validation_period": "the validation period still runs",
    "incapacitated": "cannot act in law",
    "mental_capacity_limited": "a limit of mental capacity was notified",
    "mental_health_crisis_moratorium": "a mental health crisis moratorium runs",
    "minor": "the debtor is a minor",
    "original_creditor_requested": "asked for the original creditor's name and address",
    "promise_to_pay": "promised to pay by a date that has not passed",
    "repayment_plan_in_preparation": "a repayment plan is being prepared",
    "settled": "the debt is settled",
    "statute_barred_and_refused": "time-barred, and said that it will not be paid",
    "third_party_refused": "this third party asked not to be contacted again",
    "time_barred": "the debt can no longer be sued for",
    "vulnerable": "known to be vulnerable",
}
"""What is true of the account or of the recipient while a hold or a fact says so."""

PURPOSES = {
    "collection": "asks for payment; the default",
    "agent_particulars_notice": "names the agent who will collect",
    "arrangement_reminder": "reminds of an agreed instalment",
    "arrears_notice": "statutory notice of sums in arrears",
    "court_permitted": "a court allowed this contact",
    "credit_report_warning": "says that the account will be reported to a credit bureau",
    "debtor_requested": "the debtor asked for this contact",
    "default_notice": "statutory default notice",
    "dispute_reply": "answers a dispute",
    "efforts_terminated_notice": "says that collection ends",
    "fraud_alert": "warns of misuse of the account",
    "locate_only": "asks where the debtor can be reached, without a word of the debt",
    "opt_out_confirmation": "confirms that an opt-out was taken",
    "original_creditor_information": "gives the original creditor's name and address",
    "payment_receipt": "confirms a payment",
    "promotion": "advertises something",
    "remedy_may_be_invoked_notice": "says that a remedy may be used",
    "remedy_will_be_invoked_notice": "says that a remedy will be used",
    "reply_same_medium": "answers the consumer on the medium the consumer used",
    "reply_to_query": "answers the debtor's own question",
    "service_notice": "tells of a change to the account",
    "statutory_notice": "a notice the law requires",
    "transfer_notice": "says that the debt was sold",
    "unrelated_liability": "about another, ongoing liability",
    "validation_notice": "the validation notice of 12 CFR 1006.34",
    "verification_of_debt": "sends verification of the debt",
    "written_notice": "the written notice that must come before calls",
}
"""Why a message is sent. Past contacts carry theirs: a notice that came first is found by its purpose."""

CLAIMS = {
    "arrest": "threatens arrest or prison",
    "authority_impersonation": "poses as police, court or government",
    "borrow_to_repay": "presses to borrow elsewhere",
    "credit_report": "says that the account is or will be reported",
    "debt_sale": "says that the debt will be sold",
    "fees_not_owed": "asks for fees that are not owed",
    "fictitious_blacklist": "speaks of an invented blacklist or bureau",
    "from_attorney": "implies that a lawyer wrote",
    "garnishment_or_seizure": "announces that wages or goods will be taken",
    "legal_action": "announces a lawsuit",
    "pay_before_validation_ends": "demands payment before the validation period ends",
    "public_shaming": "threatens to tell others",
    "visit": "announces a visit",
    "wrong_amount": "states an amount that is not owed",
}
"""What a text says about what may follow. Templates declare theirs."""

ELEMENTS = {
    "account_query_route": "how to ask about the account",
    "account_reference_truncated": "which account, by its last characters",
    "agent_particulars": "who the agent is that will collect",
    "already_paid_line": "asks whoever has paid to ignore it",
    "amount_due": "how much is due now",
    "annualised_rate": "the late rate for a year",
    "as_of_date": "the day of which amount and days are",
    "collector_authority": "by whose authority it is collected",
    "collector_disclosure": "that it comes from whoever collects the debt, in every later message",
    "collector_disclosure_initial": "that a debt is to be collected, and what answers are used for",
    "collector_mailing_address": "where the collector gets post",
    "collector_name": "who collects",
    "credit_record": "what late payment does to the credit record",
    "credit_report_warning": "that the account is about to be reported",
    "creditor_contact": "how to reach the creditor",
    "creditor_name": "to whom it is owed",
    "creditor_seal": "the creditor's seal, on a letter",
    "daily_rate": "the late rate for a day",
    "days_overdue": "how many days it is late",
    "debt_advice_route": "where free, independent advice on debts is to be had",
    "debtor_name": "who owes it, masked where others may see it",
    "dispute_route": "how to object",
    "due_date": "when it was due",
    "fca_information_sheet": "the information sheet of the FCA",
    "further_steps": "what may follow",
    "hardship_route": "what to do if paying is difficult",
    "itemization": "principal, interest, fees, payments and credits one by one",
    "itemization_date": "the day of which they are",
    "late_fee": "what late payment costs, in the contract's words",
    "late_fee_rate": "the rate of it",
    "legal_action_statement": "that legal action will be taken",
    "legal_basis": "the statute or clause it rests on",
    "opt_out": "how to opt out of such messages",
    "original_amount": "the principal",
    "original_creditor_route": "how to ask who the original creditor was",
    "pay_by_date": "until when to pay",
    "payment_ways": "how to pay",
    "reason_for_notice": "why it is sent",
    "registered_header": "a sender name registered with the regulator",
    "response_form": "a form to answer with",
    "rights_and_duties": "what the debtor may and must do",
    "sms_signature": "the sender's registered short name in front",
    "template_id": "the number of a template registered with the regulator",
    "transfer_notice": "that the debt was sold",
    "validation_info": "the validation information of 12 CFR 1006.34",
    "validation_period_end": "when the validation period ends",
}
"""Parts of a text that a rule may require; templates declare which they carry."""

OUTCOMES = {
    "sent": "accepted by the provider, or posted",
    "delivered": "arrived",
    "undelivered": "did not arrive",
    "failed": "was not sent",
    "bounced": "came back",
    "no_answer": "rang, nobody answered",
    "busy": "met a busy signal",
    "rejected": "the call was declined",
    "unreachable": "the number could not be reached",
    "voicemail": "a message was left on a machine",
    "connected": "somebody answered, nobody talked",
    "conversation": "talked, or answered in writing",
    "opened": "was opened or read",
    "clicked": "its link was followed",
}
"""How a past contact ended."""

ARRIVED = frozenset({"sent", "delivered", "opened", "clicked", "conversation", "connected", "voicemail"})
"""Outcomes after which a notice that must come first has been given."""

WAIVERS = {
    "agreed_frequency": "agreed to another frequency of contact",
    "direct_prior_consent_7d": "gave the collector direct consent to be called, at most seven days ago",
}
"""What the recipient waived."""

EVENT_TAGS = {
    "not_connected_to_dialed_number": "the call did not reach the number that was dialled",
    "prior_consent_7d": "was made with the person's direct prior consent",
    "to_attorney": "went to the consumer's lawyer",
}
"""Marks of a past contact."""

ENDPOINT_TAGS = {
    "home": "at home",
    "landline": "a fixed line",
    "mobile": "a mobile number",
    "personal_email": "a private e-mail address",
    "shared": "used by others too",
    "work_email": "an e-mail address of the employer",
    "workplace": "reaches the recipient at work",
}
"""Marks of an address or number."""

FACTS = {
    "judgment_obtained": "a court has decided for the creditor",
    "recovery_agent_assigned": "a recovery agent was assigned",
    "reports_to_credit_bureau": "the account is reported to a credit bureau",
    "sender_is_attorney": "a lawyer sends it",
    "before_credit_report": "the account is about to be reported to a credit bureau",
    "two_payments_missed_fixed_sum": "two payments of a fixed-sum agreement were missed",
}
"""What is true of the account, other than what stops contact."""

APPROVALS = {"legal": "the legal team approved the step", "compliance": "the compliance officer approved it"}
"""Who said yes."""

CONSENTS = {"tcpa_consent": "prior express consent to automated calls and texts, 47 USC 227"}
"""What the recipient agreed to."""

SENDER_MARKS = {
    "registered_header": "a sender name registered with the regulator",
    "registered_template_id": "a text template registered with the regulator",
}
"""What a sender identity has."""

MODES = {"notify": "informs one way, robot voice included", "interactive": "a person or machine that answers"}
"""How a call is held."""

DIRECTIONS = frozenset({"out", "in"})
"""Who began a contact: us (`out`), or the consumer (`in`)."""

CLASSES = {"service": "about an account the recipient has; the default", "promotional": "advertises"}
"""Message classes, as SMS providers tell them apart."""

POOLS = {"institution_and_agencies": "the lender's own contacts and those of all its agencies count together"}
"""Whose contacts count. History always holds everybody's, so this is a remark and loosens nothing."""

TRIGGERS = frozenset({"first_communication"}) | FACTS.keys()
"""What an obligation starts from: the first communication, or a fact of the account."""

UNITS = frozenset({"person", "debt", "endpoint"})
"""What a count is kept by; several together mean: the same of each."""
