"""How long an epoch of a recurrent network takes with Keras' layers, with ours, and with PyTorch's.

usage: python -m benchmarks.recurrent_speed [EPOCHS] [PYTHON]

The network: characters embedded in 64 numbers, two bidirectional layers of GRU(128), the last states, a linear layer;
float32, Adam, batches of 128. Each contender is a process of its own, which loads, trains one epoch to warm up, and
then waits for its turn: an epoch of each, one after the other, EPOCHS times (3), so that all meet the same other load.

PyTorch is looked for in PYTHON, this program's own interpreter by default (pip install ".[benchmark]").
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BATCH, EMBEDDING, UNITS, LONGEST = 128, 64, 128, 20

CONTENDERS = {
    "keras": "keras.layers.GRU, padded to 20, masked",
    "keras_similar": "keras.layers.GRU, similar lengths, masked",
    "keras_threads": "the same, threads as ours",
    "ours": "models.recurrent.Recurrent, similar lengths, a thread for each operation",
    "torch_packed": "torch.nn.GRU, padded, pack_padded_sequence",
    "torch_similar": "torch.nn.GRU, similar lengths, packed",
    "torch_one": "the same, one thread",
}


def names() -> dict:
    """Ids, labels and their numbers of the dataset if it is here, else random ones of the same lengths."""
    import data
    from data.errors import BadInput
    from data.spec import DataConfig
    from data.text import encode

    try:
        splits = data.load(DataConfig("names", source="local", validation=0.0))
        ids, labels = encode(splits.train.inputs[:], splits.spec)[:, :LONGEST], np.asarray(splits.train.labels)
        return {"data": "names", "ids": ids, "labels": labels, "characters": len(splits.spec.vocabulary) + 2}
    except BadInput:
        generator = np.random.default_rng(0)
        lengths = np.clip(np.rint(generator.gamma(13.0, 7.3 / 13.0, 14_400)), 2, LONGEST)
        ids = generator.integers(2, 84, (len(lengths), LONGEST)) * (np.arange(LONGEST) < lengths[:, None])
        return {"data": "random", "ids": ids, "labels": generator.integers(0, 18, len(ids)), "characters": 84}


def batches(ids: np.ndarray, labels: np.ndarray, similar: bool, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An epoch of shuffled batches; those of similar lengths are as long as their longest text."""
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(ids))[: len(ids) // BATCH * BATCH]
    lengths = np.count_nonzero(ids, axis=1)
    if similar:
        rows = rows[np.argsort(lengths[rows], kind="stable")]
    for batch in generator.permutation(rows.reshape(-1, BATCH)):
        length = lengths[batch].max() if similar else LONGEST
        yield np.pad(ids[batch], ((0, 0), (0, LONGEST)))[:, :length], labels[batch]


def keras_epoch(contender: str, texts: dict) -> Callable[[int], float]:
    """A function that trains an epoch and gives its mean loss; on TensorFlow."""
    import keras
    import tensorflow as tf

    from pipelines.fitting import devices

    if contender in ("ours", "keras_threads"):
        devices.suit_small_operations()
    keras.utils.set_random_seed(0)
    classes = int(texts["labels"].max()) + 1
    if contender == "ours":
        from data.spec import Spec
        from models.recurrent import Recurrent

        vocabulary = tuple(map(chr, range(texts["characters"] - 2)))
        model = Recurrent("gru", UNITS, layers=2, embedding=EMBEDDING)
        network = model.build(Spec("text", tuple(map(str, range(classes))), vocabulary=vocabulary, longest=LONGEST))
    else:
        layers = keras.layers
        network = keras.Sequential(
            [
                layers.Embedding(texts["characters"], EMBEDDING, mask_zero=True),
                layers.Bidirectional(layers.GRU(UNITS, return_sequences=True)),
                layers.Bidirectional(layers.GRU(UNITS)),
                layers.Dense(classes),
            ]
        )
    similar = contender != "keras"
    network.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    signature = (tf.TensorSpec((None, None if similar else LONGEST), "int32"), tf.TensorSpec((None,), "int32"))
    options = tf.data.Options()
    options.autotune.enabled = False

    def epoch(seed: int) -> float:
        stream = lambda: batches(texts["ids"], texts["labels"], similar, seed)  # noqa: E731
        dataset = tf.data.Dataset.from_generator(stream, output_signature=signature).with_options(options)
        steps = len(texts["ids"]) // BATCH
        return network.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0).history["loss"][0]

    return epoch


def torch_epoch(contender: str, texts: dict) -> Callable[[int], float]:
    """The same in PyTorch."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    torch.manual_seed(0)
    if contender == "torch_one":
        torch.set_num_threads(1)
    embedding = torch.nn.Embedding(texts["characters"], EMBEDDING, padding_idx=0)
    recurrence = torch.nn.GRU(EMBEDDING, UNITS, num_layers=2, bidirectional=True, batch_first=True)
    head = torch.nn.Linear(2 * UNITS, int(texts["labels"].max()) + 1)
    optimizer = torch.optim.Adam([*embedding.parameters(), *recurrence.parameters(), *head.parameters()], 1e-3)

    def epoch(seed: int) -> float:
        losses = []
        for ids, labels in batches(texts["ids"], texts["labels"], contender != "torch_packed", seed):
            lengths = torch.from_numpy(np.count_nonzero(ids, axis=1))
            embedded = embedding(torch.from_numpy(ids))
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            states = recurrence(packed)[1]
            logits = head(torch.cat([states[-2], states[-1]], 1))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return statistics.mean(losses)

    return epoch


def contend(contender: str, path: str) -> None:
    """The process of one contender: after each line that it reads, an epoch, and a line with its times and loss."""
    with np.load(path) as file:
        texts = {"ids": file["ids"].astype(np.int32), "labels": file["labels"].astype(np.int32)}
        texts["characters"] = int(file["characters"])
    epoch = (torch_epoch if contender.startswith("torch") else keras_epoch)(contender, texts)
    for number, _ in enumerate(sys.stdin):
        wall, processor = time.perf_counter(), time.process_time()
        loss = epoch(number)
        measured = (time.perf_counter() - wall, time.process_time() - processor, loss)
        print(json.dumps(measured), flush=True)


def turn(process: subprocess.Popen) -> list[float]:
    """Let a contender train an epoch: seconds, seconds of processors, loss."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def compete(contenders: dict[str, str], epochs: int, path: str) -> dict[str, list[list[float]]]:
    """Epochs of all contenders in turn, by contender; the first one is not counted."""
    running = {}
    try:
        for contender, python in contenders.items():
            command = [python, "-W", "ignore", __file__, "--contender", contender, path]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            running[contender] = subprocess.Popen(command, text=True, **pipes)
            turn(running[contender])
        rounds = [{contender: turn(process) for contender, process in running.items()} for _ in range(epochs)]
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return {contender: [each[contender] for each in rounds] for contender in running}


def main(arguments: list[str]) -> None:
    epochs = int(arguments[0]) if arguments else 3
    python = arguments[1] if len(arguments) > 1 else sys.executable
    from rich.console import Console
    from rich.table import Table

    texts = names()
    has_torch = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    pythons = {name: python if name.startswith("torch") else sys.executable for name in CONTENDERS}
    entered = {name: path for name, path in pythons.items() if has_torch or not name.startswith("torch")}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "texts.npz")
        np.savez(path, **texts)
        measured = compete(entered, epochs, path)
    mean = np.count_nonzero(texts["ids"], axis=1).mean()
    title = (
        f"two-layer bidirectional GRU(128), batch 128, {len(texts['ids']):,} {texts['data']} of {mean:.1f} characters"
    )
    table = Table(title=title, title_justify="left")
    for column in ("", "s an epoch", "spread", "ratio", "processor s", "ratio", "loss"):
        table.add_column(column, justify="right" if column else "left")
    medians = {name: np.median(values, axis=0) for name, values in measured.items()}
    for name, values in measured.items():
        (wall, processor, _), first = medians[name], medians["keras"]
        walls = [value[0] for value in values]
        ratios = [f"{first[0] / wall:.2f}", f"{processor:.2f}", f"{first[1] / processor:.2f}"]
        table.add_row(
            CONTENDERS[name], f"{wall:.2f}", f"{min(walls):.2f}–{max(walls):.2f}", *ratios, f"{values[-1][2]:.3f}"
        )
    Console().print(table)
    if not has_torch:
        Console().print(f'no line for PyTorch: {python} has no torch (pip install ".[benchmark]")')


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        contend(*sys.argv[2:])
    else:
        from pipelines import command

        command.main(main)
