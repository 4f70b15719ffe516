"""The command line: `structnets` and `python -m keras_structnets`."""

import importlib
import io
import os
import re
import sys
import warnings

from keras_structnets import __version__, arguments

IN_A_SHELL = (  # what errors for Python say, and what a shell has for it
    (r"See keras_structnets\.zoo\.list_models\(\)", "Run `structnets list`"),
    (r"^info: ", "show: "),
    (r"Recipe: `(\w+)`", lambda match: f"train: --{match[1].replace('_', '-')}"),
    (r"([Gg]ive) `(\w+)`:?", r"\1 --\2"),
    (r"Use (\w+)=(?=\w+ or more)", lambda match: f"Use --{match[1].replace('_', '-')} "),
)
EXPECTED = (ValueError, ImportError, OSError, RuntimeError)  # errors whose text says what to do


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0, 2 after an error, 130 after an interrupt."""
    options = vars(arguments.parser(__version__).parse_args(argv))
    command, backend = arguments.COMMANDS[options.pop("command")], options.pop("backend")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = _show_warning
        try:
            _select(backend)
            commands = importlib.import_module("keras_structnets.commands")  # imports Keras
            getattr(commands, command.function)(**options)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (*EXPECTED, TypeError, KeyError, EOFError, MemoryError) as error:
            kind = "" if isinstance(error, EXPECTED) else f"{type(error).__name__}: "
            print(f"structnets: {kind}{in_a_shell(_one_line(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("structnets: interrupted. Continue a training run with --resume", file=sys.stderr)
            return 130
    return 0


def in_a_shell(message: str) -> str:
    """An error of the library with the options and commands of a shell."""
    for pattern, replacement in IN_A_SHELL:
        message = re.sub(pattern, replacement, message)
    return message


def _select(backend):
    """Have Keras use `backend`; it reads the variable once, when it is imported."""
    if backend is None:
        return
    keras = sys.modules.get("keras")
    if keras and keras.config.backend() != backend:
        raise ValueError(
            f"--backend is {backend!r}, but Keras runs on {keras.config.backend()!r} already in this "
            "process. Start a new one."
        )
    os.environ["KERAS_BACKEND"] = backend


def _show_warning(message, *_, **__):
    print(f"structnets: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(message):
    """The message in one line, its control characters escaped: file names may hold them."""
    text = " ".join(str(message).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


if __name__ == "__main__":
    sys.exit(main())
