"""The flags that choose an engine, and the engine that was chosen."""

from __future__ import annotations

import argparse

from engines.tasks import Engine, EngineChoice


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add --engine, --workers and --ray-address."""
    group = parser.add_argument_group("many tickers at once")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes on this machine (default), or Ray (requirements-scale.txt)",
    )
    group.add_argument(
        "--workers", type=int, help="tasks at a time (default: as many as processors)"
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="a running Ray cluster: `auto` or host:port (default: one is started here)",
    )


def choice_of(arguments: argparse.Namespace) -> EngineChoice:
    """What the flags of `add_engine_flags` say.

    Raises:
        BadSettings: fewer than one worker, or an address without Ray.
    """
    return EngineChoice(arguments.engine, arguments.workers, arguments.ray_address)


def open_engine(choice: EngineChoice) -> Engine:
    """Start what was chosen; close it, or use it as a context manager.

    Raises:
        EngineUnavailable: Ray is not installed, or no cluster answers at the address.
    """
    if choice.name == "ray":
        from engines.on_ray import open_ray

        return open_ray(choice)
    from engines.local import InProcess, LocalEngine, processors

    workers = choice.workers or processors()
    return InProcess() if workers == 1 else LocalEngine(workers)
