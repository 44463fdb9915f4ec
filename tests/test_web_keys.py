"""Who may ask, and who may change something: API keys, scopes, and what holds without keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import BadSettings
from web.keys import ApiKey, Keys, OperatorDep, main, new_key

READER, READ_LINE = "stock_reader", f"page:read:{hashlib.sha256(b'stock_reader').hexdigest()}"
OPERATOR, OPERATE_LINE = "stock_op", f"ops:operate:{hashlib.sha256(b'stock_op').hexdigest()}"
BOTH = f"{READ_LINE} {OPERATE_LINE}"


@pytest.fixture
def keyed(service):
    """The service with one key of each scope, and a route that operates."""
    return with_operation(service(api_keys=BOTH))


def with_operation(client):
    @client.app.post("/operate")
    def operate(who: OperatorDep) -> str:
        return who

    return client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_keys_everybody_may_read(service):
    assert service().get("/predict?ticker=AAPL").status_code == 200


@pytest.mark.parametrize("headers", [bearer(READER), {"X-API-Key": READER}, bearer(OPERATOR)])
def test_a_known_key_may_read(keyed, headers):
    assert keyed.get("/predict?ticker=AAPL", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/predict?ticker=AAPL", "/", "/metrics", "/none", "/models/AAPL"])
def test_without_a_key_nothing_is_told(keyed, path):
    answer = keyed.get(path)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/key_required")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        *(bearer("wrong"), bearer(""), {"X-API-Key": READER + "x"}, {"X-API-Key": ""}),
        *(bearer(READ_LINE), bearer(READ_LINE.split(":")[2]), {"X-API-Key": READER.upper()}),
    ],
)
def test_a_wrong_key_is_refused(keyed, headers):
    answer = keyed.get("/predict?ticker=AAPL", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/key_unknown")
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
def test_health_and_documentation_need_no_key(keyed, path):
    assert keyed.get(path).status_code == 200
    assert keyed.get(path, headers=bearer("wrong")).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "//health", "/health/../tickers", "/HEALTH"])
def test_what_only_looks_open_is_not(keyed, path):
    assert keyed.get(path, follow_redirects=False).status_code == 401


def test_metrics_can_be_opened(service):
    assert service(api_keys=READ_LINE, metrics_open=True).get("/metrics").status_code == 200


def test_another_authorization_does_not_hide_the_other_header(keyed):
    headers = {"Authorization": "Basic eDp5", "X-API-Key": READER}
    assert keyed.get("/tickers", headers=headers).status_code == 200


@given(st.binary(max_size=80))
def test_no_invented_key_is_known(sent):
    keys = Keys.__new__(Keys)
    keys._keys, keys._open = [ApiKey.of_line(READ_LINE)], frozenset()
    refused = keys.admit("/tickers", {b"x-api-key": sent})
    assert refused.status == 401


# Operating


def test_a_reader_may_not_operate(keyed):
    answer = keyed.post("/operate", headers=bearer(READER))
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/may_not_operate")


def test_an_operator_may(keyed):
    assert keyed.post("/operate", headers=bearer(OPERATOR)).json() == "ops"


def test_only_an_operator_is_told_which_libraries_run(keyed):
    assert keyed.get("/info", headers=bearer(READER)).json()["libraries"] == {}
    assert "python" in keyed.get("/info", headers=bearer(OPERATOR)).json()["libraries"]


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1"])
def test_without_keys_this_machine_operates(service, client):
    assert with_operation(service(client=client)).post("/operate").json() == "anyone"


@pytest.mark.parametrize("client", ["10.0.0.7", "172.18.0.3", "2001:db8::1", "testclient"])
def test_without_keys_other_machines_do_not(service, client):
    answer = with_operation(service(client=client)).post("/operate")
    assert answer.status_code == 403
    assert "python -m web.keys new" in answer.json()["detail"]


def test_other_machines_may_where_the_setting_says_so(service):
    client = with_operation(service(client="10.0.0.7", operate_without_key=True))
    assert client.post("/operate").status_code == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_what_a_proxy_passes_on_is_not_this_machines_own(service, name):
    client = with_operation(service(client="127.0.0.1"))
    assert client.post("/operate", headers={name: "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        *({"Origin": "https://evil.example.com"}, {"Origin": "null"}),
        *({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_page_of_another_site_cannot_operate_through_a_browser(service, headers):
    for wish in ({}, {"operate_without_key": True}):
        client = with_operation(service(client="127.0.0.1", **wish))
        assert client.post("/operate", headers=headers).status_code == 403


def test_a_page_of_our_own_may(service):
    client = with_operation(service(client="127.0.0.1"))
    headers = {"Origin": "http://test", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/operate", headers=headers).status_code == 200


# Making and keeping keys


def test_the_command_prints_a_key_and_its_line(capsys):
    assert main(["new", "--name", "dashboard", "--scope", "operate"]) == 0
    key, line = (row.split()[1] for row in capsys.readouterr().out.splitlines())
    known = ApiKey.of_line(line)
    assert known == ApiKey("dashboard", "operate", hashlib.sha256(key.encode()).digest())
    assert key not in line and len(key) == len("stock_") + 43


def test_two_keys_are_never_the_same():
    assert len({new_key("a", "read")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 41])
def test_a_name_that_does_not_fit_is_said(capsys, name):
    assert main(["new", "--name", name]) == 2
    assert "--name" in capsys.readouterr().err


def test_a_file_keeps_keys_and_comments(service, tmp_path: Path):
    (tmp_path / "keys").write_text(f"# ours\n{READ_LINE}  # the page\n\n{OPERATE_LINE}\n")
    client = service(api_keys_file=tmp_path / "keys")
    assert client.get("/tickers", headers=bearer(OPERATOR)).status_code == 200
    assert client.get("/tickers").status_code == 401


@pytest.mark.parametrize(
    "lines", ["page:write:" + "0" * 64, "stock_reader", f"{READ_LINE}\n{READ_LINE}", "# none", ""]
)
def test_a_key_file_that_would_lock_or_open_everything_stops_the_start(service, tmp_path, lines):
    (tmp_path / "keys").write_text(lines)
    with pytest.raises(BadSettings):
        service(api_keys_file=tmp_path / "keys")


def test_a_missing_key_file_stops_the_start(service, tmp_path):
    with pytest.raises(BadSettings, match="STOCK_API_KEYS_FILE"):
        service(api_keys_file=tmp_path / "none")


def test_a_key_pasted_for_its_line_is_not_repeated(service):
    with pytest.raises(BadSettings) as told:
        service(api_keys="stock_" + "secret" * 9)
    assert "secret" * 9 not in str(told.value)


# What the schema says


def test_the_schema_names_both_ways_to_send_a_key(keyed):
    schema = keyed.get("/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert schema["security"] == [{"bearer": []}, {"apiKey": []}]
    assert schema["paths"]["/health"]["get"]["security"] == []
    assert "401" in schema["paths"]["/predict"]["get"]["responses"]


def test_without_keys_the_schema_says_that_none_is_needed(service):
    assert {} in service().get("/openapi.json").json()["security"]
