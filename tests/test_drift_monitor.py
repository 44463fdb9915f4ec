"""Evidently's reports and the verdict of a check, on the real library and a small real network."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from local_receiver import local_receiver
from onnx import TensorProto, helper
from pydantic import SecretStr

import drift_check
import drift_monitor
import many_checks
from contracts import (
    BadBundle,
    BadPrices,
    FeatureDrift,
    NoChampion,
    NotEnoughHistory,
    Prices,
    SourceUnavailable,
    Span,
)
from drift import compare
from drift_check import gather
from drift_monitor import DriftMonitor, main
from drift_report import quiet_evidently, run_evidently, write_report
from engines import EngineChoice
from engines.job import Job
from forecast_log import ForecastLog, parse_verdict
from inference import Network, TrainedModel, one_step_table
from model_store import CARD, NETWORK, REFERENCE, ModelStore, card_json
from tests.builders import card, provenance
from tests.test_drift import garch
from watching.calibration import WARM_UP
from watching.distances import distance
from watching.measures import LONGEST
from watching.samples import Samples

ROOT = Path(__file__).resolve().parent.parent
DAYS = 700


@pytest.fixture
def monitor(settings):
    return DriftMonitor("AAPL", settings)


def bars_of(days: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Bars whose mid-prices and ranges are those given, on consecutive weekdays to 2025."""
    mid = 100 * np.exp(days["return"].cumsum().to_numpy())
    half = np.tanh(days["range"].to_numpy() / 2) * mid  # log(high / low) is the range
    close = mid + half * np.random.default_rng(seed).uniform(-0.9, 0.9, len(mid))
    dates = pd.bdate_range(end="2025-12-31", periods=len(mid))
    frame = pd.DataFrame({"Date": dates, "High": mid + half, "Low": mid - half, "Close": close})
    return frame.assign(**{"Open": mid, "Adj Close": close, "Volume": 1e6})


def last_value_network() -> bytes:
    """An ONNX network that repeats the newest mid: (n, 50, 1) -> (n, 1)."""
    shape = ["n", 50, 1]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "at"], ["y"], axis=1),
        ],
        "last",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("at", TensorProto.INT64, [], [49])],
    )
    opset = [helper.make_opsetid("", 15)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def prices_of(bars: pd.DataFrame, **changes: object) -> Prices:
    return Prices("AAPL", bars, provenance(last_session=bars["Date"].iloc[-1].date(), **changes))


def span(rows: pd.DataFrame) -> Span:
    dates = rows["date"]
    return Span(first=dates.iloc[0].date(), last=dates.iloc[-1].date(), rows=len(rows))


def publish(settings, bars: pd.DataFrame, tmp_path: Path, reference: str | None = None):
    """A champion trained on all but the last 60 of `bars`, whose network repeats the last mid."""
    (draft := tmp_path / "draft.onnx").write_bytes(last_value_network())
    known = bars[:-60]
    rows = one_step_table(TrainedModel(Network(draft), card().recipe), known)
    cuts = {"train": rows[:450], "validation": rows[450:490], "test": rows[490:]}
    facts = card(
        trained_through=known["Date"].iloc[-1].date(),
        start_date=bars["Date"].iloc[0].date(),
        **{name: span(part) for name, part in cuts.items()},
    )
    files = {CARD: card_json(facts), NETWORK: draft}
    files[REFERENCE] = (reference or rows.to_csv(index=False)).encode()
    store = ModelStore(settings.models_dir)
    return store.publish("AAPL", store.write("AAPL", datetime.now(UTC), files), "3")


@pytest.fixture
def shelf(monkeypatch):
    """Puts prices where `StockDataPipeline` would fetch them."""

    def put(prices: Prices) -> None:
        class Shelf:
            def __init__(self, ticker: str, settings: object) -> None:
                assert ticker == prices.ticker

            def load(self) -> Prices:
                return prices

        monkeypatch.setattr(drift_monitor, "StockDataPipeline", Shelf)
        monkeypatch.setattr(drift_monitor, "get_settings", drift_monitor.Settings)

    return put


@pytest.fixture
def calm(settings, shelf, tmp_path):
    bars = bars_of(garch(0, DAYS))
    published = publish(settings, bars, tmp_path)
    shelf(prices_of(bars))
    return published


@pytest.fixture
def undrawn(monkeypatch):
    """Reports are named and not drawn, which takes seconds."""

    def named(*page) -> Path:
        page[-1].touch()
        return page[-1]

    monkeypatch.setattr(drift_check, "write_report", named)


def evidently_values(reference: pd.DataFrame, current: pd.DataFrame, limits: dict) -> dict:
    """What Evidently itself computes for the page, by metric name."""
    with quiet_evidently():
        snapshot = run_evidently(reference, current, limits)
    return {
        row["metric_name"].partition("(")[0]: row["value"] for row in snapshot.dict()["metrics"]
    }


def test_a_data_report_is_a_page_of_its_own(monitor, tmp_path):
    rng = np.random.default_rng(0)
    path = monitor.generate_data_drift_report(
        rng.normal(size=300), rng.normal(size=60), tmp_path / "deep" / "report.html"
    )
    page = path.read_text("utf-8")
    assert path == tmp_path / "deep" / "report.html"
    assert "60 recent rows against 300 reference rows" in page
    assert "of 1000 comparisons drawn from the reference in blocks" in page
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]  # no draft is left


def test_evidently_measures_the_same_distance_with_the_reference_as_reference():
    reference, current = garch(0, 500), garch(1, 60) * 2
    values = evidently_values(reference[["return"]], current[["return"]], {"return": 0.3})
    ours = distance(reference["return"].to_numpy(), current["return"].to_numpy())
    swapped = distance(current["return"].to_numpy(), reference["return"].to_numpy())
    assert values["ValueDrift"] == pytest.approx(ours)
    assert values["ValueDrift"] != pytest.approx(swapped)


def test_evidently_calls_drifted_what_we_call_drifted():
    reference, current = garch(0, 500), garch(1, 60).assign(range=lambda rows: 5 * rows["range"])
    entries = compare(reference, current, 0.05, 0).features
    limits = {entry.feature: entry.threshold for entry in entries if entry.feature in reference}
    values = evidently_values(reference, current, limits)
    drifted = [entry for entry in entries if entry.drifted]
    assert [entry.feature for entry in drifted] == ["range"]
    assert values["DriftedColumnsCount"]["count"] == 1


def test_evidently_scores_the_current_sample_not_the_reference():
    actual = pd.DataFrame({"actual": np.linspace(90, 110, 100)})
    reference = actual.assign(prediction=actual["actual"] + 1)
    current = actual[:40].assign(prediction=actual["actual"] + 3)
    values = evidently_values(reference, current, {})
    assert values["RMSE"] == pytest.approx(3)


def test_a_model_report_takes_sequences_as_the_network_sees_them(monitor, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(360, 50, 1)), rng.normal(size=360)
    path = monitor.generate_model_drift_report(
        x[:300], y[:300], x[300:], y[300:], y[:300] + 0.1, y[300:] + 0.2, tmp_path / "model.html"
    )
    page = path.read_text("utf-8")
    assert "change0" in page
    assert "Regression" in page


def test_a_model_report_wants_one_outcome_per_row(monitor, tmp_path):
    x, y = np.zeros((30, 50, 1)), np.zeros(30)
    with pytest.raises(BadPrices, match="one row each"):
        monitor.generate_model_drift_report(x, y[:-1], x, y, y, y, tmp_path / "model.html")


def test_a_model_report_refuses_nan_in_predictions(monitor, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(30, 50, 1)), np.ones(30)
    with pytest.raises(BadPrices, match="current sample holds NaN or infinity in prediction"):
        monitor.generate_model_drift_report(x, y, x, y, y, y * np.nan, tmp_path / "model.html")


def test_a_report_of_nothing_is_refused_before_a_file_is_made(monitor, tmp_path):
    with pytest.raises(NotEnoughHistory, match="only 0 current rows"):
        monitor.generate_data_drift_report(np.ones(30), np.array([]), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_constant_sample_can_be_drawn(tmp_path):
    reference, current = garch(0, 100), garch(1, 60) * 0
    entries = compare(reference, current, 0.05, 0).features
    path = write_report((reference, current), entries, "", tmp_path / "still.html")
    assert "sessions without movement" in path.read_text("utf-8")


def test_names_in_a_report_are_escaped(tmp_path):
    frame = pd.DataFrame({"value": np.arange(30.0)})
    entry = FeatureDrift(feature="<script>", method="m", distance=1.0, threshold=2.0, drifted=False)
    page = write_report((frame, frame), [entry], "", tmp_path / "odd.html").read_text("utf-8")
    assert "<td>&lt;script&gt;</td>" in page


def test_the_samples_are_the_spans_of_the_card_and_every_later_session(calm):
    bars = bars_of(garch(0, DAYS))
    samples = gather(calm, prices_of(bars))
    assert len(samples.training) == 450 - WARM_UP
    assert samples.held_out["date"].iloc[0] == pd.Timestamp(calm.card.test.first)
    assert samples.recent["date"].tolist() == bars["Date"][-60:].tolist()
    first = samples.days["date"].iloc[LONGEST - 1]
    assert first == pd.Timestamp(calm.card.validation.first)


def test_held_out_sessions_that_are_recent_are_not_drawn_against_themselves(calm):
    samples = gather(calm, prices_of(bars_of(garch(0, DAYS))[:-30]))
    assert samples.former["date"].iloc[-1] < samples.recent["date"].iloc[0]
    assert samples.held_out["date"].iloc[-1] > samples.recent["date"].iloc[0]


def test_a_bundle_without_its_reference_is_a_bad_bundle(settings, tmp_path):
    bars = bars_of(garch(0, DAYS))
    published = publish(settings, bars, tmp_path, reference="date,return\n2024-01-02,0.1\n")
    with pytest.raises(BadBundle, match=r"reference\.csv is missing or unreadable"):
        gather(published, prices_of(bars))


def test_a_bundle_of_the_first_version_is_watched_by_what_it_keeps(settings, tmp_path, calm):
    kept = pd.read_csv(calm.path / REFERENCE).drop(columns=["gap", "volume"])
    bars = bars_of(garch(0, DAYS))
    published = publish(settings, bars, tmp_path, reference=kept.to_csv(index=False))
    assert not {"gap", "volume"} & set(gather(published, prices_of(bars)).training)


def test_a_quiet_market_gives_no_alarm_and_two_reports(monitor, calm, settings):
    verdict = monitor.check()
    assert (verdict.alarm, verdict.severity, verdict.reasons) == (False, "none", ())
    assert verdict.summary.startswith("No drift: the newest sessions look like those of training")
    assert verdict.reports == ("AAPL_data_drift.html", "AAPL_model_performance.html")
    assert sorted(p.name for p in settings.reports_dir.iterdir()) == sorted(verdict.reports)
    assert (verdict.model_version, verdict.data_source) == ("3", "file")
    assert (verdict.reference_rows, verdict.current_rows) == (450 - WARM_UP, 60)
    assert verdict.rmse_ratio_reference == pytest.approx(verdict.rmse_ratio_current, rel=0.5)


def test_every_report_states_the_measured_rate_of_false_alarms(monitor, calm, settings):
    verdict = monitor.check()
    assert 0 <= verdict.false_alarms_per_month <= 0.05
    stated = f"raises an alarm in {verdict.false_alarms_per_month:.1%} of months"
    for name in verdict.reports:
        page = (settings.reports_dir / name).read_text("utf-8")
        assert stated in page
        assert "<th>reference rows</th>" in page


def test_the_history_is_that_of_sessions_however_often_one_looks(monitor, calm, undrawn):
    first, second = monitor.check(5), monitor.check(5)
    assert first.history == second.history
    assert first.history[-1].session == first.as_of
    assert len(first.history) == 5


def newest(days: pd.DataFrame, sessions: int, factors: list[float]) -> pd.DataFrame:
    return pd.concat([days[:-sessions], days[-sessions:] * factors])


@pytest.mark.parametrize(
    ("shock", "feature", "severity"),
    [
        (lambda days: newest(days, 60, [4, 4]), "range", "alarm"),
        (lambda days: newest(days, 60, [1, 5]), "range", "alarm"),
        (lambda days: newest(days, 3, [0, 1]), "unchanged", "critical"),
    ],
    ids=["volatility", "ranges", "stuck feed"],
)
def test_what_happens_to_the_newest_sessions_is_found(
    monitor, calm, shelf, undrawn, shock, feature, severity
):
    shelf(prices_of(bars_of(shock(garch(0, DAYS)))))
    verdict = monitor.check()
    assert (verdict.alarm, verdict.severity) == (True, severity)
    moved = {row.feature: row.reason for row in verdict.features if row.drifted}
    assert moved[feature] in verdict.reasons
    assert verdict.summary.startswith("Drift: " if severity == "alarm" else "Broken feed: ")


def test_prices_in_pence_are_critical_on_the_first_day(monitor, calm, shelf, undrawn):
    bars = bars_of(garch(0, DAYS))
    columns = ["Open", "High", "Low", "Close"]
    bars.loc[DAYS - 1, columns] *= 100
    shelf(prices_of(bars))
    verdict = monitor.check()
    assert (verdict.severity, verdict.episode) == ("critical", verdict.as_of)
    assert "a wrong unit, or a split that was not applied" in verdict.reasons[-1]


def test_an_alarm_that_stands_was_raised_on_one_day_and_is_new_on_that_day_only(
    monitor, calm, shelf, undrawn
):
    wild = bars_of(newest(garch(0, DAYS), 60, [4, 4]))
    shelf(prices_of(wild[:-20]))
    raised = [row.session for row in monitor.check(400).history if row.raised][-1]
    at = int((wild["Date"] <= pd.Timestamp(raised)).sum())
    shelf(prices_of(wild[:at]))
    assert not monitor.check().cooled_down
    shelf(prices_of(wild[: at + 4]))
    later = monitor.check()
    assert (later.alarm, later.cooled_down, later.episode) == (True, True, raised)


def test_a_quarantined_feed_is_critical_though_nothing_moved(monitor, calm, shelf, undrawn):
    shelf(prices_of(bars_of(garch(0, DAYS)), stale=True, quarantined="a split undone"))
    verdict = monitor.check()
    assert (verdict.alarm, verdict.severity) == (True, "critical")
    assert not any(row.drifted for row in verdict.features)
    assert verdict.summary.startswith("Feed quarantined: newer bars were refused (a split undone)")
    assert verdict.reasons == ("newer bars were refused: a split undone",)


def test_an_alarm_is_told_to_the_webhook_once_however_often_one_checks(
    settings, calm, shelf, undrawn
):
    shelf(prices_of(bars_of(newest(garch(0, DAYS), 60, [4, 4]))))
    records = ForecastLog(settings.database_url)
    with local_receiver() as receiver:
        heard = settings.model_copy(update={"alert_webhook": SecretStr(receiver.url)})
        monitor = DriftMonitor("AAPL", heard)
        assert monitor.watch(records).alerted
        assert not monitor.watch(records).alerted
    assert [body["severity"] for body in receiver.bodies] == ["alarm"]
    assert [row.alerted for row in records.verdicts("AAPL")] == [False, True]
    records.close()


def test_performance_is_drawn_without_price_levels():
    rows = pd.DataFrame(
        {"raw_actual": [330.0], "raw_prediction": [297.0], "raw_last_mid": [300.0], "range": 0.1}
    )
    indexed = drift_check._indexed(rows)
    assert indexed.to_dict("list") == {"actual": [pytest.approx(110)], "prediction": [99.0]}


def test_several_tickers_are_a_list_of_verdicts_and_a_failure_costs_only_itself(
    calm, undrawn, settings, monkeypatch, capsys
):
    monkeypatch.setattr(many_checks, "refreshed", lambda *_: None)
    assert main(["AAPL", "ZZZQ", "--json"]) == 1
    said = capsys.readouterr()
    (verdict,) = json.loads(said.out)
    assert (verdict["ticker"], verdict["severity"]) == ("AAPL", "none")
    assert "1 done, 1 failed" in said.err
    assert "ZZZQ: ZZZQ has no trained model yet" in said.err
    records = ForecastLog(settings.database_url)
    assert [row.ticker for row in records.verdicts("AAPL")] == ["AAPL"]
    records.close()


def test_a_check_that_was_recorded_before_a_kill_is_not_recorded_again(
    calm, undrawn, settings, monkeypatch
):
    class Killed(BaseException):
        """The process ends here."""

    def killed(*_):
        raise Killed

    records = ForecastLog(settings.database_url)
    checks = many_checks.Checks(("AAPL",), 5, settings)
    here = EngineChoice(workers=1)
    with monkeypatch.context() as dying:
        dying.setattr(Job, "keep", killed)
        with pytest.raises(Killed):
            many_checks.check_all(checks, records, here, afresh=False)
    found, ended = many_checks.check_all(checks, records, here, afresh=False)
    assert (len(found), ended.failed) == (1, {})
    assert [*records.verdicts("AAPL")] == found
    records.close()


def test_a_ticker_without_a_champion_is_said_plainly(monitor):
    with pytest.raises(NoChampion, match=r"python train\.py AAPL"):
        monitor.check()


def test_a_model_of_real_prices_is_not_judged_on_synthetic_ones(monitor, calm, shelf):
    shelf(prices_of(bars_of(garch(0, DAYS)), source="synthetic"))
    with pytest.raises(SourceUnavailable):
        monitor.check()


def test_the_command_prints_a_table_and_records_the_verdict(calm, settings, capsys):
    assert main(["AAPL"]) == 0
    shown = capsys.readouterr().out
    assert "daily returns" in shown
    assert "No drift" in shown
    log = ForecastLog(settings.database_url)
    assert log.latest_verdict("AAPL").reports[0] in shown
    log.close()


def test_the_command_prints_the_recorded_verdict_as_json(calm, settings, capsys, undrawn):
    assert main(["AAPL", "--json", "--replay", "40"]) == 0
    verdict = parse_verdict(capsys.readouterr().out)
    log = ForecastLog(settings.database_url)
    assert log.latest_verdict("AAPL") == verdict
    log.close()
    assert len(verdict.history) == 40
    assert verdict.alarm is False


def test_the_command_replays_the_check_over_the_newest_sessions(calm, undrawn, settings, capsys):
    assert main(["AAPL", "--replay", "25"]) == 0
    shown = capsys.readouterr().out.split("session     severity")[1].splitlines()
    assert len(shown) == 26
    assert shown[-1].startswith("2025-12-31  none")


def test_the_command_names_its_html_reports(calm, undrawn, settings, capsys):
    assert main(["AAPL", "--html"]) == 0
    names = capsys.readouterr().out.split()
    assert [Path(name).name for name in names] == [
        "AAPL_data_drift.html",
        "AAPL_model_performance.html",
    ]


def test_the_command_says_in_one_line_what_is_missing(settings, capsys):
    assert main(["AAPL"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("drift_monitor.py: AAPL")


@pytest.mark.parametrize("text", ["0", "many", "-60"])
def test_no_number_of_sessions_is_refused_by_the_command(text, capsys):
    with pytest.raises(SystemExit):
        main(["AAPL", f"--replay={text}"])
    assert "is not a number of sessions from 1 up" in capsys.readouterr().err


def test_evidently_is_imported_only_when_it_draws():
    code = "import sys, json, drift_monitor; print(json.dumps('evidently' in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) is False


def test_samples_hold_frames_in_time_order(calm):
    samples = gather(calm, prices_of(bars_of(garch(0, DAYS))))
    assert isinstance(samples, Samples)
    parts = (samples.training, samples.held_out, samples.days)
    assert all(part["date"].is_monotonic_increasing for part in parts)
