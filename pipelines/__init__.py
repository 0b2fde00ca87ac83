"""The stages: ingest, augment, train, evaluate. Each is a verb and runs as ``python -m pipelines.STAGE``."""
