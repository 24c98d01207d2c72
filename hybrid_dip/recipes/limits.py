"""Numbers that a user gives, refused in one sentence where they are out of range."""

from hybrid_dip.errors import SettingsError

MOST_RUNS = 1000
MOST_SEED = 2**62 - 1


def check_at_least_one(**counts: int) -> None:
    """Refuse counts below one.

    Args:
        counts: Option, in Python's spelling -> value.

    Raises:
        SettingsError: One of them is below one.
    """
    for name, count in counts.items():
        if count < 1:
            raise SettingsError(f"--{name.replace('_', '-')} must be a whole number of at least 1, got {count}.")


def check_seeds(seed: int, runs: int) -> None:
    """Refuse seeds that a random generator does not take, and more runs than anyone means.

    Args:
        seed: Seed of the first run.
        runs: Number of runs.

    Raises:
        SettingsError: One of them is out of range.
    """
    if not 0 <= seed <= MOST_SEED:
        raise SettingsError(f"--seed must be a whole number from 0 to 2^62 - 1, got {seed}.")
    if runs > MOST_RUNS:
        raise SettingsError(f"--runs must be at most {MOST_RUNS}, got {runs}.")
