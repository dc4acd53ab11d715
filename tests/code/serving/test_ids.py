"""Ids of requests."""

import pytest

from mlref.serving.ids import request_id


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
