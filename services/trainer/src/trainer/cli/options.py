"""The options of the commands, and how a command shows them: grouped under headings, each with its variable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from trainer.cli.config_file import read_config, value_in_config
from trainer.config.csv_form import NAMED
from trainer.config.defaults import EXPERIMENT, MODEL
from trainer.config.explain import parse_explain
from trainer.config.parameters import PARAMETERS, Parameter, Value
from trainer.config.plot_style import PLOT_STYLES, PlotStyle
from trainer.config.selection_metric import Metric
from trainer.config.stream import STREAM, Stream
from trainer.config.task import CHOICES, TASK_NAMES, TASKS, TaskName
from trainer.config.variant import describe_params
from trainer.util.errors import InputError

#: The composed stack's scheduler.
CLUSTER = "tls://scheduler:8786"

Function = TypeVar("Function", bound=Callable[..., Any])

#: The settings of a command that is called by itself; those of the group hold for its commands.
SETTINGS = {"max_content_width": 110, "help_option_names": ["-h", "--help"]}


class GroupedOption(click.Option):
    """An option that the help lists under a heading."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Return the option's value and where it comes from; see ``--config``."""
        value, source = super().consume_value(ctx, opts)
        return value_in_config(self, ctx, value, source)


def paragraphs(help_: str | None) -> str | None:
    """Return a raw docstring as click wants it: a backspace marks a paragraph whose lines stay as they are."""
    return help_ and help_.replace("\\b\n", "\b\n")


class GroupedCommand(click.Command):
    """A command whose help lists its options under their headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": paragraphs(kwargs.get("help"))})

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


class Names(click.ParamType[tuple[str, ...]]):
    """Names of columns, separated by commas; a name that holds one stands in quotes."""

    name = "column,…"
    #: What a configuration file may hold beside text.
    structure = list

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ARG002
        """Return the names."""
        if isinstance(value, list | tuple):
            return tuple(str(name) for name in value)
        import csv

        names = next(csv.reader([str(value)], skipinitialspace=True), [])
        return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


class Monotone(click.ParamType[dict[str, int]]):
    """Columns with a sign each, separated by commas: age=+1,price=-1."""

    name = "column=±1,…"
    structure = dict

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Return the signs by the columns' names."""
        if isinstance(value, dict):
            if wrong := [name for name, sign in value.items() if isinstance(sign, bool) or sign not in (1, -1)]:
                raise InputError(f"--monotone: {wrong[0]} is {value[wrong[0]]!r}; write 1 or -1")
            return {str(name): int(sign) for name, sign in value.items()}
        signs: dict[str, int] = {}
        for pair in Names().convert(value, param, ctx):
            name, _, sign = pair.rpartition("=")
            if not name.strip() or sign.strip() not in ("+1", "1", "-1") or name.strip() in signs:
                raise InputError(f"--monotone: {pair!r} is not allowed; write COLUMN=+1 or COLUMN=-1, each column once")
            signs[name.strip()] = int(sign)
        return signs


class Parameters(click.ParamType[dict[str, Any]]):
    """A mapping from names to values, written as YAML's or JSON's: {n_estimators: 300, max_depth: 8}."""

    name = "mapping"
    structure = dict

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:  # noqa: ARG002
        """Return the mapping."""
        if isinstance(value, dict):
            return value
        import yaml

        try:
            content = yaml.safe_load(str(value))
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
            raise InputError(
                f"--estimator-params: {str(value)!r} is no mapping; write such as '{{n_estimators: 300, max_depth: 8}}'"
            )
        return content


class Inline(click.ParamType[Any]):
    """A file, or in a configuration file also what the file would hold."""

    name = "file"

    def __init__(self, structure: type) -> None:
        self.structure = structure

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the file's path, or its content."""
        return value if isinstance(value, self.structure) else Path(str(value))


class TablePlace(click.ParamType[Any]):
    """What names a table: a file, a folder, a pattern, or one of these in a bucket."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the path, or the address in a bucket."""
        from trainer.data.buckets import table_place

        return table_place(value if isinstance(value, Path) else str(value))


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


class Rows(click.ParamType[int]):
    """A number of rows to explain, or all."""

    name = "rows|all"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ARG002
        """Return the number."""
        return parse_explain(value, param.opts[0] if param is not None else "rows")


def option(*names: str, group: str, env: str | None, **kwargs: Any) -> Callable[[Function], Function]:
    """Return a decorator that adds an option.

    Args:
        names: As click's option takes them.
        group: The heading under which the help lists it.
        env: The environment variable that sets it, if any.
        kwargs: What else click's option takes.
    """
    return click.option(*names, cls=GroupedOption, group=group, envvar=env, show_envvar=env is not None, **kwargs)


config_option = option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    group="Configuration",
    env="TRAINER_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="A YAML file with options of this command, such as num_leaves: 31; those given here go before it. Each run"
    " has such a file, config.yaml, which repeats it.",
)
tracking_uri_option = option(
    "--tracking-uri",
    group="Tracking",
    env="MLFLOW_TRACKING_URI",
    help="The MLflow server. Without one, mlflow.db in the working directory.",
)
token_file_option = option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    group="Tracking",
    env="TRAINER_TOKEN_FILE",
    help="A file with the token for the MLflow server, where MLFLOW_TRACKING_TOKEN is not set.",
)
wait_option = option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    group="Tracking",
    env="TRAINER_WAIT",
    help="Seconds to wait for the server.",
)
json_option = option(
    "--json", "as_json", is_flag=True, group="Output", env="TRAINER_JSON", help="Print the result as JSON."
)
debug_option = option(
    "--debug", is_flag=True, group="Output", env="TRAINER_DEBUG", help="Show tracebacks and MLflow's own log."
)

certificates_option = option(
    "--certificates",
    type=click.Path(path_type=Path),
    group="Cluster",
    env="TRAINER_CLUSTER_CERTIFICATES",
    help="The folder with ca.pem, certificate.pem and key.pem; /run/secrets/cluster by default.",
)
cluster_option = option(
    "--cluster",
    is_flag=False,
    flag_value=CLUSTER,
    metavar="[ADDRESS]",
    group="Cluster",
    env="TRAINER_CLUSTER",
    help=f"Run on the workers of a cluster, whose scheduler is at this address; without one, at {CLUSTER}.",
)


def import_cluster() -> None:
    """Import Dask's distributed, which is an extra of the package.

    Raises:
        InputError: It is not installed.
    """
    import importlib

    try:
        importlib.import_module("distributed")
    except ImportError as error:
        raise InputError(f"a cluster needs the package's extra: pip install 'trainer[cluster]' ({error})") from error


def data_option(help_: str) -> Callable[[Function], Function]:
    """Return a decorator that adds the option which names the data."""
    return option("--data", type=TablePlace(), group="Data", env="TRAINER_DATA", help=help_)


target_option = option("--target", group="Data", env="TRAINER_TARGET", help="The target column of a single table.")
positive_option = option(
    "--positive",
    metavar="VALUE",
    group="Data",
    env="TRAINER_POSITIVE",
    help="The positive class's value, where the target has two values such as 1 and 2, or good and bad.",
)
task_option = option(
    "--task",
    type=click.Choice(TASK_NAMES),
    group="Data",
    env="TRAINER_TASK",
    help="What is predicted: one of two classes, one of several, or a number. By default the target's values tell.",
)
drop_option = option(
    "--drop",
    type=Names(),
    default=(),
    group="Data",
    env="TRAINER_DROP",
    help="Columns to leave out, separated by commas.",
)
categorical_option = option(
    "--categorical",
    type=Names(),
    default=(),
    group="Data",
    env="TRAINER_CATEGORICAL",
    help="Columns of which each value is a category, whole numbers too, separated by commas.",
)
weight_option = option(
    "--weight",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_WEIGHT",
    help="The column of sample weights, for fit, metrics and threshold; it is no feature.",
)
time_option = option(
    "--time",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_TIME",
    help="The column of times to split by, dates or numbers: the latest rows are the test rows, the latest of the"
    " others the validation rows, and with --cv each fold holds out what came next; it is no feature.",
)
group_option = option(
    "--group",
    metavar="COLUMN",
    group="Data",
    env="TRAINER_GROUP",
    help="The column whose rows of one value stay together, in test, validation and folds; it is no feature.",
)
monotone_option = option(
    "--monotone",
    type=Monotone(),
    default={},
    group="Data",
    env="TRAINER_MONOTONE",
    help="Columns of numbers with which the score may only rise (+1) or only fall (-1), separated by commas.",
)
test_option = option(
    "--test",
    type=TablePlace(),
    metavar="FILE",
    group="Data",
    env="TRAINER_TEST",
    help="A table of its own for the test rows, in a file or in parts; all rows of --data are training rows then.",
)
test_size_option = option(
    "--test-size",
    type=Share(),
    default=0.2,
    show_default=True,
    group="Data",
    env="TRAINER_TEST_SIZE",
    help="Share of a single table that is held out for the final metrics.",
)
validation_size_option = option(
    "--validation-size",
    type=Share(),
    default=0.2,
    show_default=True,
    group="Data",
    env="TRAINER_VALIDATION_SIZE",
    help="Share of the training rows that chooses the threshold and gives the loss history.",
)
threshold_option = option(
    "--threshold",
    default="max-f1",
    show_default=True,
    group="Data",
    env="TRAINER_THRESHOLD",
    help="Decision threshold, chosen on the validation rows: max-f1, f2 or fbeta:0.5 (the"
    " highest F-beta), balanced-accuracy, cost:FP=1,FN=5 (the lowest cost), precision>=0.8 (the highest recall that"
    " keeps it), recall>=0.9 (the highest precision that keeps it), or a number from 0 to 1.",
)
cv_option = option(
    "--cv",
    "folds",
    type=click.IntRange(2, 100),
    metavar="K",
    group="Data",
    env="TRAINER_CV",
    help="Cross-validate: K stratified folds of the training rows, each left out once, choose the"
    " threshold and compare variants, in place of --validation-size; the model is then fitted to all"
    " training rows.",
)
metric_option = option(
    "--metric",
    type=click.Choice(CHOICES),
    group="Data",
    env="TRAINER_METRIC",
    help="What variants and trials are chosen by, on the validation rows; the same prunes trials and stops early."
    " By default " + ", ".join(f"{task.choices[0]} ({task.name})" for task in TASKS.values()) + ".",
)
stream_option = option(
    "--stream",
    type=click.Choice(STREAM),
    default="auto",
    show_default=True,
    group="Data",
    env="TRAINER_STREAM",
    help="Whether a single table is read in passes instead of being held in memory; auto does so where it would not"
    " fit. The model is the same.",
)
explain_option = option(
    "--explain",
    type=Rows(),
    default=0,
    metavar="ROWS|all",
    group="Output",
    env="TRAINER_EXPLAIN",
    help="Compute each feature's contributions (SHAP values) on that many test rows, for each run: a beeswarm plot and"
    " a CSV file. 1000 rows are enough for the order of the features.",
)
plot_style_option = option(
    "--plot-style",
    type=click.Choice(PLOT_STYLES),
    default="light",
    show_default=True,
    group="Output",
    env="TRAINER_PLOT_STYLE",
    help="Draw each run's plots for a light page, a dark one (NAME_dark.png), or both.",
)
seed_option = option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=42,
    show_default=True,
    group="Data",
    env="TRAINER_SEED",
    help="Seed of the splits, the made-up sessions, and LightGBM.",
)
model_name_option = option(
    "--model-name",
    default=MODEL,
    show_default=True,
    group="Registry",
    env="TRAINER_MODEL_NAME",
    help="The registered model; created where it does not exist.",
)
ui_url_option = option(
    "--ui-url",
    group="Tracking",
    env="TRAINER_UI_URL",
    help="Where a browser finds the UI, if not at the tracking URI; for the links that are printed.",
)
experiment_option = option(
    "--experiment",
    default=EXPERIMENT,
    show_default=True,
    group="Tracking",
    env="MLFLOW_EXPERIMENT_NAME",
    help="The experiment; created where it does not exist.",
)


estimator_option = option(
    "--estimator",
    metavar="MODULE:CLASS",
    group="Another estimator",
    env="TRAINER_ESTIMATOR",
    help="A class with scikit-learn's interface in LightGBM's place, such as sklearn.ensemble:RandomForestClassifier,"
    " or one of your own as /data/models.py:Mine. Texts become a column for each category, gaps the median.",
)
estimator_params_option = option(
    "--estimator-params",
    type=Parameters(),
    metavar="MAPPING",
    group="Another estimator",
    env="TRAINER_ESTIMATOR_PARAMS",
    help="What its class is called with, such as '{n_estimators: 300, max_depth: 8}'.",
)


def model_uri_option(group: str, help_: str) -> Callable[[Function], Function]:
    """Return the option ``--model`` of a command that works with a model that is there already."""
    return option("--model", required=True, metavar="URI", group=group, env=None, help=help_)


def scored_data_option(group: str, help_: str) -> Callable[[Function], Function]:
    """Return the option ``--data`` of such a command; not from TRAINER_DATA, which says what to train on."""
    return option("--data", required=True, type=TablePlace(), group=group, env=None, help=help_)


class Character(click.ParamType[str]):
    """A character, or its name."""

    name = "char"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the character."""
        return NAMED.get(str(value).lower(), str(value))


CSV_OPTIONS = (
    option(
        "--separator",
        type=Character(),
        metavar="CHAR",
        group="CSV files",
        env="TRAINER_SEPARATOR",
        help="What separates the fields: a character such as ; or |, or tab. By default a comma; in .tsv files a tab.",
    ),
    option(
        "--decimal",
        type=Character(),
        metavar="point|comma",
        group="CSV files",
        env="TRAINER_DECIMAL",
        help="What stands before a number's decimals. By default a point.",
    ),
    option(
        "--missing",
        type=Names(),
        metavar="WORD,…",
        group="CSV files",
        env="TRAINER_MISSING",
        help="Words that stand for a missing value, beside the usual ones (nothing, NA, None and the like).",
    ),
    option(
        "--not-missing",
        type=Names(),
        metavar="WORD,…",
        group="CSV files",
        env="TRAINER_NOT_MISSING",
        help="Words such as NA that are categories in columns of texts, and no missing values there.",
    ),
    option(
        "--header/--no-header",
        default=None,
        group="CSV files",
        env="TRAINER_HEADER",
        help="Whether a line names the columns; without one they are called column_1, column_2 and so on.",
    ),
    option(
        "--skip-lines",
        type=click.IntRange(0, 10_000),
        metavar="N",
        group="CSV files",
        env="TRAINER_SKIP_LINES",
        help="Lines above the header to leave out, such as a title or comments.",
    ),
)


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are written; None where an option is not given."""

    separator: str | None
    decimal: str | None
    missing: tuple[str, ...] | None
    not_missing: tuple[str, ...] | None
    header: bool | None
    skip_lines: int | None

    @property
    def csv(self) -> dict[str, Any]:
        """What was given, by the names of ``CsvForm``'s fields."""
        names = (field.name for field in fields(CsvOptions))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class SourceOptions(CsvOptions):
    """Where the data is, and how a single table is split into training and test rows."""

    data: Path | None
    target: str | None
    positive: str | None
    test_size: float
    seed: int


@dataclass(frozen=True)
class DataOptions(SourceOptions):
    """The data, and how the validation rows and the threshold are chosen."""

    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    weight: str | None
    time: str | None
    group: str | None
    monotone: dict[str, int]
    test: Path | None

    validation_size: float
    threshold: str
    folds: int | None
    metric: Metric | None
    task: TaskName | None
    #: On how many test rows contributions are computed.
    explain: int
    stream: Stream
    #: In which themes plots are drawn.
    plot_style: PlotStyle


@dataclass(frozen=True)
class ServerOptions:
    """Where the tracking server is, how many seconds to wait for it, and how to report."""

    tracking_uri: str | None
    wait: float
    as_json: bool
    debug: bool

    @property
    def uri(self) -> str | None:
        """The tracking URI; None where none was given, or an empty one."""
        return self.tracking_uri or None

    @property
    def served(self) -> bool:
        """Whether runs go to a server, and not to a database that this process opens itself."""
        return (self.tracking_uri or "").startswith(("http://", "https://"))


@dataclass(frozen=True)
class TrackingOptions(ServerOptions):
    """Where to track, and how to report. ``ui_url`` is the base of the links that are printed."""

    experiment: str
    ui_url: str | None


@dataclass(frozen=True)
class RegistryOptions:
    """Whether to register the best model, and as what."""

    register: bool
    model_name: str


def gathered(
    parameter: str, kind: type[Any], *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Return a decorator that adds options, and hands their values to the command as one object.

    Args:
        parameter: The command's parameter that takes the object.
        kind: The object's class, a dataclass; its fields are the options' names.
        options: The options, in the order of the help.
    """
    names = [field.name for field in fields(kind)]

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def call(**given: Any) -> Any:
            values = {name: given.pop(name) for name in names}
            return function(**given, **{parameter: kind(**values)})

        decorated: Any = call
        for decorate in reversed(options):
            decorated = decorate(decorated)
        return decorated  # type: ignore[no-any-return]

    return add


data_options = gathered(
    "source",
    DataOptions,
    data_option(
        "One CSV or Parquet table: a file, a folder of its parts, or a pattern such as 'june/*.csv'; also in a"
        " bucket (s3://…, gs://…). Or a folder with"
        " X_train.csv, X_test.csv, y_train.csv and y_test.csv."
        " Without data the trainer makes up web-shop sessions."
    ),
    target_option,
    task_option,
    positive_option,
    drop_option,
    categorical_option,
    weight_option,
    time_option,
    group_option,
    monotone_option,
    test_option,
    test_size_option,
    validation_size_option,
    threshold_option,
    cv_option,
    metric_option,
    seed_option,
    explain_option,
    stream_option,
    plot_style_option,
    *CSV_OPTIONS,
)
csv_options = gathered("form", CsvOptions, *CSV_OPTIONS)
server_options = gathered("server", ServerOptions, tracking_uri_option, wait_option, json_option, debug_option)
tracking_options = gathered(
    "tracking",
    TrackingOptions,
    experiment_option,
    ui_url_option,
    tracking_uri_option,
    wait_option,
    json_option,
    debug_option,
)


def registry_options(register: bool) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of the model registry.

    Args:
        register: Whether the best model is registered by default.
    """
    register_option = option(
        "--register/--no-register",
        default=register,
        show_default=True,
        group="Registry",
        env="TRAINER_REGISTER",
        help="Register the best model as a version of the registered model, if that has not been done.",
    )
    return gathered("registry", RegistryOptions, register_option, model_name_option)


def lightgbm_options(function: Function) -> Function:
    """Add an option for each of LightGBM's parameters; the command takes those that are given as ``overrides``."""

    @functools.wraps(function)
    def call(**given: Any) -> Any:
        values: dict[str, Value] = {parameter.name: given.pop(parameter.name) for parameter in PARAMETERS}
        return function(**given, overrides={name: value for name, value in values.items() if value is not None})

    decorated: Any = call
    for parameter in reversed(PARAMETERS):
        negation = f"{parameter.option}/--no-{parameter.option[2:]}"
        default = "" if parameter.default is None else f"; default {describe_params({'': parameter.default})[1:]}"
        allowed = "" if parameter.kind is bool else f" [{parameter.allowed}{default}]"
        decorated = click.option(
            negation if parameter.kind is bool else parameter.option,
            parameter.name,
            cls=GroupedOption,
            group=f"LightGBM: {parameter.group.lower()}",
            envvar=f"TRAINER_{parameter.name.upper()}",
            default=None,
            help=parameter.help + allowed,
            **({} if parameter.kind is bool else {"type": ParameterType(parameter)}),
        )(decorated)
    return decorated  # type: ignore[no-any-return]
