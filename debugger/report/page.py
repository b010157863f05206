"""The page from its sections. What was not saved or measured has a sentence that says so."""

from debugger.report import figures
from debugger.report.curves import curves
from debugger.report.figures import Figures
from debugger.report.layers import layers
from debugger.report.machine import machine
from debugger.report.material import Material
from debugger.report.rules_table import rules
from debugger.report.summary import summary
from debugger.report.timing import operators, timing
from debugger.report.words import several
from pages.document import Section, document
from pages.markup import Html, fill, join, paragraph, table


def page(material: Material) -> str:
    drawn = Figures()
    every = [
        rules(material),
        curves(material, drawn),
        *layers(material.tensors, drawn),
        timing(material.measured, drawn),
        operators(material.measured, drawn),
        machine(material.measured, drawn),
        resources(material),
        environment(material),
    ]
    lead = join([paragraph("Diagnosis of a training job", "soft"), summary(material)])
    style = (figures.HERE / "report.css").read_text(encoding="utf-8")
    return document(
        material.job or "Training job",
        lead,
        [section for section in every if section is not None],
        style=style,
        scripts=figures.scripts(),
        data=drawn.data(),
    )


def resources(material: Material) -> Section:
    """Advice about the machine, with its arithmetic."""
    measured = material.measured
    if not material.advice:
        told = (
            "The machine fits the job: nothing that was measured speaks for another one."
            if measured.series
            else "Nothing was measured, so nothing can be said about the machine."
        )
        return Section("Resources", paragraph(told, "soft"))
    lead = (
        f"{several(len(material.advice), 'suggestion')}. Prices and times are estimated from what "
        "was measured; the next run shows what they are."
    )
    rows = [(each.change, each.gain or "–", each.why) for each in material.advice]
    made = table(("change", "expected gain", "arithmetic"), rows)
    return Section("Resources", join([paragraph(lead, "soft"), made]))


def environment(material: Material) -> Section:
    parts = [table(("", ""), material.environment.items())] if material.environment else []
    if material.notes:
        items = join(fill("<li>$note</li>", note=note) for note in material.notes)
        parts.append(fill("<h3>What was read in part</h3><ul>$items</ul>", items=items))
    if not parts:
        parts = [paragraph("Nothing is known of where the job ran.", "soft")]
    return Section("Environment", join(parts) if parts else Html(""))
