"""The rules of scaling, one by one, with plain values."""

from dataclasses import replace

import pytest

from deploy.autoscaling.figures import DueJobs, Figures
from deploy.autoscaling.policy import Decision, History, decide
from deploy.autoscaling.settings import read_autoscaler
from queue_service.settings.autoscaler import Autoscaler, Behavior

IMMEDIATE = Behavior.model_validate(
    {
        "scaleDown": {"stabilizationWindowSeconds": 0},
        "onZero": {"scaleDownGracePeriodSeconds": 0},
    }
)


def settings(
    *,
    least: int = 1,
    most: int = 100,
    behavior: Behavior = IMMEDIATE,
    **thresholds: float,
) -> Autoscaler:
    names = {"average": "queue[avgbacklog]", "backlog": "queue[backlog]", "wait": "queue[wait]"}
    strategies = [
        {"metricName": names.get(name, name), "threshold": threshold}
        for name, threshold in (thresholds or {"average": 10.0}).items()
    ]
    given = {"min": least, "max": most, "scaleStrategies": strategies}
    return read_autoscaler(given).model_copy(update={"behavior": behavior})


def once(figures: Figures, given: Autoscaler) -> Decision:
    decision, _ = decide(figures, given, History(), now_s=1000.0)
    return decision


@pytest.mark.parametrize("value", [1e9, 1e308])
@pytest.mark.parametrize("threshold", [1e-320, 5e-324])
def test_a_threshold_near_zero_asks_for_all_workers(value: float, threshold: float) -> None:
    figures = Figures(workers=2, cpu=value, wait_s=value)
    for given in (settings(cpu=threshold), settings(wait=threshold)):
        assert once(figures, given).wanted == 100


@pytest.mark.parametrize(
    ("figures", "given", "wanted"),
    [
        # ceil(current x metric / threshold); for the average that is ceil(waiting / threshold).
        (Figures(waiting=37, workers=2), settings(), 4),
        (Figures(waiting=40, workers=2), settings(), 4),
        (Figures(waiting=41, workers=2), settings(), 5),
        (Figures(waiting=5, workers=4), settings(), 1),
        (Figures(waiting=60, workers=2), settings(backlog=30), 4),
        (Figures(workers=4, wait_s=60), settings(wait=30), 8),
        (Figures(workers=4, wait_s=None), settings(wait=30), 4),
        (Figures(workers=4, cpu=90), settings(cpu=60), 6),
        # Within a tenth of the threshold nothing changes.
        (Figures(waiting=37, workers=4), settings(), 4),
        (Figures(waiting=44, workers=4), settings(), 4),
        (Figures(waiting=45, workers=4), settings(), 5),
        (Figures(waiting=36, workers=4), settings(), 4),
        (Figures(waiting=29, workers=4), settings(), 3),
        # The same for every metric: at the edge nothing changes, beyond it the formula does.
        (Figures(waiting=33, workers=3), settings(backlog=30), 3),
        (Figures(waiting=34, workers=3), settings(backlog=30), 4),
        (Figures(waiting=27, workers=3), settings(backlog=30), 3),
        (Figures(waiting=26, workers=30), settings(backlog=30), 26),
        (Figures(workers=10, wait_s=33.0), settings(wait=30), 10),
        (Figures(workers=10, wait_s=33.1), settings(wait=30), 12),
        (Figures(workers=10, wait_s=27.0), settings(wait=30), 10),
        (Figures(workers=10, wait_s=26.9), settings(wait=30), 9),
        (Figures(workers=10, cpu=66.0), settings(cpu=60), 10),
        (Figures(workers=10, cpu=66.1), settings(cpu=60), 12),
        (Figures(workers=10, cpu=54.0), settings(cpu=60), 10),
        (Figures(workers=10, cpu=50.0), settings(cpu=60), 9),
        (Figures(workers=10, cpu=0.0), settings(cpu=60), 1),
        (Figures(workers=10, cpu=None), settings(cpu=60), 10),
        # The strategy that asks for most decides.
        (Figures(waiting=20, workers=2, cpu=180), settings(average=10, cpu=60), 6),
        (Figures(waiting=80, workers=2, cpu=60), settings(average=10, cpu=60), 8),
        # Also when it asks for no change: the others cannot shrink it.
        (Figures(waiting=1, workers=4, cpu=60), settings(average=10, cpu=60), 4),
        (Figures(waiting=1, workers=4, cpu=None), settings(average=10, cpu=60), 4),
        (Figures(waiting=1, workers=4, cpu=6), settings(average=10, cpu=60), 1),
        (
            Figures(waiting=90, workers=3, wait_s=90, cpu=90),
            settings(backlog=30, wait=30, cpu=60),
            9,
        ),
        # Limits.
        (Figures(waiting=5000, workers=2), settings(most=7), 7),
        (Figures(workers=2), settings(least=2), 2),
        (Figures(running=9, workers=9), settings(most=7), 7),
        (Figures(workers=0), settings(least=3), 3),
        (Figures(workers=9), settings(least=3), 3),
        (Figures(workers=9, waiting=90), settings(most=7), 7),
        (Figures(waiting=20_000, workers=900), settings(most=1000), 1000),
        (Figures(waiting=50, workers=3), settings(least=3, most=3), 3),
        (Figures(workers=3), settings(least=3, most=3), 3),
        # Zero, and back.
        (Figures(workers=1), settings(least=0), 0),
        (Figures(waiting=1, workers=1), settings(least=0), 1),
        (Figures(running=1, workers=1), settings(least=0), 1),
        (Figures(waiting=1, workers=0), settings(least=0), 1),
        (Figures(waiting=500, workers=0), settings(least=0), 1),
        (Figures(workers=0), settings(least=0), 0),
        # Busy workers stay, however short the queue is.
        (Figures(running=3, workers=5), settings(), 3),
        (Figures(running=7, workers=5, window=2), settings(), 4),
        (Figures(running=9, workers=2), settings(), 2),
    ],
)
def test_the_formula(figures: Figures, given: Autoscaler, wanted: int) -> None:
    assert once(figures, given).wanted == wanted


@pytest.mark.parametrize(
    ("figures", "given", "wanted"),
    [
        # Paused, or outside its windows: whatever a metric says, only running jobs need workers.
        (Figures(paused=True), settings(least=0), 0),
        (Figures(paused=True, workers=4), settings(least=0), 0),
        (Figures(paused=True, workers=4, running=2), settings(least=0), 2),
        (Figures(paused=True, workers=2, running=2, cpu=180), settings(least=0, cpu=60), 2),
        (Figures(paused=True, workers=2, wait_s=None), settings(least=0, wait=1), 0),
        (Figures(paused=True, workers=1), settings(least=3), 3),
        # Jobs that are held back: those of tokens outside their windows.
        (Figures(waiting=99, held_back=99), settings(least=0), 0),
        (Figures(waiting=99, held_back=98), settings(least=0), 1),
        (Figures(waiting=99, held_back=99, workers=3), settings(least=0), 0),
        (Figures(waiting=99, held_back=97, workers=3, running=2), settings(least=0), 4),
        (Figures(waiting=99, held_back=91, workers=2, running=2, window=2), settings(), 5),
        (Figures(waiting=99, held_back=40, workers=2), settings(), 10),
        (
            Figures(waiting=4, held_back=4, workers=1, run_s=10.0, due=(DueJobs(4, 25),)),
            settings(least=0),
            0,
        ),
    ],
)
def test_jobs_that_cannot_be_delivered_start_no_worker(
    figures: Figures, given: Autoscaler, wanted: int
) -> None:
    assert once(figures, given).wanted == wanted


def test_puts_into_a_paused_service_start_no_worker_and_keep_none() -> None:
    given = settings(least=0, behavior=behavior(down=60, zero=60), qps=0.1)
    paused = Figures(workers=1, paused=True, load_s=600.0, run_s=60.0)
    steps = [(float(at), replace(paused, put_total=at)) for at in range(0, 600, 5)]
    wanted = series(given, steps)
    assert (max(wanted), wanted[-1]) == (1, 0)
    # And it wakes at once when it is resumed.
    resumed = Figures(waiting=600, put_total=600)
    assert series(given, [*steps, (600.0, resumed)])[-1] == 1


@pytest.mark.parametrize(
    ("figures", "most", "wanted"),
    [
        (Figures(waiting=1), 100, 3),
        (Figures(waiting=500), 100, 3),
        (Figures(waiting=1), 2, 2),
        # Only the first step is theirs: from one worker on, the formula decides.
        (Figures(waiting=1, workers=1), 100, 1),
        (Figures(), 100, 0),
    ],
)
def test_leaving_zero_starts_as_many_workers_as_the_settings_say(
    figures: Figures, most: int, wanted: int
) -> None:
    behavior = Behavior.model_validate(
        {
            "onZero": {"scaleUpActivationReplicas": 3, "scaleDownGracePeriodSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 0},
        }
    )
    given = settings(least=0, most=most, behavior=behavior)
    assert once(figures, given).wanted == wanted


def test_the_scale_up_window_holds_a_service_at_zero_back_no_longer_than_it_says() -> None:
    given = settings(least=0, behavior=behavior(up=60))
    steps = [(float(at), Figures(waiting=1)) for at in range(0, 121, 10)]
    wanted = dict(zip([at for at, _ in steps], series(given, steps), strict=True))
    assert (wanted[50.0], wanted[60.0]) == (0, 1)


def test_puts_per_second_are_those_of_each_worker() -> None:
    # 30 a second, at most 5 for each worker.
    given = settings(qps=5.0, behavior=behavior(down=300))
    steps = [(float(at), Figures(workers=2, put_total=30 * at)) for at in range(0, 600, 5)]
    assert series(given, steps)[-1] == 6
    # 31.5 are within a tenth of what six workers take, and 34 are not.
    for each_s, most in ((31.5, 6), (34.0, 7)):
        more = [(at, Figures(workers=6, put_total=round(each_s * at))) for at, _ in steps]
        assert series(given, more)[-1] == most


@pytest.mark.parametrize(("grace", "shrinks_at"), [(0, 300.0), (100, 300.0), (900, 900.0)])
def test_zero_needs_the_scale_down_window_and_the_grace(grace: int, shrinks_at: float) -> None:
    given = settings(least=0, behavior=behavior(down=300, zero=grace))
    steps = [(float(at), Figures(workers=1)) for at in range(0, 1001, 10)]
    wanted = dict(zip([at for at, _ in steps], series(given, steps), strict=True))
    assert (wanted[shrinks_at - 10], wanted[shrinks_at]) == (1, 0)


def test_a_least_number_above_zero_knows_no_grace() -> None:
    given = settings(least=2, behavior=behavior(down=300, zero=900))
    steps = [(float(at), Figures(workers=5)) for at in range(0, 400, 10)]
    wanted = dict(zip([at for at, _ in steps], series(given, steps), strict=True))
    assert (wanted[290.0], wanted[300.0]) == (5, 2)


@pytest.mark.parametrize(
    ("due", "more", "wanted"),
    [
        # Four jobs of 10 s, to start within 25 s: one worker starts three.
        (DueJobs(4, 25), {}, 2),
        (DueJobs(3, 25), {}, 1),
        (DueJobs(4, 25), {"load_s": 16.0}, 4),
        # A worker that is started now would come too late.
        (DueJobs(4, 25), {"load_s": 25.0}, 1),
        (DueJobs(4, 25), {"run_s": None}, 1),
        (DueJobs(4, 25), {"window": 2}, 1),
    ],
)
def test_jobs_with_deadlines_count_before_they_are_late(
    due: DueJobs, more: dict[str, float | None], wanted: int
) -> None:
    figures = Figures(waiting=4, workers=1, run_s=10.0, due=(due,))
    assert once(replace(figures, **more), settings(average=100)).wanted == wanted  # type: ignore[arg-type]


def series(
    given: Autoscaler, steps: "list[tuple[float, Figures]]", history: History | None = None
) -> list[int]:
    """Decide at each moment, and obey at once; return what was wanted."""
    wanted: list[int] = []
    history = history or History()
    for now_s, figures in steps:
        if wanted:
            figures = replace(figures, workers=wanted[-1])  # noqa: PLW2901 - what was wanted is there
        decision, history = decide(figures, given, history, now_s=now_s)
        wanted.append(decision.wanted)
    return wanted


def behavior(up: int = 0, down: int = 300, zero: int = 600) -> Behavior:
    return Behavior.model_validate(
        {
            "scaleUp": {"stabilizationWindowSeconds": up},
            "scaleDown": {"stabilizationWindowSeconds": down},
            "onZero": {"scaleDownGracePeriodSeconds": zero},
        }
    )


def test_it_shrinks_after_the_whole_window_to_the_most_that_was_needed_in_it() -> None:
    given = settings(behavior=behavior(down=300))
    steps = [(0.0, Figures(waiting=50, workers=5))]
    steps += [(float(at), Figures(waiting=30)) for at in range(10, 200, 10)]
    steps += [(float(at), Figures(waiting=20)) for at in range(200, 521, 10)]
    wanted = series(given, steps)
    # 50 were seen last at 0 s, so they may have waited until just before 10 s.
    assert wanted[steps.index((300.0, Figures(waiting=20)))] == 5
    assert wanted[steps.index((310.0, Figures(waiting=20)))] == 3
    assert wanted[-1] == 2


def test_a_job_wakes_it_at_once_whatever_was_needed_before() -> None:
    given = settings(least=0, behavior=behavior(down=60, zero=60))
    steps = [(float(at), Figures()) for at in range(0, 200, 10)]
    assert series(given, [*steps, (200.0, Figures(waiting=1))])[-2:] == [0, 1]


def test_a_short_calm_does_not_shrink_it() -> None:
    given = settings(behavior=behavior(down=300))
    calm = [(float(at), Figures()) for at in range(10, 300, 10)]
    steps = [(0.0, Figures(waiting=50, workers=5)), *calm, (300.0, Figures(waiting=50))]
    assert set(series(given, steps)) == {5}


def test_it_grows_after_the_whole_window_to_the_least_that_was_needed_in_it() -> None:
    given = settings(behavior=behavior(up=60))
    steps = [(0.0, Figures(waiting=10, workers=1))]
    steps += [(float(at), Figures(waiting=80)) for at in range(10, 40, 10)]
    steps += [(float(at), Figures(waiting=50)) for at in range(40, 71, 10)]
    wanted = series(given, steps)
    assert wanted[:-1] == [1] * (len(steps) - 1)
    assert wanted[-1] == 5


def test_a_peak_shorter_than_the_window_does_not_make_it_grow() -> None:
    given = settings(behavior=behavior(up=60))
    peaks = [(float(at), Figures(waiting=500 if at % 60 else 10)) for at in range(10, 1000, 10)]
    assert set(series(given, [(0.0, Figures(waiting=10, workers=1)), *peaks])) == {1}


def test_it_goes_to_zero_after_the_grace_and_to_one_before() -> None:
    given = settings(least=0, behavior=behavior(down=300, zero=600))
    steps = [(0.0, Figures(waiting=30, workers=3))]
    steps += [(float(at), Figures()) for at in range(10, 701, 10)]
    wanted = dict(zip([at for at, _ in steps], series(given, steps), strict=True))
    assert (wanted[300.0], wanted[310.0], wanted[600.0], wanted[610.0]) == (3, 1, 1, 0)


def test_one_job_begins_the_grace_again() -> None:
    given = settings(least=0, behavior=behavior(down=300, zero=600))
    steps = [(float(at), Figures(running=int(at == 500))) for at in range(0, 1200, 10)]
    steps[0] = (0.0, Figures(workers=1))
    wanted = dict(zip([at for at, _ in steps], series(given, steps), strict=True))
    assert (wanted[1100.0], wanted[1110.0]) == (1, 0)


def test_a_new_loop_shrinks_nothing_before_it_has_watched_for_the_whole_window() -> None:
    given = settings(behavior=behavior(down=300))
    steps = [(float(at), Figures(workers=5)) for at in range(1000, 1301, 10)]
    wanted = series(given, steps)
    assert wanted[:-1] == [5] * (len(steps) - 1)
    assert wanted[-1] == 1


@pytest.mark.parametrize(("every_s", "stays"), [(300, True), (3600, False)])
def test_a_model_that_loads_slowly_stays_if_the_next_job_is_expected_sooner(
    every_s: int, stays: bool
) -> None:
    given = settings(least=0, behavior=behavior(down=60, zero=60))
    steps = [
        (
            float(at),
            Figures(
                workers=1,
                waiting=int(at % every_s < 5),
                put_total=at // every_s,
                load_s=600.0,
                run_s=5.0,
            ),
        )
        for at in range(0, 8 * 3600, 5)
    ]
    wanted = series(given, steps)
    assert (wanted[-1] == 1) == stays


def test_a_rate_of_puts_survives_a_service_that_counts_from_the_start_again() -> None:
    given = settings(qps=2.0)
    steps = [(float(at), Figures(workers=1, put_total=10 * at)) for at in range(0, 100, 5)]
    steps += [(float(at), Figures(put_total=10 * (at - 100))) for at in range(100, 400, 5)]
    assert series(given, steps)[-1] == 5


def test_the_history_stays_small() -> None:
    history = History()
    given = settings()
    for at in range(20_000):
        figures = Figures(waiting=at % 90, workers=3, put_total=at)
        _, history = decide(figures, given, history, now_s=float(at))
    assert len(history.puts) <= 62
    assert len(history.needed) <= 700


@pytest.mark.parametrize(
    ("figures", "parts"),
    [
        (Figures(waiting=37, workers=2), ("37 jobs waiting", "threshold is 10")),
        (Figures(waiting=1), ("1 job waiting and no worker",)),
        (Figures(running=3, workers=3), ("3 jobs running",)),
        (
            Figures(paused=True, workers=3),
            ("nothing is delivered", "paused or outside its windows"),
        ),
        (
            Figures(waiting=37, held_back=35, workers=2),
            ("35 of 37 jobs cannot be delivered now",),
        ),
        (Figures(waiting=2000, workers=3), ("2000 jobs waiting", "limited to the maximum of 100")),
    ],
)
def test_the_reason_names_what_decided(figures: Figures, parts: tuple[str, ...]) -> None:
    reason = once(figures, settings()).reason
    for part in parts:
        assert part in reason
