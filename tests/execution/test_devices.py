from pathlib import Path

import psutil
import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.execution.devices import free_memory, left_of_limit, pick

NO_LIMIT = 2**63 - 1


def group(place: Path, **files: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("_dot_", ".")).write_text(text)


def test_a_limit_holds_for_the_groups_inside(tmp_path: Path) -> None:
    group(
        tmp_path / "slurm", memory_dot_max="1000\n", memory_dot_current="700\n", memory_dot_stat="anon 600\ninactive_file 50\n"
    )
    group(tmp_path / "slurm" / "job", memory_dot_max="max\n")
    assert left_of_limit("0::/slurm/job\n", tmp_path) == 1000 - 700 + 50
    group(tmp_path / "slurm" / "job", memory_dot_max="300\n", memory_dot_current="400\n", memory_dot_stat="anon 400\n")
    assert left_of_limit("0::/slurm/job\n", tmp_path) == 0


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    group(tmp_path, memory_dot_max="500", memory_dot_current="100", memory_dot_stat="inactive_file 0")
    assert left_of_limit("0::/\n", tmp_path) == 400


def test_limits_of_the_older_kind_are_read_too(tmp_path: Path) -> None:
    place = tmp_path / "memory" / "job"
    files = {
        "memory_dot_limit_in_bytes": "900",
        "memory_dot_usage_in_bytes": "500",
        "memory_dot_stat": "total_inactive_file 20",
    }
    group(place, **files)
    assert left_of_limit("4:cpu,memory:/job\n3:pids:/job\n0::/\n", tmp_path) == 420


@pytest.mark.parametrize("membership", ["", "0::/\n", "3:pids:/job\n"])
def test_where_nothing_is_said_there_is_no_limit(membership: str, tmp_path: Path) -> None:
    assert left_of_limit(membership, tmp_path) == NO_LIMIT


def test_what_is_free_is_no_more_than_the_machine_has() -> None:
    assert 0 < free_memory(torch.device("cpu")) <= psutil.virtual_memory().total


@pytest.mark.parametrize(("name", "meant"), [("gpu", "cuda"), ("GPU:0", "cuda"), ("metal", "mps")])
def test_other_names_of_a_device_lead_to_torchs(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"did you mean '{meant}'"):
        pick(name)


def test_capitals_of_a_device_do_not_matter() -> None:
    assert pick("CPU") == torch.device("cpu")
