"""`python -m tests.fuzz calls --seed 0 --count 2000 --only ops`: how wrong calls end, by module."""

import argparse

from tests.fuzz import calls

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("what", choices=("calls",))
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--count", type=int, default=2000)
parser.add_argument("--only", help="a module, for example ops")
arguments = parser.parse_args()
found = list(calls.outcomes(arguments.seed, arguments.count, arguments.only))
print(calls.table(found))
