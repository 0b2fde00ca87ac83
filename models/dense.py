"""Networks of fully connected layers: multinomial logistic regression and the multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.base import Regularized, images

if TYPE_CHECKING:
    import keras

    from data.spec import Spec


@dataclass(frozen=True)
class MultilayerPerceptron(Regularized):
    """Fully connected layers one after the other; without hidden ones, a single softmax layer."""

    units: tuple[int, ...] = (512, 256)
    """Units of each hidden layer; () is multinomial logistic regression."""

    def build(self, spec: Spec) -> keras.Model:
        """See :meth:`models.base.Model.build`."""
        import keras

        pixels, x = images(spec)
        x = keras.layers.Flatten(name="flatten")(x)
        for number, units in enumerate(self.units, 1):
            x = self.hidden(x, units, f"hidden_{number}")
        return keras.Model(pixels, self.logits(x, len(spec.classes)), name="multilayer_perceptron")
