"""The subcommand ``train`` of the command line: what ``python -m train.burst`` is in a clone."""

from __future__ import annotations

import argparse
import importlib

from deconvnet.cli.options import Subparsers

__all__ = ["add_train"]

TRAININGS = ("burst", "photo")


def add_train(commands: Subparsers) -> None:
    """Add the subcommand ``train`` to the subparsers of an `argparse.ArgumentParser`."""
    parser = commands.add_parser("train", help="train a network on photographs of your own")
    parser.add_argument("what", choices=TRAININGS, help="which kind of network")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="…", help="options of the training: deconvnet train burst --help"
    )
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    training = importlib.import_module(f"deconvnet.train.{options.what}")
    return training.main(options.arguments)
