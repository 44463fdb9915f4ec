"""Many tickers at once: one function over many tasks, by processes here or by Ray on a cluster.

`engines.job` remembers what is done, so that an interrupted job goes on. Nothing here knows a
ticker, a network or MLflow: tasks are pure, and whoever asked for them writes what they gave.
"""

from engines.choice import add_engine_flags, choice_of, open_engine
from engines.tasks import Done, Engine, EngineChoice

__all__ = ["Done", "Engine", "EngineChoice", "add_engine_flags", "choice_of", "open_engine"]
