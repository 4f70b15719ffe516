"""`python -m tests.fuzz archives --seed 0 --count 500`: how hostile files and wrong calls end."""

import argparse
import importlib
import pathlib

PARTS = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("*.py"))
PARTS = [name for name in PARTS if not name.startswith("__") and name != "limits"]

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("what", choices=PARTS)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--count", type=int, help="how many, drawn from the seed")
parser.add_argument("--only", help="one kind: a row of the table, for example ops of `calls`")
arguments = parser.parse_args()
part = importlib.import_module(f"tests.fuzz.{arguments.what}")
count = {} if arguments.count is None else {"count": arguments.count}
print(part.table(list(part.outcomes(arguments.seed, only=arguments.only, **count))))
