"""A trained network with a new head: the architecture of transfer learning. What works on networks is in
:mod:`models.parts.trunks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput
from models.base import Regularized

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class Kept:
    """A source's network on this machine."""

    path: Path
    trust: bool = False
    """Whether it may carry code: its user has said so."""

    def opened(self) -> keras.Model:
        """See :func:`models.parts.trunks.opened`."""
        from models.parts import trunks

        return trunks.opened(self.path, self.trust)


KEPT: dict[str, Kept] = {}
"""The networks of sources by :attr:`Source.sha256`; filled by :mod:`pipelines.sources`."""


@dataclass(frozen=True)
class Source:
    """A trained network: one of network, run, model and file names it."""

    network: str = ""
    """A classifier of keras.applications: MobileNetV3Small, EfficientNetV2B0, ResNet50V2, ..."""
    weights: str = "imagenet"
    """network: imagenet, which are downloaded, or a file of its weights (.h5 or .weights.h5)."""
    run: str = ""
    """A recorded run, of a classifier of images or an autoencoder: its id or name, or last."""
    model: str = ""
    """A registered model: models:/NAME@ALIAS or models:/NAME/VERSION."""
    file: str = ""
    """A .keras file that takes raw pixels."""
    sha256: str = ""
    """Of its weights; filled in when it is used first, and from then on no other ones are taken."""
    origin: str = ""
    """Id of the run that trained it, where it is recorded; filled in likewise."""

    @property
    def given(self) -> dict[str, str]:
        """What names it, by flag."""
        named = {"network": self.network, "run": self.run, "model": self.model, "file": self.file}
        return {f"--source.{flag}": value for flag, value in named.items() if value}


@dataclass(frozen=True)
class Transferred(Regularized):
    """A source's network without its last layer, and a new head on its features.

    Images are brought to the source's size and number of channels, and its own preprocessing stays inside. The trunk
    is one layer named ``trunk``, so that stages can let its blocks learn from the top (gradual unfreezing: Howard,
    Ruder, arXiv 1801.06146, section 3.3; see :func:`models.parts.trunks.blocks`).
    """

    source: Source = Source()
    size: int = 0
    """Side in pixels that images are brought to; 0: the source's own."""
    units: tuple[int, ...] = ()
    """Of hidden layers of the head."""
    dropout: float = 0.2
    initializer: str = "glorot_uniform"
    scratch: bool = False
    """The same network from nothing: the source gives its architecture, not its weights."""

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        from models.parts import trunks

        if self.source.sha256 not in KEPT:
            do = "give one: --source.network, --source.run, --source.model or --source.file"
            raise BadInput("no trained network is given", "--source", do)
        network = KEPT[self.source.sha256].opened()
        bare = network if self.source.network else trunks.headless(network)
        pixels = keras.Input(spec.shape, dtype="uint8", name="pixels")
        x = trunks.adapted(pixels, trunks.taken(bare, spec, self.size))
        if "float" in bare.inputs[0].dtype:
            x = keras.layers.Rescaling(1.0, dtype="float32", name="pixels_as_floats")(x)
        if self.source.network:
            x = trunks.preprocessing(self.source.network)(x)
        trunk = trunks.copied(bare, x, weights=not self.scratch)
        x = keras.layers.Activation("linear", dtype="float32", name="features")(trunk(x))
        x = keras.layers.Dropout(self.dropout, name="features_dropout")(x) if self.dropout else x
        for number, units in enumerate(self.units, 1):
            x = self.hidden(x, units, f"hidden_{number}")
        name = f"transferred_{bare.name}"
        # A head of zeros begins without an opinion (Kolesnikov et al., Big Transfer, arXiv 1912.11370, section 3.3).
        head = {**self.kernel(), "kernel_initializer": "zeros"}
        logits = keras.layers.Dense(len(spec.classes), dtype="float32", name="logits", **head)(x)
        return keras.Model(pixels, logits, name=name)
