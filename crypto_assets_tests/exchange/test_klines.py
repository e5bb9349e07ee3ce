"""Klines read at once and row by row: both say the same of whatever an answer is, and nothing odd is read at once."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto_assets.exchange.binance.klines import MIN_FIELDS, page_of, read_page
from crypto_assets.exchange.client import one_page
from crypto_assets_tests.received_klines import ANY_TIME

amounts = st.decimals(0, 10**9, places=8, allow_nan=False).map(lambda value: f"{value:f}")
times = st.integers(0, 4_000_000_000).map(lambda minute: minute * 60_000)
klines = st.builds(
    lambda time, texts, quote, trades, rest: [time, *texts, time + 59_999, quote, trades, *rest],
    times,
    st.lists(amounts, min_size=5, max_size=5),
    amounts,
    st.integers(0, 2**40),
    st.lists(amounts, min_size=3, max_size=3),
)
pages = st.lists(klines, min_size=1, max_size=5)
odd_values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(
        ["", ".", "1.", ".5", "01", "1e3", "-1", "NaN", "1_000", '"', "[", "],[", "1.2.3", " 1", "9" * 400]
    )
    | st.text(max_size=3)
)


def written(rows) -> bytes:
    """As exchanges write it: without blanks."""
    return json.dumps(rows, separators=(",", ":")).encode()


def same(fast, rows) -> bool:
    """Whether a page is, bit for bit, what the rows are one by one."""
    slow = page_of(rows, ANY_TIME)
    bits = [page.table.view(np.int64) for page in (fast, slow)]
    return np.array_equal(*bits) and fast.json == slow.json and fast.raw_rows() == slow.raw_rows()


@given(pages)
def test_an_answer_as_documented_is_read_at_once_and_says_what_its_rows_say(rows):
    page = read_page(written(rows))
    assert page is not None
    assert same(page, rows)


@given(pages, st.data())
def test_an_odd_value_is_read_at_once_only_where_it_says_the_same(rows, data):
    row, field = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(rows[0]) - 1))
    rows[row][field] = data.draw(odd_values)
    page = read_page(written(rows))
    assert page is None or same(page, rows)


@settings(max_examples=400)
@given(pages, st.data())
@example([[0, *["1"] * 5, 0, "1", 1, "1", "1", "0"]] * 2, None)
def test_a_damaged_answer_is_read_at_once_only_where_it_says_the_same(rows, data):
    body = bytearray(written(rows))
    for _ in range(0 if data is None else data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["cut", "drop", "put", "swap", "double"]))
        if kind == "cut":
            del body[at + 1 :]
        elif kind == "drop":
            del body[at]
        elif kind == "put":
            body.insert(at, data.draw(st.sampled_from(b'0123456789.,"[]{}-e nul')))
        elif kind == "double":
            body[at:at] = body[max(0, at - 40) : at]
        else:
            other = data.draw(st.integers(0, len(body) - 1))
            body[at], body[other] = body[other], body[at]
    page = read_page(bytes(body))
    if page is None:
        return
    rows = orjson.loads(bytes(body))
    assert all(type(row) is list and len(row) >= MIN_FIELDS for row in rows)
    assert same(page, rows)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[[]]",
        b"[[1]]",
        b'{"code":-1121,"msg":"Invalid symbol."}',
        b'[[1,"1"2,"1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[[1,"1,"1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[[1,"1","1","1","1","1",2,"1",1,"1","1","0"],]',
        b'[[1.0,"1","1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[[1,"1","1","1","1","1",2,"1",1,"1","1","0"]]x',
        b'[[1,"1","1","1","1","1",2,"1",1,"1","1","0"]7]',
        b'[7[1,"1","1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[[1,"1","1","1","1","1",2,"1",1,"1","1","0"],7[1,"1","1","1","1","1",2,"1",1,"1","1","0"]]',
        b'[[1,"1","1","1","1","1",2,"1",1,"1","1","0"]7,[1,"1","1","1","1","1",2,"1",1,"1","1","0"]]',
    ],
)
def test_what_is_no_answer_as_documented_is_left_to_the_other_way(body):
    assert read_page(body) is None


@given(pages, pages)
def test_pages_in_a_row_are_as_one(first, second):
    read = [read_page(written(first)), page_of(second, ANY_TIME)]
    assert same(one_page(read), first + second)
    assert len(one_page(read)) == len(first) + len(second)
