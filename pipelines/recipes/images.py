"""Recipes that classify images.

Results are test accuracies of single runs on the real data unless said otherwise, minutes those of training on 2
cores with avx512_bf16; the README has the table with seeds and spread.
"""

from __future__ import annotations

from data.spec import DataConfig
from models.base import Model
from models.convolutional import AlexNet, LeNet5
from models.dense import MultilayerPerceptron
from models.fast import FastNetwork
from models.residual import ResNet, WideResNet
from pipelines.augmentation import Augmentation
from pipelines.recipes import recipe, space
from pipelines.settings import EarlyStopping, Optimizer, Recipe, Schedule, Stage
from pipelines.space import Choice, Float, Int, Space

SGD = {"momentum": 0.9, "nesterov": True}

# What suited a network whose filters begin as the identity.
MUON = {"matrix_ratio": 7.0, "vector_ratio": 50.0, "newton_schulz_steps": 3}


def _linear(data: str) -> Recipe:
    return Recipe(
        DataConfig(data),
        MultilayerPerceptron(units=(), initializer="glorot_uniform", l2=1e-4),
        optimizer=Optimizer("adam", 1e-3),
        schedule=Schedule("linear"),
        stages=(Stage(20),),
        batch_size=250,
    )


def _mlp(data: str) -> Recipe:
    return Recipe(
        DataConfig(data),
        MultilayerPerceptron(units=(512, 256), dropout=0.2, batch_normalization=True),
        optimizer=Optimizer("adam", 1e-3),
        schedule=Schedule("cosine", warmup=0.05),
        stages=(Stage(20),),
        batch_size=250,
    )


def _lenet(data: str, augmentation: Augmentation) -> Recipe:
    return Recipe(
        DataConfig(data),
        LeNet5(activation="relu", initializer="he_normal", pooling="max"),
        augmentation=augmentation,
        optimizer=Optimizer("adam", 2e-3),
        schedule=Schedule("cosine", warmup=0.05),
        stages=(Stage(20),),
    )


def _residual(data: str, model: Model, epochs: int) -> Recipe:
    """Both papers' training: 128 images a step, Nesterov momentum, flips and crops after padding by 4."""
    return Recipe(
        DataConfig(data),
        model,
        augmentation=Augmentation(flip="random", crop=4),
        optimizer=Optimizer("sgd", 0.1, SGD),
        schedule=Schedule("cosine", warmup=0.05),
        stages=(Stage(epochs),),
    )


@recipe
def cifar() -> Recipe:
    """The default: a small fast network on CIFAR-10, 91.6 % in 5 minutes.

    Validation looks poor until the last stage: networks see small images first and are validated at full size.
    """
    return Recipe(
        DataConfig("cifar10"),
        FastNetwork(),
        augmentation=Augmentation(flip="alternate", crop=2),
        optimizer=Optimizer("filter_muon", 0.15, {"matrix_ratio": 4.7, "vector_ratio": 6.7}),
        schedule=Schedule("linear"),
        # Small images first: an epoch at 20 pixels costs a third of one at 32.
        stages=(Stage(4, image_size=20), Stage(2, image_size=26), Stage(2)),
        batch_size=500,
        label_smoothing=0.2,
    )


@recipe
def cifar_94() -> Recipe:
    """A larger network than the default, on all 50,000 images: 93.8 % averaged over views (--tta), 13 minutes.

    Mean of five seeds, on an H100; the minutes are those of a machine at half of the speed of the README's table.
    --data.validation 5000 spares some images.
    """
    return Recipe(
        DataConfig("cifar10", validation=0),
        FastNetwork(filters=(64, 192, 384), identity=True, whitening_bias=False, activation="silu", deviation=1.7),
        augmentation=Augmentation(flip="alternate", crop=2),
        optimizer=Optimizer("filter_muon", 0.2, MUON, weight_decay=0.13),
        schedule=Schedule("linear"),
        stages=(Stage(2, image_size=20), Stage(4, image_size=26), Stage(4)),
        batch_size=1000,
        label_smoothing=0.2,
    )


@recipe
def cifar100_fast() -> Recipe:
    """A wider and deeper network of the same family on CIFAR-100, for an hour on 2 cores.

    48 minutes by its steps, measured on images of CIFAR-10 and a machine at half of the speed of the README's table. It
    has not been trained as a whole on the real data.
    """
    return Recipe(
        DataConfig("cifar100"),
        FastNetwork(filters=(96, 256, 512), depth=3, identity=True, whitening_bias=False),
        augmentation=Augmentation(flip="alternate", crop=3),
        optimizer=Optimizer("filter_muon", 0.2, MUON),
        schedule=Schedule("linear"),
        stages=(Stage(5, image_size=20), Stage(6, image_size=26), Stage(6)),
        batch_size=1000,
        label_smoothing=0.2,
    )


@recipe
def cifar_linear() -> Recipe:
    """A single softmax layer on the pixels of CIFAR-10: 40.5 %."""
    return _linear("cifar10")


@recipe
def cifar_mlp() -> Recipe:
    """A multi-layer perceptron on CIFAR-10: 58.1 % in a minute."""
    return _mlp("cifar10")


@recipe
def cifar_lenet() -> Recipe:
    """LeNet-5 with rectifiers and max pooling on CIFAR-10, with flips and shifts: 68.3 %."""
    return _lenet("cifar10", Augmentation(flip="random", crop=2))


@recipe
def cifar_resnet() -> Recipe:
    """ResNet-20 on CIFAR-10, 30 epochs: 89.7 %; --model.depth 32, 44, 56 for deeper ones.

    The paper trains for 164 epochs to 91.25 %; here they come to 92.2 % (--epochs 164), for a GPU.
    """
    return _residual("cifar10", ResNet(), 30)


@recipe
def cifar_wideresnet() -> Recipe:
    """Wide ResNet 16-4 on CIFAR-10 with cutout, 60 epochs: 94.2 %; for a GPU.

    About 200 epochs (--epochs 200) repeat the paper's training.
    """
    return _residual("cifar10", WideResNet(), 60)


@recipe
def cifar_alexnet() -> Recipe:
    """AlexNet on CIFAR-10 enlarged to 72 pixels, by random patches of 64 and their mirror images: 80.9 %; for a GPU.

    At the paper's own size: --augmentation.resize 256 --augmentation.patch 224.
    """
    return Recipe(
        DataConfig("cifar10"),
        AlexNet(),
        augmentation=Augmentation(resize=72, patch=64, flip="random"),
        optimizer=Optimizer("sgd", 0.01, SGD, weight_decay=5e-4),
        schedule=Schedule("plateau", warmup=0.02),
        early_stopping=EarlyStopping(patience=8),
        stages=(Stage(60),),
    )


@recipe
def cifar100_resnet() -> Recipe:
    """ResNet-20 on CIFAR-100."""
    return _residual("cifar100", ResNet(), 30)


@recipe
def cifar100_wideresnet() -> Recipe:
    """Wide ResNet 16-4 on CIFAR-100; for a GPU."""
    return _residual("cifar100", WideResNet(), 60)


@recipe
def svhn_lenet() -> Recipe:
    """LeNet-5 on the cropped digits of SVHN; --data.name svhn-extra adds half a million easier ones."""
    return _lenet("svhn", Augmentation(crop=2))


@recipe
def svhn_resnet() -> Recipe:
    """ResNet-20 on the cropped digits of SVHN."""
    return _residual("svhn", ResNet(), 20)


@recipe
def mnist_linear() -> Recipe:
    """A single softmax layer on MNIST."""
    return _linear("mnist")


@recipe
def mnist_mlp() -> Recipe:
    """A multi-layer perceptron on MNIST."""
    return _mlp("mnist")


@recipe
def mnist_lenet() -> Recipe:
    """LeNet-5 with rectifiers and max pooling on MNIST, with shifts by up to 2 pixels."""
    return _lenet("mnist", Augmentation(translation=2))


@recipe
def mnist_fast() -> Recipe:
    """The fast network on all 60,000 images of MNIST, turned, scaled, distorted: 99.71 %, an ensemble of 5 99.76 %."""
    return Recipe(
        DataConfig("mnist", validation=0),
        FastNetwork(filters=(48, 96, 192), identity=True, whitening_bias=False),
        augmentation=Augmentation(translation=2, rotation=15, zoom=0.12, elastic=10),
        optimizer=Optimizer("filter_muon", 0.1, MUON | {"vector_ratio": 7.0}),
        schedule=Schedule("linear"),
        stages=(Stage(10, image_size=20), Stage(8)),
        batch_size=500,
        label_smoothing=0.1,
    )


@recipe
def fashion_lenet() -> Recipe:
    """LeNet-5 on Fashion-MNIST."""
    return _lenet("fashion_mnist", Augmentation(translation=1))


@recipe
def digits_mlp() -> Recipe:
    """A perceptron on scikit-learn's digits: a quick look, seconds on embedded data."""
    return Recipe(
        DataConfig("digits", validation=0.2),
        MultilayerPerceptron(units=(64,)),
        optimizer=Optimizer("adam", 3e-3),
        stages=(Stage(20),),
        batch_size=64,
    )


@space("digits-mlp")
def digits_mlp_space() -> Space:
    """Optimizer and size: minutes for twenty trials."""
    return {
        "optimizer.name": Choice(("adam", "sgd")),
        "optimizer.learning_rate": Float(1e-4, 1e-1, log=True),
        "optimizer.arguments.momentum": Float(0.0, 0.9, step=0.3, when=("optimizer.name", ("sgd",))),
        "model.units.0": Int(16, 256, log=True),
        "model.dropout": Float(0.0, 0.5, step=0.1),
    }


@recipe
def mnist_hidden() -> Recipe:
    """One hidden layer on MNIST by gradient descent, for the study of its hyperparameters: make tune-mnist-hidden."""
    return Recipe(
        DataConfig("mnist"),
        MultilayerPerceptron(units=(100,), l2=1e-4),
        optimizer=Optimizer("sgd", 1e-2, {"momentum": 0.9}),
        stages=(Stage(10),),
    )


@space("mnist-hidden")
def mnist_hidden_space() -> Space:
    """A lecture's study: learning rate, L2 penalty and hidden units, each over some powers of ten."""
    return {
        "optimizer.learning_rate": Float(1e-3, 1e-1, log=True),
        "model.l2": Float(1e-6, 1e-1, log=True),
        "model.units.0": Int(10, 1000, log=True),
    }


@space("cifar")
def cifar_space() -> Space:
    """What matters most for the default."""
    return {
        "optimizer.learning_rate": Float(0.03, 0.6, log=True),
        "label_smoothing": Float(0.0, 0.3, step=0.1),
        "batch_size": Choice((250, 500, 1000)),
        "augmentation.crop": Int(0, 4, step=1),
    }
