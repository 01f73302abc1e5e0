"""Shared by the slow tests: a toy base of a few thousand parameters, made once per run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained nano base: right shape, right tokenizer, no skill. What needs no skill is tested on it."""
    from rmr1_lite import nano_base

    folder = tmp_path_factory.mktemp("toy") / "base"
    tokenizer = nano_base.build_tokenizer(nano_base.tokenizer_texts(0), 1024)
    config = nano_base.BaseConfig(hidden_size=64, mlp_size=128, layers=2)
    nano_base.save(nano_base.build_model(config, tokenizer), tokenizer, folder, {})
    return folder


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty training pairs of the nano world, seven of them with chains."""
    from rmr1_lite.data.nano.dataset import NanoData, make

    return make(tmp_path_factory.mktemp("data"), NanoData(train=60, validation=8, test=8))
