"""Hardware in the loop: the wire, links, boards and firmware that put a model's controller on a microcontroller."""
