"""What differs between the tasks: what the network gets and is compared with, loss, metrics, the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from data.errors import BadInput
from pipelines.augmentation import Moment, scaled
from pipelines.kinds import Images, Texts

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from data.spec import Spec, Split, Splits
    from pipelines.reports import Report
    from pipelines.servable import Servable
    from pipelines.settings import Recipe

Batch = tuple[np.ndarray, ...]
"""Inputs and targets, and weights of the examples where they have some."""

SHOWN = 10
"""Validation images whose reconstruction is shown after each epoch."""

SAMPLE = 5_000
"""Training images that the loss of the mean image is measured on, at most."""

VALUES = 2**26
"""Pixels times channels of these, at most: a quarter of a gigabyte."""

CORRUPTION = 2
"""Stream of random numbers apart from that of augmentation."""


class Task(Protocol):
    """A recipe's task on its data."""

    name: str
    kind: str
    """Of the data: images or text."""
    averages: bool
    """Whether outputs can be averaged over several views of an input."""
    seen: Spec
    """What the network is built for: the data as augmentation leaves them."""

    def __init__(self, recipe: Recipe, splits: Splits) -> None:
        """Bind a recipe to its data.

        Raises:
            BadInput: they do not fit.
        """

    def training(self, raw: np.ndarray, labels: np.ndarray, moment: Moment) -> Batch:
        """What a step learns from.

        Args:
            raw: inputs as the data hold them, (N, ...).
            labels: (N,).
            moment: decides all that is random.
        """

    def evaluation(self, raw: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
        """What validation measures; nothing in it is random, also where the rows (N,) decide how inputs are spoilt."""

    def lengths(self, split: Split) -> np.ndarray | None:
        """The length of each example, (N,), where they differ: batches then hold those of similar length."""

    def on_raw(self, network: keras.Model) -> keras.Model:
        """The network for inputs as the data hold them."""

    def loss(self) -> keras.losses.Loss:
        """What training lowers."""

    def metrics(self) -> list[keras.metrics.Metric]:
        """What is shown and recorded by epoch beside the loss."""

    def chance(self) -> tuple[float, str]:
        """The loss of a network that knows nothing, and how it is had."""

    def by_heart(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics of an epoch are those of a network that knows its training examples by heart."""

    def serving(self) -> dict[str, object]:
        """What :mod:`pipelines.servable` must know: ``output``, and what the raw inputs are."""

    def snapshot(self, network: keras.Model) -> dict[str, Figure]:
        """Pictures of what a network does, by name: untrained, and after each epoch."""

    def report(self, model: Servable, averaged: bool) -> Report:
        """Metrics, tables and figures of the recorded model on the test set; averaged: over views of it, too."""


class Classifying:
    """One class for each input."""

    def __init__(self, recipe: Recipe, splits: Splits) -> None:
        super().__init__(recipe, splits)
        classes = len(splits.spec.classes)
        if classes < 2:
            raise BadInput("has one class only", splits.name, "a classifier needs two or more")
        self._rows = np.eye(classes, dtype=np.float32)
        shares = np.bincount(splits.train.labels, minlength=classes) / len(splits.train)
        weights = np.maximum(shares, 1e-12) ** -recipe.balance
        self._weights = (weights / (shares @ weights)).astype(np.float32)

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> Batch:
        """Inputs of the network as they are, and what a step compares their outputs with."""
        return self._weighted(inputs, self._rows[labels])

    def measured(self, inputs: np.ndarray, labels: np.ndarray) -> Batch:
        """The same for validation: without weights."""
        return inputs, self._rows[labels]

    def _weighted(self, inputs: np.ndarray, targets: np.ndarray) -> Batch:
        """With the weights of the classes, blended as MixUp and CutMix blend the classes."""
        return (inputs, targets, targets @ self._weights) if self.recipe.balance else (inputs, targets)

    def loss(self) -> keras.losses.Loss:
        """Cross-entropy of logits."""
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.recipe.label_smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Accuracy; under MixUp and CutMix against the class with the larger share."""
        import keras

        return [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def chance(self) -> tuple[float, str]:
        """The same probability for every class."""
        count = len(self.spec.classes)
        return math.log(count), f"ln {count}"

    def by_heart(self, metrics: dict[str, float]) -> bool:
        """All but one in a hundred are right."""
        return metrics["train/accuracy"] >= 0.99

    def serving(self) -> dict[str, object]:
        """Logits become probabilities."""
        return {**super().serving(), "output": "softmax"}

    def snapshot(self, network: keras.Model) -> dict[str, Figure]:
        """Nothing: the metrics say it all."""
        return {}


class Classification(Classifying, Images):
    """Images of one class each."""

    name = "classification"
    averages = True

    def training(self, raw: np.ndarray, labels: np.ndarray, moment: Moment) -> Batch:
        """Augmented images, and a row of probabilities for each, so that MixUp and CutMix can blend them."""
        return self._weighted(*self.augmentation(raw, self._rows[labels], moment))

    def evaluation(self, raw: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
        """Images as they are."""
        return self.measured(self.augmentation.evaluation_view(raw), labels)

    def report(self, model: Servable, averaged: bool) -> Report:
        """See :mod:`pipelines.reports.classification`."""
        from pipelines import views
        from pipelines.reports import autoencoding, classification

        test = self.splits.test
        batches = autoencoding.batches(len(test))
        probabilities = np.concatenate([model.predict(test.inputs[rows]) for rows in batches])
        found = classification.report(probabilities, test, self.spec, self.splits.notice)
        if averaged:
            mirrored = self.augmentation.flip != "none"
            means = [views.predict_averaged(model, test.inputs[rows], mirrored) for rows in batches]
            classification.add_averaged(found, np.concatenate(means), test.labels)
        return found


class SequenceClassification(Classifying, Texts):
    """Texts of one class each."""

    name = "sequence"
    averages = False

    def training(self, raw: np.ndarray, labels: np.ndarray, moment: Moment) -> Batch:
        """Numbers of characters, and a row of probabilities for each text."""
        return self.learned(self.encoded(raw), labels)

    def evaluation(self, raw: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
        """The same, without weights."""
        return self.measured(self.encoded(raw), labels)

    def report(self, model: Servable, averaged: bool) -> Report:
        """See :mod:`pipelines.reports.classification`."""
        from pipelines.reports import classification

        test = self.splits.test
        return classification.report(
            model.predict(test.inputs[np.arange(len(test))]), test, self.spec, self.splits.notice
        )


class Autoencoding(Images):
    """Images that are to be given back."""

    name = "autoencoding"
    averages = False

    def __init__(self, recipe: Recipe, splits: Splits) -> None:
        super().__init__(recipe, splits)
        view = self.augmentation
        if recipe.label_smoothing or recipe.balance or view.mixup or view.cutmix:
            flags = "--label-smoothing, --balance, --augmentation.mixup, --augmentation.cutmix"
            raise BadInput("an autoencoder sees no labels", flags, "set them to 0")
        if view.resize or view.patch:
            what = "an autoencoder gives images back in their own size"
            raise BadInput(what, "--augmentation.resize, --augmentation.patch", "set them to 0")
        if recipe.early_stopping.monitor != "loss":
            raise BadInput("an autoencoder has no accuracy", "--early-stopping.monitor", "set it to loss")

    def training(self, raw: np.ndarray, labels: np.ndarray, moment: Moment) -> Batch:
        """Images, spoilt where the model is to mend them, and the same unspoilt on the scale 0 to 1."""
        images, _ = self.augmentation(raw, labels, moment)
        return self.recipe.model.corruption(images, moment.generator(CORRUPTION)), scaled(images)

    def evaluation(self, raw: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
        """The same, each row spoilt always in the same way."""
        return self.recipe.model.corruption.fixed(raw, rows), scaled(raw)

    def loss(self) -> keras.losses.Loss:
        """As the model says."""
        return self.recipe.model.loss()

    def metrics(self) -> list[keras.metrics.Metric]:
        """None: a model's layers log what its loss has beside the reconstruction."""
        return []

    def chance(self) -> tuple[float, str]:
        """The loss of giving back the mean image, over a sample of the training images."""
        import keras
        from scipy.special import logit

        train = self.splits.train
        images = scaled(train.inputs[np.arange(min(SAMPLE, VALUES // math.prod(self.spec.shape), len(train)))])
        mean = np.clip(images.mean(axis=0), 1e-6, 1 - 1e-6)
        output = np.broadcast_to(logit(mean) if self.recipe.model.output == "sigmoid" else mean, images.shape)
        return float(keras.ops.convert_to_numpy(self.loss()(images, output))), "the mean image"

    def by_heart(self, metrics: dict[str, float]) -> bool:
        """A code is too short for every detail; three quarters of what the mean image leaves is much."""
        return metrics["train/loss"] < self.chance()[0] / 4

    def serving(self) -> dict[str, object]:
        """Outputs become pixels."""
        return {**super().serving(), "output": self.recipe.model.output}

    def snapshot(self, network: keras.Model) -> dict[str, Figure]:
        """The first validation images beside their reconstructions."""
        from pipelines.reports import autoencoding

        part = self.splits.val if len(self.splits.val) else self.splits.train
        images = part.inputs[np.arange(min(SHOWN, len(part)))]
        drawn = autoencoding.snapshot(network, self.recipe.model, images, self.splits.notice)
        return {"reconstructions": drawn}

    def report(self, model: Servable, averaged: bool) -> Report:
        """See :mod:`pipelines.reports.autoencoding`."""
        from pipelines.reports import autoencoding

        return autoencoding.report(model.network, self.recipe.model, self.splits, self.splits.notice)


TASKS: dict[str, type[Task]] = {task.name: task for task in (Classification, SequenceClassification, Autoencoding)}


def bind(recipe: Recipe, splits: Splits) -> Task:
    """The task of a recipe's model on these data.

    Raises:
        BadInput: the model takes another kind of data.
    """
    task = TASKS[recipe.model.task]
    if task.kind != splits.spec.kind:
        what = f"{type(recipe.model).__name__} takes {task.kind}, and {splits.name} holds {splits.spec.kind}"
        raise BadInput(what, "--data.name", "choose other data, or another recipe")
    return task(recipe, splits)
