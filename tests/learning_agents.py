"""Small coupled games for learning, and the oracle: labelled agents who are told what was executed and nothing else."""

import math
from fractions import Fraction

import numpy as np

from kofn.kernels.learning.parts import (
    EVERYONE,
    OTHERS,
    RATIO_SUMS,
    Graph,
    Lens,
    Population,
    Records,
    Rule,
    Scene,
)

N_SG, N_AG, N_SL, N_AL = 2, 2, 2, 3


# Games, lenses and populations.


def lens_of(of_actions, weights, edges, neutral=0):
    padded = np.full((len(edges), max(map(len, edges), default=0)), np.inf)
    for row, reached in zip(padded, edges, strict=True):
        # A little low, as `Lens` wants them.
        row[: len(reached)] = np.array(reached) - 1e-12
    n_values = np.array([len(reached) + 1 for reached in edges], np.int64)
    weights = np.array(weights, float).reshape(len(edges), N_AL if of_actions else N_SL)
    return Lens(int(of_actions), weights, padded, n_values, neutral)


OF_ACTIONS = lens_of(True, [[0, 1, 2.5], [1, 0, 0]], [[0.5, 1.25], [1 / 3]], neutral=4)
OF_STATES = lens_of(False, [[-1, 1]], [[-0.5, 0, 0.25]], neutral=2)
BLIND_ACTIONS, BLIND_STATES = lens_of(True, [], []), lens_of(False, [], [])


def graph_of(kind, n):
    """A ring with a chord that only its one end sees; the last of at least four agents has no neighbours."""
    links = [sorted({(i - 1) % (n - 1), (i + 1) % (n - 1)} | ({2} if i == 0 else set())) for i in range(n - 1)] + [[]]
    indptr = np.cumsum([0] + [len(link) for link in links])
    return Graph(kind, indptr.astype(np.int64), np.array([j for link in links for j in link], np.int32))


def scene_of(rng, n_f, global_field=True, n_ag=N_AG):
    """A random game. Two tables have the axis of the field; for own values of each agent, only local ones."""
    f_g = n_f if global_field else 1
    return Scene(
        rng.dirichlet(np.ones(N_SG), (N_SG, f_g, n_ag)),
        rng.dirichlet(np.ones(N_SL), (N_SG, n_f, N_SL, N_AL)),
        rng.random((N_SG, f_g, n_ag)),
        rng.random((N_SG, n_f, N_SL, N_AL)),
        np.full(N_SG, 1 / N_SG),
        np.full(N_SL, 1 / N_SL),
    )


def rule_of(**changes):
    """MF-Q with the step's own transitions, in the field order of Rule."""
    rule = Rule(
        alpha=0.2, alpha_power=0.0, gamma=0.9, temperature=0.3, epsilon_start=0.5, epsilon_end=0.4, epsilon_steps=6,
        actor_alpha=0.1, inner=0, team=0, reward_at_seen=0, batch=0, by_step=0, index_executed=0, target_every=0,
        target_tau=0.0, learning=1, global_learns=0, global_law=np.full((1, 1, 1), 1.0),
    )  # fmt: skip
    return rule._replace(**changes)


def population_of(scene, lens, n, runs=1, tables=None, capacity=0, n_fg=1, rng=None, alive=None, **present):
    """Tables are zero, or random with `rng`; `present` names the optional ones."""
    n_sg, _, n_sl, n_al = scene.r_l.shape
    shape = (runs, tables or n, n_sg * n_sl * int(np.prod(lens.n_values)), n_al)
    shape_g = (runs, n_sg, n_fg, scene.r_g.shape[2])
    none = (runs, 0, 0, 0)

    def table(dtype, wanted, shape):
        return np.zeros(shape if wanted else none, dtype)

    def ring(dtype):
        return np.zeros((runs, capacity, n if capacity else 0), dtype)

    found = Population(
        run=np.arange(runs),
        s_g=np.zeros(runs, np.int64),
        states=np.zeros((runs, n), np.int32),
        actions=np.zeros((runs, n), np.int32),
        seen=np.zeros((runs, n), np.int32),
        alive=np.zeros((runs, 0), np.uint8) if alive is None else np.array([alive] * runs, np.uint8),
        q=np.zeros(shape) if rng is None else rng.normal(size=shape),
        target=table(float, present.get("target"), shape),
        theta=table(float, present.get("theta"), shape),
        visits=table(np.int64, present.get("visits"), shape),
        mass=table(float, present.get("mass"), shape),
        q_global=table(float, present.get("q_global"), shape_g),
        visits_global=table(np.int64, present.get("visits") and present.get("q_global"), shape_g),
        ring_seen=ring(np.int32),
        ring_action=ring(np.int32),
        ring_reward=ring(float),
        ring_next=ring(np.int32),
        ring_acted=np.zeros((runs, 0, 0), np.int32),
        ring_log_law=np.zeros((runs, 0, 0)),
        ring_head=np.zeros(runs, np.int64),
        ring_filled=np.zeros(runs, np.int64),
        ratio_means=np.zeros((runs, 0)),
    )
    if rng is not None and found.theta.size:
        found.theta[...] = rng.normal(size=shape)
    if rng is not None and found.target.size:
        found.target[...] = rng.normal(size=shape)
    return found


def records_of(runs, points, every=1):
    return Records(every, *(np.full((runs, points), np.nan) for _ in range(3)), np.zeros((runs, 0, RATIO_SUMS)))


# The oracle: agents are numbers, tables are dicts, field values come from exact fractions.


def exact_value(lens, chosen):
    if not len(lens.weights):
        return 0
    if not chosen:
        return lens.neutral
    value = 0
    for weights, edges, n_values in zip(lens.weights, lens.edges, lens.n_values, strict=True):
        mean = sum(Fraction(weights[x]) for x in chosen) / len(chosen)
        # A third is not a binary fraction; any fraction that is nearly an edge is meant as that edge.
        reached = [mean >= Fraction(edge).limit_denominator(1000) for edge in edges[: n_values - 1]]
        value = value * int(n_values) + sum(reached)
    return value


def sees(graph, agents, i):
    if graph.kind == EVERYONE:
        return list(agents)
    if graph.kind == OTHERS:
        return [j for j in agents if j != i]
    return [j for j in graph.indices[graph.indptr[i] : graph.indptr[i + 1]].tolist() if j in agents]


def softmax(row, temperature):
    if temperature == 0:
        return [float(a == row.index(max(row))) for a in range(len(row))]
    weights = [math.exp((x - max(row)) / temperature) for x in row]
    return [w / sum(weights) for w in weights]


class Oracle:
    """One run of a population, taken up from its arrays and advanced by what was executed."""

    def __init__(self, scene, env, seeing, rule, population):
        self.scene, self.env, self.seeing, self.rule = scene, env, seeing, rule
        mask = population.alive[0]
        n = population.states.shape[1]
        self.agents = [i for i in range(n) if not len(mask) or mask[i]]
        self.shared = population.q.shape[1] == 1
        self.q, self.target, self.theta = (self.rows(t[0]) for t in (population.q, population.target, population.theta))
        self.visits = {} if population.visits.size else None
        self.q_global = population.q_global[0].tolist() if population.q_global.size else None
        self.visits_global = {}
        self.s_g, self.states, self.actions = self.situation(population)
        self.f_g = self.environment()["all"]
        self.seen = self.observations(0)

    @staticmethod
    def rows(table):
        return {(t, o): table[t, o].tolist() for t in range(table.shape[0]) for o in range(table.shape[1])}

    @staticmethod
    def situation(population):
        return int(population.s_g[0]), population.states[0].tolist(), population.actions[0].tolist()

    def table_of(self, i):
        return 0 if self.shared else i

    def values(self, lens, graph):
        chosen = self.actions if lens.of_actions else self.states
        return {i: exact_value(lens, [chosen[j] for j in sees(graph, self.agents, i)]) for i in self.agents}

    def environment(self):
        lens, graph = self.env
        chosen = self.actions if lens.of_actions else self.states
        everyone = exact_value(lens, [chosen[j] for j in self.agents]) if graph.kind == EVERYONE else 0
        return {"all": everyone} | self.values(lens, graph)

    def observations(self, step):
        lens, graph = self.seeing
        n_values = math.prod(lens.n_values.tolist())
        values = self.values(lens, graph)
        rule = self.rule
        share = min(step / rule.epsilon_steps, 1.0)
        epsilon = rule.epsilon_start + share * (rule.epsilon_end - rule.epsilon_start)
        for _ in range(rule.inner if lens.of_actions else 0):
            laws = {}
            for i in self.agents:
                o = (self.s_g * N_SL + self.states[i]) * n_values + values[i]
                law = softmax((self.theta or self.q)[self.table_of(i), o], rule.temperature)
                laws[i] = [(1 - epsilon) * p + epsilon / N_AL for p in law]
            values = {i: self.value_of_laws(laws, sees(graph, self.agents, i)) for i in self.agents}
        return {i: (self.s_g * N_SL + self.states[i]) * n_values + values[i] for i in self.agents}

    def value_of_laws(self, laws, others):
        lens, value = self.seeing[0], 0
        if not others:
            return lens.neutral
        for weights, edges, n_values in zip(lens.weights, lens.edges, lens.n_values, strict=True):
            mean = sum(p * w for j in others for p, w in zip(laws[j], weights, strict=True)) / len(others)
            value = value * int(n_values) + sum(mean >= edge for edge in edges[: n_values - 1])
        return value

    def learn(self, i, o, a, reward, o_next):
        rule, t = self.rule, self.table_of(i)
        alpha = rule.alpha
        if self.visits is not None:
            self.visits[t, o, a] = self.visits.get((t, o, a), 0) + 1
            alpha *= self.visits[t, o, a] ** -rule.alpha_power
        future = (self.target or self.q)[t, o_next]
        law = softmax(self.theta[t, o_next] if self.theta else future, rule.temperature)
        aim = reward + rule.gamma * sum(p * x for p, x in zip(law, future, strict=True))
        self.q[t, o][a] = (1 - alpha) * self.q[t, o][a] + alpha * aim
        if self.theta:
            law = softmax(self.theta[t, o], rule.temperature)
            advantage = self.q[t, o][a] - sum(p * x for p, x in zip(law, self.q[t, o], strict=True))
            for b in range(N_AL):
                self.theta[t, o][b] += rule.actor_alpha * advantage * ((a == b) - law[b])

    def advance(self, step, population):
        """One step; the new states and actions are read from the population, all else is worked out."""
        scene, rule, seen, f_before, s_g = self.scene, self.rule, self.seen, self.f_g, self.s_g
        if self.q_global:
            row = self.q_global[s_g][f_before]
            a_g = row.index(max(row))
        else:
            a_g = int(rule.global_law[s_g, f_before if rule.global_law.shape[1] > 1 else 0].argmax())
        before = self.states
        _, _, self.actions = self.situation(population)
        if rule.temperature == 0 and rule.epsilon_start == 0:
            for i in self.agents:
                row = (self.theta or self.q)[self.table_of(i), seen[i]]
                assert self.actions[i] == row.index(max(row))
        f = self.environment()
        n_f, f_g = scene.r_l.shape[1], f["all"]
        at = {i: f[i] for i in self.agents}
        if rule.reward_at_seen:
            at = {i: seen[i] % math.prod(self.seeing[0].n_values.tolist()) for i in self.agents}
        own = {i: scene.r_l[s_g, at[i] if n_f > 1 else 0, before[i], self.actions[i]] for i in self.agents}
        r_g = scene.r_g[s_g, f_g if scene.r_g.shape[1] > 1 else 0, a_g]
        self.system = r_g + (sum(own.values()) / len(own) if own else 0)
        self.s_g, self.states, _ = self.situation(population)
        self.f_g = self.environment()["all"]
        self.seen = self.observations(step + 1)
        if self.q_global:
            cell = (s_g, f_before, a_g)
            self.visits_global[cell] = self.visits_global.get(cell, 0) + 1
            alpha = rule.alpha * (self.visits_global[cell] ** -rule.alpha_power if self.visits is not None else 1)
            aim = self.system + rule.gamma * max(self.q_global[self.s_g][self.f_g])
            self.q_global[s_g][f_before][a_g] += alpha * (aim - self.q_global[s_g][f_before][a_g])
        for i in self.agents:
            reward = self.system if rule.team else own[i] + r_g
            for _ in range(rule.batch or 1):
                self.learn(i, seen[i], self.actions[i], reward, self.seen[i])
        if self.target:
            share = rule.target_tau
            if rule.target_every:
                share = float((step + 1) % rule.target_every == 0)
            for cell, row in self.target.items():
                self.target[cell] = [(1 - share) * x + share * y for x, y in zip(row, self.q[cell], strict=True)]
