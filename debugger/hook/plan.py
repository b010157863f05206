"""Which collections a step saves, which tensors are theirs, and requests that match nothing."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from debugger.hook import names
from debugger.hook.settings import Collection

NOT_EVALUATED = ("gradients",)


class Plan:
    """Of one network: the collections with their patterns resolved."""

    def __init__(
        self,
        collections: tuple[Collection, ...],
        network: nn.Module,
        criterion: nn.Module,
        say: Callable[[str], None],
    ) -> None:
        self._possible = names.possible(network, criterion)
        self._shown = names.possible(network, criterion, calls=1)
        self._say = say
        self.unmatched: list[str] = []
        """Requests that match nothing, as they were said."""
        resolved = (self._resolve(each, network, criterion) for each in collections)
        self.collections = [each for each in resolved if each.patterns]
        self._of: dict[str, tuple[Collection, ...]] = {}
        self._modules = names.modules(network)
        self._wanted: dict[str, set[nn.Module]] = {
            each.name: {
                module
                for module, name in self._modules.items()
                if any(names.matches(each.patterns, one) for one in names.of_module(name))
            }
            for each in self.collections
        }

    def _resolve(self, wish: Collection, network: nn.Module, criterion: nn.Module) -> Collection:
        """The collection with its patterns, or with ready ones where it has none that match."""
        lost = [each for each in wish.patterns if not self._any(each)]
        own = names.ready(wish.name, network, criterion)
        own = own if any(map(self._any, own)) else ()
        for pattern in lost:
            self._complain(wish.name, f"{pattern!r} matches no tensor", pattern, own)
        if wish.patterns and len(lost) < len(wish.patterns):
            return wish
        if not wish.patterns and not own:
            known = bool(names.ready(wish.name, network, criterion)) or wish.name in names.LAYERS
            why = "matches no tensor" if known else "has no include_regex"
            self._complain(wish.name, why, wish.name, ())
        # a pattern that matches nothing now may match the name of something unforeseen
        return replace(wish, patterns=(*wish.patterns, *own))

    def _any(self, pattern: str) -> bool:
        return any(names.matches((pattern,), name) for name in self._possible)

    def _complain(self, name: str, why: str, word: str, instead: tuple[str, ...]) -> None:
        near = names.near(word, self._shown)
        hint = f"; near: {', '.join(near)}" if near else ""
        if instead:
            hint = "; its ready pattern is taken instead"
        line = f"collection {name}: {why}{hint}"
        self.unmatched.append(line)
        self._say(f"debugger: {line}")

    def due(self, mode: str, first: int, count: int, widening: int) -> tuple[Collection, ...]:
        """Those that save one of the steps from `first` on."""
        steps = range(first, first + count)
        return tuple(
            each
            for each in self.collections
            if not (mode != "TRAIN" and each.name in NOT_EVALUATED)
            and any(each.when[mode].due(step, widening) for step in steps)
        )

    def of(self, name: str, due: tuple[Collection, ...]) -> tuple[Collection, ...]:
        """The collections among `due` that a tensor belongs to."""
        if name not in self._of:
            self._of[name] = tuple(
                each for each in self.collections if names.matches(each.patterns, name)
            )
        return tuple(each for each in self._of[name] if each in due)

    def watched(self, due: tuple[Collection, ...]) -> dict[nn.Module, str]:
        """Modules of which something may be wanted, with their names."""
        wanted: set[nn.Module] = set().union(*(self._wanted[each.name] for each in due))
        return {module: name for module, name in self._modules.items() if module in wanted}
