"""Search a recipe's parameters on the choose window, with Optuna; a search that was killed goes on where it was.

Each trial is drawn by a tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter
Optimization") from the trials before it and a seed of its own, so that an interruption changes none of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from nightloop.training.calibration import Calibration
from nightloop.training.launch import TrainingError
from nightloop.training.params import Params, SearchRange, Space, Tuning, Value
from nightloop.training.problem import Choosing, Family, Problem, digest_work, mean_loss

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import TPESampler
    from optuna.trial import FrozenTrial

log = logging.getLogger("nightloop.training")

_RANDOM_TRIALS = 5
_SAMPLE_EVERY = 4
_LEAST_SAMPLED_ROWS = 4_000
_FAILED = "failed"


@dataclass(frozen=True)
class Tuned:
    """What a search found: the recipe's parameters with the best of them in place, figures, and a page of plots."""

    params: Params
    figures: Mapping[str, float]
    page: str


def tune_recipe(problem: Problem, family: Family, choosing: Choosing, tuning: Tuning) -> Tuned:
    """Return the parameters with the least calibrated loss on the choose window; the first trial is `problem.params`.

    A trial sees a quarter of the rows first and goes on to all of them if it does as well there as the median trial did
    (where a quarter is a thousand rows or more, of every class). One that fails, as by a rate that is too high, counts.

    Raises:
        TrainingError: every trial failed; carries the last one's error.
    """
    space = tuning.space or family.space
    study, stages, error = _open_study(problem, choosing, tuning, space), _stages(problem, choosing), ""
    while len(done := _done(study)) < tuning.trials and _seconds(done) < tuning.minutes * 60:
        study.sampler = _sampler(problem.seed + len(done))
        trial = study.ask()
        drawn = _draw(trial, space) if done else {}
        tried = replace(problem, params={**problem.params, **drawn}, work=problem.work / "trial")
        error = _run(study, trial, tried, family, stages) or error
        log.info("trial %d of at most %d: %s", len(done) + 1, tuning.trials, _describe(study.trials[trial.number]))
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise TrainingError(f"all {len(done)} trials of the search failed; the last one: {error}")
    best = study.best_trial
    figures = {
        "tuning_trials": float(len(done)),
        "tuning_pruned": float(sum(trial.state is TrialState.PRUNED for trial in done)),
        "tuning_loss": float(best.value or 0.0),
    }
    if not complete[0].params:
        figures["tuning_loss_as_written"] = float(complete[0].value or 0.0)
    return Tuned({**problem.params, **best.params}, figures, _render(study))


def _open_study(problem: Problem, choosing: Choosing, tuning: Tuning, space: Space) -> "Study":
    """Open the search over these very rows, parameters and space; what a killed attempt left at work is given up."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage
    from optuna.trial import TrialState

    described = repr((sorted(problem.params.items()), problem.seed, tuning, sorted(space.items())))
    problem.work.mkdir(parents=True, exist_ok=True)
    journal = problem.work.with_name(f"{problem.work.name}-tuning.journal")  # beside what a fit of other rows empties
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=digest_work(described, (choosing.fit, choosing.choose)),
        storage=JournalStorage(JournalFileBackend(str(journal))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_RANDOM_TRIALS),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _run(study: "Study", trial: "Trial", problem: Problem, family: Family, stages: Sequence[Choosing]) -> str:
    """Run one trial and tell the study; return its error, if it failed."""
    from optuna.trial import TrialState

    *early, whole = stages
    try:
        for place, stage in enumerate(early):
            trial.report(_loss(problem, family, stage), place)
            # the recipe as written is never cut short: what the search found is told against its loss
            if trial.params and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                return ""
        study.tell(trial, _loss(problem, family, whole))
    # a loss that diverges is the former in this process, and the latter on ranks of their own
    except (ArithmeticError, TrainingError) as error:
        trial.set_user_attr(_FAILED, str(error)[-500:])
        study.tell(trial, state=TrialState.FAIL)
        return str(error)
    return ""


def _loss(problem: Problem, family: Family, choosing: Choosing) -> float:
    """Return the mean loss on the choose window, calibrated there: it cannot be improved by balanced classes alone."""
    chosen = family.choose(problem, choosing)
    calibration = Calibration.fit(problem, chosen.margins, choosing.choose)
    return mean_loss(problem, calibration.apply(chosen.margins), choosing.choose)


def _stages(problem: Problem, choosing: Choosing) -> list[Choosing]:
    """Return what a trial fits one after the other: every fourth row, where that tells good from bad, then all."""
    fit = choosing.fit
    sample = fit.take(slice(None, None, _SAMPLE_EVERY))
    has_all = problem.task == "regression" or set(np.unique(sample.targets)) == set(np.unique(fit.targets))
    return [replace(choosing, fit=sample), choosing] if has_all and fit.rows >= _LEAST_SAMPLED_ROWS else [choosing]


def _sampler(seed: int) -> "TPESampler":
    from optuna.samplers import TPESampler

    return TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=seed)


def _draw(trial: "Trial", space: Space) -> dict[str, Value]:
    drawn: dict[str, Value] = {}
    for name, span in space.items():
        if not isinstance(span, SearchRange):
            drawn[name] = cast("Value", trial.suggest_categorical(name, span))
        elif isinstance(span.low, int) and isinstance(span.high, int):
            drawn[name] = trial.suggest_int(name, span.low, span.high, log=span.log)
        else:
            drawn[name] = trial.suggest_float(name, span.low, span.high, log=span.log)
    return drawn


def _done(study: "Study") -> "list[FrozenTrial]":
    """Return the trials that ended by themselves; those that a kill ended are run again."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return [trial for trial in study.trials if trial.state in ended or _FAILED in trial.user_attrs]


def _seconds(done: "list[FrozenTrial]") -> float:
    return sum(trial.duration.total_seconds() for trial in done if trial.duration)


def _describe(trial: "FrozenTrial") -> str:
    drawn = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in trial.params.items())  # fmt: skip
    told = f"loss {trial.value:.5f}" if trial.value is not None else trial.state.name.lower()
    return f"{told} with {drawn or 'the parameters as written'}"


def _render(study: "Study") -> str:
    """Return one HTML page that needs no other file: the history, what mattered, and the losses by parameter."""
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.trial import TrialState
    from optuna.visualization import plot_optimization_history, plot_param_importances, plot_slice

    plots = [plot_optimization_history(study)]
    drawn = [one for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if one.params]
    if len({one.value for one in drawn}) > 1:
        plots += [plot_param_importances(study, FanovaImportanceEvaluator(seed=0)), plot_slice(study)]
    bodies = [plot.to_html(full_html=False, include_plotlyjs=not place) for place, plot in enumerate(plots)]
    return f"<!doctype html><meta charset='utf-8'><title>Search of parameters</title>{''.join(bodies)}"
