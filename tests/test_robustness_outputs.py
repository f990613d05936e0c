"""Outputs that cannot be written or must not be: nothing half-written, nothing replaced, one line."""

import os
import shutil
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest
from command_runs import refused, shell, succeed, unchanged, write_game

from kofn.engine.deployment_files import read_deployment_file
from kofn.engine.files import KofnFileError, create_array, write_atomically
from kofn.engine.solution_files import read_solution

TINY_STUDY = ("--steps", 5, "--runs", 2, "--jobs", 1, "-q")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a game, and a solution of it for k = 3."""
    folder = tmp_path_factory.mktemp("shelf")
    write_game(folder)
    succeed("solve", folder / "rooms.toml", "-k", 3, "-o", folder / "s.h5", "-q")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, shelf):
    """A working folder with the game and the solution."""
    monkeypatch.chdir(tmp_path)
    for name in ("rooms.toml", "s.h5"):
        shutil.copy(shelf / name, tmp_path)
    return tmp_path


def solve_to(output, *more):
    return ("solve", "rooms.toml", "-k", 2, "-o", output, "-q", *more)


def deploy_to(output, *more):
    return ("deploy", "s.h5", "--steps", 3, "-o", output, "-q", *more)


# ---- What is there already


@pytest.mark.parametrize("command", [solve_to, deploy_to])
def test_an_existing_output_is_kept_without_force_and_replaced_with_it(command, here):
    (here / "new.h5").write_bytes(b"precious")
    with unchanged(here):
        assert refused(*command("new.h5")) == "new.h5: exists already, expected a new file (or --force)"
    # A refusal after the work has begun keeps it as well.
    with unchanged(here):
        refused(*command("new.h5", "--force", "--memory", "1B"))
    before = os.stat("new.h5").st_ino
    succeed(*command("new.h5", "--force"))
    assert os.stat("new.h5").st_ino != before
    assert sorted(os.listdir()) == ["new.h5", "rooms.toml", "s.h5"]


@pytest.mark.parametrize("command", [solve_to, deploy_to])
def test_outputs_that_are_no_files(command, here):
    (here / "folder.h5").mkdir()
    os.mkfifo("pipe.h5")
    with unchanged(here):
        assert "is a directory" in refused(*command("folder.h5"), code=2)
        assert "is a directory" in refused(*command("."), code=2)
        assert "found an empty path" in refused(*command(""), code=2)
        assert refused(*command("pipe.h5")).startswith("pipe.h5: exists already")
        # A rename would replace even /dev/null.
        assert refused(*command("pipe.h5", "--force")) == "pipe.h5: is a device or a pipe, expected a file"
        assert refused(*command("/dev/full")).startswith("/dev/full: exists already")
        assert refused(*command("none/new.h5")) == "none/new.h5: cannot be written (no folder none)"
        assert refused(*command("rooms.toml/new.h5")) == "rooms.toml/new.h5: cannot be written (no folder rooms.toml)"
        assert refused(*command("/proc/new.h5")).startswith("/proc/new.h5: cannot be written (")
        # Long enough for itself, too long with what is written first.
        for length in (300, 250):
            assert "File name too long" in refused(*command("x" * length))
    assert stat.S_ISFIFO(os.stat("pipe.h5").st_mode)


def test_a_checkpoint_that_could_not_be_written_is_noticed_before_the_work(here):
    with unchanged(here):
        assert "checkpoint: cannot be written (File name too long)" in refused(*solve_to("x" * 240))
    (here / "new.h5.checkpoint").mkdir()
    with unchanged(here):
        assert refused(*solve_to("new.h5", "--force")) == "new.h5.checkpoint: is a folder, expected a file"


def test_folders_of_studies_that_cannot_be_made(here):
    def study(output):
        return ("study", "rooms.toml", "-k", 1, "-o", output, *TINY_STUDY)

    with unchanged(here):
        assert "is a file" in refused(*study("rooms.toml"), code=2)
        assert "found an empty path" in refused(*study(""), code=2)
        assert "Not a directory" in refused(*study("rooms.toml/new"))
        assert refused(*study("/proc/new")).startswith("/proc/new")


@pytest.mark.parametrize("command", [solve_to, deploy_to])
def test_a_link_stays_and_its_file_is_written(command, here):
    (here / "elsewhere").mkdir()
    (here / "link.h5").symlink_to("elsewhere/target.h5")
    succeed(*command("link.h5"))
    assert os.path.islink("link.h5")
    first = (here / "elsewhere" / "target.h5").read_bytes()
    assert first.startswith(b"\x89HDF")
    assert "exists already" in refused(*command("link.h5"))
    succeed(*command("link.h5", "--force"))
    assert os.path.islink("link.h5")
    assert os.listdir("elsewhere") == ["target.h5"]
    (here / "lost.h5").symlink_to("none/target.h5")
    with unchanged(here):
        assert refused(*command("lost.h5")) == f"lost.h5: cannot be written (no folder {here}/none)"


def test_an_output_is_never_an_input(here):
    (here / "link.h5").symlink_to("s.h5")
    os.link("s.h5", "hard.h5")
    np.save("policy.npy", np.full((2, 2, 2), 0.5))
    with unchanged(here):
        for arguments in (
            solve_to("rooms.toml"),
            solve_to("./rooms.toml", "--force"),
            solve_to("policy.npy", "--force", "--local-policy", "policy.npy"),
            ("solve", "s.h5", "-k", 1, "-o", "s.h5", "--force"),
            deploy_to("s.h5", "--force"),
            deploy_to("link.h5", "--force"),
            deploy_to("hard.h5", "--force"),
        ):
            assert "is what the command reads, expected another file" in refused(*arguments, code=2)


@pytest.mark.parametrize("name", ["two words.h5", "ünï-日本-🎲.h5", "-", "a'b\"c.h5", "new\nline.h5"])
def test_any_name_will_do(name, here):
    succeed("solve", "rooms.toml", "-k", 2, f"--output={name}", "-q")
    assert read_solution(name).k == 2
    succeed("deploy", "--steps", 3, "-q", "-o", f"{name} 2", "--", name)
    assert read_deployment_file(f"{name} 2").config["n"] == 4
    assert name in succeed("inspect", "--", name)
    os.unlink(name)
    assert "\n" not in refused("inspect", "--", name)


# ---- Checkpoints


def test_checkpoints_of_something_else(here):
    refused(*solve_to("new.h5", "--max-sweeps", 2))
    with unchanged(here):
        assert "expected --resume to continue or --force to start anew" in refused(*solve_to("new.h5"))
        for other, words in (
            (("-k", 3), "k is 2, expected 3"),
            (("--tol", "1e-3"), "tol is 1e-06, expected 0.001"),
            (("--actions", "shared"), 'actions is "joint", expected "shared"'),
            (("--expectation", "sampled"), 'expectation is "exact", expected "sampled"'),
            (("--local-policy", "uniform"), 'actions is "joint", expected "fixed"'),
        ):
            message = refused(*solve_to("new.h5", "--resume", *other))
            assert message == f"new.h5.checkpoint: checkpoint of another solve, {words}"
    write_game(here, ("gamma = 0.5", "gamma = 0.6"))
    with unchanged(here):
        assert "checkpoint of another solve, game is" in refused(*solve_to("new.h5", "--resume"))
    shutil.copy("s.h5", "new.h5.checkpoint")
    with unchanged(here):
        assert "format 'kofn-solution', expected 'kofn-checkpoint'" in refused(*solve_to("new.h5", "--resume"))
    succeed(*solve_to("new.h5", "--force"))
    assert not os.path.exists("new.h5.checkpoint")


def test_a_part_that_a_killed_run_left_is_no_hindrance(here):
    for name in ("new.h5.partial", "new.h5.checkpoint.partial"):
        (here / name).write_bytes(b"half a fi")
    succeed(*solve_to("new.h5"))
    assert sorted(os.listdir()) == ["new.h5", "rooms.toml", "s.h5"]
    # What stands in its place and is no file is.
    for make in (os.mkdir, os.mkfifo, lambda name: os.symlink("s.h5", name)):
        make("other.h5.partial")
        with unchanged(here):
            assert refused(*solve_to("other.h5")).endswith("other.h5.partial is in the way)")
        os.rmdir("other.h5.partial") if make is os.mkdir else os.unlink("other.h5.partial")


# ---- What goes wrong while writing


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), RuntimeError("x"), MemoryError(), KeyboardInterrupt(), OSError(5, "x")]
)
def test_nothing_is_left_of_a_file_that_failed(error, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"precious")

    def fill(file):
        create_array(file, "a", np.ones(1000))
        raise error

    with unchanged(tmp_path), pytest.raises((type(error), KofnFileError)):
        write_atomically(path, fill, overwrite=True)


SECOND_WRITER = """
from kofn.engine.files import *
check_writable("a.h5")
for write in (lambda: write_atomically("a.h5", print), lambda: write_bytes_atomically("a.h5", b"x")):
    try:
        write()
    except KofnFileError as error:
        print(error)
"""


def test_two_writers_of_one_file_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fill(file):
        create_array(file, "a", np.ones(1000))
        done = subprocess.run([sys.executable, "-c", SECOND_WRITER], capture_output=True, text=True, check=True)
        assert done.stdout == "a.h5: cannot be written (another process is writing it)\n" * 2

    write_atomically("a.h5", fill)
    with h5py.File("a.h5") as file:
        assert file["a"][...].sum() == 1000


FULL_DISK = """
import os, resource, signal, sys
from kofn.engine.files import KofnFileError, write_bytes_atomically
from kofn.engine.solution_files import read_solution, write_solution

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
solution = read_solution("s.h5")
failed = 0
for limit in range(0, os.path.getsize("s.h5"), 400):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for write in (lambda: write_solution("new.h5", solution, overwrite=True),
                  lambda: write_bytes_atomically("new.h5", bytes(100_000))):
        try:
            write()
        except KofnFileError as error:
            assert str(error) == "new.h5: cannot be written (File too large)", error
            failed += 1
    assert sorted(os.listdir()) == ["new.h5", "rooms.toml", "s.h5"]
assert open("new.h5", "rb").read() == b"precious"
print(failed)
"""


def test_a_full_disk_at_any_point_is_one_line_and_no_crash(here):
    (here / "new.h5").write_bytes(b"precious")
    done = subprocess.run([sys.executable, "-c", FULL_DISK], capture_output=True, text=True, timeout=300)
    # HDF5 would crash when the process ends.
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == 2 * -(-os.path.getsize("s.h5") // 400)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("solve rooms.toml -k 2 -o new.h5 -q", set()),
        ("solve rooms.toml -k 2 -o s.h5 --force -q", set()),
        ("deploy s.h5 --steps 50 -o new.h5 -q", set()),
        ("study rooms.toml -k 1 -o st --steps 5 --runs 2 --jobs 1 -q > /dev/null", {"st", "st/cells", "st/sensitivity.json"}),
    ],
)  # fmt: skip
def test_commands_on_a_full_disk(command, left, here):
    before = {path: path.read_bytes() for path in here.iterdir()}
    full = "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    full += "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); os.execvp('kofn', ['kofn', *sys.argv[1:]])"
    code, out, err = shell(f'{sys.executable} -c "{full}" {command}', here)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.endswith("cannot be written (File too large)\n")
    assert err.count("\n") == 1
    assert {str(path.relative_to(here)) for path in here.rglob("*")} == {path.name for path in before} | left
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
def test_a_machine_without_the_memory_that_it_was_said_to_have(here):
    before = sorted(os.listdir())
    command = "kofn deploy s.h5 -n 1e9 --level agents --steps 1 --memory 100GB -o new.h5 -q"
    code, out, err = shell(f"ulimit -v 4000000; {command}", here, NUMBA_NUM_THREADS="1")
    assert (code, out, err) == (1, "", "Error: memory: this needs more than the machine has; lower k or n\n")
    assert sorted(os.listdir()) == before
