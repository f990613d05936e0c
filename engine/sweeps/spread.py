"""One solve spread over an executor: full sweeps and policy sweeps are cut into parts that any process can redo.

A part is some global states and, if there are more processes than global states, a share of the work in them. Its tables
are built where it first runs and kept in that process. A part that is lost with its process is computed again elsewhere. Parts
are put together by maxima, and where equals meet by the order of their choices: the bits are those of one machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backups.global_tables import Improvement, RoundingTerms
from ..backups.selection import Backup, GameSlice, make_exact, make_listed
from ..game import Game

# Problems whose tables a process keeps: that of k agents, and that of fewer on the way.
MAX_PROBLEMS = 2
# Parts for each process, so that none waits long for another.
PARTS_PER_PROCESS = 2
# Times that a lost part is handed out again.
MAX_TRIES = 4
POLL_S = 0.5


class LostExecutorError(RuntimeError):
    """Nothing computes the parts any more."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a backup is made from."""

    game: Game
    k: int
    actions: str
    expectation: str
    local_policy: np.ndarray | None
    method: str | None  # of EXACT_METHODS
    samples: int
    seed: int
    error: float
    memory_bytes: int

    def backup(self, first: int, stop: int) -> Backup:
        """The backup of the global states [first, stop)."""
        part: Any = GameSlice(game=self.game, first=first, stop=stop)
        policy = None if self.local_policy is None else self.local_policy[first:stop]
        if self.expectation != "exact":
            return make_listed(part, self.k, self.actions, self.samples, self.seed, policy, self.memory_bytes)
        return make_exact(
            part, self.k, self.actions, policy, method=self.method, error=self.error, memory_bytes=self.memory_bytes
        )


# In the processes that compute.

_lock = threading.Lock()
_kept: OrderedDict[str, dict[tuple[int, int], dict[str, Any]]] = OrderedDict()


def _tables_of(digest: str, problem: bytes, first: int, stop: int) -> dict[str, Any]:
    """The backup of some global states, built once in a process, with the policy that it followed last."""
    if digest not in _kept:
        while len(_kept) >= MAX_PROBLEMS:
            _kept.popitem(last=False)
        _kept[digest] = {}
    _kept.move_to_end(digest)
    parts = _kept[digest]
    if (first, stop) not in parts:
        parts[first, stop] = {
            "backup": pickle.loads(problem).backup(first, stop),
            "kept": None,
            "share": (0, 1),
            "choice": None,
            "followed": None,
        }
    return parts[first, stop]


def compute_part(
    digest: str,
    problem: bytes,
    part: tuple[int, int, int, int],
    threads: int | None,
    request: str,
    value: Any,
    *more: Any,
) -> Any:
    """Compute one part. Done again, anywhere, it gives the same bits.

    Parameters
    ----------
    digest, problem : SHA-256 of the pickled Problem, and that
    part : (first, stop, share, shares)    global states, and which share of the work in them
    threads : int or None                  for the kernels; None: those of the Dask worker
    request : "describe", "sweep", "improve", "greedy" or "follow"
    value : float64[n_sg, n_c]
    more : what the request needs besides
    """
    import numba

    if threads is None:
        from distributed import get_worker

        threads = get_worker().state.nthreads
    first, stop, share, shares = part
    with _lock:
        numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
        tables = _tables_of(digest, problem, first, stop)
        backup = tables["backup"]
        if request == "describe":
            names = ("improve", "follow", "keep", "restrict")
            return {
                "method": backup.method, "work": backup.work, "rounding": backup.rounding_terms,
                "policy_work": getattr(backup, "policy_work", np.inf),
                "policy_bytes": getattr(backup, "policy_bytes", np.inf),
                "offers": [name for name in names if hasattr(backup, name)],
            }  # fmt: skip
        if request == "follow":
            return _follow(tables, value, *more)
        _limit(tables, more[0], share, shares)
        more = more[1:]
        if request == "sweep":
            out = np.empty((stop - first, value.shape[1]))
            backup.sweep(value, out)
            return out
        if request == "improve":
            return backup.improve(value, *more)
        return backup.greedy(value, *more)[1:]


def _limit(tables: dict[str, Any], kept: np.ndarray | None, share: int, shares: int) -> None:
    """Limit a backup, which may have served other solves, to the actions that are kept and to a share of the work."""
    backup = tables["backup"]
    if hasattr(backup, "keep"):
        kept = np.ones(backup.r_g.shape, dtype=bool) if kept is None else kept
        if tables["kept"] is None or (kept != tables["kept"]).any():
            backup.keep(kept)
            tables["kept"] = kept
    if hasattr(backup, "restrict") and tables["share"] != (share, shares):
        backup.restrict(share, shares)
        tables["share"] = share, shares


def _follow(tables: dict[str, Any], value: np.ndarray, choice: np.ndarray, rewards: bool) -> np.ndarray:
    if tables["choice"] is None or not np.array_equal(tables["choice"], choice):
        tables["followed"] = tables["backup"].follow(choice, tables["followed"])
        tables["choice"] = choice
    return tables["followed"].apply(value, rewards=rewards)


def _same(value: np.ndarray) -> np.ndarray:
    """What all parts of a sweep are computed from, as a task."""
    return value


# In the process that solves.


class SpreadBackup:
    """A backup whose parts an executor computes; offers what the backup of one machine offers.

    Parameters
    ----------
    problem : Problem
    workers : Workers
    """

    def __init__(self, problem: Problem, workers: Workers | DaskWorkers):
        self._n_sg, self._n_ag = problem.game.r_g.shape
        self._pickled = pickle.dumps(problem)
        self._digest = hashlib.sha256(self._pickled).hexdigest()
        self._workers = workers
        self._kept: np.ndarray | None = None
        wanted = max(1, PARTS_PER_PROCESS * workers.count())
        groups = min(self._n_sg, wanted)
        edges = [self._n_sg * i // groups for i in range(groups + 1)]
        self._groups = [(edges[i], edges[i + 1], 0, 1) for i in range(groups)]
        found = self._map("describe", None, self._groups, [()] * groups)
        self.method: str = found[0]["method"]
        self.work, self.policy_work, self.policy_bytes = (
            sum(x[name] for x in found) for name in ("work", "policy_work", "policy_bytes")
        )
        terms = [x["rounding"] for x in found]
        self.rounding_terms = RoundingTerms(
            relative=max(x.relative for x in terms), r_g=max(x.r_g for x in terms), r_l=max(x.r_l for x in terms)
        )
        offers = found[0]["offers"]
        shares = -(-wanted // groups) if "restrict" in offers else 1
        self._parts = [(first, stop, i, shares) for first, stop, _, _ in self._groups for i in range(shares)]
        if "improve" in offers:
            self.improve, self.follow = self._improve, self._follow
        if "keep" in offers:
            self.keep = self._keep

    def _map(self, request: str, value: np.ndarray | None, parts: Sequence[tuple], more: Sequence[tuple]) -> list[Any]:
        return self._workers.map(self._digest, self._pickled, parts, request, value, more)

    def _kept_in(self, part: tuple) -> np.ndarray | None:
        return None if self._kept is None else self._kept[part[0] : part[1]]

    def _keep(self, kept: np.ndarray) -> None:
        self._kept = kept

    def sweep(self, value: np.ndarray, out_value: np.ndarray) -> None:
        """Write TV: one backup of `value`, float64[n_sg, n_c]."""
        out_value[:] = -np.inf
        found = self._map("sweep", value, self._parts, [(self._kept_in(part),) for part in self._parts])
        for part, backed_up in zip(self._parts, found, strict=True):
            rows = out_value[part[0] : part[1]]
            np.maximum(rows, backed_up, out=rows)

    def _improve(self, value: np.ndarray, per_action: bool) -> Improvement:
        found = self._map("improve", value, self._parts, [(self._kept_in(part), per_action) for part in self._parts])
        width = found[0].choice.shape[2]
        backed_up = np.full(value.shape, -np.inf)
        choice = np.zeros((*value.shape, width), dtype=np.int64)
        per_action = found[0].action_value.size > 0
        action_value = np.full((self._n_sg, self._n_ag, value.shape[1]) if per_action else (0, 0, 0), -np.inf)
        for part, one in zip(self._parts, found, strict=True):
            rows = slice(part[0], part[1])
            # Shares of laws and actions can attain the same maximum: the first law, then the lowest a_g, as in one share.
            equal = (one.value == backed_up[rows]) & (one.choice[:, :, 1] < choice[rows, :, 1])
            better = (one.value > backed_up[rows]) | equal
            backed_up[rows][better] = one.value[better]
            choice[rows][better] = one.choice[better]
            if per_action:
                np.maximum(action_value[rows], one.action_value, out=action_value[rows])
        return Improvement(value=backed_up, choice=choice, action_value=action_value)

    def _follow(self, choice: np.ndarray, previous: object = None) -> SpreadPolicy:
        return SpreadPolicy(self, choice)

    def greedy(
        self, value: np.ndarray, backed_up: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TV, unless it is known, with the greedy choice: a_g int32[n_sg, n_c] and item int64[n_sg, n_c]."""
        if backed_up is None:
            backed_up = np.empty_like(value)
            self.sweep(value, backed_up)
        more = [(self._kept_in(part), backed_up[part[0] : part[1]]) for part in self._groups]
        found = self._map("greedy", value, self._groups, more)
        return backed_up, np.concatenate([x[0] for x in found]), np.concatenate([x[1] for x in found])

    def rounding_error(self, value: np.ndarray) -> float:
        """Bound on the rounding error of one sweep."""
        return self.rounding_terms.error(value)


class SpreadPolicy:
    """A policy whose parts an executor follows."""

    def __init__(self, backup: SpreadBackup, choice: np.ndarray):
        self._backup = backup
        self._choices = [choice[first:stop] for first, stop, _, _ in backup._groups]

    def apply(self, value: np.ndarray, *, rewards: bool = True) -> np.ndarray:
        """One sweep of the policy, float64[n_sg, n_c]; without rewards its linear part."""
        more = [(choice, rewards) for choice in self._choices]
        return np.concatenate(self._backup._map("follow", value, self._backup._groups, more))


class Workers:
    """An executor of `concurrent.futures`, asked for parts.

    Parameters
    ----------
    executor : a ProcessPoolExecutor (its processes must not be forked from one that ran kernels: take the context "spawn") or a
        ThreadPoolExecutor; its parts run one at a time within a process
    """

    def __init__(self, executor: Executor):
        self._executor = executor

    def count(self) -> int:
        """Processes that compute."""
        return getattr(self._executor, "_max_workers", 1)

    def map(self, digest, problem, parts, request, value, more) -> list[Any]:
        """Compute parts, in order; `LostExecutorError` if nobody does."""
        import numba

        threads = max(1, numba.get_num_threads() // self.count())
        try:
            futures = [
                self._executor.submit(compute_part, digest, problem, part, threads, request, value, *x)
                for part, x in zip(parts, more, strict=True)
            ]
            return [future.result() for future in futures]
        except (BrokenExecutor, OSError) as error:
            raise LostExecutorError("executor: its processes were killed") from error


class DaskWorkers:
    """The workers of a Dask scheduler, asked for parts.

    A part goes to the worker that has its tables as long as that worker lives; a value is sent once to each worker.

    Parameters
    ----------
    client : distributed.Client
    address : str
    """

    def __init__(self, client: Any, address: str):
        self._client, self._address = client, address

    def _names(self) -> list[str]:
        return sorted(self._client.scheduler_info(n_workers=-1).get("workers", ()))

    def count(self) -> int:
        """Workers that the scheduler has now."""
        return max(1, len(self._names()))

    def _lost(self) -> LostExecutorError:
        return LostExecutorError(f"scheduler: {self._address} was lost")

    def map(self, digest, problem, parts, request, value, more) -> list[Any]:
        """Compute parts, in order, those of lost workers again; `LostExecutorError` if the scheduler is lost."""
        for attempt in range(MAX_TRIES):
            try:
                return self._try(digest, problem, parts, request, value, more)
            except (ValueError, MemoryError):
                raise
            except Exception as error:
                if self._client.status != "running":
                    raise self._lost() from error
                if attempt == MAX_TRIES - 1:
                    raise LostExecutorError(
                        f"scheduler: {self._address} lost the workers of one part {MAX_TRIES} times"
                    ) from error
        raise AssertionError

    def _try(self, digest, problem, parts, request, value, more) -> list[Any]:
        import dask

        client = self._client
        if client.status != "running":
            raise self._lost()
        names = self._names()
        # Values are large, and meant to be.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}):
            # A task that the scheduler can give again: what is scattered is lost with its worker, or never comes to one that ends.
            sent = None if value is None else client.submit(_same, value, pure=False)
            futures = [
                client.submit(
                    compute_part,
                    *(digest, problem, part, None, request, sent, *x),
                    workers=[names[i * len(names) // len(parts)]] if names else None,
                    allow_other_workers=bool(names),
                    pure=False,
                    retries=2,
                )
                for i, (part, x) in enumerate(zip(parts, more, strict=True))
            ]
        return [self._result(future) for future in futures]

    def _result(self, future: Any) -> Any:
        while True:
            if self._client.status != "running":
                raise self._lost()
            with contextlib.suppress(TimeoutError):
                return future.result(timeout=POLL_S)


def as_workers(executor: Any) -> Workers | DaskWorkers:
    """What computes parts on an executor of `concurrent.futures` or with a `distributed.Client`."""
    if isinstance(executor, Workers | DaskWorkers):
        return executor
    if isinstance(executor, Executor):
        return Workers(executor)
    if hasattr(executor, "scatter") and hasattr(executor, "scheduler_info"):
        return DaskWorkers(executor, str(executor.scheduler.address))
    raise ValueError(
        f"executor: found {type(executor).__name__}, expected a concurrent.futures.Executor or a distributed.Client"
    )
