"""The HTTP service: requests in, contracts out, every error one problem document.

Routes and problems are in `web/`; here they become one application with a life of its own.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings, get_settings
from contracts import VERSION, ForecastingError
from web import about, forecasts, metrics, openapi, pages, request_logs, stream, swagger, watching
from web.about import DISCLAIMER, NAME
from web.dependencies import Desk, Pages
from web.door import Door, DoorRules
from web.problems import explain_all
from web.stream import Streams, ending_early
from work_queue import WorkQueue

COLLECTED_AFTER = 20_000  # new objects, some of them garbage: a batch of 100 tickers makes 6,000


def open_desk(settings: Settings) -> Desk:
    """The real desk. Imported here so that routes and schema can be had without ONNX Runtime."""
    from desk import ForecastDesk

    return ForecastDesk(settings)


def open_pages(settings: Settings) -> Pages:
    """The real pages, imported as late as the desk."""
    from exhibits import Pages as RealPages

    return RealPages(settings)


class PlainStartupError:
    """Middleware: a startup failure that we can explain is one line, not a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def shorten(message: Message) -> None:
            reason = getattr(scope["app"].state, "startup_error", None)
            if message["type"] == "lifespan.startup.failed" and reason:
                message = {**message, "message": reason}
            await send(message)

        await self.app(scope, receive, shorten if scope["type"] == "lifespan" else send)


def life(
    desk_factory: Callable[[Settings], Desk], pages_factory: Callable[[Settings], Pages]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What happens around the requests."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """Open the desk before the first request, close it after the last."""
        try:
            settings = get_settings()
            request_logs.set_up(settings)
            keep_rules(app, settings)
            app.state.default_steps = settings.prediction_steps
            app.state.pages = pages_factory(settings)
            app.state.desk = app.state.metrics.desk = desk_factory(settings)
            app.state.work = WorkQueue(
                settings.cold_threads, settings.cold_waiting, settings.request_seconds
            )
        except ForecastingError as error:
            app.state.startup_error = f"{error.code}: {error}"
            raise
        app.state.streams = Streams(app.state.desk)
        try:
            with ending_early(app.state.streams.close), still_heap():
                yield
        finally:
            app.state.streams.close()
            app.state.work.close()
            app.state.desk.close()
            app.state.pages.close()
            await app.state.door.close()

    return lifespan


@contextmanager
def still_heap() -> Iterator[None]:
    """What was loaded before the first request is not looked through by any garbage collection.

    And what a request makes is looked through once for some requests, not several times for one:
    a batch's lists hold numbers, which are no garbage while it is answered.
    """
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def create_app(
    desk_factory: Callable[[Settings], Desk] = open_desk,
    pages_factory: Callable[[Settings], Pages] = open_pages,
) -> FastAPI:
    """Build the routes; settings are read and the desk is opened when the server starts."""
    app = FastAPI(
        title=NAME,
        version=VERSION,
        summary=DISCLAIMER,
        lifespan=life(desk_factory, pages_factory),
        docs_url=None,  # ours is in web/swagger.py
        redoc_url=None,
    )
    app.state.questions = {}  # what query strings mean, web.forecasts
    keep_rules(app, Settings.model_construct())  # the defaults, until the server starts
    for part in (about, forecasts, stream, pages, watching, metrics, swagger):
        app.include_router(part.router)
    app.add_middleware(Door)
    app.add_middleware(PlainStartupError)
    explain_all(app)
    openapi.complete(app)
    return app


def keep_rules(app: FastAPI, settings: Settings) -> None:
    """Let the door go by these settings from now on."""
    app.state.door = DoorRules(settings)
    app.state.metrics = app.state.door.metrics


app = create_app()
