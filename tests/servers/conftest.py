"""A test that fails shows the end of its server's log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rmr1_lite.integrations.serving.process import tail


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    served = getattr(item, "funcargs", {}).get("served")
    if report.failed and served is not None:
        report.sections.append((f"end of the log of {served.name}", tail(served.log)))
    return report
