"""What :mod:`benchmarks.fuzz` tries, and what it tries it on."""

from benchmarks.fuzzing import archives, files, served
from benchmarks.fuzzing.oracle import Target

TARGETS: dict[str, Target] = {target.name: target for target in (*archives.TARGETS, *files.TARGETS, *served.TARGETS)}
