"""Facts of nobody, for previews and for checking templates. Names, numbers and addresses are invented.

No value is part of another one, so a check that finds a value in a text has found that element.
"""

from datetime import date, timedelta
from decimal import Decimal

from worker.domain.message import AccountFacts, Creditor, MessageFacts
from worker.rendering.formats import locale_of

AS_OF_ON = date(2026, 3, 17)

_DAYS = {"reminder": 6, "stern": 24, "legal_warning": 83}

_CN = Creditor(
    name="示例消费金融有限公司",
    sms_signature="示例金融",
    hotline="400-000-0000",
    email="service@example.com",
    postal_address="示例市示例区示例路1号",
    payment_ways=("官方App“还款”页面", "已绑定银行卡转账还款"),
    pay_url="https://pay.example.com/cn",
    dispute_route="可致电客服或通过官方App“意见反馈”提出，我司核实后答复",
    hardship_route="可致电客服，协商个性化还款方案",
    legal_basis="《中华人民共和国民法典》第五百七十七条、第六百七十六条及借款合同第8条",
    further_steps="账户可能转由专门团队跟进，我司也可能委托合作机构代为催收",
    legal_steps="我司可能依法通过仲裁或诉讼主张权利",
    rights_and_duties="您有依约还款的义务，也有查询账户、提出异议和协商还款的权利",
    account_query_route="可在官方App“借款明细”查看，或请客服代为查询",
    late_fee_wording="逾期罚息按日利率{daily_rate}（年化利率{annual_rate}）计收",
    credit_record_wording="逾期信息可能依法报送金融信用信息基础数据库，影响您的信用记录",
    collector_disclosure="本通知由受托机构示例服务公司代为发送",
)

_US = Creditor(
    name="Example Lending",
    sms_signature="EXLEND",
    hotline="+1-202-555-0143",
    email="care@example.com",
    postal_address="100 Sample Street, Springfield",
    payment_ways=("our mobile app", "bank transfer", "card by phone"),
    pay_url="https://pay.example.com/us",
    dispute_route="write to disputes@example.org and tell us what you disagree with",
    hardship_route="call us to ask about a payment plan",
    legal_basis="sections 5 (Payments) and 9 (Default) of your loan agreement",
    further_steps="the account may be placed with a collection agency",
    legal_steps="we may take legal action to recover what is owed",
    late_fee_wording="Late interest of {daily_rate} a day ({annual_rate} a year) runs on overdue amounts",
    credit_record_wording="Late payments may be reported to credit bureaus and affect your credit record",
    collector_disclosure_initial=(
        "This is an attempt to collect a debt and any information obtained will be used for that purpose"
    ),
    collector_disclosure="This communication is from a debt collector",
)

_GB = Creditor(
    name="Example Finance",
    sms_signature="EXFIN",
    hotline="+44 7700 900123",
    email="help@example.com",
    postal_address="1 Sample Row, Exampleton",
    payment_ways=("our mobile app", "bank transfer", "debit card by phone"),
    pay_url="https://pay.example.com/uk",
    dispute_route="write to complaints@example.org; you may also go to the Financial Ombudsman Service",
    hardship_route="ask us for a payment plan",
    debt_advice_route="Example Debtline on 0800 000 0000, free and independent of us",
    legal_basis="clause 8 of your credit agreement and section 87 of the Consumer Credit Act 1974",
    further_steps="we may end the agreement or pass the account to a collection agency",
    legal_steps="we may apply to the court for an order to pay",
    late_fee_wording="Default interest of {daily_rate} a day ({annual_rate} a year) is added to the arrears",
    credit_record_wording="Missed payments may be shared with credit reference agencies and stay on file",
    collector_disclosure="This message is sent by Sample Collections for the lender",
)

_BY_TERRITORY = {"CN": (_CN, "CNY"), "US": (_US, "USD"), "GB": (_GB, "GBP")}


def sample_facts(
    locale: str,
    tier: str,
    channel: str,
    *,
    accounts: int = 1,
    late_fee: bool = True,
    creditor: Creditor | None = None,
    requires_approval: bool | None = None,
) -> MessageFacts:
    """Facts for one message about so many accounts; with `creditor`, in that lender's words.

    `requires_approval` None: as in the default policy, where legal warnings do.

    Raises:
        ValueError, babel.UnknownLocaleError: not a locale.
    """
    parsed = locale_of(locale)
    by_language = _CN if parsed.language == "zh" else _US, "EUR"
    invented, currency = _BY_TERRITORY.get(parsed.territory or "", by_language)
    rate = Decimal("0.0005") if late_fee else None
    dpd = _DAYS.get(tier, 24)
    return MessageFacts(
        locale=locale,
        currency=currency,
        tier=tier,
        channel=channel,
        debtor_name="张小雨" if parsed.language == "zh" else "Maria Lopez",
        accounts=tuple(_account(number, dpd, rate) for number in range(accounts)),
        creditor=creditor or invented,
        as_of_on=AS_OF_ON,
        unsubscribe_url="https://mail.example.net/u/7Qx",
        requires_approval=tier == "legal_warning" if requires_approval is None else requires_approval,
    )


def _account(number: int, dpd: int, rate: Decimal | None) -> AccountFacts:
    days = dpd - 2 * number
    return AccountFacts(
        external_id=f"LN-2025-{4071 + 1111 * number}",
        principal=Decimal("12500.00") - 3100 * number,
        amount_due=Decimal("1384.62") - Decimal("205.35") * number,
        due_on=AS_OF_ON - timedelta(days=days),
        dpd=days,
        daily_late_rate=rate,
    )
