"""The only door to bases: networks of many tickers that a ticker's own model starts from.

The ones that come with the software lie under `pretrained/`, one folder each; those made here
under `models/bases/`. A base states the last session it has seen, and nobody earlier gets it.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from bands import Pool
from config import Settings
from contracts import BadBundle, BaseCard, BaseIdentity, FloatArray, ModelCard
from inference import Network, TrainedModel
from model_store import CARD, NETWORK, TEMPLATES, WEIGHTS, fill, verify
from recipes import Recipe

log = logging.getLogger(__name__)

CARD_FORM: TypeAdapter[BaseCard] = TypeAdapter(BaseCard)


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """One base on disk, verified."""

    path: Path
    card: BaseCard
    shipped: bool

    @property
    def bundle(self) -> str:
        """Where it lies, as answers name it: `pretrained/2023-12-29`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def weights(self) -> Path:
        """The Keras weights, before shrinking."""
        return self.path / WEIGHTS

    def model(self) -> TrainedModel:
        """The network as it answers for a ticker without its own: shrunk."""
        return TrainedModel(Network(self.path / NETWORK), self.card.recipe)

    def templates(self) -> FloatArray:
        """Joint errors over the steps, (n, 90), in units of the scale."""
        return read_templates(self.path)

    def pool(self, weight: float) -> Pool:
        """Its error quantiles, to be given `weight` in a ticker's bands."""
        return Pool(np.array(self.card.calibration.quantiles, dtype=float), weight)

    def packed(self) -> PackedBase:
        """What a fit needs of it, to be sent where its folder is not."""
        return PackedBase(self.card, self.shipped, self.weights.read_bytes())

    def identity(self) -> BaseIdentity:
        """The few facts a ticker's card keeps of it."""
        return BaseIdentity(
            name=self.card.name,
            trained_through=self.card.trained_through,
            tickers=len(self.card.tickers),
            shipped=self.shipped,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PackedBase:
    """A base without its folder: enough to start a fit from, not to forecast with."""

    card: BaseCard
    shipped: bool
    weights: bytes

    def unpacked(self, folder: Path) -> Base:
        """The same with its weights in a folder, which is made."""
        folder.mkdir(parents=True)
        base = Base(folder, self.card, self.shipped)
        base.weights.write_bytes(self.weights)
        return base


def read_templates(folder: Path) -> FloatArray:
    """A bundle's joint errors, (n, 90); no rows where it keeps none.

    Raises:
        BadBundle: not a table of finite numbers.
    """
    path = folder / TEMPLATES
    if not path.exists():
        return np.empty((0, 0))
    try:
        rows = np.asarray(np.load(path, allow_pickle=False), dtype=float)
    except (OSError, ValueError) as error:
        raise BadBundle(f"{folder.name}: {TEMPLATES} cannot be read") from error
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise BadBundle(f"{folder.name}: {TEMPLATES} is not a table of finite numbers")
    return rows


def read_base(folder: Path, *, shipped: bool) -> Base:
    """A base, verified against its manifest.

    Raises:
        BadBundle: a file is missing or altered, or the card does not parse.
    """
    verify(folder)
    try:
        card = CARD_FORM.validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise BadBundle(f"{folder.name}: {CARD} is not a base of this version") from error
    return Base(folder, card, shipped)


def shipped_bases(settings: Settings, recipe: Recipe) -> tuple[Base, ...]:
    """The bases that come with the software, by what they have seen, the newest last.

    One whose network has another shape than the recipe's, or that does not verify, is left out.
    """
    found: list[Base] = []
    folders = settings.pretrained_dir.glob("[!.]*/") if settings.pretrained_dir.is_dir() else ()
    for folder in folders:
        try:
            base = read_base(folder, shipped=True)
        except BadBundle as error:
            log.warning("base_set_aside name=%s reason=%s", folder.name, error)
            continue
        if fits(base, recipe):
            found.append(base)
    return tuple(sorted(found, key=lambda base: base.card.trained_through))


def newest_base(settings: Settings, recipe: Recipe, before: date) -> Base | None:
    """The shipped base that has seen most, but nothing after `before`; None if there is none."""
    found = [b for b in shipped_bases(settings, recipe) if b.card.trained_through <= before]
    return found[-1] if found else None


def pool_of(card: ModelCard, settings: Settings) -> Pool | None:
    """The quantiles that a model's bands were drawn towards; None where it has no base here.

    Raises:
        BadBundle: its base does not verify.
    """
    if card.base is None:
        return None
    home = settings.pretrained_dir if card.base.shipped else settings.models_dir / "bases"
    folder = home / card.base.name
    if not folder.is_dir():
        return None
    return read_base(folder, shipped=card.base.shipped).pool(card.calibration.pooled)


def fits(base: Base, recipe: Recipe) -> bool:
    """Whether the recipe's network can hold the base's weights."""
    return {name: base.card.recipe.get(name) for name in recipe.shape} == recipe.shape


def write_base(folder: Path, files: Mapping[str, Path | bytes], *, shipped: bool) -> Base:
    """Put a base in its place, whole or not at all; one already there is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        fill(draft, files)
        draft.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return read_base(folder, shipped=shipped)
