"""Ids are UUIDs of version 7: unique, in the order of time, and a period is a range of them."""

import datetime
import os
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlref.prediction_log.ids import lowest, moment, new_ids

MOMENTS = st.datetimes(
    datetime.datetime(1970, 1, 1), datetime.datetime(2400, 1, 1), timezones=st.just(datetime.UTC)
)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_ids_are_uuids_of_version_7(count: int) -> None:
    ids = new_ids(count)
    parsed = [uuid.UUID(name) for name in ids]
    assert [str(one) for one in parsed] == ids == sorted({*ids}) and len(ids) == count
    assert {(one.version, one.variant) for one in parsed} <= {(7, uuid.RFC_4122)}


FORK = """
import os
from mlref.prediction_log.ids import new_ids
child = os.fork()
os.write(1, new_ids(1)[0].encode())
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_process_makes_other_ids() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.check_output([sys.executable, "-c", FORK], env=environment, text=True)
    assert len(said) == 72 and said[19:36] != said[55:72]


@given(MOMENTS)
def test_the_lowest_id_of_a_moment_tells_it_again(when: datetime.datetime) -> None:
    assert moment(lowest(when)) == when.replace(microsecond=when.microsecond // 1000 * 1000)


@given(MOMENTS, MOMENTS)
def test_ids_sort_as_their_moments(one: datetime.datetime, other: datetime.datetime) -> None:
    assert (lowest(one) < lowest(other)) <= (one < other)


def test_a_new_id_is_of_now() -> None:
    before = datetime.datetime.now(datetime.UTC)
    [name] = new_ids(1)
    after = datetime.datetime.now(datetime.UTC) + datetime.timedelta(milliseconds=1)
    assert lowest(before) <= name < lowest(after)
