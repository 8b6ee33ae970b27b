"""Groups of populations that can go through many steps before the next group does."""

from nmbrl.targets.loihi.network import Network


def find_groups(network: Network) -> list[list[str]]:
    """Return the populations in groups that only send to themselves and to later groups (Tarjan 1972)."""
    targets: dict[str, set[str]] = {population.name: set() for population in network.populations}
    for part in network.synapses:
        targets[part.source].add(part.target)
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for target in sorted(targets[name]):
            if target not in index:
                visit(target)
            if target in stack:
                lowest[name] = min(lowest[name], lowest[target])
        if lowest[name] == index[name]:
            start = stack.index(name)
            groups.append(stack[start:])
            del stack[start:]

    for name in targets:
        if name not in index:
            visit(name)
    return groups[::-1]
