"""The standard sweep without tracking: the same imports, data, fits and plots, in as many processes. For comparison."""

import tempfile
from pathlib import Path

from trainer.config import parameters as params
from trainer.data import sources as data
from trainer.parallel import pool as engine


def train(variant: params.Variant, dataset: data.Dataset) -> float:
    """Fits one variant and draws its pictures; returns its average precision."""
    from trainer import plots
    from trainer.training import fit

    fitted = fit.fit(variant.params, dataset, seed=42, validation_size=0.2)
    with tempfile.TemporaryDirectory() as folder:
        plots.write_run(Path(folder), variant.name, dataset, fitted)
    return fitted.test["average_precision"]


def main() -> None:
    """Trains the standard variants as `trainer sweep` does."""
    processes = engine.Engine(engine.available_cpus(), preload=["trainer.runs.preload"])
    processes.warm_up()
    dataset = data.load()
    # The longest first, as the sweep does.
    variants = [params.variant(overrides) for overrides in reversed(params.STANDARD_VARIANTS)]
    for outcome in processes.map(train, variants, dataset):
        if outcome.error:
            raise outcome.error
        print(outcome.item.name, outcome.answer)


if __name__ == "__main__":
    main()
