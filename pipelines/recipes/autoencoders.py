"""Recipes that give images back out of a code.

Results are those of single runs on the real data, measured on the test set: mean squared errors on the scale 0 to 1.
"""

from __future__ import annotations

from data.spec import DataConfig
from models.autoencoders import (
    Autoencoder,
    ConvolutionalAutoencoder,
    ConvolutionalVariationalAutoencoder,
    DenseAutoencoder,
    LinearAutoencoder,
    VariationalAutoencoder,
)
from models.corruption import Corruption
from pipelines.recipes import recipe
from pipelines.settings import Optimizer, Recipe, Schedule, Stage


def _autoencoder(data: str, model: Autoencoder, epochs: int, rate: float = 2e-3) -> Recipe:
    return Recipe(
        DataConfig(data),
        model,
        optimizer=Optimizer("adam", rate),
        schedule=Schedule("linear", warmup=0.02),
        stages=(Stage(epochs),),
        batch_size=250,
    )


@recipe
def autoencoder() -> Recipe:
    """The default: fully connected, 32 numbers for a digit of MNIST."""
    return _autoencoder("mnist", DenseAutoencoder(), 20)


@recipe
def autoencoder_linear() -> Recipe:
    """One linear layer each way on MNIST, which finds the subspace of as many principal components."""
    return Recipe(
        DataConfig("mnist"),
        LinearAutoencoder(),
        optimizer=Optimizer("adam", 5e-3),
        schedule=Schedule("cosine", warmup=0.02),
        stages=(Stage(30),),
        batch_size=500,
        precision="float32",  # the 32nd and the 33rd component differ by little
    )


@recipe
def autoencoder_convolutional() -> Recipe:
    """Convolutions on MNIST, 32 numbers for a digit."""
    return _autoencoder("mnist", ConvolutionalAutoencoder(), 10)


@recipe
def autoencoder_denoising() -> Recipe:
    """Fully connected, takes Gaussian noise of deviation 0.5 off MNIST."""
    return _autoencoder("mnist", DenseAutoencoder(corruption=Corruption("gaussian", 0.5)), 20)


@recipe
def autoencoder_sparse() -> Recipe:
    """1,024 rectifiers on MNIST, few active, by an L1 penalty on their values; --model.l1-code 0 for comparison."""
    # The penalty on weights keeps small codes from being decoded by large weights.
    penalties = {"l1_code": 3e-4, "l2": 1e-6}
    model = DenseAutoencoder(1024, units=(512,), code_activation="relu", batch_normalization=True, **penalties)
    return _autoencoder("mnist", model, 12)


@recipe
def autoencoder_sparse_kl() -> Recipe:
    """256 sigmoids on MNIST, few of them active, by a penalty on their mean rates."""
    model = DenseAutoencoder(256, units=(), code_activation="sigmoid", kl_sparsity=2e-3, target_rate=0.025)
    return _autoencoder("mnist", model, 20, 4e-3)


@recipe
def autoencoder_features() -> Recipe:
    """Puts back digits of MNIST that were moved, slanted and partly blackened: its code tells them apart best."""
    moved = Corruption("masking", 0.3, translation=4, shear=0.35)
    return _autoencoder("mnist", DenseAutoencoder(units=(1000, 500), corruption=moved), 20)


@recipe
def vae() -> Recipe:
    """A variational autoencoder of binary MNIST; draws digits, too."""
    return _autoencoder("mnist-binary", VariationalAutoencoder(), 40)


@recipe
def vae_convolutional() -> Recipe:
    """The same with convolutions."""
    return _autoencoder("mnist-binary", ConvolutionalVariationalAutoencoder(), 10)


@recipe
def fashion_autoencoder() -> Recipe:
    """Convolutions on Fashion-MNIST."""
    return _autoencoder("fashion_mnist", ConvolutionalAutoencoder(), 10)


@recipe
def cifar_autoencoder() -> Recipe:
    """Convolutions on CIFAR-10, 128 numbers for an image."""
    return _autoencoder("cifar10", ConvolutionalAutoencoder(128, filters=(32, 64, 128)), 10)
