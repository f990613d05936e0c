"""Populations that play one law of (s_g, s, b), by listing: labelled agents, all fixed points, all deterministic responses."""

import itertools
import math

import numpy as np


def bin_of(weights, edges, chosen):
    """Field value of a list of what agents chose, one feature; a mean on an edge has reached it."""
    mean = sum(weights[x] for x in chosen) / len(chosen)
    return sum(mean >= edge - 1e-12 for edge in edges)


def bin_of_law(weights, edges, law):
    return sum(sum(p * w for p, w in zip(law, weights, strict=True)) >= edge - 1e-12 for edge in edges)


def stationary(P):
    """The stationary law of a chain with one, from its linear equations."""
    size = len(P)
    equations = np.vstack([np.array(P).T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0]


def fixed_points(P_l, law, weights, edges):
    """All (value, law of states) of a game with one s_g whose agents see the mean action and whose moves depend on it.

    P_l[f][s][a][s'], law[s][b][a]; in a fixed point the value seen is that of the actions it leads to.
    """
    found = []
    n_sl, n_al = len(P_l[0]), len(P_l[0][0])
    for value in range(len(edges) + 1):
        P = [
            [sum(law[s][value][a] * P_l[value][s][a][t] for a in range(n_al)) for t in range(n_sl)] for s in range(n_sl)
        ]
        m = stationary(P)
        acts = [sum(m[s] * law[s][value][a] for s in range(n_sl)) for a in range(n_al)]
        if bin_of_law(weights, edges, acts) == value:
            found.append((value, m))
    return found


def response_values(links, contexts, P_l, reward, gamma, law):
    """(own values, best values) by (context, state) of the decision problem, listing every deterministic response.

    links: (c, a or −1, f, c', p); P_l[s_g][f][s][a][s'], reward(s_g, f, s, a), law[c][s][a].
    """
    n_c, n_sl, n_al = len(contexts), len(law[0]), len(law[0][0])
    cells = list(itertools.product(range(n_c), range(n_sl)))
    position = {cell: i for i, cell in enumerate(cells)}

    def value(choice):
        P, r = np.zeros((len(cells), len(cells))), np.zeros(len(cells))
        for c, own, f, c_next, p in links:
            for s, a in itertools.product(range(n_sl), range(n_al)):
                if own not in (-1, a):
                    continue
                share = p * choice(c, s, a)
                r[position[c, s]] += share * reward(contexts[c][0], f, s, a)
                for t in range(n_sl):
                    P[position[c, s], position[c_next, t]] += share * P_l[contexts[c][0]][f][s][a][t]
        return np.linalg.solve(np.eye(len(cells)) - gamma * P, r)

    own = value(lambda c, s, a: law[c][s][a])
    best = np.full(len(cells), -math.inf)
    for actions in itertools.product(range(n_al), repeat=len(cells)):
        best = np.maximum(best, value(lambda c, s, a, actions=actions: float(actions[position[c, s]] == a)))
    return own.reshape(n_c, n_sl), best.reshape(n_c, n_sl)


class Labelled:
    """n labelled agents; a state is (s_g, their states, their last actions). Agent 0 may follow a response.

    P_g[s_g][f][s_g'], P_l[s_g][f][s][a][s'], reward(s_g, f, s, a), law[s_g][s][b][a]; the field is of all actions, b of the
    others'.
    """

    def __init__(self, n, P_g, P_l, reward, law, weights, edges, seen_weights, seen_edges):
        self.n, self.P_g, self.P_l, self.reward, self.law = n, np.array(P_g), np.array(P_l), reward, np.array(law)
        self.weights, self.edges = weights, edges
        self.seen_weights, self.seen_edges = seen_weights, seen_edges
        n_sl, n_al = self.P_l.shape[2:4]
        self.joint_actions = list(itertools.product(range(n_al), repeat=n))
        self.joint_states = list(itertools.product(range(n_sl), repeat=n))
        self.states = list(itertools.product(range(len(P_g)), self.joint_states, self.joint_actions))
        self.position = {state: i for i, state in enumerate(self.states)}

    def seen(self, i, actions):
        return bin_of(self.seen_weights, self.seen_edges, [a for j, a in enumerate(actions) if j != i])

    def chain(self, response=None):
        """(P, reward of agent 0) over the states; response(s_g, s, b) is an action, or None for the law's."""
        P, r = np.zeros((len(self.states), len(self.states))), np.zeros(len(self.states))
        for state in self.states:
            for actions, p in self.play(state, response):
                r[self.position[state]] += p * self.reward(
                    state[0], bin_of(self.weights, self.edges, actions), state[1][0], actions[0]
                )
                for after, q in self.moves(state, actions):
                    P[self.position[state], self.position[after]] += p * q
        return P, r

    def play(self, state, response=None):
        s_g, own, last = state
        laws = []
        for i in range(self.n):
            b = self.seen(i, last)
            forced = response(s_g, own[0], b) if response is not None and i == 0 else None
            law = self.law[s_g, own[i], b]
            laws.append(law if forced is None else np.eye(len(law))[forced])
        for actions in self.joint_actions:
            p = math.prod(law[a] for law, a in zip(laws, actions, strict=True))
            if p > 0.0:
                yield actions, p

    def moves(self, state, actions):
        s_g, own, _ = state
        f = bin_of(self.weights, self.edges, actions)
        for after in self.joint_states:
            q = math.prod(self.P_l[s_g, f, s, a, t] for s, a, t in zip(own, actions, after, strict=True))
            for s_next, p in enumerate(self.P_g[s_g, f]):
                yield (s_next, after, actions), p * q

    def start(self, rho_g, rho_l):
        n_al = self.P_l.shape[3]
        return np.array([rho_g[s_g] * math.prod(rho_l[s] for s in own) / n_al**self.n for s_g, own, _ in self.states])

    def mean_return(self, start, burn_in, steps, gamma, response=None):
        """Mean discounted reward of agent 0 over `steps`, after a burn-in in which it keeps to the law."""
        P, _ = self.chain()
        for _ in range(burn_in):
            start = start @ P
        P, r = self.chain(response)
        total = 0.0
        for step in range(steps):
            total += gamma**step * (start @ r)
            start = start @ P
        return total

    def links(self, n_values):
        """Long-run law of (b, s) of agent 0 in each s_g, and of (f, b') for each context and own action."""
        P, _ = self.chain()
        long_run = stationary(P)
        visits, links = {}, {}
        for p, state in zip(long_run, self.states, strict=True):
            s_g, own, last = state
            b = self.seen(0, last)
            visits[s_g, b, own[0]] = visits.get((s_g, b, own[0]), 0.0) + p
            for forced in range(self.P_l.shape[3]):
                for actions, q in self.play(state, lambda *_, forced=forced: forced):
                    key = (s_g, b, forced, bin_of(self.weights, self.edges, actions), self.seen(0, actions))
                    links[key] = links.get(key, 0.0) + p * q
        for key in links:
            s_g, b = key[:2]
            links[key] /= sum(p for (g, c, _), p in visits.items() if (g, c) == (s_g, b))
        return visits, links


def silhouette_by_loops(distances, labels):
    scores = []
    for i, own in enumerate(labels):
        mates = [distances[i][j] for j, label in enumerate(labels) if label == own and j != i]
        if not mates:
            scores.append(0.0)
            continue
        others = [
            np.mean([distances[i][j] for j, label in enumerate(labels) if label == other])
            for other in set(labels) - {own}
        ]
        inside = np.mean(mates)
        scores.append((min(others) - inside) / max(min(others), inside))
    return float(np.mean(scores))
