"""The standard sweep without tracking: the same imports, data, fits and plots, in as many processes. For comparison."""

import tempfile
from pathlib import Path

from trainer.config.variant import STANDARD_VARIANTS, Variant, make_variant
from trainer.data.dataset import Dataset
from trainer.data.sources import load_data
from trainer.parallel.pool import ProcessPool
from trainer.util.processors import available_cpus


def train(variant: Variant, dataset: Dataset) -> float:
    """Fits one variant and draws its pictures; returns its average precision."""
    from trainer import plots
    from trainer.training.fit import fit_variant

    fitted = fit_variant(variant.params, dataset, seed=42, validation_size=0.2)
    with tempfile.TemporaryDirectory() as folder:
        plots.write_run_plots(Path(folder), variant.name, dataset, fitted)
    return fitted.test["average_precision"]


def main() -> None:
    """Trains the standard variants as `trainer sweep` does."""
    processes = ProcessPool(available_cpus(), preload=["trainer.runs.preload"])
    processes.warm_up()
    dataset = load_data()
    # The longest first, as the sweep does.
    variants = [make_variant(overrides) for overrides in reversed(STANDARD_VARIANTS)]
    for outcome in processes.map(train, variants, dataset):
        if outcome.error:
            raise outcome.error
        print(outcome.item.name, outcome.answer)


if __name__ == "__main__":
    main()
