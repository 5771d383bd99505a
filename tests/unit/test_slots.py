"""A channel's share of a worker's processes."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from worker.slots import slot


def hold(folder: Path, pipe: Connection) -> None:
    with slot("sms", 1, folder) as free:
        pipe.send(free)
        pipe.recv()


def test_a_channel_never_holds_more_than_its_slots(tmp_path: Path) -> None:
    with slot("sms", 2, tmp_path) as one, slot("sms", 2, tmp_path) as two, slot("sms", 2, tmp_path) as three:
        assert (one, two, three) == (True, True, False)
        with slot("email", 2, tmp_path) as other:
            assert other


def test_a_slot_is_free_again_afterwards(tmp_path: Path) -> None:
    with slot("sms", 1, tmp_path):
        pass
    with slot("sms", 1, tmp_path) as free:
        assert free


def test_a_killed_process_gives_its_slot_back(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, theirs))
    holder.start()
    assert ours.recv() is True
    with slot("sms", 1, tmp_path) as free:
        assert not free
    holder.kill()
    holder.join()
    with slot("sms", 1, tmp_path) as free:
        assert free
    holder.close()
    ours.close()
    theirs.close()
