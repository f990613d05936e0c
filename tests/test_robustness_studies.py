"""What study, export and report refuse: lists, TOML files, names, folders, addresses, damaged files; in one line each."""

import json
import random
import signal
import socket
import time

import h5py
import pytest
from command_runs import GAME, refusal_of, refused, run, succeed, unchanged, write_game
from processes import KOFN, Session, catches_sigterm
from study_example import write_example_study

from kofn.cli.signals import end_on_signals
from kofn.engine.export import export_file
from kofn.engine.files import KofnFileError
from kofn.engine.report.page import write_report
from kofn.engine.study.files import read_games, read_study, read_timings
from kofn.engine.study.settings import StudySettings, load_study

FLIPS = 30


@pytest.fixture
def game(tmp_path):
    return write_game(tmp_path)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Folder of a study that nobody ran."""
    return write_example_study(tmp_path_factory.mktemp("example") / "study").parent


# Lists and numbers.


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-k", "1,1"), ("-k", ""), ("-k", ","), ("-k", "n,n"), ("-k", "0"), ("-k", "1e30"), ("-k", "1:1000000000"),
        ("-k", "3:1"), ("-n", "1,1"), ("-n", "0"), ("-n", "1e12"), ("-n", "n"), ("--seeds", "1,1"), ("--seeds", "-1"),
        ("--seeds", "9" * 30), ("--tol", "nan"), ("--tol", "0"), ("--jobs", "0"), ("--jobs", "5000"), ("--steps", "0"),
        ("--actions", "joint,joint"), ("--actions", ""), ("--expectation", "x"), ("--samples", "0"), ("--memory", "x"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_usage_errors(option, value, game, tmp_path):
    words = ["study", game, "-k", 1, "-o", tmp_path / "study"]
    with unchanged(tmp_path):
        assert f"'{option}'" in refused(*words, option, value, code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", 5], "k: found 5, expected at most n = 4"),
        (["-k", "1e9", "-n", "1e9"], "k: 1000000000 agents in 2 states have "),
        (["-k", 1, "--memory", 1], "k: 1 agents in 2 states have 2 count vectors, whose values take "),
        (["-k", 1, "--actions", "fixed"], "local_policy: found none with actions fixed, "),
        (["-k", 1, "--local-policy", "none.npy"], "local_policy: found 'none.npy', "),
    ],
)
def test_what_does_not_fit_is_refused_before_the_folder_is_made(words, message, game, tmp_path):
    with unchanged(tmp_path):
        assert refused("study", game, *words, "-o", tmp_path / "study").startswith(message)
        assert refused("study", game, *words, "--dry-run").startswith(message)


# TOML files.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k = 1.5", "k: found 1.5, "), ("k = true", "k: found True, "), ("k = []", "k: found no sample size, "),
        ("k = [[1]]", "k: found [1], "), ("k = 2020-01-01", "k: found datetime.date(2020, 1, 1), "),
        ("n = [4.0]", "n: found 4.0, "), ("n = [1073741825]", "n: found 1073741825, expected at most 1073741824"),
        ("games = []", "games: found none, "), ("games = 5", "games: found 5, "), ("games = [true]", "games: found True, "),
        ("games = ['rooms.toml', 'rooms.toml']", "games: found 2 games named 'rooms', "), ("games = ''", "game: found ''"),
        ("games = ['..']", "..: found suffix "), ("actions = 3", "actions: found 3, "),
        ("actions = [['joint']]", "actions: found ['joint'], "), ("expectation = {exact = 1}", "expectation: found {"),
        ("samples = 0", "samples: found 0, "), ("samples = true", "samples: found True, "),
        ("seeds = []", "seeds: found none, "), ("seeds = [1, 1]", "seeds: found 1 twice, "),
        ("seeds = 1.0", "seeds: found 1.0, "), ("steps = 1e3", "steps: found 1000.0, "), ("runs = [1]", "runs: found [1], "),
        ("steps = 9223372036854775808", "steps: found "), ("level = 'x'", "level: found 'x', "),
        ("level = ['counts']", "level: found ['counts'], "), ("level = 'counts,agents'", "level: found 'counts,agents', "),
        ("tol = nan", "tol: found nan, "), ("tol = 0", "tol: found 0, "), ("tol = '1'", "tol: found '1', "),
        (f"tol = {'9' * 400}", "tol: found 999"), ("simulate = 1", "simulate: found 1, "), ("exact = 1", "exact: found 1, "),
        ("refine = 'true'", "refine: found 'true', "), ("local_policy = 5", "local_policy: found 5, "),
        ("local_policy = [1, 2]", "local_policy: found shape (2,), "), ("local_policy = '..'", "local_policy: "),
        ("local_policy = [[1], [1, 2]]", "local_policy: found lists of unequal lengths, "),
        ("k_is_n = true", "k_is_n: unknown, "), ("foo = 1", "foo: unknown, "),
        ('"<b>\\n\\u001b[31m" = 1', r"'<b>\n\x1b[31m': unknown, "), (f"{'z' * 9999} = 1", f"'{'z' * 50}"),
    ],
)  # fmt: skip
def test_study_files_with_wrong_values(line, message, game, tmp_path):
    path = tmp_path / "wrong.toml"
    settings = {"games": "['rooms.toml']", "k": "[1]"}
    kept = [f"{key} = {value}" for key, value in settings.items() if not line.startswith(f"{key} =")]
    path.write_text("\n".join([*kept, line]) + "\n")
    with unchanged(tmp_path):
        found = refused("study", path, "-o", tmp_path / "study")
    assert found.startswith(f"{path}: ")
    assert message in found
    assert len(found) < 600
    with pytest.raises(ValueError, match=r"wrong\.toml: "):
        load_study(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"games = [\nk =", "Invalid value (at line 2"),
        (b"games = ['rooms.toml']\nk = 1\n# \xff\xfe", "found byte 0xff"),
        (b"games = ['rooms.toml']\nk = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"games = ['rooms.toml']\nk = 1\n# " + b"x" * 10**7, ""),
        (b"games = ['rooms.toml']\n", "k: missing"),
        (b"k = [1]\n", "games: missing"),
        (b"", "gamma: missing"),
    ],
    ids=["syntax", "bytes", "deep", "long", "no k", "no games", "empty"],
)
def test_study_files_that_are_none(content, message, game, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    found = refused("study", path, "-o", tmp_path / "study")
    assert found.startswith(f"{path}: ")
    assert message in found
    with pytest.raises(ValueError, match=r"wrong\.toml: "):
        load_study(path)


# Names of games.


def test_games_may_have_any_printable_name(tmp_path):
    names = [
        "game 1",
        "a/b",
        "a?b",
        "..",
        ".",
        "/etc/passwd",
        "<script>alert(1)</script>",
        "'\"`$(x)",
        "{0} %s $x$",
        " ",
    ]
    paths = []
    for i, name in enumerate(names):
        paths.append(tmp_path / f"{i}.toml")
        paths[-1].write_text(GAME.replace('name = "rooms"', f"name = {json.dumps(name)}"))
    folder = tmp_path / "study"
    words = ["-k", 1, "--no-simulate", "--jobs", 1, "-q", "-o", folder]
    succeed("study", *paths, *words)
    assert list(read_games(folder / "study.h5")) == names
    # The same tables under two names are two cells.
    assert len(list((folder / "cells").glob("*k=0001.h5"))) == len(names)
    assert sorted(path.parent.name for path in folder.rglob("*.h5")) == sorted(
        ["cells"] * 2 * len(names) + ["study"] * 2
    )
    succeed("report", folder, "-o", tmp_path / "report.html")
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    for suffix in (".csv", ".nc"):
        succeed("export", folder, "-o", tmp_path / f"table{suffix}")
    assert refused("study", paths[0], paths[0], *words).startswith("games: found 2 games named 'game 1', ")


# Folders.


def test_results_of_others_are_not_replaced(game, tmp_path):
    words = ["-k", 1, "--no-simulate", "--jobs", 1, "-q", "-o", tmp_path / "study"]
    succeed("study", game, *words)
    other = write_game(tmp_path, ('name = "rooms"', 'name = "other"'), name="other.toml")
    with unchanged(tmp_path):
        message = refused("study", other, *words)
    assert message.endswith("study.h5: study of rooms, expected one of the same games; take another folder, or --force")
    for name in ("timings.h5", "study.h5"):
        (tmp_path / "study" / name).write_text("hello")
        with unchanged(tmp_path):
            assert "damaged or not a kofn file" in refused("study", game, *words)
    succeed("study", game, *words, "--force")
    read_study(tmp_path / "study" / "study.h5")


def test_folders_that_are_none(game, tmp_path):
    (tmp_path / "file").write_text("hello")
    with unchanged(tmp_path):
        refused("study", game, "-k", 1, "-o", tmp_path / "file", code=2)
        refused("study", game, "-k", 1, "-o", "", code=2)
        refused("study", game, "-k", 1, "-o", "/dev/null")
        for words in (("report", tmp_path, "-o", tmp_path / "x.html"), ("export", tmp_path, "-o", tmp_path / "x.csv")):
            assert refused(*words) == f"{tmp_path / 'study.h5'}: no such file"


def test_reports_and_tables_never_replace_what_they_read(example, tmp_path):
    (tmp_path / "study.html").touch()
    with unchanged(example), unchanged(tmp_path):
        for name in ("study.h5", "timings.h5"):
            assert "is what the command reads" in refused("report", example, "-o", example / name, "--force", code=2)
        assert "exists already" in refused("report", example, "-o", tmp_path / "study.html")
        refused("export", example, "-o", example / "study.h5", "--force", code=2)
        refused("export", example, "-o", tmp_path / "x.nc", "--what", "runs", code=2)
        assert refused("export", example, "-o", tmp_path / "x.csv", "--what", "states").startswith("what: ")


def test_study_without_timings_is_reported(tmp_path):
    folder = write_example_study(tmp_path / "study", timings=False).parent
    succeed("report", folder, "-o", tmp_path / "report.html")
    succeed("export", folder, "-o", tmp_path / "table.csv")


# Damaged files.


@pytest.mark.parametrize("name", ["study.h5", "timings.h5"])
def test_damaged_studies_are_refused_or_told_as_they_were(name, example, tmp_path):
    folder = write_example_study(tmp_path / "study").parent
    write_report(folder, tmp_path / "report.html")
    expected = (tmp_path / "report.html").read_bytes()
    content, draws = (folder / name).read_bytes(), random.Random(name)
    for i in range(FLIPS):
        changed = bytearray(content)
        if i % 3 == 2:
            del changed[draws.randrange(len(content)) :]
        else:
            changed[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        (folder / name).write_bytes(changed)
        message = refusal_of(write_report, folder, tmp_path / "report.html", overwrite=True)
        # The names of arrays have no checksum: a time may be missing in the report.
        if message is None and name == "study.h5":
            assert (tmp_path / "report.html").read_bytes() == expected
        for read in (read_study, read_timings):
            refusal_of(read, folder / name)
        for suffix in (".csv", ".nc"):
            result = run("export", folder / name, "-o", tmp_path / f"table{suffix}", "--force")
            assert result.exit_code == 0 or (result.exit_code == 1 and result.stderr.count("\n") == 1)


@pytest.mark.parametrize("name", ["n", "k", "game", "seed"])
def test_studies_of_wrong_arrays_are_refused(name, tmp_path):
    path = write_example_study(tmp_path / "study")
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(KofnFileError, match="damaged or not a kofn file"):
        read_study(path)
    with pytest.raises(KofnFileError, match="damaged or not a kofn file"):
        write_report(path.parent, tmp_path / "report.html")
    with pytest.raises(KofnFileError, match="damaged or not a kofn file"):
        export_file(path, tmp_path / "table.csv")
    assert not list(tmp_path.glob("*.*"))


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_short_work_ends_with_one_line(number, example, tmp_path, monkeypatch):
    for module, words in (("export", "x.csv"), ("report.page", "x.html")):

        def stop(*_, **__):
            signal.raise_signal(number)

        monkeypatch.setattr(f"kofn.engine.{module}.write_bytes_atomically", stop)
        assert refused(module.partition(".")[0], example, "-o", tmp_path / words) == "stopped"
    assert not list(tmp_path.iterdir())
    before = signal.getsignal(number)
    with end_on_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


# Addresses.


@pytest.mark.parametrize("address", ["none", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://a b:1", ""])
def test_addresses_that_are_none(address, game, tmp_path):
    with unchanged(tmp_path):
        for words in (("study", game, "-o", tmp_path / "study"), ("solve", game, "-o", tmp_path / "x.h5")):
            assert refused(*words, "-k", 1, "--scheduler", address).startswith("scheduler: found ")


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"\x00"])
def test_what_listens_is_no_scheduler(greeting, game, tmp_path, monkeypatch):
    monkeypatch.setattr("kofn.engine.study.cluster.CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        # Connections wait in the queue of the listener: nobody has to accept them to let them time out.
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        del client
        if greeting:
            import threading

            def greet():
                connection, _ = server.accept()
                connection.sendall(greeting)
                connection.close()

            threading.Thread(target=greet, daemon=True).start()
        message = refused("study", game, "-k", 1, "--scheduler", address, "-o", tmp_path / "study")
    assert message.startswith(f"scheduler: {address} does not answer (")
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_two_studies_at_once_in_one_folder(game, tmp_path):
    command = [KOFN, "study", game, "-k", "1:3", "--jobs", 1, "-q", "-o", "study", "--steps", 20]
    with Session(*command, folder=tmp_path) as first, Session(*command, folder=tmp_path) as second:
        ends = [first.finish(60.0), second.finish(60.0)]
    assert 0 in [code for code, _, _ in ends]
    for code, _, err in ends:
        assert (code == 0 and err == "") or (code == 1 and err.startswith("Error: ") and err.count("\n") == 1)
    read_study(tmp_path / "study" / "study.h5")
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
def test_stopped_study_leaves_no_part(game, tmp_path):
    command = [KOFN, "study", game, "-k", "1:4", "-n", 200, "--jobs", 1, "-q", "-o", "study", "--steps", 10**6]
    with Session(*command, folder=tmp_path) as study:
        study.wait_for(lambda: catches_sigterm(study.pid))
        time.sleep(0.5)
        study.kill(signal.SIGTERM)
        code, _, err = study.finish(60.0)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("Error: stopped")
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "study" / "study.h5").exists()


def test_settings_from_python_name_the_field(game):
    for wrong in (
        {"k": ()},
        {"k": None},
        {"k": 0},
        {"k": 10**30},
        {"n": -1},
        {"seeds": ()},
        {"tol": "x"},
        {"level": None},
    ):
        (field,) = wrong
        with pytest.raises(ValueError, match=f"^{field}: "):
            StudySettings(**({"games": str(game), "k": 1} | wrong))
