"""How an arm of a study fits a task: its names made into objects."""

from dataclasses import dataclass
from pathlib import Path

from hybrid_dip.contracts import Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution.precision import NOT_ALONE, PLAIN
from hybrid_dip.fusion.arms import Arm, arms_for
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.override import override
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Terms, as_terms
from hybrid_dip.restoring.plan import recipe_and_tiles, resolve
from hybrid_dip.restoring.restore import only_the_loop_evaluates
from hybrid_dip.stopping.selection import Selection, check
from hybrid_dip.study.describe.sections import ArmEntry

SPEC_KINDS = {"preset": "presets", "network": "networks", "latent": "latents", "solver": "solvers", "stop": "stopping"}
"""Keys of an arm that hold one SPEC -> kind of the catalogue."""

LIST_KINDS = {"regularisers": "regularisers", "presets": "presets"}
"""Keys of an arm that hold several SPECs -> kind of the catalogue."""


@dataclass(frozen=True)
class Method:
    """How an arm fits a task. Plain data: it travels to worker processes.

    Attributes:
        entry: The arm as written.
        folder: Folder that paths in it are relative to.
    """

    entry: ArmEntry
    folder: Path

    @property
    def with_absolute_paths(self) -> ArmEntry:
        """The arm as it reads from any folder."""
        start = None if self.entry.start is None else str((self.folder / self.entry.start).absolute())
        single = {name: spec_files.locate(text, self.folder) for name, text in self._single_specs().items()}
        lists = {name: [spec_files.locate(text, self.folder) for text in getattr(self.entry, name)] for name in LIST_KINDS}
        return self.entry.model_copy(update={**single, **lists, "start": start})

    def files(self) -> dict[str, str]:
        """SHA-256 of the user's own Python files and of plug-ins, by the SPEC that names them."""
        texts = [(text, SPEC_KINDS[name]) for name, text in self._single_specs().items()]
        texts += [(text, kind) for name, kind in LIST_KINDS.items() for text in getattr(self.entry, name)]
        hashes = {text: spec_files.fingerprint(spec_files.locate(text, self.folder), kind, catalogue()) for text, kind in texts}
        return {text: sha256 for text, sha256 in hashes.items() if sha256}

    def _single_specs(self) -> dict[str, str]:
        specs = {name: getattr(self.entry, name) for name in SPEC_KINDS}
        return {name: text for name, text in specs.items() if text is not None}

    def recipe(self, task: Task) -> Recipe:
        """The preset's recipe with the arm's own settings.

        Args:
            task: The task that the recipe is chosen for.

        Returns:
            The recipe for the whole image at once.

        Raises:
            SettingsError: A name, an option or a value is wrong.
        """
        arm = self.with_absolute_paths
        return override(resolve(arm.preset, task), **arm.overrides)

    def build(self, task: Task) -> tuple[Recipe, Terms, Rule | Selection]:
        """Make what a fit needs.

        Args:
            task: The task to fit.

        Returns:
            Recipe (for one tile where the image is fitted in tiles), regularisers and stopping rule.

        Raises:
            SettingsError: A name, an option or a value is wrong, or the rule does not apply to the task.
        """
        names, arm = catalogue(), self.with_absolute_paths
        terms = as_terms([spec.term(text, names) for text in arm.regularisers])
        recipe, _ = recipe_and_tiles(task, self.recipe, arm.tile if arm.fuse is None else 0, terms)
        rule: Rule | Selection = recipe.rule if arm.stop is None else spec.build(arm.stop, "stopping", names)
        check(rule, task)
        if arm.fuse is None and arm.presets:
            raise SettingsError("'presets' take part in a stack: they go with fuse = \"stack\".")
        if arm.fuse is not None and arm.stop is not None:
            raise SettingsError("'stop' does not go with 'fuse': each arm of a stack ends by its preset's own rule.")
        if arm.fuse is not None and arm.execution != PLAIN:
            raise SettingsError("'precision', 'compile' and 'graph' do not go with 'fuse'.")
        if arm.fuse is not None and arm.tile:
            raise SettingsError("'tile' does not go with 'fuse': a stack is of fits to the whole image.")
        if arm.execution.graphed and not only_the_loop_evaluates(recipe, [*terms, *recipe.terms]):
            raise SettingsError(NOT_ALONE)
        return recipe, terms, rule

    def stack(self, task: Task) -> list[Arm]:
        """The fits that an arm with ``fuse = "stack"`` combines.

        Args:
            task: The task to fit.

        Returns:
            At least two; none for any other arm.

        Raises:
            SettingsError: As :meth:`build`.
        """
        if self.entry.fuse is None:
            return []
        recipe, terms, _ = self.build(task)
        arms = arms_for(task, recipe, terms, self.with_absolute_paths.presets)
        for arm in arms:
            resolve(arm.preset, task)
        return arms
