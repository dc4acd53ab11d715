"""Ids of predictions."""

import time
import uuid

from mlref.serving.ids import new_ids


def test_ids_are_uuids_of_version_7_and_differ() -> None:
    """Written as RFC 9562 writes them."""
    ids = new_ids(1000)
    assert len(set(ids)) == 1000
    for name in ids:
        parsed = uuid.UUID(name)
        assert (str(parsed), parsed.version, parsed.variant) == (name, 7, uuid.RFC_4122)


def test_an_id_begins_with_its_time() -> None:
    """In milliseconds, so that ids sort by it."""
    before = time.time_ns() // 1_000_000
    [name] = new_ids(1)
    assert before <= uuid.UUID(name).int >> 80 <= time.time_ns() // 1_000_000


def test_random_digits_are_used_whole() -> None:
    """All sixteen digits occur at random places, all four variants at theirs."""
    ids = new_ids(2000)
    assert {name[19] for name in ids} == set("89ab")
    for place in (15, 17, 20, 24, 35):
        assert {name[place] for name in ids} == set("0123456789abcdef")
