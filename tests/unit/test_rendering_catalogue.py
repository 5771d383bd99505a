"""Finding templates by locale, rendering them, and saying where one is broken."""

from dataclasses import replace
from pathlib import Path

import pytest

from worker.rendering.catalogue import Catalogue, default_root
from worker.rendering.environment import TemplateBroken, TemplateMissing
from worker.rendering.sample import sample_facts

HEADER = "{# elements: #}\n"


def tree(root: Path, **files: str) -> Path:
    """Writes `en__reminder__sms="…"` as en/reminder/sms.txt; other endings are given with the name."""
    for name, source in files.items():
        path = root / (name.replace("__", "/") if "." in name else name.replace("__", "/") + ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + source, encoding="utf-8")
    return root


def sms(root: Path, locale: str) -> str:
    return Catalogue(root).render(sample_facts(locale, "reminder", "sms")).text


def test_a_locale_falls_back_to_its_language(tmp_path: Path) -> None:
    assert sms(tree(tmp_path, en__reminder__sms="base"), "en-GB") == "base"


def test_a_locale_s_own_file_comes_first(tmp_path: Path) -> None:
    root = tree(tmp_path, **{"en__reminder__sms": "base", "en-GB__reminder__sms": "own"})
    assert sms(root, "en-GB") == "own"
    assert sms(root, "en-US") == "base"


def test_a_base_template_includes_the_locale_s_own_piece(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{"en__reminder__sms": '{% include "_end.txt" %}', "en___end": "base", "en-US___end": "US"},
    )
    assert sms(root, "en-US") == "US"
    assert sms(root, "en-GB") == "base"


@pytest.mark.parametrize("locale", ["fr-FR", "zh-TW", "zh-CN"])
def test_a_locale_without_any_folder_is_named_in_the_error(tmp_path: Path, locale: str) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="base"))
    with pytest.raises(TemplateMissing, match=locale):
        catalogue.render(sample_facts(locale, "reminder", "sms"))


@pytest.mark.parametrize("locale", ["en-XX", "../en", "", "en_US"])
def test_something_that_is_no_locale_is_named_in_the_error(tmp_path: Path, locale: str) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="base"))
    with pytest.raises(TemplateMissing, match=f"locale '{locale}'"):
        catalogue.render(replace(sample_facts("en-US", "reminder", "sms"), locale=locale))


def test_a_missing_tier_is_named_in_the_error(tmp_path: Path) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="base"))
    with pytest.raises(TemplateMissing, match=r"en-US.*stern/sms\.txt"):
        catalogue.render(sample_facts("en-US", "stern", "sms"))


def test_a_channel_without_words_is_named_in_the_error(tmp_path: Path) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="base"))
    with pytest.raises(TemplateMissing, match="voice"):
        catalogue.render(sample_facts("en-US", "reminder", "voice"))


def test_has_needs_every_part(tmp_path: Path) -> None:
    root = tree(
        tmp_path, **{"en__reminder__sms": "x", "en__reminder__email": "x", "en__reminder__email.html": "x"}
    )
    catalogue = Catalogue(root)
    assert catalogue.has("en-US", "reminder", "sms")
    assert not catalogue.has("en-US", "reminder", "email")
    assert not catalogue.has("en-US", "stern", "sms")
    assert not catalogue.has("en-US", "reminder", "voice")
    assert not catalogue.has("fr-FR", "reminder", "sms")
    tree(root, **{"en__reminder__email.subject.txt": "x"})
    assert Catalogue(root).has("en-US", "reminder", "email")


def test_parts_become_text_subject_and_html(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        **{
            "en__reminder__email.subject.txt": "subject\n",
            "en__reminder__email.txt": "plain\n\nbody\n",
            "en__reminder__email.html": "<p>html</p>\n",
            "en__reminder__in_app.title.txt": "title\n",
            "en__reminder__in_app.txt": "popup\n",
        },
    )
    catalogue = Catalogue(root)
    email = catalogue.render(sample_facts("en-US", "reminder", "email"))
    assert (email.subject, email.text, email.html) == ("subject", "plain\n\nbody", "<p>html</p>")
    popup = catalogue.render(sample_facts("en-US", "reminder", "in_app"))
    assert (popup.subject, popup.text, popup.html) == ("title", "popup", None)


def test_the_lines_of_an_sms_stand_side_by_side(tmp_path: Path) -> None:
    root = tree(tmp_path, **{"en__reminder__sms": "One.\n\n  Two.\n", "zh-CN__reminder__sms": "一。\n二。\n"})
    assert sms(root, "en-US") == "One. Two."
    assert sms(root, "zh-CN") == "一。二。"


@pytest.mark.parametrize(
    ("source", "line", "why"),
    [
        ("fine\n{% if %}", 3, "Expected an expression"),
        ("fine\nfine\n{{ nothing_such }}", 4, "'nothing_such' is undefined"),
        ("{% for account in accounts %}\n{{ account.iban }}\n{% endfor %}", 3, "iban"),
        ("fine\n{% if accounts > 1 %}x{% endif %}", 3, "not supported"),
        ('fine\n{% include "_gone.txt" %}', 3, "_gone.txt"),
        ("fine\n{{ 7 * 7 }}", 3, "Mul"),
    ],
)
def test_a_broken_template_says_where_and_why(tmp_path: Path, source: str, line: int, why: str) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms=source))
    with pytest.raises(TemplateBroken, match=why) as broken:
        catalogue.render(sample_facts("en-US", "reminder", "sms"))
    assert broken.value.where == f"en/reminder/sms.txt:{line}"


def test_a_fault_in_an_included_file_is_reported_there(tmp_path: Path) -> None:
    catalogue = Catalogue(
        tree(tmp_path, en__reminder__sms='a\n{% include "_end.txt" %}', en___end="b\n{{ nope }}")
    )
    with pytest.raises(TemplateBroken) as broken:
        catalogue.render(sample_facts("en-US", "reminder", "sms"))
    assert broken.value.where == "en/_end.txt:3"


def test_one_broken_tier_leaves_the_others_alone(tmp_path: Path) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="fine", en__stern__sms="{{ nope }}"))
    with pytest.raises(TemplateBroken):
        catalogue.render(sample_facts("en-US", "stern", "sms"))
    assert catalogue.render(sample_facts("en-US", "reminder", "sms")).text == "fine"


def test_the_version_changes_with_every_template_file_and_with_nothing_else(tmp_path: Path) -> None:
    root = tree(tmp_path, en__reminder__sms="one", en___end="end")
    first = Catalogue(root).version()
    (root / "README.md").write_text("notes", encoding="utf-8")
    assert Catalogue(root).version() == first
    tree(root, en___end="other end")
    second = Catalogue(root).version()
    (root / "en" / "_end.txt").rename(root / "en" / "_tail.txt")
    third = Catalogue(root).version()
    assert len({first, second, third}) == 3
    assert len(first) == 64


def test_a_deploy_under_a_running_worker_changes_neither_words_nor_version(tmp_path: Path) -> None:
    catalogue = Catalogue(tree(tmp_path, en__reminder__sms="old"))
    version = catalogue.version()
    tree(tmp_path, en__reminder__sms="new")
    assert catalogue.render(sample_facts("en-US", "reminder", "sms")).text == "old"
    assert catalogue.version() == version


def test_a_folder_without_templates_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TemplateMissing, match="no templates in"):
        Catalogue(tmp_path / "nowhere")


def test_a_file_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    root = tree(tmp_path, en__reminder__sms="x")
    (root / "en" / "_bad.txt").write_bytes(b"{# elements: #}\n\xa3")
    with pytest.raises(TemplateBroken, match=r"en/_bad\.txt: is not UTF-8"):
        Catalogue(root)


def test_a_link_out_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    root = tree(tmp_path / "templates", en__reminder__sms="x")
    (root / "en" / "_secret.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(TemplateBroken, match=r"en/_secret\.txt: leads outside"):
        Catalogue(root)


def test_the_default_root_holds_the_templates() -> None:
    assert Catalogue(default_root()).has("zh-CN", "reminder", "sms")


NAMES = {
    "{{7*7}}": "{{7*7}}",
    "{% include '_end.txt' %}": "{% include &#39;_end.txt&#39; %}",
    "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "Ma\u202eria\r\nLopez": "Maria Lopez",
}


@pytest.mark.parametrize(("name", "in_html"), NAMES.items())
def test_a_name_is_printed_and_never_obeyed(name: str, in_html: str) -> None:
    facts = replace(sample_facts("en-US", "reminder", "email"), debtor_name=name)
    rendered = Catalogue(default_root()).render(facts)
    assert rendered.html is not None
    assert f"Dear {in_html}," in rendered.html
    assert "<script" not in rendered.html
    assert rendered.text.startswith(f"Dear {name}," if name.isprintable() else "Dear Maria Lopez,")


def test_a_name_cannot_add_a_second_signature_to_a_chinese_sms() -> None:
    facts = replace(sample_facts("zh-CN", "reminder", "sms"), debtor_name="【假冒】张")
    text = Catalogue(default_root()).render(facts).text
    assert text.startswith("【示例金融】[**，")
    assert text.count("【") == text.count("】") == 1
