"""What runs here: services and their health, tickers and their data, settings, the disclaimer."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from schemas import InfoOut, JobOut, ServiceStateOut, TickerInfoOut
from views.look import Figure, key_figures
from views.paging import ROWS, offset_of, show_pager
from views.service import load_info, load_model, load_ready
from views.trouble import panel, plain
from views.wish import Wish
from wording import SOURCES, when

PAGE = "info-page"
PARTS = {
    "API": "answers forecasts, probabilities and everything on this page; needs no MLflow",
    "Dashboard": "this page; asks the API and computes nothing",
    "Trainer": "fits one network per ticker and publishes what passes the gate",
    "Monitor": "fetches prices, settles past forecasts, checks for drift, asks for training",
    "MLflow": "keeps every run, its scores and the champion's alias",
}
DETAILS = {  # what the service says of a failure is the kind alone
    "service unavailable": "not at work",
    "tracking unavailable": "does not answer",
    "log unavailable": "does not answer",
    "source unavailable": "failed, left alone for a while",
}


def show(wish: Wish) -> None:
    """The tab, top to bottom; each part stands without the others."""
    st.header("What runs here")
    with panel("info"):
        info = load_info(wish.api_url, ROWS, offset_of(PAGE))
        show_services(info)
        show_jobs(info)
        show_tickers(info)
        show_versions(info, wish)
        show_settings(info, wish)
    with panel("ready"):
        show_readiness(load_ready(wish.api_url))
    show_parts()
    with panel("disclaimer"):
        info = load_info(wish.api_url, ROWS, offset_of(PAGE))
        st.warning(info.disclaimer, icon=":material/gavel:")


def show_services(info: InfoOut) -> None:
    """Each service that the API asks, and whether it answers."""
    st.subheader("Health")
    key_figures(
        [
            Figure("API", "up", "", f"version {info.version}"),
            *(state_of(name, state) for name, state in info.services.items()),
        ]
    )


def state_of(name: str, state: ServiceStateOut) -> Figure:
    """One service."""
    title = SOURCES.get(name, {"mlflow": "MLflow"}.get(name, name.capitalize()))
    detail = DETAILS.get(state.detail, state.detail)
    return Figure(title, state.status, "", f"{detail}, {state.checked_at:%H:%M:%S} UTC")


def show_jobs(info: InfoOut) -> None:
    """Who trains and who watches: at work or not, what came last, what is next."""
    if not info.jobs:
        return
    st.dataframe(
        [row_of_job(name, job) for name, job in info.jobs.items()],
        hide_index=True,
        placeholder="–",
    )
    st.caption(
        "At work: one of its processes holds the lease in the database. The monitor makes a round "
        "after each close of an exchange; the trainer looks for requests every few seconds. Start "
        "one that is not at work with `python watch.py` or `python train.py --missing --stay`."
    )


def row_of_job(name: str, job: JobOut) -> dict[str, object]:
    """One of them in words."""
    return {
        "Job": name.capitalize(),
        "At work": "yes" if job.at_work else "no",
        "Finished last": job.last_deed,
        "When": when(job.last_done) if job.last_done else None,
        "Requests waiting": job.waiting,
        "Next round": when(job.next_round) if job.next_round else None,
    }


def show_tickers(info: InfoOut) -> None:
    """Which prices there are for whom, and which model."""
    st.subheader("Tickers and their data")
    st.dataframe([row_of(ticker) for ticker in info.tickers], hide_index=True, placeholder="–")
    show_pager(PAGE, len(info.tickers), info.total)
    st.caption("Sessions behind: exchange sessions that have ended since the last stored bar.")


def row_of(ticker: TickerInfoOut) -> dict[str, object]:
    """One ticker in words and figures."""
    trained = when(ticker.trained_at) if ticker.trained_at else None
    return {
        "Ticker": ticker.ticker,
        "Prices": SOURCES[ticker.source] if ticker.source else "none yet",
        "From": ticker.first_session,
        "Through": ticker.last_session,
        "Sessions": ticker.sessions,
        "Behind": ticker.sessions_behind,
        "Currency": ticker.currency,
        "Model version": ticker.version,
        "Recipe": ticker.recipe,
        "Trained": trained,
    }


def show_versions(info: InfoOut, wish: Wish) -> None:
    """What runs here and what the chosen ticker's model was made with, as far as one may know."""
    st.subheader("Versions")
    trained: Mapping[str, str] = {}
    with panel("versions"):
        trained = load_model(wish.api_url, wish.ticker).card.versions
    rows: list[tuple[str, str | None, str | None]] = [("This API", info.version, None)]
    for name in dict.fromkeys([*info.libraries, *trained]):
        rows.append((name, info.libraries.get(name), trained.get(name)))
    titles = ("What", "Runs here", f"Trained {wish.ticker}")
    st.dataframe(
        [dict(zip(titles, row, strict=True)) for row in rows], hide_index=True, placeholder="–"
    )
    if not info.libraries:
        st.caption("Versions of libraries are told to a page whose key may operate.")


def show_settings(info: InfoOut, wish: Wish) -> None:
    """What is learnt and served; neither secrets nor places are told."""
    st.subheader("Configuration in use")
    rows = [{"Setting": name, "Value": said(value)} for name, value in info.settings.items()]
    st.dataframe(rows, hide_index=True)
    st.markdown(f"[API documentation]({wish.public_url}/docs) · [MLflow]({info.mlflow_url})")


def said(value: object) -> str:
    """A setting as one would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else str(value)


def show_readiness(reasons: dict[str, str | None]) -> None:
    """Configured tickers that cannot answer, and why."""
    for ticker, reason in reasons.items():
        if reason:
            st.warning(plain(f"{ticker} cannot answer: {reason}"))


def show_parts() -> None:
    """Who does what."""
    st.subheader("Architecture")
    st.markdown("\n".join(f"- **{name}** {does}" for name, does in PARTS.items()))
