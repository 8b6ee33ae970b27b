"""The plots of a report, by section, as Plotly figures in plain data: the page's script draws them."""

from nmbrl.runtime.report.document import Report
from nmbrl.runtime.report.figures.agent import agent_figures
from nmbrl.runtime.report.figures.cost import cost_figures
from nmbrl.runtime.report.figures.fidelity import fidelity_figures
from nmbrl.runtime.report.figures.style import Figure
from nmbrl.runtime.report.figures.summary import summary_figures
from nmbrl.runtime.report.figures.world import world_figures

__all__ = ["Figure", "make_figures"]


def make_figures(report: Report) -> dict[str, list[Figure]]:
    """Return the figures of every section; those that nothing is known for are left out."""
    sections = {
        "summary": summary_figures,
        "world": world_figures,
        "agent": agent_figures,
        "cost": cost_figures,
        "fidelity": fidelity_figures,
    }
    return {name: [figure for figure in make(report) if figure.data] for name, make in sections.items()}
