"""The command group: settings, error lines, and where the commands are."""

from __future__ import annotations

import difflib
import errno
import importlib
import json
import logging
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import click

from artfs import settings
from artfs.cli import exits
from artfs.errors import ArtfsError, Damaged, InvalidValue
from artfs.types import ArtifactKey, Ref, named_in, parse_artifact, parse_ref

if TYPE_CHECKING:
    from artfs.repo.repository import Repository

#: A path of 4,096 bytes is up to 2,048 directories deep, and walking takes some frames for each.
_RECURSION = 10_000

#: What would break a line, or steer a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: Command -> module below `artfs.cli` that defines it under its own name.
_COMMANDS = {
    "init": "storing", "put": "storing", "get": "storing", "cat": "storing",
    "checkout": "contents", "verify": "contents", "manifest": "contents",
    "ls": "listing", "log": "listing", "show": "listing", "diff": "listing",
    "alias": "aliases", "tag": "aliases", "ttl": "aliases",
    "link": "portfolios", "unlink": "portfolios",
    "rm": "removal",
    "run": "run", "runs": "runs", "lineage": "lineage",
    "mount": "mounts", "draft": "drafts", "drafts": "drafts", "sync": "drafts",
    "status": "drafts", "umount": "mounts", "warm": "caching", "cache": "caching",
    "completion": "completion",
}  # fmt: skip


class Settings:
    """What options, environment and configuration file say; the commands' context object."""

    def __init__(
        self,
        store: str | None,
        project: str | None,
        cache_size: str | None,
        verbosity: int,
        as_json: bool,
    ) -> None:
        found = settings.load(store, project, cache_size)
        self.verbosity = verbosity
        self.as_json = as_json
        self.store_url = found.store
        self.is_default_store = found.is_default_store
        self.project = found.project
        self.cache = found.cache
        self.store_options = found.options
        self.state = found.state

    def repository(self, create: bool = False) -> Repository:
        """The repository of the store set; the default store is made on first use."""
        # Not before: who asks the daemon of a mount needs none, and it takes longer to load.
        from artfs.repo.repository import Repository

        create = create or self.is_default_store
        return Repository.open(self.store_url, self.cache, create, self.store_options)

    def ref(self, text: str) -> Ref:
        """A ref, within the project set."""
        return parse_ref(text, self.project)

    def version_ref(self, text: str) -> Ref:
        """A ref that must say which version is meant, because it is to go."""
        if ":" not in text and "@" not in text:
            raise InvalidValue(
                f"ref '{text}'", "names an artifact and no version of it",
                f"{text}:v3 or {text}:latest names one",
            )  # fmt: skip
        return parse_ref(text, self.project)

    def artifact(self, text: str) -> ArtifactKey:
        """An artifact's key, within the project set."""
        return parse_artifact(text, self.project)

    def named(self, key: ArtifactKey, version: int | None = None) -> str:
        """An artifact, or a version of it, as a command with these settings finds it again."""
        name = named_in(key, self.project)
        return name if version is None else f"{name}:v{version}"

    def say(self, message: str) -> None:
        """A message for people: to standard error, unless they asked for quiet."""
        if self.verbosity >= 0:
            click.echo(message, err=True)

    def result(self, text: str, document: object) -> None:
        """A command's result: text, or the document as JSON with `--json`."""
        if self.as_json:
            click.echo(json.dumps(document, indent=1, ensure_ascii=True))
        elif text:
            # Names need not be UTF-8: they leave as the bytes they are.
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
            sys.stdout.buffer.flush()


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"artfs.cli.{_COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in _COMMANDS:
            close = difflib.get_close_matches(args[0], _COMMANDS, 1)
            meant = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.option("--store", metavar="URL", help="Store: a directory, or s3://BUCKET/PREFIX.")
@click.option("--project", metavar="P", help="Project, as [ENTITY/]PROJECT.")
@click.option("--cache-size", metavar="SIZE", help="What the cache may take, such as 20G.")
@click.option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.version_option(package_name="artfs")
@click.pass_context
def cli(
    ctx: click.Context,
    store: str | None,
    project: str | None,
    cache_size: str | None,
    verbose: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Versioned artifacts as a filesystem."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(exits.USAGE)
    verbosity = -1 if quiet else verbose
    logging.basicConfig(
        level=logging.DEBUG if verbosity > 0 else logging.WARNING, format="artfs: %(message)s"
    )
    ctx.obj = Settings(store, project, cache_size, verbosity, as_json)


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    _open_standard_files()
    sys.setrecursionlimit(_RECURSION)
    try:
        left = cli.main(prog_name="artfs", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.UsageError as error:
        _explain(*_wrong_usage(error))
        sys.exit(exits.USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(exits.FAILED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("artfs: interrupted", err=True)
        sys.exit(130)
    except ArtfsError as error:
        _explain(str(error), error.hint)
        sys.exit(exits.status_of(error))
    except OSError as error:
        sys.exit(_os_error(error))
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        _explain(what, "this should not happen; -vv shows where it did")
        sys.exit(exits.FAILED)
    sys.exit(left if isinstance(left, int) else 0)  # what `Context.exit` was given


def _open_standard_files() -> None:
    """Let nothing that is opened later have the number of one that our caller has closed."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _wrong_usage(error: click.UsageError) -> tuple[str, str]:
    path = error.ctx.command_path if error.ctx is not None else "artfs"
    name = path.partition(" ")[2] or next((arg for arg in sys.argv if arg in _COMMANDS), "")
    command = f"artfs {name}".rstrip()
    message = " ".join(error.format_message().split())  # choices come on lines of their own
    if isinstance(error, click.NoSuchOption) and name and error.option_name in _general():
        return (
            f"{name}: {error.option_name} stands before the command",
            f"artfs {error.option_name} {name} …",
        )
    return f"{name or 'usage'}: {message}", f"{command} --help shows how to use it"


def _general() -> set[str]:
    return {option for parameter in cli.params for option in parameter.opts}


def _explain(line: str, hint: str) -> None:
    click.echo(f"artfs: {_one_line(line)}", err=True)
    if hint:
        click.echo(f"       {_one_line(hint)}", err=True)
    if sys.argv.count("-vv") or sys.argv.count("-v") > 1:
        traceback.print_exc()


def _one_line(text: str) -> str:
    """Names that people choose, and paths, may hold line ends, and what steers a terminal."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _os_error(error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone: nothing is wrong, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Reads and writes of open files do not say which file; those of full disks are writes.
    what = "cannot write" if full else "input or output failed"
    if error.filename:
        what = os.fsdecode(error.filename)
    hint = "nothing was committed" if full else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "check who may read and write there"
    _explain(f"{what}: {os.strerror(error.errno or 0)}", hint)
    return exits.FAILED


def damaged_in(ref: object, error: Damaged) -> Damaged:
    """The error, naming the version in which the damage was met."""
    return Damaged(str(ref), str(error), error.hint)
