"""All that a training imports: :mod:`pipelines.isolation` lets processes begin with it, and nobody else needs this."""

# ruff: noqa: F401

from contextlib import suppress

from pipelines import command

with command.importing():
    import grain
    import matplotlib.pyplot
    import sklearn.metrics

    import data
    import models
    from pipelines import evaluation, recipes, reports, servable, sources, training, views
    from pipelines.fitting import trainer
    from pipelines.reports import autoencoding, classification
    from pipelines.tracking import runs, store

    store.import_mlflow()
    data.datasets()
    models.import_all()
    with suppress(ImportError):  # it looks for the program
        import git
