"""Charts draw the answer they are given, from its first figure to its last, with its unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from invented_forecasts import FILE, make_forecast

from charts.fan import fan_chart
from charts.look import DARK, LIGHT, palette_of
from schemas import ForecastOut


def lines_of(drawing):
    return {line.name: line for line in drawing.data if line.name}


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2)."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_line_stands_out_from_the_page(palette):
    page = luminance(palette.page)
    for colour in (palette.forecast, palette.smoothed, palette.baseline, *palette.series):
        light, dark = sorted((luminance(colour), page), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


def test_a_page_of_unknown_theme_is_taken_for_a_light_one():
    assert (palette_of("dark"), palette_of("light"), palette_of(None)) == (DARK, LIGHT, LIGHT)


def test_the_fan_is_the_answer_from_the_last_price_on():
    forecast = ForecastOut.of(make_forecast(steps=12))
    lines = lines_of(fan_chart(forecast, LIGHT))
    assert list(lines["Forecast"].y) == [272.72, *forecast.prices]
    assert list(lines["Smoothed forecast"].y) == [272.72, *(forecast.smoothed_prices or [])]
    assert set(lines["Last close, repeated"].y) == {271.86}
    assert list(lines["80 % band"].y)[1:] == forecast.intervals["80"].lower
    assert list(lines["80 % band"].customdata)[1:] == forecast.intervals["80"].upper
    assert list(lines["Forecast"].x) == [date(2025, 12, 31), *forecast.dates]


def test_the_fan_says_its_unit_and_has_dates_below():
    drawing = fan_chart(ForecastOut.of(make_forecast()), LIGHT)
    assert drawing.layout.yaxis.title.text == "AAPL, USD"
    assert drawing.layout.xaxis.type == "date"


def test_weekends_are_left_out_only_where_nothing_trades_on_them():
    forecast = ForecastOut.of(make_forecast(steps=3))
    daily = forecast.model_copy(update={"dates": [date(2026, 1, day) for day in (2, 3, 4)]})
    assert fan_chart(forecast, LIGHT).layout.xaxis.rangebreaks[0].bounds == ("sat", "mon")
    assert not fan_chart(daily, LIGHT).layout.xaxis.rangebreaks


def test_a_forecast_without_bands_is_drawn_without_them():
    forecast = ForecastOut.of(replace(make_forecast(), bands={}))
    assert not [name for name in lines_of(fan_chart(forecast, LIGHT)) if "band" in name]


def test_lines_differ_in_more_than_colour():
    lines = lines_of(fan_chart(ForecastOut.of(make_forecast()), LIGHT))
    names = ("Forecast", "Smoothed forecast", "Last close, repeated")
    assert len({lines[name].line.dash for name in names}) == 3


def test_synthetic_prices_are_written_across_the_chart():
    forecast = ForecastOut.of(make_forecast(data=replace(FILE, source="synthetic")))
    assert fan_chart(forecast, LIGHT).layout.annotations[0].text == "SYNTHETIC PRICES"
