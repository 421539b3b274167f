"""The command line. Imports nothing heavy until a command has its options, so that ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from trainer import params
from trainer.errors import InputError, TrainerError, disk_full, one_line
from trainer.params import PARAMETERS, Parameter, Value
from trainer.signals import exit_code, interruptible

if TYPE_CHECKING:
    from trainer.data import Dataset
    from trainer.registry import Registration
    from trainer.run import Plan, Result
    from trainer.tracking import Target

Function = TypeVar("Function", bound=Callable[..., Any])

EXPERIMENT = "purchase_predict"
MODEL = "purchase_predict"
_WIDTH = {"max_content_width": 110, "help_option_names": ["-h", "--help"]}


class GroupedOption(click.Option):
    """An option that the help lists under a heading."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def _text(help_: str | None) -> str | None:
    """Return a raw docstring as click wants it: a backspace marks a paragraph whose lines stay as they are."""
    return help_ and help_.replace("\\b\n", "\b\n")


class GroupedCommand(click.Command):
    """A command whose help lists its options under their headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": _text(kwargs.get("help"))})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, heading by heading, in the order of their declaration."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            # Arguments have a heading of click's own.
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class DefaultGroup(click.Group):
    """A group in which ``trainer [OPTIONS]`` means ``trainer train [OPTIONS]``."""

    default = "train"
    #: Commands in modules of their own, which are loaded when they are needed.
    elsewhere: Mapping[str, str] = {
        "search": "trainer.search_command",
        "promote": "trainer.promote_command",
        "predict": "trainer.predict_command",
        "compare": "trainer.compare_command",
        "push": "trainer.push_command",
        "verify": "trainer.verify_command",
        "serve": "trainer.serve_command",
    }
    own = frozenset({"-h", "--help", "--version"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": _text(kwargs.get("help"))})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front of options that come without a command."""
        if not args or (args[0].startswith("-") and args[0] not in self.own):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names, in the order of the help."""
        return [*super().list_commands(ctx), *(name for name in self.elsewhere if name not in self.commands)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: the help's text lists the commands, with what each takes."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one from elsewhere is imported first."""
        if cmd_name in self.elsewhere and cmd_name not in self.commands:
            import importlib

            module = importlib.import_module(self.elsewhere[cmd_name])
            self.add_command(getattr(module, f"{cmd_name}_command"))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; an unknown one is answered with the nearest."""
        known = self.list_commands(ctx)
        if args and args[0] not in known:
            close = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the commands are {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


class ParameterType(click.ParamType[Value]):
    """Checks a LightGBM parameter's value by its row in the table of parameters."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        self.name = parameter.kind.__name__

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return how the help shows the value."""
        if self.parameter.choices:
            return "|".join(self.parameter.choices)
        return {int: "INT", float: "NUM"}.get(self.parameter.kind, "TEXT")

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Value:  # noqa: ARG002
        """Return the value in the parameter's type."""
        return self.parameter.parse(value, self.parameter.option)


class Share(click.ParamType[float]):
    """A share of the rows: above 0 and below 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        """Return the share as a number."""
        try:
            number = float(str(value))
        except ValueError:
            number = -1.0
        if not 0 < number < 1:
            name = param.opts[0] if param is not None else "share"
            raise InputError(f"{name}: {str(value)!r} is not allowed; it must be a number above 0 and below 1")
        return number


def _option(*names: str, group: str, env: str | None, **kwargs: Any) -> Callable[[Function], Function]:
    return click.option(*names, cls=GroupedOption, group=group, envvar=env, show_envvar=env is not None, **kwargs)


tracking_uri_option = _option(
    "--tracking-uri",
    group="Tracking",
    env="MLFLOW_TRACKING_URI",
    help="The MLflow server. Without one, mlflow.db in the working directory.",
)
wait_option = _option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    group="Tracking",
    env="TRAINER_WAIT",
    help="Seconds to wait for the server.",
)
json_option = _option(
    "--json", "as_json", is_flag=True, group="Output", env="TRAINER_JSON", help="Print the result as JSON."
)
debug_option = _option(
    "--debug", is_flag=True, group="Output", env="TRAINER_DEBUG", help="Show tracebacks and MLflow's own log."
)


def data_options(function: Function) -> Function:
    """Add the options that choose and split the data."""
    for decorate in reversed(
        [
            _option(
                "--data",
                type=click.Path(path_type=Path),
                group="Data",
                env="TRAINER_DATA",
                help="A folder with X_train.csv, X_test.csv, y_train.csv and y_test.csv, or one CSV or Parquet table."
                " Without data the trainer makes up web-shop sessions.",
            ),
            _option("--target", group="Data", env="TRAINER_TARGET", help="The target column of a single table."),
            _option(
                "--test-size",
                type=Share(),
                default=0.2,
                show_default=True,
                group="Data",
                env="TRAINER_TEST_SIZE",
                help="Share of a single table that is held out for the final figures.",
            ),
            _option(
                "--validation-size",
                type=Share(),
                default=0.2,
                show_default=True,
                group="Data",
                env="TRAINER_VALIDATION_SIZE",
                help="Share of the training rows that chooses the threshold and gives the loss history.",
            ),
            _option(
                "--threshold",
                default="max-f1",
                show_default=True,
                group="Data",
                env="TRAINER_THRESHOLD",
                help="Decision threshold, chosen on the validation rows: max-f1, precision>=0.8 (the highest"
                " recall that keeps it), recall>=0.9 (the highest precision that keeps it), or a number from 0 to 1.",
            ),
            _option(
                "--cv",
                "folds",
                type=click.IntRange(2, 100),
                metavar="K",
                group="Data",
                env="TRAINER_CV",
                help="Cross-validate: K stratified folds of the training rows, each left out once, choose the"
                " threshold and compare variants, in place of --validation-size; the model is then fitted to all"
                " training rows.",
            ),
            _option(
                "--seed",
                type=click.IntRange(0, 2**31 - 1),
                default=42,
                show_default=True,
                group="Data",
                env="TRAINER_SEED",
                help="Seed of the splits, the made-up sessions, and LightGBM.",
            ),
        ]
    ):
        function = decorate(function)
    return function


def server_options(function: Function) -> Function:
    """Add the options that say where the server is, and how to report."""
    return tracking_uri_option(wait_option(json_option(debug_option(function))))


def registry_options(register: bool) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of the model registry.

    Args:
        register: Whether the best model is registered by default.
    """

    def add(function: Function) -> Function:
        function = _option(
            "--model-name",
            default=MODEL,
            show_default=True,
            group="Registry",
            env="TRAINER_MODEL_NAME",
            help="The registered model; created where it does not exist.",
        )(function)
        return _option(
            "--register/--no-register",
            default=register,
            show_default=True,
            group="Registry",
            env="TRAINER_REGISTER",
            help="Register the best model as a version of the registered model, if that has not been done.",
        )(function)

    return add


def ui_option(function: Function) -> Function:
    """Add the option that says where links lead."""
    return _option(
        "--ui-url",
        group="Tracking",
        env="TRAINER_UI_URL",
        help="Where a browser finds the UI, if not at the tracking URI; for the links that are printed.",
    )(function)


def tracking_options(function: Function) -> Function:
    """Add the options that say where to track, and how to report."""
    experiment = _option(
        "--experiment",
        default=EXPERIMENT,
        show_default=True,
        group="Tracking",
        env="MLFLOW_EXPERIMENT_NAME",
        help="The experiment; created where it does not exist.",
    )
    return experiment(ui_option(server_options(function)))


def lightgbm_options(function: Function) -> Function:
    """Add an option for each of LightGBM's parameters."""
    for parameter in reversed(PARAMETERS):
        negation = f"{parameter.option}/--no-{parameter.option[2:]}"
        default = "" if parameter.default is None else f"; default {params.describe({'': parameter.default})[1:]}"
        allowed = "" if parameter.kind is bool else f" [{parameter.allowed}{default}]"
        function = click.option(
            negation if parameter.kind is bool else parameter.option,
            parameter.name,
            cls=GroupedOption,
            group=f"LightGBM: {parameter.group.lower()}",
            envvar=f"TRAINER_{parameter.name.upper()}",
            default=None,
            help=parameter.help + allowed,
            **({} if parameter.kind is bool else {"type": ParameterType(parameter)}),
        )(function)
    return function


@click.group(cls=DefaultGroup, context_settings=_WIDTH)
@click.version_option(package_name="trainer", message="trainer %(version)s")
def command() -> None:
    r"""Train LightGBM classifiers that predict a purchase, and track each variant as a run in MLflow.

    \b
    trainer [OPTIONS]          trains one variant (the same as: trainer train [OPTIONS])
    trainer sweep [OPTIONS]    trains several variants side by side, as one sweep
    trainer search [OPTIONS]   searches for good parameters
    trainer promote [MODEL]    makes a registered version champion, if it satisfies a policy
    trainer predict [OPTIONS]  scores a file with a logged model
    trainer compare RUN...     shows runs side by side, and writes a report
    trainer push MODEL --to …  copies a model version with its run to another MLflow server
    trainer verify [OPTIONS]   checks that a running MLflow stack does what the replica does
    trainer serve [OPTIONS]    serves a model over HTTP

    \b
    For example:
    trainer                                      the baseline, on made-up sessions
    trainer --n-estimators 500 --learning-rate 0.025
    trainer --data shop.csv --target Revenue
    trainer sweep --variants variants.yaml --jobs 2

    All options, LightGBM's parameters among them: trainer train --help, trainer sweep --help.
    Each option can also be set by the environment variable that the help names; a LightGBM parameter
    by TRAINER_ and its name, such as TRAINER_NUM_LEAVES.
    """


@command.command("train", cls=GroupedCommand, context_settings=_WIDTH)
@data_options
@registry_options(register=False)
@tracking_options
@lightgbm_options
def train_command(**options: Any) -> None:
    """Train one variant: LightGBM with the parameters given, over the baseline."""
    from trainer import registry, report, run

    name = registry.check_name(options["model_name"])
    overrides = _lightgbm_overrides(options)
    variant = params.variant(overrides)
    dataset, target, plan = _prepare(options, variant.params)
    result = run.train(variant, dataset, plan)
    registered, failed = _register(name, result, dataset, plan) if options["register"] else (None, None)
    if options["as_json"]:
        report.as_json(report.run_content(result) | report.registered_content(registered))
    else:
        report.show_run(result, _ui_command(target))
        report.show_registered(registered)
    if failed is not None:
        raise failed


@command.command("sweep", cls=GroupedCommand, context_settings=_WIDTH)
@_option(
    "--variants",
    type=click.Path(path_type=Path),
    group="Sweep",
    env="TRAINER_VARIANTS",
    help="A YAML list of mappings from LightGBM parameter to value. Without it, the standard variants:"
    " (n_estimators, learning_rate) = (200, 0.05), (500, 0.025), (1000, 0.01).",
)
@_option(
    "--grid",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_GRID",
    help="Values of a parameter, combined with every value of the other --grid lists: two lists of two values"
    " are a grid of 2 × 2 = 4 variants. Repeatable.",
)
@_option(
    "--paired",
    multiple=True,
    metavar="NAME=V1,V2,…",
    group="Sweep",
    env="TRAINER_PAIRED",
    help="Values of a parameter, the first paired with the first of the other --paired lists, the second with the"
    " second: two lists of two values are 2 pairs. Repeatable; with --grid, each pair meets each point of the grid.",
)
@_option(
    "--jobs",
    type=click.IntRange(1, 1024),
    group="Sweep",
    env="TRAINER_JOBS",
    help="Variants trained side by side; by default as many as there are processors. Results do not depend on it.",
)
@_option(
    "--again",
    is_flag=True,
    group="Sweep",
    env="TRAINER_AGAIN",
    help="Train every variant. Otherwise those that the experiment already holds, finished with the same data,"
    " parameters, seed, splits and code, are skipped.",
)
@data_options
@registry_options(register=True)
@tracking_options
@lightgbm_options
def sweep_command(
    variants: Path | None,
    grid: tuple[str, ...],
    paired: tuple[str, ...],
    jobs: int | None,
    again: bool,
    **options: Any,
) -> None:
    r"""Train several variants side by side, as nested runs of one parent run.

    LightGBM's parameters given here hold for all variants; a variant's own values win. An interrupted sweep
    goes on where it was when the same command is given again.

    \b
    For example:
    trainer sweep --grid n_estimators=200,500 --grid learning_rate=0.05,0.1         grid of 2 × 2 = 4 variants
    trainer sweep --paired n_estimators=200,500 --paired learning_rate=0.05,0.025   2 pairs
    """
    from trainer.engine import Engine, available_cpus
    from trainer.tracking import configure

    base = _lightgbm_overrides(options)
    from trainer import registry, report, sweep
    from trainer.variants import choose

    model_name = registry.check_name(options["model_name"])

    choice = choose(variants, grid, paired, base)
    chosen = choice.variants
    configure(options["debug"])
    served = (options["tracking_uri"] or "").startswith(("http://", "https://"))
    preload = sweep.PRELOAD if served else sweep.PRELOAD + sweep.PRELOAD_EMBEDDED
    engine = Engine(min(jobs or available_cpus(), len(chosen)), preload)
    # From here the processes' imports go on beside this process's own.
    engine.warm_up()

    from trainer import run

    for remark in choice.notes:
        report.note(remark)
    report.note(f"{choice.words}, {engine.jobs} at a time")
    dataset, target, plan = _prepare(options, *(variant.params for variant in chosen))

    from trainer import progress, resume

    reused = {} if again else resume.finished(chosen, dataset, plan)
    if reused:
        report.note(
            f"{len(reused)} of {len(chosen)} variants finished before, with the same data, parameters and code:"
            " skipped (--again trains them anew)"
        )

    def on_result(result: run.Result, done: int) -> None:
        if result.error is None:
            outcome = f"validation AP {result.score:.4f}, test AP {result.metrics['average_precision']:.4f}"
        else:
            outcome = f"failed: {result.error}"
        report.note(f"[{done}/{len(chosen)}] {result.name}: {outcome}")

    failed: TrainerError | None = None
    registered: Registration | None = None
    name = f"sweep: {params.describe(base)}" if base else "sweep"
    try:
        with progress.view(len(chosen), done=len(reused)) as view:
            done = sweep.run(chosen, dataset, plan, engine, name=name, reused=reused, on_result=on_result, view=view)
    except sweep.SweepFailedError as error:
        failed, done = error, error.result
    if options["register"] and done.best is not None:
        if failed is not None:
            report.note("the best model is not registered: not all variants finished; the same command again goes on")
        else:
            registered, failed = _register(model_name, done.best, dataset, plan, done.run_id)
    if options["as_json"]:
        report.as_json(report.sweep_content(done) | report.registered_content(registered))
    else:
        report.show_sweep(done, _ui_command(target))
        report.show_registered(registered)
    if failed is not None:
        raise failed


def _lightgbm_overrides(options: dict[str, Any]) -> dict[str, Value]:
    given = {parameter.name: options.pop(parameter.name) for parameter in PARAMETERS}
    return {name: value for name, value in given.items() if value is not None}


def _prepare(options: dict[str, Any], *all_params: Any) -> tuple[Dataset, Target, Plan]:
    """Check everything that was given, data first, and only then turn to the server."""
    from trainer import data, fit, provenance, report, thresholds, tracking
    from trainer.run import Plan

    tracking.configure(options["debug"])
    policy = thresholds.parse(options["threshold"])
    for remark in dict.fromkeys(remark for some in all_params for remark in params.notices(some)):
        report.note(remark)
    path, test_size, seed = options["data"], options["test_size"], options["seed"]
    dataset = data.load(path, target=options["target"], test_size=test_size, seed=seed)
    folds = options["folds"] or 0
    fit.check_folds(dataset, folds)
    if folds and options["validation_size"] != Plan.validation_size:
        report.note("--validation-size has no effect beside --cv: each training row is held out in one of the folds")
    for remark in dataset.notes:
        report.note(remark)
    rows = f"{dataset.train.rows:,} training and {dataset.test.rows:,} test rows"
    features = "1 feature" if len(dataset.kinds) == 1 else f"{len(dataset.kinds)} features"
    report.note(f"data {dataset.name}: {rows}, {features}, target {dataset.target}")
    target = tracking.connect(
        options["tracking_uri"] or None, options["experiment"], wait=options["wait"], ui_url=options["ui_url"]
    )
    plan = Plan(
        target,
        seed=seed,
        validation_size=options["validation_size"],
        policy=policy,
        folds=folds,
        tags=provenance.tags(),
    )
    return dataset, target, plan


def _register(
    name: str, best: Result, dataset: Dataset, plan: Plan, parent: str | None = None
) -> tuple[Registration | None, TrainerError | None]:
    """Register a run's model; return what came of it, or why it could not be: what was trained is reported first."""
    from trainer import registry, run
    from trainer.errors import TrackingError

    try:
        return registry.register_best(plan.target, name, best, dataset, chosen_by=run.SELECTION, parent=parent), None
    except TrackingError as error:
        return None, error


def _ui_command(target: Target) -> str | None:
    """Return the command that opens the UI on a SQLite file; relative where that is shorter."""
    prefix = "sqlite:///"
    if not target.uri.startswith(prefix):
        return None
    path = Path(target.uri.removeprefix(prefix))
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return f"mlflow ui --backend-store-uri {shlex.quote(f'{prefix}{path}')}"


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and report whatever goes wrong as one line and an exit code.

    Args:
        args: The arguments; those of the process by default.
    """
    import trainer.collector  # noqa: F401 - imported for its effect

    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments or os.environ.get("TRAINER_DEBUG", "").lower() in ("1", "true", "yes", "on")
    try:
        # Not command.main: it would print an empty line for Ctrl-C, and forget which signal it was.
        with interruptible(), command.make_context("trainer", arguments) as context:
            command.invoke(context)
        # A reader that is gone shows here, and not when the interpreter ends.
        sys.stdout.flush()
        code = 0
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except (KeyboardInterrupt, click.Abort) as interrupt:
        code = _fail("interrupted", exit_code(interrupt), debug)
    except BrokenPipeError:
        # Nobody reads on; keep the interpreter from complaining about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except click.ClickException as error:
        code = _fail(_usage(error), error.exit_code, debug)
    except TrainerError as error:
        code = _fail(one_line(error), error.exit_code, debug)
    except Exception as error:  # noqa: BLE001 - the last resort: one line here too
        what = disk_full(error) or f"unexpected {type(error).__name__}: {one_line(error)} (--debug shows where)"
        code = _fail(what, 1, debug)
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    """Return click's message as one line, with the nearest parameter for one that does not exist."""
    if isinstance(error, click.NoSuchOption):
        hint = params.suggest(error.option_name.lstrip("-"), (name[2:].replace("-", "_") for name in _own_options()))
        hint = hint.replace("_", "-").replace("'", "--", 1).replace("'?", "?")
        return f"there is no option {error.option_name}{hint or '; trainer train --help lists them'}"
    return one_line(error.format_message())


def _own_options() -> list[str]:
    return [name for one in command.commands.values() for option in one.params for name in option.opts]


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"trainer: error: {message}", file=sys.stderr, flush=True)
    return code
