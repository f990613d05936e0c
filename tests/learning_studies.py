"""Two small studies of learning, made once by the command: spins at three temperatures, and two methods with two n."""

import pytest
from command_runs import succeed

SPINS = [
    "ising",
    "-n",
    16,
    "--method",
    "mfq",
    "--order",
    "sequential",
    "--tables",
    "own",
    "--temperature",
    "0.8:1.6:0.4",
]
SPINS += ["--steps", 60, "--runs", 3, "--tail", 0.5]
SQUEEZE = [
    "gaussian-squeeze",
    "--method",
    "mfq,iq",
    "-n",
    "3,5",
    "--bins",
    4,
    "--tables",
    "own",
    "--steps",
    40,
    "--runs",
    3,
]
SQUEEZE += ["--set", "mu=10", "--set", "sigma=5", "--seed", 4]
STUDY_FILE = """
games = "gaussian-squeeze"
method = ["mfq", "iq"]
n = [3, 5]
steps = 40
runs = 3
seed = 4
constants = { mu = 10, sigma = 5 }
[learning]
bins = 4
tables = "own"
"""


@pytest.fixture(scope="session")
def spins(tmp_path_factory):
    """What a study of spins said, and its folder."""
    folder = tmp_path_factory.mktemp("spins")
    return succeed("study", *SPINS, "-o", folder, "-q"), folder


@pytest.fixture(scope="session")
def squeeze(tmp_path_factory):
    """What a study of two methods and two numbers of agents said, and its folder."""
    folder = tmp_path_factory.mktemp("squeeze")
    return succeed("study", *SQUEEZE, "-o", folder, "-q"), folder
