"""A template can print facts, choose and list. It cannot reach Python, files or endless work."""

from pathlib import Path

import pytest

from worker.rendering.catalogue import Catalogue
from worker.rendering.environment import TemplateBroken
from worker.rendering.sample import sample_facts

HEADER = "{# elements: creditor_name #}\n"

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ creditor_name|attr('__class__')|attr('__mro__') }}",
    "{{ creditor_name.__class__ }}",
    "{{ creditor_name.format }}",
    "{{ creditor_name.upper }}",
    "{{ creditor_name.upper() }}",
    "{{ accounts.append }}",
    "{{ accounts.append(1) }}",
    "{{ accounts.clear() }}",
    "{% for account in accounts %}{{ account.items }}{% endfor %}",
    "{% for account in accounts %}{{ account.__class__ }}{% endfor %}",
    "{% for account in accounts %}{{ loop.__class__ }}{% endfor %}",
    "{% for account in accounts %}{{ loop._iterable }}{% endfor %}",
    "{% for account in accounts %}{{ loop.cycle }}{% endfor %}",
    "{% for account in accounts %}{{ account }}{% endfor %}",
    "{{ accounts }}",
    "{% include 'reminder/sms.txt' %}",
    "{% for account in accounts %}{{ loop.cycle.__globals__ }}{% endfor %}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'|attr('format')(1) }}",
    "{{ ['{0.__class__}'.format]|map('attr', '__call__')|list }}",
    "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
    "{{ '%s' % creditor_name }}",
    "{{ '%s'|format(creditor_name) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ cycler('a') }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace(a=1) }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ lipsum() }}",
    "{{ lipsum }}",
    "{{ range }}",
    "{{ self.__init__ }}",
    "{{ self }}",
    "{{ range(10) }}",
    "{{ dict(a=1) }}",
    "{{ config }}",
    "{% include '../secret.txt' %}",
    "{% include '../../secret.txt' %}",
    "{% include '/etc/passwd' %}",
    "{% include '../zh-CN/reminder/sms.txt' %}",
    "{% include creditor_name %}",
    "{% include ['_a.txt', '../secret.txt'] ignore missing %}",
    "{% extends '../secret.txt' %}",
    "{% extends creditor_name %}",
    "{% import '../secret.txt' as s %}{{ s }}",
    "{% from '../secret.txt' import s %}",
    "{% macro m() %}{{ caller }}{% endmacro %}{{ m() }}",
    "{% set x = 1 %}{{ x }}",
    "{% with x = 1 %}{{ x }}{% endwith %}",
    "{% filter upper %}x{% endfilter %}",
    "{% autoescape false %}{{ debtor_name }}{% endautoescape %}",
    "{{ debtor_name|safe }}",
    "{{ 'A' * 2000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 7 * 7 }}",
    "{% for account in accounts %}{% for account in accounts %}x{% endfor %}{% endfor %}",
    "{% for account in accounts %}{% if 1 %}{% for account in accounts %}{% endfor %}{% endif %}{% endfor %}",
    "{% for creditor_name in accounts %}{{ creditor_name }}{% endfor %}",
    "{% for account in accounts recursive %}{{ loop(accounts) }}{% endfor %}",
    "{% for c in creditor_name %}{{ c }}{% endfor %}",
    "{% for n in range(99999999) %}x{% endfor %}",
    "{% do accounts.append(1) %}",
    "{% debug %}",
    "{% call(x) m() %}{% endcall %}",
    "{{ creditor_name[0] }}",
    "{{ accounts|tojson }}",
    "{{ no_such_name }}",
]


def catalogue(tmp_path: Path, source: str) -> Catalogue:
    root = tmp_path / "templates"
    (root / "en" / "reminder").mkdir(parents=True)
    (root / "en" / "reminder" / "sms.txt").write_text(HEADER + source, encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (root / "secret.txt").write_text("secret", encoding="utf-8")
    return Catalogue(root)


@pytest.mark.parametrize("payload", ESCAPES)
def test_no_payload_renders(tmp_path: Path, payload: str) -> None:
    with pytest.raises(TemplateBroken) as broken:
        catalogue(tmp_path, payload).render(sample_facts("en-US", "reminder", "sms"))
    assert broken.value.where.startswith("en/reminder/sms.txt:")
    assert broken.value.why


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ creditor_name }}", "Example Lending"),
        ("{% if late_fee and not hardship_route %}a{% else %}b{% endif %}", "b"),
        ("{% for account in accounts %}{{ loop.index }}:{{ account.reference }}{% endfor %}", "1:4071"),
        ("{% if accounts|length > 1 %}many{% else %}one{% endif %}", "one"),
        ("{{ debtor_name|e }}", "M***"),
    ],
)
def test_what_a_text_needs_is_allowed(tmp_path: Path, source: str, text: str) -> None:
    assert catalogue(tmp_path, source).render(sample_facts("en-US", "reminder", "sms")).text == text
