"""The HTTP service over a fake desk: shapes, errors, and nothing told that should not be."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from fake_desk import FakeDesk, Inline
from hypothesis import example, given
from hypothesis import strategies as st
from invented_forecasts import (
    BUNDLE,
    COLD,
    FILE,
    SKILL,
    make_champion,
    make_forecast,
    make_probability,
)
from pydantic import ValidationError
from starlette.testclient import TestClient

from answers import forecast_answer, forecast_table, probability_answer
from app import create_app
from config import Settings
from contracts import (
    VERSION,
    BadBundle,
    BadPrices,
    BadSettings,
    ForecastingError,
    InvalidTicker,
    LogUnavailable,
    NoBase,
    NoChampion,
    SourceUnavailable,
    parse_ticker,
)
from schemas import ForecastOut, ModelOut, ProbabilityOut
from web import dependencies, problems

ROOT = Path(__file__).resolve().parent.parent
Serve = Callable[..., TestClient]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start the service on a desk; stopped when the test ends."""
    running: list[TestClient] = []

    def start(desk: FakeDesk | None = None, raise_bugs: bool = True) -> TestClient:
        client = TestClient(create_app(lambda _: desk or FakeDesk()), "http://test", raise_bugs)
        running.append(client.__enter__())
        return client

    yield start
    for client in running:
        client.__exit__()


def every_error(kind: type[ForecastingError] = ForecastingError) -> list[type[ForecastingError]]:
    below = [kind for child in kind.__subclasses__() for kind in every_error(child)]
    return below if kind is ForecastingError else [kind, *below]


def assert_problem(answer, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{code}"
    assert answer.json()["status"] == status
    assert answer.json()["title"] and answer.json()["detail"]
    assert ("retry-after" in answer.headers) == (status == 503)


# The shape of a forecast


def test_a_forecast_has_exactly_the_promised_fields_in_order(serve):
    answer = serve().get("/predict", params={"ticker": "AAPL", "steps": 3})
    assert answer.status_code == 200
    assert list(answer.json()) == [
        *("ticker", "prediction_steps", "raw_predictions", "smoothed_predictions"),
        *("last_actual_value", "model_path", "last_actual_price", "last_close", "currency"),
        *("as_of", "mode", "cold_start", "dates", "prices", "smoothed_prices", "intervals"),
        *("data", "model", "skill", "warnings"),
    ]
    assert list(answer.json()["intervals"]) == ["80", "95"]
    assert list(answer.json()["intervals"]["80"]) == ["lower", "upper"]
    assert list(answer.json()["data"]) == [
        *(
            "source",
            "last_session",
            "stale",
            "sessions_behind",
            "adjustment",
            "sha256",
            "findings",
            "quarantined",
            "fetched_at",
            "state",
        )
    ]
    assert list(answer.json()["model"]) == ["version", "recipe", "trained_at", "trained_through"]
    assert list(answer.json()["skill"]) == [
        *("baseline", "rmse_ratio", "direction_accuracy", "p_value", "verdict"),
        *("crps_ratio", "crps_p_value"),
    ]


@pytest.mark.parametrize("smoothing", [True, False])
def test_http_says_exactly_what_python_says(serve, smoothing):
    query = {"ticker": "AAPL", "steps": 7, "smoothing": smoothing}
    answer = serve().get("/predict", params=query)
    assert answer.json() == forecast_answer(make_forecast("AAPL", 7, smoothing))


def test_without_smoothing_the_smoothed_fields_are_null(serve):
    answer = serve().get("/predict?ticker=AAPL&steps=5&smoothing=false").json()
    assert answer["smoothed_predictions"] is None
    assert answer["smoothed_prices"] is None
    assert len(answer["raw_predictions"]) == len(answer["prices"]) == len(answer["dates"]) == 5


def test_the_figures_are_those_of_the_desk(serve):
    forecast = make_forecast("AAPL", 4)
    answer = serve().get("/predict?ticker=AAPL&steps=4").json()
    assert answer["prices"] == pytest.approx(forecast.prices, rel=1e-9)
    assert answer["raw_predictions"] == pytest.approx(forecast.normalised, rel=1e-9)
    assert answer["intervals"]["95"]["upper"] == pytest.approx(forecast.bands["95"].upper, rel=1e-9)
    assert answer["last_actual_price"] == 272.72
    assert answer["last_close"] == 271.86
    assert answer["dates"][0] == "2026-01-02"
    assert answer["model"]["trained_at"] == "2026-01-17T22:52:54Z"
    assert answer["model_path"] == f"models/{BUNDLE}"


def test_a_model_of_its_own_is_no_cold_start(serve):
    answer = serve().get("/predict?ticker=AAPL&steps=1").json()
    assert (answer["mode"], answer["cold_start"]) == ("recursive", False)
    assert "cold start" not in forecast_table(make_forecast())


@pytest.mark.parametrize("query", ["/predict?ticker=AAPL", "/probability?ticker=AAPL&above=300"])
def test_a_cold_start_says_so(serve, query):
    answer = serve(FakeDesk(cold=True)).get(query).json()
    assert (answer["mode"], answer["cold_start"]) == ("direct", True)
    assert answer["model"]["trained_through"] == "2023-12-29"


def test_the_base_behind_a_cold_start_keeps_its_own_path(serve):
    answer = serve(FakeDesk(cold=True)).get("/predict?ticker=AAPL&steps=1").json()
    assert answer["model_path"] == "pretrained/2023-12-29"


def test_a_table_says_a_cold_start_in_plain_words():
    table = forecast_table(replace(make_forecast(), model=COLD))
    said = [line for line in table.splitlines() if line.startswith("cold start: ")]
    assert said == [
        "cold start: AAPL has no model of its own yet, a network of many tickers answers; "
        "run: python train.py AAPL"
    ]


def test_skill_in_distribution_is_told_or_null(serve):
    assert serve().get("/predict?ticker=AAPL").json()["skill"]["crps_ratio"] == 0.97
    unknown = replace(SKILL, crps_ratio=None, crps_p_value=None)
    answer = ForecastOut.of(replace(make_forecast(), skill=unknown)).model_dump(mode="json")
    assert answer["skill"]["crps_ratio"] is None
    assert answer["skill"]["crps_p_value"] is None


def test_a_level_without_a_band_has_no_key():
    forecast = make_forecast(steps=2)
    answer = forecast_answer(replace(forecast, bands={"80": forecast.bands["80"]}))
    assert list(answer["intervals"]) == ["80"]
    assert list(ForecastOut.model_validate(answer).intervals) == ["80"]


def test_an_answer_is_never_nan():
    forecast = replace(make_forecast(steps=1), normalised=(float("nan"),))
    with pytest.raises(ValueError, match="finite"):
        forecast_answer(forecast)


def test_rounding_never_pushes_a_price_out_of_its_band():
    price = 272.123456789123
    band = replace(make_forecast(steps=1).bands["80"], lower=(price,), upper=(price,))
    answer = forecast_answer(replace(make_forecast(steps=1), prices=(price,), bands={"80": band}))
    assert answer["intervals"]["80"] == {"lower": answer["prices"], "upper": answer["prices"]}


EDGES = (0.0, 1e-9, 9e9, 9999999999.999998, 123456.78905, 99999999.995, 1e300, -1e-300)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example(list(EDGES))
@example([0.1, -271.86, 6_000.005, 1 / 3, 12_345.678905])
def test_numbers_are_rounded_together_as_each_is_by_its_text(numbers):
    forecast = replace(make_forecast(steps=len(numbers)), normalised=tuple(numbers))
    answer = forecast_answer(forecast)
    assert answer["raw_predictions"] == [float(f"{number:.10g}") for number in numbers]


@pytest.mark.parametrize("kind", [ForecastOut, ProbabilityOut])
def test_the_documented_example_is_a_valid_answer(serve, kind):
    example = documented(serve)["components"]["schemas"][kind.__name__]["example"]
    assert kind.model_validate(example).model_dump(mode="json") == example


# What is asked of the desk


def test_thirty_smoothed_sessions_unless_told_otherwise(serve):
    desk = FakeDesk()
    serve(desk).get("/predict?ticker=AAPL")
    assert desk.asked == [("AAPL", 30, True)]


def test_the_configured_horizon_is_the_default(serve, monkeypatch):
    monkeypatch.setenv("STOCK_PREDICTION_STEPS", "12")
    assert serve().get("/predict?ticker=AAPL").json()["prediction_steps"] == 12


def test_lower_case_is_understood(serve):
    assert serve().get("/predict?ticker=aapl&steps=1").json()["ticker"] == "AAPL"


@pytest.mark.parametrize("ticker", ["BRK-B", "^GSPC", "0700.HK", "MCC.V", "EURUSD=X", "GC=F"])
def test_every_kind_of_symbol_passes(serve, ticker):
    client = serve(FakeDesk(known=(ticker,)))
    assert client.get("/predict", params={"ticker": ticker, "steps": 1}).status_code == 200
    assert client.get(f"/models/{ticker}").status_code == 200


@pytest.mark.parametrize("ticker", ["*", "../x", "", " ", "A" * 500, "AAPL;ls", "a/b", "%00"])
def test_what_is_no_symbol_never_reaches_the_desk(serve, ticker):
    desk = FakeDesk()
    answer = serve(desk).get("/predict", params={"ticker": ticker})
    assert_problem(answer, 422, "invalid_ticker")
    assert desk.asked == []


def test_blanks_around_a_symbol_are_forgiven(serve):
    assert serve().get("/models/%20AAPL%0A").json()["ticker"] == "AAPL"


@hypothesis.settings(deadline=None)  # a busy machine is no bug
@given(text=st.text(max_size=60))
def test_any_text_is_either_a_symbol_or_a_problem(text):
    desk = FakeDesk(known=())
    app = create_app()
    parts = dependencies.Parts(desk, Inline(), 1)
    app.dependency_overrides[dependencies.get_parts] = lambda: parts
    answer = TestClient(app).get("/predict", params={"ticker": text})
    try:
        expected = [(parse_ticker(text), 1, True)]
    except InvalidTicker:
        expected = []
    assert desk.asked == expected
    assert_problem(
        answer, 404 if expected else 422, "unknown_ticker" if expected else "invalid_ticker"
    )


@pytest.mark.parametrize("steps", ["0", "91", "-1", "1.5", "many", "", "1e1"])
def test_steps_outside_1_to_90_are_refused(serve, steps):
    answer = serve().get("/predict", params={"ticker": "AAPL", "steps": steps})
    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["query", "steps"]
    assert answer.json()["detail"].startswith("steps: ")


def test_a_forecast_needs_a_ticker(serve):
    answer = serve().get("/predict")
    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["detail"] == "ticker: Field required"


# Errors


def test_every_error_has_a_status():
    assert {kind.code for kind in every_error()} == set(problems.STATUS_OF)


def test_errors_whose_text_is_fixed_are_known_errors():
    assert set(problems.FIXED_DETAIL) <= set(problems.STATUS_OF)


def test_an_unknown_ticker_is_404_and_says_what_to_do(serve):
    answer = serve().get("/predict?ticker=ZZZZ")
    assert_problem(answer, 404, "unknown_ticker")
    assert "python train.py ZZZZ" in answer.json()["detail"]


def test_a_missing_champion_is_503_with_the_reason(serve):
    answer = serve(FakeDesk(failures={"AAPL": NoChampion("AAPL")})).get("/predict?ticker=AAPL")
    assert_problem(answer, 503, "no_champion")
    assert "has no trained model yet" in answer.json()["detail"]


def test_a_missing_base_is_503_in_its_own_words(serve):
    text = "no base is shipped for 2019-12-31 or earlier; train three tickers first"
    answer = serve(FakeDesk(failures={"AAPL": NoBase(text)})).get("/predict?ticker=AAPL")
    assert_problem(answer, 503, "no_base")
    assert answer.json()["detail"] == text


@pytest.mark.parametrize(
    "kind", [BadPrices, BadBundle, SourceUnavailable, LogUnavailable, BadSettings]
)
def test_files_addresses_and_passwords_go_to_the_log_only(serve, kind, caplog):
    secret = "/srv/data/AAPL.csv row 7; postgresql://user:hunter2@db/x"
    client = serve(FakeDesk(failures={"AAPL": kind(secret)}))
    paths = ("/predict?ticker=AAPL", "/probability?ticker=AAPL&touch=9", "/models/AAPL")
    for path in (*paths, "/drift/AAPL"):
        answer = client.get(path)
        assert_problem(answer, 503, kind.code)
        assert "srv" not in answer.text
        assert "hunter2" not in answer.text
    assert secret in caplog.text


@pytest.mark.parametrize("bug", [KeyError("/srv/secret"), RuntimeError("hunter2"), ValueError()])
def test_a_bug_is_500_and_tells_nothing(serve, bug):
    answer = serve(FakeDesk(failures={"AAPL": bug}), raise_bugs=False).get("/predict?ticker=AAPL")
    assert_problem(answer, 500, "internal_error")
    assert answer.json()["detail"] == "The service failed unexpectedly; its log says why."


def test_an_unknown_route_is_a_problem_too(serve):
    assert_problem(serve().get("/nowhere"), 404, "not_found")
    assert_problem(serve().get("/models/a/b"), 404, "not_found")


def test_a_wrong_method_is_a_problem_that_names_the_right_one(serve):
    answer = serve().post("/predict")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


def test_a_wrong_method_is_told_every_right_one(serve):
    assert serve().delete("/drift/AAPL").headers["allow"] == "GET, POST"


# Probabilities


def test_a_probability_has_exactly_the_promised_fields_in_order(serve):
    answer = serve().get("/probability?ticker=AAPL&steps=30&above=300")
    assert answer.status_code == 200
    assert list(answer.json()) == [
        *("ticker", "currency", "as_of", "date", "steps", "event", "level", "probability"),
        *("paths", "last_actual_price", "last_close", "mode", "cold_start"),
        *("data", "model", "skill", "warnings"),
    ]


@pytest.mark.parametrize("event", ["above", "below", "touch"])
def test_each_event_is_asked_of_the_desk_and_answered(serve, event):
    desk = FakeDesk()
    query = {"ticker": "aapl", "steps": 12, event: 260.5}
    answer = serve(desk).get("/probability", params=query)
    assert desk.weighed == [("AAPL", 12, event, 260.5)]
    assert answer.json() == probability_answer(make_probability("AAPL", 12, event, 260.5))
    assert (answer.json()["event"], answer.json()["level"]) == (event, 260.5)
    assert answer.json()["date"] == "2026-01-19"


def test_a_probability_carries_the_figures_of_the_desk(serve):
    answer = serve().get("/probability?ticker=AAPL&steps=30&touch=300").json()
    wanted = make_probability("AAPL", 30, "touch", 300.0)
    assert answer["probability"] == pytest.approx(wanted.probability, rel=1e-9)
    assert (answer["last_actual_price"], answer["last_close"]) == (272.72, 271.86)
    assert (answer["paths"], answer["currency"]) == (1000, "USD")
    assert answer["skill"] == forecast_answer(make_forecast())["skill"]


@pytest.mark.parametrize("configured", ["30", "7"])
def test_a_probability_has_the_configured_horizon_unless_told(serve, monkeypatch, configured):
    monkeypatch.setenv("STOCK_PREDICTION_STEPS", configured)
    desk = FakeDesk()
    assert serve(desk).get("/probability?ticker=AAPL&below=1").json()["steps"] == int(configured)
    assert desk.weighed == [("AAPL", int(configured), "below", 1.0)]


@pytest.mark.parametrize(
    "query", ["", "&above=300&below=200", "&above=300&touch=300", "&above=1&below=1&touch=1"]
)
def test_a_probability_needs_exactly_one_event(serve, query):
    desk = FakeDesk()
    answer = serve(desk).get(f"/probability?ticker=AAPL{query}")
    assert_problem(answer, 422, "invalid_request")
    assert "exactly one of above, below and touch" in answer.json()["detail"]
    assert answer.json()["errors"][0]["loc"] == ["query"]
    assert desk.weighed == []


@pytest.mark.parametrize("event", ["above", "below", "touch"])
@pytest.mark.parametrize(
    "price", ["nan", "NaN", "inf", "-inf", "Infinity", "1e400", "0", "-0.0", "-3", "", "many"]
)
def test_what_is_no_price_is_refused(serve, event, price):
    desk = FakeDesk()
    answer = serve(desk).get("/probability", params={"ticker": "AAPL", event: price})
    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["query", event]
    assert desk.weighed == []


def test_a_bad_price_beside_a_good_one_is_refused(serve):
    answer = serve().get("/probability?ticker=AAPL&above=nan&below=200")
    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["detail"].startswith("above: ")


@pytest.mark.parametrize("price", [5e-324, 1.7976931348623157e308, 300.123456789123])
def test_a_level_comes_back_as_it_was_asked(serve, price):
    answer = serve().get("/probability", params={"ticker": "AAPL", "touch": price})
    assert answer.status_code == 200
    assert answer.json()["level"] == price


@pytest.mark.parametrize("steps", ["0", "91", "1.5", "many", ""])
def test_a_probability_refuses_steps_outside_1_to_90(serve, steps):
    answer = serve().get("/probability", params={"ticker": "AAPL", "above": 300, "steps": steps})
    assert_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["query", "steps"]


def test_a_probability_needs_a_symbol(serve):
    client = serve()
    assert_problem(client.get("/probability?above=300"), 422, "invalid_request")
    assert_problem(client.get("/probability?above=300&ticker=../x"), 422, "invalid_ticker")


@pytest.mark.parametrize("error", [NoChampion("AAPL"), NoBase("train a second ticker")])
def test_a_probability_without_a_model_is_503_with_the_reason(serve, error):
    answer = serve(FakeDesk(failures={"AAPL": error})).get("/probability?ticker=AAPL&above=300")
    assert_problem(answer, 503, error.code)
    assert answer.json()["detail"] == str(error)


def test_a_probability_of_an_unknown_ticker_is_404(serve):
    assert_problem(serve().get("/probability?ticker=ZZZZ&above=300"), 404, "unknown_ticker")


def test_a_probability_is_never_nan():
    with pytest.raises(ValueError, match="finite"):
        probability_answer(replace(make_probability(), last_close=float("nan")))


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_the_answer_promises_that_nothing_is_certain(certain):
    answer = probability_answer(make_probability()) | {"probability": certain}
    with pytest.raises(ValidationError, match="probability"):
        ProbabilityOut.model_validate(answer)


PRICE_TEXTS = st.one_of(st.floats().map(str), st.text(max_size=12), st.integers().map(str))


@hypothesis.settings(deadline=None)
@given(
    query=st.fixed_dictionaries(
        {"ticker": st.just("AAPL")},
        optional={
            **dict.fromkeys(("above", "below", "touch"), PRICE_TEXTS),
            "steps": st.integers(-2, 100).map(str),
        },
    )
)
def test_any_question_is_answered_or_refused_as_documented(query):
    desk = FakeDesk()
    app = create_app()
    parts = dependencies.Parts(desk, Inline(), 30)
    app.dependency_overrides[dependencies.get_parts] = lambda: parts
    answer = TestClient(app).get("/probability", params=query)
    if answer.status_code == 200:
        (ticker, steps, event, level) = desk.weighed[0]
        assert answer.json() == probability_answer(make_probability(ticker, steps, event, level))
        assert math.isfinite(level) and level > 0
        assert [name for name in ("above", "below", "touch") if name in query] == [event]
    else:
        assert_problem(answer, 422, "invalid_request")
        assert desk.weighed == []


# Batches


def test_a_batch_answers_for_each_ticker_apart(serve):
    client = serve(FakeDesk(failures={"MSFT": BadBundle("/srv/models/x: altered")}))
    body = {"tickers": ["AAPL", "ZZZZ", "MSFT"], "steps": 3, "smoothing": False}
    answer = client.post("/predict/batch", json=body)
    assert answer.status_code == 200
    predictions, errors = answer.json()["predictions"], answer.json()["errors"]
    assert predictions == {"AAPL": forecast_answer(make_forecast("AAPL", 3, False))}
    assert errors["ZZZZ"]["type"] == "/problems/unknown_ticker"
    assert errors["MSFT"]["status"] == 503
    assert "srv" not in answer.text
    assert set(errors["ZZZZ"]) == {"type", "title", "status", "detail"}


def test_a_batch_has_the_same_defaults(serve):
    desk = FakeDesk()
    serve(desk).post("/predict/batch", json={"tickers": ["aapl"]})
    assert desk.asked == [("AAPL", 30, True)]


def test_a_whole_number_may_be_written_with_a_point(serve):
    desk = FakeDesk()
    serve(desk).post("/predict/batch", json={"tickers": ["AAPL"], "steps": 3.0})
    assert desk.asked == [("AAPL", 3, True)]


@pytest.mark.parametrize(
    "body",
    [
        {"tickers": []},
        {"tickers": "AAPL"},
        {"tickers": ["AAPL", "aapl"]},
        {"tickers": [f"T{n}" for n in range(101)]},
        {"tickers": ["AAPL"], "steps": "3"},
        {"tickers": ["AAPL"], "steps": True},
        {"tickers": ["AAPL"], "steps": 3.5},
        {"tickers": ["AAPL"], "steps": 91},
        {"tickers": ["AAPL"], "smoothing": "yes"},
        {"tickers": ["AAPL"], "step": 3},
        {"tickers": [7]},
        ["AAPL"],
        None,
    ],
)
def test_a_batch_that_does_not_fit_is_refused_whole(serve, body):
    desk = FakeDesk()
    assert_problem(serve(desk).post("/predict/batch", json=body), 422, "invalid_request")
    assert desk.asked == []


def test_a_bad_symbol_in_a_batch_is_named(serve):
    answer = serve().post("/predict/batch", json={"tickers": ["AAPL", "../x"]})
    assert_problem(answer, 422, "invalid_ticker")
    assert "'../x'" in answer.json()["detail"]


@pytest.mark.parametrize("sent", [b"{", b"\xff\xfe", b""])
def test_what_is_no_json_is_a_problem(serve, sent):
    headers = {"content-type": "application/json"}
    client = serve()
    answer = client.post("/predict/batch", content=sent, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code in (400, 422)
    route = client.get("/openapi.json").json()["paths"]["/predict/batch"]["post"]
    assert str(answer.status_code) in route["responses"]


# The other routes


def test_the_root_says_what_this_is_and_links_work(serve):
    client = serve()
    answer = client.get("/").json()
    assert answer["version"] == VERSION
    assert "not investment advice" in answer["disclaimer"]
    assert {client.get(link).status_code for link in answer["links"].values()} == {200}


def test_health_does_not_ask_about_models(serve):
    answer = serve(FakeDesk(reasons={"AAPL": NoChampion("AAPL")})).get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "healthy"


def test_ready_once_every_configured_ticker_can_answer(serve):
    answer = serve(FakeDesk(reasons={"AAPL": None, "MSFT": None})).get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "tickers": {"AAPL": None, "MSFT": None},
        "refused": {},
    }


def test_not_ready_names_each_ticker_and_its_reason(serve):
    reasons = {"AAPL": None, "MSFT": NoChampion("MSFT")}
    answer = serve(FakeDesk(reasons=reasons)).get("/ready")
    assert_problem(answer, 503, "not_ready")
    assert answer.json()["tickers"] == {"AAPL": None, "MSFT": str(NoChampion("MSFT"))}
    assert "MSFT" in answer.json()["detail"]


def test_a_reason_that_may_name_a_file_stays_in_the_log(serve):
    reasons = {"AAPL": BadPrices("/srv/secret/AAPL_raw.csv is cut short")}
    answer = serve(FakeDesk(reasons=reasons)).get("/ready")
    assert "secret" not in answer.text
    assert "cannot be trusted" in answer.json()["tickers"]["AAPL"]


def test_tickers_keep_the_order_of_the_desk(serve):
    answer = serve(FakeDesk(known=("MSFT", "AAPL"))).get("/tickers")
    assert answer.json()["tickers"] == ["MSFT", "AAPL"]


def test_a_model_shows_its_whole_card(serve):
    answer = serve().get("/models/aapl").json()
    card = make_champion().card
    assert answer["version"] == "3"
    assert answer["model_path"] == f"models/{answer['bundle']}" == f"models/{BUNDLE}"
    assert set(answer["card"]) == set(card.__dataclass_fields__)
    assert answer["card"]["scores"]["last_close"] == card.scores["last_close"]
    assert answer["card"]["data"]["sha256"] == FILE.sha256
    assert answer["card"]["shrinkage"] == 0.35


def test_a_card_shows_what_its_bands_are_made_of(serve):
    assert serve().get("/models/AAPL").json()["card"]["calibration"] == {
        "origins": 120,
        "levels": [0.1, 0.5, 0.9],
        "quantiles": [[-1.3, 0.0, 1.2], [-1.4, 0.1, 1.3], None],
        "pooled": 0.25,
    }


def test_a_card_names_the_base_it_started_from_or_none(serve):
    assert serve().get("/models/AAPL").json()["card"]["base"] == {
        "name": "2023-12-29",
        "trained_through": "2023-12-29",
        "tickers": 95,
        "shipped": True,
    }
    champion = make_champion()
    plain = replace(champion, card=replace(champion.card, base=None))
    assert json.loads(ModelOut.of(plain).model_dump_json())["card"]["base"] is None


def test_why_a_feed_is_quarantined_stays_inside(serve):
    kept = replace(FILE, quarantined="/srv/data/AAPL_raw.csv: a move beyond a factor of ten")
    answer = serve(FakeDesk(source=kept)).get("/predict?ticker=AAPL")
    assert answer.json()["data"]["quarantined"] is True
    assert "/srv" not in answer.text
    card = replace(make_champion().card, data=kept)
    shown = ModelOut.of(replace(make_champion(), card=card))
    assert shown.card.data.quarantined is True
    assert "/srv" not in shown.model_dump_json()


def test_a_score_that_is_not_defined_is_null(serve):
    scores = serve().get("/models/AAPL").json()["card"]["scores"]
    assert scores["last_mid"]["direction_accuracy"] is None
    assert scores["arima"]["direction_accuracy"] is None  # NaN in the card


def test_drift_shows_the_verdict(serve):
    answer = serve().get("/drift/AAPL").json()
    assert answer["alarm"] is True
    assert answer["checked_at"] == "2026-01-18T06:00:00Z"
    assert [row["feature"] for row in answer["features"]] == ["return", "range"]


def test_no_drift_check_yet_is_404(serve):
    assert_problem(serve(FakeDesk(checked=False)).get("/drift/AAPL"), 404, "no_drift_check")


# Start, stop and the published schema


def test_stopping_closes_the_desk(settings):
    desk = FakeDesk()
    with TestClient(create_app(lambda _: desk)):
        assert not desk.closed
    assert desk.closed


def test_a_misspelt_setting_stops_the_start_with_one_line(settings, monkeypatch):
    monkeypatch.setenv("STOCK_TICKRES", "AAPL")
    app = create_app(lambda _: FakeDesk())
    with pytest.raises(BadSettings, match="STOCK_TICKRES"), TestClient(app):
        pass
    assert app.state.startup_error.startswith("bad_settings: unknown setting STOCK_TICKRES")
    assert "\n" not in app.state.startup_error


def test_the_server_is_told_that_line_instead_of_a_traceback(settings, monkeypatch):
    monkeypatch.setenv("STOCK_PREDICTION_STEPS", "0")
    sent = startup_messages(create_app(lambda _: FakeDesk()), BadSettings)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert sent[0]["message"].startswith("bad_settings: STOCK_PREDICTION_STEPS='0'")


def test_a_bug_at_startup_keeps_its_traceback(settings):
    def broken(_: Settings) -> FakeDesk:
        raise RuntimeError("a bug")

    sent = startup_messages(create_app(broken), RuntimeError)
    assert "Traceback" in sent[0]["message"]


def startup_messages(app, expected: type[Exception]) -> list[dict[str, str]]:
    """What a server is sent when the start fails."""
    sent: list[dict[str, str]] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    with pytest.raises(expected):
        run_once(app({"type": "lifespan", "state": {}}, receive, send))
    return sent


def run_once(coroutine) -> None:
    """Drive a coroutine that never really waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def documented(serve) -> dict:
    return serve().get("/openapi.json").json()


def test_every_route_and_parameter_is_described(serve):
    for path, operations in documented(serve)["paths"].items():
        for operation in operations.values():
            assert operation["summary"] and operation["description"], path
            assert all(row["description"] for row in operation.get("parameters", [])), path


def test_a_probability_is_documented_by_name_bound_and_answer(serve):
    operation = documented(serve)["paths"]["/probability"]["get"]
    asked = {row["name"]: row for row in operation["parameters"]}
    assert list(asked) == ["ticker", "steps", "above", "below", "touch", "strict"]
    assert [name for name, row in asked.items() if row["required"]] == ["ticker"]
    assert {row["in"] for row in asked.values()} == {"query"}
    for event in ("above", "below", "touch"):
        assert asked[event]["schema"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0}
        assert "exactly one of `above`, `below` and `touch`" in asked[event]["description"]
    assert {"200", "404", "422", "500", "503"} <= set(operation["responses"])
    said = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert said == {"$ref": "#/components/schemas/ProbabilityOut"}


PAGE_TYPES = {"/reports/{name}": "text/html", "/stream/{ticker}": "text/event-stream"}


def test_problems_are_documented_as_problems_only(serve):
    schema = documented(serve)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status == "304":  # has no body
                    continue
                wanted = PAGE_TYPES.get(path, "application/json")
                if not status.startswith("2"):
                    wanted = "application/problem+json"
                assert list(answer["content"]) == [wanted], (path, status)
    assert "HTTPValidationError" not in schema["components"]["schemas"]


def test_every_reference_in_the_schema_leads_somewhere(serve):
    schema = documented(serve)
    text = json.dumps(schema)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names and names <= set(schema["components"]["schemas"])


def test_importing_the_service_loads_nothing_heavy_and_reads_no_setting():
    script = (
        "import sys, app; "
        "print(sorted({'predict', 'onnxruntime', 'tensorflow', 'mlflow'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STOCK_TICKRES": "misspelt"}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
    assert said.stderr == ""
