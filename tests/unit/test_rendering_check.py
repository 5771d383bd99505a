"""Each kind of problem that `check` finds, seen once on a tree broken on purpose."""

import shutil
from pathlib import Path

import pytest

from worker.rendering.catalogue import Catalogue, default_root
from worker.rendering.check import Problem, check

TIERS = ("reminder", "stern", "legal_warning")
LOCALES = ("zh-CN", "en-US", "en-GB", "en")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the real templates, to break."""
    return Path(shutil.copytree(default_root(), tmp_path / "templates"))


def edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    source = path.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new), encoding="utf-8")


def found(root: Path, locale: str, tier: str, channel: str) -> list[Problem]:
    return check(Catalogue(root), (tier,), (locale,), channels=(channel,))


def assert_told(problems: list[Problem], file: str, what: str) -> None:
    assert any(p.file == file and what in p.what for p in problems), problems


def test_the_templates_of_this_repository_have_no_problem() -> None:
    assert check(Catalogue(default_root()), TIERS, LOCALES) == []


def test_a_required_element_that_is_not_declared(root: Path) -> None:
    edit(root, "en/reminder/sms.txt", "credit_record, payment_ways", "payment_ways")
    assert_told(
        found(root, "en-US", "reminder", "sms"), "en/reminder/sms.txt", "does not carry credit_record"
    )


def test_the_html_part_must_say_what_the_plain_part_says(root: Path) -> None:
    edit(root, "en/_email_formal.html", "legal_basis, ", "")
    edit(root, "en/_email_formal.html", "{{ legal_basis }}", "the law")
    problems = found(root, "en-GB", "stern", "email")
    assert_told(problems, "en/stern/email.html", "does not carry legal_basis")
    assert not [p for p in problems if p.file == "en/stern/email.txt"]


def test_a_declared_fact_that_is_not_in_the_text(root: Path) -> None:
    edit(root, "zh-CN/stern/sms.txt", "客服电话：{{ creditor_hotline }}。\n", "")
    problems = found(root, "zh-CN", "stern", "sms")
    assert_told(
        problems, "zh-CN/stern/sms.txt", "declares creditor_contact, but creditor_hotline is not in the text"
    )


def test_a_fact_that_is_missing_only_when_there_are_several_accounts(root: Path) -> None:
    edit(root, "en/stern/sms.txt", "the total due is {{ amount_due }}", "a total is due")
    problems = found(root, "en-US", "stern", "sms")
    assert_told(problems, "en/stern/sms.txt", "amount_due is not in the text (with 3 account(s)")
    assert not [p for p in problems if "1 account" in p.what]


def test_a_late_fee_that_is_charged_and_not_said(root: Path) -> None:
    edit(root, "en/reminder/sms.txt", "{{ late_fee }}.", "A fee applies.")
    problems = found(root, "en-US", "reminder", "sms")
    assert_told(
        problems, "en/reminder/sms.txt", "late_fee is not in the text (with 1 account(s), with late fee)"
    )
    assert not [p for p in problems if "without late fee" in p.what]


def test_declared_words_that_are_not_there(root: Path) -> None:
    edit(root, "en/reminder/sms.txt", "If you have already paid, please ignore this message.\n", "")
    problems = found(root, "en-GB", "reminder", "sms")
    assert_told(problems, "en/reminder/sms.txt", "declares already_paid_line, but no words for it")


def test_an_american_sms_without_opt_out(root: Path) -> None:
    (root / "en-US" / "_sms_end.txt").unlink()
    assert_told(found(root, "en-US", "reminder", "sms"), "en/reminder/sms.txt", "does not carry opt_out")


def test_an_american_disclosure_that_is_not_said(root: Path) -> None:
    edit(root, "en-US/_sms_end.txt", "{{ collector_disclosure }}.", "We collect debts.")
    problems = found(root, "en-US", "reminder", "sms")
    assert_told(problems, "en/reminder/sms.txt", "collector_disclosure is not in the text")


def test_a_british_stern_sms_without_a_hardship_route(root: Path) -> None:
    (root / "en-GB" / "_sms_help.txt").unlink()
    assert_told(found(root, "en-GB", "stern", "sms"), "en/stern/sms.txt", "does not carry hardship_route")


def test_an_unknown_claim(root: Path) -> None:
    edit(root, "en/_sms_formal.txt", " #}\n", " #}\n{# claims: legal_acton #}\n")
    assert_told(found(root, "en-US", "stern", "sms"), "en/_sms_formal.txt", "declares 'legal_acton'")


@pytest.mark.parametrize("line", ["{# claims: visit #}", "{#- elements: due_date #}"])
def test_a_declaration_that_nothing_reads(root: Path, line: str) -> None:
    edit(root, "en/reminder/sms.txt", "Ways to pay", f"{line}Ways to pay")
    assert_told(
        found(root, "en-US", "reminder", "sms"), "en/reminder/sms.txt", "declares elements or claims where"
    )


def test_an_unknown_element_name(root: Path) -> None:
    edit(root, "en/_formal.txt", "legal_basis", "legal_bases")
    assert_told(found(root, "en-US", "stern", "in_app"), "en/_formal.txt", "declares 'legal_bases'")


def test_a_file_that_does_not_declare_its_elements(root: Path) -> None:
    edit(root, "en/_sms_help.txt", "{# elements: #}", "{# nothing #}")
    assert_told(found(root, "en-US", "stern", "sms"), "en/_sms_help.txt", "does not start with {# elements")


def test_an_unknown_name_in_a_branch_that_no_sample_takes(root: Path) -> None:
    edit(
        root,
        "en/_in_app.txt",
        "Ways to pay:",
        "{% if not amount_due %}{{ amout_due }}{% endif %}Ways to pay:",
    )
    assert_told(found(root, "en-US", "reminder", "in_app"), "en/_in_app.txt", "uses 'amout_due'")


def test_an_unknown_fact_of_an_account(root: Path) -> None:
    edit(root, "en/_email.txt", "{{ account.due_date }}", "{{ account.iban }}")
    problems = found(root, "en-US", "reminder", "email")
    assert any("has no attribute 'iban'" in p.what and "with 3 account" in p.what for p in problems)
    assert any(p.file.startswith("en/_email.txt:") for p in problems)


def test_a_syntax_error_with_its_line(root: Path) -> None:
    edit(root, "en/_sms_end.txt", "{% endif %}", "")
    problems = found(root, "en-GB", "reminder", "sms")
    assert any(p.file.startswith("en/_sms_end.txt:") and "end of template" in p.what for p in problems)


def test_a_part_that_is_missing(root: Path) -> None:
    (root / "zh-CN" / "stern" / "email.html").unlink()
    assert_told(found(root, "zh-CN", "stern", "email"), "zh-CN/stern/email.html", "is missing")


def test_an_include_that_leads_nowhere(root: Path) -> None:
    (root / "zh-CN" / "_sms_end.txt").unlink()
    problems = found(root, "zh-CN", "reminder", "sms")
    assert any(p.file.startswith("zh-CN/reminder/sms.txt:") and "_sms_end.txt" in p.what for p in problems)


def test_a_locale_without_templates(root: Path) -> None:
    assert_told(found(root, "fr-FR", "reminder", "sms"), "fr-FR", "neither fr-FR/ nor fr/")


def test_a_channel_without_templates(root: Path) -> None:
    assert_told(found(root, "en-US", "reminder", "voice"), "en-US", "channel 'voice' has no templates")


@pytest.mark.parametrize(
    "file", ["en/stern/smss.txt", "en/stern/deep/sms.txt", "en/sms.txt", "en/stern/_x.txt"]
)
def test_a_file_that_nothing_reads(root: Path, file: str) -> None:
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("{# elements: #}\n", encoding="utf-8")
    assert_told(found(root, "en-US", "stern", "sms"), file, "no channel reads a file of this name")


def test_an_empty_text(root: Path) -> None:
    (root / "en" / "stern" / "in_app.title.txt").write_text("{# elements: #}\n", encoding="utf-8")
    assert_told(found(root, "en-US", "stern", "in_app"), "en/stern/in_app.title.txt", "renders to nothing")


def test_a_subject_of_two_lines(root: Path) -> None:
    edit(root, "en/stern/email.subject.txt", "Please read: ", "Please read:\n")
    problems = found(root, "en-US", "stern", "email")
    assert_told(problems, "en/stern/email.subject.txt", "has more than one line")


@pytest.mark.parametrize("name", ["amount_due", "days_overdue"])
def test_an_amount_or_days_in_a_subject(root: Path, name: str) -> None:
    edit(root, "zh-CN/stern/email.subject.txt", "请查阅", "{{ " + name + " }}")
    problems = found(root, "zh-CN", "stern", "email")
    assert_told(problems, "zh-CN/stern/email.subject.txt", f"shows {name} where others can read it")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("【{{ sms_signature }}】", "{{ sms_signature }}："),
        ("客服电话：", "【客服】"),
        ("【{{ sms_signature }}】", "您好【{{ sms_signature }}】"),
    ],
)
def test_a_chinese_sms_without_exactly_one_signature_in_front(root: Path, old: str, new: str) -> None:
    edit(root, "zh-CN/reminder/sms.txt", old, new)
    problems = found(root, "zh-CN", "reminder", "sms")
    assert_told(problems, "zh-CN/reminder/sms.txt", "does not start with one 【signature】")


def test_a_link_in_a_chinese_sms(root: Path) -> None:
    edit(root, "zh-CN/reminder/sms.txt", "客服电话：", "{{ pay_url }} 客服电话：")
    assert_told(found(root, "zh-CN", "reminder", "sms"), "zh-CN/reminder/sms.txt", "holds a link")


def test_a_chinese_sms_that_is_too_long(root: Path) -> None:
    edit(root, "zh-CN/reminder/sms.txt", "客服电话：", "款" * 400)
    assert_told(
        found(root, "zh-CN", "reminder", "sms"), "zh-CN/reminder/sms.txt", "Chinese carriers take 500"
    )


def test_a_daily_rate_without_the_annual_one(root: Path) -> None:
    edit(root, "en/reminder/sms.txt", "{{ late_fee }}.", "Late interest is {{ daily_rate }} a day.")
    problems = found(root, "en-US", "reminder", "sms")
    assert_told(problems, "en/reminder/sms.txt", "daily rate 0.05% without the annual rate 18.25%")
