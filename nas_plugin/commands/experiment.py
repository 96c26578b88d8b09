"""``nas-plugin experiment``: run NNI experiments and read their journals."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_plugin.experiment.launch import Running

NAME = "experiment"
HELP = "run NNI experiments, with the web portal, and read their journals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    commands = parser.add_subparsers(dest="experiment_command", required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="start an experiment and watch it to its end")
    create.add_argument("--config", type=Path, required=True, help="NNI's YAML file")
    _add_portal(create)
    _add_watching(create)
    create.set_defaults(experiment_run=_create)
    resume = commands.add_parser("resume", help="continue an experiment that ended or crashed")
    resume.add_argument("id")
    _add_portal(resume)
    _add_watching(resume)
    resume.set_defaults(experiment_run=_resume)
    view = commands.add_parser("view", help="open the portal of an ended experiment")
    view.add_argument("id")
    _add_portal(view)
    view.set_defaults(experiment_run=_view)
    status = commands.add_parser(
        "status", help="show an experiment's status; without an ID, list all"
    )
    status.add_argument("id", nargs="?")
    status.set_defaults(experiment_run=_status)
    stop = commands.add_parser("stop", help="end an experiment and its trials")
    stop.add_argument("id")
    stop.set_defaults(experiment_run=_stop)
    _add_reading(commands)
    register = commands.add_parser("register", help="make `tuner: {name: …}` known to NNI")
    register.add_argument("--name", default="NasPlugin", help="the name (default NasPlugin)")
    register.set_defaults(experiment_run=_register)
    guard = commands.add_parser("guard", help="print NODE_OPTIONS, for plain nnictl")
    guard.set_defaults(experiment_run=_guard)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen subcommand."""
    chosen: Callable[[argparse.Namespace], int] = args.experiment_run
    return chosen(args)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, got '{text}'")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got '{text}'")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got '{text}'")
    return value


def _add_portal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, help="the portal's port (default: a free one)")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="let other machines reach the portal at this address, for remote trials; whoever "
        "reaches it can run commands as you",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="with --listen: a name by which other machines call this one",
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--restart",
        nargs="?",
        type=_count,
        const=3,
        default=0,
        metavar="N",
        help="resume up to N times (default 3) after a crash or a standstill",
    )
    parser.add_argument(
        "--idle", type=_seconds, default=120.0, help="seconds that count as a standstill"
    )
    parser.add_argument("--keep", action="store_true", help="leave the portal open at the end")
    parser.add_argument("--detach", action="store_true", help="start only; do not watch")


def _add_reading(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = commands.add_parser("show", help="print the best architectures, Pareto set, failures")
    export = commands.add_parser("export", help="write the journal's rows to a file")
    check = commands.add_parser("check", help="list the rows where NNI's database is wrong")
    for parser in (show, export, check):
        parser.add_argument("id", help="an experiment's id or folder")
    show.add_argument("-n", type=_count, default=10, help="how many (default 10)")
    show.add_argument("--metric", default="default", help="the metric to sort by")
    show.add_argument("--minimize", action="store_true", help="smaller is better")
    show.add_argument(
        "--pareto", default="", metavar="METRICS", help="further metrics to minimise, with commas"
    )
    show.set_defaults(experiment_run=_show)
    export.add_argument("--out", type=Path, help="output file, .json or .csv (default: print JSON)")
    export.set_defaults(experiment_run=_export)
    check.set_defaults(experiment_run=_check)


def _create(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.launch import create

    return _watch(args, lambda portal, adopt: create(args.config, portal, adopt))


def _resume(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.launch import resume

    return _watch(args, lambda portal, adopt: resume(args.id, portal, adopt))


def _watch(args: argparse.Namespace, start: Callable[..., object]) -> int:
    from nas_plugin.experiment.launch import Portal, stop_manager
    from nas_plugin.experiment.supervise import Patience, Supervisor

    portal = Portal(args.port, args.listen, args.host)
    started: list[Running] = []  # the last one is the manager that runs

    # Ended by a signal, the experiment must not run on with nobody watching.
    try:
        start(portal, started.append)
        print(f"experiment {started[0].id}: portal at {started[0].url}", flush=True)
        if args.listen is not None:
            _say(
                f"The portal listens on {args.listen}: whoever reaches it can run commands as "
                "you. Use it in a closed network or behind a firewall."
            )
        if args.detach:
            return 0
        supervisor = Supervisor(
            started[0],
            patience=Patience(args.restart, args.idle),
            portal=portal,
            say=_say,
            adopt=started.append,
        )
        done = supervisor.watch()
    except BaseException as error:
        if started:
            stop_manager(started[-1])
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                _say(_stopped(started[-1].id))
        raise
    return _end(args, started[-1], done=done)


def _end(args: argparse.Namespace, running: Running, *, done: bool) -> int:
    from nas_plugin.experiment.launch import stop_manager
    from nas_plugin.experiment.show import summary

    if not done:
        _say(_stopped(running.id))
        return 1
    try:
        text, has_result = summary(running)
        print(text)
    finally:
        if not args.keep:
            stop_manager(running)
    if not has_result:
        _say("error: no trial has succeeded; why stands above.")
    return 0 if has_result else 1


def _stopped(name: str) -> str:
    return f"stopped; continue with: nas-plugin experiment resume {name}"


def _view(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.launch import Portal, view

    running = view(args.id, Portal(args.port, args.listen, args.host))
    print(f"experiment {running.id}: portal at {running.url}")
    print(f"close it with: nas-plugin experiment stop {running.id}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.show import listing, status

    print(listing() if args.id is None else status(args.id))
    return 0


def _stop(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.launch import find_running, stop_manager

    stop_manager(find_running(args.id))
    return 0


def _show(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.show import experiment_table, report

    minimize = [name for name in args.pareto.split(",") if name]
    damaged: list[str] = []
    table = experiment_table(args.id, damaged.append)
    print(report(table, args.metric, minimize_metric=args.minimize, pareto_with=minimize, n=args.n))
    return _name(damaged)


def _export(args: argparse.Namespace) -> int:
    from nas_plugin.errors import OptionError
    from nas_plugin.experiment import results
    from nas_plugin.experiment.show import experiment_table
    from nas_plugin.files import write_atomic

    damaged: list[str] = []
    table = experiment_table(args.id, damaged.append)
    if args.out is None:
        print(results.to_json(table), end="")
        return _name(damaged)
    writers = {".json": results.to_json, ".csv": results.to_csv}
    if args.out.suffix not in writers:
        raise OptionError(f"--out must end in .json or .csv, got '{args.out}'.")
    write_atomic(args.out, writers[args.out.suffix](table))
    return _name(damaged)


def _check(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.show import check

    damaged: list[str] = []
    print(check(args.id, damaged.append))
    return _name(damaged)


def _register(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.register import register_tuner

    register_tuner(args.name)
    print(f"NNI knows it now: tuner: {{name: {args.name}, classArgs: {{strategy: …}}}}")
    return 0


def _guard(args: argparse.Namespace) -> int:
    from nas_plugin.experiment.guard import guard_option

    print(guard_option())
    return 0


def _name(damaged: list[str]) -> int:
    """Names the lines of the journal that were left out; returns the exit code."""
    for problem in damaged:
        _say(f"left out: {problem}")
    return 1 if damaged else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
