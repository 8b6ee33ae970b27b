"""A report as one HTML page that needs nothing besides itself, made from the JSON document alone."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from nmbrl.runtime import report_plots
from nmbrl.runtime.report_document import QUANTITIES, Report
from nmbrl.runtime.report_text import ABSENT, interval, number, text

TARGETS = {
    "pytorch": "PyTorch, float32, on this host",
    "onnx": "ONNX Runtime, float32, on this host",
    "tflite": "int8 in TensorFlow Lite Micro, interpreted on this host",
    "loihi": "Loihi fixed point, simulated on this host",
}


def render_page(report: Report) -> str:
    """Return the page, HTML with its style, plots and data inside."""
    templates = Environment(
        loader=PackageLoader("nmbrl.runtime"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters.update(text=text, interval=interval, number=number)
    return templates.get_template("report.html").render(
        report=report,
        document=report.model_dump(mode="json"),
        labels=QUANTITIES,
        targets=TARGETS,
        absent=ABSENT,
        colour=report_plots.colour,
        trade_off=report_plots.trade_off(report),
        error_growth=report_plots.error_growth(report),
    )
