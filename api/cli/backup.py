"""refdesk backup and refdesk restore."""

from pathlib import Path
from typing import Annotated

import typer

from api.backups import back_up, restore
from api.cli.shell import confirm, load_settings, one_command, readable, say

backup_app = one_command("backup")
restore_app = one_command("restore")
COMMANDS = {"backup": backup_app, "restore": restore_app}
File = Annotated[Path, typer.Argument(help="The backup's file.")]


@backup_app.command()
def backup_command(file: File) -> None:
    """Write a copy of the database while the desk stays open. The secret key is not in it.

    Example: refdesk backup /backups/refdesk-2026-11-22.db
    """
    settings = load_settings()
    size = back_up(settings, file)
    say(f"Wrote {file} ({size / 1e6:.1f} MB).")
    if settings.secret_key is None:
        say(f"Keep {settings.secret_key_file or settings.var_dir / 'secret.key'} elsewhere too.")


@restore_app.command()
def restore_command(
    file: File, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Replace the database by a backup. Stop the desk first. Unsent replies are held back.

    Example: refdesk restore /backups/refdesk-2026-11-22.db
    """
    readable(file)
    confirm(f"Replace the database by {file}?", yes=yes)
    held = restore(load_settings(), file)
    say("Restored.")
    if held:
        say(f"{held} unsent replies are held back: release them at the desk, or leave them.")
