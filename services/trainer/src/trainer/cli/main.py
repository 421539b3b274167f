"""The command line. Imports nothing heavy until a command has its options, so that ``--help`` answers at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from trainer.cli.options.command import SETTINGS, paragraphs
from trainer.config.boolean_words import FLAGS
from trainer.config.parameter_names import nearest_param
from trainer.util.errors import TrainerError, disk_full
from trainer.util.signals import exit_code, interruptible, raised_interrupt
from trainer.util.text import did_you_mean, one_line

#: What other programs call these; by their letters alone, score would be compare.
_COMMANDS_ELSEWHERE = {"fit": "train", "run": "train", "score": "predict", "test": "evaluate", "tune": "search"}
_OPTIONS_ELSEWHERE = {
    **dict.fromkeys(("--folds", "--n-folds", "--n-splits", "--kfold"), "--cv"),
    **dict.fromkeys(("--epochs", "--trees", "--rounds"), "--n-estimators"),
    **dict.fromkeys(("--label", "--label-column", "--y"), "--target"),
    **dict.fromkeys(("--delimiter", "--sep"), "--separator"),
    **dict.fromkeys(("--na-values", "--null-values"), "--missing"),
    **dict.fromkeys(("--exclude", "--ignore"), "--drop"),
    **dict.fromkeys(("--sample-weight", "--sample-weights"), "--weight"),
    **dict.fromkeys(("--date", "--time-column"), "--time"),
    **dict.fromkeys(("--output", "-o"), "--out"),
    **dict.fromkeys(("--input", "--file", "--csv"), "--data"),
}


class DefaultGroup(click.Group):
    """A group in which ``trainer [OPTIONS]`` means ``trainer train [OPTIONS]``."""

    default = "train"
    #: Each in a module of its own, which is imported when it is needed.
    names: tuple[str, ...] = (
        *("train", "sweep", "search", "promote", "predict", "evaluate", "compare", "push", "import", "stale"),
        *("verify", "serve", "scheduler", "worker"),
    )
    own = frozenset({"-h", "--help", "--version"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": paragraphs(kwargs.get("help"))})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front of options that come without a command."""
        if not args or (args[0].startswith("-") and args[0] not in self.own):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands' names, in the order of the help."""
        return list(self.names)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: the help's text lists the commands, with what each takes."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose module is imported first."""
        if cmd_name in self.names and cmd_name not in self.commands:
            # "import" can be no module's name.
            module = importlib.import_module(f"trainer.cli.{'import_store' if cmd_name == 'import' else cmd_name}")
            self.add_command(getattr(module, f"{cmd_name}_command"))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; an unknown one is answered with the nearest."""
        known = self.list_commands(ctx)
        if args and args[0] not in known:
            otherwise = f"the commands are {', '.join(known)}"
            meant = _COMMANDS_ELSEWHERE.get(args[0].lower())
            hint = f"did you mean {meant!r}?" if meant else did_you_mean(args[0], known, otherwise)
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=DefaultGroup, context_settings=SETTINGS)
@click.version_option(package_name="trainer", message="trainer %(version)s")
def command() -> None:
    r"""Train LightGBM classifiers that predict a purchase, and track each variant as a run in MLflow.

    \b
    trainer [OPTIONS]           trains one variant (the same as: trainer train [OPTIONS])
    trainer sweep [OPTIONS]     trains several variants side by side, as one sweep
    trainer search [OPTIONS]    searches for good parameters
    trainer promote [MODEL]     makes a registered version champion, if it satisfies a policy
    trainer predict [OPTIONS]   scores a file with a logged model
    trainer evaluate [OPTIONS]  computes a model's metrics on labelled data
    trainer compare RUN...      shows runs side by side, and writes a report
    trainer push MODEL --to …   copies a model version with its run to another MLflow server
    trainer import STORE        brings another store (mlruns, a SQLite file, a server) into a server
    trainer stale [OPTIONS]     marks runs FAILED whose process died with its machine
    trainer verify [OPTIONS]    checks that a running MLflow stack does what the replica does
    trainer serve [OPTIONS]     serves a model over HTTP
    trainer scheduler           runs the scheduler of a cluster, on which sweeps run by --cluster
    trainer worker [OPTIONS]    takes part in a cluster

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


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and report whatever goes wrong as one line and an exit code.

    Args:
        args: The arguments; those of the process by default.
    """
    # Imported for their effects.
    import trainer.accelerators.garbage_collection
    import trainer.accelerators.late_modules
    import trainer.accelerators.lazy_modules  # noqa: F401

    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments or FLAGS.get(os.environ.get("TRAINER_DEBUG", "").lower(), False)
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
        if (dropped := raised_interrupt()) is not None:
            sys.exit(_fail("interrupted", exit_code(dropped), debug))
        what = disk_full(error) or f"unexpected {type(error).__name__}: {one_line(error)} (--debug shows where)"
        code = _fail(what, 1, debug)
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    """Return click's message as one line, with the nearest parameter for one that does not exist."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        # Of the command that was called: what another one takes is no help here.
        names = (name for one in error.ctx.command.params for name in (*one.opts, *one.secondary_opts))
        known = [name for name in names if name.startswith("--")]
        meant = _OPTIONS_ELSEWHERE.get(error.option_name.replace("_", "-"))
        near = meant if meant in known else nearest_param(error.option_name, known)
        near = near or _command(error.ctx.find_root(), error.option_name[2:])
        hint = f"did you mean {near}?" if near else f"{error.ctx.command_path} --help lists them"
        return f"there is no option {error.option_name}; {hint}"
    return one_line(error.format_message())


def _command(root: click.Context, name: str) -> str | None:
    """Return how a command of this name is called, if there is one."""
    there = isinstance(root.command, click.Group) and name in root.command.list_commands(root)
    return f"{root.command_path} {name}" if there else None


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"trainer: error: {message}", file=sys.stderr, flush=True)
    return code
