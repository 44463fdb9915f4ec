"""Bases of many tickers: trained, kept, verified, and given to nobody earlier than they are."""

import shutil
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from base_training import YEAR, Panel, base_for, fold, gather, train_base
from bases import CARD_FORM, Base, newest_base, read_base, shipped_bases, write_base
from contracts import BadBundle, NoBase, NotEnoughHistory
from data_pipeline import StockDataPipeline, import_file
from generate_synthetic_data import generate_synthetic_stock_data
from inference import Network
from model_store import CARD, MANIFEST, NETWORK, TEMPLATES, WEIGHTS, verify
from recipes import find_recipe

TINY = {"lstm_units_1": 4, "lstm_units_2": 4, "dense_units": 4, "unrollings": 10}
RECIPE = replace(find_recipe("panel", TINY), base_epochs=1, base_least_updates=2)
END = date(2023, 12, 29)


def invented(ticker: str, end: date = END, days: int = 560) -> pd.DataFrame:
    return generate_synthetic_stock_data(ticker, "2018-01-01", end, days)


PANEL = Panel({ticker: invented(ticker) for ticker in ("AAA", "BBB")}, END, "0" * 64)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    return train_base(PANEL, RECIPE, 3, tmp_path_factory.mktemp("pretrained") / str(END))


def dated(base: Base, through: date, folder, **changes) -> Base:
    """A copy of a base that says it has seen sessions through another day."""
    card = replace(base.card, trained_through=through, name=folder.name, **changes)
    files = {name: base.path / name for name in (NETWORK, WEIGHTS, TEMPLATES)}
    return write_base(folder, {CARD: CARD_FORM.dump_json(card), **files}, shipped=True)


def alter(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# What a base is


def test_a_base_is_a_folder_that_verifies(base):
    assert {file.name for file in base.path.iterdir()} == {
        CARD, MANIFEST, NETWORK, TEMPLATES, WEIGHTS,
    }  # fmt: skip
    verify(base.path)
    again = read_base(base.path, shipped=False)
    assert again.card == base.card
    assert again.bundle == f"{base.path.parent.name}/2023-12-29"


def test_its_card_says_what_it_was_made_of(base):
    card = base.card
    assert (card.name, card.trained_through, card.seed) == ("2023-12-29", END, 3)
    assert (card.tickers, card.held_out) == (("AAA", "BBB"), ())
    assert card.first_session == PANEL.bars["AAA"]["Date"].iloc[0].date()
    assert card.recipe == RECIPE.as_dict()
    assert card.data_sha256 == PANEL.sha256
    assert 0 <= card.shrinkage <= 1 and 0 <= card.parity < 1e-4
    assert card.skill.baseline == "last_close" and card.skill.rmse_ratio > 0


def test_its_errors_make_quantiles_of_every_step(base):
    table = base.pool(0.75).quantiles
    assert table.shape == (90, len(base.card.calibration.levels))
    assert np.isfinite(table).all() and (np.diff(table, axis=1) >= 0).all()
    assert base.pool(0.75).weight == 0.75


def test_its_templates_keep_those_quantiles(base):
    rows, calibration = base.templates(), base.card.calibration
    assert rows.shape == (400, 90)
    median = calibration.levels.index(0.5)
    wanted = [row[median] for row in calibration.quantiles]
    np.testing.assert_allclose(np.median(rows, axis=0), wanted, atol=0.1)


def test_its_network_is_its_weights_with_the_correction_shrunk(base):
    from model import LSTMStockModel

    network = LSTMStockModel(RECIPE, seed=9)
    network.load(base.weights)
    network.shrink(base.card.shrinkage)
    x = np.random.default_rng(1).normal(0, 1, (5, 30, 8))
    np.testing.assert_allclose(Network(base.path / NETWORK).run(x), network.outputs(x), atol=1e-5)


def test_its_identity_is_what_a_tickers_card_keeps(base):
    known = base.identity()
    assert (known.name, known.trained_through) == ("2023-12-29", END)
    assert (known.tickers, known.shipped) == (2, False)


def test_one_seed_and_one_panel_make_one_base(base, tmp_path):
    from model import LSTMStockModel

    again = train_base(PANEL, RECIPE, 3, tmp_path / "again")
    assert again.card.calibration == base.card.calibration
    assert (again.card.shrinkage, again.card.skill) == (base.card.shrinkage, base.card.skill)
    np.testing.assert_array_equal(again.templates(), base.templates())
    ours, theirs = (LSTMStockModel(RECIPE) for _ in range(2))
    ours.load(base.weights)
    theirs.load(again.weights)
    for one, other in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tickers_too_short_for_a_window_make_no_base(tmp_path):
    short = Panel({"AAA": invented("AAA", days=YEAR + 70)}, END, "0" * 64)
    with pytest.raises(NotEnoughHistory, match="tickers with a whole training window"):
        train_base(short, RECIPE, 3, tmp_path / "short")
    assert not list(tmp_path.iterdir())


def test_many_tickers_hold_out_a_tenth_and_few_none():
    names = [f"T{number}" for number in range(200)]
    many, few = (Panel(dict.fromkeys(some), END, "") for some in (names, names[:49]))
    assert len(many.held_out) == pytest.approx(20, abs=10)
    assert sorted((*many.held_out, *many.fitted)) == sorted(names)
    assert (few.held_out, few.fitted) == ((), tuple(names[:49]))
    assert [fold(ticker) for ticker in ("AAPL", "MSFT", "SPY")] == [1, 9, 8]  # on every machine


# Kept and verified


@pytest.mark.parametrize("name", [CARD, NETWORK, TEMPLATES, WEIGHTS])
def test_a_changed_byte_is_found(base, tmp_path, name):
    folder = shutil.copytree(base.path, tmp_path / "altered")
    alter(folder / name)
    with pytest.raises(BadBundle, match=f"{name} was altered"):
        read_base(folder, shipped=True)


def test_a_card_of_another_form_is_refused(base, tmp_path):
    files = {name: base.path / name for name in (NETWORK, WEIGHTS, TEMPLATES)}
    with pytest.raises(BadBundle, match="not a base of this version"):
        write_base(tmp_path / "odd", {CARD: b'{"name": "odd"}', **files}, shipped=True)


@pytest.mark.parametrize("rows", [np.zeros(90), np.full((3, 90), np.nan), np.array([["a"]])])
def test_templates_that_are_no_numbers_are_refused(base, tmp_path, rows):
    np.save(tmp_path / TEMPLATES, rows, allow_pickle=False)
    broken = Base(tmp_path, base.card, shipped=True)
    with pytest.raises(BadBundle, match=TEMPLATES):
        broken.templates()


def test_a_base_without_templates_has_no_rows(base, tmp_path):
    assert len(Base(tmp_path, base.card, shipped=True).templates()) == 0


def test_a_base_takes_the_place_of_the_one_before_it(base, tmp_path):
    dated(base, date(2020, 1, 3), tmp_path / "here")
    (tmp_path / "here" / "stray").touch()
    dated(base, date(2021, 1, 4), tmp_path / "here")
    assert read_base(tmp_path / "here", shipped=True).card.trained_through == date(2021, 1, 4)
    assert [folder.name for folder in tmp_path.iterdir()] == ["here"]


def test_a_base_that_cannot_be_written_leaves_the_one_before_it(base, tmp_path):
    dated(base, date(2020, 1, 3), tmp_path / "here")
    with pytest.raises(FileNotFoundError):
        write_base(tmp_path / "here", {CARD: tmp_path / "nowhere"}, shipped=True)
    assert read_base(tmp_path / "here", shipped=True).card.trained_through == date(2020, 1, 3)
    assert [folder.name for folder in tmp_path.iterdir()] == ["here"]


# Who may have which


@pytest.fixture
def shipped(settings, base, tmp_path):
    """Settings with bases that have seen 2015, 2019 and 2023."""
    folder = tmp_path / "bases"
    for year in (2019, 2015, 2023):
        dated(base, date(year, 12, 31), folder / str(year))
    return settings.model_copy(update={"pretrained_dir": folder})


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (date(2030, 1, 1), "2023"),
        (date(2023, 12, 31), "2023"),
        (date(2023, 12, 30), "2019"),
        (date(2019, 12, 31), "2019"),
        (date(2015, 12, 31), "2015"),
        (date(2015, 12, 30), None),
    ],
)
def test_the_base_that_has_seen_most_and_nothing_later_is_found(shipped, before, name):
    found = newest_base(shipped, RECIPE, before)
    assert (found.path.name if found else None) == name
    assert found is None or found.shipped


def test_shipped_bases_come_by_what_they_have_seen(shipped, base):
    dated(base, date(2018, 1, 2), shipped.pretrained_dir / "z")  # whatever they are called
    names = [found.path.name for found in shipped_bases(shipped, RECIPE)]
    assert names == ["2015", "z", "2019", "2023"]


def test_a_base_of_another_shape_is_passed_over(shipped, base):
    wider = find_recipe("panel", {**TINY, "dense_units": 8})
    dated(base, date(2022, 12, 30), shipped.pretrained_dir / "2022", recipe=wider.as_dict())
    assert newest_base(shipped, RECIPE, date(2022, 12, 31)).path.name == "2019"
    assert newest_base(shipped, wider, date(2023, 12, 31)).path.name == "2022"
    assert shipped_bases(shipped, find_recipe("panel")) == ()  # none is of the whole size


def test_what_does_not_change_the_shape_does_not_matter(shipped):
    other = replace(RECIPE, unrollings=60, learning_rate=0.5, dropout_rate=0.0)
    assert newest_base(shipped, other, date(2030, 1, 1)).path.name == "2023"


@pytest.mark.parametrize("name", [CARD, NETWORK, WEIGHTS])
def test_an_altered_base_is_passed_over(shipped, name, caplog):
    alter(shipped.pretrained_dir / "2023" / name)
    assert newest_base(shipped, RECIPE, date(2030, 1, 1)).path.name == "2019"
    assert "base_set_aside name=2023" in caplog.text


def test_without_a_folder_there_is_no_base(settings, tmp_path):
    nowhere = settings.model_copy(update={"pretrained_dir": tmp_path / "nowhere"})
    assert newest_base(nowhere, RECIPE, date(2030, 1, 1)) is None


# Trained where none is early enough


def stocked(settings, tickers=("AAA", "BBB"), end=END, days: int = 560, adjustment="split"):
    """The settings' cache with a price file imported for each ticker."""
    for ticker in tickers:
        invented(ticker, end, days).to_csv("prices.csv", index=False)
        import_file(ticker, "prices.csv", settings, adjustment)
    return settings


def test_a_base_is_trained_from_the_tickers_there_are_and_found_again(settings, base, tmp_path):
    late = dated(base, END, tmp_path / "bases" / "2023").path.parent
    here = stocked(settings.model_copy(update={"tickers": ("AAA", "CCC"), "pretrained_dir": late}))
    kind, before = StockDataPipeline("BBB", here).read(), END - timedelta(days=1)
    made = base_for(before, RECIPE, here, kind)
    assert made.card.trained_through == date(2023, 12, 28)
    assert made.card.tickers == ("AAA", "BBB")  # of CCC there are invented prices only
    assert made.path.parent == here.models_dir / "bases"
    assert (made.card.name, made.shipped) == (made.path.name, False)
    stamp = (made.path / NETWORK).stat().st_mtime_ns
    assert base_for(before, RECIPE, here, kind).card == made.card
    assert (made.path / NETWORK).stat().st_mtime_ns == stamp


def test_a_shipped_base_that_is_early_enough_is_taken(shipped):
    here = stocked(shipped)
    found = base_for(END, RECIPE, here, StockDataPipeline("AAA", here).read())
    assert (found.path.name, found.shipped) == ("2019", True)
    assert not (here.models_dir / "bases").exists()


def test_a_recipe_without_a_base_asks_for_none(shipped):
    here = stocked(shipped, ("AAA",))
    kind = StockDataPipeline("AAA", here).read()
    assert base_for(END, find_recipe("mlops_64_64_32"), here, kind) is None


@pytest.mark.parametrize(("days", "before"), [(2 * YEAR - 1, END), (560, date(2021, 1, 4))])
def test_where_no_ticker_has_history_the_way_out_is_said(settings, tmp_path, days, before):
    here = stocked(settings.model_copy(update={"pretrained_dir": tmp_path / "none"}), days=days)
    kind = StockDataPipeline("AAA", here).read()
    with pytest.raises(NoBase, match="no ticker here has 504 sessions") as refused:
        base_for(before, RECIPE, here, kind)
    assert f"through {before} or earlier" in str(refused.value)
    assert "import longer histories" in str(refused.value)


@pytest.fixture
def mixed(settings):
    """AAA and BBB split-adjusted, DDD otherwise, CCC without a real price."""
    here = settings.model_copy(update={"tickers": ("AAA", "CCC")})
    return stocked(stocked(here), ("DDD",), adjustment="split+dividend")


@pytest.mark.parametrize(
    ("kind", "found"),
    [("AAA", {"AAA", "BBB"}), ("CCC", {"CCC"}), ("DDD", {"DDD"}), (None, {"AAA", "BBB", "DDD"})],
)
def test_prices_of_different_kinds_are_never_mixed(mixed, kind, found):
    like = StockDataPipeline(kind, mixed).read() if kind else None
    panel = gather(("AAA", "BBB", "CCC", "DDD"), mixed, END, like)
    assert set(panel.bars) == found


def test_no_session_after_the_day_touches_a_panel(settings):
    here, day = stocked(settings, ("AAA",), days=700), date(2023, 6, 30)
    whole = gather(("AAA",), here, day)
    assert (whole.through, whole.bars["AAA"]["Date"].max()) == (day, pd.Timestamp(day))
    stocked(settings, ("AAA",), end=day, days=len(whole.bars["AAA"]))
    assert gather(("AAA",), here, day).sha256 == whole.sha256
    assert gather(("AAA",), here, day - timedelta(days=1)).sha256 != whole.sha256


def test_tickers_without_prices_are_left_out(settings, caplog):
    panel = gather(("NIX", "AAA"), stocked(settings, ("AAA",)), END)
    assert tuple(panel.bars) == ("AAA",)
    assert "left_out ticker=NIX" in caplog.text
