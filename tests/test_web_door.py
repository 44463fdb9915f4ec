"""What every request meets at the door: ids, bounds, headers, hosts, packing, deadlines."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from pathlib import Path

import pytest
from fake_desk import FakeDesk
from fastapi import Response
from fastapi.responses import FileResponse, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from config import Settings
from web.compression import accepts_gzip
from web.guard import Guard
from web.visits import MAX_ID, RequestIds


def assert_problem(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


# Request ids


def test_a_request_keeps_its_own_id_in_header_and_problem(service):
    answer = service().get("/predict?ticker=ZZZZ", headers={"X-Request-ID": "page-7.a:b_C"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "page-7.a:b_C"


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 65, "ä", 'a"b', "<i>", "a/b", "a\\nb"])
def test_an_id_that_could_harm_a_log_is_replaced(service, given_id):
    answer = service().get("/health", headers={"X-Request-ID": given_id.encode()})
    assert answer.headers["x-request-id"] != given_id
    assert len(answer.headers["x-request-id"]) == 21


@given(st.binary(max_size=100))
def test_every_id_is_short_and_plain(sent):
    given_id = RequestIds().of(sent)
    assert 1 <= len(given_id) <= MAX_ID
    assert all(c.isascii() and (c.isalnum() or c in "-_.:") for c in given_id)


def test_two_requests_have_two_ids(service):
    client = service()
    assert len({client.get("/health").headers["x-request-id"] for _ in range(50)}) == 50


def test_routes_know_their_id(service):
    client = service()

    @client.app.get("/mirror")
    async def mirror(request: __import__("fastapi").Request) -> str:
        return request.state.request_id

    answer = client.get("/mirror", headers={"X-Request-ID": "seven"})
    assert answer.json() == "seven"


# Bounds


def test_a_long_address_is_refused(service):
    answer = service().get("/predict?ticker=AAPL&x=" + "y" * 5000)
    assert_problem(answer, 414, "address_too_long")


@pytest.mark.parametrize("query", ["ticker=AAPL&ticker=MSFT", "ticker=AAPL&steps=3&%73teps=4"])
def test_a_parameter_given_twice_is_refused_rather_than_one_of_them_believed(service, query):
    assert_problem(service(FakeDesk()).get(f"/predict?{query}"), 422, "invalid_request")
    assert service(FakeDesk()).get("/health?a=1&a=2").status_code == 200


def test_large_headers_are_refused(service):
    answer = service().get("/health", headers={f"X-{n}": "y" * 1000 for n in range(20)})
    assert_problem(answer, 431, "headers_too_large")


def test_a_large_body_is_refused_before_it_is_read(service):
    desk = FakeDesk()
    answer = service(desk, max_body_bytes=2000).post("/predict/batch", content=b"x" * 2001)
    assert_problem(answer, 413, "body_too_large")
    assert desk.asked == []


def test_a_body_of_untold_length_is_cut_off_at_the_bound(service):
    sent = []

    def chunks():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 1000

    answer = service(max_body_bytes=2000).post("/predict/batch", content=chunks())
    assert_problem(answer, 413, "body_too_large")


def test_a_body_that_does_not_arrive_is_given_up(settings):
    async def receive() -> dict:
        await asyncio.sleep(30)
        return {}

    assert asyncio.run(Guard(settings).body(receive, 0.05)).code == "body_too_slow"


def test_a_client_that_leaves_in_the_middle_is_forgotten(settings):
    sent = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> dict:
        return next(sent, {"type": "http.disconnect"})

    assert asyncio.run(Guard(settings).body(receive, 5)) is None


def test_the_largest_batch_fits(service):
    tickers = [f"ABCDEFGHIJ{n:02}.ABCDEF" for n in range(100)]
    answer = service(FakeDesk(known=())).post("/predict/batch", json={"tickers": tickers})
    assert answer.status_code == 200
    assert len(answer.json()["errors"]) == 100


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 400])
def test_a_length_that_is_no_length_is_refused(length):
    scope = {"path": "/predict/batch", "query_string": b"", "headers": []}
    refusal = Guard(Settings()).refusal(scope, {b"content-length": length.encode()})
    assert refusal.status == 413


def test_beyond_the_bound_a_crowd_is_sent_away_and_health_is_not(service):
    client = service(FakeDesk(seconds=0.5), max_in_flight=1)
    first: list = []
    asking = threading.Thread(target=lambda: first.append(client.get("/predict?ticker=AAPL")))
    asking.start()
    while client.app.state.door.crowd.inside[0] == 0:
        time.sleep(0.005)
    turned_away = client.get("/predict?ticker=AAPL")
    assert client.get("/health").status_code == 200
    asking.join()
    assert_problem(turned_away, 503, "overloaded")
    assert turned_away.headers["retry-after"] == "1"
    assert first[0].status_code == 200
    assert client.app.state.door.crowd.inside == [0, 0]


def test_a_place_is_given_back_whatever_happens(service):
    client = service(FakeDesk(failures={"AAPL": RuntimeError("a bug")}), max_in_flight=1)
    statuses = [client.get("/predict?ticker=AAPL").status_code for _ in range(3)]
    assert statuses == [500, 500, 500]
    assert client.get("/tickers").status_code == 200


def test_an_answer_that_takes_too_long_is_a_503(service):
    client = service(request_seconds=0.2)

    @client.app.get("/sleep")
    async def sleep() -> None:
        await asyncio.sleep(30)

    answer = client.get("/sleep")
    assert_problem(answer, 503, "deadline_exceeded")
    assert answer.headers["retry-after"] == "5"
    assert client.get("/tickers").status_code == 200


def test_a_thread_that_hangs_costs_its_client_the_deadline_only(service):
    released = threading.Event()
    client = service(request_seconds=0.2)

    @client.app.get("/hang")
    def hang() -> None:
        released.wait(20)

    try:
        assert_problem(client.get("/hang"), 503, "deadline_exceeded")
    finally:
        released.set()


# Headers


def test_every_answer_says_how_a_browser_may_treat_it(service):
    client = service(FakeDesk(failures={"MSFT": RuntimeError("a bug")}))
    for path in ("/predict?ticker=AAPL", "/predict?ticker=ZZZZ", "/none", "/predict?ticker=MSFT"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors")
        assert headers["vary"] == "Accept-Encoding"
        assert "server" not in headers


def test_a_cached_answer_is_not_written_into(service):
    client, kept = service(), Response(b"{}", media_type="application/json")
    client.app.get("/kept")(lambda: kept)
    before = list(kept.raw_headers)
    ids = {client.get("/kept").headers["x-request-id"] for _ in range(3)}
    assert (len(ids), kept.raw_headers) == (3, before)


def test_the_documentation_page_may_run_its_own_scripts_only(service):
    answer = service().get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "SwaggerUIBundle" in answer.text and "/openapi.json" in answer.text
    assert policy.count("'sha256-") == answer.text.count("<script>") == 2
    script = policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe" not in script and "'self'" in script
    assert "//" not in policy, "no address but our own"


def test_a_report_is_locked_in_a_sandbox(service):
    client = service()
    client.app.get("/pieces/{name}")(lambda name: Response("<p>", media_type="text/html"))
    policy = client.get("/reports/x.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "allow-same-origin" not in policy


# Hosts


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1:8000", "localhost", "localhost:8000", "api:8000", "[::1]:8000", "192.168.1.7"),
        *("testserver", "my_box", "charts.localhost:80", "[fe80::1]"),
    ],
)
def test_addresses_and_names_without_a_dot_are_ours(service, host):
    assert service().get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example.com", "127.0.0.1.nip.io", "a.b:80", "x y", "a/b", "1.2.3.4.5", "<b>"]
)
def test_a_name_that_a_stranger_may_point_at_us_is_not(service, host):
    assert_problem(service().get("/health", headers={"Host": host}), 400, "untrusted_host")


def test_a_listed_name_is_ours(service):
    client = service(allowed_hosts="Prices.example.com *.intern.example.com")
    for host in ("prices.example.com:443", "a.intern.example.com", "localhost"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    for host in ("example.com", "xprices.example.com", "intern.example.com.evil.com"):
        assert client.get("/health", headers={"Host": host}).status_code == 400


def test_a_star_allows_every_host(service):
    client = service(allowed_hosts="*")
    assert client.get("/health", headers={"Host": "any.example.com"}).status_code == 200


def test_many_invented_hosts_do_not_fill_the_memory():
    guard = Guard(Settings())
    for n in range(5000):
        guard.refusal({"path": "/", "query_string": b"", "headers": []}, {b"host": b"h%d" % n})
    assert len(guard._hosts._judged) <= 1024


# Other origins


def test_no_other_page_may_read_answers_unless_listed(service):
    answer = service().get("/tickers", headers={"Origin": "https://charts.example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_listed_page_may_read_and_ask(service):
    client = service(cors_origins="https://charts.example.com")
    origin = {"Origin": "https://charts.example.com"}
    answer = client.get("/predict?ticker=ZZZZ", headers=origin)
    assert answer.headers["access-control-allow-origin"] == origin["Origin"]
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    answer = client.options("/predict/batch", headers=asked)
    assert (answer.status_code, answer.text) == (204, "")
    assert "X-API-Key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "https://charts.example.co"]
)
def test_an_unlisted_page_is_told_no(service, origin):
    client = service(cors_origins="https://charts.example.com")
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert_problem(client.options("/predict/batch", headers=asked), 400, "origin_not_allowed")
    assert "access-control-allow-origin" not in client.get("/tickers", headers=asked).headers


# Packing


def raw(client: TestClient, path: str, encoding: str = "gzip", **headers: str):
    """An answer as it came over the wire, and its bytes."""
    asked = {"Accept-Encoding": encoding, **headers}
    with client.stream("GET", path, headers=asked) as answer:
        return answer, b"".join(answer.iter_raw())


def test_a_long_answer_is_packed_for_who_accepts_it(service):
    client = service()
    plain, body = raw(client, "/predict?ticker=AAPL", "identity")
    answer, packed = raw(client, "/predict?ticker=AAPL")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(packed) < 0.6 * len(body)
    assert gzip.decompress(packed) == body
    assert "content-encoding" not in plain.headers


def test_a_short_answer_and_a_problem_are_not_packed(service):
    client = service()
    for path in ("/health", "/predict?ticker=ZZZZ"):
        assert "content-encoding" not in raw(client, path)[0].headers


def test_packing_can_be_turned_off(service):
    answer, _ = raw(service(gzip_from_bytes=0), "/predict?ticker=AAPL")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        *((b"gzip", True), (b"br, gzip;q=0.5", True), (b"gzip;q=1.0", True), (b"deflate", False)),
        *((b"gzip;q=0", False), (b"gzip; q=0.000", False), (b"", False), (b"xgzip", False)),
    ],
)
def test_gzip_is_accepted_where_it_is_named(header, wanted):
    assert accepts_gzip(header) is wanted


def test_a_tag_of_a_packed_answer_is_weak_and_304_stays_empty(service):
    client, body = service(), b"[" + b"1," * 2000 + b"1]"

    @client.app.get("/tagged")
    async def tagged(request: __import__("fastapi").Request) -> Response:
        tags = request.headers.get("if-none-match", "")
        if tags.removeprefix("W/") == '"v1"':
            return Response(status_code=304, headers={"ETag": '"v1"'})
        return Response(body, media_type="application/json", headers={"ETag": '"v1"'})

    answer, packed = raw(client, "/tagged")
    assert (answer.headers["etag"], gzip.decompress(packed)) == ('W/"v1"', body)
    assert raw(client, "/tagged", "identity")[0].headers["etag"] == '"v1"'
    again, nothing = raw(client, "/tagged", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, nothing) == (304, b"")
    assert again.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in again.headers


def test_a_file_in_pieces_is_packed_on_its_way(service, tmp_path: Path):
    page = "<p>" + "report " * 50_000
    (tmp_path / "report.html").write_text(page)
    client = service()
    client.app.get("/pieces/{name}")(lambda name: FileResponse(tmp_path / "report.html"))
    answer, packed = raw(client, "/pieces/report.html")
    assert gzip.decompress(packed).decode() == page
    assert "content-length" not in answer.headers


def test_events_are_never_packed_nor_held_back(service):
    client = service()

    async def events():
        for n in range(3):
            yield f"data: {n}\n\n" * 1000

    client.app.get("/events/{ticker}")(
        lambda ticker: StreamingResponse(events(), media_type="text/event-stream")
    )
    answer, body = raw(client, "/events/AAPL")
    assert "content-encoding" not in answer.headers
    assert body.startswith(b"data: 0\n\n")
