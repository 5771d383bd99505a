"""Pack files: what is wrong with one is said with file, key, reason and value, and nothing is half loaded."""

import tomllib
from pathlib import Path

import pytest

from worker.domain.rules.rule import Strength
from worker.domain.rules.time_rules import Agreement, Cap, Hours, Window
from worker.domain.rules.vocabulary import CHANNELS
from worker.rulepacks.load import SHIPPED, Shelf, load_all, load_one
from worker.rulepacks.problems import PackInvalid

GOOD = """
schema = "rulepack/1"
[pack]
id = "test"
status = "example"
[[sources]]
id = "law"
cite = "the law"
[channels]
call = ["voice", "agent_call"]
[[hours]]
id = "test.hours"
source = "law"
channels = ["@call"]
allow = { daily = ["08:00-21:00"] }
[[caps]]
id = "test.cap"
channels = ["@call", "sms"]
per = ["person", "debt"]
window = { kind = "rolling_days", n = 7 }
max = 7
[[states]]
id = "test.state"
when = "bankruptcy"
effect = "suppress"
[[claims]]
id = "test.claim"
claim = "arrest"
always = true
[[content]]
id = "test.content"
channels = ["*"]
tiers = ["*"]
require = ["amount_due"]
[recipients]
id = "test.who"
allowed = ["debtor"]
[retention]
id = "test.kept"
records_years = 3
from = "record"
"""


def write(folder: Path, text: str, name: str = "test.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(PackInvalid) as caught:
        load_one(write(folder, text))
    return caught.value.problems


def test_the_good_file_becomes_values_with_groups_spelled_out(tmp_path: Path) -> None:
    pack = load_one(write(tmp_path, GOOD)).pack
    hours, cap = pack.rules[0], pack.rules[1]
    assert isinstance(hours, Hours)
    assert hours.channels == {"voice", "agent_call"}
    assert hours.agreement is Agreement.NONE
    assert hours.strength is Strength.MUST
    assert isinstance(cap, Cap)
    assert (cap.window, cap.days, cap.max, cap.directions) == (Window.ROLLING_DAYS, 7, 7, {"out"})
    assert next(r for r in pack.rules if r.id == "test.content").channels == CHANNELS
    assert pack.retention is not None
    assert pack.retention.since == "record"
    assert pack.all_candidates


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("max = 7", "max = -1", "caps[0] (test.cap).max: Input should be greater than or equal to 0; got -1"),
        ("max = 7", 'max = "7"', "caps[0] (test.cap).max: Input should be a valid integer; got '7'"),
        ("max = 7", "maks = 7", "caps[0] (test.cap).maks: no such key; got 7"),
        ("max = 7", "", "caps[0] (test.cap).max: is missing"),
        ("n = 7", "n = 0", "window.n"),
        (", n = 7", "", "rolling_days needs n"),
        ('kind = "rolling_days"', 'kind = "calendar_week"', "calendar_week takes no n"),
        ('"person", "debt"', "", "caps[0] (test.cap).per"),
        ('"person", "debt"', '"persona"', "no such unit to count by: 'persona'"),
        ('"@call", "sms"', '"@cal"', "caps[0] (test.cap).channels[0]: no such channel group: '@cal'"),
        ('"@call", "sms"', '"fax"', "no such channel: 'fax'"),
        ('call = ["voice", "agent_call"]', 'call = ["voice", "fax"]', "channels.call"),
        (
            "08:00-21:00",
            "21:00-08:00",
            "hours[0] (test.hours).allow.daily: ends before it starts",
        ),
        ("08:00-21:00", "08:00-08:00", "ends before it starts"),
        ("08:00-21:00", "08:00-25:00", "there is no such time of day"),
        ("08:00-21:00", "08:60-21:00", "there is no such time of day"),
        ("08:00-21:00", "8-21", "not of the form HH:MM-HH:MM"),
        ('"08:00-21:00"', '"08:00-12:00", "11:00-21:00"', "hours must ascend and not overlap"),
        ('"08:00-21:00"', '"14:00-16:00", "08:00-12:00"', "hours must ascend and not overlap"),
        ("daily =", "dayly =", "no such day: 'dayly'"),
        ("daily =", "holiday =", "names no day of the week"),
        ('status = "example"', 'status = "final"', "pack.status"),
        (
            'status = "example"',
            'status = "example"\ndefault_zone = "Mars/Olympus"',
            "no such time zone: 'Mars/Olympus'",
        ),
        ('status = "example"', 'status = "example"\nreview_by = "2026-01-01"', "a date without quotes"),
        ('"bankruptcy"', '"bancruptcy"', "states[0] (test.state).when: no such state: 'bancruptcy'"),
        ('effect = "suppress"', 'effect = "defer"', "states[0] (test.state).effect"),
        ('"arrest"', '"arest"', "claims[0] (test.claim).claim: no such claim: 'arest'"),
        ("always = true", "", "binds nothing"),
        ('"amount_due"', '"amount_owed"', "no such element: 'amount_owed'"),
        ('require = ["amount_due"]', "", "asks for nothing"),
        ('allowed = ["debtor"]', 'allowed = ["debter"]', "recipients.allowed[0]: no such role: 'debter'"),
        ('source = "law"', 'source = "lore"', "hours (test.hours).source: no such source: 'lore'"),
        ('source = "law"', 'strength = "may"', "hours[0] (test.hours).strength"),
        (
            'source = "law"',
            "effective_from = 2026-02-01\neffective_to = 2026-01-01",
            "effective_to 2026-01-01 is before effective_from 2026-02-01",
        ),
        ('schema = "rulepack/1"', 'schema = "rulepack/2"', "schema"),
        ('id = "test"\n', 'id = "other"\n', "pack.id: is not the name of the file; got 'other'"),
        ("[retention]", "[retension]", "retension: no such key"),
        ("records_years = 3", "records_years = 3\nfor = 1", "retention.for: no such key"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_reason_and_value(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    assert before in GOOD
    found = problems(tmp_path, GOOD.replace(before, after, 1))
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("test.toml: ") for problem in found)


def test_a_pattern_that_is_none_is_an_error(tmp_path: Path) -> None:
    broken = GOOD + '[[forbid_text]]\nid = "test.wording"\npatterns = ["("]\n'
    assert "forbid_text[0] (test.wording).patterns[0]" in problems(tmp_path, broken)[0]


def test_everything_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("max = 7", "max = -1").replace('"bankruptcy"', '"x"'))
    assert len(found) == 2


def test_a_file_that_is_no_toml_or_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    assert problems(tmp_path, "[pack")[0].startswith("test.toml: ")
    with pytest.raises(PackInvalid, match=r"gone\.toml"):
        load_one(tmp_path / "gone.toml")


def test_the_shipped_packs_are_valid_and_each_says_its_schema() -> None:
    shipped = load_all()
    assert {file.stem for file in SHIPPED.glob("*.toml")} == set(shipped)
    assert len(shipped) == 14
    assert all(loaded.body["schema"] == "rulepack/1" for loaded in shipped.values())


def test_no_shipped_pack_claims_that_counsel_has_read_it() -> None:
    assert {loaded.pack.status for loaded in load_all().values()} == {"research-draft", "fragment", "example"}


def test_a_shipped_rule_that_binds_by_law_names_where_it_was_seen() -> None:
    for file in SHIPPED.glob("*.toml"):
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        if data["pack"]["status"] != "research-draft":
            continue
        for table in (*data.get("hours", ()), *data.get("caps", ()), *data.get("states", ())):
            assert table["strength"] == "house" or {"source", "seen", "source_url"} & table.keys(), table[
                "id"
            ]


def test_equal_files_have_one_hash_and_another_rule_another(tmp_path: Path) -> None:
    first = load_one(write(tmp_path, GOOD)).hash
    assert load_one(write(tmp_path, "# a remark\n" + GOOD)).hash == first
    assert load_one(write(tmp_path, GOOD.replace("max = 7", "max = 6"))).hash != first


def test_a_folder_adds_packs_and_replaces_none(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert {"test", "cn", "us-reg-f"} <= set(load_all(tmp_path))
    write(tmp_path, GOOD.replace('id = "test"\n', 'id = "cn"\n'), "cn.toml")
    with pytest.raises(PackInvalid, match="taken by a shipped pack"):
        load_all(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackInvalid, match="no such folder"):
        load_all(tmp_path / "gone")


def test_a_bad_file_leaves_the_packs_that_were_there(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    shelf = Shelf(tmp_path)
    before = shelf.packs
    file.write_text(GOOD.replace("max = 7", "max = -1"), encoding="utf-8")
    assert "got -1" in shelf.refresh()[0]
    assert shelf.packs is before
    file.write_text(GOOD.replace("max = 7", "max = 6"), encoding="utf-8")
    assert shelf.refresh() == []
    assert shelf.packs["test"].hash != before["test"].hash
