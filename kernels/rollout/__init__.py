"""Executions of a subsample policy with n agents, step by step: lumped into counts, or agent by agent."""

from .agents import AgentRecord, AgentRollout, advance_agent_runs, place_agents
from .counts import CountRollout, advance_count_runs
from .field import FieldBins
from .record import Record, Schedule
from .start import draw_starts

__all__ = [
    "AgentRecord",
    "AgentRollout",
    "CountRollout",
    "FieldBins",
    "Record",
    "Schedule",
    "advance_agent_runs",
    "advance_count_runs",
    "draw_starts",
    "place_agents",
]
