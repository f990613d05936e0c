"""kofn evaluate: the exact value of a solution's policy played by n agents."""

from __future__ import annotations

import math

import click

from . import options
from .errors import KofnCommand, say, say_json
from .progress import ProgressLine, readable_seconds
from .signals import stop_on_signals


@click.command(cls=KofnCommand)
@options.input_file
@options.agents
@click.option(
    "--tol", type=options.PositiveNumber(), default=None,
    help="Certified width, in reward.  [default: 1e-8, or what rounding allows]",
)  # fmt: skip
@click.option(
    "--occupancies/--no-occupancies", default=True, show_default=True, help="How often each state is visited."
)
@click.option(
    "--simulate", is_flag=True,
    help="If the exact evaluation does not fit, simulate 1000 runs instead, with an interval.",
)  # fmt: skip
@options.seed
@options.optional_output_file
@options.common
def evaluate(file, n, tol, occupancies, simulate, seed, output, memory, threads, as_json, force, quiet):
    """Compute exactly what the policy in FILE, a solution or a cell of a study, is worth to n agents.

    No simulation and no Monte Carlo error: discounted value, long-run average reward, occupancies, each with its error bound.

    \b
    Example:
        kofn evaluate formation-k8.h5 -n 100
        kofn evaluate formation-k8.h5 -n 100 --json -o exact.h5
    """
    from ..engine.backups.selection import TooLargeError
    from ..engine.evaluation.evaluate import evaluate as run
    from ..engine.evaluation.files import write_evaluation
    from ..engine.policy_files import read_any_policy

    options.check_outputs(output, inputs=[file], force=force)
    game, policy = read_any_policy(file)
    n_agents = options.number_of_agents(n, game)
    options.use_threads(threads)
    line = ProgressLine(quiet)
    with stop_on_signals() as should_stop:
        try:
            evaluation = run(
                game, policy, n_agents, tol=tol, occupancies=occupancies, memory_bytes=memory,
                progress=lambda what, steps: line.show(f"{what}  step {steps} of the chain"), should_stop=should_stop,
            )  # fmt: skip
        except TooLargeError as error:
            if not simulate:
                raise TooLargeError(f"{error} (--simulate)") from error
            line.close()
            click.echo(f"{error}; simulating", err=True)
            _simulate(game, policy, n_agents, seed, memory, as_json, output, force, should_stop)
            return
        finally:
            line.close()
    if output is not None:
        write_evaluation(output, evaluation, policy, overwrite=force)
    labels = game.labels
    summary = {
        "method": "exact",
        "game": game.name,
        "n": evaluation.n,
        "k_global": evaluation.k_global,
        "k_local": evaluation.k_local,
        "route": evaluation.route,
        "states": int(evaluation.value.size),
        "initial_value": evaluation.initial_value,
        "half_width": evaluation.half_width,
        "truncated_mass": evaluation.truncated_mass,
        "lowest_value": float(evaluation.value.min()),
        "highest_value": float(evaluation.value.max()),
        "average_reward": evaluation.average_reward,
        "average_half_width": evaluation.average_half_width,
        "chain_steps": evaluation.n_steps,
        "wall_time_s": evaluation.wall_time_s,
    }
    for kind in ("discounted", "stationary"):
        occupancy = getattr(evaluation, f"{kind}_occupancy")
        if occupancy is not None:
            shares = (occupancy.sum(axis=1), evaluation.mean_population(occupancy))
            for where, names, share in zip(
                ("global", "local"), (labels.global_states, labels.local_states), shares, strict=True
            ):
                summary[f"{kind}_{where}_states"] = {str(s): float(x) for s, x in zip(names, share, strict=True)}
    if as_json:
        say_json(summary)
        return
    sees = f"k = {evaluation.k_global}" + (
        "" if evaluation.k_local == evaluation.k_global else f", local agents see {evaluation.k_local}"
    )
    say(f"policy          {game.name or 'game'}, {sees}, played by {evaluation.n} agents")
    say(f"value           {evaluation.initial_value:.12g} ± {evaluation.half_width:.1g} from the initial law, exact")
    say(f"                {summary['lowest_value']:.6g} to {summary['highest_value']:.6g} over all starts")
    certified = math.isfinite(evaluation.average_half_width)
    bound = f" ± {evaluation.average_half_width:.1g}" if certified else " from the initial law, not certified"
    say(f"average reward  {evaluation.average_reward:.12g}{bound}")
    for kind in ("discounted", "stationary"):
        if f"{kind}_global_states" in summary:
            say(f"{kind:15s} global states {_shares(summary[f'{kind}_global_states'])}")
            say(f"{'':15s} local states  {_shares(summary[f'{kind}_local_states'])}")
    cut = f", {evaluation.truncated_mass:.1g} of each law cut off" if evaluation.truncated_mass else ""
    say(f"method          {evaluation.route}: {evaluation.value.size} states, {evaluation.n_steps} steps{cut}")
    say(f"time            {readable_seconds(evaluation.wall_time_s)}")
    if output is not None:
        say(f"written         {output}")


def _shares(shares):
    return ", ".join(f"{label}: {100 * share:.4g} %" for label, share in shares.items())


def _simulate(game, policy, n, seed, memory, as_json, output, force, should_stop):
    from ..engine.deployment import deploy, steps_until
    from ..engine.deployment_files import write_deployment_file
    from ..engine.solve import Interrupted

    def stop_if_asked(done, total):
        if should_stop():
            raise Interrupted(f"stopped after {done} of {total} steps; nothing written")

    steps = steps_until(game)
    deployment = deploy(
        game, policy, n, steps=steps, runs=1000, seed=seed, trace_points=1, memory_bytes=memory, progress=stop_if_asked
    )
    if output is not None:
        write_deployment_file(output, deployment, game, policy, overwrite=force)
    if as_json:
        summary = {
            "method": "simulated", "game": game.name, "n": n, "runs": 1000, "steps": steps, "seed": seed,
            "initial_value": deployment.mean_return, "half_width": deployment.return_half_width,
            "truncation_bound": deployment.truncation_bound, "average_reward": deployment.average_reward,
            "average_half_width": deployment.average_half_width,
        }  # fmt: skip
        say_json(summary)
        return
    say(
        f"value           {deployment.mean_return:.9g} ± {deployment.return_half_width:.2g} (95 %, 1000 runs), simulated"
    )
    say(f"                what steps after {steps} add is at most {deployment.truncation_bound:.2g}")
    say(f"average reward  {deployment.average_reward:.9g} ± {deployment.average_half_width:.2g} (95 %, batch means)")
    if output is not None:
        say(f"written         {output}, a deployment")
