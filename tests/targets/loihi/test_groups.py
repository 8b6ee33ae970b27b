"""Groups send only to themselves and to later ones, and are as small as can be."""

import loihi_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.targets.loihi.groups import find_groups


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_groups_send_only_to_themselves_and_to_later_ones(seed):
    network = loihi_networks.draw_network(seed, largest=2)
    groups = find_groups(network)
    place = {name: index for index, group in enumerate(groups) for name in group}
    assert sorted(place) == sorted(population.name for population in network.populations)
    assert all(place[part.source] <= place[part.target] for part in network.synapses)
    # Any two populations of a group reach each other.
    reached = {name: {name} for name in place}
    for _ in place:
        for part in network.synapses:
            for sources in reached.values():
                sources |= {part.target} if part.source in sources else set()
    assert all(set(group) <= reached[name] for group in groups for name in group)
