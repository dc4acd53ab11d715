"""Ids of predictions and requests."""

import time
import uuid

import pytest

from mlref.serving.ids import new_ids, request_id


def test_ids_are_uuids_of_version_7_and_rise() -> None:
    """Written as RFC 9562 writes them, in the order of the rows."""
    ids = new_ids(1000)
    assert len(set(ids)) == 1000 and ids == sorted(ids)
    for name in ids:
        parsed = uuid.UUID(name)
        assert (str(parsed), parsed.version, parsed.variant) == (name, 7, uuid.RFC_4122)


def test_an_id_begins_with_its_time() -> None:
    """In milliseconds, so that ids sort by it."""
    before = time.time_ns() // 1_000_000
    [name] = new_ids(1)
    assert before <= uuid.UUID(name).int >> 80 <= time.time_ns() // 1_000_000


def test_random_digits_are_used_whole() -> None:
    """Each request draws anew; all sixteen digits occur at random places, all four variants at theirs."""
    ids = [new_ids(1)[0] for _ in range(1000)]
    assert {name[19] for name in ids} == set("89ab")
    for place in (15, 17, 20, 21, 25, 35):
        assert {name[place] for name in ids} == set("0123456789abcdef")


def test_the_highest_draw_does_not_run_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting up from all ones stays within twelve digits."""
    monkeypatch.setattr("os.urandom", lambda count: b"\xff" * count)
    ids = new_ids(10_000)
    assert {len(name) for name in ids} == {36} and ids == sorted(ids)


@pytest.mark.parametrize("sent", [b"abc", b"7f3a.B-2_x", b"a" * 128])
def test_a_well_formed_request_id_is_kept(sent: bytes) -> None:
    """One id runs through the logs of all services."""
    assert request_id(sent) == sent.decode()


@pytest.mark.parametrize(
    "sent", [None, b"", b"a b", b"<script>", b"a" * 129, b"\xe9", b"a\n", b"a;b"]
)
def test_a_malformed_request_id_is_replaced(sent: bytes | None) -> None:
    """What goes into logs and answers is never free text."""
    assert len(request_id(sent)) == 32 and request_id(sent) != request_id(sent)
