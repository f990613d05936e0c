"""kofn: learn with k agents, act with n.

Exact tabular solvers, evaluation and simulation for one global agent and n homogeneous local agents. The names below are
loaded when they are first used, so that `import kofn` stays quick; kernels for compiled code are in `kofn.kernels`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.6.0"

# Public name -> module of the engine that defines it.
_PUBLIC = {
    "Game": "game",
    "Labels": "game",
    "load_game": "game_files",
    "list_games": "game_files",
    "solve": "solve",
    "ConvergenceError": "solve",
    "Solution": "solution",
    "read_solution": "solution_files",
    "write_solution": "solution_files",
    "SubsamplePolicy": "policy",
    "uniform_local_policy": "policy",
    "evaluate": "evaluation.evaluate",
    "Evaluation": "evaluation.evaluate",
    "read_evaluation": "evaluation.files",
    "write_evaluation": "evaluation.files",
    "refine": "evaluation.refine",
    "Refinement": "evaluation.refine",
    "fit_slope": "evaluation.gaps",
    "SlopeFit": "evaluation.gaps",
    "sampling_bound": "evaluation.gaps",
    "alternate": "equilibrium.alternate",
    "AlternationSettings": "equilibrium.settings",
    "Equilibrium": "equilibrium.result",
    "read_equilibrium": "equilibrium.files",
    "write_equilibrium": "equilibrium.files",
    "mean_field_gains": "equilibrium.mean_field",
    "MeanFieldGains": "equilibrium.mean_field",
    "exploitability": "equilibrium.exploitability",
    "Exploitability": "equilibrium.exploitability",
    "deploy": "deployment",
    "Deployment": "deployment",
    "Field": "coupling",
    "Neighbourhood": "coupling",
    "learn": "learning.learn",
    "LearningSettings": "learning.settings",
    "make_learners": "learning.learners",
    "Learned": "learning.result",
    "read_learned": "learning.files",
    "write_learned": "learning.files",
    "learned_policy": "learning.policy",
    "play": "learning.policy",
    "measure": "learning.measure",
    "mean_field_fixed_point": "learning.fixed_point",
    "simulate_heat_bath": "learning.ising",
    "importance_weights": "drift.weights",
    "ImportanceWeights": "drift.weights",
    "corrected_estimate": "drift.bound",
    "DriftEstimate": "drift.bound",
    "DriftBound": "drift.bound",
    "learned_gaps": "equilibrium.flow_gaps",
    "LearnedGaps": "equilibrium.flow_gaps",
    "gap_of_law": "equilibrium.flow_gaps",
    "learned_law": "equilibrium.flow_law",
    "law_of_table": "equilibrium.flow_law",
    "mean_field_flow": "equilibrium.flow",
    "agents_flow": "equilibrium.flow",
    "flow_gap": "equilibrium.flow_response",
    "check_response": "equilibrium.flow_check",
    "cluster_runs": "equilibrium.clusters",
    "compare": "statistics.compare",
    "score_study": "study.scores",
    "count_sensitivity": "sensitivity",
    "CountSensitivity": "sensitivity",
    "study": "study.run",
    "Study": "study.results",
    "StudySettings": "study.settings",
    "load_study": "study.settings",
    "run_study": "study.run",
    "read_study": "study.files",
    "LearningStudySettings": "study.learning_settings",
    "load_learning_study": "study.learning_settings",
    "run_learning_study": "study.learning",
    "LearningStudy": "study.learning_results",
    "read_learning_study": "study.learning_files",
    "InventorySpec": "inventory.spec",
    "simulate_inventory": "inventory.simulate",
    "best_base_stock": "inventory.baselines",
    "read_inventory": "inventory.files",
    "base_stock": "inventory.policies",
    "constant_orders": "inventory.policies",
    "learned_orders": "inventory.policies",
    "random_orders": "inventory.policies",
    "table_orders": "inventory.policies",
    "inventory_game": "inventory.tables",
    "DriftStudySettings": "study.drift_settings",
    "load_drift_study": "study.drift_settings",
    "run_drift_study": "study.drift",
    "DriftStudy": "study.drift_results",
    "read_drift_study": "study.drift_files",
    "write_report": "report.page",
    "export_file": "export",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from .engine.coupling import Field, Neighbourhood
    from .engine.deployment import Deployment, deploy
    from .engine.drift.bound import DriftBound, DriftEstimate, corrected_estimate
    from .engine.drift.weights import ImportanceWeights, importance_weights
    from .engine.equilibrium.alternate import alternate
    from .engine.equilibrium.clusters import cluster_runs
    from .engine.equilibrium.exploitability import Exploitability, exploitability
    from .engine.equilibrium.files import read_equilibrium, write_equilibrium
    from .engine.equilibrium.flow import agents_flow, mean_field_flow
    from .engine.equilibrium.flow_check import check_response
    from .engine.equilibrium.flow_gaps import LearnedGaps, gap_of_law, learned_gaps
    from .engine.equilibrium.flow_law import law_of_table, learned_law
    from .engine.equilibrium.flow_response import flow_gap
    from .engine.equilibrium.mean_field import MeanFieldGains, mean_field_gains
    from .engine.equilibrium.result import Equilibrium
    from .engine.equilibrium.settings import AlternationSettings
    from .engine.evaluation.evaluate import Evaluation, evaluate
    from .engine.evaluation.files import read_evaluation, write_evaluation
    from .engine.evaluation.gaps import SlopeFit, fit_slope, sampling_bound
    from .engine.evaluation.refine import Refinement, refine
    from .engine.export import export_file
    from .engine.game import Game, Labels
    from .engine.game_files import list_games, load_game
    from .engine.inventory.baselines import best_base_stock
    from .engine.inventory.files import read_inventory
    from .engine.inventory.policies import base_stock, constant_orders, learned_orders, random_orders, table_orders
    from .engine.inventory.simulate import simulate_inventory
    from .engine.inventory.spec import InventorySpec
    from .engine.inventory.tables import inventory_game
    from .engine.learning.files import read_learned, write_learned
    from .engine.learning.fixed_point import mean_field_fixed_point
    from .engine.learning.ising import simulate_heat_bath
    from .engine.learning.learn import learn
    from .engine.learning.learners import make_learners
    from .engine.learning.measure import measure
    from .engine.learning.policy import learned_policy, play
    from .engine.learning.result import Learned
    from .engine.learning.settings import LearningSettings
    from .engine.policy import SubsamplePolicy, uniform_local_policy
    from .engine.report.page import write_report
    from .engine.sensitivity import CountSensitivity, count_sensitivity
    from .engine.solution import Solution
    from .engine.solution_files import read_solution, write_solution
    from .engine.solve import ConvergenceError, solve
    from .engine.statistics.compare import compare
    from .engine.study.drift import run_drift_study
    from .engine.study.drift_files import read_drift_study
    from .engine.study.drift_results import DriftStudy
    from .engine.study.drift_settings import DriftStudySettings, load_drift_study
    from .engine.study.files import read_study
    from .engine.study.learning import run_learning_study
    from .engine.study.learning_files import read_learning_study
    from .engine.study.learning_results import LearningStudy
    from .engine.study.learning_settings import LearningStudySettings, load_learning_study
    from .engine.study.results import Study
    from .engine.study.run import run_study, study
    from .engine.study.scores import score_study
    from .engine.study.settings import StudySettings, load_study


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kofn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".engine.{_PUBLIC[name]}", __name__), name)
    # A function may share its module's name: from now on the name means the function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _PUBLIC.keys())
