"""``trainer promote --rollback``: the alias returns to the version that was champion before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.registry.registry import Registry


def roll_back(registry: Registry, dry_run: bool, as_json: bool) -> None:
    """Return the alias to the version before, or say that it would, and print it."""
    from trainer.registry.champion import ChampionAlias
    from trainer.util.output import print_json, print_message

    alias = ChampionAlias(registry)
    current, previous = alias.rollback_target()
    if not dry_run:
        alias.roll_back(current, previous)
    if as_json:
        print_json(
            {
                "model": registry.name,
                "version": str(previous.version),
                "champion_before": str(current.version),
                "champion": str(current.version if dry_run else previous.version),
                "rollback": True,
                "dry_run": dry_run,
            }
        )
    elif dry_run:
        print_message(f"dry run: champion would return from version {current.version} to version {previous.version}")
    else:
        print(f"champion {registry.name} version {previous.version} (rolled back from version {current.version})")
