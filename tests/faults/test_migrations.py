"""A migration while parts are at work: the workers of before and of after send beside one another, each
message once. And what makes that possible: a migration only adds.
"""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest

import worker
from tests.faults.books import books
from tests.faults.house import House, children
from worker.store import schema

pytestmark = pytest.mark.slow

COUNT = 150
SINCE = "SELECT count(*) FROM attempts WHERE claimed_at > :at"
LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{now}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("later", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("later", sa.Text))
    op.create_check_constraint("messages_later", "messages", "later >= 0")
    op.create_index("messages_later", "messages", ["later"])
    op.create_table("laters", sa.Column("id", sa.BigInteger, primary_key=True))
"""


@pytest.fixture
def later_version(tmp_path: Path) -> Path:
    """This code with one migration more: as a release that is rolled out later."""
    here, folder = Path(worker.__file__).parent.parent, tmp_path / "later"
    for part in ("worker", "tasks", "templates"):
        shutil.copytree(here / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    versions = folder / "worker" / "store" / "migrations" / "versions"
    (versions / "9999_later.py").write_text(LATER.format(now=schema.wanted()))
    return folder


def test_workers_of_before_and_after_a_migration_send_beside_one_another(
    house: House, later_version: Path
) -> None:
    house.open_book(COUNT)
    house.provider.set_fault("latency", s=0.3, on="create", accept_first=True)
    old = house.worker("old", DUNLIN_CLAIM_BATCH="5")
    house.until(lambda: len(house.received()) > 0)
    with chdir(later_version):  # from where Python and Celery look first
        assert house.start("migrate", "migrate").process.wait(30) == 0
        migrated_at = house.one("SELECT clock_timestamp()")
        house.until(lambda: house.one(SINCE, at=migrated_at) > 5, "the old one sent nothing afterwards")
        house.run("INSERT INTO pauses (reason, paused_by) VALUES ('tests', 'tests')")
        new = house.worker("new", DUNLIN_CLAIM_BATCH="5")
    assert house.one("SELECT version_num FROM alembic_version") == "later"
    house.until(lambda: "child process" in house.said("new"))
    resumed_at = house.one("SELECT clock_timestamp()")
    house.run("UPDATE pauses SET resumed_at = clock_timestamp()")
    house.until(lambda: house.one(SINCE, at=resumed_at) > 20)
    pools = {part.name: {str(pid) for pid in children(part.process.pid)} for part in (old, new)}
    house.drain()
    since = house.rows("SELECT worker FROM attempts WHERE claimed_at > :at", at=resumed_at)
    at_work = {row["worker"].rpartition(":")[2] for row in since}
    assert at_work & pools["old"], "the old one sent nothing beside the new one"
    assert at_work & pools["new"], "the new one sent nothing beside the old one"
    assert (house.went_out(), house.posts()) == (COUNT, COUNT)
    assert [part.process.poll() for part in (old, new)] == [None, None]
    assert "task.failed" not in house.said("old") + house.said("new")
    books(house.engine, house.provider)
