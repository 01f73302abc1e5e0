"""Fixtures for tests of applications: are the new answers at least as good as the old ones?

    def test_answers(at_least_as_good):
        at_least_as_good(prompts, old=stored_answers, new=my_app.answer)

pytest finds them where the package is installed. `--rmr1-judge SPEC` chooses the judge and `--rmr1-budget`
the maximum number of judge calls of one assertion. Reports appear at the end of the run, also for tests that
passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

REPORTS: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the fixtures."""
    group = parser.getgroup("rmr1_lite", "judge the answers of an application")
    group.addoption("--rmr1-judge", default="nano", help="judge spec of the fixture rmr1_judge")
    group.addoption("--rmr1-budget", type=int, default=400, help="maximum judge calls of one assertion")


@pytest.fixture(scope="session")
def rmr1_judge(pytestconfig: pytest.Config) -> Any:
    """The judge of `--rmr1-judge`, loaded once."""
    from rmr1_lite.api.pairwise import load_judge

    return load_judge(pytestconfig.getoption("--rmr1-judge"))


@pytest.fixture
def at_least_as_good(
    rmr1_judge: Any, pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """`rmr1_lite.api.acceptance.assert_at_least_as_good` with that judge: (prompts, old, new, **options)."""
    from rmr1_lite.api.acceptance import assert_at_least_as_good

    reports = pytestconfig.stash.setdefault(REPORTS, [])

    def check(prompts: Any, old: Any, new: Any, **options: Any) -> Any:
        options.setdefault("budget", pytestconfig.getoption("--rmr1-budget"))
        try:
            result = assert_at_least_as_good(rmr1_judge, prompts, old, new, **options)
        except AssertionError as error:
            reports.append((request.node.name, str(error)))
            raise
        reports.append((request.node.name, result.report()))
        return result

    yield check


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The reports of all assertions."""
    for name, report in config.stash.get(REPORTS, []):
        terminalreporter.section(f"answers judged in {name}", sep="-")
        terminalreporter.line(report)
