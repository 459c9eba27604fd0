"""A short piece of the fuzzing of filters that ``make fuzz`` does for as long as one likes (T43)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import filters

ROOT = Path(__file__).parents[3]
WORDS = [line.strip('"').replace("\\\\", "\\") for line in filters.WORDS.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("seed", sorted(filters.SEEDS.iterdir()), ids=lambda seed: seed.name)
def test_seeds(seed: Path) -> None:
    filters.check(seed.read_bytes())


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=30).map("".join))
def test_any_words_in_any_order(text: str) -> None:
    filters.check(text.encode("utf-8", "surrogatepass"))


if importlib.util.find_spec("atheris"):  # has no wheels for other systems than Linux on x86_64

    @pytest.mark.threat("T43")
    def test_coverage_guided_inputs(tmp_path: Path) -> None:
        command = [sys.executable, "-m", "tests.fuzz.filters", str(tmp_path), "-runs=4000", "-seed=1", "-max_len=2100"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

        assert result.returncode == 0, result.stderr[-2000:]
        assert "Done 4000 runs" in result.stderr
        assert not list(tmp_path.glob("failed-*"))
        assert len(list(tmp_path.iterdir())) > 20  # it is guided: inputs that reach new branches are kept
