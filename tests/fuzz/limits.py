"""How loading hostile data ends, within limits of time and memory."""

import collections
import contextlib
import pathlib
import signal
import tracemalloc
import warnings

SECONDS = 10
BYTES = 2**27  # that Python may allocate meanwhile
GOOD = ("read", "warned", "refused")


class SlowError(Exception):
    """The time is up."""


@contextlib.contextmanager
def time_limit():
    """A SlowError after `SECONDS`."""

    def stop(*_):
        raise SlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def end_of(load, folder):
    """How `load()` ends: one of `GOOD`, or what went wrong. No file may be made in or beside `folder`."""
    before = _files(folder)
    tracemalloc.start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with time_limit():
                load()
            end = "warned" if caught else "read"
        except ValueError as error:
            end = "refused" if str(error).startswith("load: ") else f"unclear: {error!s:.90}"
        except Exception as error:
            end = f"{type(error).__name__}: {error!s:.90}"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if peak > BYTES:
        end = f"{peak >> 20} MiB of memory"
    return "a file was written" if _files(folder) != before else end


def _files(folder):
    return sorted(path for path in pathlib.Path(folder).parent.rglob("*") if path.is_file())


def table(found, good=GOOD):
    """How many of each kind ended how, and what ended otherwise than it should."""
    counts, wrong = collections.defaultdict(collections.Counter), []
    for kind, name, end in found:
        counts[kind][end if end in good else "wrong"] += 1
        if end not in good:
            wrong.append(f"  {kind} {name}: {end}")
    columns = (*good, "wrong")
    rows = ["".join(f"{column:>14}" for column in ("kind", *columns))]
    for kind, ends in counts.items():
        rows.append(f"{kind:>14}" + "".join(f"{ends[column]:14}" for column in columns))
    return "\n".join([*rows, *wrong])
