"""The sandbox's archive as a plain client sees it: layout, closed periods, stable bytes, and the faults of REST."""

from __future__ import annotations

import hashlib
import io
import zipfile
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from crypto_assets.domain.intervals import DAY_MS, MINUTE_MS, parse_time
from crypto_assets.sandbox.faults import Fault, fault_from_json, parse_fault
from crypto_assets.sandbox.recorded import RecordedDataset
from crypto_assets.sandbox.server import RunningSandbox

DAY = "2024-06-08"
START = parse_time(DAY)


def path(period=DAY, symbol="BTCUSDT", interval="1m", folder="spot"):
    kind = "monthly" if len(period) == 7 else "daily"
    return f"/data/{folder}/{kind}/klines/{symbol}/{interval}/{symbol}-{interval}-{period}.zip"


def lines(body):
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        (name,) = archive.namelist()
        text = archive.read(name).decode()
    assert text.endswith("\n")
    return name, [line.split(",") for line in text.splitlines()]


def rows(client, **options):
    return lines(client.get(path(**options)).body)[1]


def as_text(page):
    return [[str(value) for value in row] for row in page]


def test_a_day_has_the_rows_and_the_digits_of_rest(client):
    name, archived = lines(client.get(path()).body)
    assert name == "BTCUSDT-1m-2024-06-08.csv"
    # Two pages of REST.
    pages = [client.spot(startTime=START + at * MINUTE_MS, limit=720) for at in (0, 720)]
    assert archived == as_text(pages[0] + pages[1])


def test_futures_have_names_in_the_first_line(client):
    header, *archived = rows(client, folder="futures/um", interval="1h")
    assert header[:2] + header[7:9] + header[-1:] == ["open_time", "open", "quote_volume", "count", "ignore"]
    assert archived == as_text(client.futures(interval="1h", startTime=START, limit=24))


def test_the_checksum_is_that_of_the_zip_and_stays(client):
    first, again = client.get(path()).body, client.get(path()).body
    assert first == again
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0), "a later one would be another file"
    stated = client.get(path() + ".CHECKSUM").body.decode()
    assert stated == f"{hashlib.sha256(first).hexdigest()}  BTCUSDT-1m-2024-06-08.zip\n"


@pytest.mark.parametrize(
    "asked",
    [
        # It is 2024-06-10, and everything was listed on 2024-06-01.
        path("2024-06-10"),
        path("2024-06"),
        path("2024-05-31"),
        path("2024-05"),
        path("2024-06-31"),
        path(symbol="NOSUCHUSDT"),
        path(interval="7m"),
        path(folder="futures/cm"),
        path().replace("daily", "monthly"),
        path().replace("BTCUSDT-1m", "ETHUSDT-1m"),
        "/data/spot/daily/klines/",
    ],
)
def test_what_does_not_exist_is_refused_as_storage_refuses(client, asked):
    for each in (asked, asked + ".CHECKSUM"):
        answer = client.get(each)
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/xml"
        assert b"<Code>NoSuchKey</Code>" in answer.body
        assert each.encode()[1:] in answer.body


def test_archives_weigh_nothing(client):
    before = client.get("/api/v3/ping").headers["x-mbx-used-weight-1m"]
    client.get(path())
    assert int(client.get("/api/v3/ping").headers["x-mbx-used-weight-1m"]) == int(before) + 1
    assert client.sandbox.requests.by_path[path()] == 1


def test_faults_of_rows_hit_rest_and_archives_alike_unless_a_path_says_which(client):
    whole = rows(client)
    revised = {"kind": "revised", "start": START, "end": START + MINUTE_MS}
    hidden = {"kind": "hidden_span", "start": START + 5 * MINUTE_MS, "end": START + DAY_MS}

    def both(**where):
        client.sandbox.faults.clear()
        for fault in (revised, hidden):
            client.sandbox.faults.add(fault_from_json(fault | where))
        return rows(client), as_text(client.spot(startTime=START, endTime=START + DAY_MS - 1, limit=9))

    archived, asked = both()
    assert archived == asked
    assert len(asked) == 5
    assert asked[0] != whole[0]
    assert asked[1:] == whole[1:5]
    assert both(path="/data/") == (archived, whole[:9])
    assert both(path="api/") == (whole, asked)
    client.sandbox.faults.clear()
    client.sandbox.faults.add("null_price:row=2,path=/data/")
    assert rows(client)[2][4] == ""
    client.sandbox.faults.clear()
    client.sandbox.faults.add("duplicate_rows:row=-1,path=/data/")
    assert rows(client) == [*whole, whole[-1]]


def test_a_symbol_that_vanished_or_ended_keeps_its_files(client):
    client.sandbox.faults.add("vanished_symbol:symbol=BTCUSDT")
    assert len(rows(client)) == 1440
    client.sandbox.faults.clear()
    client.sandbox.faults.add(parse_fault(f"delisted_symbol:symbol=BTCUSDT,from={START + MINUTE_MS}"))
    assert len(rows(client)) == 1
    assert client.get(path("2024-06-09")).status == 404


def test_a_span_of_the_archive_is_missing_until_the_fault_ends(client):
    client.sandbox.faults.add(Fault("archive_missing", start=START, end=START + 1, symbol="BTCUSDT"))
    statuses = {period: client.get(path(period)).status for period in ("2024-06-07", DAY, "2024-06-09")}
    assert statuses == {"2024-06-07": 200, DAY: 404, "2024-06-09": 200}
    assert client.get(path(symbol="ETHUSDT")).status == 200
    assert client.get(path(folder="futures/um")).status == 404
    assert client.spot(startTime=START, limit=1)[0][0] == START
    client.sandbox.faults.clear()
    assert client.get(path()).status == 200


def test_faults_of_archives_leave_rest_alone(client):
    before = client.spot(startTime=START)
    for kind in ("archive_missing", "archive_without_checksum", "archive_truncated", "checksum_mismatch"):
        client.sandbox.faults.add(kind, times=1)
    assert client.spot(startTime=START) == before
    assert len(client.sandbox.faults.active()) == 4


def test_a_recorded_halt_is_in_the_archive_as_it_was(recorded_directory, request_to):
    file = recorded_directory / "spot" / "klines" / "BTCUSDT-1m.parquet"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the recordings")
    start = parse_time("2023-03-24")
    expected = pq.read_table(file, filters=[("open_time", ">=", start), ("open_time", "<", start + DAY_MS)])
    with RunningSandbox(RecordedDataset(recorded_directory)) as sandbox:
        _, archived = lines(request_to(sandbox.url, path("2023-03-24")).body)
    assert len(archived) == 1440 - 80
    names = (
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "trades",
        "taker_base",
    )
    for row, record in zip(archived, expected.to_pylist(), strict=True):
        assert [Decimal(text) for text in row[:10]] == [record[name] for name in names]
